//! The values that searches compare fields with, and the texts that they are read from.

use std::fmt;

use chrono::{SecondsFormat, TimeDelta};
use uuid::Uuid;

use crate::cas::field::CasFieldType;
use crate::error::rule_with_value;
use crate::limits::NOTE_CHARS_MAX;
use crate::types::amount::Amount;
use crate::types::nearest::nearest;
use crate::types::text::{self, TextFault};
use crate::types::time::{Time, TimeTextError};

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

/// What to do with a time that is finer than a microsecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubMicrosecond {
    Refuse,
    RoundDown,
    RoundUp,
}

impl CasOperand {
    /// Reads a value of a field of this type.
    ///
    /// # Errors
    /// The rule that the text violates, with the text.
    pub(crate) fn parse(
        field_type: CasFieldType,
        value: &str,
        finer: SubMicrosecond,
    ) -> Result<Self, String> {
        let violated = |rule| rule_with_value(rule, value);
        match field_type {
            CasFieldType::Id => (value.len() == 36)
                .then(|| Uuid::try_parse(value).ok())
                .flatten()
                .map(Self::Id)
                .ok_or_else(|| violated("must be a UUID in hyphenated form")),
            CasFieldType::Text => checked_text(value).map(Self::Text),
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

/// Reads a text, which has no more characters than any stored one.
///
/// # Errors
/// The rule that the text violates.
pub(crate) fn checked_text(value: &str) -> Result<String, String> {
    match text::check(value, NOTE_CHARS_MAX) {
        Ok(()) => Ok(value.into()),
        Err(TextFault::Nul) => Err(rule_with_value("must not contain the NUL character", value)),
        Err(_) => {
            let count = value.chars().count();
            Err(format!(
                "must have at most {NOTE_CHARS_MAX} characters, got {count}"
            ))
        }
    }
}

/// Reads the value of an enum as the document form or as the proto spells it.
fn string_enum(prefix: &str, values: &[&str], value: &str) -> Result<String, String> {
    let is_same = |known: &&&str| {
        let name = value.strip_prefix(prefix);
        value == **known || name.is_some_and(|name| name == screaming_snake(known))
    };
    match values.iter().find(is_same) {
        Some(known) => Ok((*known).into()),
        None => Err(unknown_enum_value(values, value)),
    }
}

/// The rule for a value that no enum value has: those that there are, and the nearest one.
pub(crate) fn unknown_enum_value(values: &[&str], value: &str) -> String {
    let rule = rule_with_value(&format!("must be one of {}", values.join(", ")), value);
    match nearest(value, values.iter().copied()) {
        Some(known) => format!("{rule}: did you mean {known:?}?"),
        None => rule,
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

fn time(value: &str, finer: SubMicrosecond) -> Result<Time, String> {
    let violated = |error: TimeTextError| rule_with_value(&error.to_string(), value);
    let exact = Time::parse_exact(value).map_err(violated)?;
    let floor = Time::floor(exact);
    let is_finer = floor.to_chrono() != exact;
    let time = match finer {
        SubMicrosecond::Refuse if is_finer => {
            let rule = "must have at most six fraction digits";
            return Err(rule_with_value(rule, value));
        }
        SubMicrosecond::RoundUp if is_finer => Time::floor(exact + TimeDelta::microseconds(1)),
        _ => floor,
    };
    match time.is_storable() {
        true => Ok(time),
        false => Err(violated(TimeTextError::Malformed)),
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
