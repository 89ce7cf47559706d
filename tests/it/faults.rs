//! Faults around the ledger's writers: every caller is answered correctly and in time, and other callers are not
//! affected.

mod buckets;
mod commits;
mod database;
mod kills;
mod network;
mod outage;
mod pressure;
mod processes;
mod reads;
mod sqlstates;
mod states;

use std::fmt::Debug;
use std::time::Duration;

use earmark::app::AppSettings;
use earmark::ledger::engine::WriterSettings;
use earmark::proto::allocation::v1::CreateAllocationResponse;
use earmark::proto::network::v1::ConnectionMode;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt;

use crate::support::cluster::{TestDatabase, database};
use crate::support::earmark::{Earmark, Parties, Setup, refusal};
use crate::support::locks::{hold_owner, somebody_waits};
use crate::support::proxy::Proxy;

/// Added to time limits for a slow machine.
const SLACK: Duration = Duration::from_secs(6);

/// A server that reaches its database through a network that can fail.
struct World {
    earmark: Earmark,
    proxy: Proxy,
    db: TestDatabase,
}

impl World {
    async fn make(setup: Setup) -> Self {
        let db = database().await;
        let proxy = Proxy::before(&db.url).await;
        let earmark = Earmark::start_on(&proxy.url, setup).await;
        Self { earmark, proxy, db }
    }
}

/// Writers that are set up in this way.
fn with_writers(writer: WriterSettings) -> Setup {
    Setup {
        app: AppSettings {
            writer,
            ..AppSettings::default()
        },
        ..Setup::default()
    }
}

/// A single writer with a long lock wait: commands that arrive while it waits for a locked owner form its next
/// batch of commands.
fn one_patient_writer() -> Setup {
    with_writers(WriterSettings {
        writers: 1,
        lock_wait: Duration::from_secs(6),
        ..WriterSettings::default()
    })
}

/// Clients of one server, each with 1,000 BTC.
async fn clients(earmark: &Earmark, count: usize) -> Vec<Parties> {
    let mut all = Vec::new();
    for _ in 0..count {
        let parties = earmark.parties(ConnectionMode::Confirmed).await;
        earmark.deposit(&parties.enterprise, "BTC", "1000").await;
        all.push(parties);
    }
    all
}

/// Creates an allocation of 1 BTC.
async fn create(
    earmark: &Earmark,
    parties: &Parties,
    key: &str,
) -> Result<Response<CreateAllocationResponse>, Status> {
    create_with_notes(earmark, parties, key, None).await
}

async fn create_with_notes(
    earmark: &Earmark,
    parties: &Parties,
    key: &str,
    notes: Option<&str>,
) -> Result<Response<CreateAllocationResponse>, Status> {
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    let mut request = parties.allocation("BTC", "1", key);
    request.notes = notes.map(str::to_owned);
    client.create_allocation(request).await
}

/// Makes these calls while the only writer waits for the locked owner of `plug`, so that one batch has them all.
async fn in_one_batch<T>(
    earmark: &Earmark,
    database_url: &str,
    plug: &Parties,
    calls: impl Future<Output = T>,
) -> T {
    let holder = hold_owner(database_url, &plug.enterprise).await;
    let rest = async {
        somebody_waits(database_url).await;
        let let_go = async {
            // Longer than the calls need to arrive, and well below what any of them waits for an owner.
            tokio::time::sleep(Duration::from_millis(400)).await;
            holder.batch_execute("COMMIT").await.expect("let go");
        };
        tokio::join!(calls, let_go).0
    };
    let (first, answers) = tokio::join!(create(earmark, plug, "plug"), rest);
    first.expect("reserved");
    answers
}

/// Asserts that a read ended with UNAVAILABLE and this reason, and may be tried again.
#[track_caller]
fn assert_refused_read<T: Debug>(answer: Result<T, Status>, reason: &str) {
    let status = answer.as_ref().err().cloned();
    refusal(answer).expect(Code::Unavailable, reason);
    let retry = status.and_then(|status| status.get_details_retry_info());
    assert!(retry.is_some_and(|retry| retry.retry_delay.is_some()));
}

/// Asserts that the call was refused for this reason, that nothing was applied, and that it may be tried again.
#[track_caller]
fn assert_refused<T: Debug>(answer: Result<T, Status>, code: Code, reason: &str) {
    let retry = answer
        .as_ref()
        .err()
        .and_then(|status| status.get_details_retry_info());
    let refused = refusal(answer).expect(code, reason);
    assert_eq!(refused.metadata["outcome"], "not_applied", "{refused:?}");
    let delay = retry.and_then(|retry| retry.retry_delay);
    assert!(delay.is_some(), "no RetryInfo: {refused:?}");
}
