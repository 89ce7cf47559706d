//! Access to Postgres: connections, transactions, errors and shared statements. Besides it only the stores use diesel.

pub(crate) mod archive_end;
mod cancel;
pub(crate) mod coalesce;
pub mod connect;
pub(crate) mod enterprise_status;
pub(crate) mod error_text;
pub(crate) mod expired_reservations;
mod host;
pub(crate) mod inspect;
pub(crate) mod json;
pub(crate) mod log;
pub mod migrate;
pub(crate) mod migration_lock;
pub mod monitor;
pub mod partition_watch;
pub mod partitions;
pub mod pg_error;
pub mod pool;
mod pool_connection;
pub mod pooler;
pub mod pools;
pub mod pulse;
pub mod read;
pub mod record_write;
pub mod request_key;
pub mod request_key_retention;
pub(crate) mod reservation_counts;
pub mod roles;
#[expect(
    missing_docs,
    reason = "its modules and columns are the tables and columns of `migrations/`"
)]
pub mod schema;
mod settle;
pub(crate) mod statement;
mod statement_spans;
pub mod tls;
pub mod write;
