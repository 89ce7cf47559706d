//! What the filter of a list request is, whatever its page: the same bytes for requests that list the same records.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_varint, skip_field,
};
use prost::{DecodeError, Message};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};
use uuid::Uuid;

use crate::proto;

/// The fields of requests that say which page of a list is asked for, by their names in all services.
const PAGE_FIELDS: &[&str] = &[
    "page_number",
    "page",
    "page_size",
    "limit",
    "offset",
    "page_token",
];

/// What a field of a request is to its filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FilterField {
    /// It says which page is asked for, and is no part of the filter.
    Page,
    /// A list of texts, of which a record has to have one: their order and repetitions mean nothing.
    Texts,
    /// The same of numbers, which are encoded in one piece.
    Numbers,
    /// A text that is no list, such as the id of the owner.
    Text,
    /// Anything else, which is compared as it is.
    Other,
}

/// The fields of each RPC's request by their numbers, by the RPC's path. It is read from the descriptors that are part of
/// the binary, so a new filter needs nothing here.
static REQUESTS: LazyLock<HashMap<String, BTreeMap<u32, FilterField>>> = LazyLock::new(|| {
    // A test decodes them.
    let files = FileDescriptorSet::decode(proto::DESCRIPTORS).unwrap_or_default();
    let messages: HashMap<String, &DescriptorProto> = files
        .file
        .iter()
        .flat_map(|file| file.message_type.iter().map(move |message| (file, message)))
        .map(|(file, message)| (format!(".{}.{}", file.package(), message.name()), message))
        .collect();
    let mut requests = HashMap::new();
    for file in &files.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                if let Some(message) = messages.get(method.input_type()) {
                    requests.insert(path, fields_of(message));
                }
            }
        }
    }
    requests
});

fn fields_of(message: &DescriptorProto) -> BTreeMap<u32, FilterField> {
    let fields = message.field.iter().map(|field| {
        let kind = match (field.label(), field.r#type()) {
            _ if PAGE_FIELDS.contains(&field.name()) => FilterField::Page,
            (_, Type::Message | Type::Group) => FilterField::Other,
            (Label::Repeated, Type::String) => FilterField::Texts,
            (Label::Repeated, _) => FilterField::Numbers,
            (_, Type::String) => FilterField::Text,
            _ => FilterField::Other,
        };
        (u32::try_from(field.number()).unwrap_or(0), kind)
    });
    fields.collect()
}

/// The request's fields but those of the page, in the order of their numbers: the values of list filters sorted and each
/// once, ids in lower case. Lists of messages keep their order.
pub(super) fn filter_of(rpc: &str, request: &impl Message) -> Vec<u8> {
    static NONE: BTreeMap<u32, FilterField> = BTreeMap::new();

    let fields = REQUESTS.get(rpc).unwrap_or(&NONE);
    let bytes = request.encode_to_vec();
    // prost has encoded the request, so it can be read.
    let values = read_fields(&bytes, fields).unwrap_or_default();
    let mut filter = Vec::with_capacity(bytes.len());
    for (number, mut values) in values {
        if matches!(
            fields.get(&number),
            Some(FilterField::Texts | FilterField::Numbers)
        ) {
            values.sort_unstable();
            values.dedup();
        }
        for value in values {
            encode_varint(u64::from(number), &mut filter);
            encode_varint(value.len() as u64, &mut filter);
            filter.extend(value);
        }
    }
    filter
}

/// The values of each field, as they are encoded.
fn read_fields(
    mut bytes: &[u8],
    fields: &BTreeMap<u32, FilterField>,
) -> Result<BTreeMap<u32, Vec<Vec<u8>>>, DecodeError> {
    let mut values: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
    while !bytes.is_empty() {
        let (number, wire_type) = decode_key(&mut bytes)?;
        let value = take_value(number, wire_type, &mut bytes)?;
        let kind = fields.get(&number).copied();
        if kind == Some(FilterField::Page) {
            continue;
        }
        let of_field = values.entry(number).or_default();
        match kind {
            Some(FilterField::Texts | FilterField::Text) => of_field.push(lower_case_id(value)),
            Some(FilterField::Numbers) => {
                // Each number ends with a byte whose first bit is 0.
                let numbers = value.split_inclusive(|byte| *byte < 0x80);
                of_field.extend(numbers.map(<[u8]>::to_vec));
            }
            _ => of_field.push(value.to_vec()),
        }
    }
    Ok(values)
}

