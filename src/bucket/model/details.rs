//! What is stored with a bucket or an action for its answers alone: the ledger does not look into it.
//!
//! It is kept as JSON by these structs. A member that is unset is left out, so that one which a later version adds
//! changes neither what is stored nor the hash of a request.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::types::time::Time;

/// What a bucket has besides what is searched for and what moves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Details {
    /// A link to the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) href: Option<String>,
    /// As given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) confirmation_date: Option<Time>,
    /// As given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requested_date: Option<Time>,
    /// Whether several parties draw on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) is_shared: Option<bool>,
    /// The remaining value's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remaining_value_name: Option<String>,
    /// Telephone numbers and the like.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) logical_resource: Vec<Reference>,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) party_account: Option<Reference>,
    /// What draws on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) product: Vec<Reference>,
    /// Who has to do with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) related_party: Vec<Reference>,
    /// The bucket's own class.
    #[serde(skip_serializing_if = "Class::is_unset")]
    pub(crate) class: Class,
    /// The class of its quantities.
    #[serde(skip_serializing_if = "Class::is_unset")]
    pub(crate) quantity_class: Class,
    /// Further members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) extension: Option<Map<String, Value>>,
}

/// The members with which the standard names an object's class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Class {
    /// `@type`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// `@baseType`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) base: Option<String>,
    /// `@schemaLocation`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) schema_location: Option<String>,
}

impl Class {
    fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

/// A reference of any kind; each kind has its own of the optional members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Reference {
    /// Of what is referred to.
    pub(crate) id: String,
    /// A link to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) href: Option<String>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Of a party account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    /// Of a party account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    /// Of a related party.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<String>,
    /// The reference's own class.
    #[serde(skip_serializing_if = "Class::is_unset")]
    pub(crate) class: Class,
    /// `@referredType`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) referred_type: Option<String>,
}

/// What an action has besides what moves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ActionDetails {
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Through which channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) channel: Option<String>,
    /// Who asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) requestor: Option<String>,
    /// Of an adjustment: whether it is one of a series.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) is_recurring: Option<bool>,
    /// Of a top-up: whether a rule of the caller's made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) is_auto_topup: Option<bool>,
    /// Of a top-up: how often it is meant to be repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recurring_period: Option<RecurringPeriod>,
    /// Of a top-up: how many times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) number_of_periods: Option<i32>,
    /// Of a deduction from a reserve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_rest: Option<bool>,
}

/// How often a top-up is meant to be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum RecurringPeriod {
    /// Every week.
    Weekly,
    /// Every two weeks.
    Fortnightly,
    /// Every month.
    Monthly,
}

impl Details {
    /// As it is stored.
    pub(crate) fn json(&self) -> String {
        json(self)
    }

    /// From how it is stored.
    pub(crate) fn parse(json: &str) -> Result<Self> {
        parse(json)
    }
}

impl ActionDetails {
    /// As it is stored.
    pub(crate) fn json(&self) -> String {
        json(self)
    }

    /// From how it is stored.
    pub(crate) fn parse(json: &str) -> Result<Self> {
        parse(json)
    }
}

fn json(details: &impl Serialize) -> String {
    // Plain structs with texts for keys: serialising them cannot fail.
    serde_json::to_string(details).unwrap_or_default()
}

fn parse<D: DeserializeOwned>(json: &str) -> Result<D> {
    serde_json::from_str(json).map_err(|error| Error::internal(format!("stored details: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unset_is_not_stored() {
        assert_eq!(Details::default().json(), "{}");
        assert_eq!(ActionDetails::default().json(), "{}");
        assert_eq!(Details::parse("{}"), Ok(Details::default()));
    }

    #[test]
    fn what_a_later_version_adds_is_left_alone() {
        let read = Details::parse(r#"{"href": "x", "to_come": 1}"#).expect("read");
        assert_eq!(read.href.as_deref(), Some("x"));
    }

    #[test]
    fn what_is_no_json_is_a_fault_of_ours() {
        assert!(matches!(Details::parse("x"), Err(Error::Internal(..))));
    }
}
