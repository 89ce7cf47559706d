//! Each invariant on buckets is broken by SQL in every way that its statements check.

use std::time::Duration;

use earmark::ledger::invariant::check;
use earmark::proto::bucket::v1::{
    CostOwner, DeductBalanceRequest, ReserveBalanceRequest, TransferBalanceRequest,
};
use earmark::types::ids::{OwnerId, TenantId};
use prost_types::Timestamp;
use rust_decimal::Decimal;
use tokio_postgres::Client;

use crate::support::bucket_action_sql::make_bucket_actions_writable;
use crate::support::bucket_fixture::{
    BucketFixture, adjust, amount, close, deduct, left, reserve, topup, transfer, unreserve,
};
use crate::support::ledger_dump::{assert_sound, ledger_dump};
use crate::verify::verify;

/// A bucket with an action of every kind and status, named by their keys, and another bucket. The tables have no CHECK
/// and UNIQUE constraints and can be restored.
pub(super) struct Broken {
    pub(super) fixture: BucketFixture,
    pub(super) sql: Client,
}

impl Broken {
    pub(super) async fn open() -> Self {
        let fixture = BucketFixture::open().await;
        fill(&fixture).await;
        assert_sound(&fixture.earmark).await;
        let sql = fixture.earmark.sql().await;
        let owner = |id: &str| OwnerId::of_bucket(TenantId(fixture.tenant), id);
        let prepare = format!(
            "
            DO $$
            DECLARE kept record;
            BEGIN
                FOR kept IN SELECT conrelid::regclass AS on_table, conname FROM pg_constraint
                    WHERE contype IN ('c', 'u') AND conrelid IN
                        ('account'::regclass, 'entry'::regclass, 'bucket'::regclass, 'open_bucket_action'::regclass,
                         'closed_bucket_action'::regclass)
                LOOP
                    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', kept.on_table, kept.conname);
                END LOOP;
            END $$;
            CREATE TABLE saved_account AS TABLE account;
            CREATE TABLE saved_entry AS TABLE entry;
            CREATE TABLE saved_bucket AS TABLE bucket;
            CREATE TABLE saved_action AS TABLE bucket_action;
            CREATE TABLE saved_action_key AS TABLE bucket_action_key;
            CREATE FUNCTION main() RETURNS uuid LANGUAGE sql AS $$SELECT '{}'::uuid$$;
            CREATE FUNCTION other() RETURNS uuid LANGUAGE sql AS $$SELECT '{}'::uuid$$;
            CREATE FUNCTION own() RETURNS uuid LANGUAGE sql AS $$SELECT '00000000-0000-0000-0000-000000000001'::uuid$$;
            CREATE FUNCTION transit() RETURNS uuid LANGUAGE sql AS $$SELECT '00000000-0000-0000-0000-000000000003'::uuid$$;
            CREATE FUNCTION id_of(key text) RETURNS uuid LANGUAGE sql AS
                'SELECT id FROM bucket_action WHERE request_id = key';
            -- Adds an entry behind the last one of the main bucket's account, as the ledger would.
            CREATE FUNCTION add_entry(to_available numeric, to_held numeric, by_cause text, by_id uuid)
            RETURNS void LANGUAGE sql AS $$
                UPDATE account SET available = available + to_available, held = held + to_held, version = version + 1
                WHERE owner_id = main() AND account_id = own();
                INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause,
                                   cause_id, time)
                SELECT owner_id, account_id, unit, version, to_available, to_held, available, held, by_cause, by_id,
                       (SELECT max(time) FROM entry) + interval '1 s'
                FROM account WHERE owner_id = main() AND account_id = own()
            $$",
            owner("main"),
            owner("other")
        );
        make_bucket_actions_writable(&sql).await;
        sql.batch_execute(&prepare).await.expect("prepared");
        Self { fixture, sql }
    }

    /// Breaks the ledger, expects a breach of this invariant at this account of a bucket (`""`: of all owners) from SQL
    /// and from the invariant functions, and restores it.
    async fn finds(&self, invariant: &str, bucket: &str, account: &str, harm: &str) {
        let owner = match bucket {
            "" => String::new(),
            id => OwnerId::of_bucket(TenantId(self.fixture.tenant), id).to_string(),
        };
        self.names(invariant, &owner, account, harm).await;
        assert_ne!(check(&ledger_dump(&self.sql).await), [], "{harm}");
        self.undo().await;
    }

    /// The same from SQL alone; does not restore it.
    async fn names(&self, invariant: &str, owner: &str, account: &str, harm: &str) {
        self.sql.batch_execute(harm).await.expect(harm);
        let told = verify(&self.fixture.earmark).await;
        let found = told.breaches.iter().find(|breach| {
            (&*breach.invariant, &*breach.owner_id, &*breach.account) == (invariant, owner, account)
        });
        let Some(found) = found else {
            panic!(
                "{harm}: {invariant} at «{account}» of «{owner}» is not among {:#?}",
                told.breaches
            );
        };
        assert_ne!(found.expected, found.actual, "{harm}");
        assert!(!found.expected.is_empty() && !found.actual.is_empty());
    }

    async fn undo(&self) {
        let undo = "
            TRUNCATE account, entry, bucket, open_bucket_action, closed_bucket_action, bucket_action_key;
            INSERT INTO account SELECT * FROM saved_account;
            INSERT INTO entry SELECT * FROM saved_entry;
            INSERT INTO bucket SELECT * FROM saved_bucket;
            INSERT INTO bucket_action_key SELECT * FROM saved_action_key;
            INSERT INTO bucket_action SELECT * FROM saved_action";
        self.sql.batch_execute(undo).await.expect("undone");
    }

    async fn is_sound(&self) {
        verify(&self.fixture.earmark).await.assert_sound();
        assert_sound(&self.fixture.earmark).await;
    }
}

