//! Every language of CLDR, compared with tables that `scripts/cldr-tables` makes from another implementation, ICU.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// Numbers that ICU writes otherwise, and why CLDR's data is right for each.
const NUMBERS_UNLIKE_ICU: &[(&str, &str)] = &[
    (
        "fr-CH",
        "CLDR 48.2 has the apostrophe here, which 48.0 in ICU has not yet",
    ),
    ("az-Arab", ICU_CROSSES_SCRIPTS),
    ("az-Arab-IQ", ICU_CROSSES_SCRIPTS),
    ("az-Arab-TR", ICU_CROSSES_SCRIPTS),
    ("ku-Arab", ICU_CROSSES_SCRIPTS),
    ("ku-Arab-IR", ICU_CROSSES_SCRIPTS),
    (
        "ms-Arab-BN",
        "CLDR's data has the separator of Malay in Brunei, which ICU lacks in this script",
    ),
];
const ICU_CROSSES_SCRIPTS: &str = "ICU has no data for the script and takes that of the language in another script; CLDR has the root's";

fn tag(text: &str) -> LanguageTag {
    LanguageTag::parse(text).unwrap_or_else(|| panic!("{text} is a tag"))
}

/// The quantities of the tables, which name them in their third line of comment.
fn quantities() -> Vec<u64> {
    let table = include_str!("tests/categories.txt");
    let line = table.lines().nth(2).expect("the quantities");
    let numbers = line.trim_start_matches("# ").split(' ');
    numbers
        .map(|number| number.parse().expect("a number"))
        .collect()
}

#[test]
fn every_quantity_has_the_category_of_its_language() {
    let quantities = quantities();
    let expected = by_tag(include_str!("tests/categories.txt"), |line| line);
    assert!(quantities.len() >= 40 && expected.len() > 760);
    for (text, categories) in expected {
        let tag = tag(text);
        let found = quantities
            .iter()
            .map(|quantity| match PluralCategory::of(*quantity, &tag) {
                PluralCategory::Zero => 'z',
                PluralCategory::One => 'o',
                PluralCategory::Two => 't',
                PluralCategory::Few => 'f',
                PluralCategory::Many => 'm',
                PluralCategory::Other => 'x',
            });
        assert_eq!(found.collect::<String>(), categories, "{text}");
    }
}

#[test]
fn every_number_is_written_as_its_language_writes_it() {
    let quantities: Vec<u64> = quantities().into_iter().filter(|one| *one > 999).collect();
    let expected = by_tag(include_str!("tests/formats.txt"), |line| line);
    assert!(expected.len() > 760);
    let mut unlike = BTreeSet::new();
    for (text, numbers) in expected {
        let tag = tag(text);
        let found = quantities
            .iter()
            .map(|quantity| format_number(*quantity, &tag));
        if found.collect::<Vec<_>>().join(" ") != numbers {
            unlike.insert(text);
        }
    }
    let named: BTreeMap<_, _> = NUMBERS_UNLIKE_ICU.iter().copied().collect();
    let named: BTreeSet<_> = named.into_keys().collect();
    assert_eq!(unlike, named);
}

#[test]
fn a_tag_that_cldr_lacks_takes_what_its_language_has() {
    for (text, category, number) in [
        // In a script or region that CLDR's list has not.
        ("sr-Latn-DE", PluralCategory::Few, "123.456.782"),
        ("de-Cyrl", PluralCategory::Other, "123.456.782"),
        ("gsw-AT", PluralCategory::Other, "123'456'782"),
        ("hi-Latn-US", PluralCategory::Other, "12,34,56,782"),
        ("pt-Latn-PT", PluralCategory::Other, "123\u{a0}456\u{a0}782"),
        ("no-SE", PluralCategory::Other, "123\u{a0}456\u{a0}782"),
        // A language that it has not.
        ("tlh", PluralCategory::Other, "123,456,782"),
    ] {
        let tag = tag(text);
        let found = (
            PluralCategory::of(123_456_782, &tag),
            format_number(123_456_782, &tag),
        );
        assert_eq!(found, (category, number.into()), "{text}");
    }
    // Portuguese of Portugal has rules of its own, in every spelling of the tag.
    for (text, category) in [
        ("pt-PT", PluralCategory::Other),
        ("pt-Latn-PT", PluralCategory::Other),
        ("pt-BR", PluralCategory::One),
    ] {
        assert_eq!(PluralCategory::of(0, &tag(text)), category, "{text}");
    }
}

#[test]
fn every_rule_can_be_read() {
    let mut read = 0;
    for rules in by_tag(include_str!("plurals.txt"), |rules| rules).values() {
        for rule in rules.split("; ") {
            let (category, condition) = rule.split_once(": ").expect("a rule");
            assert!(["zero", "one", "two", "few", "many"].contains(&category));
            for relation in condition.split(" or ").flat_map(|all| all.split(" and ")) {
                assert!(is_true(relation, 1).is_some(), "{relation}");
                read += 1;
            }
        }
    }
    assert!(read > 300, "{read}");
    for line in include_str!("numbers.txt").lines() {
        assert!(
            line.starts_with(['#', ' ']) || NumberFormat::parse(line).is_some(),
            "{line}"
        );
    }
}
