//! What the Unicode consortium's CLDR has of languages: their plural categories, and how they write numbers.
//!
//! ICU4X's compiled data lacks half of CLDR's languages, so their tables stand here, made by `scripts/cldr-tables`.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::catalogue::model::language::LanguageTag;

/// The form of a noun that a language uses with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PluralCategory {
    Zero,
    One,
    Two,
    Few,
    Many,
    Other,
}

impl PluralCategory {
    /// The category of a quantity in a language. A language without rules has the category «other» only.
    pub(crate) fn of(quantity: u64, tag: &LanguageTag) -> Self {
        static RULES: LazyLock<HashMap<&str, &str>> =
            LazyLock::new(|| by_tag(include_str!("cldr/plurals.txt"), |rules| rules));
        // Of plural rules, regions and scripts inherit from the language alone, whatever their other parents.
        let names = [
            tag.language_and_region().to_string(),
            tag.language_and_script().to_string(),
            tag.language().to_string(),
        ];
        let rules = names.iter().find_map(|name| RULES.get(name.as_str()));
        let mut rules = rules.into_iter().flat_map(|rules| rules.split("; "));
        let found = rules.find_map(|rule| {
            let (category, condition) = rule.split_once(": ")?;
            holds(condition, quantity).then(|| Self::named(category))
        });
        found.unwrap_or(Self::Other)
    }

    fn named(category: &str) -> Self {
        match category {
            "zero" => Self::Zero,
            "one" => Self::One,
            "two" => Self::Two,
            "few" => Self::Few,
            "many" => Self::Many,
            _ => Self::Other,
        }
    }
}

/// Whether a condition in the syntax of UTS #35 holds: `i % 10 = 2..4 and i % 100 != 12..14 or n = 0`.
fn holds(condition: &str, quantity: u64) -> bool {
    let is_true = |relation| is_true(relation, quantity).unwrap_or(false);
    condition
        .split(" or ")
        .any(|all| all.split(" and ").all(is_true))
}

/// Whether a relation such as `i % 10 = 2..4,9` holds; `None` if it cannot be read.
fn is_true(relation: &str, quantity: u64) -> Option<bool> {
    let (left, ranges, is_negated) = match relation.split_once(" != ") {
        Some((left, ranges)) => (left, ranges, true),
        None => relation
            .split_once(" = ")
            .map(|(left, ranges)| (left, ranges, false))?,
    };
    let (operand, modulus) = match left.split_once(" % ") {
        Some((operand, modulus)) => (operand, Some(modulus.parse::<u64>().ok()?)),
        None => (left, None),
    };
    // The other operands are about decimals and exponents, which a whole number has none of.
    let value = if matches!(operand, "n" | "i") {
        quantity
    } else {
        0
    };
    let value = modulus.map_or(value, |modulus| value % modulus);
    let mut is_within = false;
    for range in ranges.split(',') {
        let (low, high) = range.split_once("..").unwrap_or((range, range));
        is_within |= (low.parse().ok()?..=high.parse().ok()?).contains(&value);
    }
    Some(is_within != is_negated)
}

/// How a language groups the digits of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NumberFormat {
    separator: char,
    /// How many digits the last group has.
    last: usize,
    /// How many digits each other group has, but for the first, which may have fewer.
    others: usize,
    /// How many digits must stand before the last group for any to be grouped.
    before_last_min: usize,
}

impl NumberFormat {
    /// English digits and groups, which also serve for languages that CLDR lacks.
    const ROOT: Self = Self {
        separator: ',',
        last: 3,
        others: 3,
        before_last_min: 1,
    };

    fn of(tag: &LanguageTag) -> Self {
        static FORMATS: LazyLock<HashMap<&str, NumberFormat>> = LazyLock::new(|| {
            by_tag(include_str!("cldr/numbers.txt"), |line| {
                NumberFormat::parse(line).unwrap_or(NumberFormat::ROOT)
            })
        });
        let own = tag.lineage();
        let mut names = own.iter().map(LanguageTag::to_string);
        let format = names.find_map(|name| FORMATS.get(name.as_str()));
        // A script that CLDR lacks for the language has no parent.
        let of_language = || FORMATS.get(tag.language().as_str());
        format.or_else(of_language).copied().unwrap_or(Self::ROOT)
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        let separator = u32::from_str_radix(fields.next()?, 16).ok()?;
        let mut number = || fields.next()?.parse().ok();
        Some(Self {
            separator: char::from_u32(separator)?,
            last: number()?,
            others: number()?,
            before_last_min: number()?,
        })
    }
}

/// A quantity as the language writes numbers, in Latin digits.
pub(crate) fn format_number(quantity: u64, tag: &LanguageTag) -> String {
    let format = NumberFormat::of(tag);
    let digits = quantity.to_string();
    let Some(before_last) = digits.len().checked_sub(format.last) else {
        return digits;
    };
    if before_last < format.before_last_min {
        return digits;
    }
    let mut text = String::with_capacity(2 * digits.len());
    for (at, digit) in digits.char_indices() {
        let is_first_of_group =
            at <= before_last && (before_last - at).is_multiple_of(format.others);
        if at > 0 && is_first_of_group {
            text.push(format.separator);
        }
        text.push(digit);
    }
    text
}

/// Reads a table in which a line stands above the tags that it is about, which are indented.
fn by_tag<T: Copy>(
    table: &'static str,
    read: impl Fn(&'static str) -> T,
) -> HashMap<&'static str, T> {
    let mut all = HashMap::new();
    let mut common = None;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        match (line.strip_prefix("  "), common) {
            (Some(tags), Some(common)) => all.extend(tags.split(' ').map(|tag| (tag, common))),
            _ => common = Some(read(line)),
        }
    }
    all
}

#[cfg(test)]
mod tests;
