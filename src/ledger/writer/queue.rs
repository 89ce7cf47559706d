//! What waits for the writers: bounded, and fair between owners.
//!
//! Each owner has a line of its own, and a batch takes one command of each line in turn, over and over until it is
//! full: however many commands one owner has waiting, the first of another goes with the next batch. A line of which a
//! writer has a batch waits for that batch to end. An owner whose row another session holds is parked, so that nobody else
//! waits for it. A command on two owners waits in the line of the smaller one, unless it is the other that is held.
//!
//! One writer takes all there is; another joins in when many owners wait, or one has waited for long. What a transaction
//! costs by itself is most of a small one: two halves cost more than the whole, and take longer.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::error::{Error, Outcome, Result};
use crate::ledger::claim::Claim;
use crate::ledger::command::{Command, Reply};
use crate::limits::{
    BATCH_MAX, JOIN_OWNERS_MIN, JOIN_WAIT_MAX, PARK_MAX, PARK_MIN, QUEUE_MAX, QUEUE_OWNER_MAX,
};
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

    /// Whether its caller still waits for the answer.
    pub(super) fn is_awaited(&self) -> bool {
        !self.answer.is_closed()
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
    /// Whose lines wait until it has ended.
    pub(super) lines: HashSet<OwnerId>,
    /// How much waits behind it.
    pub(super) queue_depth: usize,
}

/// The queue of all writers.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: HashMap<OwnerId, Line>,
    /// The owners whose lines are neither at work nor parked, in the order of their turns.
    turns: VecDeque<OwnerId>,
    /// The owners of whose lines a writer has a batch.
    at_work: HashSet<OwnerId>,
    /// How many writers have one.
    batches: usize,
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
        let is_news = {
            let mut waiting = self.lock();
            let before = waiting.turns.len();
            waiting.push(ticket)?;
            let now = waiting.turns.len();
            // Else a writer has been told already: it comes for all there is, or looks when it is time to join in.
            before != now && (now == 1 || now == JOIN_OWNERS_MIN)
        };
        if is_news {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Says that a batch has been answered or given back; whoever does comes for the next one.
    pub(super) fn end(&self, lines: &HashSet<OwnerId>) {
        self.lock().end(lines);
    }

    /// Takes no further commands.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// The next batch, as soon as it is time for one; `None` when closed and empty. Its `end` is to be told.
    pub(super) async fn next(&self) -> Option<Batch> {
        loop {
            // Sees what changes from here on, though it is awaited later.
            let changed = self.changed.notified();
            let wake_at = {
                let mut waiting = self.lock();
                if let Some(batch) = waiting.take(Instant::now()) {
                    // What is left may be for another writer to look after, as long as this one is at work.
                    if !waiting.turns.is_empty() || !waiting.parked.is_empty() {
                        self.changed.notify_one();
                    }
                    return Some(batch);
                }
                if waiting.closed && waiting.lines.is_empty() {
                    // The others are told one by the other.
                    self.changed.notify_one();
                    return None;
                }
                let parked = waiting.parked.values().min().copied();
                parked.into_iter().chain(waiting.join_time()).min()
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

    /// The owner's line, which grows by this weight; a new one has its turn unless the owner is at work or parked.
    fn line(&mut self, owner: OwnerId, weight: usize) -> &mut Line {
        self.weight += weight;
        let line = self.lines.entry(owner).or_insert_with(|| {
            if !self.parked.contains_key(&owner) && !self.at_work.contains(&owner) {
                self.turns.push_back(owner);
            }
            Line::default()
        });
        line.weight += weight;
        line
    }

    /// From when on a writer joins those that are at work, though few owners wait.
    fn join_time(&self) -> Option<Instant> {
        let first = self.lines.get(self.turns.front()?)?.tickets.front()?;
        Some(first.since + JOIN_WAIT_MAX)
    }

    /// The next batch, if it is time for one: one command of each line in turn, until it is full. Who takes a command first
    /// has it: this writer, or its deadline; one that was withdrawn is dropped.
    fn take(&mut self, now: Instant) -> Option<Batch> {
        self.wake(now);
        let is_time = self.batches == 0
            || self.turns.len() >= JOIN_OWNERS_MIN
            || self.join_time().is_some_and(|time| time <= now);
        if !is_time {
            return None;
        }
        let mut tickets = Vec::new();
        let mut lines = HashSet::new();
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
                    lines.insert(owner);
                    tickets.push(ticket);
                }
            }
            if line.get().tickets.is_empty() {
                line.remove();
            } else {
                self.turns.push_back(owner);
            }
        }
        if tickets.is_empty() {
            return None;
        }
        self.turns.retain(|owner| !lines.contains(owner));
        self.at_work.extend(&lines);
        self.batches += 1;
        Some(Batch {
            tickets,
            lines,
            queue_depth: self.weight,
        })
    }

    /// The lines of a batch that has ended have their turn again.
    fn end(&mut self, lines: &HashSet<OwnerId>) {
        self.batches -= 1;
        for owner in lines {
            self.at_work.remove(owner);
            if self.lines.contains_key(owner) && !self.parked.contains_key(owner) {
                self.turns.push_back(*owner);
            }
        }
    }

    /// Gives parked lines whose time has come their turn.
    fn wake(&mut self, now: Instant) {
        let Self {
            parked,
            lines,
            turns,
            at_work,
            ..
        } = self;
        parked.retain(|owner, until| {
            let stays = *until > now;
            if !stays && lines.contains_key(owner) && !at_work.contains(owner) {
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
