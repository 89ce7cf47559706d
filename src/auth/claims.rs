//! Reads the claims of a token whose signature was verified.

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::auth::scope::Scope;
use crate::error::{Error, Result};
use crate::limits::{ID_CHARS_MAX, TOKEN_MEMBERSHIPS_MAX, TOKEN_SUBJECT_CHARS_MAX};
use crate::types::ids::{CompanyId, EnterpriseId, FirmId, TenantId};
use crate::types::text;

/// The payload of a token.
pub(super) type TokenClaims = Map<String, Value>;

/// The names of the claims that issuers may choose. Each claim has several, of which the first that a token has counts.
///
/// A name is that of a member at the top of the token, to the letter. Only if there is none, its dots are read as
/// nesting: `ext.tenant` is then the member `tenant` of the object `ext`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    /// The scopes: a text with spaces between, or a list of such texts.
    pub scope: Vec<String>,
    /// Who the bearer is.
    pub subject: Vec<String>,
    /// The enterprises that the bearer is a member of.
    pub enterprises: Vec<String>,
    /// The tenant whose buckets the bearer uses.
    pub tenant: Vec<String>,
    /// The firm whose CAS allocations the bearer uses.
    pub firm: Vec<String>,
    /// The companies whose catalogues the bearer uses.
    pub companies: Vec<String>,
}

impl Default for ClaimNames {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().copied().map(Into::into).collect();
        Self {
            scope: names(&["scope", "scp"]),
            subject: names(&["sub", "client_id"]),
            enterprises: names(&["enterprises"]),
            tenant: names(&["tenant"]),
            firm: names(&["firm_id"]),
            companies: names(&["companies"]),
        }
    }
}

/// A claim of a token, under the name by which it was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundClaim<'c> {
    name: &'c str,
    value: &'c Value,
}

impl<'c> FoundClaim<'c> {
    /// The claim at the top of the token with this name. A null counts as no claim.
    pub(super) fn at_top(claims: &'c TokenClaims, name: &'c str) -> Option<Self> {
        let value = claims.get(name).filter(|value| !value.is_null())?;
        Some(Self { name, value })
    }

    fn first_of(claims: &'c TokenClaims, names: &'c [String]) -> Option<Self> {
        names.iter().find_map(|name| {
            if claims.contains_key(name) {
                return Self::at_top(claims, name);
            }
            let (top, below) = name.split_once('.')?;
            let mut parts = below.split('.');
            let value = parts.try_fold(claims.get(top)?, |object, part| object.get(part))?;
            (!value.is_null()).then_some(Self { name, value })
        })
    }

    /// The error of a claim that breaks this rule, which continues a sentence: `must be a UUID`.
    pub(super) fn breaks(self, rule: &str) -> Error {
        Error::ClaimInvalid {
            claim: self.name.into(),
            why: format!("its `{}` {rule}", self.name),
        }
    }

    pub(super) fn text(self) -> Result<&'c str> {
        self.value
            .as_str()
            .ok_or_else(|| self.breaks("must be a string"))
    }

    pub(super) fn number(self) -> Result<f64> {
        self.value
            .as_f64()
            .ok_or_else(|| self.breaks("must be a number"))
    }

    /// One text, or a list of them.
    pub(super) fn texts(self) -> Result<Vec<&'c str>> {
        let texts: Option<Vec<&str>> = match self.value {
            Value::String(text) => Some(vec![text]),
            Value::Array(values) => values.iter().map(Value::as_str).collect(),
            _ => None,
        };
        texts.ok_or_else(|| self.breaks("must be a string or an array of strings"))
    }

    /// A list of at most [`TOKEN_MEMBERSHIPS_MAX`] values, each of which `read` takes.
    fn memberships<T>(self, what: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>> {
        let Value::Array(values) = self.value else {
            return Err(self.breaks("must be an array"));
        };
        if values.len() > TOKEN_MEMBERSHIPS_MAX {
            let rule = format!("has more than {TOKEN_MEMBERSHIPS_MAX} values");
            return Err(self.breaks(&rule));
        }
        let read: Option<Vec<T>> = values.iter().map(read).collect();
        read.ok_or_else(|| self.breaks(&format!("must hold {what}")))
    }
}

impl ClaimNames {
    /// The subject, which is stored with the records that the bearer writes.
    pub(super) fn subject(&self, claims: &TokenClaims) -> Result<String> {
        let Some(claim) = FoundClaim::first_of(claims, &self.subject) else {
            return Err(self.missing_subject());
        };
        let subject = claim.text()?;
        match text::check_required(subject, TOKEN_SUBJECT_CHARS_MAX) {
            Ok(()) => Ok(subject.into()),
            Err(_) => {
                let rule = format!(
                    "must have 1 to {TOKEN_SUBJECT_CHARS_MAX} characters, none of them NUL"
                );
                Err(claim.breaks(&rule))
            }
        }
    }

    fn missing_subject(&self) -> Error {
        let names: Vec<String> = self
            .subject
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        Error::ClaimInvalid {
            claim: first(&self.subject),
            why: format!("it has no subject: no {}", names.join(" and no ")),
        }
    }

