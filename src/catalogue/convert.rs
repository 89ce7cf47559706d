//! Conversion between the messages of `earmark.catalogue.v1` and the types of `model`.

mod texts;

use std::cell::Cell;
use std::collections::BTreeMap;

use url::Url;

use crate::catalogue::model::{
    AllocationNumber, CatalogueAllocation, CatalogueCompany, CatalogueText, CatalogueTexts,
    DeleteCatalogueAllocation, LanguageFallback, LanguageTag, Offer, Price, PutCatalogueAllocation,
    PutCatalogueCompany, Translations, is_active_currency, parse_price,
};
use crate::db::record_write::RecordWrite;
use crate::error::{Result, rule_with_value};
use crate::limits::{CATALOGUE_ALLOCATIONS_MAX, ID_CHARS_MAX, LINK_CHARS_MAX};
use crate::proto::catalogue::v1 as pb;
use crate::rpc::describe::INVALID_COMPANY;
use crate::rpc::page_token::Binding;
use crate::rpc::read::Reader;
use crate::types::ids::CompanyId;
use crate::types::page::Page;

/// The request of a list of a company's allocations.
pub(super) struct List {
    pub(super) company: CompanyId,
    pub(super) languages: LanguageFallback,
    pub(super) page: Page<AllocationNumber>,
    pub(super) binding: Binding,
}

pub(super) fn list(rpc: &str, message: pb::ListAvailableAllocationsRequest) -> Result<List> {
    let unpaged = pb::ListAvailableAllocationsRequest {
        page_size: 0,
        page_token: String::new(),
        ..message.clone()
    };
    let binding = Binding::new(rpc, &unpaged);
    let mut reader = Reader::new();
    let list = List {
        company: company(&mut reader, message.company_id),
        languages: languages(&mut reader, &message.langcode),
        page: reader.page_of_whole(
            message.page_size,
            CATALOGUE_ALLOCATIONS_MAX,
            &message.page_token,
            binding,
        ),
        binding,
    };
    reader.finish()?;
    Ok(list)
}

/// The request of one allocation.
pub(super) struct CatalogueGet {
    pub(super) company: CompanyId,
    pub(super) id: AllocationNumber,
    pub(super) languages: LanguageFallback,
    /// The number of units to return a label for.
    pub(super) quantity: Option<u64>,
}

pub(super) fn get(message: &pb::GetAllocationRequest) -> Result<CatalogueGet> {
    let mut reader = Reader::new();
    let get = CatalogueGet {
        company: company(&mut reader, message.company_id),
        id: allocation_id(&mut reader, &message.allocation_id),
        languages: languages(&mut reader, &message.langcode),
        quantity: message.quantity,
    };
    reader.finish()?;
    Ok(get)
}

pub(super) fn put_company(
    message: &pb::PutCompanyRequest,
) -> Result<RecordWrite<PutCatalogueCompany>> {
    let mut reader = Reader::new();
    let command = PutCatalogueCompany {
        company: company(&mut reader, message.company_id),
        name: reader.name("name", &message.name),
        expected_version: message.expected_version,
    };
    reader.finish()?;
    Ok(write(command, message.validate_only))
}

pub(super) fn put_allocation(
    message: &pb::PutAllocationRequest,
) -> Result<RecordWrite<PutCatalogueAllocation>> {
    let mut reader = Reader::new();
    let company = company(&mut reader, message.company_id);
    let id = allocation_id(&mut reader, &message.allocation_id);
    let msrp = Price {
        number: price(&mut reader, "msrp_price", &message.msrp_price),
        currency: currency(&mut reader, "msrp_currency", &message.msrp_currency),
    };
    let per_unit = message.price_per_unit.clone().unwrap_or_default();
    let per_unit = Price {
        number: price(&mut reader, "price_per_unit.number", &per_unit.number),
        currency: currency(
            &mut reader,
            "price_per_unit.currency_code",
            &per_unit.currency_code,
        ),
    };
    let image = image(&mut reader, &message.allocation_image);
    let translations = texts::translations(&mut reader, &message.translations);
    reader.finish()?;
    let command = PutCatalogueAllocation {
        company,
        id,
        offer: Offer {
            msrp,
            per_unit,
            image,
        },
        translations,
        expected_version: message.expected_version,
    };
    Ok(write(command, message.validate_only))
}

