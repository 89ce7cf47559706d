//! The languages that a text is served in when the one asked for lacks it.

use crate::catalogue::model::language::LanguageTag;
use crate::catalogue::model::texts::{CatalogueText, CatalogueTexts, Translations};

/// The languages in which a reader may be served a text, in order of preference: those asked for, each followed by what
/// it falls back to, and English.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LanguageFallback {
    /// What is served to a reader of each of the languages that were asked for.
    asked: Vec<Vec<LanguageTag>>,
    /// All of them, without repetitions; ends with English.
    tags: Vec<LanguageTag>,
}

impl LanguageFallback {
    /// The languages for a reader who asks for this one.
    pub(crate) fn new(tag: &LanguageTag) -> Self {
        Self::of_list([tag], &[])
    }

    /// The languages for a reader who asks for these, the preferred one first, and refuses to be served others.
    pub(crate) fn of_list<'t>(
        asked: impl IntoIterator<Item = &'t LanguageTag>,
        refused: &[LanguageTag],
    ) -> Self {
        let is_accepted = |tag: &LanguageTag| !refused.contains(tag);
        let lineage = |tag: &LanguageTag| tag.lineage().into_iter().filter(is_accepted).collect();
        let asked: Vec<Vec<LanguageTag>> = asked.into_iter().map(lineage).collect();
        let mut tags = Vec::new();
        for tag in asked.iter().flatten() {
            // Every text is there in English, so that what comes after it is never served.
            if *tag == LanguageTag::ENGLISH {
                break;
            }
            if !tags.contains(tag) {
                tags.push(tag.clone());
            }
        }
        tags.push(LanguageTag::ENGLISH);
        Self { asked, tags }
    }

    /// The languages in order of preference, without repetitions.
    pub(crate) fn tags(&self) -> &[LanguageTag] {
        &self.tags
    }

    /// The text in the most preferred language that has it, with that language. The two labels come from the same of the
    /// languages asked for: those of one language agree on whether they contain the quantity.
    pub(crate) fn text<'t>(
        &'t self,
        translations: &'t Translations,
        text: CatalogueText,
    ) -> Option<(&'t LanguageTag, &'t str)> {
        let served = |tag: &'t LanguageTag| Some((tag, translations.get(tag)?.get(text)?));
        if !text.is_label() {
            return self.tags.iter().find_map(served);
        }
        let has_label = |tag| {
            let texts: Option<&CatalogueTexts> = translations.get(tag);
            texts.is_some_and(CatalogueTexts::has_label)
        };
        let of_labels = self
            .asked
            .iter()
            .find(|lineage| lineage.iter().any(has_label));
        let own = of_labels.into_iter().flatten();
        own.chain(self.tags.last()).find_map(served)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tag(text: &str) -> LanguageTag {
        LanguageTag::parse_requested(text).expect("a tag")
    }

    fn asking(list: &str) -> LanguageFallback {
        let asked: Vec<LanguageTag> = list.split(' ').map(tag).collect();
        LanguageFallback::of_list(&asked, &[])
    }

    fn named(name: &str) -> CatalogueTexts {
        CatalogueTexts {
            allocation_name: name.into(),
            ..CatalogueTexts::default()
        }
    }

    #[test]
    fn each_language_is_followed_by_its_own_and_english_is_the_last() {
        for (asked, tags) in [
            ("fr-CA", "fr-CA fr-Latn-CA fr fr-Latn en"),
            ("en-GB", "en-GB en-Latn-GB en-001 en-Latn-001 en"),
            ("en", "en"),
            ("fr de fr", "fr fr-Latn de de-Latn en"),
            ("fr en de", "fr fr-Latn en"),
            ("und", "und en"),
        ] {
            let found = asking(asked);
            let found = found.tags().iter().map(LanguageTag::to_string);
            assert_eq!(found.collect::<Vec<_>>().join(" "), tags, "{asked}");
        }
        let refusing = LanguageFallback::of_list([&tag("fr-CA")], &[tag("fr")]);
        assert!(!refusing.tags().contains(&tag("fr")));
    }

    /// What is stored, and what readers are served of it.
    #[test]
    fn readers_are_served_the_nearest_language() {
        let stored = "en zh zh-Hant sr sr-Latn nb he es es-419 pt pt-PT fil id";
        let translations: Translations = stored
            .split(' ')
            .map(|language| (tag(language), named(language)))
            .collect();
        for (asked, served) in [
            ("zh-Hant-TW zh-TW zh-HK zh-Hant-US", "zh-Hant"),
            ("zh zh-CN zh-Hans zh-SG", "zh"),
            ("sr-Latn sr-Latn-RS sr-ME sr-Latn-ME", "sr-Latn"),
            ("sr sr-RS sr-Cyrl sr-Cyrl-ME", "sr"),
            ("no no-NO nb nb-NO nn nn-NO", "nb"),
            ("iw he he-IL", "he"),
            ("in id", "id"),
            ("tl fil", "fil"),
            ("es-MX es-AR es-419", "es-419"),
            ("es es-ES es-GQ", "es"),
            ("pt-AO pt-PT pt-MZ", "pt-PT"),
            ("pt-BR pt", "pt"),
            // Nobody is served another script before English.
            ("az-Arab zh-Latn he-Latn en-AU de", "en"),
        ] {
            for one in asked.split(' ') {
                let languages = asking(one);
                let found = languages.text(&translations, CatalogueText::Name);
                assert_eq!(found, Some((&tag(served), served)), "{one}");
            }
        }
    }

    /// A tag that is stored is served to who asks for its equal in another spelling, unless that is stored too.
    #[test]
    fn a_tag_with_its_likely_script_means_the_same() {
        for (stored, asked) in [
            ("zh-TW", "zh-Hant-TW"),
            ("zh-Hant-TW", "zh-TW"),
            ("sr-Cyrl", "sr-RS"),
            ("sr", "sr-Cyrl-RS"),
            ("de-Latn", "de-AT"),
        ] {
            let mut translations =
                Translations::from([(tag("en"), named("en")), (tag(stored), named(stored))]);
            let name = |translations: &Translations| {
                let languages = asking(asked);
                let found = languages.text(translations, CatalogueText::Name);
                found.map(|(_, text)| text.to_owned())
            };
            assert_eq!(name(&translations).as_deref(), Some(stored));
            translations.insert(tag(asked), named(asked));
            assert_eq!(name(&translations).as_deref(), Some(asked));
        }
    }

    #[test]
    fn both_labels_come_from_one_of_the_languages_asked_for() {
        let labels = |singular: &str, plural: &str| CatalogueTexts {
            allocation_singular_label: singular.into(),
            allocation_plural_label: plural.into(),
            ..CatalogueTexts::default()
        };
        let translations = Translations::from([
            (tag("en"), labels("[qty] unit", "[qty] units")),
            (tag("fr"), labels("[qty] unité", "")),
            (tag("de"), labels("Einheit", "Einheiten")),
        ]);
        let served = |asked| {
            let languages = asking(asked);
            let text = |text| {
                languages
                    .text(&translations, text)
                    .map(|(_, text)| text.to_owned())
            };
            let texts = [CatalogueText::SingularLabel, CatalogueText::PluralLabel].map(text);
            texts.map(Option::unwrap_or_default).join(", ")
        };
        assert_eq!(served("fr de"), "[qty] unité, [qty] units");
        assert_eq!(served("ja de fr"), "Einheit, Einheiten");
        assert_eq!(served("ja"), "[qty] unit, [qty] units");
    }

    fn any_tag() -> impl Strategy<Value = LanguageTag> {
        let texts = [
            "en",
            "en-GB",
            "fr",
            "fr-CA",
            "ar",
            "zh-Hant-TW",
            "zh-TW",
            "zh",
            "es-419",
            "es-MX",
        ];
        prop::sample::select(texts.to_vec()).prop_map(tag)
    }

    proptest! {
        /// Each text is served in the first language that has it, independently of the other texts.
        #[test]
        fn a_text_is_served_in_the_first_language_that_has_it(
            asked in prop::collection::vec(any_tag(), 1..4),
            stored in prop::collection::btree_map(any_tag(), (any::<bool>(), any::<bool>()), 0..6),
        ) {
            let mut translations: Translations = stored.into_iter().map(|(tag, (name, display_name))| {
                let text = |is_there: bool| if is_there { tag.to_string() } else { String::new() };
                let texts = CatalogueTexts { allocation_name: text(name), display_name: text(display_name), ..CatalogueTexts::default() };
                (tag, texts)
            }).collect();
            translations.insert(LanguageTag::ENGLISH, CatalogueTexts { display_name: "en".into(), ..named("en") });
            let languages = LanguageFallback::of_list(&asked, &[]);
            for text in [CatalogueText::Name, CatalogueText::DisplayName] {
                let (found, served) = languages.text(&translations, text).expect("English at least");
                prop_assert_eq!(served, found.to_string());
                let mut lineages = asked.iter().flat_map(LanguageTag::lineage);
                let has = |tag: &LanguageTag| translations.get(tag).is_some_and(|texts| texts.get(text).is_some());
                prop_assert_eq!(found, &lineages.find(has).unwrap_or(LanguageTag::ENGLISH));
            }
        }
    }
}
