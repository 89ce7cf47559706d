//! Group commit: each writer owns one connection, all take from one bounded queue, and what waits becomes one transaction.
//!
//! Three round trips: locks and reads; writes; COMMIT, sent only after the last write was answered. A lone command goes at
//! once; behind a batch that is at work it waits for a while at the most. Callers are answered when the COMMIT is.
//!
//! No two writers of this process have commands of one owner, or of the smaller of two, at the same time. That only saves
//! waiting: several writers, in one process or many, are correct together because the owner's lock decides.

mod attempt;
mod link;
mod outage;
mod queue;
mod task;

use std::io;
use std::sync::Arc;
use std::thread::{self, available_parallelism};
use std::time::Duration;

use tokio::runtime;
use tokio::sync::oneshot;

use crate::db::connect::Connector;
use crate::error::{Error, Outcome, Result};
use crate::ledger::claim::Claim;
use crate::ledger::command::{Command, Reply};
use crate::ledger::writer::outage::{LastAnswer, OutageClock};
use crate::ledger::writer::queue::{Queue, Ticket};
use crate::ledger::writer::task::Task;
use crate::limits::{DB_LOCK_WAIT_MAX, OWNER_LOCK_WAIT_MAX, WRITERS_DEFAULT_MAX};

/// Of a writer's thread: where the compiler does not optimise, what one await holds is large. Untouched, it costs nothing.
const STACK: usize = 8 << 20;

/// How the writers work.
#[derive(Clone, Debug)]
pub struct WriterSettings {
    /// How many there are, each with a connection of its own.
    pub writers: usize,
    /// How long a batch waits for owners that another session holds before it goes on without them.
    pub lock_wait: Duration,
    /// How long commands wait for such an owner before they are refused.
    pub patience: Duration,
}

impl Default for WriterSettings {
    fn default() -> Self {
        // One at work in the database while another judges; more would only make smaller batches.
        let processors = available_parallelism().map_or(1, usize::from);
        Self {
            writers: processors.clamp(2, WRITERS_DEFAULT_MAX),
            lock_wait: OWNER_LOCK_WAIT_MAX,
            patience: DB_LOCK_WAIT_MAX,
        }
    }
}

/// Hands commands to the writers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Writer {
    queue: Arc<Queue>,
}

impl Writer {
    /// Starts the writers. They end after `close`, when the queue is empty.
    ///
    /// # Errors
    /// The machine gives no thread.
    pub fn start(
        connector: &Connector,
        settings: &WriterSettings,
    ) -> io::Result<(Self, Vec<Ended>)> {
        let queue = Arc::new(Queue::default());
        let connector = connector.adjusted(|session| {
            session.lock_timeout = settings.lock_wait;
            session.generic_plans = true;
        });
        let last_answer = LastAnswer::new();
        let threads = (0..settings.writers.max(1)).map(|index| {
            let (queue, connector) = (Arc::clone(&queue), connector.clone());
            let clock = OutageClock::new(connector.clone(), last_answer.clone());
            let patience = settings.patience;
            on_own_thread(index, async move {
                let task = Task::new(index, queue, connector, Arc::new(clock), patience);
                task.run().await;
            })
        });
        let ends = threads.collect::<io::Result<_>>()?;
        Ok((Self { queue }, ends))
    }

    /// Carries a command out. What it answers is on disk.
    ///
    /// The command is carried out even if the caller leaves, unless its deadline withdraws it first.
    ///
    /// # Errors
    /// The ledger's verdict; [`Error::Overloaded`] at once if the queue is full; [`Error::ShuttingDown`] after `close`;
    /// [`Error::Contention`] and [`Error::DatabaseUnavailable`] when its tries are used up.
    pub async fn submit(&self, command: Command, claim: Claim) -> Result<Reply> {
        let (ticket, answered) = Ticket::new(command, claim);
        self.queue.push(ticket)?;
        match answered.await {
            Ok(result) => result,
            Err(_) => Err(Error::Internal(
                "the writer dropped a command".into(),
                Outcome::Unknown,
            )),
        }
    }

    /// Takes no further commands; what was taken is carried out before the tasks end.
    pub fn close(&self) {
        self.queue.close();
    }
}

/// Tells when a writer has ended; an error, if it failed.
pub type Ended = oneshot::Receiver<()>;

/// A writer has a thread of its own. Among the calls each of its wake-ups, some for every batch, would wait until hundreds
/// of them had had their turn, and with it the database.
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

/// As a number for the log, which has no larger ones.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Between half of a duration and all of it, so that those who failed together do not come back together.
fn jitter(duration: Duration) -> Duration {
    let random = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
    duration / 2 + duration * random / 512
}
