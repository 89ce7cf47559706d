//! Group commit. Each writer has a connection of its own, all take from one bounded queue, and the commands that wait
//! become one transaction.
//!
//! A batch takes three round trips: locks and reads; writes; COMMIT, which is sent only after the last write was
//! answered. A lone command goes at once; behind a batch it waits for a limited time. Callers are answered when the
//! COMMIT is.
//!
//! No two writers of this process have commands of one lane at the same time. That only saves waiting: several writers,
//! in one process or many, are correct together because every transaction locks its owners' rows first.
//!
//! The engine locks owners, reads and writes accounts and entries, and retries. What a command means is judged by its
//! kind, see [`crate::ledger::kind`].

mod attempt;
mod batch_reads;
mod connected;
mod connection;
mod durations;
pub(in crate::ledger) mod judge;
mod lanes;
mod outage;
pub(in crate::ledger) mod pending;
mod rows;
mod store;
mod task;

use std::io;
use std::sync::Arc;
use std::thread::{self, available_parallelism};
use std::time::Duration;

use tokio::runtime;
use tokio::sync::oneshot;

use crate::audit;
use crate::db::connect::Connector;
use crate::error::{Error, Outcome, Result};
use crate::ledger::claim::Claim;
use crate::ledger::engine::connected::ConnectedWriters;
use crate::ledger::engine::connection::WriterConnection;
use crate::ledger::engine::lanes::{Queue, Ticket};
use crate::ledger::engine::outage::{LastAnswer, OutageClock};
use crate::ledger::engine::pending::pending;
use crate::ledger::engine::task::WriterTask;
use crate::ledger::kind::{Command, Request};
use crate::ledger::kinds::RegisteredKind;
use crate::limits::{
    CALLS_MAX_DEFAULT, DB_LOCK_WAIT_MAX, OWNER_LOCK_WAIT_MAX, QUEUE_MAX, WRITERS_DEFAULT_MAX,
};
use crate::metrics::writer;

/// The stack of a writer's thread, in bytes. Without optimisation the state of one await is large; memory that is
/// not touched costs nothing.
const STACK: usize = 8 << 20;

/// The settings of the writers.
#[derive(Clone, Debug)]
pub struct WriterSettings {
    /// The number of writers; each has a connection of its own.
    pub writers: usize,
    /// The time that a batch waits for owners that another session has locked before it goes on without them.
    pub lock_wait: Duration,
    /// The time that commands wait for such an owner before they are refused.
    pub patience: Duration,
    /// The number of commands that may wait for one owner, however small; one more is refused. Half of the calls in
    /// progress, so that an owner which cannot be written leaves the others room, whoever calls.
    pub owner_commands_max: usize,
}

impl Default for WriterSettings {
    fn default() -> Self {
        // While one waits for the database another judges; more would only make smaller batches.
        let processors = available_parallelism().map_or(1, usize::from);
        Self {
            writers: processors.clamp(2, WRITERS_DEFAULT_MAX),
            lock_wait: OWNER_LOCK_WAIT_MAX,
            patience: DB_LOCK_WAIT_MAX,
            owner_commands_max: CALLS_MAX_DEFAULT / 2,
        }
    }
}

/// The entrance to the writers; cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: Arc<Queue>,
    connected: ConnectedWriters,
}

impl Writer {
    /// Starts the writers. They end after `close`, when the queue is empty. Calls run in the runtime that this is called in.
    ///
    /// # Errors
    /// The machine gives no thread.
    pub fn start(
        connector: &Connector,
        settings: &WriterSettings,
    ) -> io::Result<(Self, Vec<Ended>)> {
        let queue = Arc::new(Queue::new(settings.owner_commands_max));
        let connector = connector.adjusted(|session| {
            session.lock_timeout = settings.lock_wait;
            session.generic_plans = true;
        });
        let last_answer = LastAnswer::new();
        let connected = ConnectedWriters::default();
        connected.watch(settings.writers.max(1));
        writer::watch_queue(&queue, QUEUE_MAX, Queue::state);
        let threads = (0..settings.writers.max(1)).map(|index| {
            let (queue, connector) = (Arc::clone(&queue), connector.clone());
            let clock = OutageClock::new(connector.clone(), last_answer.clone());
            let clock = Arc::new(clock);
            let connection =
                WriterConnection::new(connector, Arc::clone(&clock), connected.clone());
            let patience = settings.patience;
            let calls = runtime::Handle::current();
            on_own_thread(index, async move {
                let task = WriterTask::new(index, queue, connection, clock, patience, calls);
                task.run().await;
            })
        });
        let ends = threads.collect::<io::Result<_>>()?;
        Ok((Self { queue, connected }, ends))
    }

    /// Carries a command out. Its reply is sent after everything it did is on disk.
    ///
    /// The command is carried out even if the caller leaves, unless its deadline withdraws it first.
    ///
    /// # Errors
    /// The judgement's; [`Error::Overloaded`] at once if the queue is full; [`Error::ShuttingDown`] after `close`;
    /// [`Error::Contention`] and [`Error::DatabaseUnavailable`] when its tries are used up.
    pub async fn submit<R>(&self, command: Command<R>, claim: Claim) -> Result<R::Reply>
    where
        R: Request<Kind: RegisteredKind>,
    {
        let (command, answered) = pending(command);
        self.queue.push(Ticket::new(command, claim))?;
        match answered.await {
            Ok(result) => {
                if let Ok(reply) = &result {
                    audit::report(|writes| R::add_writes(reply, writes));
                }
                result
            }
            Err(_) => Err(Error::Internal(
                "a writer dropped a command".into(),
                Outcome::Unknown,
            )),
        }
    }

    /// Whether a writer has a connection, and none was found to have connections that cannot write.
    pub fn can_write(&self) -> bool {
        self.connected.can_write()
    }

    /// Takes no further commands; those that were taken are carried out before the writers end.
    pub fn close(&self) {
        self.queue.close();
    }
}

/// Completes when a writer has ended; with an error if it failed.
pub type Ended = oneshot::Receiver<()>;

/// Starts a writer on a thread of its own. On the threads of the calls, each of its wake-ups, of which a batch needs
/// several, would wait behind hundreds of calls.
fn on_own_thread(
    index: usize,
    work: impl Future<Output = ()> + Send + 'static,
) -> io::Result<Ended> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (end, ended) = oneshot::channel();
    let work = Box::pin(work);
    thread::Builder::new()
        .name(format!("writer {index}"))
        .stack_size(STACK)
        .spawn(move || {
            runtime.block_on(work);
            _ = end.send(());
        })?;
    Ok(ended)
}
