//! The record of book building: what its writers say, and what the server adds.

use std::fmt;

use crate::cas::patch::Patch;
use crate::db::request_key::RequestKey;
use crate::error::Violations;
use crate::limits::{CAS_ELEMENTS_MAX, ID_CHARS_MAX, NOTE_CHARS_MAX, TOKEN_SUBJECT_CHARS_MAX};
use crate::types::amount::Amount;
use crate::types::content::{Content, ContentHash};
use crate::types::ids::{CasAllocationId, OwnerId};
use crate::types::text::{self, TextFault};
use crate::types::time::Time;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CasAllocation {
    /// Unset where a creation was only validated.
    pub id: Option<CasAllocationId>,
    /// The subject of the token that created it.
    pub created_by: String,
    /// Unset where a creation was only validated.
    pub created_at: Option<Time>,
    /// The subject of the token that wrote it last.
    pub last_modified_by: String,
    /// Later with each write; unset where a write was only validated.
    pub last_modified_at: Option<Time>,
    /// Counts the writes, from 1.
    pub version: i64,
    /// What its writers say.
    pub said: Said,
}

/// All of a record that its writers say. What is unset is absent; an object with nothing set in it is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub deal_id: Option<String>,
    pub tranche_id: Option<String>,
    pub source_id: Option<String>,
    pub investor_account_id: Option<String>,
    pub indication_id: Option<String>,
    pub company_id: Option<i64>,
    pub source_row_version: Option<String>,
    pub order_status: Option<OrderStatus>,
    pub indication_group_id: Option<String>,
    pub status_messages: Vec<StatusMessage>,
    pub value: Value,
    /// What counts instead of `value`.
    pub override_value: Value,
    pub distribution_type: Option<DistributionType>,
    pub comments: Vec<Comment>,
    pub affirmation: Affirmation,
}

/// What was said about a status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusMessage {
    pub code: Option<String>,
    pub message: Option<String>,
}

/// How much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// What the amount counts.
    pub kind: Option<ValueType>,
    pub amount: Option<Amount>,
}

/// What somebody said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comment {
    pub comment_type: Option<String>,
    pub comment: Option<String>,
    pub last_modified_by: Option<String>,
    pub last_modified_at: Option<Time>,
}

/// Whether the allocation is affirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affirmation {
    pub is_affirmed: Option<bool>,
    pub modified_by: Option<String>,
    pub modified_at: Option<Time>,
}

/// A closed set of words.
pub trait Word: Copy + PartialEq + Sized + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// As the document form and the database spell it.
    fn as_str(self) -> &'static str;

    /// Reads it back.
    fn parse(text: &str) -> Option<Self> {
        let mut words = Self::ALL.iter().copied();
        words.find(|word| word.as_str() == text)
    }
}

/// How far an order has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStatus {
    Pending,
    Delivered,
    Successful,
    Failed,
    DeletePending,
}

impl Word for OrderStatus {
    const ALL: &'static [Self] = &[
        Self::Pending,
        Self::Delivered,
        Self::Successful,
        Self::Failed,
        Self::DeletePending,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Successful => "successful",
            Self::Failed => "failed",
            Self::DeletePending => "deletePending",
        }
    }
}

/// What an amount counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    Cash,
    Quantity,
}

impl Word for ValueType {
    const ALL: &'static [Self] = &[Self::Cash, Self::Quantity];

    fn as_str(self) -> &'static str {
        match self {
            Self::Cash => "cash",
            Self::Quantity => "quantity",
        }
    }
}

/// How an allocation came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DistributionType {
    Manual,
    Auto,
    None,
}

impl Word for DistributionType {
    const ALL: &'static [Self] = &[Self::Manual, Self::Auto, Self::None];

    fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Auto => "auto",
            Self::None => "none",
        }
    }
}

/// A write, with what every write has.
#[derive(Clone, Debug)]
pub struct Write {
    /// Whose record it is.
    pub firm: OwnerId,
    /// The subject of the caller's token.
    pub subject: String,
    /// Set if the call's key is a `request_id`.
    pub key: Option<RequestKey>,
    /// Judge and answer, but write nothing.
    pub validate_only: bool,
    pub command: Command,
}

