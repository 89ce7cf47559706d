//! Reads requests: converts what it can, and collects every violation of what it cannot.

mod page;

use std::fmt::Display;

use prost_types::Timestamp;
use uuid::Uuid;

use crate::error::{Error, Result, Violations};
use crate::limits::{FILTER_VALUES_MAX, ID_CHARS_MAX, NAME_CHARS_MAX, NOTE_CHARS_MAX};
use crate::proto::common::v1 as common;
use crate::types::amount::Amount;
use crate::types::text::{self, TextFault};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// Reads one request. Each method returns a value in any case, so that the next field is judged too; the values mean
/// something only if `finish` returns Ok.
#[derive(Debug, Default)]
pub struct Reader {
    violations: Violations,
    page_token_invalid: bool,
}

/// Which way a time finer than a microsecond is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the earlier microsecond: upper bounds and stored times.
    Down,
    /// To the later microsecond: lower bounds.
    Up,
}

impl Reader {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An error if anything was wrong; other arguments come before the page token.
    pub fn finish(self) -> Result<()> {
        self.violations.finish()?;
        if self.page_token_invalid {
            return Err(Error::PageTokenInvalid);
        }
        Ok(())
    }

    /// Records that a field is wrong, and what is allowed.
    pub fn violation(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.violations.add(field, description);
    }

    /// Records what somebody else found wrong.
    pub fn add(&mut self, violations: Violations) {
        self.violations.extend(violations);
    }

    /// Records that the page token is none of this call's.
    pub fn page_token_is_invalid(&mut self) {
        self.page_token_invalid = true;
    }

    /// The same in words that the error must have to the letter.
    pub fn violation_in_words(&mut self, field: &str, sentence: &'static str) {
        self.violations.add_sentence(field, sentence);
    }

    /// A required UUID in its hyphenated form.
    pub fn id<T: From<Uuid>>(&mut self, field: &str, value: &str) -> T {
        match parse_uuid(value) {
            Some(id) => id.into(),
            None => {
                self.violation(
                    field,
                    if value.is_empty() {
                        "is required"
                    } else {
                        "must be a UUID"
                    },
                );
                Uuid::nil().into()
            }
        }
    }

    /// A filter of UUIDs.
    pub fn ids<T: From<Uuid>>(&mut self, field: &str, values: &[String]) -> Vec<T> {
        self.filter(field, values, |value| {
            parse_uuid(value).map(T::from).ok_or("must be a UUID")
        })
    }

    /// A filter of currencies or units.
    pub fn units(&mut self, field: &str, values: &[String]) -> Vec<Unit> {
        self.filter(field, values, |value| Unit::parse(value).ok_or(UNIT_FORM))
    }

    /// A filter of ids or names that callers made: one that no record could have is an error.
    pub fn texts(&mut self, field: &str, values: &[String], chars_max: usize) -> Vec<String> {
        self.filter(field, values, |value| {
            match text::check_required(value, chars_max) {
                Ok(()) => Ok(value.clone()),
                Err(fault) => Err(fault_text(fault)),
            }
        })
    }

    /// A filter of enum values; zero and unknown numbers are errors.
    pub fn enums<E: TryFrom<i32> + PartialEq + Default>(
        &mut self,
        field: &str,
        values: &[i32],
    ) -> Vec<E> {
        self.filter(field, values, |value| match E::try_from(*value) {
            Ok(known) if known != E::default() => Ok(known),
            _ => Err("must be one of the enum's values other than UNSPECIFIED"),
        })
    }

    /// A required enum value.
    pub fn required_enum<E: TryFrom<i32> + PartialEq + Default>(
        &mut self,
        field: &str,
        value: i32,
    ) -> E {
        match E::try_from(value) {
            Ok(known) if known != E::default() => known,
            _ if value == 0 => {
                self.violation(field, "is required");
                E::default()
            }
            _ => {
                self.violation(field, "must be one of the enum's values");
                E::default()
            }
        }
    }

    /// An enum value that may be left unset.
    pub fn optional_enum<E: TryFrom<i32> + PartialEq + Default>(
        &mut self,
        field: &str,
        value: i32,
    ) -> Option<E> {
        match E::try_from(value) {
            Ok(known) => (known != E::default()).then_some(known),
            Err(_) => {
                self.violation(field, "must be one of the enum's values");
                None
            }
        }
    }

    fn filter<V, T, D: Display>(
        &mut self,
        field: &str,
        values: &[V],
        parse: impl Fn(&V) -> Result<T, D>,
    ) -> Vec<T> {
        if values.len() > FILTER_VALUES_MAX {
            self.violation(field, format!("takes at most {FILTER_VALUES_MAX} values"));
            return Vec::new();
        }
        let mut parsed = Vec::with_capacity(values.len());
        for (index, value) in values.iter().enumerate() {
            match parse(value) {
                Ok(value) => parsed.push(value),
                Err(why) => self.violation(format!("{field}[{index}]"), why.to_string()),
            }
        }
        parsed
    }

    /// A required id or key that the caller made.
    pub fn external_id(&mut self, field: &str, value: &str) -> String {
        self.required_text(field, value, ID_CHARS_MAX)
    }

    /// An id or key that the caller made; empty is none.
    pub fn optional_external_id(&mut self, field: &str, value: &str) -> Option<String> {
        self.optional_text(
            field,
            Some(value).filter(|value| !value.is_empty()),
            ID_CHARS_MAX,
        )
    }

