//! Changes of the catalogs that nobody waits for.

use tokio::time::{Instant, sleep};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::db::partitions::error::MaintainError;
use crate::limits::{
    DB_MIGRATION_WAIT_MAX, MIGRATION_LOCK_PAUSE, MIGRATION_LOCK_WAIT_MAX, PARTITION_CHANGE_MAX,
    PARTITION_LOCK_PAUSE_MAX,
};

/// Runs statements that change a table's partitions in one transaction, in one round trip, each of which waits for a lock and
/// works no longer than an instant; again after a pause if that was not enough.
///
/// # Errors
/// [`MaintainError::Table`] and [`MaintainError::Busy`]; nothing is changed then.
pub(crate) async fn at_once(
    client: &Client,
    table: &str,
    statements: &str,
) -> Result<(), MaintainError> {
    let failed = |source| MaintainError::Table {
        table: table.to_owned(),
        source,
    };
    let sql = format!(
        "BEGIN; SET LOCAL lock_timeout = {}; SET LOCAL statement_timeout = {};
         {statements}
         COMMIT",
        MIGRATION_LOCK_WAIT_MAX.as_millis(),
        PARTITION_CHANGE_MAX.as_millis()
    );
    let until = Instant::now() + DB_MIGRATION_WAIT_MAX;
    let mut pause = MIGRATION_LOCK_PAUSE;
    loop {
        let Err(error) = client.batch_execute(&sql).await else {
            return Ok(());
        };
        if error.is_closed() {
            return Err(failed(error));
        }
        client.batch_execute("ROLLBACK").await.map_err(failed)?;
        if !is_too_slow(&error) {
            return Err(failed(error));
        }
        if Instant::now() >= until {
            return Err(MaintainError::Busy {
                table: table.to_owned(),
            });
        }
        sleep(pause).await;
        // What takes long, such as a report, is disturbed less and less.
        pause = (pause * 2).min(PARTITION_LOCK_PAUSE_MAX);
    }
}

/// Whether others have held a lock, or the machine was too slow.
fn is_too_slow(error: &tokio_postgres::Error) -> bool {
    let codes = [
        &SqlState::LOCK_NOT_AVAILABLE,
        &SqlState::QUERY_CANCELED,
        &SqlState::T_R_DEADLOCK_DETECTED,
    ];
    error.code().is_some_and(|code| codes.contains(&code))
}
