//! Checks the stored ledger against the invariants of `lib.rs` while servers go on serving. It repairs nothing.
//!
//! All statements see one snapshot, on a connection of their own. The owners are taken in chunks, so that neither side
//! needs memory for more than one. Events are sent as they are found. [`check`](crate::ledger::invariant::check) checks
//! the same invariants of a ledger in memory.
//!
//! While the snapshot lives Postgres cannot remove old row versions, and a migration that changes one of these tables
//! gives up waiting for it.

mod checks;
mod seals;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_postgres::{Client, Row, Statement};
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use crate::db::connect::{ConnectError, Connector};
use crate::db::log;
use crate::db::pg_error::DbError;
use crate::error::{self, Outcome};
use crate::ledger::breach::{Breach, Invariant};
use crate::ledger::verify::seals::{SealCheck, SealCheckError};
pub use crate::ledger::verify::seals::{SealDepth, SealTotals};
use crate::limits::{VERIFY_BREACHES_MAX, VERIFY_CHUNK_ENTRIES, VERIFY_CHUNK_OWNERS};
use crate::types::ids::{AccountId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// What a verification reports: progress and breaches in any order, and last the summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// How far it has come.
    Progress(Progress),
    /// A breach; those above [`VERIFY_BREACHES_MAX`] are only counted.
    Breach(Breach),
    /// Everything has been checked.
    Summary(Summary),
}

/// How far a verification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Accounts that have been checked; never falls.
    pub accounts_done: i64,
    /// All accounts of the snapshot.
    pub accounts_total: i64,
}

/// What a verification has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Accounts that were checked.
    pub accounts: i64,
    /// Entries that were checked.
    pub entries: i64,
    /// The periods that are sealed, and the entries in them.
    pub sealed: SealTotals,
    /// All breaches that were found.
    pub breaches: i64,
}

/// How a ledger is verified.
#[derive(Clone, Copy, Debug)]
pub struct VerifyOptions {
    /// Whether the entries of sealed periods are hashed again.
    pub depth: SealDepth,
    /// The connections that read them at the same time, at least one.
    pub seal_connections: usize,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            depth: SealDepth::Rehash,
            seal_connections: 1,
        }
    }
}

/// Why a verification could not be finished. Whatever it has not reported is unchecked.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// No connection to the database could be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There are no tables.
    #[error("the database has no ledger: `earmark migrate` makes one")]
    NoLedger,
    /// A statement of the verification failed.
    #[error("the database failed: {0:?}")]
    Database(DbError),
    /// What is stored of a seal, or of its entries, cannot be read.
    #[error("the seals cannot be checked: {0}")]
    Seals(String),
}

impl VerifyError {
    /// The answer to the caller; the cause goes to the log.
    pub fn into_error(self, database: &str) -> error::Error {
        match self {
            Self::Connect(error) => {
                let what = "a verification cannot connect to the database";
                log::warn(database, what, &error.to_string());
                error::Error::DatabaseUnavailable(Outcome::NotApplied)
            }
            Self::NoLedger => DbError::MissingTable.logged(Outcome::NotApplied, database),
            Self::Database(fault) => fault.logged(Outcome::NotApplied, database),
            error @ Self::Seals(_) => error::Error::internal(error),
        }
    }
}

impl From<tokio_postgres::Error> for VerifyError {
    fn from(error: tokio_postgres::Error) -> Self {
        match DbError::from(error) {
            DbError::MissingTable => Self::NoLedger,
            fault => Self::Database(fault),
        }
    }
}

impl From<SealCheckError> for VerifyError {
    fn from(error: SealCheckError) -> Self {
        match error {
            SealCheckError::Connect(error) => error.into(),
            SealCheckError::Postgres(error) => error.into(),
            SealCheckError::Unreadable(text) => Self::Seals(text),
        }
    }
}

/// A verification's events. Dropped, it ends the verification, its running statement too.
pub type Events = ReceiverStream<Result<Event, VerifyError>>;

/// Takes the snapshot and starts a task that checks it.
///
/// A reader that is slow holds nothing up: it misses progress, never a breach.
///
/// # Errors
/// Those of connecting and of the first statements; later ones end the stream.
pub async fn start(connector: &Connector, options: VerifyOptions) -> Result<Events, VerifyError> {
    let (client, _driver) = connector.connect().await?;
    let run = Run::prepare(client).await?;
    // Room for everything but progress, which is left out when there is no room to spare.
    let (events, receiver) = mpsc::channel(VERIFY_BREACHES_MAX + ROOM_FOR_PROGRESS);
    let connector = connector.clone();
    tokio::spawn(async move {
        let mut report = Report {
            events,
            breaches: 0,
        };
        let reader = report.events.clone();
        let verified = tokio::select! {
            biased;
            () = reader.closed() => {
                connector.cancel(run.client.cancel_token()).await;
                return;
            }
            verified = run.verify(&connector, options, &mut report) => verified,
        };
        // Fails only if nobody reads any more.
        _ = reader.send(verified.map(Event::Summary)).await;
    });
    Ok(ReceiverStream::new(receiver))
}