/// Takes the value of a field off the front, without its length.
fn take_value<'b>(
    number: u32,
    wire_type: WireType,
    bytes: &mut &'b [u8],
) -> Result<&'b [u8], DecodeError> {
    let mut rest = *bytes;
    skip_field(wire_type, number, &mut rest, DecodeContext::default())?;
    let (mut value, _) = bytes.split_at(bytes.len() - rest.len());
    if wire_type == WireType::LengthDelimited {
        decode_varint(&mut value)?;
    }
    *bytes = rest;
    Ok(value)
}

/// An id in lower case, and any other text as it is: requests take ids in letters of either case.
fn lower_case_id(text: &[u8]) -> Vec<u8> {
    let is_id = text.len() == 36 && Uuid::try_parse_ascii(text).is_ok();
    if is_id {
        text.to_ascii_lowercase()
    } else {
        text.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::auth::scope::RPCS;
    use crate::proto::allocation::v1::ListPartnerAllocationsRequest;
    use crate::proto::cas::v1::{SearchAllocationsRequest, SortField};

    const LIST: &str = "/earmark.allocation.v1.AllocationService/ListPartnerAllocations";
    const SEARCH: &str = "/earmark.cas.v1.CasAllocationService/SearchAllocations";

    #[test]
    fn the_request_of_every_rpc_is_known() {
        for rpc in RPCS {
            assert!(REQUESTS.contains_key(rpc.path), "{}", rpc.path);
        }
        let pages = REQUESTS[LIST].values();
        let pages = pages.filter(|field| **field == FilterField::Page);
        assert_eq!(pages.count(), 3);
    }

    #[test]
    fn the_order_of_sort_fields_counts() {
        let sorted_by = |fields: [&str; 2]| {
            let sort_fields = fields.map(|field| SortField {
                field: field.into(),
                direction: 0,
            });
            let request = SearchAllocationsRequest {
                sort_fields: sort_fields.into(),
                ..Default::default()
            };
            filter_of(SEARCH, &request)
        };
        assert_ne!(sorted_by(["a", "b"]), sorted_by(["b", "a"]));
    }

    /// A request, and the same with its values in another order, some of them twice, on another page.
    fn requests()
    -> impl Strategy<Value = (ListPartnerAllocationsRequest, ListPartnerAllocationsRequest)> {
        let texts = || prop::collection::vec("[a-c]{0,2}", 0..4);
        let numbers = || prop::collection::vec(prop_oneof![0..3_i32, Just(300), Just(-1)], 0..4);
        let request = (texts(), texts(), numbers(), numbers()).prop_map(
            |(currencies, partner_external_ids, types, statuses)| ListPartnerAllocationsRequest {
                currencies,
                partner_external_ids,
                types,
                statuses,
                ..Default::default()
            },
        );
        (request, any::<i32>()).prop_map(|(request, number)| {
            let mut same = request.clone();
            same.currencies.reverse();
            same.currencies.extend(request.currencies.clone());
            same.partner_external_ids
                .rotate_left(request.partner_external_ids.len().min(1));
            same.types.extend_from_within(..);
            same.statuses.reverse();
            same.page_number = Some(number);
            same.page_size = number;
            same.page_token = "x".into();
            (request, same)
        })
    }

    fn sets(request: &ListPartnerAllocationsRequest) -> impl PartialEq + use<> {
        let texts = |values: &[String]| {
            let mut values = values.to_vec();
            values.sort();
            values.dedup();
            values
        };
        let numbers = |values: &[i32]| {
            let mut values = values.to_vec();
            values.sort_unstable();
            values.dedup();
            values
        };
        (
            texts(&request.currencies),
            texts(&request.partner_external_ids),
            numbers(&request.types),
            numbers(&request.statuses),
        )
    }

    proptest! {
        #[test]
        fn equal_filters_and_only_these_are_the_same_bytes((one, same) in requests(), (other, _) in requests()) {
            prop_assert_eq!(filter_of(LIST, &one), filter_of(LIST, &same));
            let are_equal = filter_of(LIST, &one) == filter_of(LIST, &other);
            prop_assert_eq!(are_equal, sets(&one) == sets(&other));
        }
    }

    #[test]
    fn ids_are_the_same_in_either_case_and_other_texts_are_not() {
        let of = |ids: &[&str], names: &[&str]| {
            let texts = |values: &[&str]| values.iter().map(|text| text.to_string()).collect();
            let request = ListPartnerAllocationsRequest {
                partner_ids: texts(ids),
                partner_external_ids: texts(names),
                ..Default::default()
            };
            filter_of(LIST, &request)
        };
        let id = "0198a7b2-6a44-7c11-8d4e-000000000001";
        assert_eq!(of(&[id], &[]), of(&[&id.to_uppercase(), id], &[]));
        assert_ne!(of(&[], &["a"]), of(&[], &["A"]));
        assert_ne!(of(&["a"], &[]), of(&[], &["a"]));
    }
}
