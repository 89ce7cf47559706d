//! One try of a batch as one transaction.

use futures_util::future::try_join_all;
use std::collections::{HashMap, HashSet};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::db::pg_error::DbError;
use crate::error::{Error, Outcome};
use crate::ledger::books::Books;
use crate::ledger::engine::batch_reads::BatchReads;
use crate::ledger::engine::durations::micros;
use crate::ledger::engine::judge::release_due;
use crate::ledger::engine::lanes::Ticket;
use crate::ledger::engine::outage::OutageClock;
use crate::ledger::engine::pending::Pending;
use crate::ledger::engine::store::{Lock, Proof, Store};
use crate::ledger::kind::{BalanceAt, ReplayedBalance};
use crate::ledger::store_error::StoreError;
use crate::limits::LEDGER_ROUND_TRIP_MAX;
use crate::metrics::writer::{self, PhaseDurations};
use crate::types::ids::OwnerId;

/// What a try made of one command.
#[derive(Clone, Copy, Debug)]
pub(super) enum TicketProgress {
    /// It was judged, and has its judgement.
    Judged,
    /// More of its owner's reservations are due than one batch releases: it waits for the next batch.
    Later,
    /// Another session has locked this one of its owners.
    Blocked(OwnerId),
}

/// The outcome of a try.
pub(super) enum BatchAttempt {
    /// It was committed; this is the progress of each command, in their order.
    Committed(Vec<TicketProgress>),
    /// Nothing of it was committed.
    Failed(AttemptFailure),
    /// COMMIT was sent and not answered.
    InDoubt(Doubt),
}

/// Why nothing of a try was committed.
pub(super) enum AttemptFailure {
    /// The connection is gone.
    Lost,
    /// The server takes no writes.
    Unavailable(Error),
    /// The server lacks disk or memory, whatever the commands are.
    OutOfResources(Error),
    /// Another session had locked an owner for longer than the session's lock timeout.
    Locked,
    /// It collided with another write; another try may succeed.
    Conflict,
    /// Another try would fail too.
    Refused(Error),
}

/// What is needed to find out whether a transaction was committed.
pub(super) struct Doubt {
    /// The progress of each command if it was.
    pub(super) progress: Vec<TicketProgress>,
    /// The owners that it locked.
    pub(super) owners: Vec<Uuid>,
    /// Something that it wrote; none if it wrote nothing.
    pub(super) proof: Option<Proof>,
}

/// A batch that is ready to be committed.
struct JudgedBatch {
    progress: Vec<TicketProgress>,
    owners: Vec<Uuid>,
    proof: Option<Proof>,
    /// Those before the commit, whose own is zero here.
    times: PhaseDurations,
}

/// Locks, reads, judges, writes and commits.
pub(super) async fn attempt(
    store: &Store,
    clock: &OutageClock,
    tickets: &mut [Ticket],
    lock: Lock,
) -> BatchAttempt {
    let commands = tickets.len();
    let judged = match judge_and_write(store, clock, tickets, lock).await {
        Ok(judged) => judged,
        Err(AttemptFailure::Lost) => return BatchAttempt::Failed(AttemptFailure::Lost),
        Err(failure) => {
            return match round_trip(clock, rollback(store)).await {
                Ok(()) => BatchAttempt::Failed(failure),
                Err(_) => BatchAttempt::Failed(AttemptFailure::Lost),
            };
        }
    };
    let committing = Instant::now();
    clock.sent();
    let committed = timeout(LEDGER_ROUND_TRIP_MAX, store.commit()).await;
    let times = PhaseDurations {
        commit: committing.elapsed(),
        ..judged.times
    };
    tracing::debug!(
        commands,
        owners = judged.owners.len(),
        read_us = micros(times.read),
        judge_us = micros(times.judge),
        write_us = micros(times.write),
        commit_us = micros(times.commit),
        "batch committed"
    );
    match committed {
        Ok(Ok(())) => {
            clock.answered();
            writer::counters().committed(commands, times);
            BatchAttempt::Committed(judged.progress)
        }
        Ok(Err(error)) if DbError::from(&error).is_surely_aborted() => {
            clock.answered();
            BatchAttempt::Failed(failure(StoreError::Postgres(error), clock.database()))
        }
        _ => BatchAttempt::InDoubt(Doubt {
            progress: judged.progress,
            owners: judged.owners,
            proof: judged.proof,
        }),
    }
}

