//! Keys that an issuer replaces and withdraws, and an issuer that does not answer, as callers and health checks see it.
//! The library's own tests have the times to the second, with a clock that they move.

use std::time::{Duration, Instant};

use earmark::auth::dev_key::{DevClaims, DevKey};
use earmark::auth::jwks::{JwksSettings, JwksSource};
use serde_json::{Value, json};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::server::running::{ADJUST, Running, adjust, settings};
use crate::support::key_server::KeyServer;
use crate::support::raw::Answer;

/// Short enough not to keep the test waiting, long enough for a slow machine.
fn impatient() -> JwksSettings {
    JwksSettings {
        age_max: Duration::from_secs(1),
        stale_max: Duration::from_secs(20),
        refresh_min: Duration::from_millis(100),
        ..JwksSettings::default()
    }
}

fn key() -> DevKey {
    DevKey::generate().expect("a key")
}

async fn call(server: &Running, key: &DevKey) -> Answer {
    let claims = DevClaims {
        sub: "somebody".into(),
        scope: "network-admin".into(),
        ..DevClaims::default()
    };
    let token = key.mint(&claims, Duration::from_secs(60)).expect("signed");
    let bearer = format!("Bearer {token}");
    let raw = server.raw().await;
    raw.call(ADJUST, &[("authorization", &bearer)], adjust(""))
        .await
}

/// The reason of an answer; `OK` if it is none.
fn reason(answer: &Answer) -> String {
    match answer.status.code() {
        Code::Ok => "OK".into(),
        _ => answer.error_info().reason,
    }
}

async fn until(server: &Running, key: &DevKey, expected: &str) {
    let started = Instant::now();
    loop {
        let found = reason(&call(server, key).await);
        if found == expected {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{found}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn until_health(server: &Running, expected: ServingStatus) {
    let mut health = HealthClient::new(server.channel().await);
    let request = |service: &str| HealthCheckRequest {
        service: service.into(),
    };
    let started = Instant::now();
    loop {
        let found = health.check(request("")).await.expect("an answer");
        if found.into_inner().status() == expected {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{expected:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let alive = health.check(request("liveness")).await.expect("an answer");
    assert_eq!(alive.into_inner().status(), ServingStatus::Serving);
}

#[tokio::test]
async fn an_issuer_is_waited_for_and_its_keys_are_followed() {
    let (first, second) = (key(), key());
    let issuer = KeyServer::start();
    let source = JwksSource::parse(&issuer.url());
    let server = Running::start_with_keys(settings(), source, impatient()).await;
    until_health(&server, ServingStatus::NotServing).await;
    let refused = call(&server, &first).await;
    let outcome = refused.expect(Code::Unavailable, "KEYS_UNAVAILABLE");
    assert_eq!(outcome.as_deref(), Some("not_applied"), "it is a write");

    issuer.publish(&first.jwks());
    until_health(&server, ServingStatus::Serving).await;
    assert_eq!(reason(&call(&server, &first).await), "OK");

    // A call with the new key makes the server read it; the old one is withdrawn by that.
    issuer.publish(&second.jwks());
    until(&server, &second, "OK").await;
    assert_eq!(reason(&call(&server, &first).await), "TOKEN_INVALID");

    // Without any call with another key.
    issuer.publish(&json!({ "keys": [] }));
    until(&server, &second, "TOKEN_INVALID").await;
    issuer.publish(&second.jwks());
    until(&server, &second, "OK").await;
}

#[tokio::test]
async fn an_issuer_that_hangs_is_survived_until_its_keys_are_too_old() {
    let key = key();
    let issuer = KeyServer::start();
    issuer.publish(&key.jwks());
    let source = JwksSource::parse(&issuer.url());
    let key_settings = JwksSettings {
        stale_max: Duration::from_secs(3),
        ..impatient()
    };
    let server = Running::start_with_keys(settings(), source, key_settings).await;
    until(&server, &key, "OK").await;
    let reads = issuer.reads();
    issuer.hang();
    let hung = Instant::now();
    while issuer.reads() <= reads {
        assert!(hung.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until(&server, &key, "KEYS_UNAVAILABLE").await;
    let served_for = hung.elapsed();
    assert!(served_for > impatient().age_max, "{served_for:?}");
    until_health(&server, ServingStatus::NotServing).await;

    issuer.go_on();
    until_health(&server, ServingStatus::Serving).await;
    until(&server, &key, "OK").await;
}

/// What a key server publishes, with members that its keys must not have.
fn with(key: &DevKey, member: &str, value: Value) -> Value {
    let mut jwks = key.jwks();
    let first = &mut jwks["keys"][0];
    first.as_object_mut().expect("an object").remove("use");
    first[member] = value;
    jwks
}

#[tokio::test]
async fn a_key_is_used_only_for_what_its_issuer_says() {
    let (good, other) = (key(), key());
    let issuer = KeyServer::start();
    let publish = |jwks: Value| {
        let keys = [good.jwks()["keys"][0].clone(), jwks["keys"][0].clone()];
        issuer.publish(&json!({ "keys": keys }));
    };
    publish(other.jwks());
    let source = JwksSource::parse(&issuer.url());
    let server = Running::start_with_keys(settings(), source, impatient()).await;
    for (member, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
        ("alg", json!("ES256")),
    ] {
        publish(with(&other, "key_ops", json!(["verify"])));
        until(&server, &other, "OK").await;
        publish(with(&other, member, value));
        until(&server, &other, "TOKEN_INVALID").await;
        assert_eq!(reason(&call(&server, &good).await), "OK", "{member}");
    }
}
