//! A real PgBouncer between server and database, in each of its modes. `scripts/check-poolers` fetches several versions, and
//! runs with each what is ignored here.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use earmark::auth::dev_key::{AUDIENCE, DevKey, ISSUER, JWKS_FILE};
use earmark::db::connect::Connector;
use earmark::db::pooler::{Sharing, sharing};
use nix::unistd::Uid;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::support::cluster::{OwnCluster, SERVER_ROLE, database, own_cluster};
use crate::support::earmark::{Earmark, Setup};
use crate::support::every_service::{EveryService, assert_answered, health_becomes};
use crate::support::locks::session;
use crate::support::process::{Started, earmark};

fn program() -> PathBuf {
    let named = env::var_os("EARMARK_PGBOUNCER").map(PathBuf::from);
    named.unwrap_or_else(|| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/pgbouncer-trixie")
    })
}

/// Whether this version can keep prepared statements in transaction mode. Earlier ones refuse to start with the setting.
fn has_prepared_statements() -> bool {
    let output = Command::new(program()).arg("--version").output();
    let text = String::from_utf8(output.expect("scripts/fetch pgbouncer-trixie").stdout);
    let text = text.expect("a version");
    let minor = text
        .strip_prefix("PgBouncer 1.")
        .and_then(|rest| rest.split('.').next());
    let minor: u32 = minor.and_then(|minor| minor.parse().ok()).expect(&text);
    minor >= 21
}

/// The setting that keeps so many prepared statements, in versions that have it.
fn prepared_statements(max: u32) -> String {
    match has_prepared_statements() {
        true => format!("max_prepared_statements = {max}"),
        false => String::new(),
    }
}

