//! Verifies bearer tokens: signed JWTs of one issuer, meant for this service.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::auth::caller::Caller;
use crate::auth::jwks::Jwks;
use crate::auth::scope::Scope;
use crate::error::{Error, Result};
use crate::limits::{
    ID_CHARS_MAX, TOKEN_LEEWAY, TOKEN_MEMBERSHIPS_MAX, TOKEN_REMEMBERED_MAX,
    TOKEN_SUBJECT_CHARS_MAX, TOKENS_REMEMBERED_MAX,
};
use crate::types::ids::{CompanyId, EnterpriseId, FirmId, TenantId};
use crate::types::text;

type Claims = Map<String, Value>;

/// Verifies tokens, and remembers those that were good: a signature costs more than the call it is sent with.
#[derive(Debug)]
pub struct Verifier {
    issuer: String,
    audience: String,
    keys: Arc<Jwks>,
    remembered: RwLock<HashMap<Digested, Remembered>>,
}

/// SHA-256 of a token: the tokens themselves are kept nowhere.
type Digested = [u8; 32];

#[derive(Clone, Debug)]
struct Remembered {
    caller: Arc<Caller>,
    expires: UnixSeconds,
    verified_at: Instant,
}

/// Seconds since 1970, with fractions, as JWTs have them.
type UnixSeconds = f64;

/// One look at both clocks.
#[derive(Clone, Copy, Debug)]
struct Now {
    unix: UnixSeconds,
    instant: Instant,
}

impl Now {
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

impl Verifier {
    /// Verifies tokens of this issuer that are meant for this audience.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>, keys: Arc<Jwks>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            keys,
            remembered: RwLock::default(),
        }
    }

    /// The bearer of a token.
    ///
    /// Errors are `TokenInvalid`, and `TokenExpired` for a token that is good but for its age. No text repeats anything
    /// of the token.
    pub async fn verify(&self, token: &str) -> Result<Arc<Caller>> {
        self.verify_at(token, Now::read()).await
    }

    async fn verify_at(&self, token: &str, now: Now) -> Result<Arc<Caller>> {
        let digest: Digested = Sha256::digest(token).into();
        if let Some(remembered) = self.recall(&digest, now) {
            return if now.is_past(remembered.expires) {
                Err(Error::TokenExpired)
            } else {
                Ok(remembered.caller)
            };
        }
        let claims = self.verified_claims(token).await?;
        let (caller, expires) = self.judge(&claims, now)?;
        let caller = Arc::new(caller);
        self.remember(
            digest,
            Remembered {
                caller: Arc::clone(&caller),
                expires,
                verified_at: now.instant,
            },
        );
        Ok(caller)
    }

    fn recall(&self, digest: &Digested, now: Now) -> Option<Remembered> {
        let remembered = self
            .remembered
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        remembered
            .get(digest)
            .filter(|found| found.is_fresh(now.instant))
            .cloned()
    }

    fn remember(&self, digest: Digested, verified: Remembered) {
        let mut remembered = self
            .remembered
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= TOKENS_REMEMBERED_MAX {
            remembered.retain(|_, old| old.is_fresh(verified.verified_at));
        }
        // All of them fresh: so many callers at once verify anew now and then, which is cheaper than a list of last uses.
        if remembered.len() >= TOKENS_REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(digest, verified);
    }

    /// The claims of a token whose signature is good.
    async fn verified_claims(&self, token: &str) -> Result<Claims> {
        let header = decode_header(token).map_err(|_| {
            invalid("it is not a JWT, or its header names an algorithm that is not served")
        })?;
        if header.crit.is_some() {
            return Err(invalid("its header has extensions that are not served"));
        }
        let Some(key) = self.keys.find(header.kid.as_deref()).await else {
            return Err(invalid(match header.kid {
                Some(_) => "the issuer has no key with its `kid`",
                None => "it has no `kid`, and the issuer has several keys",
            }));
        };
        // The key says which algorithm it serves. A header could name one under which a public key is a secret.
        if header.alg != key.algorithm {
            return Err(invalid("its key serves another algorithm"));
        }
        let mut signature_alone = Validation::new(key.algorithm);
        signature_alone.required_spec_claims.clear();
        signature_alone.validate_exp = false;
        signature_alone.validate_aud = false;
        match decode::<Claims>(token, &key.decoding, &signature_alone) {
            Ok(verified) => Ok(verified.claims),
            Err(error) => Err(invalid(match error.kind() {
                ErrorKind::InvalidSignature => "its signature is wrong",
                _ => "it is malformed",
            })),
        }
    }

    /// Judges claims whose signature is good; `exp` last, so that TOKEN_EXPIRED means that only a newer one is needed.
    fn judge(&self, claims: &Claims, now: Now) -> Result<(Caller, UnixSeconds)> {
        if optional_text(claims, "iss")? != Some(&self.issuer) {
            return Err(invalid("`iss` is not the issuer that this server trusts"));
        }
        let Some(audiences) = one_or_many(claims, "aud")? else {
            return Err(invalid("it has no `aud`"));
        };
        if !audiences.contains(&self.audience.as_str()) {
            return Err(invalid("`aud` does not name this service"));
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
            return Err(invalid("`nbf` is in the future"));
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

impl Remembered {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.verified_at) < TOKEN_REMEMBERED_MAX
    }
}

