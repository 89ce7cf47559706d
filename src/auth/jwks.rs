//! The issuer's public keys: reads a JWKS document from a file or URL, and reads it again when needed.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse, RSAKeyParameters,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::limits::{
    JWKS_AGE_MAX, JWKS_BYTES_MAX, JWKS_KEYS_MAX, JWKS_REFRESH_MIN, JWKS_TIMEOUT, JWKS_WAIT_MAX,
    JWKS_WAITS_MAX,
};

/// The shortest RSA modulus that is accepted (RFC 7518 §3.3).
const RSA_BITS_MIN: usize = 2048;
/// The longest RSA modulus that is accepted: the time of a verification grows with its square.
const RSA_BITS_MAX: usize = 4096;

/// Where a JWKS document is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// A path in the local file system.
    File(PathBuf),
    /// An `http` or `https` URL; up to three redirects are followed.
    Url(String),
}

impl JwksSource {
    /// A URL if the text starts with `http://` or `https://`, else a path.
    pub fn parse(text: &str) -> Self {
        let is_url = ["http://", "https://"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        if is_url {
            Self::Url(text.into())
        } else {
            Self::File(text.into())
        }
    }
}

/// Why a JWKS cannot be used. The texts continue a sentence that starts with the file or URL.
#[derive(Debug, thiserror::Error)]
pub enum JwksError {
    /// The file or URL cannot be read; the text is the cause.
    #[error("the JWKS cannot be read: {0}")]
    Unreadable(String),
    /// The document has more than [`JWKS_BYTES_MAX`] bytes.
    #[error("the JWKS is larger than {JWKS_BYTES_MAX} bytes")]
    TooLarge,
    /// The document is not a JSON object with an array `keys`.
    #[error("the document is no JWKS, which is a JSON object with an array `keys`")]
    Malformed,
    /// None of the keys can verify a token.
    #[error(
        "the JWKS has no key that can verify tokens: one for RS256 (2048 to 4096 bits), ES256 or EdDSA (Ed25519) is needed"
    )]
    NoKey,
}

/// A public key, with the only algorithm that it is used for.
#[derive(Debug)]
pub(crate) struct JwksKey {
    /// The key as the document has it; two keys are the same if this is.
    jwk: Jwk,
    /// The algorithm that the key's type determines. A token whose header names another one is refused.
    pub(crate) algorithm: Algorithm,
    pub(crate) decoding: DecodingKey,
}

/// The usable keys of one version of the document.
#[derive(Debug)]
pub(crate) struct JwksKeySet {
    keys: Vec<JwksKey>,
    /// Grows by one with each version of the document whose usable keys differ from those before.
    pub(crate) generation: u64,
    read_at: Instant,
}

/// The current keys of a JWKS.
///
/// The document is read again when a token cannot be verified by the keys at hand, at most once per
/// [`JWKS_REFRESH_MIN`], and when it is older than [`JWKS_AGE_MAX`], so that keys which the issuer has withdrawn are
/// dropped. If it cannot be read again, the old keys stay.
#[derive(Debug)]
pub struct Jwks {
    source: JwksSource,
    refresh_min: Duration,
    current: RwLock<Arc<JwksKeySet>>,
    refresh: Mutex<JwksRefresh>,
    /// One permit for each call that may wait for a read.
    waits: Semaphore,
}

/// When the document was read again the last time.
#[derive(Debug, Default)]
struct JwksRefresh {
    last_attempt: Option<Instant>,
    /// Cancelled when the last attempt has ended, in whatever way.
    ended: Option<CancellationToken>,
}

impl Jwks {
    /// Reads the document for the first time.
    ///
    /// # Errors
    /// The document cannot be read, or has no usable key.
    pub async fn open(source: JwksSource) -> Result<Arc<Self>, JwksError> {
        Self::open_with(source, JWKS_REFRESH_MIN).await
    }

    /// The same with another time between two reads than [`JWKS_REFRESH_MIN`].
    pub(super) async fn open_with(
        source: JwksSource,
        refresh_min: Duration,
    ) -> Result<Arc<Self>, JwksError> {
        let keys = read(source.clone()).await?;
        Ok(Arc::new(Self {
            source,
            refresh_min,
            current: RwLock::new(Arc::new(JwksKeySet {
                keys,
                generation: 0,
                read_at: Instant::now(),
            })),
            refresh: Mutex::default(),
            waits: Semaphore::new(JWKS_WAITS_MAX),
        }))
    }

