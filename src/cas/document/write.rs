//! Writes the document form of a record. Unset fields, and objects without any set field, are absent. Arrays are always
//! present, so that a patch can append to them.

use chrono::SecondsFormat;

use crate::cas::json::{Json, JsonNumber};
use crate::cas::model::{Affirmation, CasAllocation, CasValue, Comment, StatusMessage};
use crate::cas::string_enum::StringEnum;
use crate::types::time::Time;

/// The document form of a record.
pub(crate) fn write(record: &CasAllocation) -> Json {
    let fields = &record.fields;
    object([
        ("id", record.id.map(|id| Json::Text(id.to_string()))),
        ("version", Some(Json::Number(record.version.into()))),
        ("createdBy", Some(Json::Text(record.created_by.clone()))),
        ("createdDateTime", record.created_at.map(time)),
        (
            "lastModifiedBy",
            Some(Json::Text(record.last_modified_by.clone())),
        ),
        ("lastModifiedDateTime", record.last_modified_at.map(time)),
        ("dealId", text(&fields.deal_id)),
        ("trancheId", text(&fields.tranche_id)),
        ("sourceId", text(&fields.source_id)),
        ("investorAccountId", text(&fields.investor_account_id)),
        ("indicationId", text(&fields.indication_id)),
        (
            "companyId",
            fields.company_id.map(|id| Json::Number(id.into())),
        ),
        ("sourceRowVersion", text(&fields.source_row_version)),
        ("orderStatus", string_enum(fields.order_status)),
        ("indicationGroupId", text(&fields.indication_group_id)),
        (
            "statusMessages",
            array(&fields.status_messages, status_message),
        ),
        (
            "allocationValue",
            optional_object([
                ("type", string_enum(fields.value.value_type)),
                ("data", data(&fields.value)),
                (
                    "overrideAllocation",
                    optional_object([
                        ("type", string_enum(fields.override_value.value_type)),
                        ("data", data(&fields.override_value)),
                    ]),
                ),
            ]),
        ),
        ("distributionType", string_enum(fields.distribution_type)),
        (
            "comment",
            optional_object([("comments", array(&fields.comments, comment))]),
        ),
        (
            "detail",
            optional_object([(
                "order",
                optional_object([("affirmation", affirmation(&fields.affirmation))]),
            )]),
        ),
    ])
}

fn status_message(status: &StatusMessage) -> Json {
    object([
        ("code", text(&status.code)),
        ("message", text(&status.message)),
    ])
}

fn data(value: &CasValue) -> Option<Json> {
    let amount = value
        .amount
        .map(|amount| Json::Number(JsonNumber::from(amount)));
    optional_object([("amount", amount)])
}

fn comment(comment: &Comment) -> Json {
    object([
        ("commentType", text(&comment.comment_type)),
        ("comment", text(&comment.comment)),
        ("lastModifiedBy", text(&comment.last_modified_by)),
        ("lastModifiedDateTime", comment.last_modified_at.map(time)),
    ])
}

fn affirmation(affirmation: &Affirmation) -> Option<Json> {
    optional_object([
        ("isAffirmed", affirmation.is_affirmed.map(Json::Bool)),
        ("modifiedBy", text(&affirmation.modified_by)),
        ("modifiedDateTime", affirmation.modified_at.map(time)),
    ])
}

/// An object of the members that are set.
fn object<const N: usize>(members: [(&str, Option<Json>); N]) -> Json {
    let set = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Json::Object(set.collect())
}

/// An object of the members that are set; `None` if none is.
fn optional_object<const N: usize>(members: [(&str, Option<Json>); N]) -> Option<Json> {
    let is_set = members.iter().any(|(_, value)| value.is_some());
    is_set.then(|| object(members))
}

fn array<T>(elements: &[T], element: impl Fn(&T) -> Json) -> Option<Json> {
    Some(Json::Array(elements.iter().map(element).collect()))
}

fn text(text: &Option<String>) -> Option<Json> {
    text.clone().map(Json::Text)
}

fn string_enum<E: StringEnum>(value: Option<E>) -> Option<Json> {
    value.map(|value| Json::Text(value.as_str().into()))
}

/// A time as RFC 3339 in UTC with three fraction digits, or six if it has microseconds.
fn time(time: Time) -> Json {
    let format = match time.micros() % 1_000 {
        0 => SecondsFormat::Millis,
        _ => SecondsFormat::Micros,
    };
    Json::Text(time.to_chrono().to_rfc3339_opts(format, true))
}
