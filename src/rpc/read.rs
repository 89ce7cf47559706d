//! Reads the fields of requests: converts valid values, and collects every violation of the others.

mod page;

use std::fmt::Display;

use prost_types::Timestamp;
use uuid::Uuid;

use crate::error::{Error, Result, ViolatedRule, Violations, rule_with_value};
use crate::limits::{FILTER_VALUES_MAX, ID_CHARS_MAX, NAME_CHARS_MAX, NOTE_CHARS_MAX};
use crate::proto::common::v1 as common;
use crate::types::amount::Amount;
use crate::types::text::{self, TextFault};
use crate::types::time::Time;
use crate::types::unit::Unit;

/// Reads one request. Every method returns a value even for an invalid field, so that all fields are checked; the
/// values may be used only if [`Reader::finish`] returns Ok.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    violations: Violations,
    page_token_invalid: bool,
}

/// The direction in which a time finer than a microsecond is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// To the earlier microsecond: inclusive upper bounds and stored times.
    Down,
    /// To the later microsecond: lower bounds, and upper bounds that exclude.
    Up,
}

impl Reader {
    /// Starts reading a request, with no violation so far.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Ends the reading of the request.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] if any field was invalid, else [`Error::PageTokenInvalid`] if the page token was.
    pub(crate) fn finish(self) -> Result<()> {
        self.violations.finish()?;
        if self.page_token_invalid {
            return Err(Error::PageTokenInvalid);
        }
        Ok(())
    }

    /// Adds a violation: the path of the field, and the rule that its value breaks.
    pub(crate) fn violation(&mut self, field: impl Into<String>, rule: impl Into<ViolatedRule>) {
        self.violations.add(field, rule);
    }

    /// Adds a violation whose description also shows the value received.
    pub(crate) fn violation_by(&mut self, field: impl Into<String>, rule: &str, value: &str) {
        self.violations.add(field, rule_with_value(rule, value));
    }

    /// Adds violations that were found outside of this reader.
    pub(crate) fn add(&mut self, violations: Violations) {
        self.violations.extend(violations);
    }

    /// Records that the page token was not returned by the same call for the same filter and sort order.
    pub(crate) fn page_token_is_invalid(&mut self) {
        self.page_token_invalid = true;
    }

    /// Adds a violation for which a source document prescribes the text of the whole error, to the letter.
    pub(crate) fn violation_in_words(&mut self, field: &str, sentence: &'static str) {
        self.violations.add_sentence(field, sentence);
    }

    /// A required UUID in its hyphenated form.
    pub(crate) fn id<T: From<Uuid>>(&mut self, field: &str, value: &str) -> T {
        match parse_uuid(value) {
            Some(id) => id.into(),
            None => {
                self.missing_or_invalid(field, UUID_RULE, value);
                Uuid::nil().into()
            }
        }
    }

    /// A UUID that may be left unset, but is not empty where it is set.
    pub(crate) fn optional_id<T: From<Uuid>>(
        &mut self,
        field: &str,
        value: Option<&str>,
    ) -> Option<T> {
        match value? {
            "" => {
                let rule = "must not be empty: leave it unset instead";
                self.violation(field, rule);
                None
            }
            value => Some(self.id(field, value)),
        }
    }

    /// A list filter whose values are UUIDs.
    pub(crate) fn ids<T: From<Uuid>>(&mut self, field: &str, values: &[String]) -> Vec<T> {
        self.filter(field, values, |value| {
            let id = parse_uuid(value).map(T::from);
            id.ok_or_else(|| rule_with_value(UUID_RULE, value))
        })
    }

    /// A list filter whose values are currencies or units.
    pub(crate) fn units(&mut self, field: &str, values: &[String]) -> Vec<Unit> {
        self.filter(field, values, |value| {
            Unit::parse(value).ok_or_else(|| rule_with_value(UNIT_RULE, value))
        })
    }

