//! `earmark seal`: which periods it seals, what it waits for, where it stops, and that it goes on there.

mod command;
mod waits;

use std::time::Duration;

use earmark::db::connect::Connector;
use earmark::ledger::seal::model::PeriodSeal;
use earmark::ledger::seal::run::{SealError, SealOptions, seal};
use earmark::types::period::CalendarPeriod;
use earmark::types::time::Time;
use tokio_postgres::Client;
use tokio_postgres::error::DbError;

use crate::support::cluster::{TestDatabase, database};
use crate::support::locks::session;

const BY_MONTH: SealOptions = SealOptions {
    length: CalendarPeriod::Month,
    grace: Duration::from_secs(3_600),
    until: None,
};

/// Seals, and returns the periods that were.
async fn sealed(url: &str, options: &SealOptions) -> Result<Vec<PeriodSeal>, SealError> {
    let connector = Connector::new(url).expect("a URL");
    let mut periods = Vec::new();
    seal(&connector, options, |period| periods.push(*period)).await?;
    Ok(periods)
}

fn at(text: &str) -> Time {
    Time::parse_exact(text).map(Time::floor).expect(text)
}

/// A journal of `owners` owners, each of which moved 1 EUR into its account every day from 2026-01-10 on, `days` times.
async fn journal(owners: u32, days: u32) -> (TestDatabase, Client) {
    let db = database().await;
    let sql = session(&db.url).await;
    let fill = format!(
        "CREATE FUNCTION owner_at(n int) RETURNS uuid LANGUAGE sql AS
             $$SELECT ('00000000-0000-0000-0001-' || lpad(to_hex(n), 12, '0'))::uuid$$;
         INSERT INTO owner (owner_id) SELECT owner_at(n) FROM generate_series(1, {owners}) n;
         INSERT INTO account (owner_id, account_id, unit, available, held, version, reservation_count)
         SELECT owner_at(n), account.id::uuid, 'EUR', account.sign * {days}, 0, {days}, 0
         FROM generate_series(1, {owners}) n,
              (VALUES ('00000000-0000-0000-0000-000000000001', 1), ('00000000-0000-0000-0000-000000000002', -1)) account(id, sign);
         INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause,
                            cause_id, time, reservation_count)
         SELECT owner_at(n), account.id::uuid, 'EUR', day, account.sign, 0, account.sign * day, 0, 'ADJUST',
                gen_random_uuid(), '2026-01-09T12:00:00Z'::timestamptz + day * interval '1 day', 0
         FROM generate_series(1, {owners}) n, generate_series(1, {days}) day,
              (VALUES ('00000000-0000-0000-0000-000000000001', 1), ('00000000-0000-0000-0000-000000000002', -1)) account(id, sign)"
    );
    sql.batch_execute(&fill).await.expect("filled");
    (db, sql)
}

async fn count(sql: &Client, table: &str) -> i64 {
    let count = format!("SELECT count(*) FROM {table}");
    sql.query_one(&count, &[]).await.expect(&count).get(0)
}

#[tokio::test]
async fn finished_months_are_sealed_in_order_and_only_once() {
    let (db, sql) = journal(3, 40).await;
    let march = SealOptions {
        until: Some(at("2026-03-01T00:00:00Z")),
        ..BY_MONTH
    };
    let periods = sealed(&db.url, &march).await.expect("sealed");
    let [january, february] = &periods[..] else {
        panic!("{periods:?}");
    };
    // 22 and 18 days, on two accounts.
    assert_eq!((january.owners, january.entries), (3, 132));
    assert_eq!((february.owners, february.entries), (3, 108));
    assert_eq!(january.bounds.start, at("2026-01-10T00:00:00Z"));
    assert_eq!(january.previous, None);
    assert_eq!(february.previous, Some(january.digest));
    assert_eq!(count(&sql, "sealed_period").await, 2);
    assert_eq!(count(&sql, "sealed_owner").await, 6);
    assert_eq!(count(&sql, "carry_forward").await, 12);
    assert_eq!(sealed(&db.url, &march).await.expect("sealed"), []);
    // Carry-forwards are the balances at the end.
    let differing = "SELECT count(*) FROM carry_forward c
        LEFT JOIN LATERAL (SELECT * FROM entry e WHERE e.owner_id = c.owner_id AND e.account_id = c.account_id
            AND e.unit = c.unit AND e.time < c.end_time ORDER BY time DESC LIMIT 1) e ON true
        WHERE (e.version, e.available, e.held, e.time) IS DISTINCT FROM (c.version, c.available, c.held, c.time)";
    assert_eq!(
        sql.query_one(differing, &[])
            .await
            .expect(differing)
            .get::<_, i64>(0),
        0
    );
}

