//! The records of a catalogue, the commands that change them, and how a put is judged.

pub mod label;
pub mod language;
pub mod price;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalogue::model::language::Tag;
use crate::catalogue::model::price::Price;
use crate::error::{Error, Result};
use crate::types::ids::CompanyId;

/// Stands in a label where the quantity belongs.
pub const QUANTITY: &str = "[qty]";

/// A company with a catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Company {
    pub id: CompanyId,
    pub name: String,
    /// Counts the writes, from 1.
    pub version: i64,
}

/// The number of an allocation, `^[1-9][0-9]{0,17}$`; unique in its company.
pub type AllocationNumber = i64;

/// What a company offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allocation {
    pub id: AllocationNumber,
    pub offer: Offer,
    /// All of them, or those of the languages that a read asks for.
    pub translations: Translations,
    /// Counts the writes, from 1.
    pub version: i64,
}

/// What is the same in every language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    pub msrp: Price,
    pub per_unit: Price,
    /// An https URL.
    pub image: String,
}

/// The texts of an allocation, by language; English is always there.
pub type Translations = BTreeMap<Tag, Texts>;

/// Texts in one language, stored under these names. An empty one is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Texts {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub allocation_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub allocation_description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub allocation_long_description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub allocation_singular_label: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub allocation_plural_label: String,
}

/// One of the texts of an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text {
    Name,
    DisplayName,
    Description,
    LongDescription,
    SingularLabel,
    PluralLabel,
}

impl Text {
    /// In the order of the messages.
    pub const ALL: [Self; 6] = [
        Self::Name,
        Self::DisplayName,
        Self::Description,
        Self::LongDescription,
        Self::SingularLabel,
        Self::PluralLabel,
    ];

    /// Its field's name.
    pub fn name(self) -> &'static str {
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

impl Texts {
    /// The text, if it is there.
    pub fn get(&self, text: Text) -> Option<&str> {
        let text = match text {
            Text::Name => &self.allocation_name,
            Text::DisplayName => &self.display_name,
            Text::Description => &self.allocation_description,
            Text::LongDescription => &self.allocation_long_description,
            Text::SingularLabel => &self.allocation_singular_label,
            Text::PluralLabel => &self.allocation_plural_label,
        };
        (!text.is_empty()).then_some(text)
    }
}

/// A command with what every write takes. The ids of its record are its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write<C> {
    pub company: CompanyId,
    pub command: C,
    pub expected_version: Option<i64>,
    /// Judge and answer, but write nothing.
    pub validate_only: bool,
}

/// Creates a company, or renames it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutCompany {
    pub name: String,
}

/// Creates an allocation, or replaces it whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutAllocation {
    pub id: AllocationNumber,
    pub offer: Offer,
    pub translations: Translations,
}

/// Deletes an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteAllocation {
    pub id: AllocationNumber,
}

/// What is to be done for a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: the record has this content already, and this version.
    Replay(i64),
    /// Create the record.
    Create,
    /// Replace the record; this is its version then.
    Replace(i64),
}

impl Verdict {
    /// The version that the record has in the end.
    pub fn version(self) -> i64 {
        match self {
            Self::Replay(version) | Self::Replace(version) => version,
            Self::Create => 1,
        }
    }

    /// Whether nothing is to be done.
    pub fn is_replay(self) -> bool {
        matches!(self, Self::Replay(_))
    }
}

/// Judges a put by what it finds: the record's version, and whether its content is the same.
///
/// The record's last write named the version before, if it named any: with the same content that one too is a repeat.
///
/// # Errors
/// [`Error::VersionMismatch`], whose actual version is 0 where there is no record.
pub fn judge_put(expected: Option<i64>, found: Option<(i64, bool)>) -> Result<Verdict> {
    let actual = found.map_or(0, |(version, _)| version);
    let is_same = found.is_some_and(|(_, is_same)| is_same);
    if is_same && expected.is_none_or(|expected| [actual - 1, actual].contains(&expected)) {
        return Ok(Verdict::Replay(actual));
    }
    require_version(expected, actual)?;
    Ok(match actual {
        0 => Verdict::Create,
        _ => Verdict::Replace(actual + 1),
    })
}

/// Refuses another version than the expected one.
///
/// # Errors
/// [`Error::VersionMismatch`].
pub fn require_version(expected: Option<i64>, actual: i64) -> Result<()> {
    match expected {
        Some(expected) if expected != actual => Err(Error::VersionMismatch { expected, actual }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_put_replaces_unless_nothing_would_change() {
        let mismatch = |expected, actual| Err(Error::VersionMismatch { expected, actual });
        for (expected, found, verdict) in [
            (None, None, Ok(Verdict::Create)),
            (Some(0), None, Ok(Verdict::Create)),
            (Some(1), None, mismatch(1, 0)),
            (None, Some((3, false)), Ok(Verdict::Replace(4))),
            (Some(3), Some((3, false)), Ok(Verdict::Replace(4))),
            (Some(2), Some((3, false)), mismatch(2, 3)),
            (None, Some((3, true)), Ok(Verdict::Replay(3))),
            (Some(3), Some((3, true)), Ok(Verdict::Replay(3))),
            (Some(2), Some((3, true)), Ok(Verdict::Replay(3))),
            (Some(1), Some((3, true)), mismatch(1, 3)),
            (Some(4), Some((3, true)), mismatch(4, 3)),
            (Some(0), Some((1, true)), Ok(Verdict::Replay(1))),
            (Some(0), Some((1, false)), mismatch(0, 1)),
        ] {
            assert_eq!(
                judge_put(expected, found),
                verdict,
                "{expected:?} {found:?}"
            );
        }
    }

    proptest! {
        /// Whatever a put named, the same put again does nothing.
        #[test]
        fn a_repeat_is_a_replay(expected in proptest::option::of(-1_i64..5), found in proptest::option::of((1_i64..4, any::<bool>()))) {
            if let Ok(verdict) = judge_put(expected, found) {
                let version = verdict.version();
                prop_assert_eq!(judge_put(expected, Some((version, true))), Ok(Verdict::Replay(version)));
            }
        }
    }
}
