//! Verifies bearer tokens: JWTs that the configured issuer has signed for the configured audience.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Header, Validation, decode, decode_header};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::auth::caller::Caller;
use crate::auth::jwks::{Jwks, JwksKeySet};
use crate::auth::scope::Scope;
use crate::error::{Error, Result};
use crate::limits::{
    ID_CHARS_MAX, TOKEN_LEEWAY, TOKEN_MEMBERSHIPS_MAX, TOKEN_REMEMBERED_MAX,
    TOKEN_SUBJECT_CHARS_MAX, TOKENS_REMEMBERED_MAX,
};
use crate::types::ids::{CompanyId, EnterpriseId, FirmId, TenantId};
use crate::types::text;

type TokenClaims = Map<String, Value>;

/// Verifies tokens, and caches the result: verifying a signature takes more processor time than a typical call.
#[derive(Debug)]
pub struct TokenVerifier {
    issuer: String,
    audience: String,
    keys: Arc<Jwks>,
    cache: RwLock<TokenCache>,
}

/// The tokens that were verified by one generation of the issuer's keys. It is emptied when a token was verified by a
/// later one, and unused as soon as there is one: what a withdrawn key has signed is not accepted from memory.
#[derive(Debug, Default)]
struct TokenCache {
    generation: u64,
    tokens: HashMap<TokenDigest, CachedToken>,
}

/// SHA-256 of a token. The cache is keyed by it, so that no token is kept in memory.
type TokenDigest = [u8; 32];

/// The result of a verification.
#[derive(Clone, Debug)]
struct CachedToken {
    caller: Arc<Caller>,
    expires: UnixSeconds,
    verified_at: Instant,
}

/// Seconds since 1970-01-01 UTC, with fractions: a JWT's NumericDate (RFC 7519 §2).
type UnixSeconds = f64;

/// The wall clock and the monotonic clock, read at the same time.
#[derive(Clone, Copy, Debug)]
struct ClockReading {
    unix: UnixSeconds,
    instant: Instant,
}

impl ClockReading {
    fn read() -> Self {
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
            .as_secs_f64();
        Self {
            unix,
            instant: Instant::now(),
        }
    }

    fn is_past(self, expires: UnixSeconds) -> bool {
        self.unix >= expires + TOKEN_LEEWAY.as_secs_f64()
    }
}

