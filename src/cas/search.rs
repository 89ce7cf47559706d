//! Searches: criteria, sort order and page, with the texts that criteria are read from.

use std::fmt;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::cas::field::{CasField, CasFieldType};
use crate::cas::like::LikePattern;
use crate::cas::model::CasAllocation;
use crate::cas::string_enum::StringEnum;
use crate::error::rule_with_value;
use crate::limits::{FILTER_VALUES_MAX, NOTE_CHARS_MAX};
use crate::types::amount::Amount;
use crate::types::page::{Page, PageCursor};
use crate::types::text::{self, TextFault};
use crate::types::time::Time;

/// A search for records that meet all criteria.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CasSearch {
    pub(crate) criteria: Vec<SearchCriterion>,
    /// The sort order, the most significant key first. The time of creation and the id are added as least significant
    /// keys, which makes the order total.
    pub(crate) order: Vec<CasSortKey>,
    pub(crate) page: Page<CasSortPosition>,
}

/// A field that records are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CasSortKey {
    pub(crate) field: CasField,
    pub(crate) descending: bool,
}

/// The position of a record in a sort order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CasSortPosition {
    /// The record's values of the sort keys, in their order.
    pub(crate) values: Vec<Option<CasOperand>>,
    pub(crate) created_at: Time,
    pub(crate) id: Uuid,
}

/// A condition on one field. A field of array elements meets it if any element does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SearchCriterion {
    pub(crate) field: CasField,
    pub(crate) comparison: Comparison,
}

/// A comparison with a field's value. An unset field meets only `NotEqual`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal(CasOperand),
    NotEqual(CasOperand),
    Greater(CasOperand),
    GreaterOrEqual(CasOperand),
    Less(CasOperand),
    LessOrEqual(CasOperand),
    /// Equal to one of these.
    In(Vec<CasOperand>),
    /// A text that matches this pattern.
    Like(LikePattern),
}

/// A value that a field is compared with, of the field's type; that of an enum is a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CasOperand {
    Id(Uuid),
    Text(String),
    Integer(i64),
    Decimal(Amount),
    Time(Time),
    Flag(bool),
}

/// Why a criterion is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CriterionError {
    /// The invalid member of the criterion: `field`, `operator` or `value`.
    pub(crate) member: &'static str,
    /// The rule that the member violates.
    pub(crate) description: String,
}

impl CriterionError {
    fn value(rule: &str, value: &str) -> Self {
        Self {
            member: "value",
            description: rule_with_value(rule, value),
        }
    }
}

/// What to do with a time that is finer than a microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SubMicrosecond {
    Refuse,
    RoundDown,
    RoundUp,
}

impl SearchCriterion {
    /// Reads a criterion from the texts of a request.
    ///
    /// # Errors
    /// The first member that is invalid.
    pub(crate) fn parse(field: &str, operator: &str, value: &str) -> Result<Self, CriterionError> {
        let field = parse_field(field).map_err(|description| CriterionError {
            member: "field",
            description,
        })?;
        let field_type = field.field_type();
        let operand = |finer| CasOperand::parse(field_type, value, finer);
        // Stored times have microseconds, so rounding a finer bound selects the same records.
        let comparison = match operator {
            "=" => Comparison::Equal(operand(SubMicrosecond::Refuse)?),
            "!=" => Comparison::NotEqual(operand(SubMicrosecond::Refuse)?),
            ">" => Comparison::Greater(operand(SubMicrosecond::RoundDown)?),
            ">=" => Comparison::GreaterOrEqual(operand(SubMicrosecond::RoundUp)?),
            "<" => Comparison::Less(operand(SubMicrosecond::RoundUp)?),
            "<=" => Comparison::LessOrEqual(operand(SubMicrosecond::RoundDown)?),
            "in" => list(field_type, value)?,
            "like" => Comparison::Like(pattern(field, value)?),
            other => {
                let rule = "must be one of =, !=, >, >=, <, <=, in, like";
                return Err(CriterionError {
                    member: "operator",
                    description: rule_with_value(rule, other),
                });
            }
        };
        Ok(Self { field, comparison })
    }
}

/// Reads the name of the field that a criterion or a sort key refers to.
///
/// # Errors
/// The rule that the name violates.
pub(crate) fn parse_field(name: &str) -> Result<CasField, String> {
    match CasField::parse(name) {
        Some(field) => Ok(field),
        None if name.is_empty() => Err("is required".into()),
        None => {
            let description = rule_with_value("must be the path of a field", name);
            Err(format!("{description}: one of {}", CasField::names()))
        }
    }
}

