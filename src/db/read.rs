//! Runs reads on a pooled connection, and again on another one if the connection turns out to be dead.

use std::future::Future;
use std::time::Duration;

use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};

use crate::db::pg_error::TransactionError;
use crate::db::pool::{self, Pool};
use crate::error::{Outcome, Result};
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

/// Runs a read of one statement, outside of a transaction.
///
/// # Errors
/// The error that the closure returns, or the database's as [`TransactionError::into_error`] maps
/// it; those of [`pool::checkout`].
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
        let mut tries = 1;
        loop {
            let mut connection = pool::checkout(pool).await?;
            match read(&mut connection).await.map_err(Into::into) {
                // After a restart of Postgres the next connection of the pool may be dead too, without being marked so.
                Err(TransactionError::Database(fault))
                    if fault.is_connection_lost() && tries < DB_READ_TRIES =>
                {
                    tokio::time::sleep(Duration::from_millis(5) * tries).await;
                    tries += 1;
                }
                result => return result.map_err(|failure| failure.into_error(Outcome::NotApplied)),
            }
        }
    }
}

/// Runs a read of several statements in one read-only snapshot: all see the database as it was at the first.
///
/// # Errors
/// The error that the closure returns, or the database's as [`TransactionError::into_error`] maps
/// it; those of [`pool::checkout`].
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
        let mut tries = 1;
        loop {
            let mut connection = pool::checkout(pool).await?;
            match in_snapshot(&mut connection, &read).await {
                // After a restart of Postgres the next connection of the pool may be dead too, without being marked so.
                Err(TransactionError::Database(fault))
                    if fault.is_connection_lost() && tries < DB_READ_TRIES =>
                {
                    tokio::time::sleep(Duration::from_millis(5) * tries).await;
                    tries += 1;
                }
                result => return result.map_err(|failure| failure.into_error(Outcome::NotApplied)),
            }
        }
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
