//! How reads run: on a pooled connection, and once more if that connection turns out to be dead.

use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager};

use crate::db::pg_error::Failure;
use crate::db::pool::{self, Pool};
use crate::error::{Outcome, Result};

/// Runs a read of one statement.
///
/// # Errors
/// The read's own verdict, else the database's fault.
pub async fn one<T, E: Into<Failure>>(
    pool: &Pool,
    read: impl AsyncFn(&mut AsyncPgConnection) -> Result<T, E>,
) -> Result<T> {
    let mut tried = false;
    loop {
        let mut connection = pool::checkout(pool).await?;
        match read(&mut connection).await.map_err(Into::into) {
            Err(Failure::Database(fault)) if fault.is_connection_lost() && !tried => tried = true,
            result => return result.map_err(|failure| failure.into_error(Outcome::NotApplied)),
        }
    }
}

/// Runs a read of several statements, all of which see the database as it was at the first.
///
/// # Errors
/// The read's own verdict, else the database's fault.
pub async fn snapshot<T, E: Into<Failure>>(
    pool: &Pool,
    read: impl AsyncFn(&mut AsyncPgConnection) -> Result<T, E>,
) -> Result<T> {
    one(pool, async |connection: &mut AsyncPgConnection| {
        const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
        AnsiTransactionManager::begin_transaction_sql(connection, BEGIN).await?;
        let result = read(connection).await.map_err(Into::into);
        // Nothing was written: how it ends matters only to the connection, which the pool closes if this fails.
        let ended = AnsiTransactionManager::rollback_transaction(connection).await;
        let value = result?;
        ended?;
        Ok::<_, Failure>(value)
    })
    .await
}
