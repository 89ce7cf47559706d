//! The embedded development cluster, each test with one of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use earmark_dev_postgres::{Cluster, ClusterOptions, ClusterState, EmbeddedError, find_binaries};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::cluster::{binaries, own_folder as folder, own_options as options};

async fn start(folder: &Path) -> Cluster {
    Cluster::start(options(folder)).await.expect("a cluster")
}

fn pid(cluster: &Cluster) -> i32 {
    match *cluster.state().borrow() {
        ClusterState::Running { pid, .. } => i32::try_from(pid).expect("a pid"),
        ref other => panic!("not running but {other:?}"),
    }
}

async fn ask(cluster: &Cluster, database: &str, sql: &str) -> String {
    let (client, connection) =
        tokio_postgres::connect(&cluster.url(database), tokio_postgres::NoTls)
            .await
            .expect("a connection");
    tokio::spawn(connection);
    client.query_one(sql, &[]).await.expect("an answer").get(0)
}

fn is_alive(pid: i32) -> bool {
    // A killed child is a zombie until its parent has looked.
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited 10 s in vain: {what}");
}

#[tokio::test]
async fn a_role_is_made_once_and_may_only_connect() {
    let folder = folder();
    let cluster = start(folder.path()).await;
    let name = "A \"role\"";
    for missing in [true, false] {
        let made = cluster.create_role_if_missing(name).await;
        assert_eq!(made.expect("made"), missing);
    }
    let url = cluster.url_as(name, "postgres");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    let row = client.query_one("SELECT current_user::text", &[]).await;
    assert_eq!(row.expect("a row").get::<_, &str>(0), name);
    let refused = client.batch_execute("CREATE DATABASE shelf").await;
    assert!(refused.is_err(), "no privileges");
    drop(client);
    cluster.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_started_cluster_keeps_its_data_over_a_stop() {
    let folder = folder();
    let cluster = start(folder.path()).await;
    assert!(
        cluster
            .create_database_if_missing("shelf \"1\"")
            .await
            .expect("created")
    );
    assert!(
        !cluster
            .create_database_if_missing("shelf \"1\"")
            .await
            .expect("found")
    );
    assert_eq!(
        ask(&cluster, "shelf \"1\"", "SHOW server_encoding").await,
        "UTF8"
    );
    assert_eq!(ask(&cluster, "postgres", "SHOW listen_addresses").await, "");
    assert_eq!(ask(&cluster, "postgres", "SHOW fsync").await, "off");
    let first = pid(&cluster);
    cluster.stop().await.expect("stopped");
    assert!(!is_alive(first));

    let cluster = start(folder.path()).await;
    assert!(
        !cluster
            .create_database_if_missing("shelf \"1\"")
            .await
            .expect("found")
    );
    cluster.stop().await.expect("stopped");
}

#[tokio::test]
async fn fresh_deletes_the_data_even_of_a_server_that_runs() {
    let folder = folder();
    let cluster = start(folder.path()).await;
    cluster
        .create_database_if_missing("shelf")
        .await
        .expect("created");
    cluster.detach().await.expect("detached");
    let cluster = Cluster::start(ClusterOptions {
        fresh: true,
        ..options(folder.path())
    })
    .await
    .expect("a cluster");
    assert!(
        cluster
            .create_database_if_missing("shelf")
            .await
            .expect("created")
    );
    cluster.stop().await.expect("stopped");
}

#[tokio::test]
async fn the_server_has_a_process_group_of_its_own_and_a_private_socket() {
    let folder = folder();
    let cluster = start(folder.path()).await;
    let pid = pid(&cluster);
    assert_eq!(
        nix::unistd::getpgid(Some(Pid::from_raw(pid))),
        Ok(Pid::from_raw(pid))
    );
    let socket_dir = ask(&cluster, "postgres", "SHOW unix_socket_directories").await;
    assert_eq!(
        fs::metadata(&socket_dir)
            .expect("the socket's folder")
            .permissions()
            .mode()
            & 0o777,
        0o700
    );
    assert!(socket_dir.len() < 60, "{socket_dir}");
    cluster.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_server_left_running_is_adopted_and_stopped() {
    let folder = folder();
    let cluster = start(folder.path()).await;
    let left = pid(&cluster);
    cluster.detach().await.expect("detached");
    assert!(is_alive(left));

    let cluster = start(folder.path()).await;
    assert_eq!(pid(&cluster), left);
    assert!(matches!(
        *cluster.state().borrow(),
        ClusterState::Running { adopted: true, .. }
    ));
    assert_eq!(
        ask(&cluster, "postgres", "SELECT current_user::text").await,
        "earmark"
    );
    cluster.stop().await.expect("stopped");
    assert!(!is_alive(left));
}

#[tokio::test]
async fn dropping_stops_a_started_server_and_leaves_an_adopted_one() {
    let folder = folder();
    let cluster = start(folder.path()).await;
    let left = pid(&cluster);
    cluster.detach().await.expect("detached");
    drop(start(folder.path()).await);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(is_alive(left));
    start(folder.path()).await.stop().await.expect("stopped");

    let cluster = start(folder.path()).await;
    let started = pid(&cluster);
    drop(cluster);
    until("the dropped server ends", || !is_alive(started)).await;
    start(folder.path())
        .await
        .stop()
        .await
        .expect("it can be started again");
}

#[tokio::test]
async fn a_stale_pid_file_that_names_a_living_stranger_is_removed() {
    let folder = folder();
    let cluster = start(folder.path()).await;
    let pgdata = cluster.pgdata().to_owned();
    let pid_file = pgdata.join("postmaster.pid");
    let content = fs::read_to_string(&pid_file).expect("the pid file");
    let real = pid(&cluster).to_string();
    cluster.stop().await.expect("stopped");

    // As after a crash of the machine: the number now belongs to somebody else's process.
    let mut stranger = Command::new("sleep").arg("60").spawn().expect("a stranger");
    let stale = content.replacen(&real, &stranger.id().to_string(), 1);
    fs::write(&pid_file, stale).expect("a stale pid file");
    let cluster = start(folder.path()).await;
    assert!(matches!(
        *cluster.state().borrow(),
        ClusterState::Running { adopted: false, .. }
    ));
    assert!(
        stranger.try_wait().expect("its state").is_none(),
        "the stranger was not touched"
    );
    cluster.stop().await.expect("stopped");
    stranger
        .kill()
        .and_then(|()| stranger.wait())
        .expect("the stranger ends");
}

#[tokio::test]
async fn a_killed_server_is_started_again_with_its_data_and_its_url() {
    let folder = folder();
    let cluster = start(folder.path()).await;
    cluster
        .create_database_if_missing("shelf")
        .await
        .expect("created");
    let (url, first) = (cluster.url("shelf"), pid(&cluster));
    let mut state = cluster.state();
    kill(Pid::from_raw(first), Signal::SIGKILL).expect("killed");
    let again = |state: &ClusterState| matches!(state, ClusterState::Running { restarts: 1, .. });
    tokio::time::timeout(Duration::from_secs(20), state.wait_for(again))
        .await
        .expect("in time")
        .expect("running");
    assert_ne!(pid(&cluster), first);
    assert_eq!(cluster.url("shelf"), url);
    assert!(
        !cluster
            .create_database_if_missing("shelf")
            .await
            .expect("found")
    );
    cluster.stop().await.expect("stopped");
}

#[tokio::test]
async fn an_adopted_server_that_dies_is_started_again() {
    let folder = folder();
    let cluster = start(folder.path()).await;
    cluster.detach().await.expect("detached");
    let cluster = start(folder.path()).await;
    let mut state = cluster.state();
    kill(Pid::from_raw(pid(&cluster)), Signal::SIGKILL).expect("killed");
    let again = |state: &ClusterState| {
        matches!(
            state,
            ClusterState::Running {
                adopted: false,
                restarts: 1,
                ..
            }
        )
    };
    tokio::time::timeout(Duration::from_secs(20), state.wait_for(again))
        .await
        .expect("in time")
        .expect("running");
    cluster.stop().await.expect("stopped");
}

#[tokio::test]
async fn a_server_whose_folder_was_deleted_does_not_disturb_its_successor() {
    let folder = folder();
    let cluster = start(folder.path()).await;
    let left = pid(&cluster);
    let socket_dir = ask(&cluster, "postgres", "SHOW unix_socket_directories").await;
    cluster.detach().await.expect("detached");
    fs::remove_dir_all(folder.path().join("data")).expect("deleted");

    let cluster = start(folder.path()).await;
    assert_ne!(pid(&cluster), left);
    cluster.stop().await.expect("stopped");
    // It ends by itself within a minute: on a slow machine it may have ended already.
    _ = kill(Pid::from_raw(left), Signal::SIGQUIT);
    until("the old server ends", || !is_alive(left)).await;
    fs::remove_dir(socket_dir).expect("empty now");
}

#[tokio::test]
async fn a_folder_that_the_servers_user_cannot_reach_is_replaced_and_the_place_named() {
    let folder = folder();
    let private = folder.path().join("private");
    fs::create_dir(&private).expect("a folder");
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).expect("closed to others");
    let cluster = start(&private).await;
    cluster
        .create_database_if_missing("shelf")
        .await
        .expect("created");
    let pgdata = cluster.pgdata().to_owned();
    if nix::unistd::Uid::effective().is_root() {
        assert!(!pgdata.starts_with(folder.path()), "{}", pgdata.display());
        let notes = cluster.notes().join("\n");
        assert!(
            notes.contains(&format!("the cluster lives in {}", pgdata.display())),
            "{notes}"
        );
        let link = fs::read_link(private.join("data/postgres")).expect("a link to it");
        assert_eq!(link, pgdata);
    } else {
        assert!(pgdata.starts_with(&private), "{}", pgdata.display());
    }
    cluster.stop().await.expect("stopped");

    let cluster = start(&private).await;
    assert_eq!(cluster.pgdata(), pgdata, "found again");
    assert!(
        !cluster
            .create_database_if_missing("shelf")
            .await
            .expect("found")
    );
    cluster.stop().await.expect("stopped");

    // Who deletes the data folder wants to begin anew.
    fs::remove_dir_all(private.join("data")).expect("deleted");
    let cluster = start(&private).await;
    assert!(
        cluster
            .create_database_if_missing("shelf")
            .await
            .expect("created")
    );
    cluster.stop().await.expect("stopped");
    if !pgdata.starts_with(folder.path()) {
        fs::remove_dir_all(pgdata.parent().expect("its place")).expect("deleted");
    }
}

#[tokio::test]
async fn a_second_keeper_of_a_folder_is_refused() {
    let folder = folder();
    let cluster = start(folder.path()).await;
    let refused = Cluster::start(options(folder.path()))
        .await
        .expect_err("refused");
    let text = refused.to_string();
    assert!(matches!(refused, EmbeddedError::Locked { .. }), "{text}");
    assert!(
        text.contains("is in use by another earmark process (pid "),
        "{text}"
    );
    assert!(
        text.contains(folder.path().to_str().expect("a path")),
        "{text}"
    );
    cluster.stop().await.expect("stopped");
    start(folder.path()).await.stop().await.expect("free again");
}

#[tokio::test]
async fn a_cluster_of_another_version_is_refused_with_advice() {
    let folder = folder();
    let cluster = start(folder.path()).await;
    let version = cluster.pgdata().join("PG_VERSION");
    cluster.stop().await.expect("stopped");
    fs::write(version, "9\n").expect("written");
    let refused = Cluster::start(options(folder.path()))
        .await
        .expect_err("refused")
        .to_string();
    assert!(
        refused.contains("was made by Postgres 9, but the binaries in"),
        "{refused}"
    );
    assert!(refused.contains("--fresh"), "{refused}");
}

#[test]
fn a_named_folder_without_binaries_is_refused_by_name() {
    let refused = find_binaries(Some(Path::new("/nonexistent/bin")))
        .expect_err("refused")
        .to_string();
    assert_eq!(
        refused,
        "the Postgres folder that was set, /nonexistent/bin, cannot be used: no such folder"
    );

    let folder = folder();
    fs::write(folder.path().join("postgres"), "").expect("written");
    let refused = find_binaries(Some(folder.path()))
        .expect_err("refused")
        .to_string();
    assert!(
        refused.ends_with("cannot be used: no program `initdb` in it"),
        "{refused}"
    );
}

#[test]
fn not_found_says_where_it_looked_and_what_to_do() {
    let error = EmbeddedError::BinariesNotFound {
        oldest: 15,
        newest: 18,
        looked_at: "  PATH: nothing".to_owned(),
    };
    let text = error.to_string();
    for part in [
        "no Postgres 15 to 18 found",
        "  PATH: nothing",
        "apt install postgresql",
        "make tools",
        "EARMARK_POSTGRES_BIN",
    ] {
        assert!(text.contains(part), "{part} is missing from: {text}");
    }
}

#[test]
fn the_found_binaries_can_be_named_by_their_folder_or_its_parent() {
    let found = find_binaries(binaries().as_deref()).expect("a Postgres on this machine");
    assert_eq!(find_binaries(Some(&found.dir)).expect("its folder"), found);
    assert_eq!(
        find_binaries(found.dir.parent()).expect("its parent"),
        found
    );
}
