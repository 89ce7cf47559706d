//! L8: the seals, held against each other and against the journal.
//!
//! What is sealed is a tree: the period's digest covers the digests of its owners, each of which covers the balances and digests
//! of the owner's accounts, each of which covers the account's entries. Each level is held against what is stored of the one
//! below it, so that a change is reported where it was made. The levels together hold the entries against the period's digest,
//! and the chain holds the periods against each other.
//!
//! Of archived periods, the entries are in files: what the database has of them is held together all the same, down to the
//! carry-forwards. Each period before the last archived one must be archived too, with as many entries as were sealed.
//!
//! Each period is taken in chunks of owners: so what is read of the journal at a time lies close together. Several connections
//! may take chunks at the same time. Each has a snapshot of its own; what was sealed when the first one began, never changes.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt};
use thiserror::Error;
use tokio::sync::{Mutex, mpsc};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::db::connect::{ConnectError, Connector};
use crate::ledger::breach::{Breach, Invariant};
use crate::ledger::seal::compare::{self, ArchivedPeriod};
use crate::ledger::seal::digest::{PeriodHasher, SEAL_FORMAT};
use crate::ledger::seal::journal::{self, JournalError, JournalRange, READ_SETTINGS};
use crate::ledger::seal::model::{AccountSeal, OwnerSeal, PeriodBounds, PeriodSeal};
use crate::ledger::seal::rows::{read_account, read_owner, read_period};
use crate::ledger::seal::walk::Walk;
use crate::ledger::store_error::StoreError;
use crate::ledger::verification::{amount, time};
use crate::limits::{VERIFY_CHUNK_OWNERS, VERIFY_SEAL_CHUNK_ENTRIES};
use crate::types::ids::{AccountId, OwnerId};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// How far seals are held against the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealDepth {
    /// All sealed entries are read and hashed again.
    Rehash,
    /// The digests of accounts are trusted. Carried balances are held against the journal, and the chain is checked.
    Chain,
}

/// What is sealed, by the periods' own counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SealTotals {
    /// The number of sealed periods.
    pub periods: i64,
    /// The number of entries in them.
    pub entries: i64,
    /// The number of those periods that are archived.
    pub archived_periods: i64,
    /// The number of entries that are archived.
    pub archived_entries: i64,
}

/// Why seals could not be checked.
#[derive(Debug, Error)]
pub enum SealCheckError {
    /// No further connection to the database could be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A statement of the check failed.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    /// What is stored is none that this version writes.
    #[error("{0}")]
    Unreadable(String),
}

impl From<StoreError> for SealCheckError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Postgres(error) => Self::Postgres(error),
            other => Self::Unreadable(other.to_string()),
        }
    }
}

impl From<JournalError> for SealCheckError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Postgres(error) => Self::Postgres(error),
            other => Self::Unreadable(other.to_string()),
        }
    }
}

const PERIODS: &str = "\
    SELECT start_time, end_time, previous_digest, owners, entries, digest, format \
    FROM sealed_period ORDER BY end_time";

const ARCHIVED: &str = "SELECT end_time, entries FROM archived_period ORDER BY end_time";

/// The sealed owners in the order in which periods are hashed. Rows behind the last period belong to one that is being sealed.
const OWNERS_BY_PERIOD: &str = "\
    SELECT owner_id, end_time, entries, digest FROM sealed_owner WHERE end_time <= $1 ORDER BY end_time, owner_id";

/// The owners of a period from one on, of whom a chunk is made.
const OWNERS_FROM: &str = "\
    SELECT owner_id, end_time, entries, digest FROM sealed_owner \
    WHERE end_time = $1 AND owner_id >= $2 ORDER BY owner_id LIMIT $3";

const ACCOUNTS_OF_CHUNK: &str = "\
    SELECT owner_id, account_id, unit, available, held, version, reservation_count, time, end_time, entries, digest \
    FROM carry_forward WHERE owner_id BETWEEN $1 AND $2 AND end_time = $3 \
    ORDER BY owner_id, account_id, unit";

