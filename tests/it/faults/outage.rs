//! A database that is slow keeps nobody from an answer; one that does not answer at all is reported in time to everybody
//! who waits.

use std::time::{Duration, Instant};

use earmark::ledger::engine::WriterSettings;
use earmark::limits::{LEDGER_ROUND_TRIP_MAX, OUTAGE_PATIENCE};
use futures_util::future::join_all;
use tokio_postgres::Client;
use tonic::Code;

use super::pressure::{assert_all_reserved, one_writer, submit};
use super::{SLACK, assert_refused, clients, create, with_writers};
use crate::support::cluster::{Frozen, own_cluster};
use crate::support::earmark::Earmark;
use crate::support::ledger_dump::assert_sound;
use crate::support::locks::{hold_owner, session, somebody_waits};
use crate::support::service::is_replayed;
use crate::support::triggers::on_insert;

/// When a trigger sleeps: at the end of the statement that inserts, or when the transaction is committed.
#[derive(Clone, Copy, Debug)]
enum Sleeps {
    InStatement,
    InCommit,
}

/// Makes each transaction that inserts into this table sleep once.
async fn sleep_once(sql: &Client, table: &str, when: Sleeps, seconds: f64) {
    let deferral = match when {
        Sleeps::InStatement => "NOT DEFERRABLE",
        Sleeps::InCommit => "DEFERRABLE INITIALLY DEFERRED",
    };
    let trigger = format!(
        "CREATE OR REPLACE FUNCTION sleep_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF current_setting('slept.' || TG_TABLE_NAME, true)
                IS DISTINCT FROM pg_current_xact_id()::text THEN
                 PERFORM set_config('slept.' || TG_TABLE_NAME, pg_current_xact_id()::text, true);
                 PERFORM pg_sleep(TG_ARGV[0]::float8);
             END IF;
             RETURN NULL;
         END $$;
         CREATE CONSTRAINT TRIGGER sleep_once AFTER INSERT ON {table} {deferral}
             FOR EACH ROW EXECUTE FUNCTION sleep_once({seconds})"
    );
    sql.batch_execute(&trigger).await.expect(&trigger);
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_that_take_longer_than_an_outage_may_keep_nobody_from_an_answer() {
    // One statement that takes long, and a batch in which no single one does.
    let slow_batches = [
        vec![("open_allocation", Sleeps::InStatement, 2.6)],
        vec![
            ("open_allocation", Sleeps::InStatement, 1.3),
            ("entry", Sleeps::InCommit, 1.3),
        ],
    ];
    join_all(slow_batches.map(async |sleeps| {
        let earmark = Earmark::start_with(one_writer()).await;
        let all = clients(&earmark, 3).await;
        earmark.deposit(&all[0].enterprise, "BTC", "10000").await;
        let sql = earmark.sql().await;
        for (table, when, seconds) in &sleeps {
            sleep_once(&sql, table, *when, *seconds).await;
        }
        let submissions = [0, 1].map(|index| submit(&earmark, &all[0], &format!("{index}")));
        let creates = (0..10).map(async |index| {
            tokio::time::sleep(Duration::from_millis(100) * index).await;
            create(
                &earmark,
                &all[1 + index as usize % 2],
                &format!("lone {index}"),
            )
            .await
        });
        let answers = join_all(creates).await;
        let refused: Vec<_> = answers.iter().filter_map(|it| it.as_ref().err()).collect();
        assert!(
            refused.is_empty(),
            "{sleeps:?}: {} of {} were refused, the first: {:?}",
            refused.len(),
            answers.len(),
            refused[0]
        );
        for submission in submissions {
            assert_all_reserved(submission.await.expect("no panic"));
        }
        let dump = assert_sound(&earmark).await;
        assert_eq!(dump.allocations.len(), 2_010, "{sleeps:?}");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_lost_in_a_slow_statement_is_made_anew() {
    let earmark = Earmark::start_with(one_writer()).await;
    let all = clients(&earmark, 2).await;
    let sql = earmark.sql().await;
    let faults = "CREATE SEQUENCE faults";
    sql.batch_execute(faults).await.expect(faults);
    let end_the_first = "IF nextval('faults') = 1 THEN
             PERFORM pg_sleep(2.6);
             PERFORM pg_terminate_backend(pg_backend_pid());
         END IF";
    on_insert(&sql, end_the_first, "true").await;
    let calls =
        (0..10).map(async |index| create(&earmark, &all[index % 2], &format!("{index}")).await);
    for answer in join_all(calls).await {
        assert!(!is_replayed(&answer.expect("tried again")));
    }
    assert_sound(&earmark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_backend_that_stands_still_is_given_up_and_refuses_nobody() {
    let lock_wait = Duration::from_secs(2);
    let own = own_cluster().await;
    let url = own.database("shelf").await;
    let setup = with_writers(WriterSettings {
        writers: 1,
        lock_wait,
        patience: Duration::from_secs(60),
        ..WriterSettings::default()
    });
    let earmark = Earmark::start_on(&url, setup).await;
    let all = clients(&earmark, 3).await;
    let holder = hold_owner(&url, &all[0].enterprise).await;
    let frozen = async {
        somebody_waits(&url).await;
        let sql = "SELECT pid FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let pid = session(&url).await.query_one(sql, &[]).await.expect(sql);
        let frozen = Frozen::new(vec![pid.get(0)]);
        let calls = (0..10).map(async |index| {
            let asked = Instant::now();
            let parties = &all[1 + index % 2];
            let answer = create(&earmark, parties, &format!("{index}")).await;
            answer.expect("the database answers others");
            asked.elapsed()
        });
        let waits = join_all(calls).await;
        let limit = LEDGER_ROUND_TRIP_MAX + lock_wait + SLACK;
        assert!(waits.iter().all(|waited| *waited < limit), "{waits:?}");
        drop(frozen);
        holder.batch_execute("COMMIT").await.expect("let go");
    };
    let (first, ()) = tokio::join!(create(&earmark, &all[0], "first"), frozen);
    assert!(!is_replayed(&first.expect("tried again")));
    assert_sound(&earmark).await;
    own.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stands_still_is_an_outage_for_all_who_wait() {
    const CALLS: usize = 12;
    let own = own_cluster().await;
    let url = own.database("shelf").await;
    let setup = with_writers(WriterSettings {
        writers: 1,
        ..WriterSettings::default()
    });
    let earmark = Earmark::start_on(&url, setup).await;
    let all = clients(&earmark, 3).await;
    create(&earmark, &all[0], "before").await.expect("reserved");
    let frozen = own.freeze();
    let calls = (0..CALLS).map(async |index| {
        tokio::time::sleep(Duration::from_millis(100) * index as u32).await;
        let asked = Instant::now();
        let answer = create(&earmark, &all[index % 3], &format!("{index}")).await;
        assert_refused(answer, Code::Unavailable, "DATABASE_UNAVAILABLE");
        asked.elapsed()
    });
    let mut waits = join_all(calls).await;
    waits.sort_unstable();
    // The writer holds one of them, and waits for as long as a round trip may take.
    let limit = LEDGER_ROUND_TRIP_MAX + OUTAGE_PATIENCE;
    assert!(waits[CALLS - 1] < limit, "{waits:?}");
    assert!(waits[CALLS - 1] > LEDGER_ROUND_TRIP_MAX, "{waits:?}");
    assert!(waits[CALLS - 2] < 3 * OUTAGE_PATIENCE, "{waits:?}");
    assert!(waits[0] > OUTAGE_PATIENCE.mul_f64(0.9), "{waits:?}");
    drop(frozen);
    let again = create(&earmark, &all[0], "0").await;
    assert!(!is_replayed(
        &again.expect("the first one after the outage")
    ));
    assert_sound(&earmark).await;
    own.stop().await;
}
