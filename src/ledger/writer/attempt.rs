//! One try of a batch as one transaction.

use std::collections::{HashMap, HashSet};

use futures_util::future::try_join_all;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::db::pg_error::DbFault;
use crate::error::{Error, Outcome, Result};
use crate::ledger::command::{Command, Reply};
use crate::ledger::decide::{Judgement, decide, fill_past, past_balances};
use crate::ledger::state::State;
use crate::ledger::store::{Needs, Store, StoreError};
use crate::limits::LEDGER_ROUND_TRIP_MAX;

/// A result for each command of a batch; `None` for those that wait for the next one.
pub(super) type Verdicts = Vec<Option<Result<Reply>>>;

/// What became of a try.
pub(super) enum Attempt {
    /// It is on disk, and these are the answers.
    Committed(Verdicts),
    /// None of it happened.
    Failed(Failure),
    /// COMMIT was sent and not answered.
    InDoubt(Doubt),
}

/// Why none of it happened.
pub(super) enum Failure {
    /// The connection is gone.
    Lost,
    /// Another write was in the way; another try may succeed.
    Conflict,
    /// Another try would fail too.
    Refused(Error),
}

/// What is needed to find out what became of a transaction.
pub(super) struct Doubt {
    /// The answers, if it is on disk.
    pub(super) verdicts: Verdicts,
    /// The owners that it has locked.
    pub(super) owners: Vec<Uuid>,
    /// Its name.
    pub(super) xact: String,
}

/// Locks, reads, judges, writes, commits.
pub(super) async fn attempt(store: &Store, commands: &[&Command]) -> Attempt {
    let needs = Needs::of(commands);
    let started = Instant::now();
    let (verdicts, xact) = match bounded(before_commit(store, &needs, commands)).await {
        Ok(done) => done,
        Err(failure) => {
            if !matches!(failure, Failure::Lost) && bounded(rollback(store)).await.is_err() {
                return Attempt::Failed(Failure::Lost);
            }
            return Attempt::Failed(failure);
        }
    };
    let judged = started.elapsed();
    let committed = timeout(LEDGER_ROUND_TRIP_MAX, store.commit()).await;
    tracing::debug!(
        commands = commands.len(),
        owners = needs.owners().len(),
        judged_us = judged.as_micros(),
        committed_us = (started.elapsed() - judged).as_micros(),
        "batch committed"
    );
    match committed {
        Ok(Ok(())) => Attempt::Committed(verdicts),
        Ok(Err(error)) if DbFault::from(&error).is_surely_aborted() => {
            Attempt::Failed(failure(StoreError::Postgres(error)))
        }
        _ => Attempt::InDoubt(Doubt {
            verdicts,
            owners: needs.owners().to_vec(),
            xact,
        }),
    }
}

async fn before_commit(
    store: &Store,
    needs: &Needs,
    commands: &[&Command],
) -> Result<(Verdicts, String), StoreError> {
    let snapshot = store.begin(needs).await?;
    let mut state = snapshot.state;
    let judgements = decide(&mut state, commands);
    let changes = state.changes();
    if !changes.is_empty() {
        store.write(needs.owners(), &changes).await?;
    }
    let verdicts = answers(store, &state, judgements).await?;
    Ok((verdicts, snapshot.xact))
}

/// Replays are filled with the balances of their first answer: from this batch if it was in it, else from the journal.
async fn answers(
    store: &Store,
    state: &State,
    judgements: Vec<Judgement>,
) -> Result<Verdicts, StoreError> {
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
        Judgement::Final(result) => Some(result),
        Judgement::Later => None,
        Judgement::Replay(mut reply, versions) => {
            let find = |owner, key: &_, version| {
                past.get(&(owner, Clone::clone(key), version))
                    .copied()
                    .flatten()
            };
            Some(fill_past(&mut reply, versions, find).map(|()| reply))
        }
    });
    Ok(verdicts.collect())
}

async fn rollback(store: &Store) -> Result<(), StoreError> {
    Ok(store.rollback().await?)
}

async fn bounded<T>(work: impl Future<Output = Result<T, StoreError>>) -> Result<T, Failure> {
    match timeout(LEDGER_ROUND_TRIP_MAX, work).await {
        Ok(result) => result.map_err(failure),
        Err(_) => Err(Failure::Lost),
    }
}

fn failure(error: StoreError) -> Failure {
    let error = match error {
        StoreError::Postgres(error) => error,
        broken @ (StoreError::Corrupt(_) | StoreError::RowCount { .. }) => {
            return Failure::Refused(Error::internal(broken));
        }
    };
    let fault = DbFault::from(&error);
    if fault.is_connection_lost() {
        Failure::Lost
    } else if fault.is_contention() {
        Failure::Conflict
    } else {
        Failure::Refused(fault.into_error(Outcome::NotApplied))
    }
}
