//! Faults of the issuer and its keys.

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use earmark::auth::dev_key::DevKey;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

use super::diagnose;
use crate::support::key_server::KeyServer;

/// No database is needed to look at keys.
const NO_DATABASE: &str = "postgres://u@127.0.0.1:1/d";

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_read_say_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("malformed.json");
    std::fs::write(&file, "<html>").expect("written");
    let malformed = file.to_str().expect("UTF-8");
    for (arguments, name, found, advice) in [
        (
            &["--jwks", "http://127.0.0.1:1/jwks"][..],
            "keys.jwks",
            "http://127.0.0.1:1/jwks",
            "curl -v",
        ),
        (
            &["--issuer", "http://127.0.0.1:1"],
            "keys.jwks",
            "/.well-known/openid-configuration",
            "curl -v",
        ),
        (
            &["--jwks", malformed],
            "keys.jwks",
            "no JWKS",
            "correct --jwks",
        ),
        (
            &["--jwks", "/none.json"],
            "keys.jwks",
            "/none.json",
            "correct --jwks",
        ),
        (&["--issuer", "me"], "keys.jwks", "\"me\"", "give --jwks"),
        (
            &["--issuer", "https://127.0.0.1:1", "--jwks-stale-max", "1m"],
            "keys.settings",
            "--jwks-stale-max",
            "correct one",
        ),
        (
            &["--issuer", "https://127.0.0.1:1", "--jwks-ca", "/none.pem"],
            "certificates.jwks_ca",
            "/none.pem",
            "correct the path",
        ),
    ] {
        let diagnosed = diagnose(NO_DATABASE, arguments);
        diagnosed.has(name, "problem", found, advice);
    }
    let without = diagnose(NO_DATABASE, &["--audience", "a"]);
    without.has(
        "keys.jwks",
        "not_looked_at",
        "neither --jwks nor --issuer",
        "--issuer",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_by_https_are_looked_at_with_the_certificate() {
    let folder = tempfile::tempdir().expect("a folder");
    let (issuer, ca) = KeyServer::start_https(folder.path());
    let key = DevKey::generate().expect("a key");
    issuer.publish(&key.jwks());
    issuer.publish_discovery();
    let name = issuer.issuer();
    let unknown = diagnose(NO_DATABASE, &["--issuer", &name]);
    unknown.has("keys.jwks", "problem", "certificate", "--jwks-ca");

    let ca = ca.to_str().expect("UTF-8");
    let found = diagnose(NO_DATABASE, &["--issuer", &name, "--jwks-ca", ca]);
    found.has("keys.jwks", "ok", "1 usable key (1 EdDSA), read in ", "");
    found.has("keys.certificate", "ok", "the first expires in ", "");
    found.has("certificates.jwks_ca", "ok", "the first expires in ", "");

    issuer.publish_at(
        "/.well-known/openid-configuration",
        "200 OK",
        &json!({"issuer": "https://else.example", "jwks_uri": issuer.url()}).to_string(),
    );
    let other = diagnose(NO_DATABASE, &["--issuer", &name, "--jwks-ca", ca]);
    other.has("keys.jwks", "problem", "to the letter", "--issuer");
    issuer.publish(&json!({"keys": []}));
    let empty = diagnose(NO_DATABASE, &["--jwks", &issuer.url(), "--jwks-ca", ca]);
    empty.has(
        "keys.jwks",
        "problem",
        "no key that can verify",
        "correct --jwks",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_of_the_issuer_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let (port, ca) = expired_server(folder.path());
    let url = format!("https://localhost:{port}/jwks");
    let ca = ca.to_str().expect("UTF-8");
    let found = diagnose(NO_DATABASE, &["--jwks", &url, "--jwks-ca", ca]);
    found.has("keys.jwks", "problem", "expired", "renewed");
}

/// A server of `localhost` whose certificate has expired, and the file of the authority that signed it.
fn expired_server(folder: &Path) -> (u16, PathBuf) {
    let key = || KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, key()).expect("a root");
    let file = folder.join("ca.pem");
    std::fs::write(&file, authority.pem()).expect("written");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    let own_key = key();
    let certificate = params.signed_by(&own_key, &authority).expect("signed");
    let own_key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], own_key)
        .expect("a certificate");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            let mut stream = StreamOwned::new(session, stream.expect("a connection"));
            // The client ends it when it has seen the certificate.
            _ = stream.read(&mut [0; 1024]);
        }
    });
    (port, file)
}
