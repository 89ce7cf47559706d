//! Everything that speaks to Postgres; the only room besides the stores that knows diesel.

pub mod coalesce;
pub mod connect;
pub mod due;
pub mod json;
pub mod migrate;
pub mod pg_error;
pub mod pool;
pub mod read;
pub mod request_key;
pub mod schema;
pub mod standing;
pub mod statement;
pub mod write;
