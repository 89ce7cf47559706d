//! Verifies bearer tokens: JWTs that the configured issuer has signed for the configured audience.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Header, Validation, decode, decode_header};
use sha2::{Digest, Sha256};

use crate::auth::caller::Caller;
use crate::auth::claims::{ClaimNames, FoundClaim, TokenClaims};
use crate::auth::jwks::{Jwks, JwksKey, JwksKeySet, NoCandidate};
use crate::error::{Error, Result};
use crate::limits::{
    TOKEN_LEEWAY, TOKEN_LIFETIME_MAX, TOKEN_REMEMBERED_MAX, TOKENS_REMEMBERED_MAX,
};

/// What a token must be to be accepted, besides its signature.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// The claim `iss`, to the letter.
    pub issuer: String,
    /// A value of the claim `aud`, to the letter.
    pub audience: String,
    /// How far ahead of now the claim `exp` may be.
    pub lifetime_max: Duration,
    /// Where the other claims are found.
    pub claims: ClaimNames,
}

impl TokenRules {
    /// The default rules for tokens of this issuer for this audience.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            lifetime_max: TOKEN_LIFETIME_MAX,
            claims: ClaimNames::default(),
        }
    }
}

/// Verifies tokens, and caches the result: verifying a signature takes more processor time than a typical call.
#[derive(Debug)]
pub struct TokenVerifier {
    rules: TokenRules,
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
    /// A verifier that requires a signature by one of the keys, and claims by these rules.
    pub fn new(rules: TokenRules, keys: Arc<Jwks>) -> Self {
        Self {
            rules,
            keys,
            cache: RwLock::default(),
        }
    }

    /// Whether there are keys to verify tokens with. If not, every call that needs a token is refused.
    pub(crate) fn has_keys(&self) -> bool {
        self.keys.is_usable()
    }

    /// Verifies a token and returns its bearer.
    ///
    /// # Errors
    /// `TokenExpired` for a token that is valid but for its `exp`, `TokenInvalid` or `ClaimInvalid` for any other fault,
    /// `KeysUnavailable` if there is nothing to verify it with. The texts contain nothing of the token but names of claims.
    pub(crate) async fn verify(&self, token: &str) -> Result<Arc<Caller>> {
        self.verify_at(token, ClockReading::read()).await
    }

    async fn verify_at(&self, token: &str, now: ClockReading) -> Result<Arc<Caller>> {
        // The slow ways in boxes, so that the calls whose token is remembered do not carry their state.
        let keys = match self.keys.fresh() {
            Some(keys) => keys,
            None => Box::pin(self.keys.fresh_or_stale()).await?,
        };
        let digest: TokenDigest = Sha256::digest(token).into();
        if let Some(cached) = self.cached(&digest, keys.generation, now) {
            return if now.is_past(cached.expires) {
                Err(Error::TokenExpired)
            } else {
                Ok(cached.caller)
            };
        }
        let (claims, generation) = Box::pin(self.verified_claims(token, keys)).await?;
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

    fn cached(
        &self,
        digest: &TokenDigest,
        generation: u64,
        now: ClockReading,
    ) -> Option<CachedToken> {
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
    async fn verified_claims(
        &self,
        token: &str,
        mut keys: Arc<JwksKeySet>,
    ) -> Result<(TokenClaims, u64)> {
        let header = decode_header(token).map_err(|_| {
            invalid("it is not a JWT, or its `alg` is not one that this server supports")
        })?;
        if header.crit.is_some() {
            return Err(invalid(
                "its `crit` demands extensions that this server does not support",
            ));
        }
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
        let issuer = required(claims, "iss")?;
        if issuer.text()? != self.rules.issuer {
            return Err(issuer.breaks("is not the issuer that this server trusts"));
        }
        let audience = required(claims, "aud")?;
        if !audience.texts()?.contains(&self.rules.audience.as_str()) {
            return Err(audience.breaks("does not contain this service's audience"));
        }
        let names = &self.rules.claims;
        let caller = Caller {
            issuer: self.rules.issuer.clone(),
            subject: names.subject(claims)?,
            scopes: names.scopes(claims)?,
            enterprises: names.enterprises(claims),
            enterprises_claim: names.enterprises_claim(claims),
            firm: names.firm(claims),
            tenant: names.tenant(claims),
            companies: names.companies(claims),
        };

        if let Some(not_before) = FoundClaim::at_top(claims, "nbf")
            && not_before.number()? > now.unix + TOKEN_LEEWAY.as_secs_f64()
        {
            return Err(not_before.breaks("is in the future"));
        }
        let expiry = required(claims, "exp")?;
        let expires = expiry.number()?;
        let latest = now.unix + self.rules.lifetime_max.as_secs_f64();
        if expires > latest + TOKEN_LEEWAY.as_secs_f64() {
            let max = humantime::format_duration(self.rules.lifetime_max);
            let rule = format!("is more than {max} ahead, the longest that this server accepts");
            return Err(expiry.breaks(&rule));
        }
        if now.is_past(expires) {
            return Err(Error::TokenExpired);
        }
        Ok((caller, expires))
    }
}

/// A claim that every token must have at its top.
fn required<'c>(claims: &'c TokenClaims, name: &'c str) -> Result<FoundClaim<'c>> {
    FoundClaim::at_top(claims, name).ok_or_else(|| Error::ClaimInvalid {
        claim: name.into(),
        why: format!("it has no `{name}`"),
    })
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
///
/// The key determines the algorithm. A header could name HS256, which would take the public key for a shared secret.
fn signed_claims(
    token: &str,
    header: &Header,
    keys: &JwksKeySet,
) -> std::result::Result<TokenClaims, SignatureFault> {
    let candidates = keys
        .candidates(header.kid.as_deref(), header.alg)
        .map_err(|none| {
            SignatureFault::KeysDoNotFit(match none {
                NoCandidate::UnknownId => "the issuer's JWKS has no key with its `kid`",
                NoCandidate::IdMissing => "it has no `kid`, and the issuer's JWKS has several keys",
                NoCandidate::OtherAlgorithm => "its `alg` is not that of the key with its `kid`",
            })
        })?;
    let mut fault = SignatureFault::KeysDoNotFit(WRONG_SIGNATURE);
    for key in candidates {
        match claims_signed_by(token, key) {
            Err(tried) => fault = tried,
            signed => return signed,
        }
    }
    Err(fault)
}

const WRONG_SIGNATURE: &str = "its signature is wrong";

fn claims_signed_by(
    token: &str,
    key: &JwksKey,
) -> std::result::Result<TokenClaims, SignatureFault> {
    let mut signature_only = Validation::new(key.algorithm);
    signature_only.required_spec_claims.clear();
    signature_only.validate_exp = false;
    signature_only.validate_aud = false;
    match decode::<TokenClaims>(token, &key.decoding, &signature_only) {
        Ok(verified) => Ok(verified.claims),
        Err(error) => Err(match error.kind() {
            ErrorKind::InvalidToken
            | ErrorKind::Base64(_)
            | ErrorKind::Json(_)
            | ErrorKind::Utf8(_) => SignatureFault::TokenMalformed("it is malformed"),
            // Among the others are faults of the key, such as a point that is not on its curve.
            _ => SignatureFault::KeysDoNotFit(WRONG_SIGNATURE),
        }),
    }
}

fn invalid(why: impl Into<String>) -> Error {
    Error::TokenInvalid(why.into())
}

#[cfg(all(test, feature = "dev"))]
mod tests;