/// Reads the values of `in`, separated by commas; `\,` and `\\` stand for a comma and a backslash within a value.
fn list(field_type: CasFieldType, value: &str) -> Result<Comparison, CriterionError> {
    let mut values = vec![String::new()];
    let mut letters = value.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek()) {
            (',', _) => {
                if values.len() == FILTER_VALUES_MAX {
                    let rule = format!("must have at most {FILTER_VALUES_MAX} values");
                    return Err(CriterionError {
                        member: "value",
                        description: rule,
                    });
                }
                values.push(String::new());
            }
            ('\\', Some(&next @ (',' | '\\'))) => {
                letters.next();
                push(&mut values, next);
            }
            _ => push(&mut values, letter),
        }
    }
    let operands = values
        .iter()
        .map(|value| CasOperand::parse(field_type, value, SubMicrosecond::Refuse));
    Ok(Comparison::In(operands.collect::<Result<_, _>>()?))
}

fn push(values: &mut [String], letter: char) {
    if let Some(last) = values.last_mut() {
        last.push(letter);
    }
}

/// Reads a pattern of `like`.
fn pattern(field: CasField, value: &str) -> Result<LikePattern, CriterionError> {
    if !matches!(field.field_type(), CasFieldType::Text) {
        let name = field.name();
        return Err(CriterionError {
            member: "operator",
            description: format!("must not be like for {name}, which is not a text"),
        });
    }
    LikePattern::parse(&text(value)?).ok_or_else(|| {
        let rule = "must not end with a backslash that escapes nothing";
        CriterionError::value(rule, value)
    })
}

fn text(value: &str) -> Result<String, CriterionError> {
    match text::check(value, NOTE_CHARS_MAX) {
        Ok(()) => Ok(value.into()),
        Err(TextFault::Nul) => {
            let rule = "must not contain the NUL character";
            Err(CriterionError::value(rule, value))
        }
        Err(_) => {
            let count = value.chars().count();
            Err(CriterionError {
                member: "value",
                description: format!("must have at most {NOTE_CHARS_MAX} characters, got {count}"),
            })
        }
    }
}

impl CasOperand {
    fn parse(
        field_type: CasFieldType,
        value: &str,
        finer: SubMicrosecond,
    ) -> Result<Self, CriterionError> {
        let violated = |rule| CriterionError::value(rule, value);
        match field_type {
            CasFieldType::Id => (value.len() == 36)
                .then(|| Uuid::try_parse(value).ok())
                .flatten()
                .map(Self::Id)
                .ok_or_else(|| violated("must be a UUID in hyphenated form")),
            CasFieldType::Text => text(value).map(Self::Text),
            CasFieldType::Enum { prefix, values } => {
                string_enum(prefix, &values(), value).map(Self::Text)
            }
            CasFieldType::Integer => value
                .parse()
                .map(Self::Integer)
                .map_err(|_| violated("must be an integer of 64 bits")),
            CasFieldType::Decimal => {
                Amount::parse_decimal(value)
                    .map(Self::Decimal)
                    .ok_or_else(|| {
                        violated(
                            "must be a decimal of at most 16 digits before and 12 after the point",
                        )
                    })
            }
            CasFieldType::Time => time(value, finer).map(Self::Time),
            CasFieldType::Flag => value
                .parse()
                .map(Self::Flag)
                .map_err(|_| violated("must be true or false")),
        }
    }
}

/// Reads the value of an enum as the document form or as the proto spells it.
fn string_enum(prefix: &str, values: &[&str], value: &str) -> Result<String, CriterionError> {
    let is_same = |known: &&&str| {
        let name = value.strip_prefix(prefix);
        value == **known || name.is_some_and(|name| name == screaming_snake(known))
    };
    match values.iter().find(is_same) {
        Some(known) => Ok((*known).into()),
        None => {
            let rule = format!("must be one of {}", values.join(", "));
            Err(CriterionError::value(&rule, value))
        }
    }
}

/// A string in camel case as the proto names an enum's value: `deletePending` becomes `DELETE_PENDING`.
fn screaming_snake(camel_case: &str) -> String {
    let mut name = String::with_capacity(camel_case.len() + 1);
    for letter in camel_case.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

fn time(value: &str, finer: SubMicrosecond) -> Result<Time, CriterionError> {
    const RULE: &str = "must be a time such as 2020-04-09T04:36:37.423Z, from the year 1 to 9999";
    let parsed =
        DateTime::parse_from_rfc3339(value).map_err(|_| CriterionError::value(RULE, value))?;
    let exact = parsed.with_timezone(&Utc);
    let floor = Time::floor(exact);
    let is_finer = floor.to_chrono() != exact;
    let time = match finer {
        SubMicrosecond::Refuse if is_finer => {
            let rule = "must have at most six fraction digits";
            return Err(CriterionError::value(rule, value));
        }
        SubMicrosecond::RoundUp if is_finer => Time::floor(exact + TimeDelta::microseconds(1)),
        _ => floor,
    };
    if time.is_storable() {
        Ok(time)
    } else {
        Err(CriterionError::value(RULE, value))
    }
}

impl fmt::Display for CasOperand {
    /// Writes the text that [`CasOperand::parse`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Decimal(amount) => amount.fmt(f),
            Self::Time(time) => {
                let text = time
                    .to_chrono()
                    .to_rfc3339_opts(SecondsFormat::Micros, true);
                f.write_str(&text)
            }
            Self::Flag(flag) => flag.fmt(f),
        }
    }
}

