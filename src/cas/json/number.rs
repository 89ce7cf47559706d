//! Numbers, exactly as they were written, and equal by value.

use std::fmt;

use serde::de::IgnoredAny;

use crate::types::amount::Amount;

/// A JSON number: the text that was written. Equal by value: `1`, `1.0` and `10e-1` are one number.
#[derive(Clone, Debug)]
pub struct Number(String);

/// What a number is worth: ± `digits` × 10^`exponent`, where `digits` neither begins nor ends with a zero. Zero has no
/// digits, no sign and the exponent 0, so that each value has one form only.
#[derive(PartialEq)]
struct Value {
    is_negative: bool,
    digits: String,
    exponent: i128,
}

impl Number {
    /// Parses a number; `None` if it is none, or if its exponent is past 64 bits.
    pub fn parse(text: &str) -> Option<Self> {
        let begins = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        // A number may stand between blanks in a JSON text, but they are no part of it.
        let ends = text.ends_with(|c: char| c.is_ascii_digit());
        let is_number = begins && ends && serde_json::from_str::<IgnoredAny>(text).is_ok();
        (is_number && exponent(text).is_some()).then(|| Self(text.into()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one way to write its value: whole digits and an exponent.
    pub fn canonical(&self) -> String {
        let Value {
            is_negative,
            digits,
            exponent,
        } = self.value();
        let sign = if is_negative { "-" } else { "" };
        format!("{sign}{digits:0>1}e{exponent}")
    }

    /// Its value as a plain decimal, without exponent, needless zeros or `-0`; `None` if that needs more than
    /// `whole_max` digits before the point or `fraction_max` behind it.
    pub fn to_plain(&self, whole_max: usize, fraction_max: usize) -> Option<String> {
        let Value {
            is_negative,
            digits,
            exponent,
        } = self.value();
        let sign = if is_negative { "-" } else { "" };
        if exponent >= 0 {
            let zeros = usize::try_from(exponent).ok()?;
            if digits.len().checked_add(zeros)? > whole_max {
                return None;
            }
            let digits = if digits.is_empty() { "0" } else { &digits };
            return Some(format!("{sign}{digits}{:0<zeros$}", ""));
        }
        let fraction_digits = usize::try_from(-exponent).ok()?;
        if fraction_digits > fraction_max {
            return None;
        }
        let padded = format!("{digits:0>width$}", width = fraction_digits + 1);
        let (whole, fraction) = padded.split_at(padded.len() - fraction_digits);
        (whole.len() <= whole_max).then(|| format!("{sign}{whole}.{fraction}"))
    }

    fn value(&self) -> Value {
        let unsigned = self.0.trim_start_matches('-');
        let (mantissa, _) = split_exponent(unsigned);
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, fraction].concat();
        let upper = all.trim_end_matches('0');
        let digits = upper.trim_start_matches('0');
        if digits.is_empty() {
            return Value {
                is_negative: false,
                digits: String::new(),
                exponent: 0,
            };
        }
        let written = exponent(&self.0).unwrap_or(0);
        // Lengths are those of a text in memory: nothing here comes near the bounds of 128 bits.
        let behind_point = fraction.len() as i128;
        let trimmed = (all.len() - upper.len()) as i128;
        Value {
            is_negative: self.0.starts_with('-'),
            digits: digits.into(),
            exponent: i128::from(written) - behind_point + trimmed,
        }
    }
}

fn split_exponent(text: &str) -> (&str, &str) {
    text.split_once(['e', 'E']).unwrap_or((text, "0"))
}

fn exponent(text: &str) -> Option<i64> {
    split_exponent(text).1.parse().ok()
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.value() == other.value()
    }
}

impl Eq for Number {}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Self(number.to_string())
    }
}

impl From<Amount> for Number {
    fn from(amount: Amount) -> Self {
        // An amount's text is a plain decimal, which is a JSON number.
        Self(amount.to_string())
    }
}

#[cfg(test)]
mod tests;
