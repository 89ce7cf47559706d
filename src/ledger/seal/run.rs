//! Seals the periods that have ended, in order, while servers go on serving.
//!
//! A period's owners are taken in batches. What is computed of a batch is written in one transaction; the period's own row comes
//! last. So a seal that is interrupted goes on behind the last batch that was written. The journal's entries follow from each
//! other over all periods, or the seal stops: a constraint that spans partitions cannot hold that.

use std::collections::HashMap;
use std::time::Duration;

use thiserror::Error;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::db::connect::{ConnectError, Connector};
use crate::db::pg_error::DbError;
use crate::ledger::seal::barrier;
use crate::ledger::seal::journal::{self, JournalError, JournalRange, READ_SETTINGS};
use crate::ledger::seal::model::{PeriodBounds, PeriodSeal, SealDigest, SealKey};
use crate::ledger::seal::period::{SealState, periods_to_seal};
use crate::ledger::seal::walk::{SequenceFault, Walk, WalkOrderError, owner_seals};
use crate::ledger::seal::writes::{SealStore, StoredState, next_owner};
use crate::ledger::store_error::StoreError;
use crate::limits::{DB_MIGRATION_WAIT_MAX, MIGRATION_LOCK_WAIT_MAX, SEAL_BATCH_OWNERS};
use crate::types::period::CalendarPeriod;
use crate::types::time::Time;

/// What is to be sealed.
#[derive(Clone, Copy, Debug)]
pub struct SealOptions {
    /// How long periods are.
    pub length: CalendarPeriod,
    /// How long a period must have ended before it is sealed.
    pub grace: Duration,
    /// Where the last period ends; none to seal whole periods only.
    pub until: Option<Time>,
}

/// Why a seal stopped. Periods that were sealed before stay sealed.
#[derive(Debug, Error)]
pub enum SealError {
    /// No connection to the database could be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The migrations lack that make the tables of seals.
    #[error("the database has no tables for seals: `earmark migrate` makes them")]
    NoTables,
    /// Another seal is under way.
    #[error("another seal of this database is under way")]
    Busy,
    /// A transaction has held the lock of an owner, or of new owners, for [`DB_MIGRATION_WAIT_MAX`].
    #[error(
        "a transaction has held the lock of an owner for {DB_MIGRATION_WAIT_MAX:?}, and may still write entries: try again \
         when it has ended"
    )]
    Locked,
    /// The given end is too late.
    #[error(
        "{until} cannot be sealed yet: by the database's clock, the latest time is {latest_end}"
    )]
    NotFinished {
        /// The end that was given.
        until: Time,
        /// The latest end that is possible.
        latest_end: Time,
    },
    /// An entry does not follow from the one before it.
    #[error(
        "L4 does not hold in the period {bounds}, so that it is not sealed: owner {}, {}, {}: expected {}, found {}",
        .fault.key.owner, .fault.key.account.name(), .fault.key.unit, .fault.expected, .fault.actual
    )]
    Sequence {
        /// The period, of which some owners may be written already.
        bounds: PeriodBounds,
        /// The first such entry of the account.
        fault: Box<SequenceFault>,
    },
    /// The rows did not come in their order.
    #[error(transparent)]
    Order(#[from] WalkOrderError),
    /// What is stored is none that this version writes.
    #[error("{0}")]
    Corrupt(String),
    /// A statement of the seal failed.
    #[error("the database failed: {0:?}")]
    Database(DbError),
}

impl From<tokio_postgres::Error> for SealError {
    fn from(error: tokio_postgres::Error) -> Self {
        match DbError::from(error) {
            DbError::MissingTable => Self::NoTables,
            fault => Self::Database(fault),
        }
    }
}

impl From<StoreError> for SealError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Postgres(error) => error.into(),
            other => Self::Corrupt(other.to_string()),
        }
    }
}

impl From<JournalError> for SealError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Postgres(error) => error.into(),
            JournalError::Order(error) => error.into(),
            JournalError::Malformed => Self::Corrupt(error.to_string()),
        }
    }
}

/// The key of the advisory lock: «earmseal» in ASCII.
const LOCK_KEY: i64 = 0x6561_726d_7365_616c;