    /// The keys at hand. If they are older than [`JWKS_AGE_MAX`], the document is read again in the background.
    pub(crate) fn keys(self: &Arc<Self>) -> Arc<JwksKeySet> {
        let current = self.current();
        if current.read_at.elapsed() > JWKS_AGE_MAX {
            self.refresh();
        }
        current
    }

    /// The generation of the keys at hand. What was verified by another one may be valid no longer.
    pub(crate) fn generation(&self) -> u64 {
        self.current().generation
    }

    /// Keys that differ from those by which a token could not be verified, if there are any.
    ///
    /// Reads the document again for it, unless that was done less than [`JWKS_REFRESH_MIN`] ago. Waits for a read under
    /// way, but at most [`JWKS_WAIT_MAX`], and not at all if [`JWKS_WAITS_MAX`] calls wait already.
    pub(crate) async fn newer_than(self: &Arc<Self>, seen: &JwksKeySet) -> Option<Arc<JwksKeySet>> {
        if self.generation() == seen.generation
            && let Some(ended) = self.refresh()
            && let Ok(_permit) = self.waits.try_acquire()
        {
            // A read that takes longer goes on for the calls to come.
            _ = tokio::time::timeout(JWKS_WAIT_MAX, ended.cancelled()).await;
        }
        let current = self.current();
        (current.generation != seen.generation).then_some(current)
    }

    fn current(&self) -> Arc<JwksKeySet> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The end of the read that is under way, which is started if none is and the last one is long enough ago.
    fn refresh(self: &Arc<Self>) -> Option<CancellationToken> {
        let mut refresh = self.refresh.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = refresh.ended.as_ref().filter(|ended| !ended.is_cancelled()) {
            return Some(ended.clone());
        }
        if refresh
            .last_attempt
            .is_some_and(|attempt| attempt.elapsed() < self.refresh_min)
        {
            return None;
        }
        refresh.last_attempt = Some(Instant::now());
        let ended = CancellationToken::new();
        refresh.ended = Some(ended.clone());
        // A task of its own, because a call that is cancelled must not cancel the read that others wait for.
        let (jwks, guard) = (Arc::clone(self), ended.clone().drop_guard());
        tokio::spawn(async move {
            jwks.read_again().await;
            drop(guard);
        });
        Some(ended)
    }

    async fn read_again(&self) {
        match read(self.source.clone()).await {
            Ok(keys) => {
                let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                let changed = !same_keys(&keys, &current.keys);
                tracing::info!(keys = keys.len(), changed, "the JWKS was read again");
                *current = Arc::new(JwksKeySet {
                    keys,
                    generation: current.generation + u64::from(changed),
                    read_at: Instant::now(),
                });
            }
            // The old keys stay valid: an outage of the issuer must not make every token invalid.
            Err(error) => {
                tracing::warn!(%error, "the JWKS cannot be read again: its last version stays in use");
            }
        }
    }
}