const NO_PARAMETERS: [Uuid; 0] = [];
/// Progress that may wait for a reader.
const ROOM_FOR_PROGRESS: usize = 64;

/// No limit of time, a plan for each chunk by its size, and one processor at the most: it is the writers that
/// are in a hurry.
const BEGIN: &str = "\
    SET statement_timeout = 0; SET plan_cache_mode = force_custom_plan; SET jit = off; SET work_mem = '64MB'; \
    SET max_parallel_workers_per_gather = 0; \
    BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// Before the snapshot is taken, by the statement after it: so a partition that `earmark archive` takes away is either gone
/// from the snapshot too, together with what says so, or cannot be taken away before the end.
const KEEP_PARTITIONS: &str = "LOCK TABLE entry, closed_allocation IN ACCESS SHARE MODE";

/// Everything before this time is in files instead of in the database.
const BOUNDARY: &str = "SELECT max(end_time) FROM archived_period";

/// A snapshot with the statements to check it by.
struct Run {
    client: Client,
    owners: Statement,
    per_chunk: Vec<(Invariant, Statement)>,
    over_all: Vec<(Invariant, Statement)>,
    accounts: i64,
    entries: i64,
}

impl Run {
    async fn prepare(client: Client) -> Result<Self, tokio_postgres::Error> {
        client.batch_execute(BEGIN).await?;
        client.batch_execute(KEEP_PARTITIONS).await?;
        let until = client.query_one(BOUNDARY, &[]).await?;
        let until: Option<DateTime<Utc>> = until.try_get(0)?;
        let until = until.map(Time::from);
        let totals = checks::after_archive(checks::TOTALS, until);
        let totals = client.query_one(&totals, &[]).await?;
        Ok(Self {
            owners: client.prepare(checks::OWNERS).await?,
            per_chunk: prepare_all(&client, &checks::per_chunk(), until).await?,
            over_all: prepare_all(&client, &checks::OVER_ALL, until).await?,
            accounts: totals.get(0),
            entries: totals.get(1),
            client,
        })
    }

    async fn verify(
        &self,
        connector: &Connector,
        options: VerifyOptions,
        report: &mut Report,
    ) -> Result<Summary, VerifyError> {
        let mut progress = Progress {
            accounts_done: 0,
            accounts_total: self.accounts,
        };
        report.progress(progress);
        let mut next = Some(Uuid::nil());
        while let Some(first) = next {
            let chunk = self.chunk_from(first).await?;
            for (invariant, statement) in &self.per_chunk {
                let rows = self.client.query_raw(statement, [first, chunk.last]);
                report.breaches(*invariant, rows.await?).await?;
            }
            progress.accounts_done += chunk.accounts;
            report.progress(progress);
            next = chunk.last.as_u128().checked_add(1).map(Uuid::from_u128);
        }
        for (invariant, statement) in &self.over_all {
            let rows = self.client.query_raw(statement, NO_PARAMETERS);
            report.breaches(*invariant, rows.await?).await?;
        }
        let sealed = self.verify_seals(connector, options, report).await?;
        // Nothing was written: the connection's end ends the transaction.
        Ok(Summary {
            accounts: self.accounts,
            entries: self.entries,
            sealed,
            breaches: report.breaches,
        })
    }

    /// The owners from this one on that are checked together.
    async fn chunk_from(&self, first: Uuid) -> Result<Chunk, tokio_postgres::Error> {
        let limit = i64::try_from(VERIFY_CHUNK_OWNERS).unwrap_or(i64::MAX);
        let rows = self.client.query(&self.owners, &[&first, &limit]).await?;
        let weights = rows.iter().map(|row| Weight {
            owner: row.get(0),
            accounts: row.get(1),
            entries: row.get(2),
        });
        Ok(Chunk::of(weights, rows.len() < VERIFY_CHUNK_OWNERS))
    }

    /// L8, whose breaches come from several connections.
    async fn verify_seals(
        &self,
        connector: &Connector,
        options: VerifyOptions,
        report: &mut Report,
    ) -> Result<SealTotals, VerifyError> {
        let (found, mut breaches) = mpsc::channel(ROOM_FOR_PROGRESS);
        let check = SealCheck {
            connector,
            settings: BEGIN,
            depth: options.depth,
            connections: options.seal_connections,
            found,
        };
        let reporting = async {
            while let Some(breach) = breaches.recv().await {
                report.breach(breach).await;
            }
        };
        let (sealed, ()) = tokio::join!(check.run(&self.client), reporting);
        Ok(sealed?)
    }
}

