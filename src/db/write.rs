//! Runs writes outside of the ledger: one transaction in its own task, so that it is committed or rolled back even if
//! the caller is cancelled. After a conflict with another transaction it is run again.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, TransactionManager};
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use crate::db::pg_error::{DbError, TransactionError};
use crate::db::pool::{self, Pool, Pooled};
use crate::db::pulse::{Pulse, Watched};
use crate::db::read;
use crate::db::schema::owner;
use crate::error::{Error, Outcome, Result};
use crate::limits::{CALL_MAX, DB_BEGIN_MAX, DB_LOCK_WAIT_MAX, DB_RENEW_PAUSE, DB_WRITE_TRIES};
use crate::trace;
use crate::types::ids::OwnerId;
use crate::types::time::Time;

/// The statements of a write between BEGIN and COMMIT, under READ COMMITTED.
pub trait Transaction: Send + Sync + 'static {
    /// The result of the write.
    type Output: Send + 'static;

    /// Runs the statements. May be called again after a conflict; the call before is rolled back then. An error of the
    /// database must be returned, not handled: Postgres has aborted the transaction.
    fn run(
        &self,
        connection: &mut AsyncPgConnection,
    ) -> impl Future<Output = Result<Self::Output, TransactionError>> + Send;
}

/// Runs a transaction and commits it; with `validate_only` runs it in a read-only snapshot instead.
/// `start` as in [`run`].
///
/// # Errors
/// The same as those of [`run`].
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

/// Inserts the row of an owner unless it exists. Writes lock this row, and idempotency keys refer to it.
///
/// # Errors
/// Those of the database, as diesel returns them.
pub async fn ensure_owner(connection: &mut AsyncPgConnection, id: OwnerId) -> QueryResult<()> {
    diesel::insert_into(owner::table)
        .values(owner::owner_id.eq(id.0))
        .on_conflict_do_nothing()
        .execute(connection)
        .await?;
    Ok(())
}

/// The current time by the database's clock, not that of the transaction's begin.
///
/// # Errors
/// Those of the database, as diesel returns them.
pub async fn now(connection: &mut AsyncPgConnection) -> QueryResult<Time> {
    diesel::define_sql_function!(fn clock_timestamp() -> diesel::sql_types::Timestamptz);

    let now: DateTime<Utc> = diesel::select(clock_timestamp())
        .get_result(connection)
        .await?;
    Ok(now.into())
}

