//! A writer: takes batches from the queue, and answers every command.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

use crate::error::{DatabaseRefusal, Error, Outcome};
use crate::ledger::engine::attempt::{AttemptFailure, BatchAttempt, TicketProgress, attempt};
use crate::ledger::engine::connection::WriterConnection;
use crate::ledger::engine::durations::{jitter, micros};
use crate::ledger::engine::lanes::{Batch, Queue, Ticket, refuse_all};
use crate::ledger::engine::outage::OutageClock;
use crate::ledger::engine::store::Lock;
use crate::limits::OUTAGE_PATIENCE;
use crate::metrics::writer::{self, RetryCause};
use crate::trace::{self, TraceSpan};
use crate::types::ids::OwnerId;

/// A batch of so many commands costs little more for each than a larger one.
const SMALL_BATCH: usize = 32;
/// The longest time that a writer waits for the runtime of the calls.
const CALLS_WAIT_MAX: Duration = Duration::from_millis(3);
/// The number of tries of a batch that collides with other writes.
const CONFLICT_TRIES: u32 = 3;
/// The number of tries of a batch whose connection is lost each time, if that takes longer than [`OUTAGE_PATIENCE`].
const LOSS_TRIES: u32 = 2;

pub(super) struct WriterTask {
    /// Its number in the log.
    index: usize,
    queue: Arc<Queue>,
    clock: Arc<OutageClock>,
    connection: WriterConnection,
    patience: Duration,
    /// The runtime of the calls.
    calls: Handle,
}

impl WriterTask {
    pub(super) fn new(
        index: usize,
        queue: Arc<Queue>,
        connection: WriterConnection,
        clock: Arc<OutageClock>,
        patience: Duration,
        calls: Handle,
    ) -> Self {
        Self {
            index,
            queue,
            connection,
            clock,
            patience,
            calls,
        }
    }

    pub(super) async fn run(mut self) {
        let (queue, clock) = (Arc::clone(&self.queue), Arc::clone(&self.clock));
        loop {
            let next = tokio::select! {
                biased;
                next = queue.next() => next,
                // While nothing is to be done, a lost connection is made anew.
                never = self.connection.keep() => match never {},
            };
            let Some(mut batch) = next else {
                return;
            };
            self.report(&batch);
            let span = self.span(&mut batch);
            // If the database does not answer, commands that wait behind this batch are refused in time.
            let Batch { tickets, lanes, .. } = batch;
            let commands = tickets.len();
            let ended = {
                let work = pin!(clock.while_watched(&queue, self.carry_out(tickets)));
                let work = AssertUnwindSafe(work).catch_unwind();
                match span {
                    None => work.await,
                    Some(span) => trace::within(span, work).await,
                }
            };
            // A panic costs its own batch, whose callers get an error, and no later one.
            if ended.is_err() {
                tracing::error!(writer = self.index, "a batch panicked");
                self.connection.drop_store();
            }
            if commands > 1 && commands < SMALL_BATCH {
                self.let_calls_arrive().await;
            }
            queue.end(&lanes);
        }
    }

    /// Lets the calls' runtime do what it has to do already, before the next batch is taken.
    ///
    /// Where processors are scarce, calls that could be in the next batch wait for one of them: to be read, or to be put into
    /// the queue. A writer that begins at once takes the few that are there, and a batch of few costs nearly as much as one
    /// of many. A task that does nothing runs when those before it have run; where processors are free that is at once. Behind
    /// a lone command, or a batch that was large, there is nothing to gain.
    async fn let_calls_arrive(&self) {
        let is_their_turn = self.calls.spawn(async {});
        // It ends in time, or the runtime is shutting down.
        _ = timeout(CALLS_WAIT_MAX, is_their_turn).await;
    }

    fn report(&self, batch: &Batch) {
        let oldest = batch.tickets.iter().map(|ticket| ticket.since).min();
        let (counters, now) = (writer::counters(), Instant::now());
        for ticket in &batch.tickets {
            counters.waited(now.saturating_duration_since(ticket.since));
        }
        tracing::debug!(
            writer = self.index,
            batch_size = batch.tickets.len(),
            queue_depth = batch.queue_depth,
            waited_us = oldest.map_or(0, |since| micros(since.elapsed())),
            "batch taken"
        );
    }

    /// The span of a batch that has commands of sampled calls, under which its statements are.
    fn span(&self, batch: &mut Batch) -> Option<TraceSpan> {
        let waits = batch.tickets.iter_mut().filter_map(Ticket::span_mut);
        let span = trace::shared_span("ledger batch", waits)?;
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        span.set("earmark.writer", number(self.index));
        span.set("earmark.batch.commands", number(batch.tickets.len()));
        Some(span)
    }