    /// A required name.
    pub fn name(&mut self, field: &str, value: &str) -> String {
        self.required_text(field, value, NAME_CHARS_MAX)
    }

    /// A required note, reason or description.
    pub fn note(&mut self, field: &str, value: &str) -> String {
        self.required_text(field, value, NOTE_CHARS_MAX)
    }

    /// A note, reason or description that may be left unset.
    pub fn optional_note(&mut self, field: &str, value: Option<&str>) -> Option<String> {
        self.optional_text(field, value, NOTE_CHARS_MAX)
    }

    /// A required text of 1 to `chars_max` characters.
    pub fn required_text(&mut self, field: &str, value: &str, chars_max: usize) -> String {
        if let Err(fault) = text::check_required(value, chars_max) {
            self.violation(field, fault_text(fault));
        }
        value.into()
    }

    /// A text of at most `chars_max` characters that may be left unset.
    pub fn optional_text(
        &mut self,
        field: &str,
        value: Option<&str>,
        chars_max: usize,
    ) -> Option<String> {
        let value = value?;
        if let Err(fault) = text::check(value, chars_max) {
            self.violation(field, fault_text(fault));
        }
        Some(value.into())
    }

    /// A required currency or unit.
    pub fn unit(&mut self, field: &str, value: &str) -> Unit {
        Unit::parse(value).unwrap_or_else(|| {
            self.violation(
                field,
                if value.is_empty() {
                    "is required"
                } else {
                    UNIT_FORM
                },
            );
            Unit::stored("")
        })
    }

    /// A required amount of base units above zero.
    pub fn amount(&mut self, field: &str, value: Option<&common::Amount>) -> (Unit, Amount) {
        let Some(amount) = value else {
            self.violation(field, "is required");
            return (Unit::stored(""), Amount::ZERO);
        };
        let unit = self.unit(&format!("{field}.currency"), &amount.currency);
        let quantity = Amount::parse_quantity(&amount.quantity).unwrap_or_else(|| {
            self.violation(format!("{field}.quantity"), "must match ^[1-9][0-9]{0,27}$");
            Amount::ZERO
        });
        (unit, quantity)
    }

    /// A required amount of base units other than zero.
    pub fn signed_quantity(&mut self, field: &str, value: &str) -> Amount {
        Amount::parse_signed_quantity(value).unwrap_or_else(|| {
            self.violation(field, "must match ^-?[1-9][0-9]{0,27}$");
            Amount::ZERO
        })
    }

    /// A required decimal of any sign.
    pub fn decimal(&mut self, field: &str, value: &str) -> Amount {
        Amount::parse_decimal(value).unwrap_or_else(|| {
            self.violation(
                field,
                if value.is_empty() {
                    "is required"
                } else {
                    "must be a decimal of at most 16 digits before and 12 after the point"
                },
            );
            Amount::ZERO
        })
    }

    /// A time that may be left unset.
    pub fn optional_time(
        &mut self,
        field: &str,
        value: Option<&Timestamp>,
        rounding: Rounding,
    ) -> Option<Time> {
        let value = value?;
        let time = parse_timestamp(value, rounding);
        if time.is_none() {
            self.violation(
                field,
                "must be a time from 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999Z",
            );
        }
        time
    }

    /// The two bounds of a time range, both inclusive.
    pub fn time_range(
        &mut self,
        (from_field, from): (&str, Option<&Timestamp>),
        (to_field, to): (&str, Option<&Timestamp>),
    ) -> (Option<Time>, Option<Time>) {
        // Compared as given: two bounds between the same two microseconds cross only when rounded, and hold nothing.
        let is_reversed = from
            .zip(to)
            .is_some_and(|(from, to)| (from.seconds, from.nanos) > (to.seconds, to.nanos));
        let from = self.optional_time(from_field, from, Rounding::Up);
        let to = self.optional_time(to_field, to, Rounding::Down);
        if is_reversed && from.is_some() && to.is_some() {
            self.violation(to_field, format!("must not be before {from_field}"));
        }
        (from, to)
    }
}

const UNIT_FORM: &str = "must be 1 to 32 characters of [A-Za-z0-9._:-]";

fn fault_text(fault: TextFault) -> String {
    match fault {
        TextFault::Empty => "is required".into(),
        TextFault::TooLong(max) => format!("must have at most {max} characters"),
        TextFault::Nul => "must not contain NUL".into(),
    }
}

fn parse_uuid(text: &str) -> Option<Uuid> {
    // Only the hyphenated form: the crate would take braces, `urn:` and bare digits too.
    (text.len() == 36).then(|| Uuid::try_parse(text).ok())?
}

fn parse_timestamp(timestamp: &Timestamp, rounding: Rounding) -> Option<Time> {
    /// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, the range of `google.protobuf.Timestamp`.
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    if !SECONDS.contains(&timestamp.seconds) || !(0..1_000_000_000).contains(&timestamp.nanos) {
        return None;
    }
    let nanos = i64::from(timestamp.nanos);
    let micros = match rounding {
        Rounding::Down => nanos / 1_000,
        Rounding::Up => (nanos + 999) / 1_000,
    };
    Time::from_micros(timestamp.seconds * 1_000_000 + micros)
}

/// A time as answers have it.
pub fn timestamp(time: Time) -> Timestamp {
    let (seconds, nanos) = time.seconds_and_nanos();
    Timestamp {
        seconds,
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
