//! One writer at work: takes batches from its queue, and answers every command.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use crate::db::connect::Connector;
use crate::error::{Error, Outcome};
use crate::ledger::command::Command;
use crate::ledger::store::Lock;
use crate::ledger::writer::attempt::{Attempt, Failure, Verdict, attempt};
use crate::ledger::writer::link::Link;
use crate::ledger::writer::outage::OutageClock;
use crate::ledger::writer::queue::{Batch, Queue, Ticket, answer_all};
use crate::ledger::writer::{jitter, micros};
use crate::limits::OUTAGE_PATIENCE;
use crate::types::ids::OwnerId;

/// How often a batch is tried that lost a conflict.
const CONFLICT_TRIES: u32 = 3;
/// How often a batch is tried whose connection is lost each time, if that takes longer than an outage may last.
const LOSS_TRIES: u32 = 2;

pub(super) struct Task {
    /// Names it in the log.
    index: usize,
    queue: Arc<Queue>,
    clock: Arc<OutageClock>,
    link: Link,
    patience: Duration,
}

impl Task {
    pub(super) fn new(
        index: usize,
        queue: Arc<Queue>,
        connector: Connector,
        clock: Arc<OutageClock>,
        patience: Duration,
    ) -> Self {
        Self {
            index,
            queue,
            link: Link::new(connector, Arc::clone(&clock)),
            clock,
            patience,
        }
    }

    pub(super) async fn run(mut self) {
        let (queue, clock) = (Arc::clone(&self.queue), Arc::clone(&self.clock));
        while let Some(batch) = queue.next().await {
            self.log(&batch);
            // Should the database not answer, whoever waits behind this batch is told in time.
            let Batch { tickets, lines, .. } = batch;
            let work = clock.while_watched(&queue, self.carry_out(tickets));
            // A fault of ours costs its batch, whose callers are told, and not every batch after it.
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                tracing::error!(writer = self.index, "a batch panicked");
                self.link.drop_store();
            }
            queue.end(&lines);
        }
    }

    fn log(&self, batch: &Batch) {
        let oldest = batch.tickets.iter().map(|ticket| ticket.since).min();
        tracing::debug!(
            writer = self.index,
            batch_size = batch.tickets.len(),
            queue_depth = batch.queue_depth,
            waited_us = oldest.map_or(0, |since| micros(since.elapsed())),
            "batch taken"
        );
    }

    /// Answers every command of a batch, or gives it back to the queue. Where something is in the way, the batch is
    /// halved until what is in the way stands alone: there it harms only itself.
    async fn carry_out(&mut self, batch: Vec<Ticket>) {
        let mut put_off = PutOff::default();
        let mut work = vec![batch];
        while let Some(batch) = work.pop() {
            // An owner's commands are judged in the order in which they came.
            let batch = put_off.join(batch);
            match self.try_batch(batch, &mut put_off).await {
                Ok(()) => {}
                Err((batch, error)) if batch.len() == 1 => answer_all(batch, &error),
                Err((batch, _)) => {
                    let (first, second) = halves(batch);
                    work.push(second);
                    work.push(first);
                }
            }
        }
        self.queue.give_back(put_off.later);
        self.queue.park(put_off.blocked, self.patience);
    }

    /// Tries a batch as one transaction, on a new connection if the old one is lost, and again after a conflict. Answers
    /// it, or returns it if none of it can happen as it is.
    async fn try_batch(
        &mut self,
        mut batch: Vec<Ticket>,
        put_off: &mut PutOff,
    ) -> Result<(), (Vec<Ticket>, Error)> {
        let mut lock = Lock::Wait;
        let mut conflicts = 0;
        let mut losses = 0;
        let mut first_loss = None;
        loop {
            let disconnected_since = self.clock.waits_since();
            let waits_since = |ticket: &Ticket| ticket.since.max(disconnected_since);
            let Some(first) = batch.iter().map(waits_since).min() else {
                return Ok(());
            };
            let Some(store) = self.link.store(first + OUTAGE_PATIENCE).await else {
                // Whoever came later waits on.
                let (refused, waiting) = batch
                    .into_iter()
                    .partition(|ticket| waits_since(ticket) <= first);
                answer_all(refused, &Error::DatabaseUnavailable(Outcome::NotApplied));
                batch = waiting;
                continue;
            };
            let commands: Vec<&Command> = batch.iter().map(|ticket| &ticket.command).collect();
            match attempt(store, &self.clock, &commands, lock).await {
                Attempt::Committed(verdicts) => {
                    deliver(batch, verdicts, put_off);
                    return Ok(());
                }
                Attempt::Failed(Failure::Lost) => {
                    self.link.drop_store();
                    losses += 1;
                    let since: &mut Instant = first_loss.get_or_insert_with(Instant::now);
                    if losses >= LOSS_TRIES && since.elapsed() >= OUTAGE_PATIENCE {
                        // One of these commands may be what ends each connection, or takes too long.
                        batch.retain(Ticket::is_awaited);
                        let error = Error::DatabaseUnavailable(Outcome::NotApplied);
                        return Err((batch, error));
                    }
                }
                Attempt::Failed(Failure::Unavailable(error)) => {
                    // Another connection may lead to a server that takes writes.
                    self.link.drop_store();
                    answer_all(batch, &error);
                    return Ok(());
                }
                Attempt::Failed(Failure::Locked) if lock == Lock::Wait => lock = Lock::Skip,
                Attempt::Failed(Failure::Locked) => {
                    // More than the owners: a table is locked, by a migration maybe.
                    let blocked = commands
                        .iter()
                        .map(|command| Verdict::Blocked(command.home()));
                    let blocked = blocked.collect();
                    deliver(batch, blocked, put_off);
                    return Ok(());
                }
                Attempt::Failed(Failure::Conflict) => {
                    conflicts += 1;
                    if conflicts == CONFLICT_TRIES {
                        return Err((batch, Error::Contention));
                    }
                    sleep(jitter(Duration::from_millis(5) * conflicts)).await;
                }
                Attempt::Failed(Failure::Refused(error)) => return Err((batch, error)),
                Attempt::InDoubt(doubt) => {
                    self.link.drop_store();
                    match self.link.resolve(&doubt).await {
                        Some(true) => {
                            deliver(batch, doubt.verdicts, put_off);
                            return Ok(());
                        }
                        Some(false) => {}
                        None => {
                            deliver(batch, unknown(doubt.verdicts), put_off);
                            return Ok(());
                        }
                    }
                }
            }
        }
    }
}

