//! The settings of TLS, as an operator meets them.

use std::process::Output;
use std::time::{Duration, Instant};

use earmark::auth::dev_key::{DevKey, JWKS_FILE};
use nix::sys::signal::Signal;

use crate::cli::{serve_arguments, wait_for_line};
use crate::support::certificates::{Authority, SERVER_NAME, SecretVolume, Wanted};
use crate::support::process::{OwnAddress, Started, earmark, run, text};

/// Files of a server, of its authority, and of a client.
fn volume() -> (SecretVolume, Authority) {
    let (servers, clients) = (Authority::new(), Authority::new());
    let (server, client) = (servers.server(), clients.client("spiffe://test/probe"));
    let volume = SecretVolume::new(&[
        ("tls.crt", &server.certificate),
        ("tls.key", &server.key),
        ("ca.crt", &servers.pem()),
        ("clients.crt", &clients.pem()),
        ("client.crt", &client.certificate),
        ("client.key", &client.key),
    ]);
    (volume, servers)
}

fn healthcheck(address: &str, arguments: &[&str]) -> Output {
    let mut command = earmark(&["healthcheck", "--service", "liveness", "--address", address]);
    run(command.args(arguments))
}

/// Repeats a health check until it succeeds.
fn wait_for_health(address: &str, arguments: &[&str]) {
    let started = Instant::now();
    loop {
        let output = healthcheck(address, arguments);
        if output.status.code() == Some(0) {
            return;
        }
        let why = text(&output.stderr);
        assert!(started.elapsed() < Duration::from_secs(20), "{why}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_with_mtls_is_probed_with_a_certificate_or_by_the_port_for_health() {
    let (mut volume, servers) = volume();
    let keys = tempfile::tempdir().expect("a folder");
    DevKey::open_or_create(keys.path()).expect("a key");
    let (calls, health) = (OwnAddress::new(), OwnAddress::new());
    let (address, health) = (calls.address.to_string(), health.address.to_string());
    let log = keys.path().join("log");
    let path = |name: &str| volume.path(name).display().to_string();
    let (cert, key, ca) = (path("tls.crt"), path("tls.key"), path("ca.crt"));
    let (client, client_key) = (path("client.crt"), path("client.key"));
    let mut serve = earmark(&serve_arguments());
    serve
        .env("EARMARK_JWKS", keys.path().join(JWKS_FILE))
        .env("EARMARK_LISTEN", &address)
        .env("EARMARK_HEALTH_LISTEN", &health)
        .env("EARMARK_TLS_CERT", &cert)
        .env("EARMARK_TLS_KEY", &key)
        .env("EARMARK_TLS_CLIENT_CA", path("clients.crt"))
        .env("DATABASE_URL", "postgres://u@127.0.0.1:1/d");
    let file = std::fs::File::create(&log).expect("a file");
    let mut server = Started::spawn_with_log(&mut serve, file);

    wait_for_health(&health, &[]);
    let trusting = ["--tls", "--tls-ca", &ca, "--tls-server-name", SERVER_NAME];
    let presenting = ["--tls-cert", &client, "--tls-key", &client_key];
    wait_for_health(&address, &[&trusting[..], &presenting[..]].concat());
    for (arguments, expected) in [
        (&[][..], "ask with --tls"),
        (&trusting[..], "by --tls-cert and --tls-key"),
        (
            &[
                "--tls",
                "--tls-server-name",
                SERVER_NAME,
                "--tls-ca",
                &client,
            ],
            "UnknownIssuer",
        ),
        (&["--tls", "--tls-ca", &ca], "not valid for name"),
    ] {
        let refused = healthcheck(&address, arguments);
        assert_eq!(refused.status.code(), Some(1), "{arguments:?}");
        let why = text(&refused.stderr);
        assert!(why.contains(expected), "{expected}: {why}");
    }

    // SIGHUP has the files looked at at once.
    let expired = servers.sign(Wanted {
        is_expired: true,
        ..Wanted::default()
    });
    volume.replace(&[
        ("tls.crt", &expired.certificate),
        ("tls.key", &expired.key),
        ("clients.crt", &Authority::new().pem()),
    ]);
    server.send(Signal::SIGHUP);
    wait_for_line(&log, "it has expired at 2021-01-01T00:00:00Z");
    server.send(Signal::SIGTERM);
    server.send(Signal::SIGTERM);
    assert_eq!(server.ended_within(Duration::from_secs(20)), Some(0));
}

#[test]
fn files_of_tls_that_cannot_be_used_are_refused_at_the_start() {
    let (volume, _servers) = volume();
    let keys = tempfile::tempdir().expect("a folder");
    DevKey::open_or_create(keys.path()).expect("a key");
    let path = |name: &str| volume.path(name).display().to_string();
    let (cert, key, other) = (path("tls.crt"), path("tls.key"), path("client.key"));
    for (arguments, expected) in [
        (vec!["--tls-cert", &cert], vec!["--tls-key"]),
        (vec!["--tls-key", &key], vec!["--tls-cert"]),
        (vec!["--tls-client-ca", &cert], vec!["--tls-cert"]),
        (
            vec!["--tls-cert", "/nowhere.crt", "--tls-key", &key],
            vec!["--tls-cert /nowhere.crt: ", "No such file"],
        ),
        (
            vec!["--tls-cert", &cert, "--tls-key", &other],
            vec!["--tls-key", "not the key of", "belong together"],
        ),
        (
            vec![
                "--tls-cert",
                &cert,
                "--tls-key",
                &key,
                "--health-listen",
                "50052",
            ],
            vec!["--health-listen", "a port, for example"],
        ),
    ] {
        let mut serve = earmark(&serve_arguments());
        serve
            .args(&arguments)
            .env("EARMARK_JWKS", keys.path().join(JWKS_FILE))
            .env("EARMARK_LISTEN", "127.0.0.1:0")
            .env("DATABASE_URL", "postgres://u@127.0.0.1:1/d");
        let refused = run(&mut serve);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        let why = text(&refused.stderr);
        for part in expected {
            assert!(why.contains(part), "{part}: {why}");
        }
    }
}

#[test]
fn a_health_check_names_the_file_that_it_cannot_use() {
    let (volume, _servers) = volume();
    let path = |name: &str| volume.path(name).display().to_string();
    let (cert, key) = (path("client.crt"), path("tls.key"));
    for (arguments, expected) in [
        (vec!["--tls-ca", &cert], "--tls"),
        (vec!["--tls", "--tls-ca", &key], "--tls-ca"),
        (
            vec!["--tls", "--tls-ca", &cert, "--tls-cert", &cert],
            "--tls-key",
        ),
        (
            vec![
                "--tls",
                "--tls-ca",
                &cert,
                "--tls-cert",
                &cert,
                "--tls-key",
                &key,
            ],
            "does not go with",
        ),
        (
            vec!["--tls", "--tls-ca", &cert, "--tls-server-name", "a b"],
            "no host name",
        ),
    ] {
        let refused = healthcheck("127.0.0.1:1", &arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        let why = text(&refused.stderr);
        assert!(why.contains(expected), "{expected}: {why}");
    }
}
