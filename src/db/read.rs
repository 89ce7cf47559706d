//! How reads run: on a pooled connection, and on another if that one turns out to be dead.

use std::future::Future;
use std::time::Duration;

use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};

use crate::db::pg_error::Failure;
use crate::db::pool::{self, Pool};
use crate::error::{Outcome, Result};
use crate::limits::DB_READ_TRIES;

/// An async closure that takes a connection, and whose future may move between threads.
///
/// `AsyncFn` alone cannot say the latter; with this trait and a return type that says `Send`, handlers may hold the reads'
/// futures.
pub trait Query<'c, R>: Fn(&'c mut AsyncPgConnection) -> Self::Future + Send + Sync {
    /// What the closure returns.
    type Future: Future<Output = R> + Send;
}

impl<'c, R, F, Fut> Query<'c, R> for F
where
    F: Fn(&'c mut AsyncPgConnection) -> Fut + Send + Sync,
    Fut: Future<Output = R> + Send,
{
    type Future = Fut;
}

/// Runs a read of one statement.
///
/// # Errors
/// The read's own verdict, else the database's fault.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn cannot promise that its future is Send"
)]
pub fn one<'a, T, E, F>(pool: &'a Pool, read: F) -> impl Future<Output = Result<T>> + Send + 'a
where
    T: Send + 'a,
    E: Into<Failure> + Send + 'a,
    F: for<'c> Query<'c, Result<T, E>> + 'a,
{
    async move {
        let mut tries = 1;
        loop {
            let mut connection = pool::checkout(pool).await?;
            match read(&mut connection).await.map_err(Into::into) {
                // When the server has gone, each connection of the pool has: the next one may not know yet either.
                Err(Failure::Database(fault))
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

/// Runs a read of several statements, all of which see the database as it was at the first.
///
/// # Errors
/// The read's own verdict, else the database's fault.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn cannot promise that its future is Send"
)]
pub fn snapshot<'a, T, E, F>(pool: &'a Pool, read: F) -> impl Future<Output = Result<T>> + Send + 'a
where
    T: Send + 'a,
    E: Into<Failure> + Send + 'a,
    F: for<'c> Query<'c, Result<T, E>> + 'a,
{
    async move {
        let mut tries = 1;
        loop {
            let mut connection = pool::checkout(pool).await?;
            match in_snapshot(&mut connection, &read).await {
                // When the server has gone, each connection of the pool has: the next one may not know yet either.
                Err(Failure::Database(fault))
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

async fn in_snapshot<T, E, F>(connection: &mut AsyncPgConnection, read: &F) -> Result<T, Failure>
where
    E: Into<Failure>,
    F: for<'c> Query<'c, Result<T, E>>,
{
    const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
    AnsiTransactionManager::begin_transaction_sql(connection, BEGIN).await?;
    let result = read(connection).await.map_err(Into::into);
    // Nothing was written: how it ends matters only to the connection, which the pool closes if this fails.
    let ended = AnsiTransactionManager::rollback_transaction(connection).await;
    let value = result?;
    ended?;
    Ok(value)
}
