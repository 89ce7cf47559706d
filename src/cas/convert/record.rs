//! Conversion of a record from and to its message.

use std::collections::BTreeSet;

use crate::cas::field::CasField;
use crate::cas::model::{
    Affirmation, CasAllocation, CasValue, Comment, RecordFields, StatusMessage,
};
use crate::cas::string_enum::{CasValueType, DistributionType, OrderStatus};
use crate::proto::cas::v1 as pb;
use crate::rpc::read::{Reader, Rounding, timestamp};
use crate::types::amount::Amount;

/// The fields of a record that an answer contains; `None` stands for all.
pub(in crate::cas) struct CasView(Option<BTreeSet<CasField>>);

impl CasView {
    /// A view of all fields.
    pub(super) fn all() -> Self {
        Self(None)
    }

    /// A view of these fields only.
    pub(super) fn of(fields: BTreeSet<CasField>) -> Self {
        Self(Some(fields))
    }

    fn has(&self, field: CasField) -> bool {
        self.0.as_ref().is_none_or(|fields| fields.contains(&field))
    }

    /// The value, if the view has its field.
    fn keep<T>(&self, field: CasField, value: Option<T>) -> Option<T> {
        value.filter(|_| self.has(field))
    }

    /// Whether the view has any of these fields.
    fn has_any(&self, fields: &[CasField]) -> bool {
        fields.iter().any(|field| self.has(*field))
    }
}

/// Reads the fields that callers set.
pub(super) fn read_fields(reader: &mut Reader, message: pb::CasAllocation) -> RecordFields {
    let value = message.allocation_value.unwrap_or_default();
    let override_value = value.override_allocation.unwrap_or_default();
    let comments = message.comment.unwrap_or_default().comments;
    let order = message.detail.unwrap_or_default().order.unwrap_or_default();
    let affirmation = order.affirmation.unwrap_or_default();
    RecordFields {
        deal_id: message.deal_id,
        tranche_id: message.tranche_id,
        source_id: message.source_id,
        investor_account_id: message.investor_account_id,
        indication_id: message.indication_id,
        company_id: message.company_id,
        source_row_version: message.source_row_version,
        order_status: reader
            .optional_enum("allocation.order_status", message.order_status)
            .and_then(read_order_status),
        indication_group_id: message.indication_group_id,
        status_messages: message
            .status_messages
            .into_iter()
            .map(|status| StatusMessage {
                code: status.code,
                message: status.message,
            })
            .collect(),
        value: read_value(
            reader,
            "allocation.allocation_value",
            value.r#type,
            value.data,
        ),
        override_value: read_value(
            reader,
            "allocation.allocation_value.override_allocation",
            override_value.r#type,
            override_value.data,
        ),
        distribution_type: reader
            .optional_enum("allocation.distribution_type", message.distribution_type)
            .and_then(read_distribution_type),
        comments: comments
            .into_iter()
            .enumerate()
            .map(|(index, comment)| Comment {
                comment_type: comment.comment_type,
                comment: comment.comment,
                last_modified_by: comment.last_modified_by,
                last_modified_at: reader.optional_time(
                    &format!("allocation.comment.comments[{index}].last_modified_date_time"),
                    comment.last_modified_date_time.as_ref(),
                    Rounding::Down,
                ),
            })
            .collect(),
        affirmation: Affirmation {
            is_affirmed: affirmation.is_affirmed,
            modified_by: affirmation.modified_by,
            modified_at: reader.optional_time(
                "allocation.detail.order.affirmation.modified_date_time",
                affirmation.modified_date_time.as_ref(),
                Rounding::Down,
            ),
        },
    }
}

fn read_value(
    reader: &mut Reader,
    path: &str,
    value_type: i32,
    data: Option<pb::AllocationValueData>,
) -> CasValue {
    let value_type = reader.optional_enum(&format!("{path}.type"), value_type);
    let amount = data.and_then(|data| data.amount);
    CasValue {
        value_type: value_type.and_then(read_value_type),
        amount: amount.map(|amount| reader.decimal(&format!("{path}.data.amount"), &amount)),
    }
}

