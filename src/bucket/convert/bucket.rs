//! The requests that create and update buckets.

use std::collections::HashSet;

use prost_types::{Struct, Value as Member, value::Kind};
use serde_json::{Map, Number, Value};

use crate::auth::caller::Caller;
use crate::bucket::convert::values::{period, quantity, status_of, time_bytes, usage_of};
use crate::bucket::model::{BucketDetails, ObjectClass, Reference, made_id};
use crate::error::Result;
use crate::ledger::bucket::model::{BucketStatus, UsageType};
use crate::ledger::bucket::request::{BucketOperation, BucketRequest, CreateBucket, UpdateBucket};
use crate::ledger::kind::Command;
use crate::limits::{
    BUCKET_BYTES_MAX, BUCKET_EXTENSION_BYTES_MAX, BUCKET_REFERENCES_MAX, LINK_CHARS_MAX,
    NAME_CHARS_MAX, NOTE_CHARS_MAX,
};
use crate::proto::bucket::v1 as pb;
use crate::rpc::read::{Reader, Rounding};
use crate::types::content::{Content, ContentHash};
use crate::types::ids::TenantId;

/// Reads a new bucket; returns what makes the command, given the tenant.
pub(in crate::bucket) fn create(
    request: pb::CreateBucketRequest,
    caller: &Caller,
) -> Result<impl FnOnce(TenantId) -> Command<BucketRequest> + use<>> {
    let mut read = Reader::new();
    let given = request.bucket.unwrap_or_else(|| {
        read.violation("bucket", "is required");
        pb::Bucket::default()
    });
    let request_id = read.optional_external_id("request_id", &request.request_id);
    let id = (!given.id.is_empty()).then(|| read.new_id("bucket.id", &given.id));
    if id.is_none() && request_id.is_none() {
        read.violation("bucket.id", "is required unless request_id is given");
    }
    let value = quantity(
        &mut read,
        "bucket.remaining_value",
        given.remaining_value.as_ref(),
    );
    if value.amount.is_negative() {
        let given = value.amount.to_string();
        read.violation_by(
            "bucket.remaining_value.amount",
            "must not be negative",
            &given,
        );
    }
    let status = read.optional_enum("bucket.status", given.status);
    let status = status.and_then(status_of).unwrap_or(BucketStatus::Active);
    if status == BucketStatus::Closed && !value.amount.is_zero() {
        let rule = "must not be CLOSED with a remaining value: create it with another status";
        read.violation("bucket.status", rule);
    }
    let usage_type = read.optional_enum("bucket.usage_type", given.usage_type);
    let name = read.optional_text("bucket.name", given.name.as_deref(), NAME_CHARS_MAX);
    let description = read.optional_note("bucket.description", given.description.as_deref());
    let validity = period(&mut read, "bucket.valid_for", given.valid_for.as_ref());
    let details = details(&mut read, &given);
    let json = details.json();
    if json.len() > BUCKET_BYTES_MAX {
        let kib = BUCKET_BYTES_MAX >> 10;
        let rule = format!(
            "must have at most {kib} KiB as JSON, got {} bytes",
            json.len()
        );
        read.violation("bucket", rule);
    }
    read.finish()?;

    let mut create = CreateBucket {
        id_given: id.is_some(),
        name,
        description,
        status,
        usage_type: usage_type.and_then(usage_of),
        party_account: details.party_account.as_ref().map(|party| party.id.clone()),
        value,
        validity,
        products: details
            .product
            .iter()
            .map(|product| product.id.clone())
            .collect(),
        details: json,
        initiated_by: caller.subject.clone(),
        content: ContentHash([0; 32]),
    };
    create.content = create_content(&create);
    let validate_only = request.validate_only;
    Ok(move |tenant| {
        // One of the two is given.
        let id = id.unwrap_or_else(|| made_id(tenant, &request_id.unwrap_or_default()));
        BucketRequest::command(tenant, id, validate_only, BucketOperation::Create(create))
    })
}