    /// Those scopes of the token that this server uses, each once; others are ignored.
    pub(super) fn scopes(&self, claims: &TokenClaims) -> Result<Vec<Scope>> {
        let mut scopes = Vec::new();
        let Some(claim) = FoundClaim::first_of(claims, &self.scope) else {
            return Ok(scopes);
        };
        for text in claim.texts()? {
            for scope in text.split_ascii_whitespace().filter_map(Scope::parse) {
                if !scopes.contains(&scope) {
                    scopes.push(scope);
                }
            }
        }
        Ok(scopes)
    }

    /// The enterprises; `NotAMember` without the claim.
    pub(super) fn enterprises(&self, claims: &TokenClaims) -> Result<Vec<EnterpriseId>> {
        FoundClaim::first_of(claims, &self.enterprises)
            .ok_or_else(|| Error::NotAMember {
                claim: first(&self.enterprises),
                enterprise: None,
            })?
            .memberships("UUIDs", |value| {
                parse_uuid(value.as_str()?).map(EnterpriseId)
            })
    }

    /// The name of the claim that lists the enterprises; without the claim, the first of the names that it may have.
    pub(super) fn enterprises_claim(&self, claims: &TokenClaims) -> String {
        match FoundClaim::first_of(claims, &self.enterprises) {
            Some(claim) => claim.name.into(),
            None => first(&self.enterprises),
        }
    }

    /// The companies; `CompanyAccessDenied` without the claim.
    pub(super) fn companies(&self, claims: &TokenClaims) -> Result<Vec<CompanyId>> {
        FoundClaim::first_of(claims, &self.companies)
            .ok_or(Error::CompanyAccessDenied)?
            .memberships("integers", |value| value.as_i64().map(CompanyId))
    }

    /// The firm: a string, or an integer, which denotes the same firm as the string of its digits. Without the claim
    /// the error is `ClaimMissing`.
    pub(super) fn firm(&self, claims: &TokenClaims) -> Result<FirmId> {
        let claim = FoundClaim::first_of(claims, &self.firm)
            .ok_or_else(|| Error::ClaimMissing(first(&self.firm)))?;
        let id = match claim.value {
            Value::String(text) => text.clone(),
            Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
            _ => return Err(claim.breaks("must be a string or an integer")),
        };
        match text::check_required(&id, ID_CHARS_MAX) {
            Ok(()) => Ok(FirmId(id)),
            Err(_) => {
                let rule = format!("must have 1 to {ID_CHARS_MAX} characters, none of them NUL");
                Err(claim.breaks(&rule))
            }
        }
    }

    /// The tenant; `ClaimMissing` without the claim.
    pub(super) fn tenant(&self, claims: &TokenClaims) -> Result<TenantId> {
        let claim = FoundClaim::first_of(claims, &self.tenant)
            .ok_or_else(|| Error::ClaimMissing(first(&self.tenant)))?;
        let id = claim.value.as_str().and_then(parse_uuid);
        id.map(TenantId)
            .ok_or_else(|| claim.breaks("must be a UUID"))
    }
}

/// The name that errors of a missing claim show.
fn first(names: &[String]) -> String {
    names.first().cloned().unwrap_or_default()
}

/// Reads a UUID in its hyphenated form; the crate `uuid` would accept other forms too.
fn parse_uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::try_parse(text).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn found(claims: &Value, names: &[&str]) -> Option<Value> {
        let names: Vec<String> = names.iter().copied().map(Into::into).collect();
        let claims = claims.as_object().expect("an object");
        FoundClaim::first_of(claims, &names).map(|claim| claim.value.clone())
    }

    #[test]
    fn a_name_is_that_of_a_member_at_the_top_before_its_dots_are_nesting() {
        let claims = json!({
            "ext": {"tenant": "nested", "b": {"c": "deep"}},
            "ext.b.c": "at the top",
            "https://earmark.example/tenant": "a URL",
            "gone.tenant": null, "gone": {"tenant": "behind a null"},
        });
        for (name, value) in [
            ("ext.tenant", Some("nested")),
            ("ext.b.c", Some("at the top")),
            ("https://earmark.example/tenant", Some("a URL")),
            ("https://earmark.example/other", None),
            ("gone.tenant", None),
            ("ext.tenant.more", None),
            ("ext.", None),
            (".tenant", None),
            ("tenant", None),
        ] {
            assert_eq!(found(&claims, &[name]), value.map(Value::from), "{name}");
        }
    }

    #[test]
    fn the_first_name_that_a_token_has_counts() {
        let claims = json!({"scope": null, "scp": "b", "other": "c"});
        assert_eq!(found(&claims, &["scope", "scp", "other"]), Some(json!("b")));
        assert_eq!(found(&claims, &["none", "other"]), Some(json!("c")));
        assert_eq!(found(&claims, &["none", "scope"]), None);
    }

    proptest! {
        #[test]
        fn a_path_of_plain_names_finds_what_lies_there(
            path in proptest::collection::vec("[a-z]{1,3}", 1..5),
            value in any::<u32>(),
        ) {
            let mut nested = json!(value);
            for name in path.iter().rev() {
                nested = json!({ name: nested });
            }
            let name = path.join(".");
            prop_assert_eq!(found(&nested, &[&name]), Some(json!(value)));
            nested[name.as_str()] = json!("at the top");
            prop_assert_eq!(found(&nested, &[&name]), Some(json!("at the top")));
        }
    }
}