impl TokenVerifier {
    /// A verifier that requires this `iss`, this value among the `aud`, and a signature by one of the keys.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>, keys: Arc<Jwks>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            keys,
            cache: RwLock::default(),
        }
    }

    /// Verifies a token and returns its bearer.
    ///
    /// # Errors
    /// `TokenExpired` for a token that is valid but for its `exp`, `TokenInvalid` for any other fault. The texts contain
    /// nothing of the token.
    pub(crate) async fn verify(&self, token: &str) -> Result<Arc<Caller>> {
        self.verify_at(token, ClockReading::read()).await
    }

    async fn verify_at(&self, token: &str, now: ClockReading) -> Result<Arc<Caller>> {
        let digest: TokenDigest = Sha256::digest(token).into();
        if let Some(cached) = self.cached(&digest, now) {
            return if now.is_past(cached.expires) {
                Err(Error::TokenExpired)
            } else {
                Ok(cached.caller)
            };
        }
        // In a box, so that the calls whose token is remembered do not carry the state of a verification.
        let (claims, generation) = Box::pin(self.verified_claims(token)).await?;
        let (caller, expires) = self.check_claims(&claims, now)?;
        let caller = Arc::new(caller);
        let verified = CachedToken {
            caller: Arc::clone(&caller),
            expires,
            verified_at: now.instant,
        };
        self.store(digest, verified, generation);
        Ok(caller)
    }

    fn cached(&self, digest: &TokenDigest, now: ClockReading) -> Option<CachedToken> {
        let generation = self.keys.generation();
        let cache = self.cache.read().unwrap_or_else(PoisonError::into_inner);
        if cache.generation != generation {
            return None;
        }
        cache
            .tokens
            .get(digest)
            .filter(|found| found.is_fresh(now.instant))
            .cloned()
    }

    fn store(&self, digest: TokenDigest, verified: CachedToken, generation: u64) {
        let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
        if generation < cache.generation {
            return;
        }
        if generation > cache.generation {
            cache.tokens.clear();
            cache.generation = generation;
        }
        if cache.tokens.len() >= TOKENS_REMEMBERED_MAX {
            cache
                .tokens
                .retain(|_, old| old.is_fresh(verified.verified_at));
        }
        // Still full of fresh tokens: emptying it costs one more verification per token, and no LRU list on every call.
        if cache.tokens.len() >= TOKENS_REMEMBERED_MAX {
            cache.tokens.clear();
        }
        cache.tokens.insert(digest, verified);
    }

    /// Verifies the signature. Returns the claims, which are not checked yet, and the generation of the keys.
    ///
    /// A token that no key at hand verifies is tried once more by newer keys: its issuer may have added a key, or
    /// replaced one under the same `kid`.
    async fn verified_claims(&self, token: &str) -> Result<(TokenClaims, u64)> {
        let header = decode_header(token).map_err(|_| {
            invalid("it is not a JWT, or its `alg` is none that this server supports")
        })?;
        if header.crit.is_some() {
            return Err(invalid(
                "its `crit` demands extensions that this server does not support",
            ));
        }
        let mut keys = self.keys.keys();
        let mut signed = signed_claims(token, &header, &keys);
        if let Err(SignatureFault::KeysDoNotFit(_)) = signed
            && let Some(newer) = self.keys.newer_than(&keys).await
        {
            signed = signed_claims(token, &header, &newer);
            keys = newer;
        }
        match signed {
            Ok(claims) => Ok((claims, keys.generation)),
            Err(SignatureFault::KeysDoNotFit(why) | SignatureFault::TokenMalformed(why)) => {
                Err(invalid(why))
            }
        }
    }

    /// Checks the claims of a token whose signature is valid. `exp` is last, so that TOKEN_EXPIRED means that the same
    /// token with a later `exp` would be accepted.
    fn check_claims(
        &self,
        claims: &TokenClaims,
        now: ClockReading,
    ) -> Result<(Caller, UnixSeconds)> {
        if optional_text(claims, "iss")? != Some(&self.issuer) {
            return Err(invalid(
                "its `iss` is not the issuer that this server trusts",
            ));
        }
        let Some(audiences) = one_or_many(claims, "aud")? else {
            return Err(invalid("it has no `aud`"));
        };
        if !audiences.contains(&self.audience.as_str()) {
            return Err(invalid(
                "its `aud` does not contain this service's audience",
            ));
        }
        let caller = Caller {
            issuer: self.issuer.clone(),
            subject: subject(claims)?,
            scopes: scopes(claims)?,
            enterprises: enterprises(claims)?,
            firm: firm(claims)?,
            tenant: tenant(claims)?,
            companies: companies(claims)?,
        };

        if let Some(not_before) = optional_number(claims, "nbf")?
            && not_before > now.unix + TOKEN_LEEWAY.as_secs_f64()
        {
            return Err(invalid("its `nbf` is in the future"));
        }
        let Some(expires) = optional_number(claims, "exp")? else {
            return Err(invalid("it has no `exp`"));
        };
        if now.is_past(expires) {
            return Err(Error::TokenExpired);
        }
        Ok((caller, expires))
    }
}

impl CachedToken {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.verified_at) < TOKEN_REMEMBERED_MAX
    }
}

/// Why a token's signature is not accepted.
enum SignatureFault {
    /// No key verifies it; a later version of the keys may.
    KeysDoNotFit(&'static str),
    /// The token cannot be read, whatever the keys.
    TokenMalformed(&'static str),
}

/// The claims of a token that one of the keys has signed.
fn signed_claims(
    token: &str,
    header: &Header,
    keys: &JwksKeySet,
) -> std::result::Result<TokenClaims, SignatureFault> {
    let Some(key) = keys.find(header.kid.as_deref()) else {
        return Err(SignatureFault::KeysDoNotFit(match header.kid {
            Some(_) => "the issuer's JWKS has no key with its `kid`",
            None => "it has no `kid`, and the issuer's JWKS has several keys",
        }));
    };
    // The key determines the algorithm. A header could name HS256, which would take the public key
    // for a shared secret.
    if header.alg != key.algorithm {
        return Err(SignatureFault::KeysDoNotFit(
            "its `alg` is not that of the key with its `kid`",
        ));
    }
    let mut signature_only = Validation::new(key.algorithm);
    signature_only.required_spec_claims.clear();
    signature_only.validate_exp = false;
    signature_only.validate_aud = false;
    match decode::<TokenClaims>(token, &key.decoding, &signature_only) {
        Ok(verified) => Ok(verified.claims),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidSignature => SignatureFault::KeysDoNotFit("its signature is wrong"),
            _ => SignatureFault::TokenMalformed("it is malformed"),
        }),
    }
}