/// The position of a page's last record as a page token contains it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    values: Vec<Option<String>>,
    created_at: Time,
    id: Uuid,
}

impl PageCursor for Cursor {
    /// The values are checked where the sort order is at hand, by [`Cursor::position`].
    fn is_possible(&self) -> bool {
        true
    }
}

impl Cursor {
    /// The position of a stored record in a sort order.
    pub(crate) fn of(record: &CasAllocation, order: &[CasSortKey]) -> Self {
        let values = order.iter().map(|key| {
            let value = record.value(key.field);
            value.map(|value| value.to_string())
        });
        Self {
            values: values.collect(),
            created_at: record.created_at.unwrap_or(Time::MIN),
            id: record.id.map_or(Uuid::nil(), |id| id.0),
        }
    }

    /// The position in this sort order; `None` if the cursor belongs to another one.
    pub(crate) fn position(self, order: &[CasSortKey]) -> Option<CasSortPosition> {
        if self.values.len() != order.len() {
            return None;
        }
        let mut values = Vec::with_capacity(order.len());
        for (key, value) in order.iter().zip(self.values) {
            let field_type = key.field.field_type();
            values.push(match value {
                Some(value) => {
                    Some(CasOperand::parse(field_type, &value, SubMicrosecond::Refuse).ok()?)
                }
                None => None,
            });
        }
        Some(CasSortPosition {
            values,
            created_at: self.created_at,
            id: self.id,
        })
    }
}

impl CasAllocation {
    /// The value that the record is sorted by; for a field of array elements that of the first element.
    fn value(&self, field: CasField) -> Option<CasOperand> {
        let text = |text: &Option<String>| text.clone().map(CasOperand::Text);
        let fields = &self.fields;
        let status = fields.status_messages.first();
        let comment = fields.comments.first();
        match field {
            CasField::Id => self.id.map(|id| CasOperand::Id(id.0)),
            CasField::Version => Some(CasOperand::Integer(self.version)),
            CasField::CreatedBy => Some(CasOperand::Text(self.created_by.clone())),
            CasField::CreatedDateTime => self.created_at.map(CasOperand::Time),
            CasField::LastModifiedBy => Some(CasOperand::Text(self.last_modified_by.clone())),
            CasField::LastModifiedDateTime => self.last_modified_at.map(CasOperand::Time),
            CasField::DealId => text(&fields.deal_id),
            CasField::TrancheId => text(&fields.tranche_id),
            CasField::SourceId => text(&fields.source_id),
            CasField::InvestorAccountId => text(&fields.investor_account_id),
            CasField::IndicationId => text(&fields.indication_id),
            CasField::CompanyId => fields.company_id.map(CasOperand::Integer),
            CasField::SourceRowVersion => text(&fields.source_row_version),
            CasField::OrderStatus => fields.order_status.map(enum_operand),
            CasField::IndicationGroupId => text(&fields.indication_group_id),
            CasField::StatusCode => text(&status?.code),
            CasField::StatusMessage => text(&status?.message),
            CasField::ValueType => fields.value.value_type.map(enum_operand),
            CasField::ValueAmount => fields.value.amount.map(CasOperand::Decimal),
            CasField::OverrideType => fields.override_value.value_type.map(enum_operand),
            CasField::OverrideAmount => fields.override_value.amount.map(CasOperand::Decimal),
            CasField::DistributionType => fields.distribution_type.map(enum_operand),
            CasField::CommentType => text(&comment?.comment_type),
            CasField::Comment => text(&comment?.comment),
            CasField::CommentBy => text(&comment?.last_modified_by),
            CasField::CommentDateTime => comment?.last_modified_at.map(CasOperand::Time),
            CasField::IsAffirmed => fields.affirmation.is_affirmed.map(CasOperand::Flag),
            CasField::AffirmedBy => text(&fields.affirmation.modified_by),
            CasField::AffirmedDateTime => fields.affirmation.modified_at.map(CasOperand::Time),
        }
    }
}

fn enum_operand(value: impl StringEnum) -> CasOperand {
    CasOperand::Text(value.as_str().into())
}
