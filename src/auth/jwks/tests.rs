use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::auth::key_server::KeyServer;

fn ed_key(id: Option<&str>, x: u8) -> Value {
    let mut key = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([x; 32])});
    if let Some(id) = id {
        key["kid"] = id.into();
    }
    key
}

fn document(keys: &[Value]) -> Value {
    json!({ "keys": keys })
}

fn file_of(keys: &[Value]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    write(&file, &document(keys).to_string());
    file
}

fn write(file: &tempfile::NamedTempFile, text: &str) {
    std::fs::write(file.path(), text).expect("written");
}

fn source_of(file: &tempfile::NamedTempFile) -> JwksSource {
    JwksSource::File(file.path().into())
}

/// Settings by which each token that is not verified leads to a read.
fn eager() -> JwksSettings {
    JwksSettings {
        refresh_min: Duration::ZERO,
        ..JwksSettings::default()
    }
}

/// Whether a key with this id is found, after a further read if that is allowed.
async fn finds(jwks: &Arc<Jwks>, id: Option<&str>) -> bool {
    let keys = jwks.fresh_or_stale().await.expect("keys");
    let has = |keys: &JwksKeySet| keys.candidates(id, Algorithm::EdDSA).is_ok();
    if has(&keys) {
        return true;
    }
    let newer = jwks.newer_than(&keys).await;
    newer.is_some_and(|newer| has(&newer))
}

#[tokio::test]
async fn a_missing_key_reads_the_file_again_at_most_once_in_a_while() {
    let (a, b, c) = (
        ed_key(Some("a"), 1),
        ed_key(Some("b"), 2),
        ed_key(Some("c"), 3),
    );
    let file = file_of(std::slice::from_ref(&a));
    let jwks = Jwks::open(source_of(&file)).await.expect("readable");
    assert!(finds(&jwks, Some("a")).await);
    assert!(finds(&jwks, None).await, "the only key");

    write(&file, &document(&[a.clone(), b.clone()]).to_string());
    assert!(finds(&jwks, None).await, "known keys read nothing");
    let callers = (0..20).map(|_| {
        let jwks = Arc::clone(&jwks);
        tokio::spawn(async move { finds(&jwks, Some("b")).await })
    });
    for caller in callers.collect::<Vec<_>>() {
        assert!(
            caller.await.expect("no panic"),
            "everybody sees the new key"
        );
    }
    assert!(!finds(&jwks, None).await, "ambiguous with two keys");

    write(&file, &document(&[c]).to_string());
    assert!(!finds(&jwks, Some("c")).await, "too soon");
    assert!(finds(&jwks, Some("a")).await);
}

#[tokio::test]
async fn only_other_keys_are_another_generation() {
    let file = file_of(&[ed_key(Some("a"), 1)]);
    let jwks = Jwks::open_with(source_of(&file), eager())
        .await
        .expect("readable");

    let seen = jwks.fresh().expect("just read");
    let unused = json!({"kty": "oct", "kid": "secret", "k": "AAAA"});
    let same = document(&[unused, ed_key(Some("a"), 1)]);
    write(&file, &same.to_string());
    assert!(jwks.newer_than(&seen).await.is_none(), "the same key");
    write(&file, &document(&[ed_key(Some("a"), 2)]).to_string());
    let newer = jwks.newer_than(&seen).await.expect("another key");
    assert_eq!(newer.generation, seen.generation + 1);
}

#[tokio::test]
async fn a_broken_document_leaves_the_old_keys_and_one_without_keys_withdraws_them() {
    let file = file_of(&[ed_key(Some("a"), 1)]);
    let jwks = Jwks::open_with(source_of(&file), eager())
        .await
        .expect("readable");

    write(&file, "{");
    assert!(!finds(&jwks, Some("b")).await);
    assert!(finds(&jwks, Some("a")).await);

    write(&file, &document(&[ed_key(Some("b"), 2)]).to_string());
    assert!(finds(&jwks, Some("b")).await);
    assert!(!finds(&jwks, Some("a")).await, "withdrawn");

    write(&file, &document(&[]).to_string());
    assert!(!finds(&jwks, Some("c")).await);
    assert!(!finds(&jwks, Some("b")).await, "withdrawn");
    assert!(jwks.is_usable(), "they are what the issuer says");
}