/// Seals of owners and accounts that belong to no sealed period, up to the end of the last.
const STRAY: &str = concat!(
    "SELECT s.owner_id, s.account_id, coalesce(s.unit, ''), 'an end of a sealed period', \
            format('%s that ends at %s', s.what, ",
    time!("s.end_time"),
    ") \
     FROM (\
         SELECT owner_id, NULL::uuid AS account_id, NULL AS unit, end_time, 'the seal of an owner' AS what \
         FROM sealed_owner \
         UNION ALL \
         SELECT owner_id, account_id, unit, end_time, 'a carry-forward' FROM carry_forward\
     ) s \
     WHERE s.end_time <= $1 AND NOT EXISTS (SELECT FROM sealed_period p WHERE p.end_time = s.end_time)"
);

/// Carried balances that are not those of the account's last entry before the end of the period.
const CARRIED_OF_CHUNK: &str = concat!(
    "SELECT c.owner_id, c.account_id, c.unit, \
            format('version %s at %s before %s: %s available, %s held by %s', e.version, ",
    time!("e.time"),
    ", ",
    time!("c.end_time"),
    ", ",
    amount!("e.available"),
    ", ",
    amount!("e.held"),
    ", e.reservation_count), \
            format('carried version %s at %s: %s available, %s held by %s', c.version, ",
    time!("c.time"),
    ", ",
    amount!("c.available"),
    ", ",
    amount!("c.held"),
    ", c.reservation_count) \
     FROM carry_forward c \
     LEFT JOIN LATERAL (\
         SELECT * FROM entry e \
         WHERE e.owner_id = c.owner_id AND e.account_id = c.account_id AND e.unit = c.unit AND e.time < c.end_time \
         ORDER BY e.time DESC, e.version DESC LIMIT 1\
     ) e ON true \
     WHERE c.owner_id BETWEEN $1 AND $2 AND c.end_time = $3 \
       AND (e.version, e.time, e.available, e.held, e.reservation_count) \
           IS DISTINCT FROM (c.version, c.time, c.available, c.held, c.reservation_count)"
);

/// A check of all seals.
pub(super) struct SealCheck<'a> {
    /// Makes connections beside the one of the verification.
    pub(super) connector: &'a Connector,
    /// Begins the transaction of a further connection, with its settings.
    pub(super) settings: &'static str,
    pub(super) depth: SealDepth,
    pub(super) connections: usize,
    /// Takes the breaches, in any order.
    pub(super) found: mpsc::Sender<Breach>,
}

