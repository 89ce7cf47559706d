//! The binary itself, started as a user would.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use earmark::auth::dev_key::{AUDIENCE, DevKey, ISSUER, JWKS_FILE};
use earmark::db::migrate;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::cluster;

/// The binary, with nothing in its environment that a test does not put there.
fn earmark(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_earmark"));
    command.args(arguments).env_clear();
    for kept in ["PATH", "EARMARK_POSTGRES_BIN"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command
}

/// Runs a command that ends by itself; one that does not is killed, and fails its test.
fn run(command: &mut Command) -> Output {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
    let child = command.stderr(Stdio::piped()).spawn();
    let mut child = Started(child.expect("it starts"));
    // What these commands print fits into the pipes.
    child.ended_within(Duration::from_secs(20));
    let pipes = child.0.stdout.take().zip(child.0.stderr.take());
    let (mut stdout, mut stderr) = pipes.expect("piped");
    let mut output = Output {
        status: child.0.wait().expect("a child"),
        stdout: Vec::new(),
        stderr: Vec::new(),
    };
    stdout.read_to_end(&mut output.stdout).expect("readable");
    stderr.read_to_end(&mut output.stderr).expect("readable");
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// A server that runs; killed if the test panics.
struct Started(Child);

impl Started {
    fn spawn(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        Self(command.stderr(Stdio::null()).spawn().expect("it starts"))
    }

    fn send(&self, signal: Signal) {
        let pid = i32::try_from(self.0.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// The exit code, once it has ended.
    fn ended_within(&mut self, limit: Duration) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("a child") {
                return status.code();
            }
            assert!(started.elapsed() < limit, "still running after {limit:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The lines of standard output up to the first that starts so.
    fn lines_until(&mut self, start: &str) -> Vec<String> {
        let output = self.0.stdout.take().expect("piped");
        let mut lines = Vec::new();
        for line in BufReader::new(output).lines() {
            let line = line.expect("UTF-8");
            let found = line.starts_with(start);
            lines.push(line);
            if found {
                return lines;
            }
        }
        panic!("no line starts with {start}: {lines:?}");
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

fn is_healthy(address: &str) -> bool {
    let output = run(&mut earmark(&["healthcheck", "--address", address]));
    match output.status.code() {
        Some(0) => true,
        Some(1) => {
            assert!(text(&output.stderr).starts_with("earmark: "), "it says why");
            false
        }
        other => panic!("{other:?}: {}", text(&output.stderr)),
    }
}

fn wait_for_health(address: &str, healthy: bool) {
    let started = Instant::now();
    while is_healthy(address) != healthy {
        assert!(started.elapsed() < Duration::from_secs(10), "{address}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound")
}

#[test]
fn serve_names_every_setting_that_it_lacks() {
    let refused = run(&mut earmark(&["serve"]));
    assert_eq!(refused.status.code(), Some(2));
    let why = text(&refused.stderr);
    for flag in ["--database-url", "--jwks", "--issuer", "--audience"] {
        assert!(why.contains(flag), "{flag}: {why}");
    }

    let all = [
        "serve",
        "--jwks",
        "/none",
        "--issuer",
        "i",
        "--audience",
        "a",
    ];
    for (url, why) in [("", "--database-url"), ("postgres://h/d", "/none")] {
        let refused = run(earmark(&all).env("DATABASE_URL", url));
        assert_eq!(refused.status.code(), Some(2));
        assert!(text(&refused.stderr).contains(why), "{refused:?}");
    }
}

#[test]
fn serve_refuses_a_database_url_that_it_cannot_honour() {
    let folder = tempfile::tempdir().expect("a folder");
    DevKey::open_or_create(folder.path()).expect("a key");
    let jwks = folder.path().join(JWKS_FILE);
    let mut serve = earmark(&["serve", "--issuer", "i", "--audience", "a"]);
    serve
        .env("EARMARK_JWKS", jwks)
        .env("EARMARK_LISTEN", "127.0.0.1:0")
        .env("DATABASE_URL", "postgres://u:secret@h/d?sslmode=verify-ca");
    let refused = run(&mut serve);
    assert_eq!(refused.status.code(), Some(2));
    let why = text(&refused.stderr);
    assert!(why.contains("sslmode") && !why.contains("secret"), "{why}");
}

#[test]
fn token_prints_the_token_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let data_dir = folder.path().to_str().expect("UTF-8");
    let arguments = ["token", "--scope", "network-admin", "--data-dir", data_dir];
    let refused = run(&mut earmark(&arguments));
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("earmark dev"), "{refused:?}");
    assert!(refused.stdout.is_empty());

    DevKey::open_or_create(folder.path()).expect("a key");
    let enterprise = "0191f7a0-0000-7000-8000-000000000001";
    let more = ["--enterprise", enterprise, "--firm-id", "7", "--ttl", "2h"];
    let printed = run(earmark(&arguments).args(more));
    assert_eq!(printed.status.code(), Some(0), "{printed:?}");
    let token = text(&printed.stdout);
    assert_eq!(token.trim_end().split('.').count(), 3, "{token}");
    assert_eq!(token.lines().count(), 1);
    assert!(printed.stderr.is_empty(), "{printed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_waits_for_migrations_and_stops_in_peace() {
    let database = cluster::database().await;
    migrate::revert_all(&database.url).await.expect("reverted");
    let folder = tempfile::tempdir().expect("a folder");
    DevKey::open_or_create(folder.path()).expect("a key");
    let address = free_address().to_string();
    let mut serve = earmark(&["serve", "--issuer", ISSUER, "--audience", AUDIENCE]);
    serve
        .env("EARMARK_JWKS", folder.path().join(JWKS_FILE))
        .env("EARMARK_LISTEN", &address)
        .env("EARMARK_LAME_DUCK", "1s")
        .env("DATABASE_URL", &database.url);

    tokio::task::block_in_place(|| {
        let mut server = Started::spawn(&mut serve);
        wait_for_health(&address, false);
        let liveness = [
            "healthcheck",
            "--address",
            &address,
            "--service",
            "liveness",
        ];
        let started = Instant::now();
        while !run(&mut earmark(&liveness)).status.success() {
            assert!(started.elapsed() < Duration::from_secs(10));
        }
        assert!(!is_healthy(&address), "no schema yet");

        for said in ["Applied", "The schema is up to date."] {
            let migrated = run(earmark(&["migrate"]).env("DATABASE_URL", &database.url));
            assert!(text(&migrated.stdout).starts_with(said), "{migrated:?}");
        }
        wait_for_health(&address, true);

        server.send(Signal::SIGTERM);
        std::thread::sleep(Duration::from_millis(100));
        assert!(!is_healthy(&address), "lame, but alive");
        assert_eq!(server.ended_within(Duration::from_secs(5)), Some(0));

        serve.env("EARMARK_LAME_DUCK", "60s");
        let mut server = Started::spawn(&mut serve);
        wait_for_health(&address, true);
        server.send(Signal::SIGINT);
        std::thread::sleep(Duration::from_millis(100));
        server.send(Signal::SIGTERM);
        assert_eq!(
            server.ended_within(Duration::from_secs(5)),
            Some(0),
            "the second signal skips the waiting"
        );
    });
}

#[test]
fn dev_needs_nothing_and_leaves_nothing_running() {
    let folder = cluster::own_folder();
    let data_dir = folder.path().join("data");
    let start = || {
        let address = free_address().to_string();
        let mut dev = earmark(&["dev", "--listen", &address]);
        let mut dev = Started::spawn(dev.env("EARMARK_DATA_DIR", &data_dir));
        let lines = dev.lines_until("export TOKEN=");
        wait_for_health(&address, true);
        (dev, address, lines)
    };
    let (mut first, address, lines) = start();
    assert!(lines[0].contains(&address), "{lines:?}");
    assert!(is_private(&data_dir.join("dev-key.pem")));
    first.send(Signal::SIGTERM);
    assert_eq!(first.ended_within(Duration::from_secs(10)), Some(0));
    let pid_file = data_dir.join("postgres/postmaster.pid");
    assert!(!pid_file.exists(), "Postgres has stopped");

    let started = Instant::now();
    let (mut second, _, _) = start();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(5), "second start: {took:?}");
    second.send(Signal::SIGINT);
    assert_eq!(second.ended_within(Duration::from_secs(10)), Some(0));
}

fn is_private(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;

    let metadata = std::fs::metadata(file).expect("there");
    metadata.permissions().mode() & 0o777 == 0o600
}
