//! Language tags of BCP 47.

use std::cmp::Ordering;
use std::fmt;

use icu_locale_core::{LanguageIdentifier, Locale, langid};
use serde::{Deserialize, Serialize};

use crate::types::page::PageCursor;

/// The BCP 47 tag of a language, without extensions and in canonical case: `zh-Hant-TW`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LanguageTag(LanguageIdentifier);

impl LanguageTag {
    /// English, in which every allocation has all texts.
    pub(crate) const ENGLISH: Self = Self(langid!("en"));

    /// Parses the tag of stored texts, which must name a language and must not have extensions.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let identifier = LanguageIdentifier::try_from_str(text).ok()?;
        (!identifier.language.is_unknown()).then_some(Self(identifier))
    }

    /// Parses the tag that a reader asks for. Its extensions are dropped: they select formats, not the language.
    pub(crate) fn parse_requested(text: &str) -> Option<Self> {
        Locale::try_from_str(text)
            .ok()
            .map(|locale| Self(locale.id))
    }

    /// The tag of the language only, without script, region and variants.
    pub(crate) fn base(&self) -> Self {
        Self(self.0.language.into())
    }

    /// The tag as the type that ICU4X takes.
    pub(crate) fn locale(&self) -> Locale {
        self.0.clone().into()
    }
}

impl fmt::Display for LanguageTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Ord for LanguageTag {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for LanguageTag {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The last language of the page before, by its tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LanguageCursor(pub(crate) String);

impl PageCursor for LanguageCursor {
    fn is_possible(&self) -> bool {
        LanguageTag::parse(&self.0).is_some()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            assert_eq!(
                LanguageTag::parse(text)
                    .map(|tag| tag.to_string())
                    .as_deref(),
                Some(tag)
            );
        }
        for bad in [
            "",
            " ",
            "e",
            "en_US",
            "en-",
            "-en",
            "en--US",
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
    fn a_reader_may_ask_with_extensions() {
        let requested = |text| LanguageTag::parse_requested(text).map(|tag| tag.to_string());
        assert_eq!(requested("AR-eg-u-nu-arab").as_deref(), Some("ar-EG"));
        assert_eq!(requested("und").as_deref(), Some("und"));
        for bad in ["", "en_US", "en-u", "en-u-nu-arab-", "fr CA"] {
            assert_eq!(requested(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(text in "[a-zA-Z]{2,3}(-[a-zA-Z]{4})?(-[a-zA-Z]{2}|-[0-9]{3})?") {
            let tag = LanguageTag::parse(&text);
            let again = tag.as_ref().and_then(|tag| LanguageTag::parse(&tag.to_string()));
            prop_assert_eq!(&again, &tag);
            prop_assert_eq!(tag.map(|tag| tag.to_string().to_lowercase()), again.map(|_| text.to_lowercase()));
        }
    }
}
