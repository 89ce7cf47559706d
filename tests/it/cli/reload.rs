//! SIGHUP: the configuration file is read again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use earmark::auth::dev_key::{AUDIENCE, DevKey, ISSUER, JWKS_FILE};
use earmark::proto::network::v1::ListEnterprisesRequest;
use nix::sys::signal::Signal;

use super::wait_for_health;
use crate::support::cluster::{as_server, database};
use crate::support::process::{OwnAddress, Started, earmark};
use crate::support::raw::{Raw, frame};

/// Waits until the log has a line with this text behind the first `after` bytes, and returns it.
fn line_with(log: &Path, after: usize, expected: &str) -> String {
    let started = Instant::now();
    loop {
        let text = fs::read_to_string(log).expect("a log");
        let mut lines = text[after..].lines();
        if let Some(line) = lines.find(|line| line.contains(expected)) {
            return line.into();
        }
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{expected}: {text}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Makes a call, which has a line in the log unless the filter leaves it out.
async fn call(own: &OwnAddress) {
    let raw = Raw::connect(own.address).await;
    let path = "/earmark.network.v1.NetworkService/ListEnterprises";
    raw.call(path, &[], frame(&ListEnterprisesRequest::default()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_changes_the_log_filter_and_names_what_needs_a_restart() {
    let database = database().await;
    let folder = tempfile::tempdir().expect("a folder");
    DevKey::open_or_create(folder.path()).expect("a key");
    let (file, log) = (
        folder.path().join("earmark.toml"),
        folder.path().join("log"),
    );
    let own = OwnAddress::new();
    let write = |content: &str| fs::write(&file, content).expect("written");
    write("log = \"info,earmark::access=off\"\nstreams-max = 100\n");
    let mut serve = earmark(&["serve", "--issuer", ISSUER, "--audience", AUDIENCE]);
    serve
        .arg("--config")
        .arg(&file)
        .env("EARMARK_JWKS", folder.path().join(JWKS_FILE))
        .env("EARMARK_LISTEN", own.address.to_string())
        .env("EARMARK_LAME_DUCK", "0s")
        .env("EARMARK_LOG_FORMAT", "json")
        .env("DATABASE_URL", as_server(&database.url));
    let to = fs::File::create(&log).expect("a file");
    let mut server = Started::spawn_with_log(&mut serve, to);
    tokio::task::block_in_place(|| wait_for_health(&own.address.to_string(), true));
    let access = "ListEnterprises";
    let length = || fs::read_to_string(&log).expect("a log").len();
    let hang_up = |content: &str, expected: &str| {
        write(content);
        let before = length();
        server.send(Signal::SIGHUP);
        line_with(&log, before, expected)
    };
    const READ: &str = "SIGHUP: the settings were read again";
    const REFUSED: &str = "SIGHUP: the settings cannot be used";

    call(&own).await;
    let line = hang_up("log = \"info\"\nstreams-max = 200\n", READ);
    for part in [
        "log: info,earmark::access=off -> info\"",
        "\"needs_restart\":\"streams-max\"",
        "\"level\":\"INFO\"",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let before = fs::read_to_string(&log).expect("a log");
    assert!(!before.contains(access), "{before}");
    let after = length();
    call(&own).await;
    line_with(&log, after, access);

    // A bad file changes nothing.
    let line = hang_up("log = \"error\"\nstreams-max = 0\n", REFUSED);
    assert!(
        line.contains("\"level\":\"WARN\"") && line.contains(":2: streams-max"),
        "{line}"
    );
    let after = length();
    call(&own).await;
    line_with(&log, after, access);

    // The line is seen though the new filter would leave it out, and though the old one would.
    let line = hang_up("log = \"error\"\nstreams-max = 100\n", READ);
    assert!(
        line.contains("\"needs_restart\":\"\""),
        "as at the start: {line}"
    );
    let after = length();
    call(&own).await;
    let line = hang_up("log = \"info\"\nstreams-max = 100\n", READ);
    assert!(line.contains("log: error -> info"), "{line}");
    let text = fs::read_to_string(&log).expect("a log");
    assert!(!text[after..].contains(access), "{text}");
    let line = hang_up("log = \"info\"\nstreams-max = 100\n", READ);
    assert!(line.contains("\"changed\":\"nothing\""), "{line}");

    server.send(Signal::SIGTERM);
    assert_eq!(server.ended_within(Duration::from_secs(20)), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_of_the_environment_stays_whatever_the_file_says() {
    let database = database().await;
    let folder = tempfile::tempdir().expect("a folder");
    DevKey::open_or_create(folder.path()).expect("a key");
    let log = folder.path().join("log");
    let own = OwnAddress::new();
    let mut serve = earmark(&["serve", "--issuer", ISSUER, "--audience", AUDIENCE]);
    serve
        .env("EARMARK_JWKS", folder.path().join(JWKS_FILE))
        .env("EARMARK_LISTEN", own.address.to_string())
        .env("EARMARK_LOG", "info")
        .env("EARMARK_LAME_DUCK", "0s")
        .env("DATABASE_URL", as_server(&database.url));
    let to = fs::File::create(&log).expect("a file");
    let file = folder.path().join("earmark.toml");
    fs::write(&file, "log = \"error\"\n").expect("written");
    let mut server = Started::spawn_with_log(serve.arg("--config").arg(&file), to);
    tokio::task::block_in_place(|| wait_for_health(&own.address.to_string(), true));
    fs::write(&file, "log = \"off\"\n").expect("written");
    server.send(Signal::SIGHUP);
    let line = line_with(&log, 0, "SIGHUP: the settings were read again");
    assert!(line.contains("nothing"), "{line}");
    server.send(Signal::SIGTERM);
    assert_eq!(server.ended_within(Duration::from_secs(20)), Some(0));
}