/// Commands of a batch that wait for another one, in the order in which they came.
#[derive(Default)]
struct PutOff {
    /// More of their owner's reservations are due than one batch releases.
    later: Vec<Ticket>,
    /// Another session holds their owner.
    blocked: Vec<Ticket>,
    later_owners: HashSet<OwnerId>,
    blocked_owners: HashSet<OwnerId>,
}

impl PutOff {
    /// Puts those off as well whose owner has commands here; returns the others.
    fn join(&mut self, batch: Vec<Ticket>) -> Vec<Ticket> {
        if self.later.is_empty() && self.blocked.is_empty() {
            return batch;
        }
        let mut rest = Vec::new();
        for ticket in batch {
            let among = |owners: &HashSet<OwnerId>| {
                let mut of_ticket = ticket.command.owners();
                of_ticket.find(|owner| owners.contains(owner))
            };
            if among(&self.later_owners).is_some() {
                self.later.push(ticket);
            } else if let Some(owner) = among(&self.blocked_owners) {
                self.blocked.push(ticket.waiting_for(owner));
            } else {
                rest.push(ticket);
            }
        }
        rest
    }
}

/// What verdicts are worth when nobody knows whether they are on disk. Commands that were put off surely are not.
fn unknown(verdicts: Vec<Verdict>) -> Vec<Verdict> {
    let unknown = verdicts.into_iter().map(|verdict| match verdict {
        Verdict::Answer(_) => Verdict::Answer(Err(Error::DatabaseUnavailable(Outcome::Unknown))),
        put_off => put_off,
    });
    unknown.collect()
}

/// Answers those that were judged; puts the others off.
fn deliver(batch: Vec<Ticket>, verdicts: Vec<Verdict>, put_off: &mut PutOff) {
    for (ticket, verdict) in batch.into_iter().zip(verdicts) {
        match verdict {
            Verdict::Answer(result) => ticket.answer(result),
            Verdict::Later => {
                put_off.later_owners.extend(ticket.command.owners());
                put_off.later.push(ticket);
            }
            Verdict::Blocked(owner) => {
                put_off.blocked_owners.insert(owner);
                put_off.blocked.push(ticket.waiting_for(owner));
            }
        }
    }
}

/// Two parts of a batch of two or more: apart by owner if there are several, else the earlier and the later commands.
fn halves(batch: Vec<Ticket>) -> (Vec<Ticket>, Vec<Ticket>) {
    let mut owners: Vec<OwnerId> = batch.iter().map(|ticket| ticket.command.home()).collect();
    owners.sort_unstable();
    owners.dedup();
    if owners.len() > 1 {
        let middle = owners[owners.len() / 2];
        batch
            .into_iter()
            .partition(|ticket| ticket.command.home() < middle)
    } else {
        let mut first = batch;
        let second = first.split_off(first.len() / 2);
        (first, second)
    }
}
