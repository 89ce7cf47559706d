//! L8: what is sealed is broken by SQL at each level; verification names the period, owner and account, and what differs.

use std::time::Duration;

use earmark::db::connect::Connector;
use earmark::ledger::seal::run::{SealOptions, seal};
use earmark::proto::balance::v1::VerifyBreach;
use earmark::types::period::CalendarPeriod;
use earmark::types::time::Time;
use tokio_postgres::Client;

use crate::support::process::{earmark, run, text};
use crate::verify::{LedgerFixture, verify};

/// A ledger of which the first half is sealed as one period, and the rest as another.
struct SealedLedger {
    ledger: LedgerFixture,
    sql: Client,
    first: String,
    second: String,
}

const SAVED: [&str; 6] = [
    "account",
    "entry",
    "sealed_period",
    "archived_period",
    "sealed_owner",
    "carry_forward",
];

impl SealedLedger {
    async fn open() -> Self {
        let ledger = LedgerFixture::open().await;
        let sql = ledger.fixture.earmark.sql().await;
        let middle = "SELECT time FROM entry WHERE version = 6 AND account_id = '00000000-0000-0000-0000-000000000001'";
        let first = seal_until(&ledger, &sql, middle).await;
        let second = seal_until(&ledger, &sql, "SELECT clock_timestamp()").await;
        let prepare = "
            DROP INDEX entry_key;
            ALTER TABLE sealed_period DROP CONSTRAINT sealed_period_follows, DROP CONSTRAINT sealed_period_once,
                DROP CONSTRAINT sealed_period_chain;
            CREATE FUNCTION custody() RETURNS uuid LANGUAGE sql AS $$SELECT '00000000-0000-0000-0000-000000000001'::uuid$$";
        sql.batch_execute(prepare).await.expect("prepared");
        for table in SAVED {
            let save = format!("CREATE TABLE saved_{table} AS TABLE {table}");
            sql.batch_execute(&save).await.expect(&save);
        }
        Self {
            ledger,
            sql,
            first,
            second,
        }
    }

    /// Breaks the ledger; returns the breaches of L8, after it was restored.
    async fn breaches(&self, harm: &str) -> Vec<VerifyBreach> {
        self.sql.batch_execute(harm).await.expect(harm);
        let told = verify(&self.ledger.fixture.earmark).await;
        self.undo().await;
        let of_seals = told.breaches.into_iter();
        of_seals.filter(|breach| breach.invariant == "L8").collect()
    }

    /// The lines about L8 that `earmark verify --chain` prints.
    async fn chain(&self, harm: &str) -> Vec<String> {
        self.sql.batch_execute(harm).await.expect(harm);
        let url = &self.ledger.fixture.earmark.url;
        let verified = run(&mut earmark(&["verify", "--chain", "--database-url", url]));
        self.undo().await;
        let printed = text(&verified.stdout);
        let lines = printed.lines().filter(|line| line.starts_with("L8"));
        lines.map(String::from).collect()
    }

    async fn undo(&self) {
        let mut undo = format!("TRUNCATE {};", SAVED.join(", "));
        for table in SAVED {
            undo += &format!("INSERT INTO {table} SELECT * FROM saved_{table};");
        }
        self.sql.batch_execute(&undo).await.expect(&undo);
    }

    fn owner(&self) -> &str {
        &self.ledger.fixture.parties.enterprise
    }
}

/// Seals up to a time that a statement tells; returns the name of the last period.
async fn seal_until(ledger: &LedgerFixture, sql: &Client, until: &str) -> String {
    let until: chrono::DateTime<chrono::Utc> = sql.query_one(until, &[]).await.expect(until).get(0);
    let options = SealOptions {
        length: CalendarPeriod::Month,
        grace: Duration::ZERO,
        until: Some(Time::from(until)),
    };
    let connector = Connector::new(&ledger.fixture.earmark.url).expect("a URL");
    let mut names = Vec::new();
    seal(&connector, &options, |period| {
        names.push(format!("period {}", period.bounds))
    })
    .await
    .expect("sealed");
    names.pop().expect("a period")
}

