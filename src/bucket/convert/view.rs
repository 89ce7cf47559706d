//! Buckets as answers show them.

use prost_types::{Struct, Value as Member, value::Kind};
use serde_json::{Map, Value};

use crate::bucket::convert::fields::Fields;
use crate::bucket::model::BucketRecord;
use crate::ledger::bucket::model::Validity;
use crate::limits::FIELDS_CHARS_MAX;
use crate::proto::bucket::v1 as pb;
use crate::rpc::read::{Reader, timestamp};
use crate::types::amount::Amount;

/// Which members of each bucket a read shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bucket) struct BucketView {
    /// Whether the members of `extension` are among them.
    is_extended: bool,
    /// The members that the caller chose.
    fields: Fields,
}

impl BucketView {
    /// Reads the two fields of a request that choose what is shown.
    pub(super) fn read(read: &mut Reader, kind: &str, fields: &str) -> Self {
        let is_extended = match kind {
            "" | "Bucket" => false,
            "BucketOracle" => true,
            _ => {
                read.violation_by("type", "must be Bucket or BucketOracle", kind);
                false
            }
        };
        let text = read.optional_text("fields", Some(fields), FIELDS_CHARS_MAX);
        let fields = match Fields::parse(&text.unwrap_or_default()) {
            Ok(fields) => fields,
            Err(unknown) => {
                read.violation("fields", Fields::rule_for(unknown));
                Fields::all()
            }
        };
        Self {
            is_extended,
            fields,
        }
    }

    /// A bucket as this read shows it.
    pub(in crate::bucket) fn show(&self, record: BucketRecord) -> pb::Bucket {
        let extension = record.details.extension.clone().map(members);
        let mut bucket = base(record);
        if self.is_extended {
            bucket.extension = extension;
        }
        self.fields.narrow(&mut bucket);
        bucket
    }
}

/// A bucket as the answers of writes have it: without `extension`.
pub(in crate::bucket) fn base(record: BucketRecord) -> pb::Bucket {
    let details = record.details;
    let class = details.quantity_class;
    let quantity = |amount: Amount| pb::Quantity {
        amount: amount.to_string(),
        units: record.unit.to_string(),
        r#type: class.name.clone(),
        base_type: class.base.clone(),
        schema_location: class.schema_location.clone(),
    };
    pb::Bucket {
        id: record.id,
        href: details.href,
        confirmation_date: details.confirmation_date.map(timestamp),
        description: record.description,
        is_shared: details.is_shared,
        name: record.name,
        remaining_value_name: details.remaining_value_name,
        requested_date: details.requested_date.map(timestamp),
        logical_resource: details
            .logical_resource
            .into_iter()
            .map(Into::into)
            .collect(),
        party_account: details.party_account.map(Into::into),
        product: details.product.into_iter().map(Into::into).collect(),
        related_party: details.related_party.into_iter().map(Into::into).collect(),
        remaining_value: Some(quantity(record.balance.available)),
        reserved_value: Some(quantity(record.balance.held)),
        status: pb::BucketStatus::from(record.status).into(),
        usage_type: record
            .usage_type
            .map_or(pb::UsageType::Unspecified, Into::into)
            .into(),
        valid_for: time_period(record.validity),
        version: record.version,
        r#type: details.class.name,
        base_type: details.class.base,
        schema_location: details.class.schema_location,
        extension: None,
    }
}

fn time_period(validity: Validity) -> Option<pb::TimePeriod> {
    let is_set = validity.from.is_some() || validity.to.is_some();
    is_set.then(|| pb::TimePeriod {
        start_date_time: validity.from.map(timestamp),
        end_date_time: validity.to.map(timestamp),
    })
}

fn members(map: Map<String, Value>) -> Struct {
    let fields = map.into_iter().map(|(name, value)| (name, member(value)));
    Struct {
        fields: fields.collect(),
    }
}

fn member(value: Value) -> Member {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(values) => Kind::ListValue(prost_types::ListValue {
            values: values.into_iter().map(member).collect(),
        }),
        Value::Object(map) => Kind::StructValue(members(map)),
    };
    Member { kind: Some(kind) }
}
