//! Each invariant is broken by SQL in every way that its statements check; verification reports it with owner and
//! account. The invariant functions in Rust must find the same breach.

use earmark::ledger::invariant::check;
use tokio_postgres::Client;

use crate::support::allocation_sql::make_allocations_writable;
use crate::support::ledger_dump::ledger_dump;
use crate::verify::{LedgerFixture, verify};

const CUSTODY: &str = "custody";

/// Stands for the id of the confirmed connection.
const NET: &str = "{net}";
/// Stands for the id of the instant connection.
const INSTANT: &str = "{instant}";

/// A ledger without CHECK and UNIQUE constraints, whose tables can be restored.
struct Broken {
    ledger: LedgerFixture,
    sql: Client,
}

impl Broken {
    async fn open() -> Self {
        let ledger = LedgerFixture::open().await;
        let sql = ledger.fixture.earmark.sql().await;
        let prepare = "
            DO $$
            DECLARE kept record;
            BEGIN
                FOR kept IN SELECT conrelid::regclass AS on_table, conname FROM pg_constraint
                    WHERE contype IN ('c', 'u')
                      AND conrelid = ANY ('{account, entry, open_allocation, closed_allocation, adjustment}'::regclass[])
                LOOP
                    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', kept.on_table, kept.conname);
                END LOOP;
            END $$;
            CREATE TABLE saved_account AS TABLE account;
            CREATE TABLE saved_entry AS TABLE entry;
            CREATE TABLE saved_allocation AS TABLE allocation;
            CREATE TABLE saved_adjustment AS TABLE adjustment;
            CREATE FUNCTION id_of(key text) RETURNS uuid LANGUAGE sql AS
                'SELECT id FROM allocation WHERE client_external_id = key';
            CREATE FUNCTION custody() RETURNS uuid LANGUAGE sql AS $$SELECT '00000000-0000-0000-0000-000000000001'::uuid$$;
            CREATE FUNCTION world() RETURNS uuid LANGUAGE sql AS $$SELECT '00000000-0000-0000-0000-000000000002'::uuid$$;
            CREATE FUNCTION transit() RETURNS uuid LANGUAGE sql AS $$SELECT '00000000-0000-0000-0000-000000000003'::uuid$$;
            -- Adds an entry behind the last one of its account, as the ledger would, and moves the account on.
            CREATE FUNCTION add_entry(of_account uuid, to_available numeric, to_held numeric, by_cause text, by_id uuid)
            RETURNS void LANGUAGE sql AS $$
                UPDATE account SET available = available + to_available, held = held + to_held, version = version + 1
                WHERE account_id = of_account;
                INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause,
                                   cause_id, time)
                SELECT owner_id, account_id, unit, version, to_available, to_held, available, held, by_cause, by_id,
                       (SELECT max(time) FROM entry) + interval '1 s'
                FROM account WHERE account_id = of_account
            $$";
        make_allocations_writable(&sql).await;
        sql.batch_execute(prepare).await.expect("prepared");
        Self { ledger, sql }
    }

    /// Breaks the ledger, expects a breach of this invariant at this account of the client, and restores the ledger.
    async fn finds(&self, invariant: &str, account: &str, harm: &str) {
        let owner = self.ledger.fixture.parties.enterprise.as_str();
        self.finds_of(invariant, owner, account, harm).await;
    }

    async fn finds_of(&self, invariant: &str, owner: &str, account: &str, harm: &str) {
        self.names(invariant, owner, account, harm).await;
        assert_ne!(check(&ledger_dump(&self.sql).await), [], "{harm}");
        self.undo().await;
    }

    async fn names(&self, invariant: &str, owner: &str, account: &str, harm: &str) {
        let parties = &self.ledger.fixture.parties;
        let harm = harm
            .replace("{net}", &format!("'{}'", parties.connection))
            .replace("{instant}", &format!("'{}'", self.ledger.instant));
        self.sql.batch_execute(&harm).await.expect(&harm);
        let told = verify(&self.ledger.fixture.earmark).await;
        let found = told.breaches.iter().find(|breach| {
            (&*breach.invariant, &*breach.owner_id, &*breach.account) == (invariant, owner, account)
        });
        let Some(found) = found else {
            panic!(
                "{harm}: {invariant} at «{account}» is not among {:#?}",
                told.breaches
            );
        };
        assert_ne!(found.expected, found.actual);
        assert!(!found.expected.is_empty() && !found.actual.is_empty());
    }

    async fn undo(&self) {
        let undo = "
            TRUNCATE account, entry, open_allocation, closed_allocation, adjustment;
            INSERT INTO account SELECT * FROM saved_account;
            INSERT INTO entry SELECT * FROM saved_entry;
            INSERT INTO allocation SELECT * FROM saved_allocation;
            INSERT INTO adjustment SELECT * FROM saved_adjustment";
        self.sql.batch_execute(undo).await.expect("undone");
    }

    async fn is_sound(&self) {
        verify(&self.ledger.fixture.earmark).await.assert_sound();
    }
}