/// What is broken; the period, the account, and a part of what was found. Empty: all of them.
const ENTRY_HARMS: [(&str, u8, &str, &str); 11] = [
    (
        "UPDATE entry SET cause = 'CANCEL' WHERE account_id = custody() AND version = 3",
        1,
        "custody",
        "5 entries up to version 5",
    ),
    (
        "UPDATE entry SET available = available + 1 WHERE account_id = custody() AND version = 3",
        1,
        "custody",
        "; first, instead of version 3, ",
    ),
    (
        "UPDATE entry SET cause_id = gen_random_uuid() WHERE account_id = custody() AND version = 7",
        2,
        "custody",
        "5 entries up to version 10",
    ),
    (
        "UPDATE entry SET time = time + interval '1 us' WHERE account_id = custody() AND version = 7",
        2,
        "custody",
        "5 entries up to version 10",
    ),
    (
        "DELETE FROM entry WHERE account_id = custody() AND version = 10",
        2,
        "custody",
        "4 entries up to version 9",
    ),
    (
        "DELETE FROM entry WHERE account_id = custody() AND time >= (SELECT min(end_time) FROM sealed_period)",
        2,
        "custody",
        "no entry",
    ),
    // A double version, at another time than the first.
    (
        "INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause,
                cause_id, time, reservation_count)
         SELECT owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause,
                cause_id, time + interval '1 us', reservation_count
         FROM entry WHERE account_id = custody() AND version = 8",
        2,
        "custody",
        "; first, instead of version 9, ",
    ),
    // An entry of an account that had none in the period.
    (
        "INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause,
                cause_id, time, reservation_count)
         SELECT owner_id, account_id, 'ETH', 1, 5, 0, 5, 0, cause, cause_id,
                (SELECT min(end_time) FROM sealed_period), 0 FROM entry WHERE account_id = custody() AND version = 1",
        2,
        "custody",
        "1 entries up to version 1",
    ),
    // Entries that cannot be hashed.
    (
        "ALTER TABLE entry DROP CONSTRAINT entry_in_range;
         UPDATE entry SET available = 'NaN' WHERE account_id = custody() AND version = 7",
        2,
        "custody",
        "; first, instead of amounts of at most 28 digits",
    ),
    (
        "INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause,
                cause_id, time, reservation_count)
         SELECT owner_id, account_id, unit, version + 50, available_delta, held_delta, available, held,
                cause, cause_id, '-infinity', reservation_count
         FROM entry WHERE account_id = custody() AND version = 1",
        1,
        "custody",
        "6 entries up to version 5",
    ),
    // An entry before the first period.
    (
        "UPDATE entry SET time = '2001-01-01' WHERE account_id = custody() AND version = 1",
        1,
        "custody",
        "; first, instead of no entry before ",
    ),
];

#[tokio::test]
async fn l8_detects_entries_that_are_not_as_they_were_sealed() {
    let sealed = SealedLedger::open().await;
    verify(&sealed.ledger.fixture.earmark).await.assert_sound();
    for (harm, period, account, part) in ENTRY_HARMS {
        let breaches = sealed.breaches(harm).await;
        let period = if period == 1 {
            &sealed.first
        } else {
            &sealed.second
        };
        let found = breaches.iter().find(|breach| breach.account == account);
        let found = found.unwrap_or_else(|| panic!("{harm}: {breaches:#?}"));
        assert_eq!(found.owner_id, sealed.owner(), "{harm}");
        assert!(found.expected.starts_with(&**period), "{harm}: {found:#?}");
        assert!(found.actual.starts_with(&**period), "{harm}: {found:#?}");
        assert!(found.actual.contains(part), "{harm}: {found:#?}");
        assert_ne!(found.expected, found.actual, "{harm}");
        assert_eq!(breaches.len(), 1, "{harm}: {breaches:#?}");
    }
    verify(&sealed.ledger.fixture.earmark).await.assert_sound();
}

/// The account of a breach, whether it names the owner, and a part of what was found.
type FoundSeal = (&'static str, bool, &'static str);

