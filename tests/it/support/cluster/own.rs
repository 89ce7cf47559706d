//! A cluster for one test, which may kill it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use earmark::db::embedded::{Cluster, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use tempfile::TempDir;

use super::{is_alive, migrate};

/// A cluster that belongs to one test, which may kill it. Its folder is deleted at the end.
#[derive(Debug)]
pub(crate) struct OwnCluster {
    pub(crate) cluster: Cluster,
    pub(crate) folder: TempDir,
}

impl OwnCluster {
    /// A migrated, empty database in it.
    pub(crate) async fn database(&self, name: &str) -> String {
        self.cluster
            .create_database_if_missing(name)
            .await
            .expect("a database");
        let url = self.cluster.url(name);
        migrate(&url).await;
        url
    }

    pub(crate) async fn stop(self) {
        self.cluster.stop().await.expect("the cluster stops");
    }
}

/// Starts a cluster for one test.
pub(crate) async fn own_cluster() -> OwnCluster {
    let folder = own_folder();
    let cluster = Cluster::start(own_options(folder.path()))
        .await
        .expect("a cluster");
    OwnCluster { cluster, folder }
}

/// How a test runs a cluster of its own in a folder.
pub(crate) fn own_options(folder: &Path) -> Options {
    Options {
        durable: false,
        binaries: super::binaries(),
        ..Options::new(folder.join("data"))
    }
}

/// A folder for a cluster of a test's own, such that Postgres's user can reach it when root runs the tests.
pub(crate) fn own_folder() -> TempDir {
    let ours = format!("earmark-test-{}-", Uid::effective());
    remove_own_folders_of_the_dead(&ours);
    tempfile::Builder::new()
        .prefix(&format!("{ours}{}-", std::process::id()))
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in("/tmp")
        .expect("a temporary folder")
}

/// A test that was killed could stop nothing.
fn remove_own_folders_of_the_dead(prefix: &str) {
    for entry in fs::read_dir("/tmp").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.split('-').next()?.parse().ok());
        if pid.is_some_and(|pid: i32| !is_alive(pid)) {
            let pid_file = entry.path().join("data/postgres/postmaster.pid");
            let server = fs::read_to_string(pid_file).unwrap_or_default();
            if let Some(pid) = server.lines().next().and_then(|line| line.parse().ok()) {
                _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
            }
            _ = fs::remove_dir_all(entry.path());
        }
    }
}
