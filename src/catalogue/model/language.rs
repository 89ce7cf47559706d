//! Languages: their tags, and which text a reader is served.

use std::cmp::Ordering;
use std::fmt;

use icu_locale_core::{LanguageIdentifier, Locale, langid};
use serde::{Deserialize, Serialize};

use crate::catalogue::model::{Text, Translations};

/// A language, as a BCP 47 tag without extensions, in its usual case: `zh-Hant-TW`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tag(LanguageIdentifier);

impl Tag {
    /// What every allocation has, and every reader is served in the end.
    pub const ENGLISH: Self = Self(langid!("en"));

    /// Reads the tag of texts: of a language, without extensions.
    pub fn parse(text: &str) -> Option<Self> {
        let identifier = LanguageIdentifier::try_from_str(text).ok()?;
        (!identifier.language.is_unknown()).then_some(Self(identifier))
    }

    /// Reads the tag that a reader asks by. Its extensions tell how things are to be shown, not in which language.
    pub fn parse_wanted(text: &str) -> Option<Self> {
        Locale::try_from_str(text)
            .ok()
            .map(|locale| Self(locale.id))
    }

    /// The language alone, without script, region and variants.
    pub fn base(&self) -> Self {
        Self(self.0.language.into())
    }

    /// As the libraries of languages take it.
    pub fn locale(&self) -> Locale {
        self.0.clone().into()
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Ord for Tag {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Tag {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The languages that a reader is served, the first that has a text: the very one, its base, English.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted(Vec<Tag>);

impl Wanted {
    /// Those of a reader who asks for this one.
    pub fn new(tag: Tag) -> Self {
        let mut tags = vec![tag.base(), Tag::ENGLISH];
        tags.insert(0, tag);
        tags.dedup();
        Self(tags)
    }

    /// The languages, the most wanted first.
    pub fn tags(&self) -> &[Tag] {
        &self.0
    }

    /// A text, and the language that it is in.
    pub fn serve<'t>(
        &'t self,
        translations: &'t Translations,
        text: Text,
    ) -> Option<(&'t Tag, &'t str)> {
        self.0
            .iter()
            .find_map(|tag| Some((tag, translations.get(tag)?.get(text)?)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalogue::model::Texts;

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
                Tag::parse(text).map(|tag| tag.to_string()).as_deref(),
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
            assert_eq!(Tag::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_reader_may_ask_with_extensions() {
        let wanted = |text| Tag::parse_wanted(text).map(|tag| tag.to_string());
        assert_eq!(wanted("AR-eg-u-nu-arab").as_deref(), Some("ar-EG"));
        assert_eq!(wanted("und").as_deref(), Some("und"));
        for bad in ["", "en_US", "en-u", "en-u-nu-arab-", "fr CA"] {
            assert_eq!(wanted(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_very_language_comes_first_then_its_base_then_english() {
        let tags = |text| {
            let wanted = Wanted::new(Tag::parse_wanted(text).expect("a tag"));
            wanted.tags().iter().map(Tag::to_string).collect::<Vec<_>>()
        };
        assert_eq!(tags("fr-CA"), ["fr-CA", "fr", "en"]);
        assert_eq!(tags("fr"), ["fr", "en"]);
        assert_eq!(tags("en-GB"), ["en-GB", "en"]);
        assert_eq!(tags("en"), ["en"]);
        assert_eq!(tags("zh-Hant-TW"), ["zh-Hant-TW", "zh", "en"]);
    }

    fn tag() -> impl Strategy<Value = Tag> {
        let texts = ["en", "en-GB", "fr", "fr-CA", "ar", "zh-Hant-TW", "zh"];
        prop::sample::select(texts.to_vec()).prop_map(|text| Tag::parse(text).expect("a tag"))
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(text in "[a-zA-Z]{2,3}(-[a-zA-Z]{4})?(-[a-zA-Z]{2}|-[0-9]{3})?") {
            let tag = Tag::parse(&text);
            let again = tag.as_ref().and_then(|tag| Tag::parse(&tag.to_string()));
            prop_assert_eq!(&again, &tag);
            prop_assert_eq!(tag.map(|tag| tag.to_string().to_lowercase()), again.map(|_| text.to_lowercase()));
        }

        /// Each text for itself: the first language of three that has it, whatever the other texts are in.
        #[test]
        fn a_text_is_served_in_the_first_language_that_has_it(
            asked in tag(),
            stored in prop::collection::btree_map(tag(), (any::<bool>(), any::<bool>()), 0..5),
        ) {
            let english = Texts { allocation_name: "en".into(), display_name: "en".into(), ..Texts::default() };
            let mut translations: Translations = stored.into_iter().map(|(tag, (name, display_name))| {
                let text = |is_there: bool| if is_there { tag.to_string() } else { String::new() };
                let texts = Texts { allocation_name: text(name), display_name: text(display_name), ..Texts::default() };
                (tag, texts)
            }).collect();
            translations.insert(Tag::ENGLISH, english);
            let wanted = Wanted::new(asked.clone());
            for text in [Text::Name, Text::DisplayName] {
                let (tag, served) = wanted.serve(&translations, text).expect("English at least");
                prop_assert_eq!(served, tag.to_string());
                let has = |tag: &Tag| translations.get(tag).is_some_and(|texts| texts.get(text).is_some());
                let expected = if has(&asked) { asked.clone() } else if has(&asked.base()) { asked.base() } else { Tag::ENGLISH };
                prop_assert_eq!(tag, &expected);
            }
        }
    }
}
