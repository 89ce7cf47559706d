//! Conversion between the messages of `earmark.catalogue.v1` and the types of `model`.

mod suggestion;
mod texts;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use self::suggestion::did_you_mean;
use crate::catalogue::model::{
    AllocationNumber, CatalogueAllocation, CatalogueCompany, CatalogueText, CatalogueTexts,
    DeleteCatalogueAllocation, LangcodeFault, LanguageCursor, LanguageFallback, LanguageTag, Offer,
    Price, PutCatalogueAllocation, PutCatalogueCompany, Translations, is_active_currency,
    parse_langcode, parse_price,
};
use crate::db::record_write::RecordWrite;
use crate::error::{Result, rule_with_value};
use crate::limits::{
    CATALOGUE_ALLOCATIONS_MAX, LANGCODE_CHARS_MAX, LANGUAGES_ASKED_MAX, LANGUAGES_PAGE_MAX,
    LINK_CHARS_MAX,
};
use crate::proto::catalogue::v1 as pb;
use crate::rpc::call::Call;
use crate::rpc::describe::INVALID_COMPANY;
use crate::rpc::page_token::Binding;
use crate::rpc::read::Reader;
use crate::types::ids::CompanyId;
use crate::types::page::Page;
use crate::types::text;

/// The request of a list of a company's allocations.
pub(super) struct List {
    pub(super) company: CompanyId,
    pub(super) languages: LanguageFallback,
    pub(super) page: Page<AllocationNumber>,
    pub(super) binding: Binding,
}

pub(super) fn list(rpc: &str, message: pb::ListAvailableAllocationsRequest) -> Result<List> {
    let mut reader = Reader::new();
    let company = company(&mut reader, message.company_id);
    let languages = languages(&mut reader, &message.langcode);
    // The same languages in another spelling are the same list.
    let tags: Vec<String> = languages
        .tags()
        .iter()
        .map(LanguageTag::to_string)
        .collect();
    let unpaged = pb::ListAvailableAllocationsRequest {
        company_id: message.company_id,
        langcode: tags.join(","),
        page_size: 0,
        page_token: String::new(),
    };
    let binding = Binding::new(rpc, &unpaged);
    let page = reader.page_of_whole(
        message.page_size,
        CATALOGUE_ALLOCATIONS_MAX,
        &message.page_token,
        binding,
    );
    reader.finish()?;
    Ok(List {
        company,
        languages,
        page,
        binding,
    })
}

/// Reads the page of `ListSupportedLanguages`. Its token is bound to the companies of the caller's token.
pub(super) fn list_languages(
    call: &Call,
    message: &pb::ListSupportedLanguagesRequest,
) -> Result<(Page<LanguageCursor>, Binding)> {
    let mut companies = call.caller.companies.clone().unwrap_or_default();
    companies.sort_unstable();
    companies.dedup();
    let owner: Vec<u8> = companies
        .iter()
        .flat_map(|company| company.0.to_be_bytes())
        .collect();
    let binding = Binding::with_owner(call.rpc.path, message, &owner);
    let mut reader = Reader::new();
    let (size, token) = (message.page_size, &message.page_token);
    let page = reader.page_of_whole(size, LANGUAGES_PAGE_MAX, token, binding);
    reader.finish()?;
    Ok((page, binding))
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
    const FIELD: &str = "langcode";
    const RULE: &str =
        "must be BCP 47 language tags as in Accept-Language, such as `fr-CA` or `fr-CA, fr;q=0.9`";
    let rule = if text::check(langcode, LANGCODE_CHARS_MAX).is_err() {
        format!("must have at most {LANGCODE_CHARS_MAX} characters, without NUL")
    } else {
        match parse_langcode(langcode) {
            Ok(languages) => return languages,
            Err(LangcodeFault::TooMany(count)) => {
                format!("must name at most {LANGUAGES_ASKED_MAX} languages, got {count}")
            }
            Err(LangcodeFault::Malformed { part, suggestion }) => {
                did_you_mean(rule_with_value(RULE, &part), suggestion.as_deref())
            }
        }
    };
    reader.violation(FIELD, rule);
    LanguageFallback::new(&LanguageTag::ENGLISH)
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
        let rule = missing_or(
            "must be an active currency code of ISO 4217, such as USD",
            code,
        );
        let upper = code.to_ascii_uppercase();
        let meant = is_active_currency(&upper).then_some(upper.as_str());
        reader.violation(field, did_you_mean(rule, meant));
    }
    code.into()
}

/// The URL of an image, with its scheme in lower case.
fn image(reader: &mut Reader, url: &str) -> String {
    const FIELD: &str = "allocation_image";
    let url = reader.required_text(FIELD, url, LINK_CHARS_MAX);
    if url.is_empty() || url.len() > 4 * LINK_CHARS_MAX {
        return url;
    }
    match check_image(&url) {
        Ok(()) => match url.split_once(':') {
            Some((_, rest)) => format!("https:{rest}"),
            None => url,
        },
        Err(rule) => {
            // The value is not repeated: it may contain a password.
            reader.violation(FIELD, rule);
            url
        }
    }
}