async fn judge_and_write(
    store: &Store,
    clock: &OutageClock,
    tickets: &mut [Ticket],
    lock: Lock,
) -> Result<JudgedBatch, AttemptFailure> {
    let mut times = PhaseDurations::default();
    let begun = Instant::now();
    let reads = BatchReads::of(tickets.iter().map(Ticket::command));
    let (mut books, mut states) = round_trip(clock, store.begin(&reads, lock)).await?;
    times.read = begun.elapsed();

    let judging = Instant::now();
    release_due(&mut books, &mut states);
    let mut progress = Vec::with_capacity(tickets.len());
    for ticket in &mut *tickets {
        progress.push(match blocked_owner(&books, ticket.command()) {
            Some(owner) => TicketProgress::Blocked(owner),
            None => {
                let command = ticket.command_mut();
                command.judge(&mut books, &mut states);
                if command.is_later() {
                    TicketProgress::Later
                } else {
                    TicketProgress::Judged
                }
            }
        });
    }
    let (book_changes, kind_changes) = (books.changes(), states.changes());
    times.judge = judging.elapsed();

    let writing = Instant::now();
    let proof = Proof::of(&book_changes, &kind_changes);
    if !book_changes.entries.is_empty() || !kind_changes.is_empty() {
        round_trip(clock, store.write(&book_changes, &kind_changes)).await?;
    }
    round_trip(clock, fill_replayed_balances(store, &books, tickets)).await?;
    times.write = writing.elapsed();

    Ok(JudgedBatch {
        progress,
        owners: books.owners.keys().map(|owner| owner.0).collect(),
        proof,
        times,
    })
}

fn blocked_owner(books: &Books, command: &dyn Pending) -> Option<OwnerId> {
    command.owners().find(|owner| books.blocked.contains(owner))
}

/// Completes replays with the balances of their first reply: from this batch if that is in it, else from the journal, and where
/// that begins later from what was carried forward.
async fn fill_replayed_balances(
    store: &Store,
    books: &Books,
    tickets: &mut [Ticket],
) -> Result<(), StoreError> {
    // Where many repeat the same key at once, its balances are read once.
    let missing: HashSet<&BalanceAt> = tickets
        .iter()
        .flat_map(|ticket| ticket.command().missing_balances())
        .filter(|at| at.version > 0)
        .collect();
    let found = try_join_all(missing.into_iter().map(async |at| {
        let balance = match books.known_balance(at.owner, &at.key, at.version) {
            Some(balance) => Some(ReplayedBalance::Known(balance)),
            None => store.balance_at(at).await?,
        };
        Ok::<_, StoreError>(balance.map(|balance| (at.clone(), balance)))
    }))
    .await?;
    let balances: HashMap<BalanceAt, ReplayedBalance> = found.into_iter().flatten().collect();
    for ticket in tickets {
        ticket.command_mut().fill_balances(&balances);
    }
    Ok(())
}

async fn rollback(store: &Store) -> Result<(), StoreError> {
    Ok(store.rollback().await?)
}

/// Waits for a round trip. One that lasts longer than any may is given up, and its connection with it.
async fn round_trip<T>(
    clock: &OutageClock,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, AttemptFailure> {
    clock.sent();
    let result = match timeout(LEDGER_ROUND_TRIP_MAX, work).await {
        Ok(result) => result.map_err(|error| failure(error, clock.database())),
        Err(_) => Err(AttemptFailure::Lost),
    };
    if !matches!(result, Err(AttemptFailure::Lost)) {
        clock.answered();
    }
    result
}

fn failure(error: StoreError, database: &str) -> AttemptFailure {
    let error = match error {
        StoreError::Postgres(error) => error,
        inconsistent @ (StoreError::Corrupt(_) | StoreError::RowCount { .. }) => {
            return AttemptFailure::Refused(Error::internal(inconsistent));
        }
    };
    match DbError::from(&error) {
        DbError::ConnectionLost(_) => AttemptFailure::Lost,
        DbError::LockTimeout => AttemptFailure::Locked,
        fault @ DbError::ReadOnly => {
            AttemptFailure::Unavailable(fault.logged(Outcome::NotApplied, database))
        }
        fault @ DbError::OutOfResources(_) => {
            AttemptFailure::OutOfResources(fault.logged(Outcome::NotApplied, database))
        }
        fault if fault.is_contention() => AttemptFailure::Conflict,
        fault => AttemptFailure::Refused(fault.logged(Outcome::NotApplied, database)),
    }
}