async fn prepare_all(
    client: &Client,
    checks: &[(Invariant, impl AsRef<str>)],
    archived_until: Option<Time>,
) -> Result<Vec<(Invariant, Statement)>, tokio_postgres::Error> {
    let mut statements = Vec::with_capacity(checks.len());
    for (invariant, text) in checks {
        let text = checks::after_archive(text.as_ref(), archived_until);
        statements.push((*invariant, client.prepare(&text).await?));
    }
    Ok(statements)
}

/// What an owner costs.
struct Weight {
    owner: Uuid,
    accounts: i64,
    entries: i64,
}

/// Owners that are checked together, up to `last`.
#[derive(Debug, PartialEq, Eq)]
struct Chunk {
    last: Uuid,
    accounts: i64,
}

impl Chunk {
    /// As many owners as fit, but at least one. `is_all` says that none follow; then it goes on to the last owner that
    /// there can be, since records and entries may be stored of owners that have no account.
    fn of(weights: impl Iterator<Item = Weight>, is_all: bool) -> Self {
        let mut chunk = Self {
            last: Uuid::max(),
            accounts: 0,
        };
        let mut entries: i64 = 0;
        for (taken, weight) in weights.enumerate() {
            entries = entries.saturating_add(weight.entries);
            if taken > 0 && entries > VERIFY_CHUNK_ENTRIES {
                return chunk;
            }
            chunk.last = weight.owner;
            chunk.accounts += weight.accounts;
        }
        if is_all {
            chunk.last = Uuid::max();
        }
        chunk
    }
}

/// Counts the breaches and sends the events to the caller.
struct Report {
    events: mpsc::Sender<Result<Event, VerifyError>>,
    breaches: i64,
}

impl Report {
    /// Sent only if breaches and the summary would still find room.
    fn progress(&self, progress: Progress) {
        let sent = usize::try_from(self.breaches).unwrap_or(usize::MAX);
        let reserved = VERIFY_BREACHES_MAX.saturating_sub(sent) + 1;
        if self.events.capacity() > reserved {
            _ = self.events.try_send(Ok(Event::Progress(progress)));
        }
    }

    async fn breaches(
        &mut self,
        invariant: Invariant,
        rows: tokio_postgres::RowStream,
    ) -> Result<(), VerifyError> {
        let mut rows = std::pin::pin!(rows);
        while let Some(row) = rows.try_next().await? {
            self.breach(breach(invariant, &row)?).await;
        }
        Ok(())
    }

    async fn breach(&mut self, breach: Breach) {
        self.breaches += 1;
        if usize::try_from(self.breaches).is_ok_and(|count| count <= VERIFY_BREACHES_MAX) {
            // Fails only if nobody reads any more, and then this task is about to end.
            _ = self.events.send(Ok(Event::Breach(breach))).await;
        }
    }
}

fn breach(invariant: Invariant, row: &Row) -> Result<Breach, tokio_postgres::Error> {
    Ok(Breach {
        invariant,
        owner: row.try_get::<_, Option<Uuid>>(0)?.map(OwnerId),
        account: row.try_get::<_, Option<Uuid>>(1)?.map(AccountId),
        unit: Unit::stored(row.try_get(2)?),
        expected: row.try_get(3)?,
        actual: row.try_get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(entries: &[i64]) -> impl Iterator<Item = Weight> {
        (1..).zip(entries).map(|(owner, entries)| Weight {
            owner: Uuid::from_u128(owner),
            accounts: 2,
            entries: *entries,
        })
    }

    fn chunk(last: Uuid, accounts: i64) -> Chunk {
        Chunk { last, accounts }
    }

    #[test]
    fn a_chunk_holds_at_least_one_owner_and_no_more_entries_than_allowed() {
        let half = VERIFY_CHUNK_ENTRIES / 2;
        let of = |entries: &[i64]| Chunk::of(weights(entries), false);
        assert_eq!(of(&[half, half, 1]), chunk(Uuid::from_u128(2), 4));
        assert_eq!(of(&[i64::MAX, i64::MAX]), chunk(Uuid::from_u128(1), 2));
        assert_eq!(of(&[1, 1]), chunk(Uuid::from_u128(2), 4), "more follow");
    }

    #[test]
    fn the_last_chunk_reaches_owners_that_have_no_account() {
        let of = |entries: &[i64]| Chunk::of(weights(entries), true);
        assert_eq!(of(&[]), chunk(Uuid::max(), 0));
        assert_eq!(of(&[1, 1]), chunk(Uuid::max(), 4));
        let whole = VERIFY_CHUNK_ENTRIES;
        assert_eq!(of(&[whole, 1]), chunk(Uuid::from_u128(1), 2));
    }
}
