//! Archived periods: their entries, and the allocations that were closed in them, are in Parquet files instead of the database.
//!
//! `table_shape` says what the files hold, `table_file` writes and reads them, `manifest` and `layout` say what belongs together
//! and where it is, `plan` which periods are archived together. `period_files` writes the files of a period, `period_check` holds
//! them against the period's seal. `removal` takes their rows out of the database, `detached` finds the tables that are left
//! over, and `run` archives. `verify` checks an archive as a whole.

mod detached;
mod error;
mod layout;
mod manifest;
mod period_check;
mod period_files;
mod plan;
mod removal;
pub mod run;
mod store;
mod table_file;
mod table_shape;
pub mod verify;

pub use error::ArchiveError;
pub use period_check::ArchiveFault;
pub use removal::LeftPartition;
pub use table_file::TableFileError;