#[tokio::test]
async fn l1_detects_value_without_a_source() {
    let broken = Broken::open().await;
    for harm in [
        "UPDATE account SET available = available + 1 WHERE account_id = custody()",
        "UPDATE account SET held = held - 1 WHERE account_id = custody()",
        "DELETE FROM account WHERE account_id = world()",
    ] {
        broken.finds("L1", "", harm).await;
    }
    broken.is_sound().await;
}

#[tokio::test]
async fn l2_detects_an_overdraft() {
    let broken = Broken::open().await;
    let net = broken.ledger.fixture.parties.connection.clone();
    for (account, harm) in [
        (
            CUSTODY,
            "UPDATE account SET available = -1 WHERE account_id = custody()",
        ),
        (
            CUSTODY,
            "UPDATE account SET held = -1 WHERE account_id = custody()",
        ),
        (
            &*net,
            "UPDATE account SET available = -0.000000000001 WHERE account_id = {net}",
        ),
    ] {
        broken.finds("L2", account, harm).await;
    }
    broken.is_sound().await;
}

#[tokio::test]
async fn l3_detects_held_value_without_a_reservation() {
    let broken = Broken::open().await;
    let net = broken.ledger.fixture.parties.connection.clone();
    let nowhere = "0198a7b2-6a44-7c11-8d4e-000000000001";
    for (account, harm) in [
        (
            CUSTODY,
            "UPDATE account SET held = held + 1, available = available - 1 WHERE account_id = custody()",
        ),
        (
            CUSTODY,
            "UPDATE account SET reservation_count = reservation_count + 1 WHERE account_id = custody()",
        ),
        (
            &*net,
            "UPDATE account SET reservation_count = 0 WHERE account_id = {net}",
        ),
        (
            CUSTODY,
            "DELETE FROM allocation WHERE client_external_id = 'open'",
        ),
        (
            &*net,
            "UPDATE allocation SET quantity = quantity + 1 WHERE client_external_id = 'back'",
        ),
        (
            &*net,
            "UPDATE allocation SET status = 'RELEASED' WHERE client_external_id = 'back'",
        ),
        (
            nowhere,
            "UPDATE allocation SET connection_id = '0198a7b2-6a44-7c11-8d4e-000000000001'
              WHERE client_external_id = 'back'",
        ),
    ] {
        broken.finds("L3", account, harm).await;
    }
    broken.is_sound().await;
}

#[tokio::test]
async fn l4_detects_counts_of_reservations_that_do_not_go_on() {
    let broken = Broken::open().await;
    for (account, harm) in [
        (
            CUSTODY,
            "UPDATE entry SET reservation_count = reservation_count + 1 WHERE account_id = custody() AND version = 4",
        ),
        (
            CUSTODY,
            "UPDATE entry SET reservation_count = 0 WHERE account_id = custody()",
        ),
        (
            CUSTODY,
            "UPDATE account SET reservation_count = reservation_count - 1 WHERE account_id = custody()",
        ),
    ] {
        broken.finds("L4", account, harm).await;
    }
    broken.is_sound().await;
}

