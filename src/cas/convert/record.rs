//! A record in its message.

use std::collections::BTreeSet;

use crate::cas::field::Field;
use crate::cas::model::{
    Affirmation, CasAllocation, Comment, DistributionType, OrderStatus, Said, StatusMessage, Value,
    ValueType,
};
use crate::proto::cas::v1 as pb;
use crate::rpc::read::{Reader, Rounding, timestamp};
use crate::types::amount::Amount;

/// Which fields of a record are shown.
pub(in crate::cas) struct View(Option<BTreeSet<Field>>);

impl View {
    /// All of them.
    pub(super) fn all() -> Self {
        Self(None)
    }

    /// These.
    pub(super) fn of(fields: BTreeSet<Field>) -> Self {
        Self(Some(fields))
    }

    fn has(&self, field: Field) -> bool {
        self.0.as_ref().is_none_or(|fields| fields.contains(&field))
    }

    /// The value, if its field is shown.
    fn keep<T>(&self, field: Field, value: Option<T>) -> Option<T> {
        value.filter(|_| self.has(field))
    }

    /// Whether any of these is shown.
    fn has_any(&self, fields: &[Field]) -> bool {
        fields.iter().any(|field| self.has(*field))
    }
}

/// Reads what a writer says.
pub(super) fn said(reader: &mut Reader, message: pb::CasAllocation) -> Said {
    let value = message.allocation_value.unwrap_or_default();
    let override_value = value.override_allocation.unwrap_or_default();
    let comments = message.comment.unwrap_or_default().comments;
    let order = message.detail.unwrap_or_default().order.unwrap_or_default();
    let affirmation = order.affirmation.unwrap_or_default();
    Said {
        deal_id: message.deal_id,
        tranche_id: message.tranche_id,
        source_id: message.source_id,
        investor_account_id: message.investor_account_id,
        indication_id: message.indication_id,
        company_id: message.company_id,
        source_row_version: message.source_row_version,
        order_status: reader
            .optional_enum("allocation.order_status", message.order_status)
            .and_then(order_status),
        indication_group_id: message.indication_group_id,
        status_messages: message
            .status_messages
            .into_iter()
            .map(|status| StatusMessage {
                code: status.code,
                message: status.message,
            })
            .collect(),
        value: amount_of(
            reader,
            "allocation.allocation_value",
            value.r#type,
            value.data,
        ),
        override_value: amount_of(
            reader,
            "allocation.allocation_value.override_allocation",
            override_value.r#type,
            override_value.data,
        ),
        distribution_type: reader
            .optional_enum("allocation.distribution_type", message.distribution_type)
            .and_then(distribution_type),
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

fn amount_of(
    reader: &mut Reader,
    place: &str,
    kind: i32,
    data: Option<pb::AllocationValueData>,
) -> Value {
    let kind = reader.optional_enum(&format!("{place}.type"), kind);
    let amount = data.and_then(|data| data.amount);
    Value {
        kind: kind.and_then(value_type),
        amount: amount.map(|amount| reader.decimal(&format!("{place}.data.amount"), &amount)),
    }
}

fn order_status(status: pb::OrderStatus) -> Option<OrderStatus> {
    match status {
        pb::OrderStatus::Unspecified => None,
        pb::OrderStatus::Pending => Some(OrderStatus::Pending),
        pb::OrderStatus::Delivered => Some(OrderStatus::Delivered),
        pb::OrderStatus::Successful => Some(OrderStatus::Successful),
        pb::OrderStatus::Failed => Some(OrderStatus::Failed),
        pb::OrderStatus::DeletePending => Some(OrderStatus::DeletePending),
    }
}

fn value_type(kind: pb::AllocationValueType) -> Option<ValueType> {
    match kind {
        pb::AllocationValueType::Unspecified => None,
        pb::AllocationValueType::Cash => Some(ValueType::Cash),
        pb::AllocationValueType::Quantity => Some(ValueType::Quantity),
    }
}

fn distribution_type(kind: pb::DistributionType) -> Option<DistributionType> {
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

impl From<ValueType> for pb::AllocationValueType {
    fn from(kind: ValueType) -> Self {
        match kind {
            ValueType::Cash => Self::Cash,
            ValueType::Quantity => Self::Quantity,
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
        show(record, &View::all())
    }
}

/// A record as a view shows it. An object of which nothing is left is unset.
pub(in crate::cas) fn show(record: CasAllocation, view: &View) -> pb::CasAllocation {
    let said = record.said;
    let order_status = view.keep(Field::OrderStatus, said.order_status);
    let distribution_type = view.keep(Field::DistributionType, said.distribution_type);
    let version = view.keep(Field::Version, Some(record.version));
    pb::CasAllocation {
        id: record.id.map(|id| id.to_string()).unwrap_or_default(),
        created_by: view.keep(Field::CreatedBy, Some(record.created_by)),
        created_date_time: view
            .keep(Field::CreatedDateTime, record.created_at)
            .map(timestamp),
        last_modified_by: view.keep(Field::LastModifiedBy, Some(record.last_modified_by)),
        last_modified_date_time: view
            .keep(Field::LastModifiedDateTime, record.last_modified_at)
            .map(timestamp),
        deal_id: view.keep(Field::DealId, said.deal_id),
        tranche_id: view.keep(Field::TrancheId, said.tranche_id),
        source_id: view.keep(Field::SourceId, said.source_id),
        investor_account_id: view.keep(Field::InvestorAccountId, said.investor_account_id),
        indication_id: view.keep(Field::IndicationId, said.indication_id),
        company_id: view.keep(Field::CompanyId, said.company_id),
        source_row_version: view.keep(Field::SourceRowVersion, said.source_row_version),
        order_status: order_status
            .map_or(pb::OrderStatus::Unspecified, Into::into)
            .into(),
        indication_group_id: view.keep(Field::IndicationGroupId, said.indication_group_id),
        status_messages: status_messages(said.status_messages, view),
        allocation_value: allocation_value(said.value, said.override_value, view),
        distribution_type: distribution_type
            .map_or(pb::DistributionType::Unspecified, Into::into)
            .into(),
        comment: comment(said.comments, view),
        detail: detail(said.affirmation, view),
        version: version.unwrap_or_default(),
    }
}

fn status_messages(statuses: Vec<StatusMessage>, view: &View) -> Vec<pb::StatusMessage> {
    if !view.has_any(&[Field::StatusCode, Field::StatusMessage]) {
        return Vec::new();
    }
    let shown = statuses.into_iter().map(|status| pb::StatusMessage {
        code: view.keep(Field::StatusCode, status.code),
        message: view.keep(Field::StatusMessage, status.message),
    });
    shown.collect()
}

fn allocation_value(
    value: Value,
    override_value: Value,
    view: &View,
) -> Option<pb::AllocationValue> {
    let (kind, data) = shown_value(value, Field::ValueType, Field::ValueAmount, view);
    let (override_kind, override_data) = shown_value(
        override_value,
        Field::OverrideType,
        Field::OverrideAmount,
        view,
    );
    let override_allocation = pb::OverrideAllocation {
        r#type: override_kind,
        data: override_data,
    };
    let shown = pb::AllocationValue {
        r#type: kind,
        data,
        override_allocation: unless_empty(override_allocation),
    };
    unless_empty(shown)
}

fn shown_value(
    value: Value,
    kind: Field,
    amount: Field,
    view: &View,
) -> (i32, Option<pb::AllocationValueData>) {
    let kind = view.keep(kind, value.kind);
    let amount = view.keep(amount, value.amount);
    let data = pb::AllocationValueData {
        amount: amount.as_ref().map(Amount::to_string),
    };
    let kind: pb::AllocationValueType = kind.map_or(Default::default(), Into::into);
    (kind.into(), unless_empty(data))
}

fn comment(comments: Vec<Comment>, view: &View) -> Option<pb::CommentList> {
    let fields = [
        Field::CommentType,
        Field::Comment,
        Field::CommentBy,
        Field::CommentDateTime,
    ];
    if !view.has_any(&fields) {
        return None;
    }
    let shown = comments.into_iter().map(|comment| pb::Comment {
        comment_type: view.keep(Field::CommentType, comment.comment_type),
        comment: view.keep(Field::Comment, comment.comment),
        last_modified_by: view.keep(Field::CommentBy, comment.last_modified_by),
        last_modified_date_time: view
            .keep(Field::CommentDateTime, comment.last_modified_at)
            .map(timestamp),
    });
    unless_empty(pb::CommentList {
        comments: shown.collect(),
    })
}

fn detail(affirmation: Affirmation, view: &View) -> Option<pb::AllocationDetail> {
    let affirmation = pb::Affirmation {
        is_affirmed: view.keep(Field::IsAffirmed, affirmation.is_affirmed),
        modified_by: view.keep(Field::AffirmedBy, affirmation.modified_by),
        modified_date_time: view
            .keep(Field::AffirmedDateTime, affirmation.modified_at)
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