async fn transfers(fixture: &BucketFixture) {
    let mut client = fixture.client.clone();
    let priced = |from, to, of, key, payer: CostOwner| TransferBalanceRequest {
        transfer_cost: amount("1.5", "EUR"),
        cost_owner: payer.into(),
        ..transfer(from, to, of, key)
    };
    for request in [
        priced("main", "other", "4", "given", CostOwner::Originator),
        priced("other", "main", "6", "taken", CostOwner::Receiver),
        transfer("main", "other", "0.000000000001", "crumb"),
    ] {
        client.transfer_balance(request).await.expect("given");
    }
}

pub(crate) async fn fill(fixture: &BucketFixture) {
    fixture.bucket("main", "100").await;
    fixture.bucket("other", "50").await;
    fixture.bucket("empty", "0").await;
    fixture.bucket("gone", "5").await;
    fixture.topup(topup("main", "10.5", "topup")).await;
    let mut client = fixture.client.clone();
    client
        .adjust_balance(adjust("main", "-0.5", "down"))
        .await
        .expect("adjusted");
    client
        .adjust_balance(adjust("main", "2", "up"))
        .await
        .expect("adjusted");
    client
        .deduct_balance(deduct("main", "3", "used"))
        .await
        .expect("deducted");
    client
        .close_bucket(close("gone", true, "written off"))
        .await
        .expect("closed");

    let part = |reserve: &str, of: &str, key: &str, keep_rest| DeductBalanceRequest {
        reserve_id: Some(reserve.into()),
        keep_rest,
        ..deduct("main", of, key)
    };
    let open = fixture.reserve(reserve("main", "30", "open")).await;
    let drawn = client
        .deduct_balance(part(&open.id, "5", "open part", true))
        .await;
    drawn.expect("deducted");
    let given = fixture.reserve(reserve("main", "20", "given back")).await;
    client
        .unreserve_balance(unreserve("main", &given.id, "give back"))
        .await
        .expect("given back");
    let drawn = fixture.reserve(reserve("main", "10", "drawn")).await;
    let steps = [("2", "first part", true), ("3", "last part", false)];
    for (of, key, keep_rest) in steps {
        let request = part(&drawn.id, of, key, keep_rest);
        client.deduct_balance(request).await.expect("deducted");
    }
    let soon = std::time::SystemTime::now() + Duration::from_secs(2);
    let expiring = ReserveBalanceRequest {
        expire_time: Some(Timestamp::from(soon)),
        ..reserve("main", "7", "expired")
    };
    let expired = fixture.reserve(expiring).await;
    client
        .deduct_balance(part(&expired.id, "1", "expired part", true))
        .await
        .expect("in time");

    transfers(fixture).await;
    tokio::time::sleep(Duration::from_millis(2_050)).await;
    // 100 + 10.5 - 0.5 + 2 - 3, less 5 + 2 + 3 + 1 used and 25 held, less 4 + 1.5 given, 6 - 1.5 taken, a crumb.
    let expected = left("71.999999999999", "25");
    while fixture.values("main").await != expected {
        // Wait for the sweep.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const OWN: &str = "custody";

#[tokio::test]
async fn l1_to_l3_are_detected_on_buckets() {
    let broken = Broken::open().await;
    for (invariant, account, harm) in [
        (
            "L1",
            "",
            "UPDATE account SET available = available + 0.000000000001 WHERE owner_id = main() AND account_id = own()",
        ),
        (
            "L1",
            "",
            "DELETE FROM account WHERE owner_id = main() AND account_id = transit()",
        ),
        (
            "L2",
            OWN,
            "UPDATE account SET available = -0.000000000001 WHERE owner_id = main() AND account_id = own()",
        ),
        (
            "L2",
            OWN,
            "UPDATE account SET held = -1 WHERE owner_id = main() AND account_id = own()",
        ),
        (
            "L3",
            OWN,
            "UPDATE account SET held = held + 1, available = available - 1
              WHERE owner_id = main() AND account_id = own()",
        ),
        (
            "L3",
            OWN,
            "DELETE FROM bucket_action WHERE request_id = 'open'",
        ),
        (
            "L3",
            OWN,
            "UPDATE bucket_action SET remaining_amount = remaining_amount - 1 WHERE request_id = 'open'",
        ),
        (
            "L3",
            OWN,
            "UPDATE bucket_action SET status = 'COMPLETED' WHERE request_id = 'open'",
        ),
        (
            "L3",
            OWN,
            "UPDATE account SET reservation_count = reservation_count + 1
              WHERE owner_id = main() AND account_id = own()",
        ),
        (
            "L4",
            OWN,
            "UPDATE entry SET reservation_count = reservation_count - 1
              WHERE owner_id = main() AND account_id = own() AND cause = 'DEDUCT' AND held_delta < 0",
        ),
    ] {
        broken.finds(invariant, "main", account, harm).await;
    }
    broken.is_sound().await;
}

#[tokio::test]
async fn l3_compares_an_account_with_the_sum_of_all_kinds() {
    let broken = Broken::open().await;
    let open = "SELECT (sum(remaining_amount) + 5)::text, min(unit) FROM bucket_action
        WHERE owner_id = main() AND status = 'CREATED'";
    let row = broken.sql.query_one(open, &[]).await.expect("answered");
    let (sum, unit): (String, String) = (row.get(0), row.get(1));
    // No caller can make this: an owner has either buckets or allocations.
    let foreign = format!(
        "SET session_replication_role = replica;
        INSERT INTO open_allocation (owner_id, id, type, status, currency, quantity, connection_id, client_id, partner_id,
            client_external_id, initiated_by, created_at, updated_at, content_hash, opened_custody_version,
            opened_connection_version)
        VALUES (main(), gen_random_uuid(), 'ALLOCATION', 'RESERVED', '{unit}', 5, gen_random_uuid(), gen_random_uuid(),
            gen_random_uuid(), 'foreign', 'somebody', now(), now(), '', 1, 0)"
    );
    broken.sql.batch_execute(&foreign).await.expect("inserted");
    let told = verify(&broken.fixture.earmark).await;
    let found: Vec<_> = told
        .breaches
        .iter()
        .filter(|breach| &*breach.invariant == "L3")
        .collect();
    let [found, count] = &found[..] else {
        panic!("not one breach of the sum and one of the count: {found:#?}");
    };
    assert_ne!(count.expected, count.actual);
    let expected: Decimal = found.expected.parse().expect("a number");
    assert_eq!(expected, sum.parse().expect("a number"));
    assert_ne!(found.expected, found.actual);
}

#[tokio::test]
async fn l4_is_detected_on_buckets() {
    let broken = Broken::open().await;
    for (bucket, account, harm) in [
        (
            "main",
            OWN,
            "DELETE FROM entry WHERE owner_id = main() AND account_id = own() AND version = 3",
        ),
        (
            "other",
            "transit",
            "UPDATE account SET available = available - 1 WHERE owner_id = other() AND account_id = transit()",
        ),
        (
            "main",
            "world",
            "UPDATE entry SET time = time + interval '1 us' WHERE cause = 'COST' AND cause_id = id_of('given')
              AND account_id <> own()",
        ),
        // The cost is booked at another time than the transfer.
        (
            "main",
            "transit",
            "UPDATE entry SET time = time - interval '1 us' WHERE cause = 'COST' AND cause_id = id_of('given')",
        ),
    ] {
        broken.finds("L4", bucket, account, harm).await;
    }
    broken.is_sound().await;
}

#[tokio::test]
async fn l5_is_detected_on_buckets() {
    let broken = Broken::open().await;
    for harm in [
        // An expiry that is missing, doubled, or of another amount.
        "DELETE FROM entry WHERE cause = 'EXPIRE'",
        "SELECT add_entry(6, -6, 'EXPIRE', id_of('expired'))",
        "SELECT add_entry(25, -25, 'EXPIRE', id_of('open'))",
        "UPDATE entry SET available_delta = 5 WHERE cause = 'EXPIRE'",
        "UPDATE bucket_action SET updated_at = updated_at + interval '1 us' WHERE request_id = 'expired'",
        "UPDATE bucket_action SET amount = amount - 6 WHERE request_id = 'expired'",
        // A status that does not follow from the reserve's uses.
        "UPDATE bucket_action SET status = 'CREATED' WHERE request_id = 'drawn'",
        "UPDATE bucket_action SET status = 'CANCELLED' WHERE request_id = 'drawn'",
        "UPDATE bucket_action SET status = 'CANCELLED' WHERE request_id = 'expired'",
        "UPDATE bucket_action SET status = 'COMPLETED' WHERE request_id = 'given back'",
        "UPDATE bucket_action SET status = 'CREATED' WHERE request_id = 'topup'",
        // A missing or a different closing.
        "UPDATE bucket_action SET closed_cause = 'DEDUCT' WHERE request_id = 'given back'",
        "UPDATE bucket_action SET closed_cause = 'EXPIRE', closed_by = id WHERE request_id = 'drawn'",
        "UPDATE bucket_action SET closed_by = id_of('first part') WHERE request_id = 'drawn'",
        "UPDATE bucket_action SET closed_cause = NULL, closed_by = NULL WHERE request_id = 'drawn'",
        "UPDATE bucket_action SET closed_cause = 'DEDUCT', closed_by = id_of('open part') WHERE request_id = 'open'",
        // The sum of used, returned and remaining value differs from the reserved value.
        "UPDATE bucket_action SET remaining_amount = 1 WHERE request_id = 'drawn'",
        "UPDATE bucket_action SET amount = amount + 1 WHERE request_id = 'open part'",
        "UPDATE bucket_action SET amount = 31 WHERE request_id = 'open part'",
        "UPDATE bucket_action SET returned_amount = 5 WHERE request_id = 'first part'",
        "UPDATE bucket_action SET amount = 19 WHERE request_id = 'give back'",
        "DELETE FROM bucket_action WHERE request_id = 'give back'",
        "DELETE FROM bucket_action WHERE request_id = 'drawn'",
        "UPDATE bucket_action SET reserve_id = id_of('open') WHERE request_id = 'give back'",
        "UPDATE bucket_action SET reserve_id = id_of('topup') WHERE request_id = 'open part'",
        // A record that was changed after its last movement.
        "UPDATE bucket_action SET updated_at = updated_at + interval '1 us' WHERE request_id = 'open'",
        "UPDATE bucket_action SET updated_at = updated_at + interval '1 us' WHERE request_id = 'given back'",
        "UPDATE bucket_action SET updated_at = updated_at + interval '1 us' WHERE request_id = 'topup'",
        // An expiry that gave back another amount than the reserve says, or none; what only an expiry gives back.
        "UPDATE bucket_action SET returned_amount = 5 WHERE request_id = 'expired'",
        "UPDATE bucket_action SET returned_amount = NULL WHERE request_id = 'expired'",
        "UPDATE bucket_action SET returned_amount = 20 WHERE request_id = 'given back'",
        // A final reserve that is not empty.
        "UPDATE bucket SET status = 'CLOSED' WHERE id = 'main'",
    ] {
        broken.finds("L5", "main", OWN, harm).await;
    }
    for harm in [
        // What was written off of a bucket that is open, or was closed at another time.
        "UPDATE bucket SET status = 'ACTIVE' WHERE id = 'gone'",
        "UPDATE bucket SET updated_at = updated_at + interval '1 us' WHERE id = 'gone'",
    ] {
        broken.finds("L5", "gone", OWN, harm).await;
    }
    broken.is_sound().await;
}

/// Bucket and account that verification names, and the statement that breaks the invariant there.
const L6_HARMS: &[(&str, &str, &str)] = &[
        // No opening movement, a second one, or another.
        (
            "main",
            OWN,
            "DELETE FROM entry WHERE cause_id = id_of('topup')",
        ),
        ("main", OWN, "DELETE FROM entry WHERE cause = 'OPENING'"),
        (
            "main",
            OWN,
            "SELECT add_entry(-5, 0, 'DEDUCT', id_of('open part'))",
        ),
        ("main", OWN, "SELECT add_entry(1, 0, 'OPENING', main())"),
        (
            "main",
            "world",
            "UPDATE entry SET cause = 'ADJUST' WHERE cause_id = id_of('topup')",
        ),
        (
            "other",
            "transit",
            "DELETE FROM entry WHERE cause_id = id_of('given') AND owner_id = other()",
        ),
        ("main", "world", "DELETE FROM entry WHERE cause = 'COST' AND cause_id = id_of('taken')"),
        // Of another amount, unit, time or version than the record says.
        (
            "main",
            "world",
            "UPDATE bucket_action SET amount = amount + 1 WHERE request_id = 'topup'",
        ),
        (
            "main",
            OWN,
            "UPDATE bucket_action SET amount = -amount WHERE request_id = 'down'",
        ),
        (
            "main",
            OWN,
            "UPDATE bucket_action SET returned_amount = returned_amount + 1 WHERE request_id = 'last part'",
        ),
        (
            "other",
            OWN,
            "UPDATE bucket_action SET amount = amount + 1 WHERE request_id = 'given'",
        ),
        (
            "main",
            "world",
            "UPDATE bucket_action SET cost_amount = cost_amount + 1 WHERE request_id = 'taken'",
        ),
        (
            "main",
            OWN,
            "UPDATE bucket_action SET cost_owner = 'RECEIVER' WHERE request_id = 'given'",
        ),
        (
            "main",
            OWN,
            "UPDATE bucket SET opened_amount = opened_amount + 1 WHERE id = 'main'",
        ),
        (
            "main",
            OWN,
            "UPDATE bucket SET created_at = created_at - interval '1 s' WHERE id = 'main'",
        ),
        (
            "main",
            OWN,
            "UPDATE bucket_action SET unit = 'USD' WHERE request_id = 'used'",
        ),
        (
            "main",
            OWN,
            "UPDATE bucket_action SET created_at = created_at - interval '1 us', updated_at = updated_at - interval '1 us'
              WHERE request_id = 'up'",
        ),
        (
            "main",
            OWN,
            "UPDATE bucket_action SET own_version = own_version + 1 WHERE request_id = 'given'",
        ),
        (
            "other",
            OWN,
            "UPDATE bucket_action SET receiver_version = receiver_version - 1 WHERE request_id = 'given'",
        ),
        (
            "other",
            OWN,
            "UPDATE bucket_action SET receiver_owner_id = main() WHERE request_id = 'given'",
        ),
        (
            "gone",
            "world",
            "UPDATE bucket_action SET amount = amount - 1 WHERE request_id = 'written off'",
        ),
        (
            "gone",
            OWN,
            "DELETE FROM bucket_action WHERE request_id = 'written off'",
        ),
        // Entries without their record.
        (
            "main",
            "world",
            "DELETE FROM bucket_action WHERE request_id = 'used'",
        ),
        (
            "other",
            "transit",
            "DELETE FROM bucket_action WHERE request_id = 'given'",
        ),
        (
            "main",
            OWN,
            "DELETE FROM bucket_action WHERE request_id = 'expired'",
        ),
        ("main", OWN, "DELETE FROM bucket WHERE id = 'main'"),
        // One key, two records.
        (
            "main",
            OWN,
            "UPDATE bucket_action SET request_id = 'down' WHERE request_id = 'up'",
        ),
];

/// A key that is gone, one that leads to another action, and one that leads to nothing. The invariant functions have no keys.
const KEY_HARMS: [&str; 3] = [
    "DELETE FROM bucket_action_key WHERE id = id_of('up')",
    "UPDATE bucket_action_key SET id = id_of('down') WHERE id = id_of('up')",
    "INSERT INTO bucket_action_key VALUES (main(), gen_random_uuid(), gen_random_uuid())",
];

#[tokio::test]
async fn l6_is_detected_on_buckets() {
    let broken = Broken::open().await;
    for &(bucket, account, harm) in L6_HARMS {
        broken.finds("L6", bucket, account, harm).await;
    }
    let main = OwnerId::of_bucket(TenantId(broken.fixture.tenant), "main").to_string();
    for harm in KEY_HARMS {
        broken.names("L6", &main, OWN, harm).await;
        broken.undo().await;
    }
    broken.is_sound().await;
}

#[tokio::test]
async fn l7_is_detected_on_buckets() {
    let broken = Broken::open().await;
    broken
        .finds(
            "L7",
            "other",
            OWN,
            "UPDATE entry SET available_delta = available_delta + 1
              WHERE cause_id = id_of('crumb') AND owner_id = other() AND account_id = transit()",
        )
        .await;
    // The value has left one bucket correctly and has reached no other.
    let lost = "DELETE FROM entry WHERE cause_id = id_of('crumb') AND owner_id = other()";
    broken.finds("L7", "main", "transit", lost).await;
    broken
        .finds(
            "L7",
            "",
            "transit",
            "UPDATE account SET available = available + 1 WHERE owner_id = other() AND account_id = transit()",
        )
        .await;
    broken.is_sound().await;
}