#[tokio::test]
async fn l4_detects_entries_that_do_not_add_up() {
    let broken = Broken::open().await;
    let (net, instant) = (
        broken.ledger.fixture.parties.connection.clone(),
        broken.ledger.instant.clone(),
    );
    for (account, harm) in [
        (
            CUSTODY,
            "DELETE FROM entry WHERE account_id = custody() AND version = 4",
        ),
        (
            CUSTODY,
            "DELETE FROM entry WHERE account_id = custody() AND version = 1",
        ),
        (
            CUSTODY,
            "DELETE FROM entry WHERE account_id = custody() AND version = 10",
        ),
        (
            CUSTODY,
            "UPDATE entry SET available = available + 1 WHERE account_id = custody() AND version = 4",
        ),
        (
            CUSTODY,
            "UPDATE entry SET held_delta = held_delta + 1 WHERE account_id = custody() AND version = 10",
        ),
        (
            &*net,
            "UPDATE account SET version = version + 1 WHERE account_id = {net}",
        ),
        (
            "world",
            "UPDATE account SET available = available - 1 WHERE account_id = world()",
        ),
        (&*net, "DELETE FROM account WHERE account_id = {net}"),
        (&*net, "DELETE FROM entry WHERE account_id = {net}"),
    ] {
        broken.finds("L4", account, harm).await;
    }
    // Times.
    for (account, harm) in [
        (
            CUSTODY,
            "UPDATE entry SET time = time - interval '1 h' WHERE account_id = custody() AND version = 4",
        ),
        (
            CUSTODY,
            "UPDATE entry SET time = (SELECT time FROM entry WHERE account_id = custody() AND version = 3)
              WHERE account_id = custody() AND version = 4",
        ),
        (
            &*instant,
            "UPDATE entry SET time = time + interval '1 us' WHERE account_id = {instant}",
        ),
        (
            &*instant,
            "UPDATE entry SET time = (SELECT time FROM entry WHERE account_id = custody() AND version = 4)
              WHERE account_id = {instant}",
        ),
    ] {
        broken.finds("L4", account, harm).await;
    }
    broken.is_sound().await;
}

/// The account that verification names, and the statement that breaks the invariant there.
const L5_HARMS: &[(&str, &str)] = &[
    // No closing movement, or one that lacks a leg.
    (CUSTODY, "DELETE FROM entry WHERE cause = 'RELEASE'"),
    (
        NET,
        "DELETE FROM entry WHERE cause = 'CLEAR' AND account_id = {net}",
    ),
    // A second closing movement, of the same kind or another.
    (
        CUSTODY,
        "SELECT add_entry(custody(), 10, -10, 'RELEASE', id_of('released'))",
    ),
    (
        CUSTODY,
        "SELECT add_entry(custody(), 20, -20, 'CANCEL', id_of('cleared'))",
    ),
    (
        CUSTODY,
        "SELECT add_entry(custody(), 30, -30, 'EXPIRE', id_of('open'))",
    ),
    // A closing movement of another amount or account.
    (
        NET,
        "UPDATE entry SET available_delta = available_delta + 1 WHERE cause = 'CLEAR' AND account_id = {net}",
    ),
    (
        "world",
        "UPDATE entry SET account_id = world(), version = 9 WHERE cause = 'CLEAR' AND account_id = {net}",
    ),
    // A status that differs from the movement's.
    (
        CUSTODY,
        "UPDATE allocation SET status = 'CLEARED' WHERE client_external_id = 'released'",
    ),
    (
        CUSTODY,
        "UPDATE allocation SET status = 'RESERVED' WHERE client_external_id = 'released'",
    ),
    (
        CUSTODY,
        "UPDATE allocation SET closed_cause = 'EXPIRE' WHERE client_external_id = 'released'",
    ),
    (
        CUSTODY,
        "UPDATE allocation SET closed_cause = NULL WHERE client_external_id = 'cleared'",
    ),
    // A record that was changed after its last movement.
    (
        CUSTODY,
        "UPDATE allocation SET updated_at = updated_at + interval '1 s' WHERE client_external_id = 'open'",
    ),
    (
        CUSTODY,
        "UPDATE allocation SET updated_at = updated_at + interval '1 s' WHERE client_external_id = 'cleared'",
    ),
    // Versions that differ from those of the movement.
    (
        CUSTODY,
        "UPDATE allocation SET closed_custody_version = 4 WHERE client_external_id = 'cleared'",
    ),
    (
        NET,
        "UPDATE allocation SET closed_connection_version = 2 WHERE client_external_id = 'cleared'",
    ),
    (
        NET,
        "UPDATE allocation SET closed_connection_version = 0 WHERE client_external_id = 'released'",
    ),
    (
        NET,
        "UPDATE allocation SET closed_connection_version = 2 WHERE client_external_id = 'released'",
    ),
    (
        NET,
        "UPDATE allocation SET closed_connection_version = 7 WHERE client_external_id = 'released'",
    ),
];

#[tokio::test]
async fn l5_detects_a_missing_wrong_or_second_closing_movement() {
    let broken = Broken::open().await;
    let net = broken.ledger.fixture.parties.connection.clone();
    for &(account, harm) in L5_HARMS {
        let account = match account {
            NET => &*net,

            named => named,
        };
        broken.finds("L5", account, harm).await;
    }
    // The ledger's Rust types cannot represent this one.
    let owner = broken.ledger.fixture.parties.enterprise.clone();
    let harm =
        "UPDATE allocation SET closed_custody_version = NULL WHERE client_external_id = 'cleared'";
    broken.names("L5", &owner, CUSTODY, harm).await;
    broken.undo().await;
    broken.is_sound().await;
}

