//! Access to Postgres: connections, transactions, errors and shared statements. Besides it only the stores use diesel.

pub mod coalesce;
pub mod connect;
pub mod due;
pub mod embedded;
pub mod json;
pub mod keyed_write;
pub mod migrate;
pub mod pg_error;
pub mod pool;
pub mod read;
pub mod request_key;
pub mod schema;
pub mod standing;
pub mod statement;
pub mod write;
