//! The example of TMF654, created through the API and listed by its product.

use earmark::proto::bucket::v1::{Bucket, GetBucketRequest, ListBucketsRequest};
use serde_json::{Value, json};

use crate::support::bucket_fixture::{BucketFixture, creation};
use crate::support::json::{from_json, to_json};

/// The answer of the source's example request, to the letter.
const SOURCE: &str = include_str!("source_example.json");
const BUCKET: &str = "earmark.bucket.v1.Bucket";
const ID: &str = "0.0.0.1+-balance_group+106463";
const PRODUCT: &str = "0.0.0.1+-service-telco-gsm-sms+102975";

fn source() -> Value {
    let mut answer: Value = serde_json::from_str(SOURCE).expect("JSON");
    answer[0].take()
}

/// The same under proto JSON's own rules: a decimal is a string, and an enum value bears its prefix.
fn as_proto_json(mut bucket: Value) -> Value {
    for (quantity, amount) in [("remainingValue", "45"), ("reservedValue", "0")] {
        let given = &mut bucket[quantity]["amount"];
        assert_eq!(given.as_f64(), amount.parse().ok());
        *given = json!(amount);
    }
    let status = &mut bucket["status"];
    *status = json!(format!(
        "BUCKET_STATUS_{}",
        status.as_str().expect("a name")
    ));
    bucket
}

/// Without the members that are unset.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// Takes the start out: an instant that may be written in any zone.
fn take_start(bucket: &mut Value) -> chrono::DateTime<chrono::Utc> {
    let start = bucket["validFor"]["startDateTime"].take();
    let start = start.as_str().expect("a time");
    let start = chrono::DateTime::parse_from_rfc3339(start);
    start.expect("a time").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tmf_example_round_trips_under_its_own_member_names() {
    let fixture = BucketFixture::open().await;
    fixture
        .create(from_json(BUCKET, as_proto_json(source())))
        .await;
    fixture.bucket("another", "7").await;

    let listed = fixture
        .list(ListBucketsRequest {
            product_id: PRODUCT.into(),
            ..Default::default()
        })
        .await;
    assert_eq!((listed.result_count, listed.total_count), (1, 1));
    let mut shown = to_json(BUCKET, &listed.buckets[0]);
    let mut expected = as_proto_json(source());
    without_nulls(&mut expected);

    assert_eq!(take_start(&mut shown), take_start(&mut expected));
    // The one member that the source does not have: created, and value came in.
    let version = shown.as_object_mut().expect("an object").remove("version");
    assert_eq!(version, Some(json!("2")));
    assert_eq!(shown, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_extended_object_has_the_additional_members() {
    let fixture = BucketFixture::open().await;
    let mut given = as_proto_json(source());
    let extension = json!({
        "creditProfile": {"id": 7.25, "limits": [1.0, "two", null, true, {"deep": -0.1}]},
        "größe": "10 €", "tiny": 5e-324, "third": 0.333_333_333_333_333_3, "huge": 1.797e308,
    });
    given["extension"] = extension.clone();
    fixture.create(from_json(BUCKET, given)).await;

    let base = fixture.get(ID).await;
    assert_eq!(base.extension, None);
    let of_kind = async |kind: &str| {
        let request = ListBucketsRequest {
            r#type: kind.into(),
            ..Default::default()
        };
        fixture.list(request).await.buckets.remove(0)
    };
    assert_eq!(of_kind("Bucket").await, base);
    let extended = of_kind("BucketOracle").await;
    assert_eq!(to_json(BUCKET, &extended)["extension"], extension);
    let without = Bucket {
        extension: None,
        ..extended.clone()
    };
    assert_eq!(without, base);

    let get = GetBucketRequest {
        id: ID.into(),
        r#type: "BucketOracle".into(),
        fields: "extension.größe".into(),
    };
    let got = fixture.client.clone().get_bucket(get).await;
    let got = got.expect("there").into_inner().bucket.expect("set");
    let shown = to_json(BUCKET, &got);
    assert_eq!(shown["extension"], json!({"größe": "10 €"}));
    assert_eq!(shown.get("name"), None);
}

#[test]
fn list_requests_spell_type_without_an_at_sign() {
    let list: ListBucketsRequest = from_json(
        "earmark.bucket.v1.ListBucketsRequest",
        json!({"type": "BucketOracle"}),
    );
    assert_eq!(list.r#type, "BucketOracle");
    let create = creation(from_json(BUCKET, json!({"@type": "Bucket", "id": "x"})));
    let shown = to_json("earmark.bucket.v1.CreateBucketRequest", &create);
    assert_eq!(shown["bucket"], json!({"@type": "Bucket", "id": "x"}));
}
