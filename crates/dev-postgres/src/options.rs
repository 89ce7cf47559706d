//! How a cluster is to be run.

use std::path::PathBuf;

/// How a cluster is to be made and run.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The folder that holds the cluster (in `postgres/`) and its log (`postgres.log`); made if it is missing.
    pub data_dir: PathBuf,
    /// The folder of the Postgres programs; `None` searches for one as [`find_binaries`](crate::find_binaries) does.
    pub binaries: Option<PathBuf>,
    /// Server settings, for example `("max_connections", "400")`. They have no effect on an adopted server.
    /// Without `listen_addresses` the server listens on its unix socket only; with it, on port 5432 of those addresses too.
    pub settings: Vec<(String, String)>,
    /// Whether commits must survive a crash of the machine. `false` turns `fsync` and `full_page_writes` off.
    pub durable: bool,
    /// Whether to delete an existing cluster with its data, and to make a new one.
    pub fresh: bool,
}

impl ClusterOptions {
    /// A durable cluster in `data_dir`, run by programs that are searched for.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            binaries: None,
            settings: Vec::new(),
            durable: true,
            fresh: false,
        }
    }

    /// The settings that are passed to the server, those of `durable` first.
    pub(crate) fn all_settings(&self) -> Vec<(String, String)> {
        let hasty = ["fsync", "full_page_writes"].map(|name| (name.to_owned(), "off".to_owned()));
        let hasty = hasty.into_iter().filter(|_| !self.durable);
        hasty.chain(self.settings.iter().cloned()).collect()
    }
}
