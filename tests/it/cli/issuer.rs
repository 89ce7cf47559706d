//! How `earmark serve` finds the keys of tokens.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use earmark::auth::dev_key::DevKey;
use earmark::limits::JWKS_TIMEOUT;
use earmark::proto::network::v1::ListEnterprisesRequest;
use nix::sys::signal::Signal;
use serde_json::json;
use tonic::Code;

use super::wait_for_health;
use crate::support::cluster::{as_server, database};
use crate::support::key_server::KeyServer;
use crate::support::process::{OwnAddress, Started, earmark, run, text};
use crate::support::raw::{Answer, Raw, frame};

const AUDIENCE: &str = "earmark";

/// A token of this issuer, as the value of `authorization`.
fn bearer(key: &DevKey, issuer: &str) -> String {
    let expires = SystemTime::now() + Duration::from_secs(600);
    let expires = expires.duration_since(UNIX_EPOCH).expect("after 1970");
    let claims = json!({
        "iss": issuer, "aud": AUDIENCE, "exp": expires.as_secs(),
        "user": {"name": "somebody"}, "scp": ["network-admin"],
    });
    format!("Bearer {}", key.sign(&claims).expect("signed"))
}

async fn list_enterprises(own: &OwnAddress, bearer: &str) -> Answer {
    let raw = Raw::connect(own.address).await;
    let path = "/earmark.network.v1.NetworkService/ListEnterprises";
    let request = frame(&ListEnterprisesRequest::default());
    raw.call(path, &[("authorization", bearer)], request).await
}

fn serve(issuer: &str, url: &str, own: &OwnAddress) -> Command {
    let mut serve = earmark(&["serve", "--issuer", issuer, "--audience", AUDIENCE]);
    serve
        .args(["--claim-subject", "user.name"])
        // So that the issuer is asked again soon.
        .args(["--jwks-max-age", "1s"])
        .env("EARMARK_LISTEN", own.address.to_string())
        .env("EARMARK_LAME_DUCK", "0s")
        .env("DATABASE_URL", as_server(url));
    serve
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_finds_the_keys_of_an_issuer_that_comes_later_behind_a_private_authority() {
    let database = database().await;
    let folder = tempfile::tempdir().expect("a folder");
    let (issuer, ca) = KeyServer::start_https(folder.path());
    let key = DevKey::generate().expect("a key");
    let bearer = bearer(&key, &issuer.issuer());
    let own = OwnAddress::new();
    let address = own.address.to_string();
    let mut command = serve(&issuer.issuer(), &database.url, &own);
    let server = Started::spawn(command.env("EARMARK_JWKS_CA", &ca));
    let liveness = ["healthcheck", "--service", "liveness", "--address"];
    let is_alive = || run(earmark(&liveness).arg(&address)).status.success();
    tokio::task::block_in_place(|| {
        while !is_alive() {
            std::thread::sleep(Duration::from_millis(50));
        }
        wait_for_health(&address, false);
    });
    let refused = list_enterprises(&own, &bearer).await;
    refused.expect(Code::Unavailable, "KEYS_UNAVAILABLE");

    issuer.publish(&key.jwks());
    issuer.publish_discovery();
    tokio::task::block_in_place(|| wait_for_health(&address, true));
    let served = list_enterprises(&own, &bearer).await;
    assert_eq!(served.status.code(), Code::Ok, "{served:?}");
    drop(server);

    // The platform's store is where the usual variable says.
    let own = OwnAddress::new();
    let address = own.address.to_string();
    let mut command = serve(&issuer.issuer(), &database.url, &own);
    let mut server = Started::spawn(command.env("SSL_CERT_FILE", &ca));
    tokio::task::block_in_place(|| wait_for_health(&address, true));
    let served = list_enterprises(&own, &bearer).await;
    assert_eq!(served.status.code(), Code::Ok, "{served:?}");

    // A read that is under way does not keep the process from ending.
    issuer.hang();
    let reads = issuer.reads();
    tokio::task::block_in_place(|| {
        while issuer.reads() == reads {
            std::thread::sleep(Duration::from_millis(5));
        }
        let asked = Instant::now();
        server.send(Signal::SIGTERM);
        assert_eq!(server.ended_within(JWKS_TIMEOUT), Some(0));
        let took = asked.elapsed();
        assert!(took < JWKS_TIMEOUT * 9 / 10, "{took:?}");
    });
}

#[test]
fn serve_refuses_settings_of_keys_that_cannot_be_right() {
    let refused = |arguments: &[&str]| {
        let mut serve = earmark(&["serve", "--audience", AUDIENCE]);
        serve
            .args(arguments)
            .env("EARMARK_LISTEN", "127.0.0.1:0")
            .env("DATABASE_URL", "postgres://h/d");
        let refused = run(&mut serve);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        text(&refused.stderr)
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("malformed.json");
    std::fs::write(&file, "<html>").expect("written");
    let malformed = path(&file);
    let url = "https://issuer.example";
    for (arguments, parts) in [
        (&["--issuer", "me"][..], &["--jwks", "\"me\""][..]),
        (
            &["--issuer", "me", "--jwks", malformed],
            &["--jwks", malformed, "no JWKS"],
        ),
        (
            &["--issuer", "me", "--jwks", "/none"],
            &["--jwks", "/none", "cannot be read"],
        ),
        (
            &["--issuer", url, "--jwks-ca", malformed],
            &["--jwks-ca", malformed, "no PEM certificate"],
        ),
        (
            &["--issuer", url, "--jwks-stale-max", "1m"],
            &["--jwks-stale-max 1m", "--jwks-max-age 5m"],
        ),
        (
            &["--issuer", url, "--jwks-max-age", "0s"],
            &["--jwks-max-age", "from 1s to 24h"],
        ),
        (
            &["--issuer", url, "--claim-scope", "a,,b"],
            &["--claim-scope"],
        ),
    ] {
        let why = refused(arguments);
        for part in parts {
            assert!(why.contains(part), "{part}: {why}");
        }
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
