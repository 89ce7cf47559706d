//! Reads the texts of an allocation, by language.

use std::collections::BTreeMap;

use super::suggestion::did_you_mean;
use crate::catalogue::model::{
    CatalogueText, CatalogueTexts, LanguageFallback, LanguageTag, QUANTITY, Translations,
    intended_tag,
};
use crate::error::rule_with_value;
use crate::limits::{
    CATALOGUE_LANGUAGES_MAX, CATALOGUE_TEXT_CHARS_MAX, CATALOGUE_TEXTS_BYTES_MAX, ID_CHARS_MAX,
};
use crate::proto::catalogue::v1 as pb;
use crate::rpc::read::Reader;
use crate::types::text::is_blank;

/// Reads the texts in all languages. English is required, and the two labels of a language must either both contain the
/// quantity or both not. A text that shows nothing counts as missing, and so does a language without any text.
pub(super) fn translations(
    reader: &mut Reader,
    given: &BTreeMap<String, pb::Translation>,
) -> Translations {
    const FIELD: &str = "translations";
    if given.len() > CATALOGUE_LANGUAGES_MAX {
        let count = given.len();
        let rule = format!("must have at most {CATALOGUE_LANGUAGES_MAX} languages, got {count}");
        reader.violation(FIELD, rule);
        return Translations::new();
    }
    let mut translations = Translations::new();
    let mut spelled: BTreeMap<LanguageTag, &str> = BTreeMap::new();
    for (language, texts) in given {
        let field = format!("{FIELD}[\"{language}\"]");
        let tag = Some(language).filter(|language| language.len() <= ID_CHARS_MAX);
        let Some(tag) = tag.and_then(|language| LanguageTag::parse(language)) else {
            let rule = "must have as key a BCP 47 language tag without extensions, such as fr-CA";
            let meant = intended_tag(language);
            let rule = did_you_mean(rule_with_value(rule, language), meant.as_deref());
            reader.violation(field, rule);
            continue;
        };
        let texts = self::texts(reader, &field, &tag, texts);
        if let Some(other) = spelled.insert(tag.clone(), language) {
            let rule = format!(
                "must not have a language twice: the keys {other:?} and {language:?} both mean {tag}"
            );
            reader.violation(FIELD, rule);
        }
        if !texts.is_empty() {
            translations.insert(tag, texts);
        }
    }
    if !spelled.contains_key(&LanguageTag::ENGLISH) {
        reader.violation(format!("{FIELD}[\"en\"]"), "is required");
    }
    let all = translations
        .values()
        .flat_map(|texts| CatalogueText::ALL.map(|text| texts.get(text)));
    let bytes: usize = all.flatten().map(str::len).sum();
    if bytes > CATALOGUE_TEXTS_BYTES_MAX {
        let rule =
            format!("must have at most {CATALOGUE_TEXTS_BYTES_MAX} bytes of texts, got {bytes}");
        reader.violation(FIELD, rule);
    }
    check_labels(reader, FIELD, &translations);
    translations
}

fn texts(
    reader: &mut Reader,
    field: &str,
    tag: &LanguageTag,
    given: &pb::Translation,
) -> CatalogueTexts {
    let text = |given: &String| {
        if is_blank(given) {
            String::new()
        } else {
            given.clone()
        }
    };
    let texts = CatalogueTexts {
        allocation_name: text(&given.allocation_name),
        display_name: text(&given.display_name),
        allocation_description: text(&given.allocation_description),
        allocation_long_description: text(&given.allocation_long_description),
        allocation_singular_label: text(&given.allocation_singular_label),
        allocation_plural_label: text(&given.allocation_plural_label),
    };
    for text in CatalogueText::ALL {
        let field = format!("{field}.{}", text.name());
        match texts.get(text) {
            Some(given) => {
                reader.required_text(&field, given, CATALOGUE_TEXT_CHARS_MAX);
            }
            None if *tag == LanguageTag::ENGLISH => reader.violation(field, "is required"),
            None => {}
        }
    }
    texts
}

/// Checks the labels for every language that has one: if one of the two labels that its readers are served contains the
/// quantity, the other must too.
fn check_labels(reader: &mut Reader, field: &str, translations: &Translations) {
    for (tag, own) in translations {
        if !own.has_label() {
            continue;
        }
        let languages = LanguageFallback::new(tag);
        let has_quantity = |text| {
            let (_, label) = languages.text(translations, text)?;
            Some(label.contains(QUANTITY))
        };
        let lacking = match (
            has_quantity(CatalogueText::SingularLabel),
            has_quantity(CatalogueText::PluralLabel),
        ) {
            (Some(false), Some(true)) => CatalogueText::SingularLabel,
            (Some(true), Some(false)) => CatalogueText::PluralLabel,
            _ => continue,
        };
        let rule = format!("must contain {QUANTITY}, as the other label of this language does");
        reader.violation(format!("{field}[\"{tag}\"].{}", lacking.name()), rule);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A label: empty, without the quantity, or with it.
    fn label() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["", "label", "label [qty]"]).prop_map(Into::into)
    }

    fn tag(text: &str) -> LanguageTag {
        LanguageTag::parse(text).expect("a tag")
    }

    proptest! {
        /// The check passes exactly if every reader is served two labels that agree.
        #[test]
        fn labels_agree_for_every_reader(labels in prop::collection::vec((label(), label()), 8)) {
            let languages = ["en", "fr", "fr-CA", "de-AT", "es", "es-419", "zh-TW", "zh-Hant-TW"].map(tag);
            let translations: Translations = languages.into_iter().zip(labels).map(|(tag, (singular, plural))| {
                let texts = CatalogueTexts {
                    allocation_singular_label: singular,
                    allocation_plural_label: plural,
                    ..CatalogueTexts::default()
                };
                (tag, texts)
            }).collect();
            let mut read = Reader::new();
            check_labels(&mut read, "translations", &translations);
            let agree = |asked: &str| {
                let languages = LanguageFallback::new(&tag(asked));
                let has_quantity = |text| languages.text(&translations, text).map(|(_, label)| label.contains(QUANTITY));
                let pair = (has_quantity(CatalogueText::SingularLabel), has_quantity(CatalogueText::PluralLabel));
                !matches!(pair, (Some(one), Some(other)) if one != other)
            };
            let readers = ["en", "en-GB", "fr", "fr-CA", "fr-BE", "de", "de-AT", "es", "es-MX", "es-ES", "zh-Hant-TW", "zh-TW", "zh-HK", "ja"];
            prop_assert_eq!(read.finish().is_ok(), readers.into_iter().all(agree));
        }
    }
}
