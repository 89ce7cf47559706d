//! What the server of a cluster does at a moment.

/// What the server of a cluster does at a moment, as its supervisor sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterState {
    /// The server accepts connections.
    Running {
        /// The pid of the server's main process.
        pid: u32,
        /// Whether it was already running and was taken over.
        adopted: bool,
        /// How often it has been started again since [`Cluster::start`](crate::Cluster::start).
        restarts: u32,
    },
    /// The server has ended unexpectedly and is being started again.
    Restarting {
        /// The exit status of the server, or why the last attempt failed.
        reason: String,
    },
    /// The server was stopped, or is no longer supervised.
    Ended,
}
