//! The queue in front of the writers: bounded, and fair between owners.
//!
//! Each owner has a lane of its own, and a batch takes one command of each lane in turn, over and over until it is
//! full: however many commands of one owner wait, the first command of another owner goes with the next batch. A lane
//! that a writer has taken commands from is left alone until that batch has ended. The lane of an owner that another
//! session has locked is parked, so that no other owner waits for it. A command on two owners waits in the lane of the
//! smaller one, unless another session has locked the other one: then in the lane of that one.
//!
//! One writer takes all that waits. Another joins it when many owners wait, or when one has waited for long: most of the
//! cost of a small transaction does not depend on its size, so two halves cost more than the whole and take longer.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::error::{Error, Outcome, Result};
use crate::ledger::claim::Claim;
use crate::ledger::engine::pending::Pending;
use crate::limits::{
    BATCH_MAX, JOIN_OWNERS_MIN, JOIN_WAIT_MAX, PARK_MAX, PARK_MIN, QUEUE_MAX, QUEUE_OWNER_MAX,
};
use crate::metrics::overload::{self, SharedBound};
use crate::metrics::writer::QueueState;
use crate::trace::{self, WaitSpan};
use crate::types::ids::OwnerId;

/// A command that waits for a writer.
#[derive(Debug)]
pub(super) struct Ticket {
    command: Box<dyn Pending>,
    /// The lane it waits in: its routing owner, or the one of its owners that another session has locked.
    lane: OwnerId,
    claim: Claim,
    /// The time at which it arrived.
    pub(super) since: Instant,
    parked: Option<Parked>,
    /// Of a command of a sampled call: ends when the caller is answered.
    span: Option<Box<WaitSpan>>,
}

/// How long another session has kept a command waiting.
#[derive(Clone, Copy, Debug)]
struct Parked {
    since: Instant,
    /// The last pause between two tries.
    pause: Duration,
}

impl Ticket {
    /// A command that arrives now.
    pub(super) fn new(command: Box<dyn Pending>, claim: Claim) -> Self {
        Self {
            lane: command.routing_owner(),
            command,
            claim,
            since: Instant::now(),
            parked: None,
            span: trace::wait_span("wait for a ledger batch"),
        }
    }

    /// The command that waits.
    pub(super) fn command(&self) -> &dyn Pending {
        &*self.command
    }

    /// The command, to be judged.
    pub(super) fn command_mut(&mut self) -> &mut dyn Pending {
        &mut *self.command
    }

    /// Moves it to the lane of this owner, one of its own: no other owner's lane waits for it then.
    pub(super) fn in_lane_of(self, owner: OwnerId) -> Self {
        Self {
            lane: owner,
            ..self
        }
    }

    /// The span of its wait, if its call is sampled.
    pub(super) fn span_mut(&mut self) -> Option<&mut WaitSpan> {
        self.span.as_deref_mut()
    }

    /// Whether its caller still waits for the answer.
    pub(super) fn is_awaited(&self) -> bool {
        self.command.is_awaited()
    }

    /// Answers the caller with the command's judgement.
    pub(super) fn answer(self) {
        drop(self.span);
        self.command.answer();
    }

    /// Answers the caller with an error.
    pub(super) fn refuse(self, error: Error) {
        drop(self.span);
        self.command.refuse(error);
    }
}

/// Commands that are carried out together.
#[derive(Debug)]
pub(super) struct Batch {
    /// Those of one owner are in the order of their arrival.
    pub(super) tickets: Vec<Ticket>,
    /// The lanes that are left alone until it has ended.
    pub(super) lanes: HashSet<OwnerId>,
    /// The weight of the commands that are left in the queue.
    pub(super) queue_depth: usize,
}

/// The queue of all writers.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<WaitingCommands>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct WaitingCommands {
    lanes: HashMap<OwnerId, Lane>,
    /// The owners of the lanes that are neither in a batch nor parked, in the order in which they are taken from.
    ready: VecDeque<OwnerId>,
    /// The owners of the lanes that a writer has a batch of.
    in_batch: HashSet<OwnerId>,
    /// The number of batches that writers have.
    batches: usize,
    /// The owners of parked lanes, each with the time at which it is ready again.
    parked: HashMap<OwnerId, Instant>,
    /// The weight of all commands that wait.
    weight: usize,
    /// The number of commands that may wait in one lane, whatever their weight.
    lane_commands_max: usize,
    closed: bool,
}

