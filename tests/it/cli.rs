//! The binary itself, started as a user would.

mod doctor;
mod issuer;
mod precedence;
mod reload;
mod settings;
mod shown;
mod tls;

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use earmark::auth::dev_key::{AUDIENCE, DevClaims, DevKey, ISSUER, JWKS_FILE};
use earmark::db::migrate;
use earmark::proto::balance::v1::AdjustBalanceRequest;
use earmark::proto::balance::v1::balance_service_client::BalanceServiceClient;
use earmark::proto::network::v1::network_service_client::NetworkServiceClient;
use earmark::proto::network::v1::{CreateClientRequest, CreateEnterpriseRequest};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_postgres::NoTls;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::support::cluster;
use crate::support::process::{Dev, EARMARK, OwnAddress, Started, earmark, run, text};

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
        assert!(started.elapsed() < Duration::from_secs(30), "{address}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn help_lists_every_command_and_the_variable_of_every_flag() {
    let overview = run(&mut earmark(&["--help"]));
    assert_eq!(overview.status.code(), Some(0));
    for command in ["serve", "dev", "migrate", "token", "healthcheck"] {
        assert!(text(&overview.stdout).contains(&format!("\n  {command} ")));
        let help = run(&mut earmark(&[command, "--help"]));
        assert_eq!(help.status.code(), Some(0));
        let help = text(&help.stdout);
        let (_, options) = help.split_once("Options:").expect("options");
        for flag in options.split("\n      --").skip(1) {
            assert!(flag.contains("[env: "), "{command} --{flag}");
        }
    }
    let nothing = run(&mut earmark(&[]));
    assert_eq!(nothing.status.code(), Some(2));
    assert!(text(&nothing.stderr).contains("Usage"), "{nothing:?}");
}

#[test]
fn serve_reports_every_missing_setting() {
    let refused = run(&mut earmark(&["serve"]));
    assert_eq!(refused.status.code(), Some(2));
    let why = text(&refused.stderr);
    for flag in ["--database-url", "--issuer", "--audience"] {
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
fn serve_refuses_an_unsupported_sslmode() {
    let folder = tempfile::tempdir().expect("a folder");
    DevKey::open_or_create(folder.path()).expect("a key");
    let jwks = folder.path().join(JWKS_FILE);
    let mut serve = earmark(&["serve", "--issuer", "i", "--audience", "a"]);
    serve
        .env("EARMARK_JWKS", jwks)
        .env("EARMARK_LISTEN", "127.0.0.1:0")
        .env("DATABASE_URL", "postgres://u:secret@h/d?sslmode=allow");
    let refused = run(&mut serve);
    assert_eq!(refused.status.code(), Some(2));
    let why = text(&refused.stderr);
    assert!(why.contains("sslmode") && !why.contains("secret"), "{why}");
}

#[test]
fn serve_raises_its_limit_of_open_files_and_warns_if_that_is_not_enough() {
    let folder = tempfile::tempdir().expect("a folder");
    DevKey::open_or_create(folder.path()).expect("a key");
    let jwks = folder.path().join(JWKS_FILE);
    // Ends by the URL, which is judged last.
    let log_with = |limit: &str| {
        let script = format!("ulimit {limit} 256 && exec {EARMARK} serve --connections-max 300");
        let mut limited = Command::new("sh");
        limited
            .args(["-c", &script])
            .env_clear()
            .env("EARMARK_ISSUER", "i")
            .env("EARMARK_AUDIENCE", "a")
            .env("EARMARK_JWKS", &jwks)
            .env("EARMARK_LISTEN", "127.0.0.1:0")
            .env("DATABASE_URL", "postgres://u@h/d?sslmode=allow");
        text(&run(&mut limited).stderr)
    };
    let log = log_with("-Sn");
    assert!(log.contains("raised the limit of open files"), "{log}");
    assert!(!log.contains("ulimit -n"), "{log}");
    let log = log_with("-n");
    assert!(
        log.contains("(ulimit -n) is below what --connections-max"),
        "{log}"
    );
}

#[test]
fn token_prints_the_token_only() {
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
async fn serve_waits_for_migrations_and_stops_cleanly() {
    let database = cluster::database().await;
    migrate::revert_all(&database.url).await.expect("reverted");
    let folder = tempfile::tempdir().expect("a folder");
    DevKey::open_or_create(folder.path()).expect("a key");
    let own = OwnAddress::new();
    let address = own.address.to_string();
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
            assert!(started.elapsed() < Duration::from_secs(30));
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
        assert_eq!(server.ended_within(Duration::from_secs(20)), Some(0));

        serve.env("EARMARK_LAME_DUCK", "60s");
        let mut server = Started::spawn(&mut serve);
        wait_for_health(&address, true);
        server.send(Signal::SIGINT);
        std::thread::sleep(Duration::from_millis(100));
        server.send(Signal::SIGTERM);
        assert_eq!(
            server.ended_within(Duration::from_secs(20)),
            Some(0),
            "the second signal skips the waiting"
        );
    });
}

#[test]
fn serve_reports_a_single_missing_setting() {
    let settings = [
        ("DATABASE_URL", "--database-url"),
        ("EARMARK_ISSUER", "--issuer"),
        ("EARMARK_AUDIENCE", "--audience"),
    ];
    for (left_out, named) in settings {
        let mut serve = earmark(&["serve"]);
        for (variable, _) in settings.iter().filter(|(name, _)| *name != left_out) {
            serve.env(variable, "postgres://h/d");
        }
        let refused = run(&mut serve);
        assert_eq!(refused.status.code(), Some(2), "{left_out}");
        let why = text(&refused.stderr);
        let missing = why.split("Usage").next().unwrap_or_default();
        for (variable, flag) in settings {
            assert_eq!(missing.contains(flag), flag == named, "{variable}: {why}");
        }
    }
}

#[test]
fn migrate_explains_an_invalid_url() {
    for (url, why) in [
        ("nonsense", "postgresql://"),
        ("postgresql://h/d?sslmode=sometimes", "sslmode=sometimes"),
        ("postgresql://h/d?nonsense=1", "nonsense"),
        ("postgresql://127.0.0.1:1/d", "cannot connect"),
    ] {
        let refused = run(earmark(&["migrate"]).env("DATABASE_URL", url));
        assert_eq!(refused.status.code(), Some(2), "{url}");
        assert!(text(&refused.stderr).contains(why), "{url}: {refused:?}");
    }
}

#[test]
fn serve_explains_that_its_port_is_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let folder = cluster::own_folder();
    let mut dev = earmark(&["dev", "--listen", &address]);
    let refused = run(dev.env("EARMARK_DATA_DIR", folder.path().join("data")));
    assert_eq!(refused.status.code(), Some(1));
    let why = text(&refused.stderr);
    assert!(why.contains(&address) && why.contains("--listen"), "{why}");
    assert!(!folder.path().join("data").exists(), "nothing was begun");
}