#[tokio::test]
async fn periods_follow_each_other_whatever_their_length() {
    let (db, sql) = journal(1, 20).await;
    let until = |text| SealOptions {
        until: Some(at(text)),
        ..BY_MONTH
    };
    let first = sealed(&db.url, &until("2026-01-12T06:00:00Z")).await;
    assert_eq!(first.expect("sealed").len(), 1);
    let weeks = SealOptions {
        length: CalendarPeriod::Week,
        ..until("2026-01-27T00:00:00Z")
    };
    let ends: Vec<String> = sealed(&db.url, &weeks)
        .await
        .expect("sealed")
        .iter()
        .map(|period| period.bounds.to_string())
        .collect();
    assert_eq!(
        ends,
        [
            "2026-01-12T06:00:00.000000Z to 2026-01-19T00:00:00.000000Z",
            "2026-01-19T00:00:00.000000Z to 2026-01-26T00:00:00.000000Z",
            "2026-01-26T00:00:00.000000Z to 2026-01-27T00:00:00.000000Z",
        ]
    );
    // A period without entries is sealed as well, by the clock of the database.
    let clock = sql
        .query_one("SELECT clock_timestamp()", &[])
        .await
        .expect("a clock");
    let clock: chrono::DateTime<chrono::Utc> = clock.get(0);
    let last = sealed(&db.url, &BY_MONTH).await.expect("sealed");
    assert_eq!(last[0].bounds.end, at("2026-02-01T00:00:00Z"));
    assert!(
        last[1..]
            .iter()
            .all(|period| (period.owners, period.entries) == (0, 0))
    );
    let latest = Time::from(clock - chrono::TimeDelta::hours(1));
    assert!(
        last.iter()
            .all(|period| period.bounds.end <= latest.plus(Duration::from_secs(60)))
    );
}

#[tokio::test]
async fn an_empty_ledger_has_no_period_to_seal() {
    let db = database().await;
    assert_eq!(sealed(&db.url, &BY_MONTH).await.expect("sealed"), []);
}

#[tokio::test]
async fn a_time_that_has_not_passed_is_refused() {
    let (db, sql) = journal(1, 1).await;
    let clock = sql
        .query_one("SELECT clock_timestamp()", &[])
        .await
        .expect("a clock");
    let clock: Time = clock.get::<_, chrono::DateTime<chrono::Utc>>(0).into();
    let now = SealOptions {
        until: Some(clock),
        ..BY_MONTH
    };
    let refused = sealed(&db.url, &now)
        .await
        .expect_err("an hour has not passed");
    assert!(
        matches!(refused, SealError::NotFinished { .. }),
        "{refused}"
    );
    assert_eq!(count(&sql, "sealed_owner").await, 0);
}

/// Each harm, and what the error says of it.
const HARMS: [(&str, &str); 7] = [
    // The last entry of the period: the next one shows that it lacks.
    (
        "DELETE FROM entry WHERE version = 5 AND owner_id = owner_at(150)",
        "custody, EUR: expected version 5 after 2026-01-15T00:00:00.000000Z, found version 6",
    ),
    // All that the account ever had, in a period with nothing behind it.
    (
        "DELETE FROM entry WHERE owner_id = owner_at(150)",
        "custody, EUR: expected version 1 after 2026-01-15T00:00:00.000000Z, found none, though the account has version 10",
    ),
    (
        "DELETE FROM entry WHERE version = 4 AND owner_id = owner_at(150)",
        "expected version 4, 3 available, 0 held and then 1 available, 0 held, later than 2026-01-12T12:00:00.000000Z, \
         found version 5",
    ),
    (
        "UPDATE entry SET available = 9 WHERE version = 5 AND owner_id = owner_at(150) AND available > 0",
        "found version 5, 9 available, 0 held at 2026-01-14T12:00:00.000000Z",
    ),
    (
        "UPDATE entry SET held_delta = 1 WHERE version = 5 AND owner_id = owner_at(150) AND available > 0",
        "custody, EUR: expected version 5, 4 available, 0 held and then 1 available, 1 held",
    ),
    (
        "DROP INDEX entry_key;
         INSERT INTO entry SELECT * FROM entry WHERE version = 5 AND owner_id = owner_at(150) AND available > 0",
        "expected version 6, 5 available, 0 held and then 1 available, 0 held, later than 2026-01-14T12:00:00.000000Z, \
         found version 5",
    ),
    (
        "UPDATE entry SET time = time - interval '3 days' WHERE version = 5 AND owner_id = owner_at(150)",
        "expected version 3",
    ),
];