/// The commands of one owner. An empty lane is removed.
#[derive(Debug, Default)]
struct Lane {
    tickets: VecDeque<Ticket>,
    weight: usize,
}

impl Queue {
    /// An empty queue, each of whose lanes takes at most this many commands.
    pub(super) fn new(lane_commands_max: usize) -> Self {
        let waiting = WaitingCommands {
            lane_commands_max,
            ..WaitingCommands::default()
        };
        Self {
            waiting: Mutex::new(waiting),
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, WaitingCommands> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a command at the end of its lane.
    ///
    /// # Errors
    /// [`Error::Overloaded`] if the queue or the lane is full, [`Error::ShuttingDown`] if the queue is closed.
    pub(super) fn push(&self, ticket: Ticket) -> Result<()> {
        let is_new_work = {
            let mut waiting = self.lock();
            let before = waiting.ready.len();
            waiting.push(ticket)?;
            let now = waiting.ready.len();
            // Otherwise a writer was notified before: it takes all that waits, or looks when it is time to join.
            before != now && (now == 1 || now == JOIN_OWNERS_MIN)
        };
        if is_new_work {
            self.wake_writer();
        }
        Ok(())
    }

    /// Wakes the writer that became idle last: what its connection and Postgres's process for it need is still in the
    /// processor's caches. In turns, each of several writers would find its caches cold.
    fn wake_writer(&self) {
        self.changed.notify_last();
    }

    /// Ends a batch that has been answered or given back. The writer that ends it takes the next one.
    pub(super) fn end(&self, lanes: &HashSet<OwnerId>) {
        self.lock().end(lanes);
    }

    /// What it has at the moment, for the metrics.
    pub(super) fn state(&self) -> QueueState {
        let waiting = self.lock();
        QueueState {
            lanes: waiting.lanes.len(),
            waiting: waiting.weight,
            parked: waiting.parked.len(),
            batches: waiting.batches,
        }
    }

    /// Takes no further commands.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// The next batch, as soon as it is time for one; `None` when closed and empty. It must be ended by [`Self::end`].
    pub(super) async fn next(&self) -> Option<Batch> {
        loop {
            // It is awaited later, but sees every change from here on.
            let changed = self.changed.notified();
            let wake_at = {
                let mut waiting = self.lock();
                if let Some(batch) = waiting.take(Instant::now()) {
                    // While this writer works, another one has to look at what is left.
                    if !waiting.ready.is_empty() || !waiting.parked.is_empty() {
                        self.wake_writer();
                    }
                    return Some(batch);
                }
                if waiting.closed && waiting.lanes.is_empty() {
                    // Each writer that ends notifies the next one.
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

    /// Puts commands back that go with the next batch.
    pub(super) fn give_back(&self, tickets: Vec<Ticket>) {
        self.lock().give_back(tickets);
    }

    /// Puts commands back whose owners another session has locked: they are tried again after a pause, which doubles each
    /// time. Those that have been kept waiting for longer than `patience` are refused.
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
            let until = waiting.parked.entry(ticket.lane).or_insert(now);
            *until = (*until).max(now + parked.pause);
        }
        let has_waited_too_long = |ticket: &Ticket| {
            ticket
                .parked
                .is_some_and(|parked| now - parked.since >= patience)
        };
        let (refused, tickets) = tickets.into_iter().partition(has_waited_too_long);
        waiting.give_back(tickets);
        drop(waiting);
        refuse_all(refused, &Error::Contention);
    }

    /// Refuses what has waited since then or longer: the database does not answer, and nothing of it was sent.
    pub(super) fn refuse_since(&self, since: Instant) {
        let refused = self.lock().remove_since(since);
        refuse_all(refused, &Error::DatabaseUnavailable(Outcome::NotApplied));
    }
}

impl WaitingCommands {
    fn push(&mut self, ticket: Ticket) -> Result<()> {
        if self.closed {
            return Err(Error::ShuttingDown);
        }
        let owner = ticket.lane;
        let weight = ticket.command().weight();
        let (commands, of_owner) = self
            .lanes
            .get(&owner)
            .map_or((0, 0), |lane| (lane.tickets.len(), lane.weight));
        if self.weight + weight > QUEUE_MAX
            || of_owner + weight > QUEUE_OWNER_MAX
            || commands >= self.lane_commands_max
        {
            overload::refused(SharedBound::WriterQueue);
            return Err(Error::Overloaded);
        }
        self.lane(owner, weight).tickets.push_back(ticket);
        Ok(())
    }

    /// The owner's lane, which grows by this weight. A new lane is ready unless it is in a batch or parked.
    fn lane(&mut self, owner: OwnerId, weight: usize) -> &mut Lane {
        self.weight += weight;
        let lane = self.lanes.entry(owner).or_insert_with(|| {
            if !self.parked.contains_key(&owner) && !self.in_batch.contains(&owner) {
                self.ready.push_back(owner);
            }
            Lane::default()
        });
        lane.weight += weight;
        lane
    }

    /// The time from which on another writer joins, though few owners wait.
    fn join_time(&self) -> Option<Instant> {
        let first = self.lanes.get(self.ready.front()?)?.tickets.front()?;
        Some(first.since + JOIN_WAIT_MAX)
    }

    /// The next batch, if it is time for one: one command of each lane in turn, until it is full. A command whose deadline
    /// has withdrawn it is dropped.
    fn take(&mut self, now: Instant) -> Option<Batch> {
        self.wake(now);
        let is_time = self.batches == 0
            || self.ready.len() >= JOIN_OWNERS_MIN
            || self.join_time().is_some_and(|time| time <= now);
        if !is_time {
            return None;
        }
        let mut tickets = Vec::new();
        let mut lanes = HashSet::new();
        let mut taken = 0;
        while taken < BATCH_MAX
            && let Some(owner) = self.ready.pop_front()
        {
            let Entry::Occupied(mut lane) = self.lanes.entry(owner) else {
                continue;
            };
            if let Some(ticket) = lane.get_mut().tickets.pop_front() {
                let weight = ticket.command().weight();
                lane.get_mut().weight -= weight;
                self.weight -= weight;
                if ticket.claim.take() {
                    taken += weight;
                    lanes.insert(owner);
                    tickets.push(ticket);
                }
            }
            if lane.get().tickets.is_empty() {
                lane.remove();
            } else {
                self.ready.push_back(owner);
            }
        }
        if tickets.is_empty() {
            return None;
        }
        self.ready.retain(|owner| !lanes.contains(owner));
        self.in_batch.extend(&lanes);
        self.batches += 1;
        Some(Batch {
            tickets,
            lanes,
            queue_depth: self.weight,
        })
    }

    /// Makes the lanes of a batch that has ended ready again.
    fn end(&mut self, lanes: &HashSet<OwnerId>) {
        self.batches -= 1;
        for owner in lanes {
            self.in_batch.remove(owner);
            if self.lanes.contains_key(owner) && !self.parked.contains_key(owner) {
                self.ready.push_back(*owner);
            }
        }
    }

    /// Makes parked lanes ready whose time has come.
    fn wake(&mut self, now: Instant) {
        let Self {
            parked,
            lanes,
            ready,
            in_batch,
            ..
        } = self;
        parked.retain(|owner, until| {
            let stays = *until > now;
            if !stays && lanes.contains_key(owner) && !in_batch.contains(owner) {
                ready.push_back(*owner);
            }
            stays
        });
    }

    /// Puts commands before those of their owners that arrived later.
    fn give_back(&mut self, tickets: Vec<Ticket>) {
        for ticket in tickets.into_iter().rev() {
            ticket.claim.give_back();
            let (owner, weight) = (ticket.lane, ticket.command().weight());
            self.lane(owner, weight).tickets.push_front(ticket);
        }
        // A lane that was not empty may be in the list; that of a parked owner must not be.
        let parked = &self.parked;
        self.ready.retain(|owner| !parked.contains_key(owner));
    }

    fn remove_since(&mut self, since: Instant) -> Vec<Ticket> {
        let mut removed = Vec::new();
        self.lanes.retain(|owner, lane| {
            // What waits for another session is refused by `park`, after its own patience.
            if self.parked.contains_key(owner) {
                return true;
            }
            let (old, young) = lane
                .tickets
                .drain(..)
                .partition(|ticket| ticket.since <= since);
            lane.tickets = young;
            for ticket in Vec::<Ticket>::from(old) {
                let weight = ticket.command().weight();
                lane.weight -= weight;
                self.weight -= weight;
                if ticket.claim.take() {
                    removed.push(ticket);
                }
            }
            !lane.tickets.is_empty()
        });
        let lanes = &self.lanes;
        self.ready.retain(|owner| lanes.contains_key(owner));
        removed
    }
}

pub(super) fn refuse_all(tickets: Vec<Ticket>, error: &Error) {
    for ticket in tickets {
        ticket.refuse(error.clone());
    }
}

#[cfg(test)]
mod tests;