/// Checks that this is a valid https URL that clients may load; otherwise returns the rule that it breaks. The parser
/// corrects many errors, such as blanks, backslashes and missing slashes; a URL that it has to correct is invalid.
fn check_image(url: &str) -> Result<(), String> {
    if url
        .chars()
        .any(|char| char.is_control() || is_bidirectional(char))
    {
        return Err("must not contain control characters or marks of the direction of text".into());
    }
    let corrected = Cell::new(None);
    let correct = |violation| corrected.set(Some(violation));
    let parsed = Url::options()
        .syntax_violation_callback(Some(&correct))
        .parse(url);
    let parsed = parsed.map_err(|error| format!("must be an https URL with a host: {error}"))?;
    if parsed.scheme() != "https" {
        return Err("must be a URL of the scheme https".into());
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err("must not contain a user or a password".into());
    }
    if let Some(violation) = corrected.get() {
        return Err(format!("must be a valid URL: {}", violation.description()));
    }
    match parsed.host() {
        None => return Err("must be an https URL with a host".into()),
        Some(Host::Ipv4(address)) if is_private_v4(address) => return Err(PRIVATE.into()),
        Some(Host::Ipv6(address)) if is_private_v6(address) => return Err(PRIVATE.into()),
        Some(_) => {}
    }
    if parsed.port() == Some(0) {
        return Err("must not have the port 0".into());
    }
    Ok(())
}

const PRIVATE: &str = "must not lead to an address of a private network";

/// Whether a character changes the direction in which text is shown, so that a URL may look like another one.
fn is_bidirectional(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    // 100.64.0.0/10 is shared by the customers of a provider (RFC 6598), 0.0.0.0/8 is the host itself (RFC 1122).
    let is_shared = u32::from(address) >> 22 == u32::from(Ipv4Addr::new(100, 64, 0, 0)) >> 22;
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.octets()[0] == 0
        || address.is_broadcast()
        || address.is_multicast()
        || is_shared
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    // Addresses that stand for one of IPv4: mapped and compatible (RFC 4291), translated (RFC 6052), 6to4 (RFC 3056).
    let embedded = match segments {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(embedded(high, low))
        }
        [0x2002, high, low, ..] => Some(embedded(high, low)),
        _ => None,
    };
    let is_site_local = segments[0] & 0xffc0 == 0xfec0;
    address.is_loopback()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || address.is_multicast()
        || is_site_local
        || embedded.is_some_and(is_private_v4)
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
            assert_eq!(check_image(good), Ok(()), "{good}");
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
            assert!(check_image(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn images_of_private_addresses_and_misleading_urls_are_refused_by_their_rule() {
        for (url, rule) in [
            ("https://10.0.0.1/x", "private network"),
            ("https://127.0.0.1/x", "private network"),
            ("https://169.254.169.254/latest", "private network"),
            ("https://100.64.0.1/x", "private network"),
            ("https://[::1]/x", "private network"),
            ("https://[fd00::1]/x", "private network"),
            ("https://[::ffff:10.0.0.1]/x", "private network"),
            ("https://[::10.0.0.1]/x", "private network"),
            ("https://[64:ff9b::192.168.1.1]/x", "private network"),
            ("https://[2002:a00:1::]/x", "private network"),
            ("https://[fec0::1]/x", "private network"),
            ("https://[ff02::1]/x", "private network"),
            ("https://0.1.2.3/x", "private network"),
            ("https://224.0.0.1/x", "private network"),
            ("http://example.com/x", "scheme https"),
            ("https://user:secret@example.com/", "user or a password"),
            ("https://exa mple.com/", "with a host: invalid"),
            ("https:/example.com/", "valid URL: expected //"),
            ("https://example.com/a b", "valid URL: non-URL code point"),
            ("https://example.com:0/x", "port 0"),
            ("https://example.com/\u{202e}gnp.x", "direction of text"),
            ("https://example.com/\u{7}", "control characters"),
        ] {
            let refused = check_image(url).expect_err(url);
            assert!(refused.contains(rule), "{url}: {refused}");
        }
        for public in [
            "https://100.128.0.1/x",
            "https://[64:ff9b::8.8.8.8]/x",
            "https://[2002:808:808::]/x",
        ] {
            assert_eq!(check_image(public), Ok(()), "{public}");
        }
    }

    #[test]
    fn the_scheme_of_an_image_is_stored_in_lower_case() {
        let mut read = Reader::new();
        let stored = image(&mut read, "HTTPS://Example.com/X");
        assert_eq!(
            (stored.as_str(), read.finish()),
            ("https://Example.com/X", Ok(()))
        );
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
