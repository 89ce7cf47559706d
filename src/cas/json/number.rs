//! JSON numbers, which keep the text that was written and are compared by value.

use std::fmt;

use serde::de::IgnoredAny;

use crate::types::amount::Amount;

/// A JSON number as the text that was written. Equality is by value: `1`, `1.0` and `10e-1` are equal.
#[derive(Clone, Debug)]
pub(crate) struct JsonNumber(String);

/// The value of a number: ± `digits` × 10^`exponent`, where `digits` neither begins nor ends with a zero. Zero has no
/// digits, no sign and the exponent 0, so that each value has exactly one form.
#[derive(PartialEq)]
struct DecimalParts {
    is_negative: bool,
    digits: String,
    exponent: i128,
}

impl JsonNumber {
    /// Parses a number; `None` if the text is not a JSON number or its exponent exceeds 64 bits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let begins = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        // serde_json accepts blanks around the number.
        let ends = text.ends_with(|c: char| c.is_ascii_digit());
        let is_number = begins && ends && serde_json::from_str::<IgnoredAny>(text).is_ok();
        (is_number && exponent(text).is_some()).then(|| Self(text.into()))
    }

    /// The text of the number as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The value as digits and an exponent; the same text for equal numbers.
    pub(crate) fn canonical(&self) -> String {
        let DecimalParts {
            is_negative,
            digits,
            exponent,
        } = self.value();
        let sign = if is_negative { "-" } else { "" };
        format!("{sign}{digits:0>1}e{exponent}")
    }

    /// The value as a decimal without exponent, redundant zeros or `-0`; `None` if it takes more than `whole_max`
    /// digits before the point or `fraction_max` after it.
    pub(crate) fn to_plain(&self, whole_max: usize, fraction_max: usize) -> Option<String> {
        let DecimalParts {
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

    fn value(&self) -> DecimalParts {
        let unsigned = self.0.trim_start_matches('-');
        let (mantissa, _) = split_exponent(unsigned);
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, fraction].concat();
        let upper = all.trim_end_matches('0');
        let digits = upper.trim_start_matches('0');
        if digits.is_empty() {
            return DecimalParts {
                is_negative: false,
                digits: String::new(),
                exponent: 0,
            };
        }
        let written = exponent(&self.0).unwrap_or(0);
        // The lengths are those of a text in memory, so none of these sums exceeds 128 bits.
        let behind_point = fraction.len() as i128;
        let trimmed = (all.len() - upper.len()) as i128;
        DecimalParts {
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

impl PartialEq for JsonNumber {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.value() == other.value()
    }
}

impl Eq for JsonNumber {}

impl fmt::Display for JsonNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<i64> for JsonNumber {
    fn from(number: i64) -> Self {
        Self(number.to_string())
    }
}

impl From<Amount> for JsonNumber {
    fn from(amount: Amount) -> Self {
        // The text of an amount is a decimal without exponent, which is a JSON number.
        Self(amount.to_string())
    }
}

#[cfg(test)]
mod tests;
