//! Stops the shared cluster when nobody uses it.
//!
//! It is a process of its own, since every test process may be killed; and, for lack of another program, this same
//! test binary, told so by an environment variable.

use std::env;
use std::fs::{self, TryLockError};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use earmark_dev_postgres::Cluster;

use super::own::own_folder;
use super::{Folder, connect, on_own_runtime, start_server};

/// How long the cluster outlives its last user.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Tells a process of this test binary that it is the watchdog, and of which folder.
const WATCHDOG: &str = "EARMARK_TEST_WATCHDOG";

/// Unless there is one. Two at the same time are no harm: the second ends.
#[expect(clippy::zombie_processes, reason = "it outlives this process")]
pub(super) fn ensure(folder: &Folder) {
    if folder.open("watchdog.lock").try_lock_shared().is_err() {
        return;
    }
    let program = env::current_exe().expect("this program");
    Command::new(program)
        .args([
            "--exact",
            "support::cluster::watchdog::an_unused_cluster_is_stopped",
            "--nocapture",
        ])
        .env(WATCHDOG, &folder.0)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("the watchdog");
}

/// Stops the cluster once nobody has used it for a while. Ends with it, or when the folder is gone.
fn watch(folder: &Folder, idle_max: Duration) {
    let only_one = folder.open("watchdog.lock");
    // Whoever looks for a watchdog holds the lock for a moment.
    let is_held = || only_one.try_lock().is_err();
    if is_held()
        && (0..10).all(|_| {
            thread::sleep(Duration::from_millis(20));
            is_held()
        })
    {
        return;
    }
    let users = folder.users();
    let mut last_seen = SystemTime::now();
    loop {
        thread::sleep(idle_max / 20);
        match users.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                last_seen = SystemTime::now();
                continue;
            }
            Err(TryLockError::Error(error)) => panic!("{error}"),
        }
        let noted = users
            .metadata()
            .and_then(|meta| meta.modified())
            .unwrap_or(last_seen);
        let idle = SystemTime::now()
            .duration_since(noted.max(last_seen))
            .unwrap_or_default();
        // Under another's feet (`cargo clean`) there is nothing to stop any more, and nothing must be made again.
        if !folder.address().exists() {
            return;
        }
        if idle >= idle_max {
            // New users wait for the lock until it has stopped, then start it again.
            stop_server(folder);
            return;
        }
        users.unlock().expect("the users' lock");
    }
}

fn stop_server(folder: &Folder) {
    _ = fs::remove_file(folder.address());
    let options = folder.options();
    on_own_runtime(|| async {
        // Adopts it; one that died meanwhile is started for a moment, and so tidied up.
        if let Ok(cluster) = Cluster::start(options).await {
            _ = cluster.stop().await;
        }
    });
}

/// Also what the watchdog of the shared cluster runs, for lack of a program of its own.
#[test]
fn an_unused_cluster_is_stopped() -> io::Result<()> {
    if let Some(folder) = env::var_os(WATCHDOG) {
        watch(&Folder(PathBuf::from(folder)), IDLE_MAX);
        return Ok(());
    }
    let own = own_folder();
    let folder = Folder(own.path().to_owned());
    let idle_max = Duration::from_millis(400);
    let options = folder.options();
    let starting = folder.clone();
    let server = on_own_runtime(move || async move { start_server(&starting).await });
    let is_up = |server: String| {
        on_own_runtime(move || async move { connect(&server, "postgres").await.is_ok() })
    };

    let user = folder.users();
    user.lock_shared()?;
    let watched = folder.clone();
    let watchdog = thread::spawn(move || watch(&watched, idle_max));
    thread::sleep(idle_max * 3);
    assert!(is_up(server.clone()), "it is used");
    drop(user);
    watchdog.join().expect("the watchdog ends");
    assert!(!is_up(server), "nobody uses it");
    assert!(
        !options.data_dir.join("postgres/postmaster.pid").exists(),
        "it was stopped, not killed"
    );
    Ok(())
}