pub(super) fn delete_allocation(
    message: &pb::DeleteAllocationRequest,
) -> Result<RecordWrite<DeleteCatalogueAllocation>> {
    let mut reader = Reader::new();
    let command = DeleteCatalogueAllocation {
        company: company(&mut reader, message.company_id),
        id: allocation_id(&mut reader, &message.allocation_id),
        expected_version: message.expected_version,
    };
    reader.finish()?;
    Ok(write(command, message.validate_only))
}

/// A write without idempotency key: the ids of its record serve as key.
fn write<C>(command: C, validate_only: bool) -> RecordWrite<C> {
    RecordWrite {
        command,
        key: None,
        validate_only,
    }
}

fn company(reader: &mut Reader, id: i64) -> CompanyId {
    if id < 1 {
        reader.violation_in_words("company_id", INVALID_COMPANY);
    }
    CompanyId(id)
}

fn allocation_id(reader: &mut Reader, text: &str) -> AllocationNumber {
    let is_number = (1..=18).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.starts_with('0');
    match text.parse() {
        Ok(id) if is_number => id,
        _ => {
            reader.violation(
                "allocation_id",
                missing_or("must be a positive integer of at most 18 digits", text),
            );
            0
        }
    }
}

/// The rule for a required field whose value is invalid: that it is required, or `rule` with the value.
fn missing_or(rule: &str, value: &str) -> String {
    match value {
        "" => "is required".into(),
        value => rule_with_value(rule, value),
    }
}

fn languages(reader: &mut Reader, langcode: &str) -> LanguageFallback {
    let tag = match langcode {
        "" => Some(LanguageTag::ENGLISH),
        long if long.len() > ID_CHARS_MAX => None,
        text => LanguageTag::parse_requested(text),
    };
    LanguageFallback::new(tag.unwrap_or_else(|| {
        let rule = "must be a BCP 47 language tag, such as fr-CA";
        reader.violation("langcode", rule_with_value(rule, langcode));
        LanguageTag::ENGLISH
    }))
}

fn price(reader: &mut Reader, field: &str, text: &str) -> String {
    parse_price(text).unwrap_or_else(|| {
        reader.violation(
            field,
            missing_or(
                "must be a decimal without sign, of at most 16 digits before and 12 after the point",
                text,
            ),
        );
        String::new()
    })
}

fn currency(reader: &mut Reader, field: &str, code: &str) -> String {
    if !is_active_currency(code) {
        reader.violation(
            field,
            missing_or(
                "must be an active currency code of ISO 4217, such as USD",
                code,
            ),
        );
    }
    code.into()
}

fn image(reader: &mut Reader, url: &str) -> String {
    const FIELD: &str = "allocation_image";
    let url = reader.required_text(FIELD, url, LINK_CHARS_MAX);
    if !url.is_empty() && url.len() <= 4 * LINK_CHARS_MAX && !is_https(&url) {
        // The value is not repeated: it may contain a password.
        let rule = "must be an https URL with a host, without user and password";
        reader.violation(FIELD, rule);
    }
    url
}

/// Whether this is a valid https URL. The parser corrects many errors, such as blanks, backslashes and missing slashes;
/// a URL that it has to correct is invalid.
fn is_https(url: &str) -> bool {
    let is_corrected = Cell::new(false);
    let correct = |_| is_corrected.set(true);
    let parsed = Url::options()
        .syntax_violation_callback(Some(&correct))
        .parse(url);
    parsed.is_ok_and(|url| url.scheme() == "https" && url.has_host()) && !is_corrected.get()
}

