//! What waits for a writer: bounded, and fair between owners.
//!
//! Each owner has a line of its own, and a batch takes one command of each line in turn, over and over until it is
//! full: however many commands one owner has waiting, the first of another goes with the next batch. An owner whose row
//! another session holds is parked, so that nobody else waits for it. A command on two owners waits in the line of the
//! smaller one, unless it is the other that is held.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::error::{Error, Outcome, Result};
use crate::ledger::claim::Claim;
use crate::ledger::command::{Command, Reply};
use crate::limits::{BATCH_MAX, PARK_MAX, PARK_MIN, QUEUE_MAX, QUEUE_OWNER_MAX};
use crate::types::ids::OwnerId;

/// A command on its way, and who waits for it.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) command: Command,
    /// In whose line it waits: that of its home, or of the one of its owners that another session holds.
    line: OwnerId,
    claim: Claim,
    answer: oneshot::Sender<Result<Reply>>,
    /// When it came.
    pub(super) since: Instant,
    parked: Option<Parked>,
}

/// How long another session has kept a command waiting.
#[derive(Clone, Copy, Debug)]
struct Parked {
    since: Instant,
    /// The last pause between two tries.
    pause: Duration,
}

impl Ticket {
    /// A command that comes now, and where its answer will be.
    pub(super) fn new(command: Command, claim: Claim) -> (Self, oneshot::Receiver<Result<Reply>>) {
        let (answer, answered) = oneshot::channel();
        let ticket = Self {
            line: command.home(),
            command,
            claim,
            answer,
            since: Instant::now(),
            parked: None,
        };
        (ticket, answered)
    }

    /// Moves it to the line of this owner, one of its own: the others' lines do not wait for it.
    pub(super) fn waiting_for(self, owner: OwnerId) -> Self {
        Self {
            line: owner,
            ..self
        }
    }

    pub(super) fn answer(self, result: Result<Reply>) {
        // A caller that has left is answered by nobody; its command stands.
        _ = self.answer.send(result);
    }
}

/// What is carried out together.
#[derive(Debug)]
pub(super) struct Batch {
    /// Those of one owner are in the order in which they came.
    pub(super) tickets: Vec<Ticket>,
    /// How much waits behind it.
    pub(super) queue_depth: usize,
}

/// The queue of one writer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: HashMap<OwnerId, Line>,
    /// The owners whose lines are not parked, in the order of their turns.
    turns: VecDeque<OwnerId>,
    /// Until when an owner's line is left alone.
    parked: HashMap<OwnerId, Instant>,
    /// Of all lines.
    weight: usize,
    closed: bool,
}

/// The commands of one owner; there is no empty line.
#[derive(Debug, Default)]
struct Line {
    tickets: VecDeque<Ticket>,
    weight: usize,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a command at the end of its owner's line.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if the queue or the line is full, [`Error::ShuttingDown`] if it is closed.
    pub(super) fn push(&self, ticket: Ticket) -> Result<()> {
        self.lock().push(ticket)?;
        self.changed.notify_one();
        Ok(())
    }

    /// Takes no further commands.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// The next batch, as soon as there is anything for it; `None` when closed and empty.
    pub(super) async fn next(&self) -> Option<Batch> {
        loop {
            // Sees what changes from here on, though it is awaited later.
            let changed = self.changed.notified();
            let wake_at = {
                let mut waiting = self.lock();
                let tickets = waiting.take(Instant::now());
                if !tickets.is_empty() {
                    return Some(Batch {
                        tickets,
                        queue_depth: waiting.weight,
                    });
                }
                if waiting.closed && waiting.lines.is_empty() {
                    return None;
                }
                waiting.parked.values().min().copied()
            };
            match wake_at {
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(at) => {}
                },
                None => changed.await,
            }
        }
    }

    /// Gives commands back that go with the next batch.
    pub(super) fn give_back(&self, tickets: Vec<Ticket>) {
        self.lock().give_back(tickets);
    }

    /// Gives commands back that wait for owners whom another session holds: they are tried again after a pause, each
    /// longer than the one before. Those that have been kept waiting for longer than `patience` are refused.
    pub(super) fn park(&self, mut tickets: Vec<Ticket>, patience: Duration) {
        let now = Instant::now();
        let mut waiting = self.lock();
        for ticket in &mut tickets {
            let parked = ticket.parked.map_or(
                Parked {
                    since: now,
                    pause: PARK_MIN,
                },
                |parked| Parked {
                    pause: (parked.pause * 2).min(PARK_MAX),
                    ..parked
                },
            );
            ticket.parked = Some(parked);
            let until = waiting.parked.entry(ticket.line).or_insert(now);
            *until = (*until).max(now + parked.pause);
        }
        let is_tired = |ticket: &Ticket| {
            ticket
                .parked
                .is_some_and(|parked| now - parked.since >= patience)
        };
        let (refused, tickets) = tickets.into_iter().partition(is_tired);
        waiting.give_back(tickets);
        drop(waiting);
        answer_all(refused, &Error::Contention);
    }

    /// Refuses what has waited since then or longer: the database does not answer, and nothing of it was sent.
    pub(super) fn refuse_since(&self, since: Instant) {
        let refused = self.lock().remove_since(since);
        answer_all(refused, &Error::DatabaseUnavailable(Outcome::NotApplied));
    }
}

