//! The languages that a reader asks for: a tag, or a list of them in the syntax of Accept-Language.

use crate::catalogue::model::fallback::LanguageFallback;
use crate::catalogue::model::language::LanguageTag;
use crate::limits::{ID_CHARS_MAX, LANGUAGES_ASKED_MAX};

/// Why a list of languages cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LangcodeFault {
    /// This part of the list is no tag with or without a weight.
    Malformed {
        /// The part as it was sent.
        part: String,
        /// The tag that was probably meant.
        suggestion: Option<String>,
    },
    /// The list names more languages than [`LANGUAGES_ASKED_MAX`].
    TooMany(usize),
}

/// Reads the languages that a reader asks for, in order of their weights: `fr-CA, fr;q=0.9, en;q=0.5`. Languages of
/// weight 0 are not served. `*` stands for no language in particular, and so does the empty text.
pub(crate) fn parse_langcode(text: &str) -> Result<LanguageFallback, LangcodeFault> {
    let parts: Vec<&str> = text.split(',').map(trim).collect();
    // A list may have empty elements, by RFC 9110.
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.len() > LANGUAGES_ASKED_MAX {
        return Err(LangcodeFault::TooMany(parts.len()));
    }
    if parts.is_empty() && !text.is_empty() {
        return Err(malformed(text));
    }
    let mut asked = Vec::new();
    let mut refused = Vec::new();
    for part in parts {
        let (range, weight) = match part.split_once(';') {
            Some((range, weight)) => (trim(range), parse_weight(trim(weight))),
            None => (part, Some(1_000)),
        };
        let weight = weight.ok_or_else(|| malformed(part))?;
        if range == "*" {
            continue;
        }
        let tag = Some(range).filter(|range| range.len() <= ID_CHARS_MAX);
        let tag = tag.and_then(LanguageTag::parse_requested);
        match (tag, weight) {
            (None, _) => return Err(malformed(part)),
            (Some(tag), 0) => refused.push(tag),
            (Some(tag), weight) => asked.push((weight, tag)),
        }
    }
    // Stable: of equal weights the first comes first.
    asked.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let asked = asked.iter().map(|(_, tag)| tag);
    Ok(LanguageFallback::of_list(asked, &refused))
}

/// Without the blanks that HTTP allows around the parts of a list.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A weight of RFC 9110, `q=0.9` with at most three decimals, in thousandths.
fn parse_weight(text: &str) -> Option<u16> {
    let number = text.strip_prefix("q=").or(text.strip_prefix("Q="))?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let is_number = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || !matches!(whole, "0" | "1") {
        return None;
    }
    let thousandths: u16 = format!("{whole}{decimals:0<3}").parse().ok()?;
    (thousandths <= 1_000).then_some(thousandths)
}

fn malformed(part: &str) -> LangcodeFault {
    LangcodeFault::Malformed {
        part: part.into(),
        suggestion: intended_tag(part),
    }
}

/// The tag that was probably meant by a text that is none: locales of POSIX and Java have an underline.
pub(crate) fn intended_tag(text: &str) -> Option<String> {
    if !text.contains('_') {
        return None;
    }
    let tag = LanguageTag::parse(&text.replace('_', "-"))?;
    Some(tag.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tags(text: &str) -> Result<String, LangcodeFault> {
        let languages = parse_langcode(text)?;
        let tags = languages.tags().iter().map(LanguageTag::to_string);
        // Without the tags that only name the script too.
        let tags: Vec<_> = tags.filter(|tag| !tag.contains("-Latn")).collect();
        Ok(tags.join(" "))
    }

    #[test]
    fn a_list_is_read_by_its_weights() {
        for (list, served) in [
            ("", "en"),
            ("fr-CA", "fr-CA fr en"),
            ("fr-CA,fr;q=0.9,en;q=0.8", "fr-CA fr en"),
            ("en;q=0.8, fr;q=0.9, de", "de fr en"),
            ("de;q=0.5,fr;q=0.5", "de fr en"),
            ("de;q=0.123, fr;q=0.124", "fr de en"),
            ("fr;q=1.000,de;Q=1", "fr de en"),
            ("*", "en"),
            ("de, *;q=0.1", "de en"),
            ("*, de", "de en"),
            ("\tde ;\tq=0.5 ,, fr ", "fr de en"),
            ("fr-CA, fr;q=0", "fr-CA en"),
            ("de;q=0", "en"),
            ("en;q=0", "en"),
            ("iw;q=0.1, no", "nb he he-Hebr en"),
            ("fr-u-nu-arab;q=0.5", "fr en"),
        ] {
            assert_eq!(tags(list).as_deref(), Ok(served), "{list}");
        }
    }

    #[test]
    fn a_part_that_cannot_be_read_is_named() {
        for (list, part, suggestion) in [
            ("e", "e", None),
            ("fr,en_US;q=0.5", "en_US;q=0.5", None),
            ("fr,en_US", "en_US", Some("en-US")),
            ("zh_Hant_TW", "zh_Hant_TW", Some("zh-Hant-TW")),
            ("fr CA", "fr CA", None),
            ("de;q=1.001", "de;q=1.001", None),
            ("de;q=2", "de;q=2", None),
            ("de;q=0.1234", "de;q=0.1234", None),
            ("de;q=.5", "de;q=.5", None),
            ("de;q=-1", "de;q=-1", None),
            ("de;q", "de;q", None),
            ("de;", "de;", None),
            ("de;level=1", "de;level=1", None),
            ("*-CH", "*-CH", None),
            (";q=1", ";q=1", None),
            (",", ",", None),
            (" ", " ", None),
        ] {
            let fault = LangcodeFault::Malformed {
                part: part.into(),
                suggestion: suggestion.map(Into::into),
            };
            assert_eq!(tags(list), Err(fault), "{list}");
        }
        let many = vec!["fr"; LANGUAGES_ASKED_MAX + 1].join(",");
        assert_eq!(
            tags(&many),
            Err(LangcodeFault::TooMany(LANGUAGES_ASKED_MAX + 1))
        );
        assert_eq!(tags(&many[3..]).as_deref(), Ok("fr en"));
    }

    proptest! {
        #[test]
        fn every_text_is_read_or_refused(text in "[a-zA-Z0-9;=.,* _é-]{0,40}") {
            if let Ok(languages) = parse_langcode(&text) {
                prop_assert_eq!(languages.tags().last(), Some(&LanguageTag::ENGLISH));
            }
        }
    }
}
