//! One try of a batch as one transaction.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::db::pg_error::DbFault;
use crate::error::{Error, Outcome, Result};
use crate::ledger::command::{Command, Reply};
use crate::ledger::decide::{Judgement, decide, fill_past, past_balances};
use crate::ledger::state::State;
use crate::ledger::store::{Lock, Needs, Proof, Store, StoreError};
use crate::ledger::writer::micros;
use crate::ledger::writer::outage::OutageClock;
use crate::limits::LEDGER_ROUND_TRIP_MAX;
use crate::types::ids::OwnerId;

/// What became of one command of a batch.
pub(super) enum Verdict {
    /// It was judged.
    Answer(Result<Reply>),
    /// More of its owner's reservations are due than one batch releases: it waits for the next one.
    Later,
    /// Another session holds this one of its owners.
    Blocked(OwnerId),
}

/// What became of a try.
pub(super) enum Attempt {
    /// It is on disk, and these are the verdicts, in the order of the commands.
    Committed(Vec<Verdict>),
    /// None of it happened.
    Failed(Failure),
    /// COMMIT was sent and not answered.
    InDoubt(Doubt),
}

/// Why none of it happened.
pub(super) enum Failure {
    /// The connection is gone.
    Lost,
    /// The server takes no writes.
    Unavailable(Error),
    /// Another session held an owner for too long.
    Locked,
    /// Another write was in the way; another try may succeed.
    Conflict,
    /// Another try would fail too.
    Refused(Error),
}

/// What is needed to find out what became of a transaction.
pub(super) struct Doubt {
    /// The verdicts, if it is on disk.
    pub(super) verdicts: Vec<Verdict>,
    /// The owners that it has locked.
    pub(super) owners: Vec<Uuid>,
    /// Something that it wrote, if it wrote anything.
    pub(super) proof: Option<Proof>,
}

/// What is ready to be committed.
struct Judged {
    verdicts: Vec<Verdict>,
    owners: Vec<Uuid>,
    proof: Option<Proof>,
    times: Times,
}

/// How long the steps of a transaction took.
#[derive(Default)]
struct Times {
    read: Duration,
    judge: Duration,
    write: Duration,
}

/// Locks, reads, judges, writes, commits.
pub(super) async fn attempt(
    store: &Store,
    clock: &OutageClock,
    commands: &[&Command],
    lock: Lock,
) -> Attempt {
    let judged = match before_commit(store, clock, commands, lock).await {
        Ok(judged) => judged,
        Err(Failure::Lost) => return Attempt::Failed(Failure::Lost),
        Err(failure) => {
            return match round_trip(clock, rollback(store)).await {
                Ok(()) => Attempt::Failed(failure),
                Err(_) => Attempt::Failed(Failure::Lost),
            };
        }
    };
    let committing = Instant::now();
    clock.sent();
    let committed = timeout(LEDGER_ROUND_TRIP_MAX, store.commit()).await;
    tracing::debug!(
        commands = commands.len(),
        owners = judged.owners.len(),
        read_us = micros(judged.times.read),
        judge_us = micros(judged.times.judge),
        write_us = micros(judged.times.write),
        commit_us = micros(committing.elapsed()),
        "batch committed"
    );
    match committed {
        Ok(Ok(())) => {
            clock.answered();
            Attempt::Committed(judged.verdicts)
        }
        Ok(Err(error)) if DbFault::from(&error).is_surely_aborted() => {
            clock.answered();
            Attempt::Failed(failure(StoreError::Postgres(error)))
        }
        _ => Attempt::InDoubt(Doubt {
            verdicts: judged.verdicts,
            owners: judged.owners,
            proof: judged.proof,
        }),
    }
}