fn invalid(why: impl Into<String>) -> Error {
    Error::TokenInvalid(why.into())
}

fn subject(claims: &TokenClaims) -> Result<String> {
    let subject = match optional_text(claims, "sub")? {
        Some(subject) => subject,
        None => optional_text(claims, "client_id")?
            .ok_or_else(|| invalid("it has neither `sub` nor `client_id`"))?,
    };
    // The subject is stored with the records that the bearer writes.
    text::check_required(subject, TOKEN_SUBJECT_CHARS_MAX).map_err(|_| {
        invalid(format!(
            "its subject must have 1 to {TOKEN_SUBJECT_CHARS_MAX} characters, none of them NUL"
        ))
    })?;
    Ok(subject.into())
}

/// Those scopes of the token that this server uses, each once; others are ignored.
fn scopes(claims: &TokenClaims) -> Result<Vec<Scope>> {
    let mut scopes = Vec::new();
    for text in one_or_many(claims, "scope")?.unwrap_or_default() {
        for scope in text.split_ascii_whitespace().filter_map(Scope::parse) {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        }
    }
    Ok(scopes)
}

fn enterprises(claims: &TokenClaims) -> Result<Option<Vec<EnterpriseId>>> {
    let Some(values) = memberships(claims, "enterprises")? else {
        return Ok(None);
    };
    let ids = values.iter().map(|value| parse_uuid(value.as_str()?));
    let ids: Option<Vec<EnterpriseId>> = ids.map(|id| id.map(EnterpriseId)).collect();
    match ids {
        Some(ids) => Ok(Some(ids)),
        None => Err(invalid("`enterprises` must hold UUIDs")),
    }
}

/// The claim `firm_id`: a string, or an integer, which denotes the same firm as the string of its digits.
fn firm(claims: &TokenClaims) -> Result<Option<FirmId>> {
    let id = match claims.get("firm_id") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => number.to_string(),
        Some(_) => return Err(invalid("`firm_id` must be a string or an integer")),
    };
    match text::check_required(&id, ID_CHARS_MAX) {
        Ok(()) => Ok(Some(FirmId(id))),
        Err(_) => Err(invalid(format!(
            "`firm_id` must have 1 to {ID_CHARS_MAX} characters, none of them NUL"
        ))),
    }
}

fn tenant(claims: &TokenClaims) -> Result<Option<TenantId>> {
    let Some(text) = optional_text(claims, "tenant")? else {
        return Ok(None);
    };
    match parse_uuid(text) {
        Some(id) => Ok(Some(TenantId(id))),
        None => Err(invalid("`tenant` must be a UUID")),
    }
}

/// Reads a UUID in its hyphenated form; the crate `uuid` would accept other forms too.
fn parse_uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok())?
}

fn companies(claims: &TokenClaims) -> Result<Option<Vec<CompanyId>>> {
    let Some(values) = memberships(claims, "companies")? else {
        return Ok(None);
    };
    let ids: Option<Vec<i64>> = values.iter().map(Value::as_i64).collect();
    match ids {
        Some(ids) => Ok(Some(ids.into_iter().map(CompanyId).collect())),
        None => Err(invalid("`companies` must hold integers")),
    }
}

fn memberships<'c>(claims: &'c TokenClaims, name: &str) -> Result<Option<&'c [Value]>> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(values)) if values.len() <= TOKEN_MEMBERSHIPS_MAX => Ok(Some(values)),
        Some(Value::Array(_)) => Err(invalid(format!(
            "`{name}` has more than {TOKEN_MEMBERSHIPS_MAX} values"
        ))),
        Some(_) => Err(invalid(format!("`{name}` must be an array"))),
    }
}

fn optional_text<'c>(claims: &'c TokenClaims, name: &str) -> Result<Option<&'c String>> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(format!("`{name}` must be a string"))),
    }
}

fn optional_number(claims: &TokenClaims, name: &str) -> Result<Option<UnixSeconds>> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => Err(invalid(format!("`{name}` must be a number"))),
        },
    }
}

fn one_or_many<'c>(claims: &'c TokenClaims, name: &str) -> Result<Option<Vec<&'c str>>> {
    let texts: Option<Vec<&str>> = match claims.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => Some(vec![text]),
        Some(Value::Array(values)) => values.iter().map(Value::as_str).collect(),
        Some(_) => None,
    };
    match texts {
        Some(texts) => Ok(Some(texts)),
        None => Err(invalid(format!(
            "`{name}` must be a string or an array of strings"
        ))),
    }
}

#[cfg(all(test, feature = "dev"))]
mod tests;
