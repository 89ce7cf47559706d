//! A JWKS document: its keys that can verify tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations,
    PublicKeyUse, RSAKeyParameters,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use crate::limits::{JWKS_BYTES_MAX, JWKS_KEYS_MAX};

/// The shortest RSA modulus that is accepted (RFC 7518 §3.3).
const RSA_BITS_MIN: usize = 2048;
/// The longest RSA modulus that is accepted: the time of a verification grows with its square.
const RSA_BITS_MAX: usize = 4096;

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
    /// The issuer's discovery document does not lead to a JWKS; the text says why.
    #[error("OpenID discovery failed: {0}")]
    Discovery(String),
    /// The file with further root certificates cannot be used; the text says why.
    #[error("the root certificates cannot be used: {0}")]
    Roots(String),
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

impl PartialEq for JwksKey {
    fn eq(&self, other: &Self) -> bool {
        self.jwk == other.jwk
    }
}

impl JwksKey {
    /// The member `kid`, if the key has one.
    pub(crate) fn id(&self) -> Option<&str> {
        self.jwk.common.key_id.as_deref()
    }
}

/// The usable keys of a JWKS, which may be none. Others are ignored, as RFC 7517 §5 prescribes.
pub(super) fn parse(text: &[u8]) -> Result<Vec<JwksKey>, JwksError> {
    let document: Value = serde_json::from_slice(text).map_err(|_| JwksError::Malformed)?;
    let Some(Value::Array(entries)) = document.get("keys") else {
        return Err(JwksError::Malformed);
    };
    let usable = entries.iter().take(JWKS_KEYS_MAX).filter_map(usable_key);
    Ok(usable.collect())
}

fn usable_key(entry: &Value) -> Option<JwksKey> {
    let mut entry = entry.clone();
    // RFC 9864 names EdDSA with Ed25519 `Ed25519`, a name that the crate jsonwebtoken does not support yet.
    if entry.get("alg").and_then(Value::as_str) == Some("Ed25519") {
        entry["alg"] = Value::from("EdDSA");
    }
    let jwk: Jwk = serde_json::from_value(entry).ok()?;
    if !is_for_verification(&jwk.common) {
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

/// Whether `use` and `key_ops`, each if it is there, allow the verification of signatures.
fn is_for_verification(key: &CommonParameters) -> bool {
    let use_fits = matches!(key.public_key_use, None | Some(PublicKeyUse::Signature));
    let operations = key.key_operations.as_ref();
    use_fits && operations.is_none_or(|allowed| allowed.contains(&KeyOperations::Verify))
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

    fn document(keys: &[Value]) -> String {
        json!({ "keys": keys }).to_string()
    }

    #[test]
    fn keys_that_cannot_verify_are_ignored() {
        let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
        let coordinate = URL_SAFE_NO_PAD.encode([1; 32]);
        let ed = |more: Value| {
            let mut key = json!({"kty": "OKP", "crv": "Ed25519", "x": coordinate});
            for (name, value) in more.as_object().expect("an object") {
                key[name] = value.clone();
            }
            key
        };
        let unfit = [
            ed(json!({"kid": "short", "x": URL_SAFE_NO_PAD.encode([1; 31])})),
            json!({"kty": "oct", "kid": "secret", "k": coordinate}),
            json!({"kty": "RSA", "kid": "1024 bits", "n": short, "e": "AQAB"}),
            json!({"kty": "EC", "kid": "other curve", "crv": "P-384", "x": coordinate, "y": coordinate}),
            ed(json!({"kid": "encrypts", "use": "enc"})),
            ed(json!({"kid": "other alg", "alg": "HS256"})),
            ed(json!({"kid": "alg of later times", "alg": "ML-DSA-44"})),
            ed(json!({"kid": "signs only", "key_ops": ["sign"]})),
            ed(json!({"kid": "does nothing", "key_ops": []})),
            ed(json!({"kid": "ops no list", "key_ops": "verify"})),
            ed(json!({"kid": "derives", "use": "sig", "key_ops": ["deriveKey"]})),
            json!({"kty": "new", "kid": "unknown"}),
            json!("no object"),
        ];
        assert_eq!(parse(document(&unfit).as_bytes()).expect("a JWKS"), []);

        let fit = [
            ed(json!({"kid": "a"})),
            ed(json!({"kid": "b", "alg": "Ed25519", "use": "sig"})),
            ed(json!({"kid": "c", "alg": "EdDSA", "key_ops": ["verify"]})),
            ed(json!({"kid": "d", "key_ops": ["sign", "verify", "of later times"]})),
        ];
        let all: Vec<Value> = unfit.into_iter().chain(fit).collect();
        let keys = parse(document(&all).as_bytes()).expect("four are fit");
        let ids: Vec<_> = keys.iter().map(JwksKey::id).collect();
        assert_eq!(ids, [Some("a"), Some("b"), Some("c"), Some("d")]);
        assert!(keys.iter().all(|key| key.algorithm == Algorithm::EdDSA));
    }

    #[test]
    fn what_is_no_jwks_is_refused() {
        for text in ["", "[]", "{}", r#"{"keys": {}}"#, "<html></html>"] {
            let refused = parse(text.as_bytes());
            assert!(matches!(refused, Err(JwksError::Malformed)), "{text}");
        }
    }
}