#[tokio::test]
async fn a_breach_stops_the_seal_which_goes_on_from_there_when_it_is_mended() {
    for (harm, named) in HARMS {
        let (db, sql) = journal(150, 10).await;
        let whole = SealOptions {
            until: Some(at("2026-01-15T00:00:00Z")),
            ..BY_MONTH
        };
        let save = format!("CREATE TABLE saved AS TABLE entry; {harm}");
        sql.batch_execute(&save).await.expect(harm);
        let stopped = sealed(&db.url, &whole).await.expect_err(harm).to_string();
        let place = "L4 does not hold in the period 2026-01-10T00:00:00.000000Z to 2026-01-15T00:00:00.000000Z";
        assert!(stopped.starts_with(place), "{harm}: {stopped}");
        assert!(
            stopped.contains("owner 00000000-0000-0000-0001-000000000096"),
            "{harm}: {stopped}"
        );
        assert!(stopped.contains(named), "{harm}: {stopped}");
        assert_eq!(count(&sql, "sealed_period").await, 0);
        assert_eq!(
            count(&sql, "sealed_owner").await,
            100,
            "the first batch was written"
        );

        let mend = "TRUNCATE entry; INSERT INTO entry SELECT * FROM saved";
        sql.batch_execute(mend).await.expect(mend);
        // What was begun is finished first, whatever the end that is asked for now.
        let days = SealOptions {
            length: CalendarPeriod::Day,
            until: Some(at("2026-01-16T00:00:00Z")),
            ..BY_MONTH
        };
        let periods = sealed(&db.url, &days).await.expect("sealed");
        assert_eq!(periods.len(), 2, "{periods:?}");
        let (fresh_db, fresh) = journal(0, 1).await;
        copy(&sql, &fresh).await;
        let at_once = sealed(&fresh_db.url, &whole).await.expect("sealed");
        assert_eq!(
            periods[0], at_once[0],
            "as if it had never been interrupted"
        );
    }
}

/// Copies the ledger's tables that a seal reads.
async fn copy(from: &Client, to: &Client) {
    for table in ["owner", "account", "entry"] {
        let rows = format!("SELECT coalesce(json_agg(t), '[]')::text FROM {table} t");
        let rows: String = from.query_one(&rows, &[]).await.expect(&rows).get(0);
        let insert = format!(
            "INSERT INTO {table} SELECT * FROM json_populate_recordset(NULL::{table}, $1::text::json)"
        );
        to.execute(&insert, &[&rows]).await.expect(&insert);
    }
}

#[tokio::test]
async fn the_constraints_keep_the_periods_one_chain() {
    let (db, sql) = journal(1, 3).await;
    let until = SealOptions {
        until: Some(at("2026-01-12T00:00:00Z")),
        ..BY_MONTH
    };
    sealed(&db.url, &until).await.expect("sealed");
    let insert = |start: &str, end: &str, previous: &str| {
        format!(
            "INSERT INTO sealed_period VALUES ('{start}', '{end}', {previous}, sha256('x'), 1, 0, 0, now())"
        )
    };
    let last = "(SELECT digest FROM sealed_period)";
    for (refused, why) in [
        (
            insert("2026-01-12Z", "2026-01-13Z", "NULL"),
            "sealed_period_chain",
        ),
        (
            insert("2026-01-12Z", "2026-01-13Z", "sha256('y')"),
            "sealed_period_follows",
        ),
        (
            insert("2026-01-12T01:00Z", "2026-01-13Z", last),
            "sealed_period_follows",
        ),
        (
            insert("2026-01-10Z", "2026-01-13Z", last),
            "sealed_period_once",
        ),
    ] {
        let error = sql.batch_execute(&refused).await.expect_err(&refused);
        let constraint = error.as_db_error().and_then(DbError::constraint);
        assert_eq!(constraint, Some(why), "{refused}: {error:?}");
    }
}
