//! Prices in currencies of ISO 4217. Their decimals stay as they were written: 0.50 does not become 0.5.

use iso_currency::{Currency, IntoEnumIterator as _};

use crate::types::amount::Amount;

/// A price, which is not negative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Price {
    /// A decimal of at most 16 digits before and 12 after the point.
    pub(crate) number: String,
    /// The alphabetic code of a currency that was active when the price was written.
    pub(crate) currency: String,
}

/// Parses the decimal of a price, and removes redundant leading zeros but no trailing ones. `None` if it has a sign or
/// too many digits, or is no decimal.
pub(crate) fn parse_price(text: &str) -> Option<String> {
    Amount::parse_decimal(text).filter(|_| !text.starts_with('-'))?;
    let number = text.trim_start_matches('0');
    let is_below_one = number.is_empty() || number.starts_with('.');
    Some(format!("{}{number}", if is_below_one { "0" } else { "" }))
}

/// Whether this is the alphabetic code of an active currency.
pub(crate) fn is_active_currency(code: &str) -> bool {
    Currency::from_code(code).is_some_and(is_current)
}

/// The alphabetic codes of all active currencies, sorted.
pub(crate) fn active_currencies() -> Vec<String> {
    let current = Currency::iter().filter(|currency| is_current(*currency));
    let mut codes: Vec<String> = current.map(|currency| currency.code().into()).collect();
    codes.sort_unstable();
    codes
}

fn is_current(currency: Currency) -> bool {
    // ISO 4217 lists the code VES beside its successor VED; the crate lists it as superseded.
    currency.is_superseded().is_none() || currency == Currency::VES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prices_keep_their_decimals() {
        for (text, number) in [
            ("0.650000", "0.650000"),
            ("0.5", "0.5"),
            ("7", "7"),
            ("0", "0"),
            ("000", "0"),
            ("0.0", "0.0"),
            ("007.50", "7.50"),
            (
                "9999999999999999.999999999999",
                "9999999999999999.999999999999",
            ),
        ] {
            assert_eq!(parse_price(text).as_deref(), Some(number));
        }
        for bad in [
            "",
            "-1",
            "-0",
            "+1",
            "1e3",
            " 1",
            "1,5",
            ".5",
            "5.",
            "NaN",
            "١",
            "10000000000000000",
            "0.0000000000001",
        ] {
            assert_eq!(parse_price(bad), None, "{bad:?}");
        }
    }

    /// Compared with the list that the maintenance agency published on 2026-01-01, which has 178 codes.
    #[test]
    fn active_currencies_are_those_of_iso_4217() {
        let active = active_currencies();
        assert_eq!(active.len(), 178);
        assert!(active.is_sorted());
        for code in ["USD", "EUR", "JPY", "XDR", "VES", "VED", "XCG", "ZWG"] {
            assert!(
                active.iter().any(|one| one == code) && is_active_currency(code),
                "{code}"
            );
        }
        for code in [
            "", "usd", "US", "USDX", "ABC", "DEM", "HRK", "BGN", "ANG", "BTC",
        ] {
            assert!(!is_active_currency(code), "{code}");
        }
    }

    proptest! {
        #[test]
        fn a_price_means_what_was_written(whole in "[0-9]{1,16}", fraction in "[0-9]{1,12}") {
            let text = format!("{whole}.{fraction}");
            let number = parse_price(&text).expect("a price");
            prop_assert_eq!(Amount::parse_decimal(&number), Amount::parse_decimal(&text));
            let kept = number.split_once('.').map(|(_, kept)| kept);
            prop_assert_eq!(kept, Some(fraction.as_str()));
            prop_assert_eq!(parse_price(&number), Some(number.clone()));
        }
    }
}
