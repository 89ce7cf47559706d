//! Between the messages of `earmark.catalogue.v1` and the words of `model`.

mod texts;

use std::cell::Cell;
use std::collections::BTreeMap;

use url::Url;

use crate::catalogue::model::language::{Tag, Wanted};
use crate::catalogue::model::price::{self, Price};
use crate::catalogue::model::{
    Allocation, AllocationNumber, Company, DeleteAllocation, Offer, PutAllocation, PutCompany,
    Text, Texts, Translations, Write,
};
use crate::error::Result;
use crate::limits::{CATALOGUE_ALLOCATIONS_MAX, ID_CHARS_MAX, LINK_CHARS_MAX};
use crate::proto::catalogue::v1 as pb;
use crate::rpc::describe::INVALID_COMPANY;
use crate::rpc::page_token::Binding;
use crate::rpc::read::Reader;
use crate::types::ids::CompanyId;
use crate::types::page::Page;

/// A list of one company's allocations.
pub(super) struct List {
    pub(super) company: CompanyId,
    pub(super) wanted: Wanted,
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
    let mut read = Reader::new();
    let list = List {
        company: company(&mut read, message.company_id),
        wanted: wanted(&mut read, &message.langcode),
        page: read.page_of_whole(
            message.page_size,
            CATALOGUE_ALLOCATIONS_MAX,
            &message.page_token,
            binding,
        ),
        binding,
    };
    read.finish()?;
    Ok(list)
}

/// One allocation, and for how many units a label is asked.
pub(super) struct Get {
    pub(super) company: CompanyId,
    pub(super) id: AllocationNumber,
    pub(super) wanted: Wanted,
    pub(super) quantity: Option<u64>,
}

pub(super) fn get(message: &pb::GetAllocationRequest) -> Result<Get> {
    let mut read = Reader::new();
    let get = Get {
        company: company(&mut read, message.company_id),
        id: allocation_id(&mut read, &message.allocation_id),
        wanted: wanted(&mut read, &message.langcode),
        quantity: message.quantity,
    };
    read.finish()?;
    Ok(get)
}

pub(super) fn put_company(message: &pb::PutCompanyRequest) -> Result<Write<PutCompany>> {
    let mut read = Reader::new();
    let write = Write {
        company: company(&mut read, message.company_id),
        command: PutCompany {
            name: read.name("name", &message.name),
        },
        expected_version: message.expected_version,
        validate_only: message.validate_only,
    };
    read.finish()?;
    Ok(write)
}

pub(super) fn put_allocation(message: &pb::PutAllocationRequest) -> Result<Write<PutAllocation>> {
    let mut read = Reader::new();
    let company = company(&mut read, message.company_id);
    let id = allocation_id(&mut read, &message.allocation_id);
    let msrp = Price {
        number: number(&mut read, "msrp_price", &message.msrp_price),
        currency: currency(&mut read, "msrp_currency", &message.msrp_currency),
    };
    let per_unit = message.price_per_unit.clone().unwrap_or_default();
    let per_unit = Price {
        number: number(&mut read, "price_per_unit.number", &per_unit.number),
        currency: currency(
            &mut read,
            "price_per_unit.currency_code",
            &per_unit.currency_code,
        ),
    };
    let image = image(&mut read, &message.allocation_image);
    let translations = texts::translations(&mut read, &message.translations);
    read.finish()?;
    Ok(Write {
        company,
        command: PutAllocation {
            id,
            offer: Offer {
                msrp,
                per_unit,
                image,
            },
            translations,
        },
        expected_version: message.expected_version,
        validate_only: message.validate_only,
    })
}

pub(super) fn delete_allocation(
    message: &pb::DeleteAllocationRequest,
) -> Result<Write<DeleteAllocation>> {
    let mut read = Reader::new();
    let write = Write {
        company: company(&mut read, message.company_id),
        command: DeleteAllocation {
            id: allocation_id(&mut read, &message.allocation_id),
        },
        expected_version: message.expected_version,
        validate_only: message.validate_only,
    };
    read.finish()?;
    Ok(write)
}