/// The hash by which a repeat of an id is compared: two requests with one id must agree in it. Hashes are stored, so
/// the tags never change.
fn create_content(create: &CreateBucket) -> ContentHash {
    Content::new()
        .optional(1, create.name.as_ref())
        .optional(2, create.description.as_ref())
        .field(3, create.status.as_str())
        .optional(4, create.usage_type.map(UsageType::as_str))
        .field(5, create.value.amount.to_string())
        .field(6, create.value.unit.as_str())
        .optional(7, create.validity.from.map(time_bytes))
        .optional(8, create.validity.to.map(time_bytes))
        // Party account and products are in here too.
        .field(9, &create.details)
        .hash()
}

/// Reads a change of a bucket; returns what makes the command, given the tenant.
pub(in crate::bucket) fn update(
    request: pb::UpdateBucketRequest,
    caller: &Caller,
) -> Result<impl FnOnce(TenantId) -> Command<BucketRequest> + use<>> {
    let mut read = Reader::new();
    let id = read.external_id("bucket_id", &request.bucket_id);
    let name = read.optional_text("name", request.name.as_deref(), NAME_CHARS_MAX);
    let description = read.optional_note("description", request.description.as_deref());
    let status = read.optional_enum("status", request.status);
    let validity = request.valid_for.as_ref();
    let validity = validity.map(|given| period(&mut read, "valid_for", Some(given)));
    let request_id = read.optional_external_id("request_id", &request.request_id);
    read.finish()?;

    let not_empty = |text: String| Some(text).filter(|text| !text.is_empty());
    let mut update = UpdateBucket {
        request_id,
        name: name.map(not_empty),
        description: description.map(not_empty),
        status: status.and_then(status_of),
        validity,
        expected_version: request.expected_version,
        initiated_by: caller.subject.clone(),
        content: ContentHash([0; 32]),
    };
    update.content = update_content(&update);
    let validate_only = request.validate_only;
    Ok(move |tenant| {
        BucketRequest::command(tenant, id, validate_only, BucketOperation::Update(update))
    })
}

/// The hash by which a repeat of a key is compared: two requests with one key must agree in it. Hashes are stored, so
/// the tags never change.
fn update_content(update: &UpdateBucket) -> ContentHash {
    let text = |given: &Option<Option<String>>| given.clone().map(Option::unwrap_or_default);
    let validity = update.validity;
    Content::new()
        .optional(1, text(&update.name))
        .optional(2, text(&update.description))
        .optional(3, update.status.map(BucketStatus::as_str))
        .optional(4, validity.map(|_| []))
        .optional(
            5,
            validity.and_then(|validity| validity.from).map(time_bytes),
        )
        .optional(6, validity.and_then(|validity| validity.to).map(time_bytes))
        .hash()
}

fn details(read: &mut Reader, given: &pb::Bucket) -> BucketDetails {
    let quantity = given.remaining_value.clone().unwrap_or_default();
    BucketDetails {
        href: read.optional_text("bucket.href", given.href.as_deref(), LINK_CHARS_MAX),
        confirmation_date: read.optional_time(
            "bucket.confirmation_date",
            given.confirmation_date.as_ref(),
            Rounding::Down,
        ),
        requested_date: read.optional_time(
            "bucket.requested_date",
            given.requested_date.as_ref(),
            Rounding::Down,
        ),
        is_shared: given.is_shared,
        remaining_value_name: read.optional_text(
            "bucket.remaining_value_name",
            given.remaining_value_name.as_deref(),
            NAME_CHARS_MAX,
        ),
        logical_resource: references(read, "bucket.logical_resource", &given.logical_resource),
        party_account: given
            .party_account
            .as_ref()
            .map(|party| reference(read, "bucket.party_account", party.clone().into())),
        product: products(read, &given.product),
        related_party: references(read, "bucket.related_party", &given.related_party),
        class: class(
            read,
            "bucket",
            ObjectClass {
                name: given.r#type.clone(),
                base: given.base_type.clone(),
                schema_location: given.schema_location.clone(),
            },
        ),
        quantity_class: class(
            read,
            "bucket.remaining_value",
            ObjectClass {
                name: quantity.r#type,
                base: quantity.base_type,
                schema_location: quantity.schema_location,
            },
        ),
        extension: given
            .extension
            .as_ref()
            .map(|extension| self::extension(read, extension)),
    }
}

