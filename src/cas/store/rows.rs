//! A row of `cas_allocation`, and the record that it is.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{
    BigInt, Bool, Jsonb, Nullable, Numeric, Text, Timestamptz, Uuid as SqlUuid,
};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use uuid::Uuid;

use crate::cas::model::{Affirmation, CasAllocation, Comment, Said, StatusMessage, Value, Word};
use crate::db::json::Parsed;
use crate::db::pg_error::{DbError, TransactionError};
use crate::db::schema::cas_allocation;
use crate::types::amount::Amount;
use crate::types::ids::CasAllocationId;
use crate::types::time::Time;

/// What a read selects, in the order of [`Row`].
pub(super) const COLUMNS: &str = "id, created_by, created_at, last_modified_by, last_modified_at, version, deal_id,
    tranche_id, source_id, investor_account_id, indication_id, company_id, source_row_version, order_status,
    indication_group_id, status_messages, value_type, value_amount, override_type, override_amount, distribution_type,
    comments, is_affirmed, affirmed_by, affirmed_at";

/// The SQL types of `COLUMNS`.
pub(super) type RowSql = (
    SqlUuid,
    Text,
    Timestamptz,
    Text,
    Timestamptz,
    BigInt,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<BigInt>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Jsonb,
    Nullable<Text>,
    Nullable<Numeric>,
    Nullable<Text>,
    Nullable<Numeric>,
    Nullable<Text>,
    Jsonb,
    Nullable<Bool>,
    Nullable<Text>,
    Nullable<Timestamptz>,
);

#[derive(Queryable, Selectable)]
#[diesel(table_name = cas_allocation, check_for_backend(Pg))]
pub(super) struct Row {
    id: Uuid,
    created_by: String,
    created_at: DateTime<Utc>,
    last_modified_by: String,
    last_modified_at: DateTime<Utc>,
    version: i64,
    deal_id: Option<String>,
    tranche_id: Option<String>,
    source_id: Option<String>,
    investor_account_id: Option<String>,
    indication_id: Option<String>,
    company_id: Option<i64>,
    source_row_version: Option<String>,
    order_status: Option<String>,
    indication_group_id: Option<String>,
    status_messages: Parsed<Vec<StoredStatus>>,
    value_type: Option<String>,
    value_amount: Option<Decimal>,
    override_type: Option<String>,
    override_amount: Option<Decimal>,
    distribution_type: Option<String>,
    comments: Parsed<Vec<StoredComment>>,
    is_affirmed: Option<bool>,
    affirmed_by: Option<String>,
    affirmed_at: Option<DateTime<Utc>>,
}

/// An element of `status_messages`; its members are searched by these names.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// An element of `comments`; its members are searched by these names.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredComment {
    #[serde(skip_serializing_if = "Option::is_none")]
    comment_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified_date_time: Option<Time>,
}

/// The columns that writers fill; an update sets all of them.
#[derive(Insertable, AsChangeset)]
#[diesel(table_name = cas_allocation, treat_none_as_default_value = false, treat_none_as_null = true)]
pub(super) struct SaidColumns<'s> {
    deal_id: Option<&'s str>,
    tranche_id: Option<&'s str>,
    source_id: Option<&'s str>,
    investor_account_id: Option<&'s str>,
    indication_id: Option<&'s str>,
    company_id: Option<i64>,
    source_row_version: Option<&'s str>,
    order_status: Option<&'static str>,
    indication_group_id: Option<&'s str>,
    status_messages: Json,
    value_type: Option<&'static str>,
    value_amount: Option<Decimal>,
    override_type: Option<&'static str>,
    override_amount: Option<Decimal>,
    distribution_type: Option<&'static str>,
    comments: Json,
    is_affirmed: Option<bool>,
    affirmed_by: Option<&'s str>,
    affirmed_at: Option<DateTime<Utc>>,
}

