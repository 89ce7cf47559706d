//! Exact decimal amounts, which are never rounded.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use rust_decimal::Decimal;

/// A signed decimal of at most 28 digits. Sums are exact or `None`. Values are compared without
/// regard to trailing zeros.
#[derive(Clone, Copy, Debug, Default)]
pub struct Amount(Decimal);

/// 10^28: the mantissa of every amount is nearer to zero.
const MANTISSA_LIMIT: i128 = 10_i128.pow(28);

impl Amount {
    /// The amount of zero base units.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// 10^16: greater than every decimal with at most 16 digits before its point.
    pub const DECIMAL_LIMIT: Self =
        Self(Decimal::from_parts(0x6fc1_0000, 0x0023_86f2, 0, false, 0));

    /// Parses a positive integer of base units, `^[1-9][0-9]{0,27}$`.
    pub fn parse_quantity(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let fits = (1..=28).contains(&digits.len())
            && digits[0] != b'0'
            && digits.iter().all(u8::is_ascii_digit);
        if !fits {
            return None;
        }
        // At most 28 digits: fits 96 bits.
        let mantissa: i128 = text.parse().ok()?;
        Some(Self(Decimal::from_i128_with_scale(mantissa, 0)))
    }

    /// Parses a positive or negative integer of base units, `^-?[1-9][0-9]{0,27}$`.
    pub fn parse_signed_quantity(text: &str) -> Option<Self> {
        match text.strip_prefix('-') {
            Some(digits) => Self::parse_quantity(digits).map(Self::negated),
            None => Self::parse_quantity(text),
        }
    }

    /// Parses a decimal of at most 16 digits before and 12 after the point, `^-?[0-9]{1,16}(\.[0-9]{1,12})?$`.
    pub fn parse_decimal(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (unsigned, None),
        };
        let fits = |digits: &str, max: usize| {
            (1..=max).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !fits(whole, 16) || !fraction.is_none_or(|fraction| fits(fraction, 12)) {
            return None;
        }
        // At most 28 digits: exact.
        let decimal = Decimal::from_str_exact(text).ok()?;
        Self::from_decimal(decimal)
    }

    /// Converts a decimal of the database; `None` if it has more than 28 digits, which the checks of
    /// the tables rule out.
    pub fn from_decimal(decimal: Decimal) -> Option<Self> {
        let decimal = decimal.normalize();
        (decimal.mantissa().abs() < MANTISSA_LIMIT).then_some(Self(decimal))
    }

    /// The value in the type of the database's driver.
    pub fn to_decimal(self) -> Decimal {
        self.0
    }

    /// The exact sum; `None` if it needs more than 28 digits.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let mut scale = self.0.scale().max(other.0.scale());
        let mut sum = self
            .mantissa_at(scale)?
            .checked_add(other.mantissa_at(scale)?)?;
        // Trailing zeros behind the point do not count as digits.
        while scale > 0 && sum % 10 == 0 {
            sum /= 10;
            scale -= 1;
        }
        (sum.abs() < MANTISSA_LIMIT).then(|| Self(Decimal::from_i128_with_scale(sum, scale)))
    }

    /// The exact difference; `None` if it needs more than 28 digits.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.checked_add(other.negated())
    }

    /// The amount with the opposite sign; zero stays zero.
    pub fn negated(self) -> Self {
        Self(-self.0)
    }

    /// Whether the amount is less than zero.
    pub fn is_negative(self) -> bool {
        self.0.is_sign_negative() && !self.0.is_zero()
    }

    /// Whether the amount is exactly zero.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    fn mantissa_at(self, scale: u32) -> Option<i128> {
        let factor = 10_i128.checked_pow(scale.checked_sub(self.0.scale())?)?;
        self.0.mantissa().checked_mul(factor)
    }
}

impl fmt::Display for Amount {
    /// Writes the canonical form: no trailing zeros, no `-0`, no exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() {
            return f.write_str("0");
        }
        self.0.normalize().fmt(f)
    }
}

impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Amount {}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl Hash for Amount {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.normalize().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GREATEST: &str = "9999999999999999999999999999";

    #[test]
    fn quantities_are_positive_integers_of_at_most_28_digits() {
        for good in ["1", "10", GREATEST] {
            assert_eq!(
                Amount::parse_quantity(good)
                    .map(|a| a.to_string())
                    .as_deref(),
                Some(good)
            );
        }
        let too_long = format!("{GREATEST}0");
        for bad in [
            "", "0", "01", "-1", "+1", "1.0", "1e3", " 1", "1 ", "NaN", "１", &too_long,
        ] {
            assert_eq!(Amount::parse_quantity(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn signed_quantities_take_one_minus() {
        assert_eq!(
            Amount::parse_signed_quantity("-7")
                .map(|a| a.to_string())
                .as_deref(),
            Some("-7")
        );
        for bad in ["-", "--1", "-0", "+1", "- 1"] {
            assert_eq!(Amount::parse_signed_quantity(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn decimals_have_at_most_16_digits_before_and_12_after_the_point() {
        for (text, canonical) in [
            ("0", "0"),
            ("-0.0", "0"),
            ("007.50", "7.5"),
            ("-1.000000000001", "-1.000000000001"),
            (
                "9999999999999999.999999999999",
                "9999999999999999.999999999999",
            ),
        ] {
            let parsed = Amount::parse_decimal(text).map(|amount| amount.to_string());
            assert_eq!(parsed.as_deref(), Some(canonical));
        }
        for bad in [
            "",
            "-",
            ".",
            "5.",
            ".5",
            "+1",
            "--1",
            "1e3",
            " 1",
            "1 ",
            "1,5",
            "1.2.3",
            "NaN",
            "１",
            "0x1",
            "1_000",
            "10000000000000000",
            "0.0000000000000",
            "00000000000000001",
        ] {
            assert_eq!(Amount::parse_decimal(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_sum_past_28_digits_is_refused_rather_than_rounded() {
        let greatest = Amount::parse_quantity(GREATEST).expect("fits");
        let one = Amount::parse_quantity("1").expect("fits");
        assert_eq!(greatest.checked_add(one), None);
        let tiny = Amount::from_decimal(Decimal::new(1, 12)).expect("fits");
        assert_eq!(
            greatest.checked_add(tiny),
            None,
            "rust_decimal alone would round here"
        );
        assert_eq!(
            greatest.checked_sub(one).and_then(|a| a.checked_add(one)),
            Some(greatest)
        );
    }

    fn amount() -> impl Strategy<Value = Amount> {
        let edge = MANTISSA_LIMIT - 1;
        let mantissa = prop_oneof![
            -edge..=edge,
            Just(edge),
            Just(-edge),
            Just(0),
            -1000_i128..1000
        ];
        (mantissa, 0_u32..=12).prop_map(|(mantissa, scale)| {
            Amount::from_decimal(Decimal::from_i128_with_scale(mantissa, scale))
                .expect("below the limit")
        })
    }

    proptest! {
        #[test]
        fn sums_are_exact_or_refused(a in amount(), b in amount()) {
            // The reference counts in units of 10^-12, by hand, in two halves that cannot overflow.
            let units = |amount: Amount| {
                let text = amount.to_string();
                let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
                let sign = if text.starts_with('-') { -1 } else { 1 };
                let whole: i128 = whole.parse().expect("digits");
                let fraction: i128 = format!("{fraction:0<12}").parse().expect("digits");
                (whole, sign * fraction)
            };
            if let Some(sum) = a.checked_add(b) {
                let ((aw, af), (bw, bf), (sw, sf)) = (units(a), units(b), units(sum));
                prop_assert_eq!((aw + bw - sw) * 1_000_000_000_000 + af + bf - sf, 0);
                prop_assert_eq!(sum.checked_sub(b), Some(a));
                prop_assert_eq!(b.checked_add(a), Some(sum));
            }
        }

        #[test]
        fn decimals_are_read_exactly(whole in "[0-9]{1,16}", fraction in "[0-9]{1,12}") {
            let text = format!("-{whole}.{fraction}");
            let parsed = Amount::parse_decimal(&text).expect("fits");
            prop_assert_eq!(Some(parsed), Amount::from_decimal(text.parse().expect("a decimal")));
        }

        #[test]
        fn texts_are_canonical(a in amount()) {
            let text = a.to_string();
            prop_assert!(!text.contains('e') && text != "-0");
            prop_assert!(!text.contains('.') || !text.ends_with('0'));
            prop_assert_eq!(Amount::from_decimal(text.parse().expect("a decimal")), Some(a));
        }
    }
}