impl SealCheck<'_> {
    /// Checks all seals on this connection, and on further ones.
    pub(super) async fn run(self, client: &Client) -> Result<SealTotals, SealCheckError> {
        client.batch_execute(READ_SETTINGS).await?;
        let periods = self.periods(client).await?;
        let archived = archived(client).await?;
        let until = archived.last().map(|period| period.end);
        let of_periods = compare::chain(&periods);
        for breach in of_periods
            .into_iter()
            .chain(compare::archived(&periods, &archived))
        {
            _ = self.found.send(breach).await;
        }
        let Some(last) = periods.last() else {
            return Ok(SealTotals::default());
        };
        let end = last.bounds.end.to_chrono();
        for row in client.query(STRAY, &[&end]).await? {
            _ = self.found.send(breach(&row)?).await;
        }
        self.digests(client, &periods, last.bounds).await?;
        let queue = Arc::new(ChunkQueue {
            periods: periods.iter().map(|period| period.bounds).collect(),
            archived_until: until,
            next: Mutex::new((0, Uuid::nil())),
        });
        let mut others = Vec::new();
        for _ in 1..self.connections {
            let (other, _driver) = self.connector.connect().await?;
            other.batch_execute(self.settings).await?;
            other.batch_execute(READ_SETTINGS).await?;
            let worker = self.worker(&queue);
            others.push(AbortOnDropHandle::new(tokio::spawn(async move {
                worker.run(&other).await
            })));
        }
        self.worker(&queue).run(client).await?;
        for other in others {
            other
                .await
                .unwrap_or_else(|error| Err(SealCheckError::Unreadable(error.to_string())))?;
        }
        Ok(SealTotals {
            periods: i64::try_from(periods.len()).unwrap_or(i64::MAX),
            entries: periods.iter().map(|period| period.entries).sum(),
            archived_periods: i64::try_from(archived.len()).unwrap_or(i64::MAX),
            archived_entries: archived.iter().map(|period| period.entries).sum(),
        })
    }

    fn worker(&self, queue: &Arc<ChunkQueue>) -> Worker {
        Worker {
            queue: Arc::clone(queue),
            depth: self.depth,
            found: self.found.clone(),
        }
    }

    async fn periods(&self, client: &Client) -> Result<Vec<PeriodSeal>, SealCheckError> {
        let mut periods = Vec::new();
        for row in client.query(PERIODS, &[]).await? {
            let format: i32 = row.try_get(6)?;
            if format != SEAL_FORMAT {
                let text = format!("a period is sealed in format {format}, which is newer");
                return Err(SealCheckError::Unreadable(text));
            }
            periods.push(read_period(&row)?);
        }
        Ok(periods)
    }

    /// Holds the digest of each period against the digests of its owners.
    async fn digests(
        &self,
        client: &Client,
        periods: &[PeriodSeal],
        last: PeriodBounds,
    ) -> Result<(), SealCheckError> {
        let end = last.end.to_chrono();
        let rows = client.query_raw(OWNERS_BY_PERIOD, [end]).await?;
        // The last periods may have no owners: then the end is read again.
        let mut rows = std::pin::pin!(rows.fuse());
        let mut owner: Option<OwnerSeal> = None;
        for period in periods {
            let mut hasher = PeriodHasher::new(period.previous, period.bounds);
            loop {
                if owner.is_none() {
                    owner = rows
                        .try_next()
                        .await?
                        .map(|row| read_owner(&row))
                        .transpose()?;
                }
                match owner.take_if(|owner| owner.end <= period.bounds.end) {
                    Some(owner) if owner.end == period.bounds.end => hasher.add(&owner),
                    // Of a period that does not exist, which is reported.
                    Some(_) => {}
                    None => break,
                }
            }
            if let Some(breach) = compare::period(period, &hasher.finish()) {
                _ = self.found.send(breach).await;
            }
        }
        Ok(())
    }
}

async fn archived(client: &Client) -> Result<Vec<ArchivedPeriod>, tokio_postgres::Error> {
    let rows = client.query(ARCHIVED, &[]).await?;
    let read = |row: &Row| {
        Ok(ArchivedPeriod {
            end: row.try_get::<_, DateTime<Utc>>(0)?.into(),
            entries: row.try_get(1)?,
        })
    };
    rows.iter().map(read).collect()
}

/// The chunks that no worker has taken yet.
struct ChunkQueue {
    periods: Vec<PeriodBounds>,
    /// The entries of all periods up to this time are in files.
    archived_until: Option<Time>,
    /// The index of the period, and the first owner in it, that are next.
    next: Mutex<(usize, Uuid)>,
}

/// A range of owners in a period, with the owners' seals.
struct SealChunk {
    /// The index of the period.
    period: usize,
    bounds: PeriodBounds,
    is_archived: bool,
    first: Uuid,
    last: Uuid,
    owners: Vec<OwnerSeal>,
}