fn company(read: &mut Reader, id: i64) -> CompanyId {
    if id < 1 {
        read.violation_in_words("company_id", INVALID_COMPANY);
    }
    CompanyId(id)
}

fn allocation_id(read: &mut Reader, text: &str) -> AllocationNumber {
    let is_number = (1..=18).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && !text.starts_with('0');
    match text.parse() {
        Ok(id) if is_number => id,
        _ => {
            read.violation(
                "allocation_id",
                if text.is_empty() {
                    "is required"
                } else {
                    "must match ^[1-9][0-9]{0,17}$"
                },
            );
            0
        }
    }
}

fn wanted(read: &mut Reader, langcode: &str) -> Wanted {
    let tag = match langcode {
        "" => Some(Tag::ENGLISH),
        long if long.len() > ID_CHARS_MAX => None,
        text => Tag::parse_wanted(text),
    };
    Wanted::new(tag.unwrap_or_else(|| {
        read.violation("langcode", "must be a BCP 47 language tag, such as fr-CA");
        Tag::ENGLISH
    }))
}

fn number(read: &mut Reader, field: &str, text: &str) -> String {
    price::parse_number(text).unwrap_or_else(|| {
        read.violation(
            field,
            if text.is_empty() {
                "is required"
            } else {
                "must be a decimal without sign, of at most 16 digits before and 12 after the point"
            },
        );
        String::new()
    })
}

fn currency(read: &mut Reader, field: &str, code: &str) -> String {
    if !price::is_active(code) {
        read.violation(
            field,
            if code.is_empty() {
                "is required"
            } else {
                "must be an active currency code of ISO 4217, such as USD"
            },
        );
    }
    code.into()
}

fn image(read: &mut Reader, url: &str) -> String {
    const FIELD: &str = "allocation_image";
    let url = read.required_text(FIELD, url, LINK_CHARS_MAX);
    if !url.is_empty() && url.len() <= 4 * LINK_CHARS_MAX && !is_https(&url) {
        read.violation(
            FIELD,
            "must be an https URL with a host, without user and password",
        );
    }
    url
}

/// Whether this is an https URL as it stands. The parser would mend a lot: blanks, backslashes, slashes that are missing.
fn is_https(url: &str) -> bool {
    let is_mended = Cell::new(false);
    let mend = |_| is_mended.set(true);
    let parsed = Url::options()
        .syntax_violation_callback(Some(&mend))
        .parse(url);
    parsed.is_ok_and(|url| url.scheme() == "https" && url.has_host()) && !is_mended.get()
}

impl From<Company> for pb::Company {
    fn from(company: Company) -> Self {
        Self {
            company_id: company.id.0,
            name: company.name,
            version: company.version,
        }
    }
}

/// An allocation as a reader is served it.
pub(super) fn served(allocation: &Allocation, wanted: &Wanted) -> pb::Allocation {
    let mut served_languages = BTreeMap::new();
    let mut text = |text: Text| {
        let Some((tag, served)) = wanted.serve(&allocation.translations, text) else {
            return String::new();
        };
        served_languages.insert(text.name().into(), tag.to_string());
        served.into()
    };
    let offer = &allocation.offer;
    pb::Allocation {
        allocation_name: text(Text::Name),
        display_name: text(Text::DisplayName),
        allocation_id: allocation.id.to_string(),
        allocation_description: text(Text::Description),
        allocation_long_description: text(Text::LongDescription),
        allocation_singular_label: text(Text::SingularLabel),
        allocation_plural_label: text(Text::PluralLabel),
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

/// All texts, by language.
pub(super) fn all_texts(translations: Translations) -> BTreeMap<String, pb::Translation> {
    translations
        .into_iter()
        .map(|(tag, texts)| (tag.to_string(), texts.into()))
        .collect()
}

impl From<Texts> for pb::Translation {
    fn from(texts: Texts) -> Self {
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