impl Waiting {
    fn push(&mut self, ticket: Ticket) -> Result<()> {
        if self.closed {
            return Err(Error::ShuttingDown);
        }
        let owner = ticket.line;
        let weight = ticket.command.weight();
        let of_owner = self.lines.get(&owner).map_or(0, |line| line.weight);
        if self.weight + weight > QUEUE_MAX || of_owner + weight > QUEUE_OWNER_MAX {
            return Err(Error::Overloaded);
        }
        self.line(owner, weight).tickets.push_back(ticket);
        Ok(())
    }

    /// The owner's line, which grows by this weight; a new one has its turn unless the owner is parked.
    fn line(&mut self, owner: OwnerId, weight: usize) -> &mut Line {
        self.weight += weight;
        let line = self.lines.entry(owner).or_insert_with(|| {
            if !self.parked.contains_key(&owner) {
                self.turns.push_back(owner);
            }
            Line::default()
        });
        line.weight += weight;
        line
    }

    /// One command of each line in turn, until the batch is full. Who takes a command first has it: this writer, or its
    /// deadline; one that was withdrawn is dropped.
    fn take(&mut self, now: Instant) -> Vec<Ticket> {
        self.wake(now);
        let mut batch = Vec::new();
        let mut taken = 0;
        while taken < BATCH_MAX
            && let Some(owner) = self.turns.pop_front()
        {
            let Entry::Occupied(mut line) = self.lines.entry(owner) else {
                continue;
            };
            if let Some(ticket) = line.get_mut().tickets.pop_front() {
                let weight = ticket.command.weight();
                line.get_mut().weight -= weight;
                self.weight -= weight;
                if ticket.claim.take() {
                    taken += weight;
                    batch.push(ticket);
                }
            }
            if line.get().tickets.is_empty() {
                line.remove();
            } else {
                self.turns.push_back(owner);
            }
        }
        batch
    }

    /// Gives parked lines whose time has come their turn.
    fn wake(&mut self, now: Instant) {
        let Self {
            parked,
            lines,
            turns,
            ..
        } = self;
        parked.retain(|owner, until| {
            let stays = *until > now;
            if !stays && lines.contains_key(owner) {
                turns.push_back(*owner);
            }
            stays
        });
    }

    /// Puts commands before those of their owners that came later.
    fn give_back(&mut self, tickets: Vec<Ticket>) {
        for ticket in tickets.into_iter().rev() {
            ticket.claim.give_back();
            let (owner, weight) = (ticket.line, ticket.command.weight());
            self.line(owner, weight).tickets.push_front(ticket);
        }
        // A line that was not empty has its turn already; that of a parked owner is over.
        let parked = &self.parked;
        self.turns.retain(|owner| !parked.contains_key(owner));
    }

    fn remove_since(&mut self, since: Instant) -> Vec<Ticket> {
        let mut removed = Vec::new();
        self.lines.retain(|owner, line| {
            // What waits for another session is refused for that, and in its own time.
            if self.parked.contains_key(owner) {
                return true;
            }
            let (old, young) = line
                .tickets
                .drain(..)
                .partition(|ticket| ticket.since <= since);
            line.tickets = young;
            for ticket in Vec::<Ticket>::from(old) {
                let weight = ticket.command.weight();
                line.weight -= weight;
                self.weight -= weight;
                if ticket.claim.take() {
                    removed.push(ticket);
                }
            }
            !line.tickets.is_empty()
        });
        let lines = &self.lines;
        self.turns.retain(|owner| lines.contains_key(owner));
        removed
    }
}

pub(super) fn answer_all(tickets: Vec<Ticket>, error: &Error) {
    for ticket in tickets {
        ticket.answer(Err(error.clone()));
    }
}

#[cfg(test)]
mod tests;