/// The account that verification names, and the statement that breaks the invariant there.
const L6_HARMS: &[(&str, &str)] = &[
    // No opening movement, or a second one.
    (CUSTODY, "DELETE FROM entry WHERE cause_id = id_of('open')"),
    (
        CUSTODY,
        "SELECT add_entry(custody(), -30, 30, 'RESERVE', id_of('open'))",
    ),
    (
        CUSTODY,
        "UPDATE entry SET cause = 'INSTANT' WHERE cause_id = id_of('open')",
    ),
    (INSTANT, "DELETE FROM entry WHERE account_id = {instant}"),
    // One of another quantity, unit or time.
    (
        CUSTODY,
        "UPDATE allocation SET quantity = quantity + 1 WHERE client_external_id = 'open'",
    ),
    (
        INSTANT,
        "UPDATE allocation SET quantity = quantity + 1 WHERE client_external_id = 'instant'",
    ),
    (
        CUSTODY,
        "UPDATE adjustment SET quantity = quantity - 1 WHERE external_id = 'withdrawn'",
    ),
    (
        INSTANT,
        "UPDATE allocation SET currency = 'ETH' WHERE client_external_id = 'instant'",
    ),
    (
        CUSTODY,
        "UPDATE allocation SET created_at = created_at - interval '1 s' WHERE client_external_id = 'cleared'",
    ),
    (
        CUSTODY,
        "UPDATE adjustment SET created_at = created_at - interval '1 s'",
    ),
    // Entries without their record.
    (
        CUSTODY,
        "DELETE FROM allocation WHERE client_external_id = 'cleared'",
    ),
    (
        "world",
        "DELETE FROM adjustment WHERE external_id = 'withdrawn'",
    ),
    (
        NET,
        "UPDATE entry SET cause_id = '0198a7b2-6a44-7c11-8d4e-000000000001' WHERE cause = 'CLEAR' AND account_id = {net}",
    ),
    // Versions that differ from those of the movement.
    (
        CUSTODY,
        "UPDATE allocation SET opened_custody_version = 2 WHERE client_external_id = 'open'",
    ),
    (
        NET,
        "UPDATE allocation SET opened_connection_version = 1 WHERE client_external_id = 'open'",
    ),
    (
        NET,
        "UPDATE allocation SET opened_connection_version = 0 WHERE client_external_id = 'released'",
    ),
    (
        CUSTODY,
        "UPDATE allocation SET opened_custody_version = 9223372036854775807 WHERE client_external_id = 'back'",
    ),
    (
        CUSTODY,
        "UPDATE adjustment SET custody_version = 1 WHERE external_id = 'withdrawn'",
    ),
    // One key, two records.
    (
        CUSTODY,
        "UPDATE allocation SET client_external_id = 'open' WHERE client_external_id = 'cleared'",
    ),
    (CUSTODY, "UPDATE adjustment SET external_id = 'withdrawn'"),
];

#[tokio::test]
async fn l6_detects_a_missing_wrong_or_second_opening_movement() {
    let broken = Broken::open().await;
    let (net, instant) = (
        broken.ledger.fixture.parties.connection.clone(),
        broken.ledger.instant.clone(),
    );
    for &(account, harm) in L6_HARMS {
        let account = match account {
            NET => &*net,
            INSTANT => &*instant,
            named => named,
        };
        broken.finds("L6", account, harm).await;
    }
    broken.is_sound().await;
}

#[tokio::test]
async fn l7_detects_a_transfer_that_does_not_arrive() {
    let broken = Broken::open().await;
    let owner = broken.ledger.fixture.parties.enterprise.clone();
    broken
        .finds(
            "L7",
            CUSTODY,
            "UPDATE entry SET available_delta = available_delta + 1 WHERE account_id = {instant}",
        )
        .await;
    broken
        .finds(
            "L7",
            CUSTODY,
            "DELETE FROM entry WHERE account_id = {instant}",
        )
        .await;
    // The value has left its owner correctly, but no other owner has received it.
    let leaves = "
        INSERT INTO account SELECT owner_id, transit(), unit, 0, 0, 0 FROM account WHERE account_id = custody();
        SELECT add_entry(transit(), 5, 0, 'INSTANT', id_of('open')), add_entry(custody(), -5, 0, 'INSTANT', id_of('open'))";
    broken.finds_of("L7", &owner, "transit", leaves).await;
    broken.finds_of("L7", "", "transit", leaves).await;
    broken.is_sound().await;
}
