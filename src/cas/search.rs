//! What a search looks for, in which order, and where a page of it begins.

use std::fmt;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::cas::field::{Field, Kind};
use crate::cas::model::{CasAllocation, Word};
use crate::limits::{FILTER_VALUES_MAX, NOTE_CHARS_MAX};
use crate::types::amount::Amount;
use crate::types::page::Page;
use crate::types::text::{self, TextFault};
use crate::types::time::Time;

/// A search.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// Records must fit all of these.
    pub criteria: Vec<Criterion>,
    /// The order, most important first; creation and id come behind.
    pub order: Vec<SortKey>,
    pub page: Page<Place>,
}

/// A part of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortKey {
    pub field: Field,
    pub descending: bool,
}

/// The place of a record in an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its values of the order's fields.
    pub values: Vec<Option<Operand>>,
    pub created_at: Time,
    pub id: Uuid,
}

/// What a record must fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Criterion {
    pub field: Field,
    pub test: Test,
}

/// What a value must fit. An unset one fits `IsNot` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    Is(Operand),
    IsNot(Operand),
    Above(Operand),
    AtLeast(Operand),
    Below(Operand),
    AtMost(Operand),
    In(Vec<Operand>),
    /// A pattern of LIKE.
    Like(String),
}

/// A value to compare with, of its field's kind; a word is a text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operand {
    Id(Uuid),
    Text(String),
    Integer(i64),
    Decimal(Amount),
    Time(Time),
    Flag(bool),
}

/// Which part of a criterion is wrong, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `field`, `operator` or `value`.
    pub part: &'static str,
    pub description: String,
}

impl Fault {
    fn value(description: impl Into<String>) -> Self {
        Self {
            part: "value",
            description: description.into(),
        }
    }
}

/// Which way a time finer than a microsecond is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finer {
    Refuse,
    RoundDown,
    RoundUp,
}

impl Criterion {
    /// Reads a criterion.
    ///
    /// # Errors
    /// What is wrong first.
    pub fn parse(field: &str, operator: &str, value: &str) -> Result<Self, Fault> {
        let field = parse_field(field).map_err(|description| Fault {
            part: "field",
            description,
        })?;
        let kind = field.kind();
        let operand = |finer| Operand::parse(kind, value, finer);
        // No stored time lies between a finer bound and the microsecond that it is rounded to.
        let test = match operator {
            "=" => Test::Is(operand(Finer::Refuse)?),
            "!=" => Test::IsNot(operand(Finer::Refuse)?),
            ">" => Test::Above(operand(Finer::RoundDown)?),
            ">=" => Test::AtLeast(operand(Finer::RoundUp)?),
            "<" => Test::Below(operand(Finer::RoundUp)?),
            "<=" => Test::AtMost(operand(Finer::RoundDown)?),
            "in" => list(kind, value)?,
            "like" => Test::Like(pattern(field, value)?),
            _ => {
                return Err(Fault {
                    part: "operator",
                    description: "must be one of =, !=, >, >=, <, <=, in, like".into(),
                });
            }
        };
        Ok(Self { field, test })
    }
}

/// The field that a criterion or a sort names; else what is allowed.
pub fn parse_field(name: &str) -> Result<Field, String> {
    match Field::parse(name) {
        Some(field) => Ok(field),
        None if name.is_empty() => Err("is required".into()),
        None => Err(format!("must be one of {}", Field::names())),
    }
}

