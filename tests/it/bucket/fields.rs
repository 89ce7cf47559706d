use earmark::proto::bucket::v1::{BucketStatus, GetBucketRequest, ListBucketsRequest};
use serde_json::json;

use crate::support::bucket_fixture::{BucketFixture, left, values};
use crate::support::earmark::refusal;
use crate::support::json::{from_json, to_json};

const BUCKET: &str = "earmark.bucket.v1.Bucket";

async fn fixture() -> BucketFixture {
    let fixture = BucketFixture::open().await;
    let bucket = json!({
        "id": "b", "href": "h", "@type": "Bucket", "@baseType": "Base", "name": "n", "description": "d",
        "partyAccount": {"id": "p", "name": "James", "@type": "PartyAccountRef"},
        "product": [{"id": "1", "name": "one"}, {"id": "2"}],
        "remainingValue": {"amount": "45.0", "units": "EUR", "@type": "Quantity"},
        "extension": {"x": 1.0, "y": 2.0},
    });
    fixture.create(from_json(BUCKET, bucket)).await;
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_requested_members_are_returned() {
    let fixture = fixture().await;
    for (fields, shown) in [
        // The source's own example.
        (
            "name,partyAccount,product",
            json!({
                "name": "n", "partyAccount": {"id": "p", "name": "James", "@type": "PartyAccountRef"},
                "product": [{"id": "1", "name": "one"}, {"id": "2"}],
            }),
        ),
        (
            "name, party_account.name",
            json!({"name": "n", "partyAccount": {"name": "James"}}),
        ),
        ("product.name", json!({"product": [{"name": "one"}, {}]})),
        (
            "remainingValue.amount",
            json!({"remainingValue": {"amount": "45"}}),
        ),
        (
            "reserved_value.@type",
            json!({"reservedValue": {"@type": "Quantity"}}),
        ),
        ("id", json!({})),
        ("@baseType", json!({"@baseType": "Base"})),
        // Not of this type.
        ("extension", json!({})),
    ] {
        let mut expected = json!({"id": "b", "href": "h", "@type": "Bucket"});
        let members = shown.as_object().expect("an object").clone();
        expected.as_object_mut().expect("an object").extend(members);
        let list = ListBucketsRequest {
            fields: fields.into(),
            ..Default::default()
        };
        let listed = fixture.list(list).await;
        assert_eq!(to_json(BUCKET, &listed.buckets[0]), expected, "{fields}");
        let get = GetBucketRequest {
            id: "b".into(),
            fields: fields.into(),
            ..Default::default()
        };
        let got = fixture.client.clone().get_bucket(get).await.expect("there");
        assert_eq!(got.into_inner().bucket, listed.buckets.into_iter().next());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_members_are_returned_without_a_fields_argument() {
    let fixture = fixture().await;
    let got = fixture.get("b").await;
    assert_eq!((got.version, got.product.len()), (2, 2));
    assert_eq!(got.name.as_deref(), Some("n"));
    assert_eq!(got.status(), BucketStatus::Active);
    assert_eq!(values(&got), left("45", "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_members_and_types_are_refused() {
    let fixture = fixture().await;
    for (kind, fields, wrong) in [
        ("", "name,nome", &["fields"][..]),
        ("", "partyAccount.nome", &["fields"]),
        ("", "name,", &["fields"]),
        ("", "name.x", &["fields"]),
        ("bucket", "", &["type"]),
        ("BucketOracle ", "nome", &["type", "fields"]),
    ] {
        let mut client = fixture.client.clone();
        let list = ListBucketsRequest {
            r#type: kind.into(),
            fields: fields.into(),
            ..Default::default()
        };
        let refused = refusal(client.list_buckets(list).await);
        let refused = refused.expect_invalid(wrong);
        if kind.is_empty() {
            let (_, rule) = &refused.violations[0];
            assert!(rule.contains('`') || rule.contains("comma"), "{rule}");
        }
        let get = GetBucketRequest {
            id: "b".into(),
            r#type: kind.into(),
            fields: fields.into(),
        };
        refusal(client.get_bucket(get).await).expect_invalid(wrong);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_name_is_listed_beside_an_unknown_one() {
    let fixture = fixture().await;
    for (fields, begins, ends) in [
        (
            "nmae",
            "no member `nmae`: did you mean `name`? Every member: id, href,",
            "@schemaLocation, extension.",
        ),
        (
            "zzzzzz",
            "no member `zzzzzz`: `BadRequest` lists those that there are. Every member: id, href,",
            "@schemaLocation, extension.",
        ),
        (
            "product.nmae",
            "no member of `product` `product.nmae`: did you mean `name`? Every member of `product`: id,",
            "@referredType.",
        ),
        ("name.x", "must not go inside of `name`,", "no members"),
        ("name,", "must not have an empty name", "the comma"),
    ] {
        let list = ListBucketsRequest {
            fields: fields.into(),
            ..Default::default()
        };
        let refused = refusal(fixture.client.clone().list_buckets(list).await);
        let (_, rule) = &refused.violations[0];
        assert!(rule.starts_with(begins) && rule.ends_with(ends), "{rule}");
    }
}
