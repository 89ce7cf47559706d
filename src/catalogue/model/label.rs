//! The label of a number of units, such as `5 trees`.

use crate::catalogue::model::cldr::{PluralCategory, format_number};
use crate::catalogue::model::fallback::LanguageFallback;
use crate::catalogue::model::language::LanguageTag;
use crate::catalogue::model::texts::{CatalogueText, QUANTITY, Translations};
use crate::error::{Error, Result};

/// The label for a quantity, with the quantity in Latin digits. Quantities of the plural category «one» in the language
/// of the singular label take that label; all others take the plural label.
///
/// # Errors
/// An internal error if an allocation lacks an English label.
pub(crate) fn label_for(
    languages: &LanguageFallback,
    translations: &Translations,
    quantity: u64,
) -> Result<String> {
    let label = |text| {
        let served = languages.text(translations, text);
        served.ok_or_else(|| Error::internal("an allocation has no English label"))
    };
    let (mut tag, mut label_text) = label(CatalogueText::SingularLabel)?;
    if PluralCategory::of(quantity, tag) != PluralCategory::One {
        (tag, label_text) = label(CatalogueText::PluralLabel)?;
    }
    Ok(fill(tag, label_text, quantity))
}

fn fill(tag: &LanguageTag, label: &str, quantity: u64) -> String {
    if !label.contains(QUANTITY) {
        return label.into();
    }
    label.replace(QUANTITY, &format_number(quantity, tag))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalogue::model::texts::CatalogueTexts;

    fn labels(singular: &str, plural: &str) -> CatalogueTexts {
        CatalogueTexts {
            allocation_singular_label: singular.into(),
            allocation_plural_label: plural.into(),
            ..CatalogueTexts::default()
        }
    }

    fn of(language: &str, quantity: u64) -> String {
        let tag = LanguageTag::parse(language).expect("a tag");
        let translations = Translations::from([(tag.clone(), labels("one [qty]", "[qty] others"))]);
        label_for(&LanguageFallback::new(&tag), &translations, quantity).expect("a label")
    }

    #[test]
    fn each_language_has_its_own_plural_and_its_own_numbers() {
        for (language, quantity, label) in [
            ("en", 0, "0 others"),
            ("en", 1, "one 1"),
            ("en", 2, "2 others"),
            ("en", 1_234_567, "1,234,567 others"),
            // In French 0 has the plural category «one».
            ("fr", 0, "one 0"),
            ("fr", 1, "one 1"),
            ("fr", 1_234, "1\u{202f}234 others"),
            ("de", 1_234_567, "1.234.567 others"),
            ("de-CH", 1_234, "1'234 others"),
            // Spanish does not group four digits.
            ("es", 1_234, "1234 others"),
            // 21 is «one» in Russian, 11 is not.
            ("ru", 21, "one 21"),
            ("ru", 11, "11 others"),
            // Latin digits, even where the language has its own.
            ("ar", 1, "one 1"),
            ("ar", 2, "2 others"),
            ("ar-EG", 1_234, "1,234 others"),
            ("fa", 0, "one 0"),
            ("fa", 1_234, "1,234 others"),
            ("hi", 1_234_567, "12,34,567 others"),
            // Japanese has no category «one».
            ("ja", 1, "1 others"),
            ("he", 1, "one 1"),
            // CLDR has no rules for Klingon.
            ("tlh", 1, "1 others"),
            ("en", u64::MAX, "18,446,744,073,709,551,615 others"),
        ] {
            assert_eq!(of(language, quantity), label, "{quantity} in {language}");
        }
    }

    #[test]
    fn a_label_keeps_to_the_language_that_it_is_in() {
        let (french, english) = (
            LanguageTag::parse("fr").expect("a tag"),
            LanguageTag::ENGLISH,
        );
        let translations = Translations::from([
            (french.clone(), labels("", "[qty] unités")),
            (english, labels("[qty] unit", "[qty] units")),
        ]);
        let languages = LanguageFallback::new(&french);
        let label = |quantity| label_for(&languages, &translations, quantity).expect("a label");
        assert_eq!(label(1), "1 unit");
        // The singular label is English, and 0 is not «one» in English.
        assert_eq!(label(0), "0 unités");
        assert_eq!(label(12_345), "12\u{202f}345 unités");
    }

    #[test]
    fn a_label_may_have_the_quantity_often_or_not_at_all() {
        let translations = Translations::from([(
            LanguageTag::ENGLISH,
            labels("a [qty] b [qty]", "none [Qty]"),
        )]);
        let languages = LanguageFallback::new(&LanguageTag::ENGLISH);
        let label = |quantity| label_for(&languages, &translations, quantity).expect("a label");
        assert_eq!(label(1), "a 1 b 1");
        assert_eq!(label(2), "none [Qty]");
    }

    proptest! {
        #[test]
        fn every_number_reads_back_in_every_language(
            language in prop::sample::select(vec!["en", "ar", "fa", "hi", "bn", "de-CH", "fr", "my", "ne", "ur", "th", "he"]),
            quantity: u64,
        ) {
            let label = of(language, quantity);
            let digits: String = label.chars().filter(|letter| letter.is_numeric()).collect();
            prop_assert_eq!(digits, quantity.to_string());
        }
    }
}
