//! Group commit: a task owns one connection and a bounded queue, and all that waits becomes one transaction.
//!
//! Three round trips: locks and reads; writes; COMMIT, sent only after the last write was answered. No timer: a lone
//! command never waits for others. Callers are answered when the COMMIT is.
//!
//! Several writers, in one process or many, are correct together: the owner's lock decides.

mod attempt;
mod link;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
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

/// How often a command is tried that lost a conflict.
const CONFLICT_TRIES: u32 = 3;

/// Hands commands to the writer's task. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: mpsc::Sender<Ticket>,
    closing: CancellationToken,
}

/// A command on its way, and who waits for it.
#[derive(Debug)]
struct Ticket {
    command: Command,
    claim: Claim,
    answer: oneshot::Sender<Result<Reply>>,
    since: Instant,
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
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let closing = CancellationToken::new();
        let task = Task {
            queue: receiver,
            closing: closing.clone(),
            link: Link::new(connector),
        };
        let writer = Self {
            queue: sender,
            closing,
        };
        (writer, tokio::spawn(task.run()))
    }

    /// Carries a command out. What it answers is on disk.
    ///
    /// The command is carried out even if the caller leaves, unless its deadline withdraws it first.
    pub async fn submit(&self, command: Command, claim: Claim) -> Result<Reply> {
        let (answer, answered) = oneshot::channel();
        let ticket = Ticket {
            command,
            claim,
            answer,
            since: Instant::now(),
        };
        self.queue.try_send(ticket).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Error::ShuttingDown,
        })?;
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
    queue: mpsc::Receiver<Ticket>,
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
        let room = BATCH_MAX.saturating_sub(batch.len());
        if !batch.is_empty() {
            for _ in 0..room {
                match self.queue.try_recv() {
                    Ok(ticket) => batch.push(ticket),
                    Err(_) => break,
                }
            }
            return Some(batch);
        }
        let received = tokio::select! {
            biased;
            () = self.closing.cancelled(), if !self.queue.is_closed() => {
                self.queue.close();
                self.queue.recv_many(&mut batch, room).await
            }
            received = self.queue.recv_many(&mut batch, room) => received,
        };
        (received > 0).then_some(batch)
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
            Err(failed) => failed,
        };
        // Something in the batch, or one of its owners, is in the way: alone, each harms only itself.
        let mut later = Vec::new();
        for ticket in batch {
            later.extend(self.carry_out_alone(ticket).await);
        }
        later
    }

    /// Tries a batch as one transaction. Returns what waits for the next one, or the whole batch if none of it happened.
    async fn try_batch(&mut self, batch: Vec<Ticket>) -> Result<Vec<Ticket>, Vec<Ticket>> {
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
                Attempt::Failed(_) if batch.len() > 1 => return Err(batch),
                Attempt::Failed(failure) => {
                    return self.retry_or_refuse(batch, failure);
                }
                Attempt::InDoubt(doubt) => {
                    self.link.drop_store();
                    match self.link.resolve(&doubt).await {
                        Some(true) => return Ok(deliver(batch, doubt.verdicts)),
                        Some(false) => {}
                        None => {
                            answer_all(batch, &Error::DatabaseUnavailable(Outcome::Unknown));
                            return Ok(Vec::new());
                        }
                    }
                }
            }
        }
    }

    /// A lone command that failed: a conflict is worth another try, anything else is its answer.
    fn retry_or_refuse(
        &self,
        batch: Vec<Ticket>,
        failure: Failure,
    ) -> Result<Vec<Ticket>, Vec<Ticket>> {
        match failure {
            Failure::Conflict => Err(batch),
            Failure::Lost => Err(batch),
            Failure::Refused(error) => {
                answer_all(batch, &error);
                Ok(Vec::new())
            }
        }
    }

    async fn carry_out_alone(&mut self, ticket: Ticket) -> Vec<Ticket> {
        let mut batch = vec![ticket];
        for attempt in 1..=CONFLICT_TRIES {
            batch = match self.try_batch(batch).await {
                Ok(later) => return later,
                Err(failed) => failed,
            };
            tokio::time::sleep(jitter(Duration::from_millis(5) * attempt)).await;
        }
        answer_all(batch, &Error::Contention);
        Vec::new()
    }
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