fn class(read: &mut Reader, field: &str, class: ObjectClass) -> ObjectClass {
    for (member, text, chars_max) in [
        ("type", &class.name, NAME_CHARS_MAX),
        ("base_type", &class.base, NAME_CHARS_MAX),
        ("schema_location", &class.schema_location, LINK_CHARS_MAX),
    ] {
        read.optional_text(&format!("{field}.{member}"), text.as_deref(), chars_max);
    }
    class
}

fn products(read: &mut Reader, given: &[pb::ProductRef]) -> Vec<Reference> {
    let products = references(read, "bucket.product", given);
    let mut seen = HashSet::new();
    for (index, product) in products.iter().enumerate() {
        if !seen.insert(&product.id) {
            read.violation_by(
                format!("bucket.product[{index}].id"),
                "must be there once only",
                &product.id,
            );
        }
    }
    products
}

fn references<R: Clone + Into<Reference>>(
    read: &mut Reader,
    field: &str,
    given: &[R],
) -> Vec<Reference> {
    if given.len() > BUCKET_REFERENCES_MAX {
        let count = given.len();
        let rule = format!("takes at most {BUCKET_REFERENCES_MAX}, got {count}");
        read.violation(field, rule);
        return Vec::new();
    }
    let numbered = given.iter().enumerate();
    let references = numbered
        .map(|(index, given)| reference(read, &format!("{field}[{index}]"), given.clone().into()));
    references.collect()
}

/// Reads a reference: each of its texts has a length at most.
fn reference(read: &mut Reader, field: &str, given: Reference) -> Reference {
    read.external_id(&format!("{field}.id"), &given.id);
    for (member, text, chars_max) in [
        ("href", &given.href, LINK_CHARS_MAX),
        ("name", &given.name, NAME_CHARS_MAX),
        ("description", &given.description, NOTE_CHARS_MAX),
        ("status", &given.status, NAME_CHARS_MAX),
        ("role", &given.role, NAME_CHARS_MAX),
        ("referred_type", &given.referred_type, NAME_CHARS_MAX),
    ] {
        read.optional_text(&format!("{field}.{member}"), text.as_deref(), chars_max);
    }
    let class = class(read, field, given.class);
    Reference { class, ..given }
}

fn extension(read: &mut Reader, given: &Struct) -> Map<String, Value> {
    const FIELD: &str = "bucket.extension";
    let Some(extension) = map(given) else {
        read.violation(
            FIELD,
            "must not contain NUL, nor a number that JSON does not have",
        );
        return Map::new();
    };
    let bytes = Value::Object(extension.clone()).to_string().len();
    if bytes > BUCKET_EXTENSION_BYTES_MAX {
        let kib = BUCKET_EXTENSION_BYTES_MAX >> 10;
        let rule = format!("must have at most {kib} KiB as JSON, got {bytes} bytes");
        read.violation(FIELD, rule);
    }
    extension
}

/// Converts an object to JSON; `None` if Postgres could not store it.
fn map(members: &Struct) -> Option<Map<String, Value>> {
    let members = members.fields.iter().map(|(name, member)| {
        let name = Some(name).filter(|name| !name.contains('\0'))?;
        Some((name.clone(), value(member)?))
    });
    members.collect()
}

fn value(member: &Member) -> Option<Value> {
    Some(match &member.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::NumberValue(value)) => Value::Number(Number::from_f64(*value)?),
        Some(Kind::StringValue(text)) => {
            Value::String(Some(text).filter(|text| !text.contains('\0'))?.clone())
        }
        Some(Kind::ListValue(list)) => {
            let values: Option<_> = list.values.iter().map(value).collect();
            Value::Array(values?)
        }
        Some(Kind::StructValue(members)) => Value::Object(map(members)?),
    })
}
