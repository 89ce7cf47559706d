//! Rows of `cas_allocation`, and their conversion from and to records.

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

use crate::cas::model::{
    Affirmation, CasAllocation, CasValue, Comment, RecordFields, StatusMessage,
};
use crate::cas::string_enum::StringEnum;
use crate::db::json::Parsed;
use crate::db::pg_error::{DbError, TransactionError};
use crate::db::schema::cas_allocation;
use crate::types::amount::Amount;
use crate::types::ids::CasAllocationId;
use crate::types::time::Time;

/// The columns that a read selects, in the order of the fields of [`Row`].
pub(super) const COLUMNS: &str = "id, created_by, created_at, last_modified_by, last_modified_at, version, deal_id,
    tranche_id, source_id, investor_account_id, indication_id, company_id, source_row_version, order_status,
    indication_group_id, status_messages, value_type, value_amount, override_type, override_amount, distribution_type,
    comments, is_affirmed, affirmed_by, affirmed_at";

/// The SQL types of [`COLUMNS`], in the same order.
pub(super) type CasRowSql = (
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

impl Row {
    /// The id and the version of the record.
    pub(super) fn key(&self) -> (Uuid, i64) {
        (self.id, self.version)
    }
}

/// An element of the column `status_messages`. Searches refer to its members by these names.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// An element of the column `comments`. Searches refer to its members by these names.
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

/// The columns of the fields that callers set. An update sets all of them, those of unset fields to NULL.
#[derive(Insertable, AsChangeset)]
#[diesel(table_name = cas_allocation, treat_none_as_default_value = false, treat_none_as_null = true)]
pub(super) struct RecordFieldColumns<'r> {
    deal_id: Option<&'r str>,
    tranche_id: Option<&'r str>,
    source_id: Option<&'r str>,
    investor_account_id: Option<&'r str>,
    indication_id: Option<&'r str>,
    company_id: Option<i64>,
    source_row_version: Option<&'r str>,
    order_status: Option<&'static str>,
    indication_group_id: Option<&'r str>,
    status_messages: Json,
    value_type: Option<&'static str>,
    value_amount: Option<Decimal>,
    override_type: Option<&'static str>,
    override_amount: Option<Decimal>,
    distribution_type: Option<&'static str>,
    comments: Json,
    is_affirmed: Option<bool>,
    affirmed_by: Option<&'r str>,
    affirmed_at: Option<DateTime<Utc>>,
}

impl<'r> From<&'r RecordFields> for RecordFieldColumns<'r> {
    fn from(fields: &'r RecordFields) -> Self {
        Self {
            deal_id: fields.deal_id.as_deref(),
            tranche_id: fields.tranche_id.as_deref(),
            source_id: fields.source_id.as_deref(),
            investor_account_id: fields.investor_account_id.as_deref(),
            indication_id: fields.indication_id.as_deref(),
            company_id: fields.company_id,
            source_row_version: fields.source_row_version.as_deref(),
            order_status: fields.order_status.map(StringEnum::as_str),
            indication_group_id: fields.indication_group_id.as_deref(),
            status_messages: array(fields.status_messages.iter().map(|status| StoredStatus {
                code: status.code.clone(),
                message: status.message.clone(),
            })),
            value_type: fields.value.value_type.map(StringEnum::as_str),
            value_amount: fields.value.amount.map(Amount::to_decimal),
            override_type: fields.override_value.value_type.map(StringEnum::as_str),
            override_amount: fields.override_value.amount.map(Amount::to_decimal),
            distribution_type: fields.distribution_type.map(StringEnum::as_str),
            comments: array(fields.comments.iter().map(|comment| StoredComment {
                comment_type: comment.comment_type.clone(),
                comment: comment.comment.clone(),
                last_modified_by: comment.last_modified_by.clone(),
                last_modified_date_time: comment.last_modified_at,
            })),
            is_affirmed: fields.affirmation.is_affirmed,
            affirmed_by: fields.affirmation.modified_by.as_deref(),
            affirmed_at: fields.affirmation.modified_at.map(Time::to_chrono),
        }
    }
}

fn array<T: Serialize>(elements: impl Iterator<Item = T>) -> Json {
    // Serialising structs of texts and times cannot fail.
    let elements = elements.map(|element| serde_json::to_value(element).unwrap_or_default());
    Json::Array(elements.collect())
}

impl TryFrom<Row> for CasAllocation {
    type Error = TransactionError;

    fn try_from(row: Row) -> Result<Self, TransactionError> {
        let (Parsed(statuses), Parsed(comments)) = (row.status_messages, row.comments);
        let fields = RecordFields {
            deal_id: row.deal_id,
            tranche_id: row.tranche_id,
            source_id: row.source_id,
            investor_account_id: row.investor_account_id,
            indication_id: row.indication_id,
            company_id: row.company_id,
            source_row_version: row.source_row_version,
            order_status: string_enum(row.order_status)?,
            indication_group_id: row.indication_group_id,
            status_messages: statuses
                .into_iter()
                .map(|status| StatusMessage {
                    code: status.code,
                    message: status.message,
                })
                .collect(),
            value: CasValue {
                value_type: string_enum(row.value_type)?,
                amount: amount(row.value_amount)?,
            },
            override_value: CasValue {
                value_type: string_enum(row.override_type)?,
                amount: amount(row.override_amount)?,
            },
            distribution_type: string_enum(row.distribution_type)?,
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
            fields,
        })
    }
}

// CHECK constraints of the table exclude the values that the two functions below refuse.

fn string_enum<E: StringEnum>(text: Option<String>) -> Result<Option<E>, TransactionError> {
    let Some(text) = text else {
        return Ok(None);
    };
    match E::parse(&text) {
        Some(value) => Ok(Some(value)),
        None => {
            let fault = format!("cas_allocation contains the unknown enum value {text:?}");
            Err(DbError::Other(fault).into())
        }
    }
}

fn amount(decimal: Option<Decimal>) -> Result<Option<Amount>, TransactionError> {
    let Some(decimal) = decimal else {
        return Ok(None);
    };
    match Amount::from_decimal(decimal) {
        Some(amount) => Ok(Some(amount)),
        None => {
            let fault =
                format!("cas_allocation contains the amount {decimal}, which is out of range");
            Err(DbError::Other(fault).into())
        }
    }
}
