//! How a small write runs: one transaction in a task of its own, so that it is carried out or rolled back even if the
//! caller leaves, and tried again when it met another.

use std::future::Future;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, TransactionManager};
use tracing::Instrument;
use uuid::Uuid;

use crate::db::pg_error::{DbFault, Failure};
use crate::db::pool::{self, Pool};
use crate::db::read;
use crate::db::schema::owner;
use crate::error::{Error, Outcome, Result};
use crate::limits::{CALL_MAX, DB_LOCK_WAIT_MAX, DB_WRITE_TRIES};
use crate::types::ids::OwnerId;
use crate::types::time::Time;

/// What is done between BEGIN and COMMIT, under READ COMMITTED.
pub trait Transaction: Send + Sync + 'static {
    /// What comes of it.
    type Output: Send + 'static;

    /// Runs the statements. May be called again after a conflict, with nothing left of the call before. An error of the
    /// database must be passed on: Postgres has ended the transaction by then.
    fn run(
        &self,
        connection: &mut AsyncPgConnection,
    ) -> impl Future<Output = Result<Self::Output, Failure>> + Send;
}

/// Runs a transaction and commits it, or with `validate_only` judges it from a snapshot that nothing can be written to.
///
/// # Errors
/// Those of [`run`].
pub async fn carry_out<T: Transaction>(
    pool: &Pool,
    start: impl Fn() -> bool + Send + Sync + 'static,
    validate_only: bool,
    transaction: T,
) -> Result<T::Output> {
    if !validate_only {
        return run(pool, start, transaction).await;
    }
    read::snapshot(pool, async |connection: &mut AsyncPgConnection| {
        transaction.run(connection).await
    })
    .await
}

/// Makes the row of an owner, which is locked, and which keys refer to.
///
/// # Errors
/// The database's fault.
pub async fn ensure_owner(connection: &mut AsyncPgConnection, id: OwnerId) -> QueryResult<()> {
    diesel::insert_into(owner::table)
        .values(owner::owner_id.eq(id.0))
        .on_conflict_do_nothing()
        .execute(connection)
        .await?;
    Ok(())
}

/// The database's clock.
///
/// # Errors
/// The database's fault.
pub async fn now(connection: &mut AsyncPgConnection) -> QueryResult<Time> {
    diesel::define_sql_function!(fn clock_timestamp() -> diesel::sql_types::Timestamptz);

    let now: DateTime<Utc> = diesel::select(clock_timestamp())
        .get_result(connection)
        .await?;
    Ok(now.into())
}

/// Runs a transaction and commits it. `start` is asked right before it begins; false withdraws the write.
///
/// # Errors
/// The transaction's own verdict; [`Error::Deadline`] if withdrawn; [`Error::Contention`] for a conflict that is left
/// after some tries; [`Error::DatabaseUnavailable`], whose outcome is unknown only if COMMIT was sent.
pub async fn run<T: Transaction>(
    pool: &Pool,
    start: impl Fn() -> bool + Send + Sync + 'static,
    transaction: T,
) -> Result<T::Output> {
    let pool = pool.clone();
    let work = async move { retry(&pool, start, &transaction).await };
    let task = tokio::spawn(work.in_current_span());
    task.await.unwrap_or_else(|error| {
        Err(Error::Internal(
            format!("a write's task ended early: {error}"),
            Outcome::Unknown,
        ))
    })
}

async fn retry<T: Transaction>(
    pool: &Pool,
    start: impl Fn() -> bool + Send + Sync,
    transaction: &T,
) -> Result<T::Output> {
    let begun = Instant::now();
    let mut tries = 1;
    loop {
        let fault = match attempt(pool, &start, transaction).await {
            Ok(output) => return Ok(output),
            Err(Ended::Aborted(Failure::Database(fault))) => fault,
            Err(Ended::Aborted(Failure::Refused(error))) => return Err(error),
            Err(Ended::InDoubt(fault)) => return Err(fault.into_error(Outcome::Unknown)),
        };
        let worth_it = fault.is_contention() || fault.is_connection_lost();
        // A last try that waits for a lock must still end before its caller gives up.
        let in_time = begun.elapsed() + DB_LOCK_WAIT_MAX < CALL_MAX / 2;
        if !worth_it || !in_time || tries == DB_WRITE_TRIES {
            return Err(fault.into_error(Outcome::NotApplied));
        }
        tokio::time::sleep(pause(tries)).await;
        tries += 1;
    }
}

/// How an attempt ended that brought no result.
enum Ended {
    /// Nothing has changed.
    Aborted(Failure),
    /// COMMIT was sent, and its answer is missing.
    InDoubt(DbFault),
}

impl<E: Into<Failure>> From<E> for Ended {
    fn from(failure: E) -> Self {
        Self::Aborted(failure.into())
    }
}

async fn attempt<T: Transaction>(
    pool: &Pool,
    start: &(impl Fn() -> bool + Send + Sync),
    transaction: &T,
) -> Result<T::Output, Ended> {
    let mut connection = pool::checkout(pool).await?;
    if !start() {
        return Err(Error::Deadline(Outcome::NotApplied).into());
    }
    // The server's limits do not help when the network stalls.
    let work = async {
        const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE";
        AnsiTransactionManager::begin_transaction_sql(&mut *connection, BEGIN).await?;
        transaction.run(&mut connection).await
    };
    let result = tokio::time::timeout(CALL_MAX, work).await;
    match result {
        Ok(Ok(output)) => {
            commit(&mut connection).await?;
            Ok(output)
        }
        Ok(Err(failure)) => {
            // If this fails the pool closes the connection, which rolls back too.
            _ = AnsiTransactionManager::rollback_transaction(&mut *connection).await;
            Err(failure.into())
        }
        Err(_) => Err(DbFault::ConnectionLost("a statement was never answered".into()).into()),
    }
}

async fn commit(connection: &mut AsyncPgConnection) -> Result<(), Ended> {
    let commit = AnsiTransactionManager::commit_transaction(connection);
    let fault = match tokio::time::timeout(CALL_MAX, commit).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => DbFault::from(error),
        Err(_) => DbFault::ConnectionLost("COMMIT was never answered".into()),
    };
    Err(if fault.is_surely_aborted() {
        fault.into()
    } else {
        Ended::InDoubt(fault)
    })
}

/// 5 ms, doubled with each try, half of it by chance: those who met once should not meet again.
fn pause(tries: u32) -> Duration {
    let whole_us = 5_000_u64 << tries.min(10);
    let chance_us = Uuid::new_v4().as_u64_pair().1 % (whole_us / 2);
    Duration::from_micros(whole_us / 2 + chance_us)
}