    /// Answers every command of a batch, or puts it back into the queue. A batch that fails is halved until the command
    /// that makes it fail is alone, and only that one is refused.
    async fn carry_out(&mut self, batch: Vec<Ticket>) {
        let mut deferred = DeferredTickets::default();
        let mut work = vec![batch];
        while let Some(batch) = work.pop() {
            // An owner's commands are judged in the order of their arrival.
            let batch = deferred.defer_same_owners(batch);
            match self.try_batch(batch, &mut deferred).await {
                Ok(()) => {}
                Err((batch, error)) if batch.len() == 1 => refuse_all(batch, &error),
                Err((batch, _)) => {
                    let (first, second) = halves(batch);
                    work.push(second);
                    work.push(first);
                }
            }
        }
        self.queue.give_back(deferred.later);
        self.queue.park(deferred.blocked, self.patience);
    }

    /// Tries a batch as one transaction: again on a new connection if the old one is lost, and again after a conflict.
    /// Answers it, or returns it with the error if it cannot be carried out as a whole.
    async fn try_batch(
        &mut self,
        mut batch: Vec<Ticket>,
        deferred: &mut DeferredTickets,
    ) -> Result<(), (Vec<Ticket>, Error)> {
        let mut tries = Tries::default();
        loop {
            self.connect_for(&mut batch).await;
            let Some(store) = self.connection.ready().filter(|_| !batch.is_empty()) else {
                return Ok(());
            };
            let lock = tries.lock();
            match attempt(store, &self.clock, &mut batch, lock).await {
                BatchAttempt::Committed(progress) => {
                    deliver(batch, progress, deferred);
                    return Ok(());
                }
                BatchAttempt::Failed(AttemptFailure::Lost) => {
                    self.connection.drop_store();
                    if tries.has_lost_too_often() {
                        // One of these commands may be what ends each connection, or takes too long.
                        batch.retain(Ticket::is_awaited);
                        let error = Error::DatabaseUnavailable(Outcome::NotApplied);
                        return Err((batch, error));
                    }
                    writer::counters().retried(RetryCause::ConnectionLost);
                }
                BatchAttempt::Failed(AttemptFailure::Unavailable(error)) => {
                    // Another connection may lead to a server that takes writes.
                    self.connection.drop_store();
                    refuse_all(batch, &error);
                    return Ok(());
                }
                BatchAttempt::Failed(AttemptFailure::OutOfResources(error)) => {
                    refuse_all(batch, &error);
                    return Ok(());
                }
                BatchAttempt::Failed(AttemptFailure::Locked) if lock == Lock::Wait => {
                    tries.skip_locked = true;
                    writer::counters().retried(RetryCause::Locked);
                }
                BatchAttempt::Failed(AttemptFailure::Locked) => {
                    // More than the owners' rows is locked: a table, by a migration for example.
                    let blocked = batch
                        .iter()
                        .map(|ticket| TicketProgress::Blocked(ticket.command().routing_owner()));
                    let blocked = blocked.collect();
                    deliver(batch, blocked, deferred);
                    return Ok(());
                }
                BatchAttempt::Failed(AttemptFailure::Conflict) => {
                    tries.conflicts += 1;
                    if tries.conflicts == CONFLICT_TRIES {
                        return Err((batch, Error::Contention));
                    }
                    writer::counters().retried(RetryCause::Conflict);
                    sleep(jitter(Duration::from_millis(5) * tries.conflicts)).await;
                }
                BatchAttempt::Failed(AttemptFailure::Refused(error)) => return Err((batch, error)),
                BatchAttempt::InDoubt(doubt) => {
                    self.connection.drop_store();
                    match self.connection.resolve(&doubt).await {
                        Some(false) => writer::counters().retried(RetryCause::InDoubt),
                        Some(true) => {
                            deliver(batch, doubt.progress, deferred);
                            return Ok(());
                        }
                        None => {
                            refuse_unknown(batch, doubt.progress, deferred);
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    /// Waits for the connection. Commands for which there is none in time are refused and leave the batch.
    async fn connect_for(&mut self, batch: &mut Vec<Ticket>) {
        loop {
            let disconnected_since = self.clock.waits_since();
            let waits_since = |ticket: &Ticket| ticket.since.max(disconnected_since);
            let Some(first) = batch.iter().map(waits_since).min() else {
                return;
            };
            if self.connection.is_ready(first + OUTAGE_PATIENCE).await {
                return;
            }
            if self.connection.is_refused() {
                let error = Error::DatabaseRefuses(DatabaseRefusal::ReadOnly);
                refuse_all(std::mem::take(batch), &error);
                return;
            }
            // Those that arrived later wait on.
            let (refused, waiting) = std::mem::take(batch)
                .into_iter()
                .partition(|ticket| waits_since(ticket) <= first);
            refuse_all(refused, &Error::DatabaseUnavailable(Outcome::NotApplied));
            *batch = waiting;
        }
    }
}

/// What earlier tries of a batch have met.
#[derive(Default)]
struct Tries {
    /// Another session had locked an owner for too long: it is left out from then on.
    skip_locked: bool,
    conflicts: u32,
    losses: u32,
    first_loss: Option<Instant>,
}

impl Tries {
    fn lock(&self) -> Lock {
        if self.skip_locked {
            Lock::Skip
        } else {
            Lock::Wait
        }
    }

    /// Counts a lost connection; true if the batch must not be tried again as a whole.
    fn has_lost_too_often(&mut self) -> bool {
        self.losses += 1;
        let since = *self.first_loss.get_or_insert_with(Instant::now);
        self.losses >= LOSS_TRIES && since.elapsed() >= OUTAGE_PATIENCE
    }
}

/// Commands of a batch that wait for another one, in the order of their arrival.
#[derive(Default)]
struct DeferredTickets {
    /// More of their owner's reservations are due than one batch releases.
    later: Vec<Ticket>,
    /// Another session has locked their owner.
    blocked: Vec<Ticket>,
    later_owners: HashSet<OwnerId>,
    blocked_owners: HashSet<OwnerId>,
}

impl DeferredTickets {
    /// Defers a command that was not judged.
    fn add(&mut self, ticket: Ticket, progress: TicketProgress) {
        match progress {
            TicketProgress::Judged => {}
            TicketProgress::Later => {
                self.later_owners.extend(ticket.command().owners());
                self.later.push(ticket);
            }
            TicketProgress::Blocked(owner) => {
                self.blocked_owners.insert(owner);
                self.blocked.push(ticket.in_lane_of(owner));
            }
        }
    }

    /// Defers those as well of whose owners commands were deferred; returns the others.
    fn defer_same_owners(&mut self, batch: Vec<Ticket>) -> Vec<Ticket> {
        if self.later.is_empty() && self.blocked.is_empty() {
            return batch;
        }
        let mut rest = Vec::new();
        for ticket in batch {
            let among = |owners: &HashSet<OwnerId>| {
                let mut of_ticket = ticket.command().owners();
                of_ticket.find(|owner| owners.contains(owner))
            };
            if among(&self.later_owners).is_some() {
                self.later.push(ticket);
            } else if let Some(owner) = among(&self.blocked_owners) {
                self.blocked.push(ticket.in_lane_of(owner));
            } else {
                rest.push(ticket);
            }
        }
        rest
    }
}

/// Answers commands of which nobody knows whether they were committed. Those that were deferred surely were not.
fn refuse_unknown(
    batch: Vec<Ticket>,
    progress: Vec<TicketProgress>,
    deferred: &mut DeferredTickets,
) {
    for (ticket, progress) in batch.into_iter().zip(progress) {
        match progress {
            TicketProgress::Judged => ticket.refuse(Error::DatabaseUnavailable(Outcome::Unknown)),
            progress => deferred.add(ticket, progress),
        }
    }
}

/// Answers the commands that were judged, and defers the others.
fn deliver(batch: Vec<Ticket>, progress: Vec<TicketProgress>, deferred: &mut DeferredTickets) {
    for (ticket, progress) in batch.into_iter().zip(progress) {
        match progress {
            TicketProgress::Judged => ticket.answer(),
            progress => deferred.add(ticket, progress),
        }
    }
}

/// Splits a batch of two or more: by owner if there are several, else into the earlier and the later commands.
fn halves(batch: Vec<Ticket>) -> (Vec<Ticket>, Vec<Ticket>) {
    let routing_owner = |ticket: &Ticket| ticket.command().routing_owner();
    let mut owners: Vec<OwnerId> = batch.iter().map(routing_owner).collect();
    owners.sort_unstable();
    owners.dedup();
    if owners.len() > 1 {
        let middle = owners[owners.len() / 2];
        batch
            .into_iter()
            .partition(|ticket| routing_owner(ticket) < middle)
    } else {
        let mut first = batch;
        let second = first.split_off(first.len() / 2);
        (first, second)
    }
}
