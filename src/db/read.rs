//! Runs reads on a pooled connection, within the time limit of the pool's reads; again on another connection if the first
//! turns out to be dead; by a second one as well if the first does not answer; and no longer than the database answers.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};
use futures_util::future::{Either, select};
use tokio::time::{Instant, timeout, timeout_at};

use crate::db::pg_error::{DbError, TransactionError};
use crate::db::pool::{self, Pool, Pooled};
use crate::db::pulse::Watched;
use crate::error::{Error, Outcome, Result};
use crate::limits::DB_READ_TRIES;

/// An async closure that takes a connection, and whose future is `Send`.
///
/// A bound on `AsyncFn` cannot demand that the future is `Send`, which the handlers that await it
/// need. This trait does.
pub trait Query<'c, R>: Fn(&'c mut AsyncPgConnection) -> Self::Future + Send + Sync {
    /// The future that the closure returns.
    type Future: Future<Output = R> + Send;
}

impl<'c, R, F, Fut> Query<'c, R> for F
where
    F: Fn(&'c mut AsyncPgConnection) -> Fut + Send + Sync,
    Fut: Future<Output = R> + Send,
{
    type Future = Fut;
}

/// Runs a read of one statement, outside of a transaction. It may be run again on another connection, and on two
/// connections at the same time.
///
/// # Errors
/// The error that the closure returns, or the database's as [`TransactionError::into_error`] maps
/// it; those of [`pool::checkout`]; [`Error::ReadTooLong`] after the time that the pool's reads may take;
/// [`Error::DatabaseUnavailable`] if the database answers nobody.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn cannot promise that its future is Send"
)]
pub fn one<'a, T, E, F>(pool: &'a Pool, read: F) -> impl Future<Output = Result<T>> + Send + 'a
where
    T: Send + 'a,
    E: Into<TransactionError> + Send + 'a,
    F: for<'c> Query<'c, Result<T, E>> + 'a,
{
    async move {
        let begun = Instant::now();
        let end = begun + pool.read_max();
        let stage = ReadStage::default();
        let mut work = pin!(tries(pool, &read, &stage));
        // One timer for the wait and the statement: where many wait, a second one for each is a part of their cost.
        let checked_out = end.min(begun + pool.checkout_timeout());
        if let Ok(result) = timeout_at(checked_out, &mut work).await {
            return result;
        }
        if !stage.is_sent.load(Ordering::Relaxed) {
            // With its turn, it was waiting for a connection to be made.
            let waits_for_turn = !stage.has_turn.load(Ordering::Relaxed);
            return Err(if waits_for_turn && pool.pulse().beats().await {
                pool.overloaded()
            } else {
                Error::DatabaseUnavailable(Outcome::NotApplied)
            });
        }
        match pool.pulse().watch(begun, end, work).await {
            Watched::Done(result) => result,
            Watched::Silent => Err(Error::DatabaseUnavailable(Outcome::NotApplied)),
            Watched::TooLong => Err(pool.too_long()),
        }
    }
}

/// Runs a read of several statements in one read-only snapshot: all see the database as it was at the first.
///
/// # Errors
/// The same as those of [`one`].
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn cannot promise that its future is Send"
)]
pub fn snapshot<'a, T, E, F>(pool: &'a Pool, read: F) -> impl Future<Output = Result<T>> + Send + 'a
where
    T: Send + 'a,
    E: Into<TransactionError> + Send + 'a,
    F: for<'c> Query<'c, Result<T, E>> + 'a,
{
    async move {
        let in_snapshot =
            async |connection: &mut AsyncPgConnection| in_snapshot(connection, &read).await;
        one(pool, in_snapshot).await
    }
}

async fn in_snapshot<T, E, F>(
    connection: &mut AsyncPgConnection,
    read: &F,
) -> Result<T, TransactionError>
where
    E: Into<TransactionError>,
    F: for<'c> Query<'c, Result<T, E>>,
{
    const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
    AnsiTransactionManager::begin_transaction_sql(connection, BEGIN).await?;
    let result = read(connection).await.map_err(Into::into);
    // Nothing was written, so a rollback ends it as well as a commit. If it fails, the pool closes the connection.
    let ended = AnsiTransactionManager::rollback_transaction(connection).await;
    let value = result?;
    ended?;
    Ok(value)
}

