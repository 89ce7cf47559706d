use prost::Message as _;
use prost::encoding::{encode_key, encode_varint};

use super::*;
use crate::auth::scope::RPCS;
use crate::limits::{REQUEST_BYTES_MAX, SUBMIT_ITEMS_MAX};
use crate::proto::allocation::v1 as allocation;
use crate::proto::bucket::v1 as bucket;
use crate::proto::cas::v1 as cas;
use crate::proto::catalogue::v1 as catalogue;

const SUBMIT: &str = "/earmark.allocation.v1.AllocationService/SubmitAllocations";

fn shapes() -> RequestShapes {
    RequestShapes::load().expect("descriptors")
}

/// The paths of field numbers from a message to each of its lists, those within other messages included.
fn lists(shapes: &RequestShapes, index: usize, depth: usize) -> Vec<Vec<&FieldShape>> {
    let mut found = Vec::new();
    if depth == 6 {
        return found;
    }
    for field in &shapes.messages[index].fields {
        if field.list.is_some() {
            found.push(vec![field]);
        }
        if let FieldContent::Message(inner) = field.content {
            for mut path in lists(shapes, inner, depth + 1) {
                path.insert(0, field);
                found.push(path);
            }
        }
    }
    found
}

/// A message whose last field on the path has this many empty elements; the other fields have one.
fn with_elements(path: &[&FieldShape], elements: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    match path {
        [list] => {
            encode_key(list.number, WireType::LengthDelimited, &mut bytes);
            // A packed number takes a byte, an empty text or message none.
            let is_number = matches!(list.content, FieldContent::Number(_));
            encode_varint(u64::from(is_number), &mut bytes);
            bytes.extend(std::iter::repeat_n(0, usize::from(is_number)));
            bytes = bytes.repeat(elements);
        }
        [field, rest @ ..] => {
            let inner = with_elements(rest, elements);
            encode_key(field.number, WireType::LengthDelimited, &mut bytes);
            encode_varint(inner.len() as u64, &mut bytes);
            bytes.extend(inner);
        }
        [] => {}
    }
    bytes
}

#[test]
fn every_list_of_every_request_is_bounded_before_it_is_decoded() {
    let shapes = shapes();
    let mut checked = 0;
    for rpc in RPCS {
        let index = shapes.requests[rpc.path];
        for path in lists(&shapes, index, 0) {
            let name = &path.last().expect("not empty").name;
            let full = with_elements(&path, REQUEST_BYTES_MAX / 3 - 100);
            let refused = shapes.scan(rpc.path, &full).expect_err(name);
            let Error::InvalidRequest(violations) = refused else {
                panic!("{refused:?}");
            };
            let field = &violations.all()[0].field;
            assert!(field.ends_with(name.as_str()), "{}: {field}", rpc.path);
            let few = with_elements(&path, 10);
            assert!(shapes.scan(rpc.path, &few).is_ok(), "{}", rpc.path);
            checked += 1;
        }
    }
    // Filters of the lists, items, operations, criteria, references, translations.
    assert!(checked > 40, "{checked} lists");
}

#[test]
fn nested_lists_are_bounded_by_the_memory_that_they_take_together() {
    let shapes = shapes();
    let mut largest = 0;
    for rpc in RPCS {
        let index = shapes.requests[rpc.path];
        for path in lists(&shapes, index, 0) {
            let inner = with_elements(&path, REQUEST_LIST_MAX);
            // Where an outer field is a list too, it has as many elements, each with a full inner list.
            let copies = if path[..path.len() - 1]
                .iter()
                .any(|field| field.list.is_some())
            {
                REQUEST_LIST_MAX.min(REQUEST_BYTES_MAX / inner.len())
            } else {
                1
            };
            let message = inner.repeat(copies);
            if let Ok(scanned) = shapes.scan(rpc.path, &message) {
                let allowed = (message.len() * REQUEST_GROWTH_MAX).max(REQUEST_MEMORY_MIN);
                assert!(scanned.decoded_bytes <= allowed, "{}", rpc.path);
                largest = largest.max(scanned.decoded_bytes);
            }
        }
    }
    assert!(largest > 0, "some are accepted");
}

#[test]
fn the_memory_of_messages_is_not_estimated_too_low() {
    let shapes = shapes();
    let estimate = |path: &str| shapes.messages[shapes.requests[path]].bytes;
    for (path, bytes) in [
        (SUBMIT, size_of::<allocation::SubmitAllocationsRequest>()),
        (
            "/earmark.allocation.v1.AllocationService/CreateAllocation",
            size_of::<allocation::CreateAllocationRequest>(),
        ),
        (
            "/earmark.allocation.v1.AllocationService/ListClientAllocations",
            size_of::<allocation::ListClientAllocationsRequest>(),
        ),
        (
            "/earmark.bucket.v1.BucketService/CreateBucket",
            size_of::<bucket::CreateBucketRequest>(),
        ),
        (
            "/earmark.bucket.v1.BucketService/ListBuckets",
            size_of::<bucket::ListBucketsRequest>(),
        ),
        (
            "/earmark.cas.v1.CasAllocationService/CreateAllocation",
            size_of::<cas::CreateAllocationRequest>(),
        ),
        (
            "/earmark.cas.v1.CasAllocationService/SearchAllocations",
            size_of::<cas::SearchAllocationsRequest>(),
        ),
        (
            "/earmark.catalogue.v1.CatalogueService/PutAllocation",
            size_of::<catalogue::PutAllocationRequest>(),
        ),
    ] {
        let estimated = estimate(path);
        assert!(estimated >= bytes, "{path}: {estimated} of {bytes}");
        assert!(
            estimated <= 2 * bytes + 64,
            "{path}: {estimated} of {bytes}"
        );
    }
}

#[test]
fn the_largest_requests_that_the_services_accept_pass() {
    let shapes = shapes();
    let item = allocation::SubmitItem {
        client_external_id: "a".into(),
        ..Default::default()
    };
    let submit = allocation::SubmitAllocationsRequest {
        enterprise_id: "0190f5fe-7c00-7000-8000-000000000001".into(),
        items: vec![item; SUBMIT_ITEMS_MAX],
        ..Default::default()
    };
    let message = submit.encode_to_vec();
    let scanned = shapes.scan(SUBMIT, &message).expect("accepted");
    let id = "0190f5fe-7c00-7000-8000-000000000001"
        .parse()
        .expect("a UUID");
    assert_eq!(
        scanned.owner,
        Some(NamedOwner::Enterprise(EnterpriseId(id)))
    );
}

#[test]
fn the_owner_is_the_last_that_is_named() {
    let shapes = shapes();
    let path = "/earmark.catalogue.v1.CatalogueService/GetAllocation";
    let of = |company_id| {
        let request = catalogue::GetAllocationRequest {
            company_id,
            ..Default::default()
        };
        request.encode_to_vec()
    };
    let message = [of(7), of(-8)].concat();
    let scanned = shapes.scan(path, &message).expect("accepted");
    assert_eq!(scanned.owner, Some(NamedOwner::Company(CompanyId(-8))));
}

#[test]
fn what_cannot_be_decoded_is_left_to_the_decoder() {
    let shapes = shapes();
    for bytes in [&[0xff; 8][..], &[0x0f], &[0x0a, 9, 1], &[0x0a, 1, 0xff]] {
        assert!(shapes.scan(SUBMIT, bytes).is_ok(), "{bytes:?}");
    }
}
