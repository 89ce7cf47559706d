//! What can go wrong with the embedded cluster, in words for somebody who has never seen it.

use std::io;
use std::path::PathBuf;

/// Why the embedded Postgres could not be started, reached or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No usable Postgres binaries anywhere.
    #[error(
        "no Postgres {oldest} to {newest} found on this machine. Looked at:\n{looked_at}\n\
         Install one (Debian: `apt install postgresql-{newest}` or any version from {oldest}), run \
         `make tools`, which fetches one into target/tools, or name the folder that holds `postgres` and \
         `initdb` by --postgres-bin or EARMARK_POSTGRES_BIN"
    )]
    BinariesNotFound {
        /// The oldest supported major version.
        oldest: u32,
        /// The newest supported major version.
        newest: u32,
        /// One indented line for every place, with what was wrong there.
        looked_at: String,
    },

    /// A folder was named explicitly, and it does not do.
    #[error("the Postgres folder that was set, {}, cannot be used: {problem}", path.display())]
    BinariesUnusable {
        /// The folder as it was set.
        path: PathBuf,
        /// What is missing there.
        problem: String,
    },

    /// Somebody else runs a cluster on the same folder.
    #[error(
        "{} is in use by another earmark process{}: stop that one first, or choose another folder with --data-dir",
        path.display(),
        holder.map_or_else(String::new, |pid| format!(" (pid {pid})"))
    )]
    Locked {
        /// The data folder.
        path: PathBuf,
        /// The process that holds it, where known.
        holder: Option<u32>,
    },

    /// The cluster on disk was made by another major version than the binaries found.
    #[error(
        "the cluster in {} was made by Postgres {cluster}, but the binaries in {} are version {binaries}: \
         set EARMARK_POSTGRES_BIN to the folder of version {cluster}, or start anew with --fresh, which deletes the data",
        path.display(),
        bin.display()
    )]
    VersionMismatch {
        /// The cluster's folder.
        path: PathBuf,
        /// Where the binaries are.
        bin: PathBuf,
        /// The cluster's major version.
        cluster: u32,
        /// The binaries' major version.
        binaries: u32,
    },

    /// The cluster's files belong to somebody else, so that Postgres would refuse them.
    #[error(
        "the cluster in {} belongs to user id {owner}, but this process runs as user id {us}: run as that user or \
         as root, or choose another folder with --data-dir",
        path.display()
    )]
    NotOwner {
        /// The cluster's folder.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user of this process.
        us: u32,
    },

    /// Run as root, with no user to run Postgres as.
    #[error(
        "Postgres refuses to run as root, and this machine has neither a user `postgres` nor `nobody` to run it as: \
         run as an ordinary user, or give the data folder to one (chown)"
    )]
    NoUser,

    /// Run as root, but the chosen user cannot be used.
    #[error(
        "Postgres must not run as root, and a process cannot be started as user `{user}`: {problem}"
    )]
    UserUnusable {
        /// The user's name.
        user: String,
        /// What the attempt answered.
        problem: String,
    },

    /// The folder is held by a running process that does not answer as a Postgres.
    #[error(
        "{} names process {pid} as the running Postgres, but it does not answer: if that is no Postgres of this \
         folder, delete the file",
        path.display()
    )]
    PidFileInUse {
        /// `postmaster.pid`
        path: PathBuf,
        /// The process that it names.
        pid: u32,
    },

    /// `initdb` failed.
    #[error("initdb could not make a cluster in {}:\n{output}", path.display())]
    Initdb {
        /// The folder of the cluster to be.
        path: PathBuf,
        /// What initdb printed.
        output: String,
    },

    /// The server ended before it accepted a connection.
    #[error("Postgres ended while starting ({status}). The end of {}:\n{log_tail}", log.display())]
    DiedAtStart {
        /// Its exit status.
        status: String,
        /// The server's log file.
        log: PathBuf,
        /// The last lines of it.
        log_tail: String,
    },

    /// The server runs but accepts no connection.
    #[error(
        "Postgres did not accept a connection within {seconds} s ({last}). The end of {}:\n{log_tail}",
        log.display()
    )]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// The last answer.
        last: String,
        /// The server's log file.
        log: PathBuf,
        /// The last lines of it.
        log_tail: String,
    },

    /// The server did not end.
    #[error("Postgres (pid {pid}) did not stop within {seconds} s, although told to stop at once")]
    NotStopped {
        /// The postmaster.
        pid: u32,
        /// How long was waited.
        seconds: u64,
    },

    /// The cluster is down, for example while it restarts.
    #[error("the embedded Postgres could not be asked: {0}")]
    Query(#[from] tokio_postgres::Error),

    /// A file or folder could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// A verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },

    /// The supervising task is gone, which only happens when its runtime is.
    #[error("the task that watches the embedded Postgres ended unexpectedly")]
    SupervisorGone,
}

/// Gives an [`io::Error`] the action and the path that it lacks.
pub(super) trait IoContext<T> {
    fn at(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, EmbeddedError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, EmbeddedError> {
        self.map_err(|source| EmbeddedError::Io {
            action,
            path: path.into(),
            source,
        })
    }
}