fn list(kind: Kind, value: &str) -> Result<Test, Fault> {
    let mut values = vec![String::new()];
    let mut letters = value.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek()) {
            (',', _) => {
                if values.len() == FILTER_VALUES_MAX {
                    let many = format!("takes at most {FILTER_VALUES_MAX} values");
                    return Err(Fault::value(many));
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
        .map(|value| Operand::parse(kind, value, Finer::Refuse));
    Ok(Test::In(operands.collect::<Result<_, _>>()?))
}

fn push(values: &mut [String], letter: char) {
    if let Some(last) = values.last_mut() {
        last.push(letter);
    }
}

fn pattern(field: Field, value: &str) -> Result<String, Fault> {
    if !matches!(field.kind(), Kind::Text) {
        return Err(Fault {
            part: "operator",
            description: format!("like takes texts: {} is none", field.name()),
        });
    }
    let pattern = text_of(value)?;
    let backslashes = pattern.chars().rev().take_while(|letter| *letter == '\\');
    if backslashes.count() % 2 == 1 {
        return Err(Fault::value(
            "must not end with a backslash that takes nothing",
        ));
    }
    Ok(pattern)
}

fn text_of(value: &str) -> Result<String, Fault> {
    match text::check(value, NOTE_CHARS_MAX) {
        Ok(()) => Ok(value.into()),
        Err(TextFault::Nul) => Err(Fault::value("must not contain NUL")),
        Err(_) => Err(Fault::value(format!(
            "must have at most {NOTE_CHARS_MAX} characters"
        ))),
    }
}

impl Operand {
    fn parse(kind: Kind, value: &str, finer: Finer) -> Result<Self, Fault> {
        match kind {
            Kind::Id if value.len() == 36 => Uuid::try_parse(value)
                .map(Self::Id)
                .map_err(|_| Fault::value("must be a UUID")),
            Kind::Id => Err(Fault::value("must be a UUID")),
            Kind::Text => text_of(value).map(Self::Text),
            Kind::Word { prefix, words } => word(prefix, &words(), value).map(Self::Text),
            Kind::Integer => value
                .parse()
                .map(Self::Integer)
                .map_err(|_| Fault::value("must be a whole number of 64 bits")),
            Kind::Decimal => Amount::parse_decimal(value)
                .map(Self::Decimal)
                .ok_or_else(|| {
                    Fault::value(
                        "must be a decimal of at most 16 digits before and 12 after the point",
                    )
                }),
            Kind::Time => time(value, finer).map(Self::Time),
            Kind::Flag => value
                .parse()
                .map(Self::Flag)
                .map_err(|_| Fault::value("must be true or false")),
        }
    }
}

/// A word as the document or as the proto spells it.
fn word(prefix: &str, words: &[&str], value: &str) -> Result<String, Fault> {
    let is_it = |word: &&&str| {
        let rest = value.strip_prefix(prefix);
        value == **word || rest.is_some_and(|rest| rest == shouted(word))
    };
    match words.iter().find(is_it) {
        Some(word) => Ok((*word).into()),
        None => Err(Fault::value(format!("must be one of {}", words.join(", ")))),
    }
}

/// `deletePending` as `DELETE_PENDING`.
fn shouted(word: &str) -> String {
    let mut shouted = String::with_capacity(word.len() + 1);
    for letter in word.chars() {
        if letter.is_ascii_uppercase() {
            shouted.push('_');
        }
        shouted.push(letter.to_ascii_uppercase());
    }
    shouted
}

fn time(value: &str, finer: Finer) -> Result<Time, Fault> {
    const FORM: &str = "must be a time such as 2020-04-09T04:36:37.423Z, from the year 1 to 9999";
    let parsed = DateTime::parse_from_rfc3339(value).map_err(|_| Fault::value(FORM))?;
    let exact = parsed.with_timezone(&Utc);
    let floor = Time::floor(exact);
    let is_finer = floor.to_chrono() != exact;
    let time = match finer {
        Finer::Refuse if is_finer => {
            return Err(Fault::value("must have at most six fraction digits"));
        }
        Finer::RoundUp if is_finer => Time::floor(exact + TimeDelta::microseconds(1)),
        _ => floor,
    };
    if time.is_storable() {
        Ok(time)
    } else {
        Err(Fault::value(FORM))
    }
}

impl fmt::Display for Operand {
    /// As it is read.
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

/// A place as a page token has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    values: Vec<Option<String>>,
    created_at: Time,
    id: Uuid,
}

impl Cursor {
    /// The place of a stored record in an order.
    pub fn of(record: &CasAllocation, order: &[SortKey]) -> Self {
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

    /// The place in this order; `None` if it is one in another.
    pub fn place(self, order: &[SortKey]) -> Option<Place> {
        if self.values.len() != order.len() {
            return None;
        }
        let mut values = Vec::with_capacity(order.len());
        for (key, value) in order.iter().zip(self.values) {
            values.push(match value {
                Some(value) => Some(Operand::parse(key.field.kind(), &value, Finer::Refuse).ok()?),
                None => None,
            });
        }
        Some(Place {
            values,
            created_at: self.created_at,
            id: self.id,
        })
    }
}

impl CasAllocation {
    /// The value that the record is sorted by: of an array, the first element's.
    fn value(&self, field: Field) -> Option<Operand> {
        let text = |text: &Option<String>| text.clone().map(Operand::Text);
        let said = &self.said;
        let status = said.status_messages.first();
        let comment = said.comments.first();
        match field {
            Field::Id => self.id.map(|id| Operand::Id(id.0)),
            Field::Version => Some(Operand::Integer(self.version)),
            Field::CreatedBy => Some(Operand::Text(self.created_by.clone())),
            Field::CreatedDateTime => self.created_at.map(Operand::Time),
            Field::LastModifiedBy => Some(Operand::Text(self.last_modified_by.clone())),
            Field::LastModifiedDateTime => self.last_modified_at.map(Operand::Time),
            Field::DealId => text(&said.deal_id),
            Field::TrancheId => text(&said.tranche_id),
            Field::SourceId => text(&said.source_id),
            Field::InvestorAccountId => text(&said.investor_account_id),
            Field::IndicationId => text(&said.indication_id),
            Field::CompanyId => said.company_id.map(Operand::Integer),
            Field::SourceRowVersion => text(&said.source_row_version),
            Field::OrderStatus => said.order_status.map(of_word),
            Field::IndicationGroupId => text(&said.indication_group_id),
            Field::StatusCode => text(&status?.code),
            Field::StatusMessage => text(&status?.message),
            Field::ValueType => said.value.kind.map(of_word),
            Field::ValueAmount => said.value.amount.map(Operand::Decimal),
            Field::OverrideType => said.override_value.kind.map(of_word),
            Field::OverrideAmount => said.override_value.amount.map(Operand::Decimal),
            Field::DistributionType => said.distribution_type.map(of_word),
            Field::CommentType => text(&comment?.comment_type),
            Field::Comment => text(&comment?.comment),
            Field::CommentBy => text(&comment?.last_modified_by),
            Field::CommentDateTime => comment?.last_modified_at.map(Operand::Time),
            Field::IsAffirmed => said.affirmation.is_affirmed.map(Operand::Flag),
            Field::AffirmedBy => text(&said.affirmation.modified_by),
            Field::AffirmedDateTime => said.affirmation.modified_at.map(Operand::Time),
        }
    }
}

fn of_word(word: impl Word) -> Operand {
    Operand::Text(word.as_str().into())
}
