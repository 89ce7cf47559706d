//! Reads the texts of an allocation, by language.

use std::collections::BTreeMap;

use crate::catalogue::model::language::{Tag, Wanted};
use crate::catalogue::model::{QUANTITY, Text, Texts, Translations};
use crate::limits::{
    CATALOGUE_LANGUAGES_MAX, CATALOGUE_TEXT_CHARS_MAX, CATALOGUE_TEXTS_BYTES_MAX, ID_CHARS_MAX,
};
use crate::proto::catalogue::v1 as pb;
use crate::rpc::read::Reader;

/// Reads all of them: English is required, and each label has the quantity where the one beside it has it.
pub(super) fn translations(
    read: &mut Reader,
    given: &BTreeMap<String, pb::Translation>,
) -> Translations {
    const FIELD: &str = "translations";
    if given.len() > CATALOGUE_LANGUAGES_MAX {
        let why = format!("must have at most {CATALOGUE_LANGUAGES_MAX} languages");
        read.violation(FIELD, why);
        return Translations::new();
    }
    let mut translations = Translations::new();
    for (language, texts) in given {
        let field = format!("{FIELD}[\"{language}\"]");
        let tag = Some(language).filter(|language| language.len() <= ID_CHARS_MAX);
        let Some(tag) = tag.and_then(|language| Tag::parse(language)) else {
            let why = "its key must be a BCP 47 language tag without extensions, such as fr-CA";
            read.violation(field, why);
            continue;
        };
        let texts = self::texts(read, &field, &tag, texts);
        if translations.insert(tag, texts).is_some() {
            read.violation(field, "is the language of another key");
        }
    }
    if !translations.contains_key(&Tag::ENGLISH) {
        read.violation(format!("{FIELD}[\"en\"]"), "is required");
    }
    let all = translations
        .values()
        .flat_map(|texts| Text::ALL.map(|text| texts.get(text)));
    let bytes: usize = all.flatten().map(str::len).sum();
    if bytes > CATALOGUE_TEXTS_BYTES_MAX {
        let why = format!("must have at most {CATALOGUE_TEXTS_BYTES_MAX} bytes of texts");
        read.violation(FIELD, why);
    }
    check_labels(read, FIELD, &translations);
    translations
}

fn texts(read: &mut Reader, field: &str, tag: &Tag, given: &pb::Translation) -> Texts {
    let texts = Texts {
        allocation_name: given.allocation_name.clone(),
        display_name: given.display_name.clone(),
        allocation_description: given.allocation_description.clone(),
        allocation_long_description: given.allocation_long_description.clone(),
        allocation_singular_label: given.allocation_singular_label.clone(),
        allocation_plural_label: given.allocation_plural_label.clone(),
    };
    for text in Text::ALL {
        let field = format!("{field}.{}", text.name());
        match texts.get(text) {
            Some(given) => {
                read.required_text(&field, given, CATALOGUE_TEXT_CHARS_MAX);
            }
            None if *tag == Tag::ENGLISH => read.violation(field, "is required"),
            None => {}
        }
    }
    texts
}

/// If one of two labels that a reader is served has the quantity, both must.
fn check_labels(read: &mut Reader, field: &str, translations: &Translations) {
    for (tag, own) in translations {
        let has_label = own.get(Text::SingularLabel).or(own.get(Text::PluralLabel));
        if has_label.is_none() {
            continue;
        }
        let wanted = Wanted::new(tag.clone());
        let has_quantity = |text| {
            let (_, label) = wanted.serve(translations, text)?;
            Some(label.contains(QUANTITY))
        };
        let lacking = match (
            has_quantity(Text::SingularLabel),
            has_quantity(Text::PluralLabel),
        ) {
            (Some(false), Some(true)) => Text::SingularLabel,
            (Some(true), Some(false)) => Text::PluralLabel,
            _ => continue,
        };
        let why = format!("must have `{QUANTITY}`, as the other label of this language does");
        read.violation(format!("{field}[\"{tag}\"].{}", lacking.name()), why);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// No label, one without the quantity, one with it.
    fn label() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["", "label", "label [qty]"]).prop_map(Into::into)
    }

    fn tag(text: &str) -> Tag {
        Tag::parse(text).expect("a tag")
    }

    proptest! {
        /// What passes serves every reader two labels that agree; what does not would fail somebody.
        #[test]
        fn labels_agree_for_every_reader(labels in prop::collection::vec((label(), label()), 4)) {
            let languages = ["en", "fr", "fr-CA", "de-AT"].map(tag);
            let translations: Translations = languages.into_iter().zip(labels).map(|(tag, (singular, plural))| {
                let texts = Texts {
                    allocation_singular_label: singular,
                    allocation_plural_label: plural,
                    ..Texts::default()
                };
                (tag, texts)
            }).collect();
            let mut read = Reader::new();
            check_labels(&mut read, "translations", &translations);
            let agree = |asked: &str| {
                let wanted = Wanted::new(tag(asked));
                let has_quantity = |text| wanted.serve(&translations, text).map(|(_, label)| label.contains(QUANTITY));
                let pair = (has_quantity(Text::SingularLabel), has_quantity(Text::PluralLabel));
                !matches!(pair, (Some(one), Some(other)) if one != other)
            };
            let readers = ["en", "en-GB", "fr", "fr-CA", "fr-BE", "de", "de-AT", "ja"];
            prop_assert_eq!(read.finish().is_ok(), readers.into_iter().all(agree));
        }
    }
}