    /// A list filter whose values are ids or names that callers chose. A value that no record can have is a violation.
    pub(crate) fn texts(
        &mut self,
        field: &str,
        values: &[String],
        chars_max: usize,
    ) -> Vec<String> {
        self.filter(field, values, |value| {
            match text::check_required(value, chars_max) {
                Ok(()) => Ok(value.clone()),
                Err(fault) => Err(text_rule(fault, value)),
            }
        })
    }

    /// A list filter whose values are numbers of an enum. Zero and unknown numbers are violations.
    pub(crate) fn enums<E: TryFrom<i32> + PartialEq + Default>(
        &mut self,
        field: &str,
        values: &[i32],
    ) -> Vec<E> {
        self.filter(field, values, |value| match E::try_from(*value) {
            Ok(known) if known != E::default() => Ok(known),
            _ => Err(format!("{ENUM_RULE} other than UNSPECIFIED, got {value}")),
        })
    }

    /// A required enum value.
    pub(crate) fn required_enum<E: TryFrom<i32> + PartialEq + Default>(
        &mut self,
        field: &str,
        value: i32,
    ) -> E {
        match E::try_from(value) {
            Ok(known) if known != E::default() => known,
            _ if value == 0 => {
                self.violation(field, REQUIRED);
                E::default()
            }
            _ => {
                self.violation(field, format!("{ENUM_RULE}, got {value}"));
                E::default()
            }
        }
    }

