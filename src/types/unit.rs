//! Currencies and units of amounts.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::limits::UNIT_CHARS_MAX;

/// A currency or unit: 1 to 32 characters of `[A-Za-z0-9._:-]`, case-sensitive. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unit(Arc<str>);

impl Unit {
    /// Parses a currency or unit; `None` if the text does not have the form of one.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=UNIT_CHARS_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte));
        fits.then(|| Self(text.into()))
    }

    /// Converts a unit of the database without checking it: it was checked before it was stored.
    pub fn stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The text of the currency or unit.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Maps with units as keys are searched by texts: both are compared and hashed alike.
impl Borrow<str> for Unit {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_1_to_32_characters_of_the_alphabet() {
        for good in ["A", "btc", "EUR-x", "a.b:c_D", &"Z".repeat(32)] {
            assert_eq!(
                Unit::parse(good).map(|unit| unit.to_string()).as_deref(),
                Some(good)
            );
        }
        for bad in [
            "",
            " EUR",
            "EUR ",
            "E+R",
            "€",
            "a/b",
            "a\0",
            &"Z".repeat(33),
        ] {
            assert_eq!(Unit::parse(bad), None, "{bad:?}");
        }
    }
}