async fn before_commit(
    store: &Store,
    clock: &OutageClock,
    commands: &[&Command],
    lock: Lock,
) -> Result<Judged, Failure> {
    let mut times = Times::default();
    let begun = Instant::now();
    let needs = Needs::of(commands);
    let snapshot = round_trip(clock, store.begin(&needs, lock)).await?;
    times.read = begun.elapsed();

    let judging = Instant::now();
    let mut state = snapshot.state;
    let blocked = |command: &Command| {
        let mut owners = command.owners();
        owners.find(|owner| snapshot.blocked.contains(owner))
    };
    let free: Vec<&Command> = commands
        .iter()
        .copied()
        .filter(|command| blocked(command).is_none())
        .collect();
    let judgements = decide(&mut state, &free);
    let changes = state.changes();
    times.judge = judging.elapsed();

    let writing = Instant::now();
    let owners: Vec<Uuid> = state.owners.keys().map(|owner| owner.0).collect();
    let proof = Proof::of(&changes);
    if !changes.is_empty() {
        round_trip(clock, store.write(&changes)).await?;
    }
    let judged = round_trip(clock, answers(store, &state, judgements)).await?;
    let mut judged = judged.into_iter();
    times.write = writing.elapsed();

    let verdicts = commands.iter().map(|command| match blocked(command) {
        Some(owner) => Verdict::Blocked(owner),
        None => judged.next().unwrap_or(Verdict::Later),
    });
    Ok(Judged {
        verdicts: verdicts.collect(),
        owners,
        proof,
        times,
    })
}

/// Replays are filled with the balances of their first answer: from this batch if it was in it, else from the journal.
async fn answers(
    store: &Store,
    state: &State,
    judgements: Vec<Judgement>,
) -> Result<Vec<Verdict>, StoreError> {
    // A key that many repeat at once is asked for once.
    let wanted = judgements.iter().flat_map(|judgement| match judgement {
        Judgement::Replay(reply, versions) => past_balances(reply, *versions),
        Judgement::Final(_) | Judgement::Later => Vec::new(),
    });
    let wanted: HashSet<_> = wanted.collect();
    let fetched = try_join_all(wanted.into_iter().map(async |(owner, key, version)| {
        let balance = match state.entry_balance(owner, &key, version) {
            Some(balance) => Some(balance),
            None => store.past(owner, &key, version).await?,
        };
        Ok::<_, StoreError>(((owner, key, version), balance))
    }))
    .await?;
    let past: HashMap<_, _> = fetched.into_iter().collect();
    let verdicts = judgements.into_iter().map(|judgement| match judgement {
        Judgement::Final(result) => Verdict::Answer(result),
        Judgement::Later => Verdict::Later,
        Judgement::Replay(mut reply, versions) => {
            let find = |owner, key: &_, version| {
                past.get(&(owner, Clone::clone(key), version))
                    .copied()
                    .flatten()
            };
            Verdict::Answer(fill_past(&mut reply, versions, find).map(|()| reply))
        }
    });
    Ok(verdicts.collect())
}

async fn rollback(store: &Store) -> Result<(), StoreError> {
    Ok(store.rollback().await?)
}

/// A round trip that lasts longer than any may is given up with its connection.
async fn round_trip<T>(
    clock: &OutageClock,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Failure> {
    clock.sent();
    let result = match timeout(LEDGER_ROUND_TRIP_MAX, work).await {
        Ok(result) => result.map_err(failure),
        Err(_) => Err(Failure::Lost),
    };
    if !matches!(result, Err(Failure::Lost)) {
        clock.answered();
    }
    result
}

fn failure(error: StoreError) -> Failure {
    let error = match error {
        StoreError::Postgres(error) => error,
        broken @ (StoreError::Corrupt(_) | StoreError::RowCount { .. }) => {
            return Failure::Refused(Error::internal(broken));
        }
    };
    match DbFault::from(&error) {
        DbFault::ConnectionLost(_) => Failure::Lost,
        DbFault::LockTimeout => Failure::Locked,
        fault @ DbFault::ReadOnly => Failure::Unavailable(fault.into_error(Outcome::NotApplied)),
        fault if fault.is_contention() => Failure::Conflict,
        fault => Failure::Refused(fault.into_error(Outcome::NotApplied)),
    }
}