    /// An enum value that may be left unset, which is `None`.
    pub(crate) fn optional_enum<E: TryFrom<i32> + PartialEq + Default>(
        &mut self,
        field: &str,
        value: i32,
    ) -> Option<E> {
        match E::try_from(value) {
            Ok(known) => (known != E::default()).then_some(known),
            Err(_) => {
                self.violation(field, format!("{ENUM_RULE}, got {value}"));
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
            let count = values.len();
            let rule = format!("must have at most {FILTER_VALUES_MAX} values, got {count}");
            self.violation(field, rule);
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

    /// A required id or key that the caller chose, of at most [`ID_CHARS_MAX`] characters.
    pub(crate) fn external_id(&mut self, field: &str, value: &str) -> String {
        if let Err(fault) = text::check_required(value, ID_CHARS_MAX) {
            self.violation(field, text_rule(fault, value));
        }
        value.into()
    }

    /// The same for the id of a new record, which people read: it must not break [`text::broken_id_rule`]. Records that were
    /// stored before the rule stay within reach by [`Self::external_id`].
    pub(crate) fn new_id(&mut self, field: &str, value: &str) -> String {
        let is_short = text::check_required(value, ID_CHARS_MAX).is_ok();
        if let Some(rule) = text::broken_id_rule(value).filter(|_| is_short) {
            self.violation(field, rule);
        }
        self.external_id(field, value)
    }

    /// The same for one that may be left unset, which the empty text is.
    pub(crate) fn optional_external_id(&mut self, field: &str, value: &str) -> Option<String> {
        (!value.is_empty()).then(|| self.external_id(field, value))
    }

    /// A required name of at most [`NAME_CHARS_MAX`] characters.
    pub(crate) fn name(&mut self, field: &str, value: &str) -> String {
        let shown = if text::is_blank(value) { "" } else { value };
        self.required_text(field, shown, NAME_CHARS_MAX)
    }

    /// A required note, reason or description of at most [`NOTE_CHARS_MAX`] characters.
    pub(crate) fn note(&mut self, field: &str, value: &str) -> String {
        self.required_text(field, value, NOTE_CHARS_MAX)
    }

    /// A note or reason of at most [`NOTE_CHARS_MAX`] characters, for which the empty text is the same as unset.
    pub(crate) fn note_or_none(&mut self, field: &str, value: Option<&str>) -> Option<String> {
        self.optional_note(field, value.filter(|text| !text.is_empty()))
    }

    /// A note, reason or description of at most [`NOTE_CHARS_MAX`] characters, which may be left unset.
    pub(crate) fn optional_note(&mut self, field: &str, value: Option<&str>) -> Option<String> {
        self.optional_text(field, value, NOTE_CHARS_MAX)
    }

    /// A required text of 1 to `chars_max` characters.
    pub(crate) fn required_text(&mut self, field: &str, value: &str, chars_max: usize) -> String {
        if let Err(fault) = text::check_required(value, chars_max) {
            self.violation(field, text_rule(fault, value));
        }
        value.into()
    }

    /// A text of at most `chars_max` characters that may be left unset.
    pub(crate) fn optional_text(
        &mut self,
        field: &str,
        value: Option<&str>,
        chars_max: usize,
    ) -> Option<String> {
        let value = value?;
        if let Err(fault) = text::check(value, chars_max) {
            self.violation(field, text_rule(fault, value));
        }
        Some(value.into())
    }

    /// A required currency or unit.
    pub(crate) fn unit(&mut self, field: &str, value: &str) -> Unit {
        Unit::parse(value).unwrap_or_else(|| {
            self.missing_or_invalid(field, UNIT_RULE, value);
            Unit::stored("")
        })
    }

    /// A required amount: a currency, and a positive number of its base units.
    pub(crate) fn amount(&mut self, field: &str, value: Option<&common::Amount>) -> (Unit, Amount) {
        let Some(amount) = value else {
            self.violation(field, REQUIRED);
            return (Unit::stored(""), Amount::ZERO);
        };
        let unit = self.unit(&format!("{field}.currency"), &amount.currency);
        let quantity = Amount::parse_quantity(&amount.quantity).unwrap_or_else(|| {
            let field = format!("{field}.quantity");
            self.missing_or_invalid(&field, QUANTITY_RULE, &amount.quantity);
            Amount::ZERO
        });
        (unit, quantity)
    }

    /// A required number of base units, positive or negative but not zero.
    pub(crate) fn signed_quantity(&mut self, field: &str, value: &str) -> Amount {
        Amount::parse_signed_quantity(value).unwrap_or_else(|| {
            self.missing_or_invalid(field, SIGNED_QUANTITY_RULE, value);
            Amount::ZERO
        })
    }

    /// A required decimal, which may be negative or zero.
    pub(crate) fn decimal(&mut self, field: &str, value: &str) -> Amount {
        Amount::parse_decimal(value).unwrap_or_else(|| {
            self.missing_or_invalid(field, DECIMAL_RULE, value);
            Amount::ZERO
        })
    }

    /// A time that may be left unset.
    pub(crate) fn optional_time(
        &mut self,
        field: &str,
        value: Option<&Timestamp>,
        rounding: Rounding,
    ) -> Option<Time> {
        let value = value?;
        let time = parse_timestamp(value, rounding);
        if time.is_none() {
            self.violation(field, time_rule(value));
        }
        time
    }

    /// The two bounds of a time range, each with the path of its field. Both are inclusive, and either may be unset.
    pub(crate) fn time_range(
        &mut self,
        from: (&str, Option<&Timestamp>),
        to: (&str, Option<&Timestamp>),
    ) -> (Option<Time>, Option<Time>) {
        self.bounds(from, to, Rounding::Down)
    }

    /// The two bounds of a window of time, each with the path of its field: the first time of it, and the first time behind
    /// it. Either may be unset. Returns the first and the last microsecond of it, so that windows `[a, b)` and `[b, c)`
    /// share no record and lose none; equal bounds are an empty window.
    pub(crate) fn time_window(
        &mut self,
        from: (&str, Option<&Timestamp>),
        before: (&str, Option<&Timestamp>),
    ) -> (Option<Time>, Option<Time>) {
        let (from, before) = self.bounds(from, before, Rounding::Up);
        (from, before.map(Time::previous))
    }

    fn bounds(
        &mut self,
        (from_field, from): (&str, Option<&Timestamp>),
        (to_field, to): (&str, Option<&Timestamp>),
        rounding: Rounding,
    ) -> (Option<Time>, Option<Time>) {
        // Compared before rounding: bounds within one microsecond may cross when rounded, and then match no record.
        let is_reversed = from
            .zip(to)
            .is_some_and(|(from, to)| (from.seconds, from.nanos) > (to.seconds, to.nanos));
        let from = self.optional_time(from_field, from, Rounding::Up);
        let to = self.optional_time(to_field, to, rounding);
        if is_reversed && from.is_some() && to.is_some() {
            self.violation(to_field, format!("must not be before {from_field}"));
        }
        (from, to)
    }

    /// Adds a violation of a required text: that it is missing, or the rule that it breaks.
    fn missing_or_invalid(&mut self, field: &str, rule: &str, value: &str) {
        if value.is_empty() {
            self.violation(field, REQUIRED);
        } else {
            self.violation_by(field, rule, value);
        }
    }
}

const REQUIRED: &str = "is required";
const UUID_RULE: &str = "must be a UUID in hyphenated form";
const ENUM_RULE: &str = "must be one of the enum's values";
const UNIT_RULE: &str = "must be 1 to 32 letters, digits or `.`, `_`, `:`, `-`";
const QUANTITY_RULE: &str =
    "must be a positive integer of base units: 1 to 28 digits, without a point or leading zeros";
const SIGNED_QUANTITY_RULE: &str = "must be a positive or negative integer of base units: 1 to 28 digits, without a point \
                                    or leading zeros";
const DECIMAL_RULE: &str = "must be a decimal of at most 16 digits before and 12 after the point";
const TIME_RULE: &str = "must be a time from 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999Z";

/// The rule for a time, with the one received, and what was probably meant by it.
fn time_rule(value: &Timestamp) -> String {
    let Timestamp { seconds, nanos } = *value;
    let advice = match parse_seconds(seconds) {
        None if parse_seconds(seconds / 1_000).is_some() => ": are these milliseconds?",
        _ => "",
    };
    format!("{TIME_RULE}, got {seconds} seconds and {nanos} nanos since 1970{advice}")
}

fn text_rule(fault: TextFault, value: &str) -> String {
    match fault {
        TextFault::Empty => REQUIRED.into(),
        TextFault::TooLong(max) => {
            let count = value.chars().count();
            format!("must have at most {max} characters, got {count}")
        }
        TextFault::Nul => "must not contain the NUL character".into(),
    }
}

fn parse_uuid(text: &str) -> Option<Uuid> {
    // Only the hyphenated form: the crate would also accept braces, `urn:` and digits without hyphens.
    (text.len() == 36).then(|| Uuid::try_parse(text).ok())?
}

/// Seconds that are within the range of `google.protobuf.Timestamp`, from 0001-01-01T00:00:00Z to the end of the year 9999.
fn parse_seconds(seconds: i64) -> Option<i64> {
    (-62_135_596_800..=253_402_300_799)
        .contains(&seconds)
        .then_some(seconds)
}

fn parse_timestamp(timestamp: &Timestamp, rounding: Rounding) -> Option<Time> {
    let seconds = parse_seconds(timestamp.seconds)?;
    if !(0..1_000_000_000).contains(&timestamp.nanos) {
        return None;
    }
    let nanos = i64::from(timestamp.nanos);
    let micros = match rounding {
        Rounding::Down => nanos / 1_000,
        Rounding::Up => (nanos + 999) / 1_000,
    };
    Time::from_micros(seconds * 1_000_000 + micros)
}

/// Converts a time to the message that answers have.
pub(crate) fn timestamp(time: Time) -> Timestamp {
    let (seconds, nanos) = time.seconds_and_nanos();
    Timestamp {
        seconds,
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests;
