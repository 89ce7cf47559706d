//! Tags, their canonical forms, and what they fall back to.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> LanguageTag {
    LanguageTag::parse(text).unwrap_or_else(|| panic!("{text} is a tag"))
}

#[test]
fn tags_take_their_usual_case() {
    for (text, tag) in [
        ("en", "en"),
        ("EN-us", "en-US"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("sl-rozaj-biske", "sl-biske-rozaj"),
        ("es-419", "es-419"),
        ("gsw", "gsw"),
    ] {
        let parsed = LanguageTag::parse(text).map(|tag| tag.to_string());
        assert_eq!(parsed.as_deref(), Some(tag));
    }
    for bad in [
        "",
        " ",
        "e",
        "en_US",
        "en-",
        "-en",
        "en--US",
        "en-USA",
        "english-language",
        "fr CA",
        "fr\0",
        "und",
        "und-US",
        "en-u-nu-arab",
        "x-private",
        "12",
        "العربية",
    ] {
        assert_eq!(LanguageTag::parse(bad), None, "{bad:?}");
    }
}

#[test]
fn tags_take_their_canonical_form() {
    for (text, tag) in [
        ("iw", "he"),
        ("iw-IL", "he-IL"),
        ("in", "id"),
        ("tl", "fil"),
        ("ji", "yi"),
        ("mo", "ro"),
        ("sh", "sr-Latn"),
        ("cmn-Hans", "zh-Hans"),
        ("no", "nb"),
        ("no-NO", "nb-NO"),
        ("nb", "nb"),
        ("nn-NO", "nn-NO"),
        ("en-UK", "en-GB"),
        ("de-DD", "de-DE"),
        ("sr-Cyrl-YU", "sr-Cyrl-RS"),
        ("zh-yue-HK", "yue-HK"),
        ("zh-cmn-Hans", "zh-Hans"),
        ("zh-min-nan", "nan"),
        ("zh-Hant-TW", "zh-Hant-TW"),
        ("zh-TW", "zh-TW"),
    ] {
        assert_eq!(parse(text).to_string(), tag, "{text}");
        let requested = LanguageTag::parse_requested(text);
        assert_eq!(requested, Some(parse(text)), "{text}");
    }
}

#[test]
fn a_reader_may_ask_with_extensions() {
    let requested = |text| LanguageTag::parse_requested(text).map(|tag| tag.to_string());
    assert_eq!(requested("AR-eg-u-nu-arab").as_deref(), Some("ar-EG"));
    assert_eq!(requested("und").as_deref(), Some("und"));
    for bad in ["", "en_US", "en-u", "en-u-nu-arab-", "fr CA"] {
        assert_eq!(requested(bad), None, "{bad:?}");
    }
}

#[test]
fn a_tag_falls_back_subtag_by_subtag_and_to_its_parents() {
    for (tag, lineage) in [
        ("fr", "fr fr-Latn"),
        ("fr-CA", "fr-CA fr-Latn-CA fr fr-Latn"),
        ("es-MX", "es-MX es-Latn-MX es-419 es-Latn-419 es es-Latn"),
        ("pt-AO", "pt-AO pt-Latn-AO pt-PT pt-Latn-PT pt pt-Latn"),
        ("zh-TW", "zh-TW zh-Hant-TW zh-Hant"),
        ("zh-Hant-TW", "zh-Hant-TW zh-TW zh-Hant"),
        ("zh-CN", "zh-CN zh-Hans-CN zh zh-Hans"),
        ("zh-MO", "zh-MO zh-Hant-MO zh-HK zh-Hant-HK zh-Hant"),
        ("sr-ME", "sr-ME sr-Latn-ME sr-Latn"),
        ("nn-NO", "nn-NO nn-Latn-NO nn nn-Latn nb nb-Latn"),
        ("no", "nb nb-Latn"),
        (
            "sl-IT-nedis-rozaj",
            "sl-IT-nedis-rozaj sl-IT-nedis sl-IT sl-Latn-IT sl sl-Latn",
        ),
        // No language of CLDR.
        ("tlh-US", "tlh-US tlh"),
    ] {
        let found = parse(tag).lineage();
        let found: Vec<_> = found.iter().map(LanguageTag::to_string).collect();
        assert_eq!(found.join(" "), lineage, "{tag}");
    }
    for unknown in ["und", "und-TW", "und-Hant"] {
        let tag = LanguageTag::parse_requested(unknown).expect("a tag");
        assert!(tag.lineage().contains(&tag));
    }
}

/// The languages, each with its script, that a tag falls back to: equivalent tags are one.
fn parents_of(tag: &LanguageTag) -> Vec<LanguageTag> {
    distinct(tag, tag.lineage())
}

fn distinct(tag: &LanguageTag, lineage: impl IntoIterator<Item = LanguageTag>) -> Vec<LanguageTag> {
    let mut distinct = vec![tag.with_script()];
    for tag in lineage {
        add(&mut distinct, tag.with_script());
    }
    distinct.remove(0);
    distinct
}

/// Tags whose parents are others than those of the table, and why.
const PARENTS_UNLIKE_CLDR: &[(&str, &str)] =
    &[("ht", DROPPED_IN_CLDR_49), ("ht-Latn", DROPPED_IN_CLDR_49)];
const DROPPED_IN_CLDR_49: &str =
    "CLDR 48 has `fr-HT` as parent of Haitian Creole; CLDR 49, which ICU4X has, no longer";

/// For every tag of CLDR's list, with and without its script, compared with CLDR's own parents.
#[test]
fn every_tag_falls_back_as_cldr_has_it() {
    let mut compared = 0;
    let mut unlike = BTreeSet::new();
    for (parents, tags) in groups(include_str!("../cldr/tests/parents.txt")) {
        let parents = parents.trim_start_matches('>').split_whitespace();
        let parents: Vec<_> = parents.map(parse).collect();
        for text in tags {
            let tag = parse(text);
            // CLDR has Norwegian twice, as the macrolanguage and as Bokmål.
            if parents_of(&tag) != distinct(&tag, parents.clone()) {
                unlike.insert(text);
            }
            compared += 1;
        }
    }
    assert!(compared > 1_400, "{compared} tags");
    let named = PARENTS_UNLIKE_CLDR.iter().map(|(tag, _)| *tag);
    assert_eq!(unlike, named.collect());
}

/// Groups of a table of `scripts/cldr-tables`: what is common to tags, and the tags.
fn groups(table: &str) -> Vec<(&str, Vec<&str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        match (line.strip_prefix("  "), groups.last_mut()) {
            (Some(tags), Some((_, group))) => group.extend(tags.split(' ')),
            _ => groups.push((line, Vec::new())),
        }
    }
    groups
}