impl<'s> From<&'s Said> for SaidColumns<'s> {
    fn from(said: &'s Said) -> Self {
        Self {
            deal_id: said.deal_id.as_deref(),
            tranche_id: said.tranche_id.as_deref(),
            source_id: said.source_id.as_deref(),
            investor_account_id: said.investor_account_id.as_deref(),
            indication_id: said.indication_id.as_deref(),
            company_id: said.company_id,
            source_row_version: said.source_row_version.as_deref(),
            order_status: said.order_status.map(Word::as_str),
            indication_group_id: said.indication_group_id.as_deref(),
            status_messages: array(said.status_messages.iter().map(|status| StoredStatus {
                code: status.code.clone(),
                message: status.message.clone(),
            })),
            value_type: said.value.kind.map(Word::as_str),
            value_amount: said.value.amount.map(Amount::to_decimal),
            override_type: said.override_value.kind.map(Word::as_str),
            override_amount: said.override_value.amount.map(Amount::to_decimal),
            distribution_type: said.distribution_type.map(Word::as_str),
            comments: array(said.comments.iter().map(|comment| StoredComment {
                comment_type: comment.comment_type.clone(),
                comment: comment.comment.clone(),
                last_modified_by: comment.last_modified_by.clone(),
                last_modified_date_time: comment.last_modified_at,
            })),
            is_affirmed: said.affirmation.is_affirmed,
            affirmed_by: said.affirmation.modified_by.as_deref(),
            affirmed_at: said.affirmation.modified_at.map(Time::to_chrono),
        }
    }
}

fn array<T: Serialize>(elements: impl Iterator<Item = T>) -> Json {
    // Texts and times alone: serialising them cannot fail.
    let elements = elements.map(|element| serde_json::to_value(element).unwrap_or_default());
    Json::Array(elements.collect())
}

impl TryFrom<Row> for CasAllocation {
    type Error = TransactionError;

    fn try_from(row: Row) -> Result<Self, TransactionError> {
        let (Parsed(statuses), Parsed(comments)) = (row.status_messages, row.comments);
        let said = Said {
            deal_id: row.deal_id,
            tranche_id: row.tranche_id,
            source_id: row.source_id,
            investor_account_id: row.investor_account_id,
            indication_id: row.indication_id,
            company_id: row.company_id,
            source_row_version: row.source_row_version,
            order_status: word(row.order_status)?,
            indication_group_id: row.indication_group_id,
            status_messages: statuses
                .into_iter()
                .map(|status| StatusMessage {
                    code: status.code,
                    message: status.message,
                })
                .collect(),
            value: Value {
                kind: word(row.value_type)?,
                amount: amount(row.value_amount)?,
            },
            override_value: Value {
                kind: word(row.override_type)?,
                amount: amount(row.override_amount)?,
            },
            distribution_type: word(row.distribution_type)?,
            comments: comments
                .into_iter()
                .map(|comment| Comment {
                    comment_type: comment.comment_type,
                    comment: comment.comment,
                    last_modified_by: comment.last_modified_by,
                    last_modified_at: comment.last_modified_date_time,
                })
                .collect(),
            affirmation: Affirmation {
                is_affirmed: row.is_affirmed,
                modified_by: row.affirmed_by,
                modified_at: row.affirmed_at.map(Into::into),
            },
        };
        Ok(Self {
            id: Some(CasAllocationId(row.id)),
            created_by: row.created_by,
            created_at: Some(row.created_at.into()),
            last_modified_by: row.last_modified_by,
            last_modified_at: Some(row.last_modified_at.into()),
            version: row.version,
            said,
        })
    }
}

// Checks of the table keep all of these out.

fn word<W: Word>(text: Option<String>) -> Result<Option<W>, TransactionError> {
    let Some(text) = text else {
        return Ok(None);
    };
    match W::parse(&text) {
        Some(word) => Ok(Some(word)),
        None => Err(DbError::Other(format!("a CAS allocation holds the word {text}")).into()),
    }
}

fn amount(decimal: Option<Decimal>) -> Result<Option<Amount>, TransactionError> {
    let Some(decimal) = decimal else {
        return Ok(None);
    };
    match Amount::from_decimal(decimal) {
        Some(amount) => Ok(Some(amount)),
        None => Err(DbError::Other(format!("a CAS allocation of {decimal}")).into()),
    }
}