/// What is broken in the seals, and breaches that it makes.
const SEAL_HARMS: [(&str, &[FoundSeal]); 8] = [
    (
        "UPDATE sealed_owner SET digest = sha256('x') WHERE end_time = (SELECT max(end_time) FROM sealed_period)",
        &[("", false, "entries of 1 owners, digest"), ("", true, "entries, digest")],
    ),
    (
        "DELETE FROM sealed_owner WHERE end_time = (SELECT max(end_time) FROM sealed_period)",
        &[("", false, "0 entries of 0 owners, digest"), ("", true, "entries, digest")],
    ),
    (
        "UPDATE carry_forward SET available = available + 1
         WHERE account_id = custody() AND end_time = (SELECT max(end_time) FROM sealed_period)",
        &[("custody", true, "version 10"), ("", true, "entries, digest")],
    ),
    (
        "UPDATE carry_forward SET digest = sha256('x')
         WHERE account_id = custody() AND end_time = (SELECT max(end_time) FROM sealed_period)",
        &[("custody", true, "version 10"), ("", true, "entries, digest")],
    ),
    (
        "DELETE FROM carry_forward
         WHERE account_id = custody() AND end_time = (SELECT max(end_time) FROM sealed_period)",
        &[("custody", true, "version 10"), ("", true, "entries, digest")],
    ),
    (
        "INSERT INTO carry_forward SELECT owner_id, account_id, time + interval '1 us', version, time, reservation_count,
                entries, unit, available, held, digest
         FROM carry_forward WHERE account_id = custody() AND end_time = (SELECT max(end_time) FROM sealed_period)",
        &[("custody", true, "a carry-forward that ends at ")],
    ),
    (
        "UPDATE sealed_period SET digest = sha256('x') WHERE previous_digest IS NULL",
        &[("", false, "behind digest"), ("", false, "entries of 1 owners, digest")],
    ),
    (
        "UPDATE sealed_period SET start_time = start_time + interval '1 us' WHERE previous_digest IS NOT NULL",
        &[
            ("", false, "behind digest"),
            ("", false, "entries of 1 owners, digest"),
            ("", true, "entries, digest"),
        ],
    ),
];

#[tokio::test]
async fn l8_detects_seals_that_contradict_each_other() {
    let sealed = SealedLedger::open().await;
    for (harm, expected) in SEAL_HARMS {
        let breaches = sealed.breaches(harm).await;
        for (account, has_owner, part) in expected {
            let found = breaches.iter().find(|breach| {
                let owner = if *has_owner { sealed.owner() } else { "" };
                breach.account == *account
                    && breach.owner_id == owner
                    && breach.actual.contains(part)
            });
            let found =
                found.unwrap_or_else(|| panic!("{harm}: {part} is not among {breaches:#?}"));
            assert_ne!(found.expected, found.actual, "{harm}");
        }
    }
    verify(&sealed.ledger.fixture.earmark).await.assert_sound();
}

/// What `--chain` finds without hashing entries again, and how many breaches of L8 it is.
const CHAIN_HARMS: [(&str, usize); 8] = [
    ("SELECT 1", 0),
    // In the middle of a period: only hashing finds it.
    (
        "UPDATE entry SET cause = 'CANCEL' WHERE account_id = custody() AND version = 3",
        0,
    ),
    (
        "UPDATE entry SET available = available + 1 WHERE account_id = custody() AND version = 10",
        1,
    ),
    (
        "DELETE FROM entry WHERE account_id = custody() AND version = 10",
        1,
    ),
    (
        "UPDATE carry_forward SET held = held + 1 WHERE account_id = custody() AND version = 10",
        2,
    ),
    (
        "UPDATE carry_forward SET digest = sha256('x') WHERE account_id = custody() AND version = 10",
        1,
    ),
    (
        "UPDATE sealed_owner SET digest = sha256('x') WHERE end_time = (SELECT max(end_time) FROM sealed_period)",
        2,
    ),
    (
        "UPDATE sealed_period SET digest = sha256('x') WHERE previous_digest IS NOT NULL",
        1,
    ),
];

#[tokio::test]
async fn the_chain_is_checked_without_hashing_entries_again() {
    let sealed = SealedLedger::open().await;
    for (harm, count) in CHAIN_HARMS {
        let lines = sealed.chain(harm).await;
        assert_eq!(lines.len(), count, "{harm}: {lines:#?}");
    }
    let url = &sealed.ledger.fixture.earmark.url;
    let verified = run(&mut earmark(&["verify", "--chain", "--database-url", url]));
    assert_eq!(
        text(&verified.stdout),
        "4 accounts, 15 entries, 2 sealed periods: L1 to L7 hold, and the chain of L8; sealed entries were not hashed \
         again.\n"
    );
    let verified = run(&mut earmark(&["verify", "--database-url", url]));
    assert_eq!(
        text(&verified.stdout),
        "4 accounts, 15 entries, 2 sealed periods: L1 to L8 hold.\n"
    );
}
