use earmark::proto::bucket::v1::{
    Bucket, BucketStatus, CreateBucketRequest, LogicalResourceRef, PartyAccountRef, ProductRef,
    Quantity, RelatedParty, TimePeriod, UsageType,
};
use prost_types::Timestamp;
use tonic::Code;

use crate::support::bucket_fixture::{BucketFixture, creation, deduct, eur, left, topup, values};
use crate::support::earmark::refusal;
use crate::support::service::is_replayed;

/// A bucket with every member that a caller gives.
fn full() -> Bucket {
    let class = |name: &str| (Some(name.to_owned()), Some(format!("base of {name}")));
    let (r#type, base_type) = class("t");
    let schema_location = Some("https://schemas.example/t".to_owned());
    let referred_type = Some("r".to_owned());
    Bucket {
        href: Some("https://example/bucket".into()),
        confirmation_date: Some(time(1_600_000_000, 123_456_000)),
        description: Some("for tests".into()),
        is_shared: Some(false),
        name: Some("Bucket".into()),
        remaining_value_name: Some("4.5 hours".into()),
        requested_date: Some(time(-62_135_596_800, 0)),
        logical_resource: vec![LogicalResourceRef {
            id: "+49 30 1234".into(),
            href: Some("h".into()),
            name: Some("n".into()),
            r#type: r#type.clone(),
            base_type: base_type.clone(),
            schema_location: schema_location.clone(),
            referred_type: referred_type.clone(),
        }],
        party_account: Some(PartyAccountRef {
            id: "0.0.0.1+-account+1".into(),
            href: Some("h".into()),
            name: Some("n".into()),
            description: Some("d".into()),
            status: Some("active".into()),
            r#type: r#type.clone(),
            base_type: base_type.clone(),
            schema_location: schema_location.clone(),
            referred_type: referred_type.clone(),
        }),
        product: ["1", "2"]
            .map(|id| ProductRef {
                id: id.into(),
                name: Some(format!("product {id}")),
                ..Default::default()
            })
            .into(),
        related_party: vec![RelatedParty {
            id: "p".into(),
            role: Some("owner".into()),
            referred_type,
            ..Default::default()
        }],
        remaining_value: Some(Quantity {
            amount: "9999999999999999.999999999999".into(),
            units: "kB".into(),
            r#type: Some("Quantity".into()),
            base_type: None,
            schema_location: schema_location.clone(),
        }),
        status: BucketStatus::Suspended.into(),
        usage_type: UsageType::Data.into(),
        valid_for: Some(TimePeriod {
            start_date_time: Some(time(1_500_000_000, 0)),
            end_date_time: Some(time(253_402_300_799, 999_999_000)),
        }),
        r#type,
        base_type,
        schema_location,
        ..eur("full+%2B/100%", "0")
    }
}

fn time(seconds: i64, nanos: i32) -> Timestamp {
    Timestamp { seconds, nanos }
}

#[tokio::test(flavor = "multi_thread")]
async fn create_returns_every_member_as_given() {
    let fixture = BucketFixture::open().await;
    let created = fixture.create(full()).await;
    let quantity = full().remaining_value.expect("set");
    let expected = Bucket {
        reserved_value: Some(Quantity {
            amount: "0".into(),
            ..quantity
        }),
        version: 2,
        ..full()
    };
    assert_eq!(created, expected);
    assert_eq!(fixture.get("full+%2B/100%").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn unset_members_stay_unset() {
    let fixture = BucketFixture::open().await;
    // An empty bucket has no movement.
    let created = fixture.bucket("b", "-0.00").await;
    let expected = Bucket {
        reserved_value: eur("b", "0").remaining_value,
        status: BucketStatus::Active.into(),
        version: 1,
        ..eur("b", "0")
    };
    assert_eq!(created, expected);
    assert_eq!(fixture.get("b").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn output_only_members_are_ignored() {
    let fixture = BucketFixture::open().await;
    let given = Bucket {
        reserved_value: eur("b", "7").remaining_value,
        version: 99,
        ..eur("b", "10")
    };
    let created = fixture.create(given).await;
    assert_eq!(values(&created), left("10", "0"));
    assert_eq!(created.version, 2);
    // It is not part of the key's content either.
    let again = fixture
        .client
        .clone()
        .create_bucket(creation(eur("b", "10")))
        .await;
    assert!(is_replayed(&again.expect("replayed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_returns_the_current_bucket_with_the_first_answers_values() {
    let fixture = BucketFixture::open().await;
    fixture.create(full()).await;
    let first = fixture.bucket("b", "10.50").await;
    fixture.topup(topup("b", "5", "t")).await;
    let again = fixture
        .client
        .clone()
        .create_bucket(creation(eur("b", "10.5")))
        .await;
    let again = again.expect("replayed");
    assert!(is_replayed(&again));
    assert_eq!(again.into_inner().bucket, Some(first));
    assert_eq!(fixture.values("b").await, left("15.5", "0"));

    let again = fixture.client.clone().create_bucket(creation(full())).await;
    assert!(is_replayed(&again.expect("replayed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_in_use_is_refused() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    for other in [
        eur("b", "11"),
        Bucket {
            name: Some(String::new()),
            ..eur("b", "10")
        },
        Bucket {
            product: vec![ProductRef {
                id: "p".into(),
                ..Default::default()
            }],
            ..eur("b", "10")
        },
        Bucket {
            r#type: Some("Bucket".into()),
            ..eur("b", "10")
        },
    ] {
        let refused = fixture.client.clone().create_bucket(creation(other)).await;
        let refused = refusal(refused).expect(Code::AlreadyExists, "BUCKET_EXISTS");
        assert_eq!(refused.metadata["field"], "bucket.id");
        assert!(refused.message.contains("TopupBalance"), "{refused:?}");
        assert_eq!(refused.metadata["outcome"], "not_applied");
    }
    // Another tenant may use the same id.
    let other = BucketFixture::on(fixture.earmark);
    assert_eq!(values(&other.bucket("b", "11").await), left("11", "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_id_one_is_derived_from_the_request_id() {
    let fixture = BucketFixture::open().await;
    let mut client = fixture.client.clone();
    let mut create = async |key: &str, amount: &str| {
        let request = CreateBucketRequest {
            bucket: Some(eur("", amount)),
            request_id: key.into(),
            validate_only: false,
        };
        client.create_bucket(request).await
    };
    let id = |bucket: Option<Bucket>| bucket.expect("set").id;
    let first = create("k", "1").await.expect("created");
    let again = create("k", "1").await.expect("replayed");
    assert!(!is_replayed(&first) && is_replayed(&again));
    let first = id(first.into_inner().bucket);
    assert_eq!(id(again.into_inner().bucket), first);
    let other = create("l", "1").await.expect("created");
    assert_ne!(id(other.into_inner().bucket), first);
    let refused = refusal(create("k", "2").await);
    let refused = refused.expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(refused.metadata["field"], "request_id");
    assert_eq!(fixture.values(&first).await, left("1", "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_only_creates_no_bucket() {
    let fixture = BucketFixture::open().await;
    let request = CreateBucketRequest {
        validate_only: true,
        ..creation(eur("b", "10"))
    };
    let mut client = fixture.client.clone();
    let validated = client.create_bucket(request.clone()).await;
    let validated = validated.expect("validated").into_inner().bucket;
    let refused = client.deduct_balance(deduct("b", "1", "d")).await;
    refusal(refused).expect(Code::NotFound, "BUCKET_NOT_FOUND");
    assert_eq!(fixture.earmark.count("SELECT count(*) FROM owner").await, 0);
    // The real call answers what the validation answered.
    assert_eq!(validated, Some(fixture.bucket("b", "10").await));
    let again = client.create_bucket(request).await.expect("replayed");
    assert!(is_replayed(&again));
}

/// A bucket with as many wrong members as one can have.
fn wrong_bucket() -> Bucket {
    let long = |chars: usize| Some("x".repeat(chars));
    let product = |id: &str| ProductRef {
        id: id.into(),
        ..Default::default()
    };
    Bucket {
        id: "x".repeat(129),
        href: long(1_001),
        confirmation_date: Some(time(0, -1)),
        description: long(1_001),
        name: Some("a\0b".into()),
        remaining_value_name: long(201),
        party_account: Some(PartyAccountRef {
            status: long(201),
            ..Default::default()
        }),
        product: vec![product("p"), product("q"), product("p"), product("")],
        remaining_value: Some(Quantity {
            amount: "-0.000000000001".into(),
            units: "a b".into(),
            r#type: long(201),
            ..Default::default()
        }),
        status: 6,
        usage_type: -1,
        valid_for: Some(TimePeriod {
            start_date_time: Some(time(1, 1_000)),
            end_date_time: Some(time(1, 0)),
        }),
        r#type: long(201),
        schema_location: long(1_001),
        ..Default::default()
    }
}

/// Gives a bucket 70 products, each of the greatest length: together they are too large.
fn add_large_products(bucket: &mut Bucket) {
    let product = |id: i32| ProductRef {
        id: id.to_string(),
        href: Some("x".repeat(1_000)),
        schema_location: Some("x".repeat(1_000)),
        ..Default::default()
    };
    bucket.product = (0..70).map(product).collect();
}

/// Gives a bucket one product more than it may have.
fn add_101_products(bucket: &mut Bucket) {
    let product = |id: i32| ProductRef {
        id: id.to_string(),
        ..Default::default()
    };
    bucket.product = (0..101).map(product).collect();
}

#[tokio::test(flavor = "multi_thread")]
async fn create_reports_every_invalid_field() {
    let fixture = BucketFixture::open().await;
    let mut client = fixture.client.clone();
    refusal(client.create_bucket(creation(wrong_bucket())).await).expect_invalid(&[
        "bucket.id",
        "bucket.remaining_value.units",
        "bucket.remaining_value.amount",
        "bucket.status",
        "bucket.usage_type",
        "bucket.name",
        "bucket.description",
        "bucket.valid_for.end_date_time",
        "bucket.href",
        "bucket.confirmation_date",
        "bucket.remaining_value_name",
        "bucket.party_account.id",
        "bucket.party_account.status",
        "bucket.product[3].id",
        "bucket.product[2].id",
        "bucket.type",
        "bucket.schema_location",
        "bucket.remaining_value.type",
    ]);

    let of = |change: fn(&mut Bucket)| {
        let mut bucket = eur("b", "1");
        change(&mut bucket);
        creation(bucket)
    };
    for (request, fields) in [
        (
            CreateBucketRequest::default(),
            &["bucket", "bucket.id", "bucket.remaining_value"][..],
        ),
        (of(|bucket| bucket.id.clear()), &["bucket.id"]),
        (
            of(|bucket| bucket.remaining_value = None),
            &["bucket.remaining_value"],
        ),
        (
            of(|bucket| bucket.status = BucketStatus::Closed.into()),
            &["bucket.status"],
        ),
        (of(add_101_products), &["bucket.product"]),
        (of(add_large_products), &["bucket"]),
    ] {
        let refused = refusal(client.create_bucket(request).await);
        refused.expect_invalid(fields);
    }
    for amount in [
        "",
        "1e3",
        "+1",
        "NaN",
        " 1",
        "1.",
        ".1",
        "10000000000000000",
        "0.0000000000001",
    ] {
        let refused = refusal(client.create_bucket(creation(eur("b", amount))).await);
        refused.expect_invalid(&["bucket.remaining_value.amount"]);
    }
    assert_eq!(
        fixture.earmark.count("SELECT count(*) FROM bucket").await,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_that_jsonb_cannot_store_is_refused() {
    use prost_types::{Struct, Value, value::Kind};

    let fixture = BucketFixture::open().await;
    let with = |name: &str, kind: Kind| {
        let value = Value { kind: Some(kind) };
        creation(Bucket {
            extension: Some(Struct {
                fields: [(name.to_owned(), value)].into(),
            }),
            ..eur("b", "1")
        })
    };
    let long = Kind::StringValue("x".repeat(64 * 1024));
    for request in [
        with("x", Kind::NumberValue(f64::NAN)),
        with("x", Kind::NumberValue(f64::INFINITY)),
        with("x", Kind::StringValue("a\0".into())),
        with("a\0", Kind::BoolValue(true)),
        with("x", long),
    ] {
        let refused = fixture.client.clone().create_bucket(request).await;
        refusal(refused).expect_invalid(&["bucket.extension"]);
    }
    let most = Kind::StringValue("x".repeat(64 * 1024 - 8));
    let created = fixture.client.clone().create_bucket(with("x", most)).await;
    created.expect("created");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_whose_validity_has_ended_reads_as_expired() {
    let fixture = BucketFixture::open().await;
    let past = TimePeriod {
        start_date_time: None,
        end_date_time: Some(time(1_600_000_000, 0)),
    };
    for (id, status, shown) in [
        ("a", BucketStatus::Unspecified, BucketStatus::Expired),
        ("s", BucketStatus::Suspended, BucketStatus::Suspended),
    ] {
        let bucket = Bucket {
            valid_for: Some(past),
            status: status.into(),
            ..eur(id, "1")
        };
        assert_eq!(fixture.create(bucket).await.status(), shown);
        assert_eq!(fixture.get(id).await.status(), shown);
    }
}

#[tokio::test]
async fn an_id_that_does_not_show_is_refused() {
    let fixture = BucketFixture::open().await;
    for (id, part) in [
        (" ", "begin or end"),
        ("b ", "begin or end"),
        ("a\nb", "invisible"),
        ("\u{200b}", "invisible"),
    ] {
        let mut client = fixture.client.clone();
        let refused = refusal(client.create_bucket(creation(eur(id, "1"))).await);
        let refused = refused.expect_invalid(&["bucket.id"]);
        assert!(refused.message.contains(part), "{refused:?}");
    }
}