#[test]
fn no_tag_falls_back_to_another_script() {
    let tables = groups(include_str!("../cldr/tests/parents.txt"));
    for tag in tables.into_iter().flat_map(|(_, tags)| tags) {
        let script = |tag: &LanguageTag| tag.with_script().0.script;
        let scripts: BTreeSet<_> = parse(tag).lineage().iter().map(script).collect();
        assert_eq!(scripts.len(), 1, "{tag}: {scripts:?}");
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read_again(text in "[a-zA-Z]{2,3}(-[a-zA-Z]{4})?(-[a-zA-Z]{2}|-[0-9]{3})?(-[a-z]{5,8}){0,2}") {
        let tag = LanguageTag::parse(&text);
        let again = tag.as_ref().and_then(|tag| LanguageTag::parse(&tag.to_string()));
        prop_assert_eq!(&again, &tag);
    }

    /// Whoever is served the texts of a tag's parent is a reader of the parent's lineage.
    #[test]
    fn the_lineage_of_a_parent_is_the_rest_of_the_lineage(text in "(zh|sr|es|pt|en|uz|az|nn|no|hi|ht|de)(-(Latn|Cyrl|Hant|Arab))?(-(TW|ME|MX|AO|GB|AF|419))?(-nedis)?") {
        let lineage = parse(&text).lineage();
        for (at, tag) in lineage.iter().enumerate() {
            for later in tag.lineage() {
                prop_assert!(lineage[at..].contains(&later) || later.with_script() == tag.with_script(), "{} of {}", later, tag);
            }
        }
    }
}
