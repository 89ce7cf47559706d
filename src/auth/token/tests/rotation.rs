//! Keys that the issuer replaces and withdraws, and a key server that does not answer. The clock is moved by the tests.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::auth::key_server::KeyServer;
use crate::limits::{
    JWKS_AGE_MAX, JWKS_REFRESH_MIN, JWKS_RETRY_PAUSE, JWKS_STALE_MAX, JWKS_WAIT_MAX, JWKS_WAITS_MAX,
};

/// A key, and what it signs under one `kid` or without any.
struct NamedKey {
    key: DevKey,
    id: Option<&'static str>,
}

impl NamedKey {
    fn new(id: Option<&'static str>) -> Self {
        let key = DevKey::generate().expect("a key");
        Self { key, id }
    }

    fn jwks(&self) -> Value {
        jwks(&[self])
    }

    fn token(&self) -> String {
        self.key.sign_named(self.id, &claims()).expect("signed")
    }
}

/// A document of several keys.
fn jwks(keys: &[&NamedKey]) -> Value {
    let key = |key: &&NamedKey| key.key.jwks_named(key.id)["keys"][0].clone();
    json!({ "keys": keys.iter().map(key).collect::<Vec<_>>() })
}

fn serving(jwks: &Value) -> KeyServer {
    let server = KeyServer::start();
    server.publish(jwks);
    server
}

fn source_of(server: &KeyServer) -> JwksSource {
    JwksSource::parse(&server.url())
}

async fn verifier_of(server: &KeyServer) -> Arc<TokenVerifier> {
    let keys = Jwks::open(source_of(server)).await.expect("a URL");
    Arc::new(TokenVerifier::new(TokenRules::new(ISSUER, AUDIENCE), keys))
}

/// A verifier that has read the keys.
async fn ready_verifier_of(server: &KeyServer) -> Arc<TokenVerifier> {
    let verifier = verifier_of(server).await;
    until(|| verifier.has_keys()).await;
    verifier
}

/// Waits for what another task or thread does, while the clock stands still.
async fn until(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "in vain");
        tokio::task::yield_now().await;
    }
}

fn is_refused(verified: &Result<Arc<Caller>>) -> bool {
    matches!(verified, Err(Error::TokenInvalid(_)))
}