impl From<CatalogueCompany> for pb::Company {
    fn from(company: CatalogueCompany) -> Self {
        Self {
            company_id: company.id.0,
            name: company.name,
            version: company.version,
        }
    }
}

/// The message of an allocation, each text in the most preferred language that has it.
pub(super) fn to_message(
    allocation: &CatalogueAllocation,
    languages: &LanguageFallback,
) -> pb::Allocation {
    let mut served_languages = BTreeMap::new();
    let mut text = |text: CatalogueText| {
        let Some((tag, served)) = languages.text(&allocation.translations, text) else {
            return String::new();
        };
        served_languages.insert(text.name().into(), tag.to_string());
        served.into()
    };
    let offer = &allocation.offer;
    pb::Allocation {
        allocation_name: text(CatalogueText::Name),
        display_name: text(CatalogueText::DisplayName),
        allocation_id: allocation.id.to_string(),
        allocation_description: text(CatalogueText::Description),
        allocation_long_description: text(CatalogueText::LongDescription),
        allocation_singular_label: text(CatalogueText::SingularLabel),
        allocation_plural_label: text(CatalogueText::PluralLabel),
        msrp_price: offer.msrp.number.clone(),
        msrp_currency: offer.msrp.currency.clone(),
        price_per_unit: Some(pb::PricePerUnit {
            number: offer.per_unit.number.clone(),
            currency_code: offer.per_unit.currency.clone(),
        }),
        allocation_image: offer.image.clone(),
        version: allocation.version,
        served_languages,
    }
}

/// The messages of all texts, by language tag.
pub(super) fn all_texts(translations: Translations) -> BTreeMap<String, pb::Translation> {
    translations
        .into_iter()
        .map(|(tag, texts)| (tag.to_string(), texts.into()))
        .collect()
}

impl From<CatalogueTexts> for pb::Translation {
    fn from(texts: CatalogueTexts) -> Self {
        Self {
            allocation_name: texts.allocation_name,
            display_name: texts.display_name,
            allocation_description: texts.allocation_description,
            allocation_long_description: texts.allocation_long_description,
            allocation_singular_label: texts.allocation_singular_label,
            allocation_plural_label: texts.allocation_plural_label,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_https_urls_pass() {
        for good in [
            "https://impact.dots.eco/sites/default/allocation_image.jpeg",
            "https://example.com",
            "HTTPS://example.com:8443/a%20b.png?x=y#z",
            "https://例え.jp/画像.png",
            "https://[2001:db8::1]/x",
        ] {
            assert!(is_https(good), "{good}");
        }
        for bad in [
            "http://example.com/x.png",
            "javascript:alert(1)",
            "data:image/png;base64,AAAA",
            "ftp://example.com",
            "//example.com/x.png",
            "/x.png",
            "https:example.com",
            "https:///x.png",
            "https://",
            "https://exa mple.com/",
            "https://example.com/a b",
            " https://example.com",
            "https://example.com\n",
            "https://exam\nple.com",
            "https:\\\\example.com",
            "https://user@example.com/",
            "https://user:secret@example.com/",
            "https://example.com/%zz",
            "java\nscript:alert(1)",
        ] {
            assert!(!is_https(bad), "{bad}");
        }
    }

    #[test]
    fn ids_are_positive_numbers_of_at_most_18_digits() {
        let id = |text| {
            let mut read = Reader::new();
            let id = allocation_id(&mut read, text);
            read.finish().map(|()| id).ok()
        };
        assert_eq!(id("2"), Some(2));
        assert_eq!(id("999999999999999999"), Some(999_999_999_999_999_999));
        for bad in [
            "",
            "0",
            "02",
            "-2",
            "+2",
            "2.0",
            "x",
            " 2",
            "٢",
            "1000000000000000000",
        ] {
            assert_eq!(id(bad), None, "{bad:?}");
        }
    }
}
