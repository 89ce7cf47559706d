//! Prices: decimals that stay as they are written, in currencies of ISO 4217.

use iso_currency::{Currency, IntoEnumIterator as _};

use crate::types::amount::Amount;

/// An amount of a currency, not below zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// At most 16 digits before and 12 after the point; decimals as they were written.
    pub number: String,
    /// A code of ISO 4217.
    pub currency: String,
}

/// Reads a decimal without sign, and keeps its decimals; zeros that lead say nothing and go.
pub fn parse_number(text: &str) -> Option<String> {
    Amount::parse_decimal(text).filter(|_| !text.starts_with('-'))?;
    let number = text.trim_start_matches('0');
    let is_below_one = number.is_empty() || number.starts_with('.');
    Some(format!("{}{number}", if is_below_one { "0" } else { "" }))
}

/// Whether this is the code of an active currency.
pub fn is_active(code: &str) -> bool {
    Currency::from_code(code).is_some_and(is_current)
}

/// The codes of all active currencies.
pub fn active() -> Vec<String> {
    let current = Currency::iter().filter(|currency| is_current(*currency));
    let mut codes: Vec<String> = current.map(|currency| currency.code().into()).collect();
    codes.sort_unstable();
    codes
}

fn is_current(currency: Currency) -> bool {
    // ISO 4217 has kept the bolívar's code beside its successor's; the crate has it as gone.
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
            assert_eq!(parse_number(text).as_deref(), Some(number));
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
            assert_eq!(parse_number(bad), None, "{bad:?}");
        }
    }

    /// Held against the list that the agency in charge published on 2026-01-01: 178 codes.
    #[test]
    fn active_currencies_are_those_of_iso_4217() {
        let active = active();
        assert_eq!(active.len(), 178);
        assert!(active.is_sorted());
        for code in ["USD", "EUR", "JPY", "XDR", "VES", "VED", "XCG", "ZWG"] {
            assert!(
                active.iter().any(|one| one == code) && is_active(code),
                "{code}"
            );
        }
        for code in [
            "", "usd", "US", "USDX", "ABC", "DEM", "HRK", "BGN", "ANG", "BTC",
        ] {
            assert!(!is_active(code), "{code}");
        }
    }

    proptest! {
        #[test]
        fn a_price_means_what_was_written(whole in "[0-9]{1,16}", fraction in "[0-9]{1,12}") {
            let text = format!("{whole}.{fraction}");
            let number = parse_number(&text).expect("a price");
            prop_assert_eq!(Amount::parse_decimal(&number), Amount::parse_decimal(&text));
            let kept = number.split_once('.').map(|(_, kept)| kept);
            prop_assert_eq!(kept, Some(fraction.as_str()));
            prop_assert_eq!(parse_number(&number), Some(number.clone()));
        }
    }
}
