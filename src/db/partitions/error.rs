//! Why partitions could not be made.

use thiserror::Error;

use crate::db::connect::ConnectError;
use crate::db::error_text::{chain, text_of};
use crate::limits::DB_MIGRATION_WAIT_MAX;

/// Why partitions could not be made. Those that were made before stay.
#[derive(Debug, Error)]
pub enum MaintainError {
    /// The connection could not be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The migrations of another replica, or its partitions, took longer than [`DB_MIGRATION_WAIT_MAX`].
    #[error(
        "migrations or another `earmark maintain` have not ended in {DB_MIGRATION_WAIT_MAX:?}: try again then"
    )]
    Locked,
    /// A statement failed that concerns no single table.
    #[error("the partitions cannot be looked at: {}", chain(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// A statement failed while a table's partitions were made.
    #[error("the partitions of {table} cannot be made: {}", text_of(.source))]
    Table {
        /// The name of the partitioned table.
        table: String,
        /// What Postgres has answered.
        source: tokio_postgres::Error,
    },
    /// Others have held a lock of the table for [`DB_MIGRATION_WAIT_MAX`].
    #[error(
        "the partitions of {table} cannot be made: others have held a lock of it for {DB_MIGRATION_WAIT_MAX:?}. Look in \
         pg_stat_activity for a transaction that has read it for long (`earmark verify` does), and try again after it"
    )]
    Busy {
        /// The name of the partitioned table.
        table: String,
    },
}
