//! The record of CasAllocationService: the fields that callers set, and those that the server adds.

use crate::audit::{Named, RecordId};
use crate::cas::string_enum::{CasValueType, DistributionType, OrderStatus, StringEnum};
use crate::types::amount::Amount;
use crate::types::content::{Content, ContentHash};
use crate::types::ids::CasAllocationId;
use crate::types::time::Time;

/// An allocation of book building.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CasAllocation {
    /// Unset in the answer to a creation with `validate_only`.
    pub(crate) id: Option<CasAllocationId>,
    /// The subject of the token that created the record.
    pub(crate) created_by: String,
    /// Unset in the answer to a creation with `validate_only`.
    pub(crate) created_at: Option<Time>,
    /// The subject of the token of the last write.
    pub(crate) last_modified_by: String,
    /// Strictly later with every write of the record; unset in the answer to any write with `validate_only`.
    pub(crate) last_modified_at: Option<Time>,
    /// Number of writes of the record, its creation included: starts at 1.
    pub(crate) version: i64,
    /// Everything that callers set.
    pub(crate) fields: RecordFields,
}

impl Named for CasAllocation {
    const KIND: &'static str = "cas_allocation";

    fn record_id(&self) -> Option<RecordId> {
        self.id.map(|id| RecordId::Uuid(id.0))
    }
}

/// The fields of an allocation that callers set. An unset field is `None`; an object of the document form without any
/// set field counts as unset too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RecordFields {
    pub(crate) deal_id: Option<String>,
    pub(crate) tranche_id: Option<String>,
    /// The caller's own key of the record, unique within a firm; never the empty text.
    pub(crate) source_id: Option<String>,
    pub(crate) investor_account_id: Option<String>,
    pub(crate) indication_id: Option<String>,
    pub(crate) company_id: Option<i64>,
    pub(crate) source_row_version: Option<String>,
    pub(crate) order_status: Option<OrderStatus>,
    pub(crate) indication_group_id: Option<String>,
    pub(crate) status_messages: Vec<StatusMessage>,
    pub(crate) value: CasValue,
    /// Takes the place of `value` where it is set.
    pub(crate) override_value: CasValue,
    pub(crate) distribution_type: Option<DistributionType>,
    pub(crate) comments: Vec<Comment>,
    pub(crate) affirmation: Affirmation,
}

/// A message about the status of the order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StatusMessage {
    pub(crate) code: Option<String>,
    pub(crate) message: Option<String>,
}

/// An allocated value: an amount, and what it is an amount of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CasValue {
    pub(crate) value_type: Option<CasValueType>,
    pub(crate) amount: Option<Amount>,
}

/// A comment on the allocation. Author and time are the caller's own statements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comment {
    pub(crate) comment_type: Option<String>,
    pub(crate) comment: Option<String>,
    pub(crate) last_modified_by: Option<String>,
    pub(crate) last_modified_at: Option<Time>,
}

/// Whether the allocation is affirmed. Author and time are the caller's own statements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Affirmation {
    pub(crate) is_affirmed: Option<bool>,
    pub(crate) modified_by: Option<String>,
    pub(crate) modified_at: Option<Time>,
}

impl RecordFields {
    /// The content that a repeated call is compared by. The tags are part of stored hashes and never change.
    pub(crate) fn content(&self) -> Content {
        let mut content = Content::new()
            .optional(1, self.deal_id.as_ref())
            .optional(2, self.tranche_id.as_ref())
            .optional(3, self.source_id.as_ref())
            .optional(4, self.investor_account_id.as_ref())
            .optional(5, self.indication_id.as_ref())
            .optional(6, self.company_id.map(i64::to_be_bytes))
            .optional(7, self.source_row_version.as_ref())
            .optional(8, self.order_status.map(StringEnum::as_str))
            .optional(9, self.indication_group_id.as_ref());
        for status in &self.status_messages {
            content = content.field(10, status.content().0);
        }
        content = content
            .optional(11, self.value.value_type.map(StringEnum::as_str))
            .optional(12, self.value.amount.map(|amount| amount.to_string()))
            .optional(13, self.override_value.value_type.map(StringEnum::as_str))
            .optional(
                14,
                self.override_value.amount.map(|amount| amount.to_string()),
            )
            .optional(15, self.distribution_type.map(StringEnum::as_str));
        for comment in &self.comments {
            content = content.field(16, comment.content().0);
        }
        let affirmation = &self.affirmation;
        content
            .optional(17, affirmation.is_affirmed.map(|is| [u8::from(is)]))
            .optional(18, affirmation.modified_by.as_ref())
            .optional(19, affirmation.modified_at.map(micros))
    }
}

impl StatusMessage {
    fn content(&self) -> ContentHash {
        Content::new()
            .optional(1, self.code.as_ref())
            .optional(2, self.message.as_ref())
            .hash()
    }
}

impl Comment {
    fn content(&self) -> ContentHash {
        Content::new()
            .optional(1, self.comment_type.as_ref())
            .optional(2, self.comment.as_ref())
            .optional(3, self.last_modified_by.as_ref())
            .optional(4, self.last_modified_at.map(micros))
            .hash()
    }
}

fn micros(time: Time) -> [u8; 8] {
    time.micros().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_hashes_are_for_ever() {
        let fields = RecordFields {
            deal_id: Some("d".into()),
            company_id: Some(7),
            order_status: Some(OrderStatus::DeletePending),
            status_messages: vec![StatusMessage {
                code: Some("c".into()),
                message: None,
            }],
            value: CasValue {
                value_type: Some(CasValueType::Cash),
                amount: Amount::parse_decimal("1.50"),
            },
            comments: vec![Comment {
                comment: Some("x".into()),
                last_modified_at: Time::from_micros(1),
                ..Comment::default()
            }],
            ..RecordFields::default()
        };
        let hash = fields.content().hash();
        let hex: String = hash.0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
    }

    const GOLDEN: &str = "f8399b772d65c6f4415189b30f4f4ba3edd6d7333defd241cd7a0df810fba74e";
}
