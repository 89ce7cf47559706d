//! The languages that a text is served in when the one asked for lacks it.

use crate::catalogue::model::language::LanguageTag;
use crate::catalogue::model::texts::{CatalogueText, Translations};

/// The languages in which a reader may be served a text, in order of preference: the one asked for, the same without
/// script, region and variants, and English.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LanguageFallback(Vec<LanguageTag>);

impl LanguageFallback {
    /// The languages for a reader who asks for this one.
    pub(crate) fn new(tag: LanguageTag) -> Self {
        let mut tags = vec![tag.base(), LanguageTag::ENGLISH];
        tags.insert(0, tag);
        tags.dedup();
        Self(tags)
    }

    /// The languages in order of preference, without repetitions.
    pub(crate) fn tags(&self) -> &[LanguageTag] {
        &self.0
    }

    /// The text in the most preferred language that has it, with that language.
    pub(crate) fn text<'t>(
        &'t self,
        translations: &'t Translations,
        text: CatalogueText,
    ) -> Option<(&'t LanguageTag, &'t str)> {
        self.0
            .iter()
            .find_map(|tag| Some((tag, translations.get(tag)?.get(text)?)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalogue::model::texts::CatalogueTexts;

    #[test]
    fn the_very_language_comes_first_then_its_base_then_english() {
        let tags = |text| {
            let languages =
                LanguageFallback::new(LanguageTag::parse_requested(text).expect("a tag"));
            languages
                .tags()
                .iter()
                .map(LanguageTag::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(tags("fr-CA"), ["fr-CA", "fr", "en"]);
        assert_eq!(tags("fr"), ["fr", "en"]);
        assert_eq!(tags("en-GB"), ["en-GB", "en"]);
        assert_eq!(tags("en"), ["en"]);
        assert_eq!(tags("zh-Hant-TW"), ["zh-Hant-TW", "zh", "en"]);
    }

    fn tag() -> impl Strategy<Value = LanguageTag> {
        let texts = ["en", "en-GB", "fr", "fr-CA", "ar", "zh-Hant-TW", "zh"];
        prop::sample::select(texts.to_vec())
            .prop_map(|text| LanguageTag::parse(text).expect("a tag"))
    }

    proptest! {
        /// Each text is served in the first language that has it, independently of the other texts.
        #[test]
        fn a_text_is_served_in_the_first_language_that_has_it(
            asked in tag(),
            stored in prop::collection::btree_map(tag(), (any::<bool>(), any::<bool>()), 0..5),
        ) {
            let english = CatalogueTexts { allocation_name: "en".into(), display_name: "en".into(), ..CatalogueTexts::default() };
            let mut translations: Translations = stored.into_iter().map(|(tag, (name, display_name))| {
                let text = |is_there: bool| if is_there { tag.to_string() } else { String::new() };
                let texts = CatalogueTexts { allocation_name: text(name), display_name: text(display_name), ..CatalogueTexts::default() };
                (tag, texts)
            }).collect();
            translations.insert(LanguageTag::ENGLISH, english);
            let languages = LanguageFallback::new(asked.clone());
            for text in [CatalogueText::Name, CatalogueText::DisplayName] {
                let (tag, served) = languages.text(&translations, text).expect("English at least");
                prop_assert_eq!(served, tag.to_string());
                let has = |tag: &LanguageTag| translations.get(tag).is_some_and(|texts| texts.get(text).is_some());
                let expected = if has(&asked) { asked.clone() } else if has(&asked.base()) { asked.base() } else { LanguageTag::ENGLISH };
                prop_assert_eq!(tag, &expected);
            }
        }
    }
}