/// Numbers that a second load of the demo data would change.
async fn stored(database: &str) -> Vec<i64> {
    let (client, connection) = tokio_postgres::connect(database, NoTls)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    let mut counts = Vec::new();
    for table in [
        "enterprise",
        "connection",
        "allocation",
        "entry",
        "cas_allocation",
    ] {
        let sql = format!("SELECT count(*) FROM {table}");
        counts.push(client.query_one(&sql, &[]).await.expect(table).get(0));
    }
    counts
}

/// The roles of a server's sessions.
async fn roles_of_sessions(database: &str) -> Vec<String> {
    let (client, connection) = tokio_postgres::connect(database, NoTls)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    let sql =
        "SELECT DISTINCT usename::text FROM pg_stat_activity WHERE application_name = 'earmark'";
    let rows = client.query(sql, &[]).await.expect(sql);
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_needs_no_settings_and_leaves_no_process_running() {
    let folder = cluster::own_folder();
    let data_dir = folder.path().join("data");
    let key_file = data_dir.join("dev-key.pem");
    let pid_file = data_dir.join("postgres/postmaster.pid");

    let mut first = Dev::start(&data_dir);
    assert!(is_healthy(first.address()), "it greets when it serves");
    assert!(is_private(&key_file));
    let key = std::fs::read(&key_file).expect("the key");
    let loaded = stored(first.database()).await;
    assert!(loaded.iter().all(|count| *count > 0), "{loaded:?}");
    let roles = roles_of_sessions(first.database()).await;
    assert_eq!(roles, ["earmark_server"], "not the owner of the tables");

    let mut other = earmark(&["dev", "--listen", "127.0.0.1:0"]);
    let refused = run(other.env("EARMARK_DATA_DIR", &data_dir));
    assert_eq!(refused.status.code(), Some(1));
    let why = text(&refused.stderr);
    let holder = format!("pid {}", first.process.pid());
    assert!(why.contains(&holder) && why.contains("--data-dir"), "{why}");
    assert!(is_healthy(first.address()), "the first one is not harmed");

    assert_eq!(first.end(Signal::SIGTERM), Some(0));
    assert!(!pid_file.exists(), "Postgres has stopped");

    let started = Instant::now();
    let mut second = Dev::start(&data_dir);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(15), "second start: {took:?}");
    assert_eq!(stored(second.database()).await, loaded);
    assert!(second.greeting.contains(enterprise_of(&first)));
    assert_eq!(second.end(Signal::SIGINT), Some(0));
    assert!(!pid_file.exists(), "Postgres has stopped");

    let fresh = Dev::start_with(&data_dir, &["--fresh"]);
    assert_eq!(stored(fresh.database()).await, loaded);
    assert!(!fresh.greeting.contains(enterprise_of(&first)), "new ids");
    assert_eq!(std::fs::read(&key_file).expect("the key"), key);
}

