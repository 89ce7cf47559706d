//! What is stored with a bucket or an action for its answers alone: the ledger does not look into it.
//!
//! It is kept as JSON by these structs. A member that is unset is left out, so that one which a later version adds
//! changes neither what is stored nor the hash of a request.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::types::time::Time;

/// The members of a bucket that are neither searched for nor move value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bucket) struct BucketDetails {
    /// A link to the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) href: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) confirmation_date: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) requested_date: Option<Time>,
    /// Whether several parties draw on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) is_shared: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) remaining_value_name: Option<String>,
    /// Resources that draw on the bucket, such as telephone numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::bucket) logical_resource: Vec<Reference>,
    /// The account of the party that uses the bucket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) party_account: Option<Reference>,
    /// Products that the bucket serves, each once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::bucket) product: Vec<Reference>,
    /// Parties that have a role for the bucket.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::bucket) related_party: Vec<Reference>,
    #[serde(skip_serializing_if = "ObjectClass::is_unset")]
    pub(in crate::bucket) class: ObjectClass,
    /// The class of the bucket's quantities.
    #[serde(skip_serializing_if = "ObjectClass::is_unset")]
    pub(in crate::bucket) quantity_class: ObjectClass,
    /// Members that the standard does not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) extension: Option<Map<String, Value>>,
}

/// The members with which the standard names an object's class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bucket) struct ObjectClass {
    /// The member `@type` of the JSON form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) name: Option<String>,
    /// The member `@baseType` of the JSON form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) base: Option<String>,
    /// The member `@schemaLocation` of the JSON form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) schema_location: Option<String>,
}

impl ObjectClass {
    fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

/// A reference of any kind; each kind has its own of the optional members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bucket) struct Reference {
    /// The id of what is referred to.
    pub(in crate::bucket) id: String,
    /// A link to what is referred to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) href: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) name: Option<String>,
    /// Only a party account has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) description: Option<String>,
    /// Only a party account has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) status: Option<String>,
    /// Only a related party has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) role: Option<String>,
    #[serde(skip_serializing_if = "ObjectClass::is_unset")]
    pub(in crate::bucket) class: ObjectClass,
    /// The member `@referredType` of the JSON form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) referred_type: Option<String>,
}

/// The members of an action that do not move value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::bucket) struct ActionDetails {
    /// The reason that the caller gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) reason: Option<String>,
    /// The channel through which it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) channel: Option<String>,
    /// The person or system that asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) requestor: Option<String>,
    /// Of an adjustment: whether it is one of a series.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) is_recurring: Option<bool>,
    /// Of a top-up: whether a rule of the caller's made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) is_auto_topup: Option<bool>,
    /// Of a top-up: how often it is meant to be repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) recurring_period: Option<RecurringPeriod>,
    /// Of a top-up: how many times it is meant to be repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) number_of_periods: Option<i32>,
    /// Of a deduction from a reserve: whether the rest stays reserved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::bucket) keep_rest: Option<bool>,
}

/// How often a top-up is meant to be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(in crate::bucket) enum RecurringPeriod {
    Weekly,
    Fortnightly,
    Monthly,
}

impl BucketDetails {
    /// The details as JSON, in the form that is stored.
    pub(in crate::bucket) fn json(&self) -> String {
        json(self)
    }

    /// Reads the form that is stored.
    pub(in crate::bucket) fn parse(json: &str) -> Result<Self> {
        parse(json)
    }
}

impl ActionDetails {
    /// The details as JSON, in the form that is stored.
    pub(in crate::bucket) fn json(&self) -> String {
        json(self)
    }

    /// Reads the form that is stored.
    pub(in crate::bucket) fn parse(json: &str) -> Result<Self> {
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
        assert_eq!(BucketDetails::default().json(), "{}");
        assert_eq!(ActionDetails::default().json(), "{}");
        assert_eq!(BucketDetails::parse("{}"), Ok(BucketDetails::default()));
    }

    #[test]
    fn what_a_later_version_adds_is_left_alone() {
        let read = BucketDetails::parse(r#"{"href": "x", "to_come": 1}"#).expect("read");
        assert_eq!(read.href.as_deref(), Some("x"));
    }

    #[test]
    fn what_is_no_json_is_a_fault_of_ours() {
        assert!(matches!(
            BucketDetails::parse("x"),
            Err(Error::Internal(..))
        ));
    }
}
