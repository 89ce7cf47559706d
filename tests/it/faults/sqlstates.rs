//! Errors that the database raises, by their SQLSTATEs.

use std::time::Duration;

use earmark::db::connect::Session;
use earmark::ledger::engine::WriterSettings;
use earmark::proto::allocation::v1::CreateAllocationResponse;
use futures_util::future::join_all;
use tonic::{Code, Response, Status};

use super::{
    SLACK, assert_refused, clients, create, create_with_notes, in_one_batch, one_patient_writer,
    with_writers,
};
use crate::support::earmark::{Earmark, Parties, Setup, refusal};
use crate::support::ledger_dump::assert_sound;
use crate::support::service::is_replayed;
use crate::support::triggers::{fail_first, fail_where, heal, on_insert};

/// The number of valid calls in a batch.
const NEIGHBOURS: usize = 60;
/// All but the call that the others wait behind.
const NOT_THE_PLUG: &str = "NEW.client_external_id <> 'plug'";

/// One call with these notes and 60 without, of its owner and of two others, all in one batch. Asserts that the 60
/// succeed; returns what became of the one.
async fn among_neighbours(
    earmark: &Earmark,
    all: &[Parties],
    notes: &str,
) -> Result<Response<CreateAllocationResponse>, Status> {
    let calls = (0..NEIGHBOURS).map(async |index| {
        let key = format!("neighbour {index}");
        create(earmark, &all[index % 3], &key).await
    });
    let calls = async {
        let marked = create_with_notes(earmark, &all[0], notes, Some(notes));
        tokio::join!(marked, join_all(calls))
    };
    let (marked, neighbours) = in_one_batch(earmark, &earmark.url, &all[3], calls).await;
    for neighbour in neighbours {
        assert!(!is_replayed(&neighbour.expect("has nothing to do with it")));
    }
    marked
}

#[tokio::test(flavor = "multi_thread")]
async fn transient_conflicts_are_retried_without_an_error() {
    let earmark = Earmark::start_with(one_patient_writer()).await;
    let all = clients(&earmark, 2).await;
    let sql = earmark.sql().await;
    for errcode in ["40P01", "40001"] {
        fail_first(&sql, errcode, 2, "true").await;
        let lone = create(&earmark, &all[0], errcode).await;
        assert!(!is_replayed(&lone.expect("tried again")), "{errcode}");
        assert_eq!(
            earmark.count("SELECT last_value FROM faults").await,
            3,
            "two failed, the third did not"
        );
    }
    fail_first(&sql, "40P01", 2, NOT_THE_PLUG).await;
    let calls = (0..20).map(async |index| create(&earmark, &all[1], &index.to_string()).await);
    let together = in_one_batch(&earmark, &earmark.url, &all[0], join_all(calls)).await;
    for answer in together {
        answer.expect("tried again");
    }
    assert_sound(&earmark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persistent_conflict_is_contention_for_the_conflicting_command_only() {
    let earmark = Earmark::start_with(one_patient_writer()).await;
    let all = clients(&earmark, 4).await;
    let sql = earmark.sql().await;
    fail_where(&sql, "40001", "NEW.notes = 'unlucky'").await;
    let unlucky = among_neighbours(&earmark, &all, "unlucky").await;
    assert_refused(unlucky, Code::Aborted, "CONTENTION");
    heal(&sql).await;
    let again = create_with_notes(&earmark, &all[0], "unlucky", Some("unlucky")).await;
    assert!(!is_replayed(&again.expect("reserved")), "it left no key");
    assert_sound(&earmark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_the_database_refuses_does_not_fail_its_batch() {
    let earmark = Earmark::start_with(one_patient_writer()).await;
    let all = clients(&earmark, 4).await;
    let sql = earmark.sql().await;
    let check =
        "ALTER TABLE open_allocation ADD CONSTRAINT poison CHECK (notes IS DISTINCT FROM 'poison')";
    sql.batch_execute(check).await.expect(check);
    let poison = among_neighbours(&earmark, &all, "poison").await;
    let told = format!("{poison:?}").to_lowercase();
    assert!(!told.contains("constraint"), "{told}");
    let refused = refusal(poison).expect(Code::Internal, "INTERNAL");
    assert_eq!(refused.metadata["outcome"], "not_applied");
    let dump = assert_sound(&earmark).await;
    assert_eq!(dump.allocations.len(), NEIGHBOURS + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_statement_fails_its_own_command_only() {
    let earmark = Earmark::start_with(one_patient_writer()).await;
    let all = clients(&earmark, 4).await;
    let sql = earmark.sql().await;
    fail_where(&sql, "57014", "NEW.notes = 'slow'").await;
    let slow = among_neighbours(&earmark, &all, "slow").await;
    assert_refused(slow, Code::Unavailable, "DATABASE_UNAVAILABLE");
    heal(&sql).await;
    let again = create_with_notes(&earmark, &all[0], "slow", Some("slow")).await;
    assert!(!is_replayed(&again.expect("reserved")), "it left no key");

    // After a failed batch its commands are tried one by one.
    fail_first(&sql, "57014", 1, NOT_THE_PLUG).await;
    let calls = (0..4).map(async |index| create(&earmark, &all[1], &index.to_string()).await);
    let together = in_one_batch(&earmark, &earmark.url, &all[2], join_all(calls)).await;
    for answer in together {
        answer.expect("tried again");
    }
    assert_sound(&earmark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_over_the_time_limit_is_cancelled_by_the_database() {
    let setup = Setup {
        session: Session {
            statement_timeout: Duration::from_secs(2),
            ..Session::default()
        },
        ..Setup::default()
    };
    let earmark = Earmark::start_with(setup).await;
    let parties = &clients(&earmark, 1).await[0];
    let sql = earmark.sql().await;
    on_insert(&sql, "PERFORM pg_sleep(60)", "true").await;
    let slow = create(&earmark, parties, "key").await;
    assert_refused(slow, Code::Unavailable, "DATABASE_UNAVAILABLE");
    heal(&sql).await;
    let again = create(&earmark, parties, "key").await;
    assert!(!is_replayed(&again.expect("reserved")), "it left no key");
}

/// As a migration does that takes long: everybody is refused in time rather than at their deadlines.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_locked_for_long_is_contention_and_nothing_is_applied_in_part() {
    let patience = Duration::from_secs(1);
    let setup = with_writers(WriterSettings {
        patience,
        ..WriterSettings::default()
    });
    let earmark = Earmark::start_with(setup).await;
    let all = clients(&earmark, 3).await;
    let sql = earmark.sql().await;
    let lock = "BEGIN; LOCK TABLE entry IN SHARE MODE";
    sql.batch_execute(lock).await.expect(lock);
    let calls = (0..12).map(async |index| {
        let key = format!("{index}");
        let call = create(&earmark, &all[index % 3], &key);
        tokio::time::timeout(patience + SLACK, call).await
    });
    for answer in join_all(calls).await {
        let answer = answer.expect("an answer in time");
        assert_refused(answer, Code::Aborted, "CONTENTION");
    }
    sql.batch_execute("COMMIT").await.expect("unlocked");
    for index in 0..12 {
        let again = create(&earmark, &all[index % 3], &format!("{index}")).await;
        assert!(!is_replayed(&again.expect("reserved")), "it left no key");
    }
    assert_sound(&earmark).await;
}
