//! The RPC VerifyLedger: its deadline, its limit of concurrent calls, its cancellation.

use std::time::Duration;

use earmark::proto::balance::v1::VerifyLedgerRequest;
use earmark::server::ServerSettings;
use tokio_postgres::Client;
use tonic::{Code, Request, Status, Streaming};

use crate::support::cluster::SERVER_ROLE;
use crate::support::earmark::{Earmark, Setup, refusal};
use crate::support::locks;
use crate::verify::{try_verify, verify};

/// Makes a verification take as long as this, once it has begun.
async fn slow_down(earmark: &Earmark, seconds: f64) {
    let sql = format!(
        "ALTER TABLE adjustment RENAME TO adjustments;
         CREATE FUNCTION slow_adjustments() RETURNS SETOF adjustments LANGUAGE plpgsql AS
         $$BEGIN PERFORM pg_sleep({seconds}); RETURN QUERY SELECT * FROM adjustments; END$$;
         CREATE VIEW adjustment AS SELECT * FROM slow_adjustments();
         GRANT SELECT ON adjustment TO {SERVER_ROLE}"
    );
    earmark.sql().await.batch_execute(&sql).await.expect("slow");
}

/// The status that ends a stream.
async fn end_of<T>(mut stream: Streaming<T>) -> Status {
    loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended well"),
            Err(status) => return status,
        }
    }
}

/// Waits until this many statements of verifications run.
async fn until_running(sql: &Client, number: i64) {
    let running = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                   AND state = 'active' AND wait_event = 'PgSleep'";
    let wait = async {
        while sql
            .query_one(running, &[])
            .await
            .expect(running)
            .get::<_, i64>(0)
            != number
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), wait).await;
    waited.unwrap_or_else(|_| panic!("never {number}"));
}

#[tokio::test]
async fn a_verification_may_take_longer_than_other_calls() {
    let call_max = Duration::from_millis(1_500);
    let setup = Setup {
        settings: ServerSettings {
            call_max,
            lame_duck: Duration::ZERO,
            ..ServerSettings::default()
        },
        ..Setup::default()
    };
    let earmark = Earmark::start_with(setup).await;
    // Two statements look at adjustments.
    slow_down(&earmark, 1.0).await;
    let started = std::time::Instant::now();
    verify(&earmark).await.assert_sound();
    assert!(started.elapsed() > call_max);
}

#[tokio::test]
async fn the_clients_deadline_ends_a_verification() {
    let earmark = Earmark::start().await;
    slow_down(&earmark, 60.0).await;
    let mut request = Request::new(VerifyLedgerRequest {});
    request.set_timeout(Duration::from_secs(3));
    let answer = earmark.admin().balance.verify_ledger(request).await;
    let stream = answer.expect("begun").into_inner();
    let status = end_of(stream).await;
    // The client's own timer may fire first.
    assert!(
        [Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()),
        "{status:?}"
    );
    until_running(&earmark.sql().await, 0).await;
}

#[tokio::test]
async fn cancelling_a_verification_cancels_its_statement() {
    let earmark = Earmark::start().await;
    slow_down(&earmark, 60.0).await;
    let sql = earmark.sql().await;
    let answer = earmark
        .admin()
        .balance
        .verify_ledger(VerifyLedgerRequest {})
        .await;
    let stream = answer.expect("begun").into_inner();
    until_running(&sql, 1).await;
    drop(stream);
    until_running(&sql, 0).await;
}

#[tokio::test]
async fn at_most_two_verifications_run_at_the_same_time() {
    let earmark = Earmark::start().await;
    let holder = locks::session(&earmark.url).await;
    let lock = "BEGIN; LOCK TABLE account IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.expect(lock);
    let third = async {
        locks::somebody_waits(&earmark.url).await;
        loop {
            // The second call may not have arrived yet.
            let mut request = Request::new(VerifyLedgerRequest {});
            request.set_timeout(Duration::from_millis(300));
            let answer = earmark.admin().balance.verify_ledger(request).await;
            let status = answer.expect_err("no place, or no answer");
            if status.code() == Code::ResourceExhausted {
                refusal::<()>(Err(status)).expect(Code::ResourceExhausted, "OVERLOADED");
                break;
            }
        }
        holder.batch_execute("ROLLBACK").await.expect("let go");
    };
    let (one, two, ()) = tokio::join!(try_verify(&earmark), try_verify(&earmark), third);
    for told in [one, two] {
        told.expect("verified").assert_sound();
    }
    verify(&earmark).await.assert_sound();
}

