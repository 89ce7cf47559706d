use proptest::prelude::*;

use super::*;

fn number(text: &str) -> JsonNumber {
    JsonNumber::parse(text).unwrap_or_else(|| panic!("{text} is a number"))
}

#[test]
fn a_number_is_what_json_says() {
    for good in [
        "0", "-0", "7", "-7", "0.10", "1e3", "1E+3", "10e-1", "-0.0e-0",
    ] {
        assert_eq!(number(good).as_str(), good);
    }
    for bad in [
        "", "-", "+1", "01", "-01", ".5", "5.", "1e", "1e+", "1.e3", "0x1", "NaN", "Infinity",
        " 1", "1 ", "1 2", "１", "null", "\"1\"", "[1]",
    ] {
        assert!(JsonNumber::parse(bad).is_none(), "{bad:?}");
    }
}

#[test]
fn numbers_are_equal_by_value() {
    for (one, other) in [
        ("1", "1.0"),
        ("1", "10e-1"),
        ("1", "0.1E+1"),
        ("1.10", "1.1"),
        ("0", "-0"),
        ("0", "0.000e7"),
        ("-150", "-1.5e2"),
        (
            "100000000000000000000000000000000000001",
            "1.00000000000000000000000000000000000001e38",
        ),
        ("1e9223372036854775807", "10e9223372036854775806"),
    ] {
        assert_eq!(number(one), number(other));
    }
}

#[test]
fn a_value_has_one_canonical_form() {
    for (text, canonical) in [
        ("0", "0e0"),
        ("-0.00e7", "0e0"),
        ("1.0", "1e0"),
        ("-1500", "-15e2"),
        ("0.0250", "25e-3"),
    ] {
        assert_eq!(number(text).canonical(), canonical);
    }
}

#[test]
fn numbers_that_f64_cannot_tell_apart_are_not_equal() {
    for (one, other) in [
        ("1", "-1"),
        ("9007199254740993", "9007199254740992"),
        ("0.1000000000000000055511151231257827", "0.1"),
        ("1e400", "1e401"),
        ("1e-400", "0"),
        (
            "1234567890123456.123456789012",
            "1234567890123456.123456789013",
        ),
    ] {
        assert_ne!(number(one), number(other));
    }
}

#[test]
fn an_exponent_past_64_bits_is_refused() {
    for bad in [
        "1e9223372036854775808",
        "0e-9223372036854775809",
        "1e99999999999999999999999",
    ] {
        assert!(JsonNumber::parse(bad).is_none(), "{bad}");
    }
    // Leading zeros of the exponent do not count.
    assert_eq!(number("1e0000000000000000000000000000001"), number("10"));
}

#[test]
fn a_plain_decimal_has_every_digit_and_no_more() {
    for (text, plain) in [
        ("0", "0"),
        ("-0.00", "0"),
        ("1.50", "1.5"),
        ("-0.050", "-0.05"),
        ("1e3", "1000"),
        ("12.5e-3", "0.0125"),
        ("9999999999999999", "9999999999999999"),
        ("1e15", "1000000000000000"),
        ("1e-12", "0.000000000001"),
        ("1.0000000000000000000", "1"),
        (
            "1234567890123456.123456789012",
            "1234567890123456.123456789012",
        ),
    ] {
        assert_eq!(
            number(text).to_plain(16, 12).as_deref(),
            Some(plain),
            "{text}"
        );
    }
    for beyond in [
        "10000000000000000",
        "1e16",
        "1e9223372036854775807",
        "1e-13",
        "1e-9223372036854775808",
        "0.0000000000001",
        "12345678901234567.5",
    ] {
        assert_eq!(number(beyond).to_plain(16, 12), None, "{beyond}");
    }
}

proptest! {
    #[test]
    fn a_number_is_equal_to_every_other_way_to_write_it(
        mantissa in -1_000_000_i64..1_000_000,
        exponent in -20_i64..20,
        zeros in 0_usize..5,
    ) {
        let written = number(&format!("{mantissa}e{exponent}"));
        let padded = format!("{mantissa}{:0<zeros$}e{}", "", exponent - zeros as i64);
        prop_assert_eq!(&number(&padded), &written);
        let fraction = format!("{mantissa}.{:0<width$}E{exponent}", "", width = zeros + 1);
        prop_assert_eq!(&number(&fraction), &written);
        prop_assert_ne!(&number(&format!("{}e{exponent}", mantissa + 1)), &written);
    }

    #[test]
    fn an_amount_comes_back_as_it_went(mantissa in any::<i64>(), scale in 0_u32..=12) {
        let amount = Amount::from_decimal(rust_decimal::Decimal::new(mantissa, scale));
        let amount = amount.expect("below 28 digits");
        let plain = JsonNumber::from(amount).to_plain(28, 12);
        prop_assert_eq!(plain, Some(amount.to_string()));
    }

    #[test]
    fn an_integer_comes_back_as_it_went(integer in any::<i64>()) {
        let plain = JsonNumber::from(integer).to_plain(19, 0);
        prop_assert_eq!(plain, Some(integer.to_string()));
    }
}