/// Seals what can be sealed, and calls `sealed` for each period as soon as it is.
///
/// # Errors
/// Any variant of [`SealError`].
pub async fn seal(
    connector: &Connector,
    options: &SealOptions,
    mut sealed: impl FnMut(&PeriodSeal),
) -> Result<(), SealError> {
    let connector = connector.adjusted(|session| {
        session.statement_timeout = Duration::ZERO;
        session.lock_timeout = MIGRATION_LOCK_WAIT_MAX;
        session.application_name = "earmark-seal";
    });
    let (client, _driver) = connector.connect().await?;
    take_lock(&client).await?;
    client.batch_execute(READ_SETTINGS).await?;
    let mut store = SealStore::prepare(client).await?;
    let state = store.state().await?;
    let latest_end = latest_end(&state, options)?;
    let periods = |first_entry| {
        let state = SealState {
            sealed_until: state.sealed_until,
            unfinished: state.unfinished,
            first_entry,
            latest_end,
        };
        periods_to_seal(&state, options.length, options.until)
    };
    // On most days: nobody's lock is taken for nothing.
    if state.sealed_until.is_some() && periods(None).is_empty() {
        return Ok(());
    }
    let (barrier_client, _driver) = connector.connect().await?;
    if !barrier::pass(&barrier_client).await? {
        return Err(SealError::Locked);
    }
    drop(barrier_client);
    let first_entry = match state.sealed_until {
        None => store.first_entry().await?,
        Some(_) => None,
    };
    let mut previous = state.last_digest;
    for bounds in periods(first_entry) {
        let seal = seal_one(&mut store, bounds, previous).await?;
        previous = Some(seal.digest);
        sealed(&seal);
    }
    Ok(())
}

async fn take_lock(client: &Client) -> Result<(), SealError> {
    let row = client
        .query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK_KEY])
        .await?;
    if row.try_get(0)? {
        Ok(())
    } else {
        Err(SealError::Busy)
    }
}

/// The latest end that a period may have now.
fn latest_end(state: &StoredState, options: &SealOptions) -> Result<Time, SealError> {
    let grace = i64::try_from(options.grace.as_micros()).unwrap_or(i64::MAX);
    let latest_end = state
        .now
        .micros()
        .checked_sub(grace)
        .and_then(Time::from_micros)
        .unwrap_or(Time::MIN);
    match options.until {
        Some(until) if until > latest_end => Err(SealError::NotFinished { until, latest_end }),
        _ => Ok(latest_end),
    }
}

async fn seal_one(
    store: &mut SealStore,
    bounds: PeriodBounds,
    previous: Option<SealDigest>,
) -> Result<PeriodSeal, SealError> {
    let mut next = store.first_owner(bounds.end).await?;
    while let Some(first) = next {
        let last = store.last_of_batch(first, SEAL_BATCH_OWNERS).await?;
        seal_batch(store, bounds, (first, last)).await?;
        next = next_owner(last);
    }
    Ok(store.seal_period(previous, bounds).await?)
}

async fn seal_batch(
    store: &mut SealStore,
    bounds: PeriodBounds,
    (first, last): (Uuid, Uuid),
) -> Result<(), SealError> {
    let openings = store.openings((first, last), bounds.start).await?;
    let mut ends: HashMap<SealKey, i64> = openings
        .iter()
        .map(|(key, opening)| (key.clone(), opening.balance.version))
        .collect();
    let mut walk = Walk::new(bounds, openings);
    let range = JournalRange {
        first,
        last,
        start: Some(bounds.start),
        end: bounds.end,
    };
    journal::read(&store.client, &range, &mut walk).await?;
    let walked = walk.finish();
    for seal in &walked.seals {
        ends.insert(seal.key.clone(), seal.carried.balance.version);
    }
    let fault = match walked.faults.into_iter().next() {
        Some(fault) => Some(fault),
        None => missing_tail(store, (first, last), &ends, bounds.end).await?,
    };
    if let Some(fault) = fault {
        return Err(SealError::Sequence {
            bounds,
            fault: Box::new(fault),
        });
    }
    if !walked.seals.is_empty() {
        let owners = owner_seals(bounds, &walked.seals);
        store.write(bounds.end, &walked.seals, &owners).await?;
    }
    Ok(())
}

/// An account that lacks its last entries of the period: the first entry behind the period, or else the account itself, does
/// not follow from the last one that was found. Where the account has the version that was found there is nothing behind it.
async fn missing_tail(
    store: &SealStore,
    owners: (Uuid, Uuid),
    ends: &HashMap<SealKey, i64>,
    end: Time,
) -> Result<Option<SequenceFault>, SealError> {
    let versions = store.versions(owners).await?;
    let found = |key: &SealKey| ends.get(key).copied().unwrap_or(0);
    let moved: Vec<&SealKey> = versions
        .iter()
        .filter(|(key, version)| **version != found(key))
        .map(|(key, _)| key)
        .collect();
    if moved.is_empty() {
        return Ok(None);
    }
    let next = store.next_versions(&moved, end).await?;
    let lacking = moved
        .into_iter()
        .filter(|key| next.get(*key).copied() != found(key).checked_add(1))
        .min();
    Ok(lacking.map(|key| SequenceFault {
        key: key.clone(),
        expected: format!("version {} after {end}", i128::from(found(key)) + 1),
        actual: next.get(key).map_or_else(
            || match versions.get(key) {
                Some(version) => format!("none, though the account has version {version}"),
                None => "none".into(),
            },
            |version| format!("version {version}"),
        ),
    }))
}
