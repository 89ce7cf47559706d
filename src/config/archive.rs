//! Settings of `earmark archive`, and of the verification of what it has written.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::DatabaseArgs;
use crate::config::values::duration;

/// Settings of `earmark archive`.
#[derive(Args, Clone)]
pub(crate) struct ArchiveArgs {
    #[command(flatten)]
    pub(crate) database: DatabaseArgs,

    /// The folder of the archive, in which each period gets a folder of its own
    ///
    /// It is made if it is not there. It must be on a disk that is backed up: once a period is archived, its files are the
    /// only place that has its entries.
    #[arg(long, env = "EARMARK_ARCHIVE_DIRECTORY", value_name = "FOLDER")]
    pub(crate) directory: PathBuf,

    /// How long a period is kept in the database after its end
    ///
    /// Servers answer from the database what is not archived. So it is the time for which entries, and allocations that are
    /// closed, can be read.
    #[arg(
        long,
        visible_alias = "after",
        env = "EARMARK_ARCHIVE_KEEP",
        value_name = "DURATION",
        default_value = "30d",
        value_parser = duration
    )]
    pub(crate) keep: Duration,

    /// Drop the tables that archives have detached, once their files were read again
    ///
    /// Without it they stay in the database as tables that nothing reads, and can be attached again or dropped by hand.
    #[arg(long, env = "EARMARK_ARCHIVE_DROP")]
    pub(crate) drop: bool,
}

/// The archive that `earmark verify` checks instead of a database.
#[derive(Args, Clone)]
pub(crate) struct VerifyArchiveArgs {
    /// Check the files of this archive instead of the ledger of a database
    ///
    /// All entries are hashed again, and held against the digests of their periods. With --database-url, the archive is also
    /// held against what the database says was sealed and archived.
    #[arg(
        long,
        visible_alias = "archive",
        env = "EARMARK_VERIFY_ARCHIVE_DIRECTORY",
        value_name = "FOLDER"
    )]
    pub(crate) archive_directory: Option<PathBuf>,
}
