//! Why an archive stopped.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::db::connect::ConnectError;
use crate::db::partitions::MaintainError;
use crate::db::pg_error::DbError;
use crate::ledger::archive::period_check::ArchiveFault;
use crate::ledger::archive::table_file::TableFileError;
use crate::ledger::seal::model::PeriodBounds;
use crate::ledger::store_error::StoreError;
use crate::limits::DB_MIGRATION_WAIT_MAX;

/// Why an archive stopped. Periods that were archived before stay archived; a further run goes on.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// No connection to the database could be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The migrations lack that make the table of archived periods.
    #[error("the database has no table of archived periods: `earmark migrate` makes it")]
    NoTables,
    /// Another archive is under way.
    #[error("another archive of this database is under way")]
    Busy,
    /// The migrations of a server, or its partitions, took longer than [`DB_MIGRATION_WAIT_MAX`].
    #[error(
        "migrations or `earmark maintain` have not ended in {DB_MIGRATION_WAIT_MAX:?}: try again then"
    )]
    Locked,
    /// A file could not be written or read.
    #[error(transparent)]
    File(#[from] TableFileError),
    /// Files that are there already are not those of the period.
    #[error(
        "the files of the period {bounds} are not what was archived: {}{}. Nothing was taken from the database for them. Look \
         for what has changed them; if they were never complete, remove the folder and run this again",
        .fault, and_more(*.others)
    )]
    Faulty {
        /// The period of the files.
        bounds: PeriodBounds,
        /// What was found first.
        fault: Box<ArchiveFault>,
        /// How many others were found.
        others: usize,
    },
    /// The database has other rows of the period than its files.
    #[error(
        "the period {bounds} has {stored} rows in {table} and {written} in its file, so that it is not archived: run `earmark \
         verify`"
    )]
    Differs {
        /// The period of the rows.
        bounds: PeriodBounds,
        /// The table that has the rows.
        table: &'static str,
        /// The number of rows in the database.
        stored: i64,
        /// The number of rows in the file.
        written: i64,
    },
    /// A table was detached whose rows are of a period that is not archived.
    #[error(
        "{table} has rows of a period that is not archived, from {from}, so that it is not dropped: attach it again, or find out \
         who has changed it"
    )]
    Unarchived {
        /// The detached table, with its schema.
        table: String,
        /// The end of the period, or the time of the row that belongs to none.
        from: String,
    },
    /// A partition could not be taken away.
    #[error(transparent)]
    Partitions(#[from] MaintainError),
    /// What is stored is none that this version writes.
    #[error("{0}")]
    Corrupt(String),
    /// A statement of the archive failed.
    #[error("the database failed: {0:?}")]
    Database(DbError),
}

fn and_more(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!(" (and {count} more)"),
    }
}

impl ArchiveError {
    /// That these files are not as they should be; none if there is no fault.
    pub(super) fn faulty(bounds: PeriodBounds, faults: Vec<ArchiveFault>) -> Option<Self> {
        let others = faults.len().saturating_sub(1);
        let fault = Box::new(faults.into_iter().next()?);
        Some(Self::Faulty {
            bounds,
            fault,
            others,
        })
    }

    /// What the operating system says of a path.
    pub(super) fn file(path: &Path) -> impl Fn(std::io::Error) -> Self {
        let path: PathBuf = path.to_owned();
        move |error| TableFileError::new(&path, error).into()
    }
}

impl From<tokio_postgres::Error> for ArchiveError {
    fn from(error: tokio_postgres::Error) -> Self {
        match DbError::from(error) {
            DbError::MissingTable => Self::NoTables,
            fault => Self::Database(fault),
        }
    }
}

impl From<StoreError> for ArchiveError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Postgres(error) => error.into(),
            other => Self::Corrupt(other.to_string()),
        }
    }
}
