//! Searches: criteria, sort order and page, with the texts that criteria are read from.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::cas::field::{CasArray, CasColumn, CasField, CasFieldType};
use crate::cas::like::LikePattern;
use crate::cas::model::CasAllocation;
use crate::cas::operand::{CasOperand, SubMicrosecond, checked_text};
use crate::cas::string_enum::StringEnum;
use crate::error::{ViolatedRule, rule_with_value};
use crate::limits::FILTER_VALUES_MAX;
use crate::types::page::{Page, PageCursor};
use crate::types::time::Time;

/// A search for records that meet all criteria.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CasSearch {
    pub(crate) criteria: Vec<SearchCriterion>,
    /// The sort order, the most significant key first. The time of creation and the id are added as least significant
    /// keys, which makes the order total.
    pub(crate) order: Vec<CasSortKey>,
    pub(crate) page: Page<CasSortPosition>,
    /// Whether to count the records of all pages.
    pub(crate) is_counted: bool,
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

/// A condition on a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SearchCriterion {
    /// The value of a field; of a field of array elements, that of any element.
    Field(FieldCriterion),
    /// Any one element of the array that meets all of these.
    AnyElement {
        array: CasArray,
        criteria: Vec<FieldCriterion>,
    },
}

/// A condition on one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldCriterion {
    pub(crate) field: CasField,
    pub(crate) comparison: Comparison,
}

/// A comparison with a field's value. An unset field meets only `NotEqual` and `IsUnset`.
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
    IsSet,
    IsUnset,
}

/// Every operator, as requests write it.
const OPERATORS: [&str; 10] = [
    "=", "!=", ">", ">=", "<", "<=", "in", "like", "is-set", "is-unset",
];

/// Why a criterion is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CriterionError {
    /// The invalid member of the criterion: `field`, `operator` or `value`.
    pub(crate) member: &'static str,
    /// The rule that the member violates.
    pub(crate) rule: ViolatedRule,
}

impl CriterionError {
    fn field(rule: impl Into<ViolatedRule>) -> Self {
        let (member, rule) = ("field", rule.into());
        Self { member, rule }
    }

    fn operator(rule: impl Into<ViolatedRule>) -> Self {
        let (member, rule) = ("operator", rule.into());
        Self { member, rule }
    }

    fn value(rule: impl Into<ViolatedRule>) -> Self {
        let (member, rule) = ("value", rule.into());
        Self { member, rule }
    }
}

impl Comparison {
    /// Whether an unset value meets the comparison.
    pub(crate) fn is_met_by_unset(&self) -> bool {
        matches!(self, Self::NotEqual(_) | Self::IsUnset)
    }
}

impl FieldCriterion {
    /// Reads a criterion on a field of records from the texts of a request.
    ///
    /// # Errors
    /// The first member that is invalid.
    pub(crate) fn parse(field: &str, operator: &str, value: &str) -> Result<Self, CriterionError> {
        let field = match CasArray::parse(field) {
            None => parse_field(field).map_err(CriterionError::field)?,
            Some(array) => {
                let members: Vec<_> = array.members().map(|(_, field)| field.name()).collect();
                let rule =
                    "must be a member of the array's elements, or have `any` with criteria on them";
                let rule = rule_with_value(rule, field);
                let kind = format!("member of `{}`", array.name());
                let rule = ViolatedRule::from(rule).listing(&kind, &members);
                return Err(CriterionError::field(rule));
            }
        };
        Self::of(field, operator, value)
    }

    /// Reads a criterion on a member of an array's elements from the texts of a request.
    ///
    /// # Errors
    /// The first member that is invalid.
    pub(crate) fn parse_in(
        array: CasArray,
        member: &str,
        operator: &str,
        value: &str,
    ) -> Result<Self, CriterionError> {
        match array.parse_member(member) {
            Some(field) => Self::of(field, operator, value),
            None if member.is_empty() => Err(CriterionError::field(REQUIRED)),
            None => {
                let known: Vec<_> = array.members().map(|(member, _)| member).collect();
                let kind = format!("member of `{}`", array.name());
                let rule = ViolatedRule::unknown_name(&kind, member, &known);
                Err(CriterionError::field(rule))
            }
        }
    }