/// Runs a transaction and commits it. `start` is called right before it begins; if it returns false, the
/// write is not begun.
///
/// # Errors
/// The error that the transaction returns; [`Error::Deadline`] if `start` returned false; [`Error::Contention`] if
/// a conflict is left after [`DB_WRITE_TRIES`] tries; [`Error::DatabaseUnavailable`], whose outcome is unknown only
/// if COMMIT was sent.
pub async fn run<T: Transaction>(
    pool: &Pool,
    start: impl Fn() -> bool + Send + Sync + 'static,
    transaction: T,
) -> Result<T::Output> {
    let pool = pool.clone();
    let work = async move { retry(&pool, start, &transaction).await };
    let task = trace::spawn(work.in_current_span());
    task.await.unwrap_or_else(|error| {
        Err(Error::Internal(
            format!("the task of a write ended without a result: {error}"),
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
            Err(WriteAttemptError::Aborted(TransactionError::Database(fault))) => fault,
            Err(WriteAttemptError::Aborted(TransactionError::Refused(error))) => return Err(error),
            Err(WriteAttemptError::InDoubt(fault)) => {
                return Err(fault.logged(Outcome::Unknown, pool.database()));
            }
        };
        let is_transient = fault.is_contention() || fault.is_connection_lost();
        // A further try may wait DB_LOCK_WAIT_MAX for a lock, and must end before its caller gives up.
        let in_time = begun.elapsed() + DB_LOCK_WAIT_MAX < CALL_MAX / 2;
        if !is_transient || !in_time || tries == DB_WRITE_TRIES {
            return Err(fault.logged(Outcome::NotApplied, pool.database()));
        }
        tokio::time::sleep(pause(tries)).await;
        tries += 1;
    }
}

/// Why one attempt to run a transaction failed.
enum WriteAttemptError {
    /// Nothing was changed; the attempt may be repeated.
    Aborted(TransactionError),
    /// COMMIT was sent and not answered, so the write may have been applied.
    InDoubt(DbError),
}

impl<E: Into<TransactionError>> From<E> for WriteAttemptError {
    fn from(failure: E) -> Self {
        Self::Aborted(failure.into())
    }
}

async fn attempt<T: Transaction>(
    pool: &Pool,
    start: &(impl Fn() -> bool + Send + Sync),
    transaction: &T,
) -> Result<T::Output, WriteAttemptError> {
    let mut connection = pool::checkout(pool).await?;
    if !start() {
        connection.settled();
        return Err(Error::Deadline(Outcome::NotApplied).into());
    }
    let pulse = pool.pulse().clone();
    if !begins(pool, &mut connection).await? {
        return Err(DbError::ConnectionLost("BEGIN was never answered".into()).into());
    }
    // The timeouts of the session are enforced by Postgres, so they have no effect while the network is down.
    // Where the statement is not waited for, it is cancelled and the connection closed, which rolls the transaction back.
    let begun = Instant::now();
    let work = transaction.run(&mut connection);
    let failure = match pulse.watch(begun, begun + CALL_MAX, work).await {
        Watched::Done(Ok(output)) => {
            connection.committing();
            commit(&mut connection, &pulse).await?;
            connection.settled();
            return Ok(output);
        }
        Watched::Done(Err(failure)) => failure,
        Watched::Silent => return Err(Error::DatabaseUnavailable(Outcome::NotApplied).into()),
        Watched::TooLong => {
            return Err(DbError::ConnectionLost("a statement was never answered".into()).into());
        }
    };
    let is_late_cancel = connection.may_be_cancelled_late();
    // Sessions that are read-only stay so although their administrator has changed that for new ones.
    let is_stale = matches!(failure, TransactionError::Database(DbError::ReadOnly))
        && connection.made().elapsed() >= DB_RENEW_PAUSE;
    if is_stale {
        pool.renew();
    }
    let rollback = AnsiTransactionManager::rollback_transaction(&mut *connection);
    if let Ok(Ok(())) = tokio::time::timeout(CALL_MAX, rollback).await {
        connection.settled();
    }
    Err(match failure {
        TransactionError::Database(DbError::StatementTimeout) if is_late_cancel => {
            DbError::ConnectionLost("a statement was cancelled instead of another".into()).into()
        }
        TransactionError::Database(DbError::ReadOnly) if is_stale => {
            DbError::ConnectionLost("its session was read-only".into()).into()
        }
        failure => failure.into(),
    })
}

/// Sends BEGIN; false if it is not answered though the database answers others: nothing works on this connection, nor
/// maybe on those that are as old.
async fn begins(pool: &Pool, connection: &mut Pooled) -> Result<bool, WriteAttemptError> {
    // Not READ WRITE, which would override the administrator's `default_transaction_read_only`.
    const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
    let sent = AnsiTransactionManager::begin_transaction_sql(&mut **connection, BEGIN);
    if let Ok(begun) = tokio::time::timeout(DB_BEGIN_MAX, sent).await {
        begun?;
        return Ok(true);
    }
    if !pool.pulse().beats().await {
        return Err(Error::DatabaseUnavailable(Outcome::NotApplied).into());
    }
    pool.renew();
    Ok(false)
}

async fn commit(
    connection: &mut AsyncPgConnection,
    pulse: &Pulse,
) -> Result<(), WriteAttemptError> {
    let commit = AnsiTransactionManager::commit_transaction(connection);
    let begun = Instant::now();
    let fault = match pulse.watch(begun, begun + CALL_MAX, commit).await {
        Watched::Done(Ok(())) => return Ok(()),
        Watched::Done(Err(error)) => DbError::from(error),
        Watched::Silent | Watched::TooLong => {
            DbError::ConnectionLost("COMMIT was never answered".into())
        }
    };
    Err(if fault.is_surely_aborted() {
        fault.into()
    } else {
        WriteAttemptError::InDoubt(fault)
    })
}

/// The pause before the next try: 5 ms, doubled with each try, of which half is random, so that two transactions that
/// were in conflict do not start at the same time again.
fn pause(tries: u32) -> Duration {
    let whole_us = 5_000_u64 << tries.min(10);
    let random_us = Uuid::new_v4().as_u64_pair().1 % (whole_us / 2);
    Duration::from_micros(whole_us / 2 + random_us)
}
