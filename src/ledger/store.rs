//! The writer's SQL. Every statement is prepared once per connection, before the first batch: nothing unprepared is
//! ever pipelined, for it would be overtaken.
//!
//! This connection is tokio-postgres itself rather than diesel-async, which is built on it: it gives SQLSTATEs, statements
//! that are prepared explicitly, and messages that leave in the order in which the calls are made.

mod needs;
mod read;
mod write;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_postgres::{Client, Statement};

use crate::ledger::model::Entry;
use crate::ledger::state::Changes;
use crate::types::ids::OwnerId;
use crate::types::time::Time;

pub use needs::Needs;
pub use read::Snapshot;

/// Why the store could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// What Postgres or the connection said.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    /// What was read is nothing that this version writes.
    #[error("{0}")]
    Corrupt(&'static str),
    /// What was written is not what was sent.
    #[error("{written} rows of `{table}` were written, not {sent}")]
    RowCount {
        /// Into which table.
        table: &'static str,
        /// How many effects there were.
        sent: usize,
        /// How many rows were written.
        written: u64,
    },
}

type PgResult<T> = Result<T, tokio_postgres::Error>;

/// One connection with its statements.
pub struct Store {
    client: Client,
    lock: Statement,
    lock_free: Statement,
    reads: read::Statements,
    writes: write::Statements,
    written: Statement,
    bucket_written: Statement,
    begun: AtomicU64,
}

/// How a batch locks its owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// All of them, waiting for other sessions for a while.
    Wait,
    /// Those that no other session holds.
    Skip,
}

const LOCK: &str =
    "SELECT owner_id FROM owner WHERE owner_id = ANY($1) ORDER BY owner_id FOR NO KEY UPDATE";
const LOCK_FREE: &str = "\
    SELECT owner_id FROM owner WHERE owner_id = ANY($1) ORDER BY owner_id FOR NO KEY UPDATE SKIP LOCKED";

/// Transactions after which every statement is planned anew: it takes some milliseconds.
const REPLAN_EVERY: u64 = 4_096;

/// Something that a transaction wrote and that nothing changes any more. No two tries write the same: each has its own
/// time, from the clock under the owners' locks.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A line of the journal.
    Entry(Entry),
    /// A bucket was made or updated at this time, and nothing was moved.
    Bucket(OwnerId, Time),
}

impl Proof {
    /// That of these changes, if there are any.
    pub fn of(changes: &Changes<'_>) -> Option<Self> {
        if let Some(entry) = changes.entries.first() {
            return Some(Self::Entry(Entry::clone(entry)));
        }
        let prepaid = &changes.prepaid;
        let created = prepaid
            .created
            .first()
            .map(|made| (made.owner, made.created_at));
        let updated = prepaid
            .updates
            .first()
            .map(|made| (made.owner, made.created_at));
        created
            .or(updated)
            .map(|(owner, time)| Self::Bucket(owner, time))
    }
}

const BUCKET_WRITTEN: &str = "\
    SELECT EXISTS (SELECT FROM bucket WHERE owner_id = $1 AND created_at = $2) \
        OR EXISTS (SELECT FROM bucket_update WHERE owner_id = $1 AND created_at = $2)";
const WRITTEN: &str = "\
    SELECT EXISTS (SELECT FROM entry WHERE owner_id = $1 AND account_id = $2 AND unit = $3 AND version = $4 \
                   AND cause_id = $5 AND time = $6)";

/// How long `was_written` waits for the transaction that it asks for, before it is asked again.
const FATE_LOCK_WAIT: Duration = Duration::from_secs(4);

impl Store {
    /// Prepares every statement, on a connection that plans each of them once for all parameters.
    pub async fn prepare(client: Client) -> PgResult<Self> {
        Ok(Self {
            lock: client.prepare(LOCK).await?,
            lock_free: client.prepare(LOCK_FREE).await?,
            reads: read::Statements::prepare(&client).await?,
            writes: write::Statements::prepare(&client).await?,
            written: client.prepare(WRITTEN).await?,
            bucket_written: client.prepare(BUCKET_WRITTEN).await?,
            client,
            begun: AtomicU64::new(0),
        })
    }

    /// Sends BEGIN. Plans are dropped now and then, first soon and then seldom: one that was made while a table was small
    /// may use an index that leads to all of an owner's rows.
    async fn send_begin(&self) -> PgResult<()> {
        let begun = self.begun.fetch_add(1, Ordering::Relaxed);
        let sql = if begun.is_power_of_two() || begun.is_multiple_of(REPLAN_EVERY) {
            "DISCARD PLANS; BEGIN ISOLATION LEVEL READ COMMITTED"
        } else {
            "BEGIN ISOLATION LEVEL READ COMMITTED"
        };
        self.client.batch_execute(sql).await
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Ends the transaction; what it wrote is on disk when this returns.
    pub async fn commit(&self) -> PgResult<()> {
        self.client.batch_execute("COMMIT").await
    }

    /// Gives the transaction up.
    pub async fn rollback(&self) -> PgResult<()> {
        self.client.batch_execute("ROLLBACK").await
    }

    /// Waits for an earlier transaction of these owners to end, and asks whether what proves it is on disk, and with it all
    /// the rest.
    ///
    /// The transaction's number would prove nothing: after a crash of the server one that never reached the disk is given
    /// to another transaction.
    pub async fn was_written(&self, owners: &[uuid::Uuid], proof: &Proof) -> PgResult<bool> {
        let begin = format!(
            "BEGIN; SET LOCAL lock_timeout = {}",
            FATE_LOCK_WAIT.as_millis()
        );
        self.client.batch_execute(&begin).await?;
        // An owner that the transaction made cannot be locked while it is under way: it is waited for by making it too.
        self.make_owners(owners).await?;
        self.client.query(&self.lock, &[&owners]).await?;
        let row = match proof {
            Proof::Entry(entry) => {
                let key = &entry.key;
                self.client
                    .query_one(
                        &self.written,
                        &[
                            &entry.owner.0,
                            &key.account.0,
                            &key.unit.as_str(),
                            &entry.after.version,
                            &entry.cause_id,
                            &entry.time.to_chrono(),
                        ],
                    )
                    .await?
            }
            Proof::Bucket(owner, time) => {
                self.client
                    .query_one(&self.bucket_written, &[&owner.0, &time.to_chrono()])
                    .await?
            }
        };
        self.rollback().await?;
        Ok(row.get(0))
    }
}

/// Runs a statement only where there is something for it to do.
async fn if_any<T: Default>(
    any: bool,
    statement: impl Future<Output = PgResult<T>>,
) -> PgResult<T> {
    if any {
        statement.await
    } else {
        Ok(T::default())
    }
}
