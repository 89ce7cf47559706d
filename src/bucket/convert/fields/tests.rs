use proptest::prelude::*;
use proptest::sample::subsequence;
use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use super::*;
use crate::proto::DESCRIPTORS;

static BUCKET: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("descriptors");
    pool.get_message_by_name("earmark.bucket.v1.Bucket")
        .expect("a bucket")
});

fn descriptor() -> MessageDescriptor {
    BUCKET.clone()
}

/// A bucket with every member set, as proto JSON.
fn full() -> Map<String, Value> {
    let text = r#"{
        "id": "b", "href": "h", "confirmationDate": "2020-05-02T07:00:00Z", "description": "d", "isShared": true,
        "name": "n", "remainingValueName": "r", "requestedDate": "2020-05-02T07:00:00Z",
        "logicalResource": [{"id": "1", "href": "h", "name": "n", "@type": "t", "@baseType": "b",
            "@schemaLocation": "s", "@referredType": "r"}],
        "partyAccount": {"id": "1", "href": "h", "name": "n", "description": "d", "status": "s", "@type": "t",
            "@baseType": "b", "@schemaLocation": "s", "@referredType": "r"},
        "product": [{"id": "1", "href": "h", "name": "n", "@type": "t", "@baseType": "b", "@schemaLocation": "s",
            "@referredType": "r"}, {"id": "2", "name": "other"}],
        "relatedParty": [{"id": "1", "href": "h", "name": "n", "role": "r", "@type": "t", "@baseType": "b",
            "@schemaLocation": "s", "@referredType": "r"}],
        "remainingValue": {"amount": "1", "units": "EUR", "@type": "t", "@baseType": "b", "@schemaLocation": "s"},
        "reservedValue": {"amount": "2", "units": "EUR", "@type": "t", "@baseType": "b", "@schemaLocation": "s"},
        "status": "BUCKET_STATUS_ACTIVE", "usageType": "USAGE_TYPE_SMS",
        "validFor": {"startDateTime": "2020-05-02T07:00:00Z", "endDateTime": "2020-05-02T07:00:00Z"},
        "version": "7", "@type": "t", "@baseType": "b", "@schemaLocation": "s",
        "extension": {"x": 1.5, "y.z": "w"}
    }"#;
    serde_json::from_str(text).expect("JSON")
}

fn from_json(json: Map<String, Value>) -> pb::Bucket {
    let bucket = DynamicMessage::deserialize(descriptor(), Value::Object(json)).expect("a bucket");
    bucket.transcode_to().expect("a bucket")
}

fn to_json(bucket: &pb::Bucket) -> Map<String, Value> {
    let bucket = DynamicMessage::decode(descriptor(), &*bucket.encode_to_vec()).expect("a bucket");
    match serde_json::to_value(bucket) {
        Ok(Value::Object(members)) => members,
        other => panic!("{other:?}"),
    }
}

/// Every name that can be asked for: top level and dotted, each in the source's spelling and the proto's.
fn names() -> Vec<(String, String)> {
    let mut names = Vec::new();
    for field in descriptor().fields() {
        names.push((field.json_name().to_owned(), field.name().to_owned()));
        let Kind::Message(message) = field.kind() else {
            continue;
        };
        if message.package_name() != "earmark.bucket.v1" {
            continue;
        }
        for inner in message.fields() {
            names.push((
                format!("{}.{}", field.json_name(), inner.json_name()),
                format!("{}.{}", field.name(), inner.name()),
            ));
        }
    }
    names.push(("extension.x".into(), "extension.x".into()));
    names.push(("extension.y.z".into(), "extension.y.z".into()));
    names
}

/// What a bucket's JSON is when it is narrowed by hand.
fn narrowed(names: &[&str]) -> Map<String, Value> {
    let keep = |name: &str| names.contains(&name);
    let narrow = |outer: &str, object: &mut Value| {
        if let Value::Object(object) = object {
            object.retain(|inner, _| keep(&format!("{outer}.{inner}")));
        }
    };
    let always = ["id", "href", "@type"];
    let mut bucket = full();
    bucket.retain(|name, value| {
        if always.contains(&name.as_str()) || keep(name) {
            return true;
        }
        match value {
            Value::Array(objects) => {
                objects.iter_mut().for_each(|object| narrow(name, object));
            }
            object => narrow(name, object),
        }
        names
            .iter()
            .any(|kept| kept.starts_with(&format!("{name}.")))
    });
    bucket
}

#[test]
fn every_member_has_both_its_names() {
    assert_eq!(to_json(&from_json(full())).len(), full().len());
    assert_eq!(full().len(), descriptor().fields().count());
    for (in_json, in_proto) in names() {
        let parsed = Fields::parse(&in_json);
        assert!(parsed.is_ok(), "{in_json}");
        assert_eq!(parsed, Fields::parse(&in_proto), "{in_proto}");
    }
}

#[test]
fn what_is_no_member_is_named() {
    for (text, unknown) in [
        ("nome", "nome"),
        ("name,nome", "nome"),
        ("name,,id", ""),
        ("Name", "Name"),
        ("@Type", "@Type"),
        ("partyAccount.nome", "partyAccount.nome"),
        ("partyAccount.", "partyAccount."),
        ("partyAccount.name.x", "partyAccount.name.x"),
        ("name.x", "name.x"),
        (".name", ".name"),
        ("extension.", "extension."),
        ("product[0]", "product[0]"),
    ] {
        assert_eq!(Fields::parse(text), Err(unknown), "{text}");
    }
}

#[test]
fn nothing_asked_for_is_everything() {
    for text in ["", "  "] {
        let mut bucket = from_json(full());
        Fields::parse(text).expect("read").narrow(&mut bucket);
        assert_eq!(bucket, from_json(full()));
    }
}

proptest! {
    #[test]
    fn what_is_asked_for_stays_and_nothing_else(
        picked in subsequence(names(), 1..6).prop_shuffle(),
        in_proto in any::<[bool; 6]>(),
    ) {
        let pairs = picked.iter().zip(in_proto);
        let asked: Vec<&str> = pairs
            .map(|((json, proto), in_proto)| if in_proto { proto } else { json }.as_str())
            .collect();
        let fields = asked.join(", ");
        let fields = Fields::parse(&fields).expect("members");
        let mut bucket = from_json(full());
        fields.narrow(&mut bucket);
        let names: Vec<&str> = picked.iter().map(|(json, _)| json.as_str()).collect();
        let expected = from_json(narrowed(&names));
        prop_assert_eq!(to_json(&bucket), to_json(&expected), "{:?}", asked);
    }
}
