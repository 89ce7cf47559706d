//! Group commit: a task owns one connection and a bounded queue, and all that waits becomes one transaction.
//!
//! Three round trips: locks and reads; writes; COMMIT, sent only after the last write was answered. No timer: a lone
//! command never waits for others. Callers are answered when the COMMIT is.
//!
//! Several writers, in one process or many, are correct together: the owner's lock decides.

mod attempt;
mod link;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::db::connect::Connector;
use crate::error::{Error, Outcome, Result};
use crate::ledger::claim::Claim;
use crate::ledger::command::{Command, Reply};
use crate::ledger::writer::attempt::{Attempt, Failure, Verdicts, attempt};
use crate::ledger::writer::link::Link;
use crate::limits::{BATCH_MAX, OUTAGE_PATIENCE, QUEUE_MAX};
use crate::types::ids::OwnerId;

/// How often a command is tried that lost a conflict.
const CONFLICT_TRIES: u32 = 3;

/// Hands commands to the writer's task. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: mpsc::UnboundedSender<Ticket>,
    /// What bounds the queue: a place for each command, many for a command of many parts.
    places: Arc<Semaphore>,
    closing: CancellationToken,
}

/// A command on its way, and who waits for it.
#[derive(Debug)]
struct Ticket {
    command: Command,
    claim: Claim,
    answer: oneshot::Sender<Result<Reply>>,
    since: Instant,
    _places: OwnedSemaphorePermit,
}

impl Ticket {
    fn answer(self, result: Result<Reply>) {
        // A caller that has left is answered by nobody; its command stands.
        _ = self.answer.send(result);
    }
}

impl Writer {
    /// Starts the task. It ends after `close`, when its queue is empty.
    pub fn start(connector: Connector) -> (Self, JoinHandle<()>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let closing = CancellationToken::new();
        let task = Task {
            queue: receiver,
            closing: closing.clone(),
            link: Link::new(connector),
        };
        let writer = Self {
            queue: sender,
            places: Arc::new(Semaphore::new(QUEUE_MAX)),
            closing,
        };
        (writer, tokio::spawn(task.run()))
    }

    /// Carries a command out. What it answers is on disk.
    ///
    /// The command is carried out even if the caller leaves, unless its deadline withdraws it first.
    ///
    /// # Errors
    /// The ledger's verdict; [`Error::Overloaded`] at once if the queue is full; [`Error::ShuttingDown`] after `close`;
    /// [`Error::Contention`] and [`Error::DatabaseUnavailable`] when its tries are used up.
    pub async fn submit(&self, command: Command, claim: Claim) -> Result<Reply> {
        let weight = u32::try_from(command.weight()).unwrap_or(u32::MAX);
        let places = Arc::clone(&self.places)
            .try_acquire_many_owned(weight)
            .map_err(|_| Error::Overloaded)?;
        let (answer, answered) = oneshot::channel();
        let ticket = Ticket {
            command,
            claim,
            answer,
            since: Instant::now(),
            _places: places,
        };
        self.queue.send(ticket).map_err(|_| Error::ShuttingDown)?;
        match answered.await {
            Ok(result) => result,
            Err(_) => Err(Error::Internal(
                "the writer dropped a command".into(),
                Outcome::Unknown,
            )),
        }
    }

    /// Takes no further command; what was taken is carried out before the task ends.
    pub fn close(&self) {
        self.closing.cancel();
    }
}

struct Task {
    queue: mpsc::UnboundedReceiver<Ticket>,
    closing: CancellationToken,
    link: Link,
}

impl Task {
    async fn run(mut self) {
        let mut later = Vec::new();
        while let Some(mut batch) = self.next_batch(later).await {
            // Who takes a command first has it: this writer, or its deadline.
            batch.retain(|ticket| ticket.claim.take());
            later = self.carry_out(batch).await;
        }
    }