fn read_order_status(status: pb::OrderStatus) -> Option<OrderStatus> {
    match status {
        pb::OrderStatus::Unspecified => None,
        pb::OrderStatus::Pending => Some(OrderStatus::Pending),
        pb::OrderStatus::Delivered => Some(OrderStatus::Delivered),
        pb::OrderStatus::Successful => Some(OrderStatus::Successful),
        pb::OrderStatus::Failed => Some(OrderStatus::Failed),
        pb::OrderStatus::DeletePending => Some(OrderStatus::DeletePending),
    }
}

fn read_value_type(value_type: pb::AllocationValueType) -> Option<CasValueType> {
    match value_type {
        pb::AllocationValueType::Unspecified => None,
        pb::AllocationValueType::Cash => Some(CasValueType::Cash),
        pb::AllocationValueType::Quantity => Some(CasValueType::Quantity),
    }
}

fn read_distribution_type(kind: pb::DistributionType) -> Option<DistributionType> {
    match kind {
        pb::DistributionType::Unspecified => None,
        pb::DistributionType::Manual => Some(DistributionType::Manual),
        pb::DistributionType::Auto => Some(DistributionType::Auto),
        pb::DistributionType::None => Some(DistributionType::None),
    }
}

impl From<OrderStatus> for pb::OrderStatus {
    fn from(status: OrderStatus) -> Self {
        match status {
            OrderStatus::Pending => Self::Pending,
            OrderStatus::Delivered => Self::Delivered,
            OrderStatus::Successful => Self::Successful,
            OrderStatus::Failed => Self::Failed,
            OrderStatus::DeletePending => Self::DeletePending,
        }
    }
}

impl From<CasValueType> for pb::AllocationValueType {
    fn from(value_type: CasValueType) -> Self {
        match value_type {
            CasValueType::Cash => Self::Cash,
            CasValueType::Quantity => Self::Quantity,
        }
    }
}

impl From<DistributionType> for pb::DistributionType {
    fn from(kind: DistributionType) -> Self {
        match kind {
            DistributionType::Manual => Self::Manual,
            DistributionType::Auto => Self::Auto,
            DistributionType::None => Self::None,
        }
    }
}

impl From<CasAllocation> for pb::CasAllocation {
    fn from(record: CasAllocation) -> Self {
        to_message(record, &CasView::all())
    }
}

/// The message of a record with the fields of a view. An object that has no field left is unset.
pub(in crate::cas) fn to_message(record: CasAllocation, view: &CasView) -> pb::CasAllocation {
    let fields = record.fields;
    let order_status = view.keep(CasField::OrderStatus, fields.order_status);
    let distribution_type = view.keep(CasField::DistributionType, fields.distribution_type);
    let version = view.keep(CasField::Version, Some(record.version));
    pb::CasAllocation {
        id: record.id.map(|id| id.to_string()).unwrap_or_default(),
        created_by: view.keep(CasField::CreatedBy, Some(record.created_by)),
        created_date_time: view
            .keep(CasField::CreatedDateTime, record.created_at)
            .map(timestamp),
        last_modified_by: view.keep(CasField::LastModifiedBy, Some(record.last_modified_by)),
        last_modified_date_time: view
            .keep(CasField::LastModifiedDateTime, record.last_modified_at)
            .map(timestamp),
        deal_id: view.keep(CasField::DealId, fields.deal_id),
        tranche_id: view.keep(CasField::TrancheId, fields.tranche_id),
        source_id: view.keep(CasField::SourceId, fields.source_id),
        investor_account_id: view.keep(CasField::InvestorAccountId, fields.investor_account_id),
        indication_id: view.keep(CasField::IndicationId, fields.indication_id),
        company_id: view.keep(CasField::CompanyId, fields.company_id),
        source_row_version: view.keep(CasField::SourceRowVersion, fields.source_row_version),
        order_status: order_status
            .map_or(pb::OrderStatus::Unspecified, Into::into)
            .into(),
        indication_group_id: view.keep(CasField::IndicationGroupId, fields.indication_group_id),
        status_messages: status_messages(fields.status_messages, view),
        allocation_value: allocation_value(fields.value, fields.override_value, view),
        distribution_type: distribution_type
            .map_or(pb::DistributionType::Unspecified, Into::into)
            .into(),
        comment: comment(fields.comments, view),
        detail: detail(fields.affirmation, view),
        version: version.unwrap_or_default(),
    }
}