/// The client's enterprise in a greeting.
fn enterprise_of(dev: &Dev) -> &str {
    let (_, rest) = dev
        .greeting
        .split_once("--enterprise ")
        .expect("an example");
    rest.split_whitespace().next().expect("an id")
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_finds_its_data_after_a_kill() {
    let folder = cluster::own_folder();
    let data_dir = folder.path().join("data");
    let postmaster = || {
        let file = std::fs::read_to_string(data_dir.join("postgres/postmaster.pid"));
        let pid = file.expect("a pid file").lines().next().map(str::parse);
        Pid::from_raw(pid.expect("a line").expect("a pid"))
    };
    let mut killed = Dev::start(&data_dir);
    let loaded = stored(killed.database()).await;
    let left = postmaster();
    assert_eq!(killed.end(Signal::SIGKILL), None);
    assert_eq!(kill(left, None), Ok(()), "Postgres lives on");

    let mut adopter = Dev::start(&data_dir);
    assert_eq!(postmaster(), left, "adopted");
    assert_eq!(stored(adopter.database()).await, loaded);
    assert_eq!(adopter.end(Signal::SIGKILL), None);

    kill(left, Signal::SIGKILL).expect("killed");
    let mut restarter = Dev::start(&data_dir);
    assert_ne!(postmaster(), left, "started again");
    assert_eq!(stored(restarter.database()).await, loaded);
    assert_eq!(restarter.end(Signal::SIGTERM), Some(0));
    assert!(!data_dir.join("postgres/postmaster.pid").exists());
}

/// Callers that deposit under new keys and note each key that was acknowledged, until a call is refused.
fn depositing_callers(
    channel: &Channel,
    enterprise: &str,
    token: &str,
    acknowledged: &Arc<Mutex<Vec<String>>>,
) -> tokio::task::JoinSet<Status> {
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..20 {
        let mut client = BalanceServiceClient::new(channel.clone());
        let (enterprise, token) = (enterprise.to_owned(), token.to_owned());
        let acknowledged = Arc::clone(acknowledged);
        callers.spawn(async move {
            let mut number = 0;
            loop {
                number += 1;
                let external_id = format!("{caller}/{number}");
                let deposit = AdjustBalanceRequest {
                    enterprise_id: enterprise.clone(),
                    currency: "BTC".into(),
                    quantity: "1".into(),
                    external_id: external_id.clone(),
                    reason: "load".into(),
                    validate_only: false,
                };
                match client.adjust_balance(with_token(deposit, &token)).await {
                    Ok(_) => acknowledged.lock().expect("unpoisoned").push(external_id),
                    Err(status) => return status,
                }
            }
        });
    }
    callers
}

/// The database has an adjustment for each of these keys, and a balance that is the sum of all adjustments.
async fn holds_what_was_acknowledged(url: &str, acknowledged: &[String]) {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .expect("a connection");
    tokio::spawn(connection);
    let sql = "SELECT count(*) FROM adjustment WHERE external_id = ANY($1)";
    let found = client.query_one(sql, &[&acknowledged]).await.expect(sql);
    assert_eq!(found.get::<_, i64>(0), acknowledged.len() as i64);
    let sql =
        "SELECT available = (SELECT count(*) FROM adjustment) FROM account WHERE available > 0";
    let whole = client.query_one(sql, &[]).await.expect(sql);
    assert!(
        whole.get::<_, bool>(0),
        "not a unit more or less than the records say"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_acknowledged_before_sigterm_are_in_the_database() {
    let database = cluster::database().await;
    let folder = tempfile::tempdir().expect("a folder");
    let key = DevKey::open_or_create(folder.path()).expect("a key");
    let claims = DevClaims {
        sub: "loader".into(),
        scope: "network-admin".into(),
        ..DevClaims::default()
    };
    let token = key.mint(&claims, Duration::from_secs(600)).expect("signed");
    let own = OwnAddress::new();
    let address = own.address.to_string();
    let mut serve = earmark(&["serve", "--issuer", ISSUER, "--audience", AUDIENCE]);
    serve
        .env("EARMARK_JWKS", folder.path().join(JWKS_FILE))
        .env("EARMARK_LISTEN", &address)
        .env("EARMARK_LAME_DUCK", "0s")
        .env("DATABASE_URL", &database.url);
    let mut server = Started::spawn(&mut serve);
    tokio::task::block_in_place(|| wait_for_health(&address, true));

    let unknown = ["healthcheck", "--address", &address, "--service", "nobody"];
    let unknown = run(&mut earmark(&unknown));
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("NotFound"), "{unknown:?}");

    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a URI");
    let channel = endpoint.connect().await.expect("connected");
    let enterprise = enterprise_with_client(&channel, &token).await;
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let callers = depositing_callers(&channel, &enterprise, &token, &acknowledged);
    let enough = Instant::now();
    while acknowledged.lock().expect("unpoisoned").len() < 100 {
        assert!(enough.elapsed() < Duration::from_secs(20), "too slow");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.send(Signal::SIGTERM);
    let ends = callers.join_all().await;
    let ended = tokio::task::block_in_place(|| server.ended_within(Duration::from_secs(20)));
    assert_eq!(ended, Some(0));
    // Refused by the server, or by this client: its connection had closed before it had sent the call, or the server had
    // said GOAWAY before it took the call.
    let refused = |status: &Status| {
        status.code() == Code::Unavailable
            || status.message() == "operation was canceled"
            || format!("{status:?}").contains("GoAway(b\"\", NO_ERROR, Remote)")
    };
    assert!(ends.iter().all(refused), "{ends:?}");

    let acknowledged = std::mem::take(&mut *acknowledged.lock().expect("unpoisoned"));
    holds_what_was_acknowledged(&database.url, &acknowledged).await;
}

/// An enterprise that can hold custody.
async fn enterprise_with_client(channel: &Channel, token: &str) -> String {
    let mut rpc = NetworkServiceClient::new(channel.clone());
    let request = CreateEnterpriseRequest {
        name: "Acme".into(),
        oes_licensed: true,
        ..Default::default()
    };
    let answer = rpc.create_enterprise(with_token(request, token)).await;
    let answer = answer.expect("created").into_inner();
    let enterprise_id = answer.enterprise.expect("set").id;
    let request = CreateClientRequest {
        enterprise_id: enterprise_id.clone(),
        name: "Acme".into(),
        ..Default::default()
    };
    let created = rpc.create_client(with_token(request, token)).await;
    created.expect("created");
    enterprise_id
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().expect("ASCII");
    request.metadata_mut().insert("authorization", value);
    request
}

fn is_private(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;

    let metadata = std::fs::metadata(file).expect("there");
    metadata.permissions().mode() & 0o777 == 0o600
}

/// `serve` for tokens that a development key signs.
fn serve_arguments() -> [&'static str; 5] {
    ["serve", "--issuer", ISSUER, "--audience", AUDIENCE]
}

/// Starts `earmark serve` with a log on a port of its own.
fn serve_with(url: &str, listen: &str, log: &Path) -> (Started, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    DevKey::open_or_create(folder.path()).expect("a key");
    let mut serve = earmark(&serve_arguments());
    serve
        .env("EARMARK_JWKS", folder.path().join(JWKS_FILE))
        .env("EARMARK_LISTEN", listen)
        .env("EARMARK_LAME_DUCK", "60s")
        .env("DATABASE_URL", url);
    let log = std::fs::File::create(log).expect("a file");
    (Started::spawn_with_log(&mut serve, log), folder)
}

/// Waits until a log contains a text.
fn wait_for_line(log: &Path, part: &str) -> String {
    let started = Instant::now();
    loop {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        if let Some(line) = text.lines().find(|line| line.contains(part)) {
            return line.to_owned();
        }
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "no {part}: {text}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_that_waits_for_its_database_ends_at_once() {
    // One that nobody listens for, and one that accepts connections and answers nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().expect("bound").to_string();
    for database in ["127.0.0.1:1", &silent] {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let url = format!("postgres://u@{database}/d");
        let (mut server, _key) = serve_with(&url, "127.0.0.1:0", &log);
        let line = wait_for_line(&log, "the database does not answer");
        assert!(line.contains(database), "it names the database: {line}");
        let asked = Instant::now();
        server.send(Signal::SIGINT);
        assert_eq!(server.ended_within(Duration::from_secs(5)), Some(0));
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(2), "{database}: {took:?}");
    }
}

#[test]
fn a_server_listens_on_a_host_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let (mut server, _key) = serve_with("postgres://u@127.0.0.1:1/d", "localhost:0", &log);
    let line = wait_for_line(&log, "listening");
    let (_, rest) = line.split_once("\"address\":\"").expect("an address");
    let address = rest.split('"').next().expect("an address");
    assert!(address.starts_with("127.0.0.1:"), "IPv4 first: {address}");
    let liveness = ["healthcheck", "--service", "liveness", "--address", address];
    assert_eq!(run(&mut earmark(&liveness)).status.code(), Some(0));
    server.send(Signal::SIGINT);
    assert_eq!(server.ended_within(Duration::from_secs(5)), Some(0));

    for (listen, why) in [
        ("50051", "a port, for example"),
        ("::1:50051", "a port, for example"),
        ("localhost:http", "a port, for example"),
        ("no such host:1", "a port, for example"),
    ] {
        let refused = run(&mut earmark(&["serve", "--listen", listen]));
        assert_eq!(refused.status.code(), Some(2), "{listen}");
        assert!(text(&refused.stderr).contains(why), "{listen}: {refused:?}");
    }
    let data = cluster::own_folder();
    let mut dev = earmark(&["dev", "--listen", "nobody.invalid:1"]);
    let refused = run(dev.env("EARMARK_DATA_DIR", data.path().join("data")));
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("nobody.invalid"),
        "{refused:?}"
    );
}

#[test]
fn a_database_server_that_is_not_verified_is_warned_of_once() {
    for (url, is_warned) in [
        ("postgres://u:secret@nobody.invalid/d", true),
        ("postgres://u:secret@nobody.invalid/d?sslmode=require", true),
        ("postgres://u:secret@127.0.0.1:1/d?sslmode=prefer", false),
        ("postgres://u:secret@127.0.0.1:1/d", false),
        ("postgres://u:secret@localhost:1/d", false),
        ("postgres://u:secret@%2Fnowhere/d", false),
    ] {
        for command in ["migrate", "verify"] {
            let failed = run(earmark(&[command]).env("DATABASE_URL", url));
            assert_eq!(failed.status.code(), Some(2), "{url}");
            let log = text(&failed.stderr);
            let lines = log
                .lines()
                .filter(|line| line.contains("sslmode=verify-full"));
            assert_eq!(
                lines.count(),
                usize::from(is_warned),
                "{command} {url}: {log}"
            );
            assert!(!log.contains("secret"), "{log}");
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let (mut server, _key) =
        serve_with("postgres://u:secret@nobody.invalid/d", "127.0.0.1:0", &log);
    wait_for_line(&log, "sslmode=verify-full");
    wait_for_line(&log, "the database does not answer");
    server.send(Signal::SIGINT);
    assert_eq!(server.ended_within(Duration::from_secs(5)), Some(0));
    let log = std::fs::read_to_string(&log).expect("a log");
    assert_eq!(log.matches("sslmode=verify-full").count(), 1, "{log}");
    assert!(
        log.contains("nobody.invalid:5432/d") && !log.contains("secret"),
        "{log}"
    );
}

/// The processes that name a folder in their arguments.
fn processes_of(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
        if arguments.contains(&*folder.to_string_lossy()) {
            found.push(arguments);
        }
    }
    found
}

#[test]
fn a_development_server_ends_at_once_while_it_starts_for_the_first_time() {
    let folder = cluster::own_folder();
    let data_dir = folder.path().join("data");
    // In initdb, in the first start of Postgres, while it migrates and loads the demo data.
    for after in [150, 600, 1_200, 2_000, 3_000] {
        let mut dev = earmark(&["dev", "--listen", "127.0.0.1:0"]);
        let mut dev = Started::spawn(dev.env("EARMARK_DATA_DIR", &data_dir));
        std::thread::sleep(Duration::from_millis(after));
        let asked = Instant::now();
        dev.send(Signal::SIGINT);
        assert_eq!(
            dev.ended_within(Duration::from_secs(10)),
            Some(0),
            "{after}"
        );
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(4), "after {after} ms: {took:?}");
        let started = Instant::now();
        while !processes_of(&data_dir).is_empty() {
            let left = processes_of(&data_dir);
            // Postgres writes a checkpoint first, which takes its time on a busy disk.
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "after {after} ms: {left:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let mut dev = Dev::start(&data_dir);
    assert!(is_healthy(dev.address()));
    assert_eq!(dev.end(Signal::SIGINT), Some(0));
}