/// A running PgBouncer; ended when dropped.
struct Pooler {
    child: Child,
    url: String,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Pooler {
    async fn start(own: &OwnCluster, settings: &str) -> Self {
        let config: Config = own.cluster.url("shelf").parse().expect("a URL");
        let Some(Host::Unix(socket)) = config.get_hosts().first() else {
            panic!("the cluster listens on a unix socket");
        };
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port");
            free.local_addr().expect("bound").port()
        };
        let folder = own.folder.path();
        fs::write(
            folder.join("users"),
            format!("\"{SERVER_ROLE}\" \"\"\n\"earmark\" \"\"\n"),
        )
        .expect("written");
        let text = format!(
            "[databases]\nshelf = host={} dbname=shelf\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\n{settings}\n",
            socket.display(),
            folder.join("users").display()
        );
        let path = folder.join("pgbouncer.ini");
        fs::write(&path, text).expect("written");
        let mut command = Command::new(program());
        if Uid::effective().is_root() {
            // It refuses to run as root. The socket belongs to the server's user.
            command.args(["-u", "postgres"]);
        }
        let child = command
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("scripts/fetch pgbouncer-trixie");
        let url = format!("postgres://earmark@127.0.0.1:{port}/shelf?sslmode=disable");
        let begun = Instant::now();
        while Connector::new(&url)
            .expect("a URL")
            .connect()
            .await
            .is_err()
        {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "it does not start"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Self { child, url }
    }

    async fn sharing(&self) -> Option<Sharing> {
        let connector = Connector::new(&self.url).expect("a URL");
        sharing(&connector).await.expect("connected")
    }
}

/// What `earmark serve` does with this pooler: its exit code if it ends, and its log.
async fn served(url: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    DevKey::open_or_create(folder.path()).expect("a key");
    let log = folder.path().join("log");
    let mut serve = earmark(&["serve", "--issuer", ISSUER, "--audience", AUDIENCE]);
    serve
        .env("EARMARK_JWKS", folder.path().join(JWKS_FILE))
        .env("EARMARK_LISTEN", "127.0.0.1:0")
        .env(
            "DATABASE_URL",
            url.replacen("earmark@", &format!("{SERVER_ROLE}@"), 1),
        );
    let file = fs::File::create(&log).expect("a file");
    tokio::task::block_in_place(|| {
        let mut server = Started::spawn_with_log(&mut serve, file);
        let ended = server.ends_within(Duration::from_secs(30));
        let log = fs::read_to_string(&log).expect("a log");
        assert!(ended.is_some(), "it still runs: {log}");
        (ended.flatten(), log)
    })
}

#[tokio::test]
async fn a_direct_connection_is_its_own_session() {
    let db = database().await;
    let connector = Connector::new(&db.url).expect("a URL");
    assert_eq!(
        sharing(&connector).await.expect("connected"),
        Some(Sharing::Own)
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a pgbouncer; scripts/check-poolers runs it"]
async fn session_mode_works() {
    let own = own_cluster().await;
    let _url = own.database("shelf").await;
    for prepared in [0, 200] {
        let prepared = prepared_statements(prepared);
        let settings = format!("pool_mode = session\ndefault_pool_size = 90\n{prepared}");
        let pooler = Pooler::start(&own, &settings).await;
        assert_eq!(pooler.sharing().await, Some(Sharing::Own));
        let earmark = Earmark::start_on(&pooler.url, Setup::default()).await;
        health_becomes(&earmark, true, true).await;
        let records = EveryService::make(&earmark).await;
        for _ in 0..5 {
            assert_answered(&records.writes(&earmark).await);
            assert_answered(&records.reads(&earmark).await);
        }
        earmark.shutdown.hurry();
    }
    own.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a pgbouncer; scripts/check-poolers runs it"]
async fn transaction_mode_that_breaks_prepared_statements_is_refused() {
    let own = own_cluster().await;
    let _url = own.database("shelf").await;
    let prepared = prepared_statements(0);
    let settings = format!("pool_mode = transaction\ndefault_pool_size = 20\n{prepared}");
    let pooler = Pooler::start(&own, &settings).await;
    for _ in 0..5 {
        assert_eq!(pooler.sharing().await, Some(Sharing::Breaks));
    }
    let (code, log) = served(&pooler.url).await;
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("loses prepared statements"), "{log}");
    own.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a pgbouncer; scripts/check-poolers runs it"]
async fn transaction_mode_that_keeps_prepared_statements_works() {
    if !has_prepared_statements() {
        return;
    }
    let own = own_cluster().await;
    let url = own.database("shelf").await;
    let settings = "pool_mode = transaction\ndefault_pool_size = 20\nmax_prepared_statements = 200";
    let pooler = Pooler::start(&own, settings).await;
    for _ in 0..5 {
        assert_eq!(pooler.sharing().await, Some(Sharing::SharedPrepared));
    }
    let earmark = Earmark::start_on(&pooler.url, Setup::default()).await;
    health_becomes(&earmark, true, true).await;
    let records = EveryService::make(&earmark).await;
    for _ in 0..20 {
        assert_answered(&records.writes(&earmark).await);
        assert_answered(&records.reads(&earmark).await);
    }
    // Sessions are shared, so the server cannot see to it that each of them commits to disk.
    let admin = session(&url).await;
    let weak = format!("ALTER ROLE {SERVER_ROLE} SET synchronous_commit = off");
    admin.batch_execute(&weak).await.expect(&weak);
    let again = Pooler::start(&own, settings).await;
    let (code, log) = served(&again.url).await;
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("synchronous_commit"), "{log}");
    own.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a pgbouncer; scripts/check-poolers runs it"]
async fn statement_mode_is_refused() {
    let own = own_cluster().await;
    let _url = own.database("shelf").await;
    for prepared in [0, 200] {
        let prepared = prepared_statements(prepared);
        let settings = format!("pool_mode = statement\ndefault_pool_size = 20\n{prepared}");
        let pooler = Pooler::start(&own, &settings).await;
        let (code, log) = served(&pooler.url).await;
        assert_eq!(code, Some(2), "{log}");
        assert!(log.contains("statement mode"), "{log}");
    }
    own.stop().await;
}