fn status_messages(statuses: Vec<StatusMessage>, view: &CasView) -> Vec<pb::StatusMessage> {
    if !view.has_any(&[CasField::StatusCode, CasField::StatusMessage]) {
        return Vec::new();
    }
    let shown = statuses.into_iter().map(|status| pb::StatusMessage {
        code: view.keep(CasField::StatusCode, status.code),
        message: view.keep(CasField::StatusMessage, status.message),
    });
    shown.collect()
}

fn allocation_value(
    value: CasValue,
    override_value: CasValue,
    view: &CasView,
) -> Option<pb::AllocationValue> {
    let (value_type, data) = viewed_value(value, CasField::ValueType, CasField::ValueAmount, view);
    let (override_type, override_data) = viewed_value(
        override_value,
        CasField::OverrideType,
        CasField::OverrideAmount,
        view,
    );
    let override_allocation = pb::OverrideAllocation {
        r#type: override_type,
        data: override_data,
    };
    let shown = pb::AllocationValue {
        r#type: value_type,
        data,
        override_allocation: unless_empty(override_allocation),
    };
    unless_empty(shown)
}

fn viewed_value(
    value: CasValue,
    type_field: CasField,
    amount_field: CasField,
    view: &CasView,
) -> (i32, Option<pb::AllocationValueData>) {
    let value_type = view.keep(type_field, value.value_type);
    let amount = view.keep(amount_field, value.amount);
    let data = pb::AllocationValueData {
        amount: amount.as_ref().map(Amount::to_string),
    };
    let value_type: pb::AllocationValueType = value_type.map_or(Default::default(), Into::into);
    (value_type.into(), unless_empty(data))
}

fn comment(comments: Vec<Comment>, view: &CasView) -> Option<pb::CommentList> {
    let fields = [
        CasField::CommentType,
        CasField::Comment,
        CasField::CommentBy,
        CasField::CommentDateTime,
    ];
    if !view.has_any(&fields) {
        return None;
    }
    let shown = comments.into_iter().map(|comment| pb::Comment {
        comment_type: view.keep(CasField::CommentType, comment.comment_type),
        comment: view.keep(CasField::Comment, comment.comment),
        last_modified_by: view.keep(CasField::CommentBy, comment.last_modified_by),
        last_modified_date_time: view
            .keep(CasField::CommentDateTime, comment.last_modified_at)
            .map(timestamp),
    });
    unless_empty(pb::CommentList {
        comments: shown.collect(),
    })
}

fn detail(affirmation: Affirmation, view: &CasView) -> Option<pb::AllocationDetail> {
    let affirmation = pb::Affirmation {
        is_affirmed: view.keep(CasField::IsAffirmed, affirmation.is_affirmed),
        modified_by: view.keep(CasField::AffirmedBy, affirmation.modified_by),
        modified_date_time: view
            .keep(CasField::AffirmedDateTime, affirmation.modified_at)
            .map(timestamp),
    };
    let affirmation = Some(unless_empty(affirmation)?);
    Some(pb::AllocationDetail {
        order: Some(pb::AllocationOrder { affirmation }),
    })
}

fn unless_empty<M: Default + PartialEq>(message: M) -> Option<M> {
    (message != M::default()).then_some(message)
}