#[tokio::test]
async fn a_file_must_be_right_at_the_start() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    for (text, is_expected) in [
        (
            "{",
            (|error| matches!(error, JwksError::Malformed)) as fn(&JwksError) -> bool,
        ),
        (r#"{"keys": []}"#, |error| matches!(error, JwksError::NoKey)),
        (&" ".repeat(2 << 20), |error| {
            matches!(error, JwksError::TooLarge)
        }),
    ] {
        write(&file, text);
        let refused = Jwks::open(source_of(&file)).await.expect_err("malformed");
        assert!(is_expected(&refused), "{refused}");
    }
    let missing = Jwks::open(JwksSource::File("/none".into())).await;
    assert!(matches!(missing, Err(JwksError::Unreadable(_))));
}

#[test]
fn candidates_have_the_kid_of_the_token_or_none() {
    let rsa = {
        let modulus = URL_SAFE_NO_PAD.encode([0xff; 256]);
        json!({"kty": "RSA", "kid": "a", "n": modulus, "e": "AQAB"})
    };
    let set = |keys: &[Value]| JwksKeySet {
        keys: document::parse(document(keys).to_string().as_bytes()).expect("a JWKS"),
        generation: 0,
        read_at: Instant::now(),
    };
    // The positions of the candidates among the keys.
    let of = |keys: &[Value], id: Option<&str>| -> Result<Vec<usize>, NoCandidate> {
        let set = set(keys);
        let candidates = set.candidates(id, Algorithm::EdDSA)?;
        let position = |key: &JwksKey| set.keys.iter().position(|other| std::ptr::eq(key, other));
        Ok(candidates.into_iter().filter_map(position).collect())
    };
    let (a, b, none) = (ed_key(Some("a"), 1), ed_key(Some("b"), 2), ed_key(None, 3));
    let (again, other) = (ed_key(Some("a"), 4), ed_key(None, 5));

    let two = [a.clone(), b.clone()];
    assert_eq!(of(&two, Some("b")), Ok(vec![1]));
    assert_eq!(of(&two, Some("c")), Err(NoCandidate::UnknownId));
    assert_eq!(of(&two, None), Err(NoCandidate::IdMissing));
    assert_eq!(of(&two[..1], None), Ok(vec![0]), "the only one");
    let replaced = [a.clone(), rsa.clone(), again];
    assert_eq!(
        of(&replaced, Some("a")),
        Ok(vec![0, 2]),
        "both, of one type"
    );
    assert_eq!(of(&[rsa], Some("a")), Err(NoCandidate::OtherAlgorithm));
    let without = [none, a, other];
    assert_eq!(of(&without, None), Ok(vec![0, 2]));
    assert_eq!(of(&without, Some("new")), Ok(vec![0, 2]));
    assert_eq!(of(&without, Some("a")), Ok(vec![1]));
    let many: Vec<Value> = (0..20).map(|x| ed_key(None, x)).collect();
    assert_eq!(of(&many, None).map(|all| all.len()), Ok(JWKS_TRIES_MAX));
}

async fn read(source: JwksSource, ca: Option<&Path>) -> Result<usize, JwksError> {
    let document = source::read(source, ca.map(Into::into)).await?;
    Ok(document.keys.len())
}