impl ChunkQueue {
    /// Takes the next chunk: as many owners as fit, but at least one. The last chunk of a period goes on to the last owner that
    /// there can be, since entries may have been added of owners that had none.
    async fn take(
        &self,
        client: &Client,
        owners_from: &Statement,
    ) -> Result<Option<SealChunk>, SealCheckError> {
        let mut next = self.next.lock().await;
        let (period, first) = *next;
        let Some(bounds) = self.periods.get(period).copied() else {
            return Ok(None);
        };
        let limit = i64::try_from(VERIFY_CHUNK_OWNERS).unwrap_or(i64::MAX);
        let rows = client
            .query(owners_from, &[&bounds.end.to_chrono(), &first, &limit])
            .await?;
        let is_all = rows.len() < VERIFY_CHUNK_OWNERS;
        let mut owners: Vec<OwnerSeal> = rows.iter().map(read_owner).collect::<Result<_, _>>()?;
        let found = owners.len();
        let mut entries: i64 = 0;
        let fitting = owners.iter().take_while(|owner| {
            entries = entries.saturating_add(owner.entries);
            entries <= VERIFY_SEAL_CHUNK_ENTRIES
        });
        let fitting = fitting.count().max(1);
        owners.truncate(fitting);
        let is_last = is_all && owners.len() == found;
        let last = match owners.last() {
            Some(owner) if !is_last => owner.owner.0,
            _ => Uuid::max(),
        };
        *next = match last.as_u128().checked_add(1) {
            Some(after) => (period, Uuid::from_u128(after)),
            None => (period + 1, Uuid::nil()),
        };
        Ok(Some(SealChunk {
            period,
            bounds,
            is_archived: self.archived_until.is_some_and(|until| bounds.end <= until),
            first,
            last,
            owners,
        }))
    }
}

/// What takes chunks from the queue, on one connection.
struct Worker {
    queue: Arc<ChunkQueue>,
    depth: SealDepth,
    found: mpsc::Sender<Breach>,
}

/// The statements of a worker.
struct WorkerStatements {
    owners_from: Statement,
    accounts: Statement,
    carried: Statement,
}

impl Worker {
    async fn run(self, client: &Client) -> Result<(), SealCheckError> {
        let statements = WorkerStatements {
            owners_from: client.prepare(OWNERS_FROM).await?,
            accounts: client.prepare(ACCOUNTS_OF_CHUNK).await?,
            carried: client.prepare(CARRIED_OF_CHUNK).await?,
        };
        while let Some(chunk) = self.queue.take(client, &statements.owners_from).await? {
            for breach in self.check(client, &statements, &chunk).await? {
                // Fails only if nobody reads any more.
                _ = self.found.send(breach).await;
            }
        }
        Ok(())
    }

    async fn check(
        &self,
        client: &Client,
        statements: &WorkerStatements,
        chunk: &SealChunk,
    ) -> Result<Vec<Breach>, SealCheckError> {
        let (bounds, end) = (chunk.bounds, chunk.bounds.end.to_chrono());
        let range: [&(dyn ToSql + Sync); 3] = [&chunk.first, &chunk.last, &end];
        let rows = client.query(&statements.accounts, &range).await?;
        let accounts: Vec<AccountSeal> = rows.iter().map(read_account).collect::<Result<_, _>>()?;
        drop(rows);
        let mut breaches = match self.depth {
            _ if chunk.is_archived => Vec::new(),
            SealDepth::Rehash => {
                let mut walk = Walk::without_openings(bounds);
                let range = JournalRange {
                    first: chunk.first,
                    last: chunk.last,
                    // Whatever is before the first period belongs to none.
                    start: (chunk.period > 0).then_some(bounds.start),
                    end: bounds.end,
                };
                journal::read(client, &range, &mut walk).await?;
                compare::accounts(bounds, &walk.finish(), &accounts)
            }
            SealDepth::Chain => {
                let rows = client.query(&statements.carried, &range).await?;
                rows.iter()
                    .map(breach)
                    .collect::<Result<_, tokio_postgres::Error>>()?
            }
        };
        breaches.extend(compare::owners(bounds, &accounts, &chunk.owners));
        Ok(breaches)
    }
}

fn breach(row: &Row) -> Result<Breach, tokio_postgres::Error> {
    Ok(Breach {
        invariant: Invariant::L8,
        owner: row.try_get::<_, Option<Uuid>>(0)?.map(OwnerId),
        account: row.try_get::<_, Option<Uuid>>(1)?.map(AccountId),
        unit: Unit::stored(row.try_get(2)?),
        expected: row.try_get(3)?,
        actual: row.try_get(4)?,
    })
}