fn invalid(why: impl Into<String>) -> Error {
    Error::TokenInvalid(why.into())
}

fn subject(claims: &Claims) -> Result<String> {
    let subject = match optional_text(claims, "sub")? {
        Some(subject) => subject,
        None => optional_text(claims, "client_id")?
            .ok_or_else(|| invalid("it has neither `sub` nor `client_id`"))?,
    };
    // It is stored with what the bearer does.
    text::check_required(subject, TOKEN_SUBJECT_CHARS_MAX).map_err(|_| {
        invalid(format!(
            "its subject must have 1 to {TOKEN_SUBJECT_CHARS_MAX} characters, none of them NUL"
        ))
    })?;
    Ok(subject.into())
}

/// The scopes that this server knows; a token may well have others.
fn scopes(claims: &Claims) -> Result<Vec<Scope>> {
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

fn enterprises(claims: &Claims) -> Result<Option<Vec<EnterpriseId>>> {
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

/// A string, or an integer, which is the same firm as the string of its digits.
fn firm(claims: &Claims) -> Result<Option<FirmId>> {
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

fn tenant(claims: &Claims) -> Result<Option<TenantId>> {
    let Some(text) = optional_text(claims, "tenant")? else {
        return Ok(None);
    };
    match parse_uuid(text) {
        Some(id) => Ok(Some(TenantId(id))),
        None => Err(invalid("`tenant` must be a UUID")),
    }
}

/// Only the hyphenated form: the crate would take others too.
fn parse_uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok())?
}

fn companies(claims: &Claims) -> Result<Option<Vec<CompanyId>>> {
    let Some(values) = memberships(claims, "companies")? else {
        return Ok(None);
    };
    let ids: Option<Vec<i64>> = values.iter().map(Value::as_i64).collect();
    match ids {
        Some(ids) => Ok(Some(ids.into_iter().map(CompanyId).collect())),
        None => Err(invalid("`companies` must hold integers")),
    }
}

fn memberships<'c>(claims: &'c Claims, name: &str) -> Result<Option<&'c [Value]>> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(values)) if values.len() <= TOKEN_MEMBERSHIPS_MAX => Ok(Some(values)),
        Some(Value::Array(_)) => Err(invalid(format!(
            "`{name}` has more than {TOKEN_MEMBERSHIPS_MAX} values"
        ))),
        Some(_) => Err(invalid(format!("`{name}` must be an array"))),
    }
}

fn optional_text<'c>(claims: &'c Claims, name: &str) -> Result<Option<&'c String>> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(format!("`{name}` must be a string"))),
    }
}

fn optional_number(claims: &Claims, name: &str) -> Result<Option<UnixSeconds>> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => Err(invalid(format!("`{name}` must be a number"))),
        },
    }
}

fn one_or_many<'c>(claims: &'c Claims, name: &str) -> Result<Option<Vec<&'c str>>> {
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