    /// All that waits, up to a limit; what the last batch put off goes first. `None` when closed and empty.
    async fn next_batch(&mut self, mut batch: Vec<Ticket>) -> Option<Vec<Ticket>> {
        if batch.is_empty() {
            let first = tokio::select! {
                biased;
                () = self.closing.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    self.queue.recv().await
                }
                first = self.queue.recv() => first,
            };
            batch.push(first?);
        }
        let mut weight: usize = batch.iter().map(|ticket| ticket.command.weight()).sum();
        while weight < BATCH_MAX {
            let Ok(ticket) = self.queue.try_recv() else {
                break;
            };
            weight += ticket.command.weight();
            batch.push(ticket);
        }
        Some(batch)
    }

    /// Answers every command of a batch, but for those it returns: they wait for the next one.
    async fn carry_out(&mut self, batch: Vec<Ticket>) -> Vec<Ticket> {
        let Some(oldest) = batch.iter().map(|ticket| ticket.since).min() else {
            return batch;
        };
        tracing::debug!(
            batch_size = batch.len(),
            queue_depth = self.queue.len(),
            waited_us = oldest.elapsed().as_micros(),
            "batch taken"
        );
        let batch = match self.try_batch(batch).await {
            Ok(later) => return later,
            Err((batch, _)) => batch,
        };
        // Something in the batch is in the way: apart, each owner harms only itself.
        let mut later = Vec::new();
        for of_owner in by_owner(batch) {
            later.extend(self.carry_out_owner(of_owner).await);
        }
        later
    }

    /// The same for commands of one owner: a conflict is worth another try.
    async fn carry_out_owner(&mut self, mut batch: Vec<Ticket>) -> Vec<Ticket> {
        for attempt in 1..=CONFLICT_TRIES {
            batch = match self.try_batch(batch).await {
                Ok(later) => return later,
                Err((batch, Failure::Conflict)) => batch,
                Err((batch, Failure::Lost | Failure::Refused(_))) => {
                    return self.carry_out_singly(batch).await;
                }
            };
            if attempt < CONFLICT_TRIES {
                tokio::time::sleep(jitter(Duration::from_millis(5) * attempt)).await;
            }
        }
        answer_all(batch, &Error::Contention);
        Vec::new()
    }

    /// The same for commands of which one cannot be carried out: alone, it harms only itself.
    async fn carry_out_singly(&mut self, batch: Vec<Ticket>) -> Vec<Ticket> {
        let mut later = Vec::new();
        for ticket in batch {
            // An owner's commands are judged in the order in which they came.
            if !later.is_empty() {
                later.push(ticket);
                continue;
            }
            match self.try_batch(vec![ticket]).await {
                Ok(put_off) => later = put_off,
                Err((batch, Failure::Refused(error))) => answer_all(batch, &error),
                Err((batch, Failure::Conflict | Failure::Lost)) => {
                    answer_all(batch, &Error::Contention);
                }
            }
        }
        later
    }

    /// Tries a batch as one transaction, on a new connection if the old one is lost. Returns what waits for the next
    /// batch, or all of it if none of it happened.
    async fn try_batch(
        &mut self,
        batch: Vec<Ticket>,
    ) -> Result<Vec<Ticket>, (Vec<Ticket>, Failure)> {
        let first_try = Instant::now();
        loop {
            let Some(store) = self.link.store(first_try + OUTAGE_PATIENCE).await else {
                answer_all(batch, &Error::DatabaseUnavailable(Outcome::NotApplied));
                return Ok(Vec::new());
            };
            let commands: Vec<&Command> = batch.iter().map(|ticket| &ticket.command).collect();
            match attempt(store, &commands).await {
                Attempt::Committed(verdicts) => return Ok(deliver(batch, verdicts)),
                Attempt::Failed(Failure::Lost) => self.link.drop_store(),
                Attempt::Failed(failure) => return Err((batch, failure)),
                Attempt::InDoubt(doubt) => {
                    self.link.drop_store();
                    match self.link.resolve(&doubt).await {
                        Some(true) => return Ok(deliver(batch, doubt.verdicts)),
                        Some(false) => {}
                        None => return Ok(deliver(batch, unknown(doubt.verdicts))),
                    }
                }
            }
        }
    }
}

/// The commands of each owner, in the order in which they came.
fn by_owner(batch: Vec<Ticket>) -> Vec<Vec<Ticket>> {
    let mut owners: Vec<(OwnerId, Vec<Ticket>)> = Vec::new();
    let mut places: HashMap<OwnerId, usize> = HashMap::new();
    for ticket in batch {
        let owner = ticket.command.owner;
        let place = *places.entry(owner).or_insert_with(|| {
            owners.push((owner, Vec::new()));
            owners.len() - 1
        });
        owners[place].1.push(ticket);
    }
    owners.into_iter().map(|(_, tickets)| tickets).collect()
}

/// What verdicts are worth when nobody knows whether they are on disk. Commands that were put off surely are not.
fn unknown(verdicts: Verdicts) -> Verdicts {
    let unavailable = || Err(Error::DatabaseUnavailable(Outcome::Unknown));
    verdicts
        .into_iter()
        .map(|verdict| verdict.map(|_| unavailable()))
        .collect()
}

/// Answers those that were judged; returns the others.
fn deliver(batch: Vec<Ticket>, verdicts: Verdicts) -> Vec<Ticket> {
    let mut later = Vec::new();
    for (ticket, verdict) in batch.into_iter().zip(verdicts) {
        match verdict {
            Some(result) => ticket.answer(result),
            None => later.push(ticket),
        }
    }
    later
}

fn answer_all(batch: Vec<Ticket>, error: &Error) {
    for ticket in batch {
        ticket.answer(Err(error.clone()));
    }
}

/// Between half of a duration and all of it, so that those who failed together do not come back together.
fn jitter(duration: Duration) -> Duration {
    let random = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
    duration / 2 + duration * random / 512
}
