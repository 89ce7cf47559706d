//! From record to document. What is unset is absent, and so is an object with nothing in it; arrays are always there, so
//! that a patch can add to their end.

use chrono::SecondsFormat;

use crate::cas::json::{Json, Number};
use crate::cas::model::{Affirmation, CasAllocation, Comment, StatusMessage, Value, Word};
use crate::types::time::Time;

/// The document form of a record.
pub fn write(record: &CasAllocation) -> Json {
    let said = &record.said;
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
        ("dealId", text(&said.deal_id)),
        ("trancheId", text(&said.tranche_id)),
        ("sourceId", text(&said.source_id)),
        ("investorAccountId", text(&said.investor_account_id)),
        ("indicationId", text(&said.indication_id)),
        (
            "companyId",
            said.company_id.map(|id| Json::Number(id.into())),
        ),
        ("sourceRowVersion", text(&said.source_row_version)),
        ("orderStatus", word(said.order_status)),
        ("indicationGroupId", text(&said.indication_group_id)),
        (
            "statusMessages",
            array(&said.status_messages, status_message),
        ),
        (
            "allocationValue",
            part([
                ("type", word(said.value.kind)),
                ("data", data(&said.value)),
                (
                    "overrideAllocation",
                    part([
                        ("type", word(said.override_value.kind)),
                        ("data", data(&said.override_value)),
                    ]),
                ),
            ]),
        ),
        ("distributionType", word(said.distribution_type)),
        (
            "comment",
            part([("comments", array(&said.comments, comment))]),
        ),
        (
            "detail",
            part([(
                "order",
                part([("affirmation", affirmation(&said.affirmation))]),
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

fn data(value: &Value) -> Option<Json> {
    let amount = value
        .amount
        .map(|amount| Json::Number(Number::from(amount)));
    part([("amount", amount)])
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
    part([
        ("isAffirmed", affirmation.is_affirmed.map(Json::Bool)),
        ("modifiedBy", text(&affirmation.modified_by)),
        ("modifiedDateTime", affirmation.modified_at.map(time)),
    ])
}

/// An object of what is set.
fn object<const N: usize>(members: [(&str, Option<Json>); N]) -> Json {
    let set = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Json::Object(set.collect())
}

/// The same where an object with nothing in it is none.
fn part<const N: usize>(members: [(&str, Option<Json>); N]) -> Option<Json> {
    let is_set = members.iter().any(|(_, value)| value.is_some());
    is_set.then(|| object(members))
}

fn array<T>(elements: &[T], element: impl Fn(&T) -> Json) -> Option<Json> {
    Some(Json::Array(elements.iter().map(element).collect()))
}

fn text(text: &Option<String>) -> Option<Json> {
    text.clone().map(Json::Text)
}

fn word<W: Word>(word: Option<W>) -> Option<Json> {
    word.map(|word| Json::Text(word.as_str().into()))
}

/// RFC 3339 in UTC with three fraction digits, six where needed.
fn time(time: Time) -> Json {
    let format = match time.micros() % 1_000 {
        0 => SecondsFormat::Millis,
        _ => SecondsFormat::Micros,
    };
    Json::Text(time.to_chrono().to_rfc3339_opts(format, true))
}