/// From this age on keys are read in the background.
fn background_age() -> Duration {
    JWKS_AGE_MAX * 4 / 5
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_replaced_under_its_name_works_after_a_minute_at_the_latest() {
    for id in [Some("current"), None] {
        let (first, second, third) = (NamedKey::new(id), NamedKey::new(id), NamedKey::new(id));
        let server = serving(&first.jwks());
        let verifier = ready_verifier_of(&server).await;
        let remembered = first.token();
        assert!(verifier.verify(&remembered).await.is_ok());

        server.publish(&second.jwks());
        assert!(verifier.verify(&remembered).await.is_ok(), "from memory");
        assert!(verifier.verify(&second.token()).await.is_ok(), "read again");
        let forgotten = verifier.verify(&remembered).await;
        assert!(is_refused(&forgotten), "{forgotten:?}");
        assert_eq!(server.reads(), 2);

        server.publish(&third.jwks());
        let early = verifier.verify(&third.token()).await;
        assert!(is_refused(&early), "{early:?}");
        assert_eq!(server.reads(), 2, "at most once a minute");
        tokio::time::advance(JWKS_REFRESH_MIN).await;
        assert!(verifier.verify(&third.token()).await.is_ok());
        assert!(is_refused(&verifier.verify(&second.token()).await));
        assert_eq!(server.reads(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn keys_of_one_name_or_without_any_all_work_while_both_are_published() {
    for id in [Some("current"), None] {
        let (old, new) = (NamedKey::new(id), NamedKey::new(id));
        let server = serving(&old.jwks());
        let verifier = ready_verifier_of(&server).await;
        server.publish(&jwks(&[&old, &new]));
        assert!(verifier.verify(&new.token()).await.is_ok());
        assert!(verifier.verify(&old.token()).await.is_ok(), "still there");
        let foreign = NamedKey::new(id).token();
        assert!(is_refused(&verifier.verify(&foreign).await));
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_of_another_type_replaces_one_under_its_name() {
    let fixture: Value =
        serde_json::from_str(include_str!("../foreign_tokens.json")).expect("valid JSON");
    let (case, token) = fixture["good"]
        .as_object()
        .and_then(|good| good.iter().find(|(case, _)| case.contains("RS256")))
        .expect("a token signed with RS256");
    let token = token.as_str().expect("a text");
    let id = decode_header(token).expect("a header").kid.expect("a kid");
    let before = DevKey::generate().expect("a key");
    let server = serving(&before.jwks_named(Some(&id)));
    let keys = Jwks::open(source_of(&server)).await.expect("a URL");
    let verifier = TokenVerifier::new(everlasting(), keys);
    until(|| verifier.has_keys()).await;
    server.publish(&fixture["jwks"]);
    let verified = verifier.verify(token).await;
    assert!(verified.is_ok(), "{case}: {verified:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_published_broken_works_once_it_is_mended() {
    let key = NamedKey::new(Some("current"));
    let mut broken = key.jwks();
    // No point of the curve has this coordinate.
    let x = base64_bytes(&[&[2][..], &[0; 31]].concat());
    broken["keys"][0]["x"] = x.into();
    let server = serving(&broken);
    let verifier = ready_verifier_of(&server).await;
    server.publish(&key.jwks());
    assert!(verifier.verify(&key.token()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_burst_at_a_rotation_is_not_refused() {
    let (old, new) = (NamedKey::new(Some("old")), NamedKey::new(Some("new")));
    let server = serving(&old.jwks());
    let verifier = ready_verifier_of(&server).await;
    server.publish(&new.jwks());
    let token = new.token();
    let calls = (0..JWKS_WAITS_MAX).map(|_| {
        let (verifier, token) = (Arc::clone(&verifier), token.clone());
        tokio::spawn(async move { verifier.verify(&token).await })
    });
    for call in calls.collect::<Vec<_>>() {
        let verified = call.await.expect("no panic");
        assert!(verified.is_ok(), "{verified:?}");
    }
    assert_eq!(server.reads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_key_server_that_hangs_holds_up_few_calls_and_not_for_long() {
    let (old, new) = (NamedKey::new(Some("old")), NamedKey::new(Some("new")));
    let server = serving(&old.jwks());
    let verifier = ready_verifier_of(&server).await;
    server.publish(&new.jwks());
    server.hang();

    let begun = tokio::time::Instant::now();
    let refused = Arc::new(AtomicUsize::new(0));
    let extra = 300;
    let calls = (0..JWKS_WAITS_MAX + extra).map(|_| {
        let (verifier, refused) = (Arc::clone(&verifier), Arc::clone(&refused));
        let token = new.token();
        tokio::spawn(async move {
            assert!(is_refused(&verifier.verify(&token).await));
            refused.fetch_add(1, Ordering::Relaxed);
        })
    });
    let calls: Vec<_> = calls.collect();
    // The clock stands still meanwhile: these calls wait for nothing.
    until(|| refused.load(Ordering::Relaxed) >= extra && server.reads() == 2).await;
    assert!(verifier.verify(&old.token()).await.is_ok(), "a known key");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(refused.load(Ordering::Relaxed), extra);

    tokio::time::advance(JWKS_WAIT_MAX).await;
    for call in calls {
        call.await.expect("no panic");
    }
    assert_eq!(begun.elapsed(), JWKS_WAIT_MAX);
    assert!(verifier.verify(&old.token()).await.is_ok(), "a known key");

    // The read was given up by its calls, but goes on.
    server.go_on();
    let generation = || verifier.keys.fresh().map(|keys| keys.generation);
    let before = generation();
    until(|| generation() != before).await;
    assert!(verifier.verify(&new.token()).await.is_ok());
    assert!(is_refused(&verifier.verify(&old.token()).await));
    assert_eq!(server.reads(), 2, "one read for all of them");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_key_is_refused_before_the_maximum_age_though_nobody_calls() {
    let (old, new) = (NamedKey::new(Some("old")), NamedKey::new(Some("new")));
    for published in [new.jwks(), jwks(&[])] {
        let server = serving(&old.jwks());
        let verifier = ready_verifier_of(&server).await;
        let remembered = old.token();
        assert!(verifier.verify(&remembered).await.is_ok());
        server.publish(&published);
        tokio::time::advance(background_age()).await;
        until(|| server.reads() == 2).await;
        let generation = || verifier.keys.fresh().map(|keys| keys.generation);
        until(|| generation() == Some(2)).await;
        assert!(is_refused(&verifier.verify(&remembered).await));
        assert!(is_refused(&verifier.verify(&old.token()).await));
    }
}

#[tokio::test(start_paused = true)]
async fn unchanged_keys_are_read_again_and_again_and_tokens_stay_remembered() {
    let key = NamedKey::new(Some("key"));
    let server = serving(&key.jwks());
    let verifier = ready_verifier_of(&server).await;
    let token = key.token();
    let first = verifier.verify(&token).await.expect("good");
    for reads in 2..8 {
        tokio::time::advance(background_age()).await;
        until(|| server.reads() == reads).await;
        until(|| !verifier.keys.is_reading()).await;
        let again = verifier.verify(&token).await.expect("good");
        assert!(Arc::ptr_eq(&first, &again));
    }
}

#[tokio::test(start_paused = true)]
async fn stale_keys_are_used_after_a_short_wait_until_they_are_too_old() {
    let key = NamedKey::new(Some("key"));
    let server = serving(&key.jwks());
    let verifier = ready_verifier_of(&server).await;
    let token = key.token();
    assert!(verifier.verify(&token).await.is_ok());
    server.hang();
    tokio::time::advance(background_age()).await;
    until(|| server.reads() == 2).await;
    assert!(
        verifier.verify(&token).await.is_ok(),
        "no wait before the age"
    );

    // The read of the background fails, and another one is begun at the maximum age: calls wait for that.
    server.publish_at("/jwks", "503 Service Unavailable", "");
    server.go_on();
    until(|| !verifier.keys.is_reading()).await;
    server.publish(&key.jwks());
    server.hang();
    tokio::time::advance(JWKS_AGE_MAX - background_age()).await;
    let begun = tokio::time::Instant::now();
    let calls = [token.clone(), key.token()].map(|token| {
        let verifier = Arc::clone(&verifier);
        tokio::spawn(async move { verifier.verify(&token).await })
    });
    until(|| server.reads() == 3).await;
    assert!(calls.iter().all(|call| !call.is_finished()), "they wait");
    tokio::time::advance(JWKS_WAIT_MAX).await;
    for call in calls {
        assert!(call.await.expect("no panic").is_ok(), "stale");
    }
    assert_eq!(begun.elapsed(), JWKS_WAIT_MAX);
    assert!(verifier.verify(&token).await.is_ok());
    assert_eq!(
        begun.elapsed(),
        JWKS_WAIT_MAX,
        "that read is not waited for again"
    );

    tokio::time::advance(JWKS_STALE_MAX - JWKS_AGE_MAX - JWKS_WAIT_MAX).await;
    let refused = verifier.verify(&token).await;
    assert_eq!(refused, Err(Error::KeysUnavailable), "remembered or not");
    assert!(!verifier.has_keys());

    server.go_on();
    until(|| verifier.has_keys()).await;
    assert!(verifier.verify(&token).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_key_server_that_is_not_there_at_the_start_is_waited_for() {
    let key = NamedKey::new(Some("key"));
    let server = KeyServer::start();
    let pages = [
        ("503 Service Unavailable", key.jwks().to_string()),
        ("200 OK", "<html></html>".into()),
        ("200 OK", r#"{"keys": []}"#.into()),
    ];
    let verifier = verifier_of(&server).await;
    let refused = verifier.verify(&key.token()).await;
    assert_eq!(refused, Err(Error::KeysUnavailable));
    for (reads, (status, body)) in (2..).zip(pages) {
        until(|| !verifier.keys.is_reading()).await;
        server.publish_at("/jwks", status, &body);
        tokio::time::advance(JWKS_RETRY_PAUSE).await;
        until(|| server.reads() == reads).await;
        until(|| !verifier.keys.is_reading()).await;
        assert!(!verifier.has_keys(), "{status}: {body}");
    }
    server.publish(&key.jwks());
    tokio::time::advance(JWKS_RETRY_PAUSE).await;
    until(|| verifier.has_keys()).await;
    assert!(verifier.verify(&key.token()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_first_calls_wait_for_the_first_read() {
    let key = NamedKey::new(Some("key"));
    let server = serving(&key.jwks());
    let verifier = verifier_of(&server).await;
    assert!(!verifier.has_keys());
    let begun = tokio::time::Instant::now();
    assert!(verifier.verify(&key.token()).await.is_ok());
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(server.reads(), 1);
}