#[tokio::test]
async fn a_url_is_read_up_to_a_limit() {
    let server = KeyServer::start();
    server.publish(&document(&[ed_key(None, 1)]));
    assert!(matches!(
        read(JwksSource::parse(&server.url()), None).await,
        Ok(1)
    ));
    let at = |path: &str| JwksSource::Url(format!("{}{path}", server.issuer()));

    server.publish_at("/long", "200 OK", &" ".repeat(2 << 20));
    server.publish_at("/page", "200 OK", "<html>");
    server.publish_at("/moved", "302 /jwks", "");
    server.publish_at("/round", "302 /round", "");
    assert!(matches!(read(at("/moved"), None).await, Ok(1)));
    let long = read(at("/long"), None).await;
    assert!(matches!(long, Err(JwksError::TooLarge)), "{long:?}");
    let page = read(at("/page"), None).await;
    assert!(matches!(page, Err(JwksError::Malformed)), "{page:?}");
    for (path, why) in [("/none", "404"), ("/round", "redirect")] {
        let refused = read(at(path), None).await.expect_err(path).to_string();
        assert!(refused.contains(why) && refused.contains(path), "{refused}");
    }
    let unreachable = read(JwksSource::Url("http://127.0.0.1:1/".into()), None).await;
    assert!(matches!(unreachable, Err(JwksError::Unreadable(_))));
}

#[tokio::test]
async fn the_keys_of_an_issuer_are_found_by_discovery() {
    let server = KeyServer::start();
    server.publish(&document(&[ed_key(None, 1)]));
    let origin = server.issuer();
    let discovery = |issuer: &str, jwks: &str| {
        let document = json!({"issuer": issuer, "jwks_uri": format!("{origin}{jwks}")});
        let path = "/realms/a/.well-known/openid-configuration";
        server.publish_at(path, "200 OK", &document.to_string());
    };
    let issuer = format!("{origin}/realms/a");
    let source = JwksSource::of_issuer(&issuer).expect("a URL");
    discovery(&issuer, "/jwks");
    assert!(matches!(read(source.clone(), None).await, Ok(1)));

    discovery(&format!("{issuer}/"), "/jwks");
    let other = read(source.clone(), None).await;
    assert!(matches!(other, Err(JwksError::Discovery(_))), "{other:?}");
    discovery(&issuer, "/none");
    let missing = read(source, None).await;
    assert!(matches!(missing, Err(JwksError::Unreadable(_))));
    let nowhere = JwksSource::Issuer(format!("{origin}/realms/b"));
    assert!(read(nowhere, None).await.is_err());
}

#[tokio::test]
async fn a_private_authority_is_trusted_only_if_it_is_given() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, ca) = KeyServer::start_https(folder.path());
    server.publish(&document(&[ed_key(None, 1)]));
    let trusted = read(JwksSource::parse(&server.url()), Some(&ca)).await;
    assert!(matches!(trusted, Ok(1)), "{trusted:?}");

    let refused = read(JwksSource::parse(&server.url()), None)
        .await
        .expect_err("unknown");
    assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");
    server.publish_discovery();
    let issuer = JwksSource::Issuer(server.issuer());
    let discovered = read(issuer, Some(&ca)).await;
    assert!(matches!(discovered, Ok(1)), "{discovered:?}");

    let plain = KeyServer::start();
    plain.publish(&document(&[ed_key(None, 1)]));
    let away = format!("302 {}", plain.url());
    server.publish_at("/away", &away, "");
    let away = JwksSource::Url(format!("{}/away", server.issuer()));
    let refused = read(away, Some(&ca)).await;
    assert!(
        matches!(refused, Err(JwksError::Unreadable(_))),
        "{refused:?}"
    );
    assert_eq!(plain.reads(), 0, "never from https to http");
}

#[tokio::test]
async fn a_file_of_roots_that_has_none_is_refused_at_the_start() {
    let file = file_of(&[]);
    let settings = JwksSettings {
        ca: Some(file.path().into()),
        ..JwksSettings::default()
    };
    let source = JwksSource::Url("https://issuer.example/".into());
    let refused = Jwks::open_with(source, settings).await;
    assert!(matches!(refused, Err(JwksError::Roots(_))), "{refused:?}");
}