/// How far a read has come, on its first connection.
#[derive(Default)]
struct ReadStage {
    /// It has its turn at a connection, which may have to be made.
    has_turn: AtomicBool,
    /// It has a connection, and its first statement is sent.
    is_sent: AtomicBool,
}

/// Why one try of a read failed.
enum ReadFailure {
    /// Another connection may do better.
    Transient(DbError),
    Final(Error),
}

async fn tries<T, E, F>(pool: &Pool, read: &F, stage: &ReadStage) -> Result<T>
where
    T: Send,
    E: Into<TransactionError> + Send,
    F: for<'c> Query<'c, Result<T, E>>,
{
    let mut tries = 1;
    loop {
        match hedged(pool, read, stage).await {
            Ok(value) => return Ok(value),
            // After a restart of Postgres the next connection of the pool may be dead too, without being marked so.
            Err(ReadFailure::Transient(_)) if tries < DB_READ_TRIES => {
                tokio::time::sleep(Duration::from_millis(5) * tries).await;
                tries += 1;
            }
            Err(ReadFailure::Transient(fault)) => {
                return Err(fault.logged(Outcome::NotApplied, pool.database()));
            }
            Err(ReadFailure::Final(error)) => return Err(error),
        }
    }
}

/// One try; where the pool hedges its reads, by two connections from a certain time on.
async fn hedged<T, E, F>(pool: &Pool, read: &F, stage: &ReadStage) -> Result<T, ReadFailure>
where
    T: Send,
    E: Into<TransactionError> + Send,
    F: for<'c> Query<'c, Result<T, E>>,
{
    let begun = Instant::now();
    let connection = pool::turn(pool, &stage.has_turn, None).await;
    let connection = connection.map_err(ReadFailure::Final)?;
    stage.is_sent.store(true, Ordering::Relaxed);
    let mut first = pin!(attempt(pool, connection, read));
    let Some(patience) = pool.hedge_after() else {
        return first.await;
    };
    if let Ok(result) = timeout(patience, &mut first).await {
        return result;
    }
    // On the heap, since it is seldom needed. By a new connection: if the network or a pooler has lost the first one without
    // a word, it has lost those of its age too.
    let second = Box::pin(async {
        let connection = pool::turn(pool, &stage.has_turn, Some(begun)).await;
        let connection = connection.map_err(ReadFailure::Final)?;
        attempt(pool, connection, read).await
    });
    match select(first, second).await {
        Either::Left((result, _)) | Either::Right((result @ Ok(_), _)) => result,
        Either::Right((Err(_), first)) => first.await,
    }
}

async fn attempt<T, E, F>(pool: &Pool, mut connection: Pooled, read: &F) -> Result<T, ReadFailure>
where
    E: Into<TransactionError>,
    F: for<'c> Query<'c, Result<T, E>>,
{
    let failure = match read(&mut connection).await.map_err(Into::into) {
        Ok(value) => {
            connection.settled();
            return Ok(value);
        }
        Err(failure) => failure,
    };
    let is_late_cancel = connection.may_be_cancelled_late();
    connection.failed();
    Err(match failure {
        TransactionError::Refused(error) => ReadFailure::Final(error),
        // On a standby a read conflicts with what is replayed; a repetition sees the state after that.
        TransactionError::Database(fault @ DbError::Serialization) => ReadFailure::Transient(fault),
        TransactionError::Database(fault) if fault.is_connection_lost() => {
            ReadFailure::Transient(fault)
        }
        TransactionError::Database(fault @ DbError::StatementTimeout) if is_late_cancel => {
            ReadFailure::Transient(fault)
        }
        TransactionError::Database(fault) => {
            ReadFailure::Final(fault.logged(Outcome::NotApplied, pool.database()))
        }
    })
}