impl JwksKeySet {
    /// The key with this id. Without an id the only key of the document; `None` if there are several.
    pub(crate) fn find(&self, id: Option<&str>) -> Option<&JwksKey> {
        match (id, self.keys.as_slice()) {
            (Some(id), keys) => keys
                .iter()
                .find(|key| key.jwk.common.key_id.as_deref() == Some(id)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

fn same_keys(one: &[JwksKey], other: &[JwksKey]) -> bool {
    one.iter()
        .map(|key| &key.jwk)
        .eq(other.iter().map(|key| &key.jwk))
}

/// Reads and parses the document on a blocking thread, since reads of both files and URLs block.
async fn read(source: JwksSource) -> Result<Vec<JwksKey>, JwksError> {
    let reading = tokio::task::spawn_blocking(move || match source {
        JwksSource::File(path) => read_file(&path),
        JwksSource::Url(url) => read_url(&url),
    });
    let text = match reading.await {
        Ok(text) => text?,
        Err(error) => return Err(JwksError::Unreadable(error.to_string())),
    };
    parse(&text)
}

fn read_file(path: &std::path::Path) -> Result<Vec<u8>, JwksError> {
    use io::Read;

    let unreadable = |error: io::Error| JwksError::Unreadable(error.to_string());
    let mut text = Vec::new();
    std::fs::File::open(path)
        .map_err(unreadable)?
        .take(JWKS_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > JWKS_BYTES_MAX {
        return Err(JwksError::TooLarge);
    }
    Ok(text)
}

fn read_url(url: &str) -> Result<Vec<u8>, JwksError> {
    let unreadable = |error: ureq::Error| match error {
        ureq::Error::BodyExceedsLimit(_) => JwksError::TooLarge,
        other => JwksError::Unreadable(other.to_string()),
    };
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(JWKS_TIMEOUT))
        .max_redirects(3)
        .build()
        .new_agent();
    let mut response = agent.get(url).call().map_err(unreadable)?;
    response
        .body_mut()
        .with_config()
        .limit(JWKS_BYTES_MAX)
        .read_to_vec()
        .map_err(unreadable)
}

/// The usable keys of a JWKS. Others are ignored, as RFC 7517 §5 prescribes: a set may hold keys for other purposes.
fn parse(text: &[u8]) -> Result<Vec<JwksKey>, JwksError> {
    let document: Value = serde_json::from_slice(text).map_err(|_| JwksError::Malformed)?;
    let Some(Value::Array(entries)) = document.get("keys") else {
        return Err(JwksError::Malformed);
    };
    let keys: Vec<JwksKey> = entries
        .iter()
        .take(JWKS_KEYS_MAX)
        .filter_map(usable_key)
        .collect();
    if keys.is_empty() {
        return Err(JwksError::NoKey);
    }
    Ok(keys)
}

fn usable_key(entry: &Value) -> Option<JwksKey> {
    let mut entry = entry.clone();
    // RFC 9864 names EdDSA with Ed25519 `Ed25519`, a name that the crate jsonwebtoken does not support yet.
    if entry.get("alg").and_then(Value::as_str) == Some("Ed25519") {
        entry["alg"] = Value::from("EdDSA");
    }
    let jwk: Jwk = serde_json::from_value(entry).ok()?;
    let for_signatures = matches!(
        jwk.common.public_key_use,
        None | Some(PublicKeyUse::Signature)
    );
    if !for_signatures {
        return None;
    }
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if rsa_fits(rsa) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(curve)
            if curve.curve == EllipticCurve::P256
                && bytes_of(&curve.x) == Some(32)
                && bytes_of(&curve.y) == Some(32) =>
        {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        // jsonwebtoken does not check the length of `x`, and would panic.
        AlgorithmParameters::OctetKeyPair(pair)
            if pair.curve == EllipticCurve::Ed25519 && bytes_of(&pair.x) == Some(32) =>
        {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    if jwk.common.key_algorithm.is_some_and(|alg| alg != named) {
        return None;
    }
    Some(JwksKey {
        decoding: DecodingKey::from_jwk(&jwk).ok()?,
        jwk,
        algorithm,
    })
}

fn rsa_fits(rsa: &RSAKeyParameters) -> bool {
    bytes_of(&rsa.n).is_some_and(|bytes| (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&(bytes * 8)))
}

fn bytes_of(base64url: &str) -> Option<usize> {
    URL_SAFE_NO_PAD
        .decode(base64url)
        .ok()
        .map(|bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ed_key(id: &str, x: &[u8]) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": URL_SAFE_NO_PAD.encode(x)})
    }

    fn document(keys: &[Value]) -> String {
        json!({ "keys": keys }).to_string()
    }

    #[test]
    fn a_url_is_distinguished_from_a_path() {
        assert_eq!(
            JwksSource::parse("https://a/b"),
            JwksSource::Url("https://a/b".into())
        );
        assert_eq!(
            JwksSource::parse("a/b.json"),
            JwksSource::File("a/b.json".into())
        );
    }

    #[test]
    fn keys_that_cannot_verify_are_ignored() {
        let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
        let coordinate = URL_SAFE_NO_PAD.encode([1; 32]);
        let unfit = [
            ed_key("short", &[1; 31]),
            json!({"kty": "oct", "kid": "secret", "k": coordinate}),
            json!({"kty": "RSA", "kid": "1024 bits", "n": short, "e": "AQAB"}),
            json!({"kty": "EC", "kid": "other curve", "crv": "P-384", "x": coordinate, "y": coordinate}),
            json!({"kty": "OKP", "kid": "encrypts", "crv": "Ed25519", "use": "enc", "x": coordinate}),
            json!({"kty": "OKP", "kid": "other alg", "crv": "Ed25519", "alg": "HS256", "x": coordinate}),
            json!({"kty": "new", "kid": "unknown"}),
            json!("no object"),
        ];
        assert!(matches!(
            parse(document(&unfit).as_bytes()),
            Err(JwksError::NoKey)
        ));

        let fit = [
            ed_key("a", &[2; 32]),
            json!({"kty": "OKP", "kid": "b", "crv": "Ed25519", "alg": "Ed25519", "use": "sig", "x": coordinate}),
        ];
        let all: Vec<Value> = unfit.into_iter().chain(fit).collect();
        let keys = parse(document(&all).as_bytes()).expect("two are fit");
        let ids: Vec<_> = keys
            .iter()
            .map(|key| key.jwk.common.key_id.as_deref())
            .collect();
        assert_eq!(ids, [Some("a"), Some("b")]);
        assert!(keys.iter().all(|key| key.algorithm == Algorithm::EdDSA));
    }

    #[test]
    fn what_is_no_jwks_is_refused() {
        for text in ["", "[]", "{}", r#"{"keys": {}}"#] {
            let refused = parse(text.as_bytes());
            assert!(matches!(refused, Err(JwksError::Malformed)), "{text}");
        }
    }

    /// Whether a key with this id is found, after a further read if that is allowed.
    async fn finds(jwks: &Arc<Jwks>, id: Option<&str>) -> bool {
        let keys = jwks.keys();
        if keys.find(id).is_some() {
            return true;
        }
        let newer = jwks.newer_than(&keys).await;
        newer.is_some_and(|newer| newer.find(id).is_some())
    }

    #[tokio::test]
    async fn a_missing_key_reads_the_file_again_at_most_once_in_a_while() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let write = |keys: &[Value]| std::fs::write(file.path(), document(keys)).expect("written");
        let source = JwksSource::File(file.path().into());
        let (a, b, c) = (
            ed_key("a", &[1; 32]),
            ed_key("b", &[2; 32]),
            ed_key("c", &[3; 32]),
        );

        write(std::slice::from_ref(&a));
        let jwks = Jwks::open(source).await.expect("readable");
        assert!(finds(&jwks, Some("a")).await);
        assert!(finds(&jwks, None).await, "the only key");

        write(&[a.clone(), b.clone()]);
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

        write(&[c]);
        assert!(!finds(&jwks, Some("c")).await, "too soon");
        assert!(finds(&jwks, Some("a")).await);
    }

    #[tokio::test]
    async fn only_other_keys_are_another_generation() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let write = |text: String| std::fs::write(file.path(), text).expect("written");
        let (a, b) = (ed_key("a", &[1; 32]), ed_key("a", &[2; 32]));
        write(document(std::slice::from_ref(&a)));
        let jwks = Jwks::open_with(JwksSource::File(file.path().into()), Duration::ZERO)
            .await
            .expect("readable");

        let seen = jwks.keys();
        let unused = json!({"kty": "oct", "kid": "secret", "k": "AAAA"});
        write(document(&[unused, a]));
        assert!(jwks.newer_than(&seen).await.is_none(), "the same key");
        write(document(&[b]));
        let newer = jwks.newer_than(&seen).await.expect("another key");
        assert_eq!(newer.generation, seen.generation + 1);
        assert!(newer.find(Some("a")).is_some());
    }

    /// Serves one answer to every request, and returns its URL.
    fn serve(status: &str, body: String) -> String {
        use std::io::{Read, Write};

        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/jwks", listener.local_addr().expect("bound"));
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(format!("{head}{body}").as_bytes());
            }
        });
        url
    }

    #[tokio::test]
    async fn a_url_is_read_up_to_a_limit() {
        let good = document(&[ed_key("a", &[1; 32])]);
        let jwks = Jwks::open(JwksSource::Url(serve("200 OK", good.clone()))).await;
        assert!(finds(&jwks.expect("readable"), Some("a")).await);

        let missing = Jwks::open(JwksSource::Url(serve("404 Not Found", good))).await;
        assert!(
            matches!(missing, Err(JwksError::Unreadable(_))),
            "{missing:?}"
        );
        let long = " ".repeat(2 * 1024 * 1024);
        let long = Jwks::open(JwksSource::Url(serve("200 OK", long))).await;
        assert!(matches!(long, Err(JwksError::TooLarge)), "{long:?}");
        let unreachable = Jwks::open(JwksSource::Url("http://127.0.0.1:1/".into())).await;
        assert!(matches!(unreachable, Err(JwksError::Unreadable(_))));
    }

    #[tokio::test]
    async fn a_broken_document_leaves_the_old_keys() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), document(&[ed_key("a", &[1; 32])])).expect("written");
        let jwks = Jwks::open_with(JwksSource::File(file.path().into()), Duration::ZERO)
            .await
            .expect("readable");

        std::fs::write(file.path(), "{").expect("written");
        assert!(!finds(&jwks, Some("b")).await);
        assert!(finds(&jwks, Some("a")).await);

        std::fs::write(file.path(), document(&[ed_key("b", &[2; 32])])).expect("written");
        assert!(finds(&jwks, Some("b")).await);
        assert!(!finds(&jwks, Some("a")).await, "withdrawn");
    }
}