/// What to write.
#[derive(Clone, Debug)]
pub enum Command {
    /// A new record. Its source id, if it has one, is the call's key.
    Create(Box<Said>),
    /// A change of a record that is there.
    Change {
        target: Target,
        expected_version: Option<i64>,
        change: Change,
    },
}

/// What to do with a record.
#[derive(Clone, Debug)]
pub enum Change {
    Replace(Box<Said>),
    Patch(Patch),
    Delete,
}

/// Which record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Id(CasAllocationId),
    SourceId(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::SourceId(id) => f.write_str(id),
        }
    }
}

/// What came of a write.
#[derive(Clone, Debug)]
pub struct Written {
    /// The record as it stands now; of a deletion, as it was.
    pub record: CasAllocation,
    /// Whether the call's key was used before, and so nothing was written.
    pub replayed: bool,
}

/// How an error names a member of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// As the request's message has it: `allocation.status_messages[3].code`.
    Message,
    /// As a JSON pointer into the document form: `/statusMessages/3/code`.
    Document,
}

impl Said {
    /// Judges texts and counts, which types alone do not: the same for what a message says and for what a patch leaves.
    pub fn judge(&self, spelling: Spelling, violations: &mut Violations) {
        let mut judge = Judge {
            spelling,
            violations,
        };
        let ids = [
            ("deal_id", "dealId", &self.deal_id),
            ("tranche_id", "trancheId", &self.tranche_id),
            (
                "investor_account_id",
                "investorAccountId",
                &self.investor_account_id,
            ),
            ("indication_id", "indicationId", &self.indication_id),
            (
                "source_row_version",
                "sourceRowVersion",
                &self.source_row_version,
            ),
            (
                "indication_group_id",
                "indicationGroupId",
                &self.indication_group_id,
            ),
        ];
        for (message, document, id) in ids {
            judge.text((message, document), id.as_deref(), ID_CHARS_MAX);
        }
        let source_id = ("source_id", "sourceId");
        judge.text(source_id, self.source_id.as_deref(), ID_CHARS_MAX);
        if self.source_id.as_deref() == Some("") {
            judge.violation(source_id, "must not be empty: leave it unset instead");
        }
        judge.count(
            ("status_messages", "statusMessages"),
            self.status_messages.len(),
        );
        for (index, status) in self.status_messages.iter().enumerate() {
            let place = |message, document| {
                (
                    format!("status_messages[{index}].{message}"),
                    format!("statusMessages/{index}/{document}"),
                )
            };
            judge.text(place("code", "code"), status.code.as_deref(), ID_CHARS_MAX);
            let message = status.message.as_deref();
            judge.text(place("message", "message"), message, NOTE_CHARS_MAX);
        }
        judge.count(
            ("comment.comments", "comment/comments"),
            self.comments.len(),
        );
        for (index, comment) in self.comments.iter().enumerate() {
            let place = |message, document| {
                (
                    format!("comment.comments[{index}].{message}"),
                    format!("comment/comments/{index}/{document}"),
                )
            };
            let kind = comment.comment_type.as_deref();
            judge.text(place("comment_type", "commentType"), kind, ID_CHARS_MAX);
            let text = comment.comment.as_deref();
            judge.text(place("comment", "comment"), text, NOTE_CHARS_MAX);
            judge.text(
                place("last_modified_by", "lastModifiedBy"),
                comment.last_modified_by.as_deref(),
                TOKEN_SUBJECT_CHARS_MAX,
            );
        }
        judge.text(
            (
                "detail.order.affirmation.modified_by",
                "detail/order/affirmation/modifiedBy",
            ),
            self.affirmation.modified_by.as_deref(),
            TOKEN_SUBJECT_CHARS_MAX,
        );
    }

