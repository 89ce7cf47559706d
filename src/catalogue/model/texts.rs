//! The texts of an allocation, in many languages.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalogue::model::language::LanguageTag;

/// The placeholder in labels that the quantity takes the place of.
pub(crate) const QUANTITY: &str = "[qty]";

/// The texts of an allocation by language. A stored allocation always has English texts, and of each other language that it
/// has at least one text.
pub(crate) type Translations = BTreeMap<LanguageTag, CatalogueTexts>;

/// The texts in one language, stored as JSON members of these names. An empty text counts as missing and is not stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct CatalogueTexts {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) allocation_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) display_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) allocation_description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) allocation_long_description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) allocation_singular_label: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) allocation_plural_label: String,
}

/// Identifies one of the texts that an allocation has in every language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CatalogueText {
    Name,
    DisplayName,
    Description,
    LongDescription,
    SingularLabel,
    PluralLabel,
}

impl CatalogueText {
    /// Every text, in the order of the messages.
    pub(crate) const ALL: [Self; 6] = [
        Self::Name,
        Self::DisplayName,
        Self::Description,
        Self::LongDescription,
        Self::SingularLabel,
        Self::PluralLabel,
    ];

    /// Whether it is one of the two labels, which agree on whether they contain the quantity.
    pub(crate) fn is_label(self) -> bool {
        matches!(self, Self::SingularLabel | Self::PluralLabel)
    }

    /// The name of the text's field in the messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Name => "allocation_name",
            Self::DisplayName => "display_name",
            Self::Description => "allocation_description",
            Self::LongDescription => "allocation_long_description",
            Self::SingularLabel => "allocation_singular_label",
            Self::PluralLabel => "allocation_plural_label",
        }
    }
}

impl CatalogueTexts {
    /// Whether all texts are missing.
    pub(crate) fn is_empty(&self) -> bool {
        CatalogueText::ALL
            .into_iter()
            .all(|text| self.get(text).is_none())
    }

    /// Whether any of the two labels is there.
    pub(crate) fn has_label(&self) -> bool {
        let mut labels = CatalogueText::ALL
            .into_iter()
            .filter(|text| text.is_label());
        labels.any(|label| self.get(label).is_some())
    }

    /// The text, unless it is missing.
    pub(crate) fn get(&self, text: CatalogueText) -> Option<&str> {
        let text = match text {
            CatalogueText::Name => &self.allocation_name,
            CatalogueText::DisplayName => &self.display_name,
            CatalogueText::Description => &self.allocation_description,
            CatalogueText::LongDescription => &self.allocation_long_description,
            CatalogueText::SingularLabel => &self.allocation_singular_label,
            CatalogueText::PluralLabel => &self.allocation_plural_label,
        };
        (!text.is_empty()).then_some(text)
    }
}
