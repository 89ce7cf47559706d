//! A cluster for one test, which may kill it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use earmark_dev_postgres::{Cluster, ClusterOptions, ClusterState};
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

    /// Kills the server with all its processes, as if the machine had lost its memory; it is started again by itself.
    pub(crate) fn kill(&self) {
        let (postmaster, _) = self.running();
        // It has to be first: it would start again what dies before it.
        for pid in [vec![postmaster], children_of(postmaster)].concat() {
            _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Stops all processes of the server where they are: it holds its connections, and answers nothing.
    pub(crate) fn freeze(&self) -> Frozen {
        let (postmaster, _) = self.running();
        Frozen::new([vec![postmaster], children_of(postmaster)].concat())
    }

    /// Stops the server as its administrator would, who does not wait for sessions; it is started again by itself.
    pub(crate) fn restart(&self) {
        let (postmaster, _) = self.running();
        kill(Pid::from_raw(postmaster), Signal::SIGINT).expect("it runs");
    }

    /// Waits until the server was started again so many times, and accepts connections.
    pub(crate) async fn restarted(&self, times: u32) {
        let mut state = self.cluster.state();
        let again = state.wait_for(
            |state| matches!(state, ClusterState::Running { restarts, .. } if *restarts >= times),
        );
        let again = tokio::time::timeout(RESTART_MAX, again).await;
        again.expect("it starts again").expect("it is looked after");
    }

    /// Its process, and how often it was started again; a panic if it does not run.
    fn running(&self) -> (i32, u32) {
        match &*self.cluster.state().borrow() {
            ClusterState::Running { pid, restarts, .. } => {
                (i32::try_from(*pid).expect("a process id"), *restarts)
            }
            other => panic!("it does not run: {other:?}"),
        }
    }
}

/// Processes that are stopped until this is dropped.
pub(crate) struct Frozen(Vec<i32>);

impl Frozen {
    pub(crate) fn new(pids: Vec<i32>) -> Self {
        for pid in &pids {
            _ = kill(Pid::from_raw(*pid), Signal::SIGSTOP);
        }
        Self(pids)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for pid in &self.0 {
            _ = kill(Pid::from_raw(*pid), Signal::SIGCONT);
        }
    }
}

/// Limit for a restart including crash recovery.
const RESTART_MAX: Duration = Duration::from_secs(60);

fn children_of(parent: i32) -> Vec<i32> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid: Option<i32> = entry.file_name().to_string_lossy().parse().ok();
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // Behind the name, which is in brackets: the state, then the parent.
        let behind = stat.rsplit_once(") ").map(|(_, behind)| behind);
        let its_parent = behind.and_then(|behind| behind.split(' ').nth(1)?.parse().ok());
        if its_parent == Some(parent) {
            children.extend(pid);
        }
    }
    children
}

/// Starts a cluster for one test.
pub(crate) async fn own_cluster() -> OwnCluster {
    own_cluster_with(&[]).await
}

/// Starts one with settings of the server.
pub(crate) async fn own_cluster_with(settings: &[(&str, &str)]) -> OwnCluster {
    let folder = own_folder();
    let mut options = own_options(folder.path());
    let settings = settings
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    options.settings.extend(settings);
    let cluster = Cluster::start(options).await.expect("a cluster");
    OwnCluster { cluster, folder }
}

/// How a test runs a cluster of its own in a folder.
pub(crate) fn own_options(folder: &Path) -> ClusterOptions {
    ClusterOptions {
        durable: false,
        binaries: super::binaries(),
        ..ClusterOptions::new(folder.join("data"))
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