    /// What a repeat is compared by; tags are for ever, see [`Content`].
    pub fn content(&self) -> Content {
        let mut content = Content::new()
            .optional(1, self.deal_id.as_ref())
            .optional(2, self.tranche_id.as_ref())
            .optional(3, self.source_id.as_ref())
            .optional(4, self.investor_account_id.as_ref())
            .optional(5, self.indication_id.as_ref())
            .optional(6, self.company_id.map(i64::to_be_bytes))
            .optional(7, self.source_row_version.as_ref())
            .optional(8, self.order_status.map(Word::as_str))
            .optional(9, self.indication_group_id.as_ref());
        for status in &self.status_messages {
            content = content.field(10, status.content().0);
        }
        content = content
            .optional(11, self.value.kind.map(Word::as_str))
            .optional(12, self.value.amount.map(|amount| amount.to_string()))
            .optional(13, self.override_value.kind.map(Word::as_str))
            .optional(
                14,
                self.override_value.amount.map(|amount| amount.to_string()),
            )
            .optional(15, self.distribution_type.map(Word::as_str));
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

/// A member's place, as a message and as a document names it.
type Place<T> = (T, T);

struct Judge<'v> {
    spelling: Spelling,
    violations: &'v mut Violations,
}

impl Judge<'_> {
    fn violation<T: AsRef<str>>(
        &mut self,
        (message, document): Place<T>,
        description: impl Into<String>,
    ) {
        let field = match self.spelling {
            Spelling::Message => format!("allocation.{}", message.as_ref()),
            Spelling::Document => format!("/{}", document.as_ref()),
        };
        self.violations.add(field, description);
    }

    fn text<T: AsRef<str>>(&mut self, place: Place<T>, text: Option<&str>, chars_max: usize) {
        match text.map(|text| text::check(text, chars_max)) {
            None | Some(Ok(())) => {}
            Some(Err(TextFault::Nul)) => self.violation(place, "must not contain NUL"),
            Some(Err(_)) => {
                self.violation(place, format!("must have at most {chars_max} characters"));
            }
        }
    }

    fn count(&mut self, place: Place<&str>, count: usize) {
        if count > CAS_ELEMENTS_MAX {
            self.violation(place, format!("takes at most {CAS_ELEMENTS_MAX} elements"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_hashes_are_for_ever() {
        let said = Said {
            deal_id: Some("d".into()),
            company_id: Some(7),
            order_status: Some(OrderStatus::DeletePending),
            status_messages: vec![StatusMessage {
                code: Some("c".into()),
                message: None,
            }],
            value: Value {
                kind: Some(ValueType::Cash),
                amount: Amount::parse_decimal("1.50"),
            },
            comments: vec![Comment {
                comment: Some("x".into()),
                last_modified_at: Time::from_micros(1),
                ..Comment::default()
            }],
            ..Said::default()
        };
        let hash = said.content().hash();
        let hex: String = hash.0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, GOLDEN);
    }

    const GOLDEN: &str = "f8399b772d65c6f4415189b30f4f4ba3edd6d7333defd241cd7a0df810fba74e";

    #[test]
    fn what_is_too_long_is_named_in_either_spelling() {
        let said = Said {
            source_id: Some(String::new()),
            status_messages: vec![
                StatusMessage::default(),
                StatusMessage {
                    code: Some("x".repeat(129)),
                    message: Some("\0".into()),
                },
            ],
            comments: vec![Comment::default(); 201],
            ..Said::default()
        };
        let fields = |spelling| {
            let mut violations = Violations::default();
            said.judge(spelling, &mut violations);
            let fields = violations.all().iter().map(|each| each.field.clone());
            fields.collect::<Vec<_>>()
        };
        assert_eq!(
            fields(Spelling::Message),
            [
                "allocation.source_id",
                "allocation.status_messages[1].code",
                "allocation.status_messages[1].message",
                "allocation.comment.comments",
            ]
        );
        assert_eq!(
            fields(Spelling::Document),
            [
                "/sourceId",
                "/statusMessages/1/code",
                "/statusMessages/1/message",
                "/comment/comments",
            ]
        );
    }
}
