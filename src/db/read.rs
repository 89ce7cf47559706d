//! How reads run: on a pooled connection, and on another if that one turns out to be dead.

use std::future::Future;
use std::time::Duration;

use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};

use crate::db::pg_error::Failure;
use crate::db::pool::{self, Pool};
use crate::error::{Outcome, Result};
use crate::limits::DB_READ_TRIES;

/// Something to read. A trait rather than a closure: the futures of async closures that borrow are not `Send` for every
/// lifetime (rust-lang/rust#110338), which handlers need.
pub trait Read: Sync {
    /// What comes of it.
    type Output: Send;

    /// Runs the statements; on a shared connection, so that independent ones can be sent together.
    fn run(
        &self,
        connection: &AsyncPgConnection,
    ) -> impl Future<Output = Result<Self::Output, Failure>> + Send;
}

/// Runs a read whose statements need not see the database at one moment.
///
/// # Errors
/// The read's own verdict, else the database's fault.
pub async fn one<R: Read>(pool: &Pool, read: &R) -> Result<R::Output> {
    retried(pool, read, Moment::Each).await
}

/// Runs a read of several statements, all of which see the database as it was at the first.
///
/// # Errors
/// The read's own verdict, else the database's fault.
pub async fn snapshot<R: Read>(pool: &Pool, read: &R) -> Result<R::Output> {
    retried(pool, read, Moment::One).await
}

/// What the statements of a read see.
#[derive(Clone, Copy)]
enum Moment {
    Each,
    One,
}

async fn retried<R: Read>(pool: &Pool, read: &R, moment: Moment) -> Result<R::Output> {
    let mut tries = 1;
    loop {
        let mut connection = pool::checkout(pool).await?;
        let result = match moment {
            Moment::Each => read.run(&connection).await,
            Moment::One => in_snapshot(&mut connection, read).await,
        };
        match result {
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

async fn in_snapshot<R: Read>(
    connection: &mut AsyncPgConnection,
    read: &R,
) -> Result<R::Output, Failure> {
    const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
    AnsiTransactionManager::begin_transaction_sql(connection, BEGIN).await?;
    let result = read.run(connection).await;
    // Nothing was written: how it ends matters only to the connection, which the pool closes if this fails.
    let ended = AnsiTransactionManager::rollback_transaction(connection).await;
    let value = result?;
    ended?;
    Ok(value)
}
