//! The records of a catalogue, and the commands that write them.

mod cldr;
mod fallback;
mod label;
mod langcode;
mod language;
mod price;
mod put;
mod texts;

use crate::audit::{Named, RecordId};
use crate::types::ids::CompanyId;

pub(crate) use fallback::LanguageFallback;
pub(crate) use label::label_for;
pub(crate) use langcode::{LangcodeFault, intended_tag, parse_langcode};
pub(crate) use language::{LanguageCursor, LanguageTag};
pub(crate) use price::{Price, active_currencies, is_active_currency, parse_price};
pub(crate) use put::{PutDecision, PutTarget, decide_put};
pub(crate) use texts::{CatalogueText, CatalogueTexts, QUANTITY, Translations};

/// A company with a catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CatalogueCompany {
    pub(crate) id: CompanyId,
    pub(crate) name: String,
    /// Number of writes of the record, its creation included: starts at 1.
    pub(crate) version: i64,
}

/// The id of an allocation, unique within its company: a positive number of at most 18 digits.
pub(crate) type AllocationNumber = i64;

/// An allocation that a company offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CatalogueAllocation {
    pub(crate) id: AllocationNumber,
    pub(crate) offer: Offer,
    /// The texts in all languages, or only in those that a read asked for.
    pub(crate) translations: Translations,
    /// Grows by 1 with each write of the record, and starts above those of all deleted allocations of the company.
    pub(crate) version: i64,
}

impl Named for CatalogueCompany {
    const KIND: &'static str = "company";

    fn record_id(&self) -> Option<RecordId> {
        Some(RecordId::Number(self.id.0))
    }
}

impl Named for CatalogueAllocation {
    const KIND: &'static str = "catalogue_allocation";

    fn record_id(&self) -> Option<RecordId> {
        Some(RecordId::Number(self.id))
    }
}

/// The id of an allocation that was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeletedAllocation(pub(crate) AllocationNumber);

impl Named for DeletedAllocation {
    const KIND: &'static str = CatalogueAllocation::KIND;

    fn record_id(&self) -> Option<RecordId> {
        Some(RecordId::Number(self.0))
    }
}

/// The part of an allocation that does not depend on a language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The manufacturer's suggested retail price.
    pub(crate) msrp: Price,
    pub(crate) per_unit: Price,
    /// The https URL of an image, as the caller wrote it.
    pub(crate) image: String,
}

/// Creates a company, or changes its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PutCatalogueCompany {
    pub(crate) company: CompanyId,
    pub(crate) name: String,
    pub(crate) expected_version: Option<i64>,
}

/// Creates an allocation, or replaces all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PutCatalogueAllocation {
    pub(crate) company: CompanyId,
    pub(crate) id: AllocationNumber,
    pub(crate) offer: Offer,
    pub(crate) translations: Translations,
    pub(crate) expected_version: Option<i64>,
}

/// Deletes an allocation with all its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeleteCatalogueAllocation {
    pub(crate) company: CompanyId,
    pub(crate) id: AllocationNumber,
    pub(crate) expected_version: Option<i64>,
}