    fn of(field: CasField, operator: &str, value: &str) -> Result<Self, CriterionError> {
        let field_type = field.field_type();
        let operand =
            |finer| CasOperand::parse(field_type, value, finer).map_err(CriterionError::value);
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
            "is-set" | "is-unset" if !value.is_empty() => {
                let rule = format!("must be empty with the operator {operator}");
                return Err(CriterionError::value(rule_with_value(&rule, value)));
            }
            "is-set" => Comparison::IsSet,
            "is-unset" => Comparison::IsUnset,
            "" => return Err(CriterionError::operator(REQUIRED)),
            other => {
                let rule = ViolatedRule::unknown_name("operator", other, &OPERATORS);
                return Err(CriterionError::operator(rule));
            }
        };
        Ok(Self { field, comparison })
    }
}

const REQUIRED: &str = "is required";

/// Reads the name of the field that a criterion or a sort key refers to.
///
/// # Errors
/// The rule that the name violates.
pub(crate) fn parse_field(name: &str) -> Result<CasField, ViolatedRule> {
    match CasField::parse(name) {
        Some(field) => Ok(field),
        None if name.is_empty() => Err(REQUIRED.into()),
        None => Err(ViolatedRule::unknown_name(
            "field",
            name,
            &CasField::names(),
        )),
    }
}

/// Reads the name of the array that a criterion with `any` refers to.
///
/// # Errors
/// The rule that the name violates.
pub(crate) fn parse_array(name: &str) -> Result<CasArray, ViolatedRule> {
    match CasArray::parse(name) {
        Some(array) => Ok(array),
        None if name.is_empty() => Err(REQUIRED.into()),
        None => {
            let names: Vec<_> = CasArray::ALL.iter().map(|array| array.name()).collect();
            Err(ViolatedRule::unknown_name("array", name, &names))
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
                values.push(String::new());
            }
            ('\\', Some(&next @ (',' | '\\'))) => {
                letters.next();
                push(&mut values, next);
            }
            _ => push(&mut values, letter),
        }
    }
    if values.len() > FILTER_VALUES_MAX {
        let count = values.len();
        let rule = format!("must have at most {FILTER_VALUES_MAX} values, got {count}");
        return Err(CriterionError::value(rule));
    }
    let operands = values
        .iter()
        .map(|value| CasOperand::parse(field_type, value, SubMicrosecond::Refuse));
    let operands: Result<_, _> = operands.collect();
    operands.map(Comparison::In).map_err(CriterionError::value)
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
        return Err(CriterionError::operator(format!(
            "must not be like for {name}, which is not a text: use another operator"
        )));
    }
    let text = checked_text(value).map_err(CriterionError::value)?;
    LikePattern::parse(&text).ok_or_else(|| {
        let rule = "must not end with a backslash that escapes nothing";
        CriterionError::value(rule_with_value(rule, value))
    })
}

/// The position of a page's last record as a page token contains it, and what else the next page takes from this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    values: Vec<Option<String>>,
    created_at: Time,
    id: Uuid,
    /// The number of records on all pages, if the page showed it.
    total: Option<i64>,
}

impl PageCursor for Cursor {
    /// The values are checked where the sort order is at hand, by [`Cursor::position`].
    fn is_possible(&self) -> bool {
        true
    }
}

impl Cursor {
    /// The position of a stored record in a sort order, on a page that showed this total.
    pub(crate) fn of(record: &CasAllocation, order: &[CasSortKey], total: Option<i64>) -> Self {
        let values = order.iter().map(|key| {
            let value = record.value(key.field);
            value.map(|value| value.to_string())
        });
        Self {
            values: values.collect(),
            created_at: record.created_at.unwrap_or(Time::MIN),
            id: record.id.map_or(Uuid::nil(), |id| id.0),
            total,
        }
    }

    /// The position in this sort order, and the total of the page before; `None` if no page can have returned the cursor
    /// for this order. Callers can forge one, so it is checked like any argument.
    pub(crate) fn position(self, order: &[CasSortKey]) -> Option<(CasSortPosition, Option<i64>)> {
        if self.values.len() != order.len() || self.total.is_some_and(|total| total < 1) {
            return None;
        }
        let mut values = Vec::with_capacity(order.len());
        for (key, value) in order.iter().zip(self.values) {
            let field_type = key.field.field_type();
            values.push(match (value, key.field.column()) {
                (Some(value), _) => {
                    Some(CasOperand::parse(field_type, &value, SubMicrosecond::Refuse).ok()?)
                }
                (None, CasColumn::Required(_)) => return None,
                (None, _) => None,
            });
        }
        let position = CasSortPosition {
            values,
            created_at: self.created_at,
            id: self.id,
        };
        Some((position, self.total))
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
