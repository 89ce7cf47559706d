//! The errors of the embedded cluster; each message says what to do.

use std::io;
use std::path::PathBuf;

/// Why the embedded Postgres could not be started, reached or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// No usable Postgres programs were found anywhere.
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

    /// The folder that was named explicitly cannot be used.
    #[error("the Postgres folder that was set, {}, cannot be used: {problem}", path.display())]
    BinariesUnusable {
        /// The folder as the user has set it.
        path: PathBuf,
        /// What is missing or wrong in it.
        problem: String,
    },

    /// Another process runs a cluster on the same data folder.
    #[error(
        "{} is in use by another earmark process{}: stop that one first, or choose another folder with --data-dir",
        path.display(),
        holder.map_or_else(String::new, |pid| format!(" (pid {pid})"))
    )]
    Locked {
        /// The data folder that is in use.
        path: PathBuf,
        /// The pid of the process that holds it, where known.
        holder: Option<u32>,
    },

    /// The cluster on disk was made by another major version than that of the programs.
    #[error(
        "the cluster in {} was made by Postgres {cluster}, but the binaries in {} are version {binaries}: \
         set EARMARK_POSTGRES_BIN to the folder of version {cluster}, or start anew with --fresh, which deletes the data",
        path.display(),
        bin.display()
    )]
    VersionMismatch {
        /// The folder of the existing cluster.
        path: PathBuf,
        /// The folder of the programs that were found.
        bin: PathBuf,
        /// The major version that made the cluster.
        cluster: u32,
        /// The major version of the programs.
        binaries: u32,
    },

    /// The cluster belongs to another user, so that Postgres would refuse to serve it.
    #[error(
        "the cluster in {} belongs to user id {owner}, but this process runs as user id {us}: run as that user or \
         as root, or choose another folder with --data-dir",
        path.display()
    )]
    NotOwner {
        /// The folder of the existing cluster.
        path: PathBuf,
        /// The user id of the cluster's owner.
        owner: u32,
        /// The user id of this process.
        us: u32,
    },

    /// This process is root's, and there is no other user to run Postgres as.
    #[error(
        "Postgres refuses to run as root, and this machine has neither a user `postgres` nor `nobody` to run it as: \
         run as an ordinary user, or give the data folder to one (chown)"
    )]
    NoUser,

    /// This process is root's, but cannot start one of the chosen user.
    #[error(
        "Postgres must not run as root, and a process cannot be started as user `{user}`: {problem}"
    )]
    UserUnusable {
        /// The name of the chosen user.
        user: String,
        /// What the system answered to the attempt.
        problem: String,
    },

    /// The pid file names a running process that does not answer as a Postgres server.
    #[error(
        "{} names process {pid} as the running Postgres, but it does not answer: if that is no Postgres of this \
         folder, delete the file",
        path.display()
    )]
    PidFileInUse {
        /// The path of `postmaster.pid`.
        path: PathBuf,
        /// The process that the file names.
        pid: u32,
    },

    /// `initdb` could not make the cluster.
    #[error("initdb could not make a cluster in {}:\n{output}", path.display())]
    Initdb {
        /// The folder of the cluster to be.
        path: PathBuf,
        /// What `initdb` printed, standard error included.
        output: String,
    },

    /// The server ended before it accepted a connection.
    #[error("Postgres ended while starting ({status}). The end of {}:\n{log_tail}", log.display())]
    DiedAtStart {
        /// The exit status of the server.
        status: String,
        /// The path of the server's log.
        log: PathBuf,
        /// The last lines of that log.
        log_tail: String,
    },

    /// The server runs but accepts no connection.
    #[error(
        "Postgres did not accept a connection within {seconds} s ({last}). The end of {}:\n{log_tail}",
        log.display()
    )]
    NotReady {
        /// How long was waited, in seconds.
        seconds: u64,
        /// What the last attempt answered.
        last: String,
        /// The path of the server's log.
        log: PathBuf,
        /// The last lines of that log.
        log_tail: String,
    },

    /// The server has not ended after an immediate shutdown.
    #[error("Postgres (pid {pid}) did not stop within {seconds} s, although told to stop at once")]
    NotStopped {
        /// The pid of the server's main process.
        pid: u32,
        /// How long was waited, in seconds.
        seconds: u64,
    },

    /// The cluster is down, for example while it restarts.
    #[error("the embedded Postgres could not be asked: {}", chain(.0))]
    Query(#[from] tokio_postgres::Error),

    /// A file or folder could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was to be done, as a verb.
        action: &'static str,
        /// The file or folder it was to be done to.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },

    /// The supervising task is gone, which only happens when its runtime is.
    #[error("the task that watches the embedded Postgres ended unexpectedly")]
    SupervisorGone,
}

/// Adds the action and the path to an [`io::Error`], which has neither.
pub(crate) trait IoErrorContext<T> {
    fn at(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, EmbeddedError>;
}

impl<T> IoErrorContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, EmbeddedError> {
        self.map_err(|source| EmbeddedError::Io {
            action,
            path: path.into(),
            source,
        })
    }
}

/// The texts of an error and its causes: that of tokio-postgres alone is just «db error».
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