#[tokio::test]
async fn a_drain_ends_a_verification_with_unavailable() {
    let earmark = Earmark::start().await;
    slow_down(&earmark, 60.0).await;
    let answer = earmark
        .admin()
        .balance
        .verify_ledger(VerifyLedgerRequest {})
        .await;
    let stream = answer.expect("begun").into_inner();
    until_running(&earmark.sql().await, 1).await;
    earmark.shutdown.ask();
    let status = end_of(stream).await;
    refusal::<()>(Err(status)).expect(Code::Unavailable, "SHUTTING_DOWN");
}

#[tokio::test]
async fn a_terminated_session_ends_a_verification_with_unavailable() {
    let earmark = Earmark::start().await;
    slow_down(&earmark, 60.0).await;
    let sql = earmark.sql().await;
    let answer = earmark
        .admin()
        .balance
        .verify_ledger(VerifyLedgerRequest {})
        .await;
    let stream = answer.expect("begun").into_inner();
    until_running(&sql, 1).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND wait_event = 'PgSleep'";
    sql.batch_execute(end).await.expect(end);
    let status = end_of(stream).await;
    refusal::<()>(Err(status)).expect(Code::Unavailable, "DATABASE_UNAVAILABLE");
}

/// Inserts this many owners, each with a deposit of 5.
const OWNERS: &str = "
    CREATE TEMPORARY TABLE made AS
    SELECT lpad(to_hex(n), 32, '0')::uuid AS owner_id, now() AS time FROM generate_series(16, 2515) n;
    CREATE TEMPORARY TABLE leg (account_id, value) AS
    VALUES ('00000000-0000-0000-0000-000000000001'::uuid, 5), ('00000000-0000-0000-0000-000000000002'::uuid, -5);
    INSERT INTO account SELECT owner_id, account_id, 'BTC', value, 0, 1 FROM made, leg;
    INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause, cause_id,
                       time)
    SELECT owner_id, account_id, 'BTC', 1, value, 0, value, 0, 'ADJUST', owner_id, time FROM made, leg;
    INSERT INTO adjustment SELECT owner_id, owner_id, 'key', 'BTC', 5, 'reason', 'me', '', 1, time FROM made;";

#[tokio::test]
async fn owners_are_verified_in_chunks_and_none_is_skipped() {
    let earmark = Earmark::start().await;
    let sql = earmark.sql().await;
    sql.batch_execute(OWNERS).await.expect("made");
    let told = verify(&earmark).await;
    told.assert_sound();
    assert_eq!(told.summary.accounts, 5_000);
    let done: Vec<i64> = told
        .progress
        .iter()
        .map(|told| told.accounts_done)
        .collect();
    assert_eq!(done, [0, 2_000, 4_000, 5_000]);

    // The first and the last of a chunk, and owners before, between and behind those that have accounts.
    let owner = |number: u128| uuid::Uuid::from_u128(number).to_string();
    let mut harmed = vec![owner(16), owner(1_015), owner(1_016), owner(2_515)];
    for owner in &harmed {
        let harm =
            format!("UPDATE account SET version = 2 WHERE owner_id = '{owner}' AND available > 0");
        sql.batch_execute(&harm).await.expect(&harm);
    }
    let gone = [owner(100), owner(1_500)];
    for owner in [owner(0), owner(u128::MAX)].iter().chain(&gone) {
        let harm = format!(
            "DELETE FROM account WHERE owner_id = '{owner}';
             INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause,
                                cause_id, time)
             SELECT '{owner}', account_id, unit, version, available_delta, held_delta, available, held,
                    cause, cause_id, time FROM entry WHERE owner_id = '{}'
             ON CONFLICT DO NOTHING",
            uuid::Uuid::from_u128(20)
        );
        sql.batch_execute(&harm).await.expect(&harm);
        harmed.push(owner.clone());
    }
    let told = verify(&earmark).await;
    for owner in harmed {
        let named = told
            .breaches
            .iter()
            .any(|breach| breach.invariant == "L4" && breach.owner_id == owner);
        assert!(named, "{owner}");
    }
}

#[tokio::test]
async fn at_most_1000_breaches_are_reported_and_all_are_counted() {
    let earmark = Earmark::start().await;
    let sql = earmark.sql().await;
    sql.batch_execute(OWNERS).await.expect("made");
    let harm = "UPDATE account SET available = available + 1";
    sql.batch_execute(harm).await.expect(harm);
    let told = verify(&earmark).await;
    assert_eq!(told.breaches.len(), 1_000);
    // L1 of every owner, L4 of every account.
    assert_eq!(told.summary.breaches, 2_500 + 5_000);
}
