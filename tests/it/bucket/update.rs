use earmark::proto::bucket::v1::{Bucket, BucketStatus, TimePeriod, UpdateBucketRequest};
use prost_types::Timestamp;
use tonic::Code;

use crate::support::allocation_fixture::in_micros;
use crate::support::bucket_fixture::{BucketFixture, deduct, eur, left, reserve, topup, unreserve};
use crate::support::earmark::refusal;
use crate::support::service::is_replayed;

fn update(id: &str) -> UpdateBucketRequest {
    UpdateBucketRequest {
        bucket_id: id.into(),
        ..Default::default()
    }
}

fn to(id: &str, status: BucketStatus) -> UpdateBucketRequest {
    UpdateBucketRequest {
        status: status.into(),
        ..update(id)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn update_changes_the_members_that_are_set_only() {
    let fixture = BucketFixture::open().await;
    let created = Bucket {
        name: Some("old".into()),
        description: Some("kept".into()),
        valid_for: Some(TimePeriod {
            start_date_time: Some(Timestamp::default()),
            end_date_time: None,
        }),
        ..eur("b", "1")
    };
    let created = fixture.create(created).await;
    let end = in_micros(&fixture.earmark, 60_000_000).await;
    let valid_for = TimePeriod {
        start_date_time: None,
        end_date_time: Some(end),
    };
    let request = UpdateBucketRequest {
        name: Some("new".into()),
        status: BucketStatus::Inactive.into(),
        valid_for: Some(valid_for),
        ..update("b")
    };
    let updated = fixture.client.clone().update_bucket(request).await;
    let updated = updated.expect("updated").into_inner().bucket;
    let expected = Bucket {
        name: Some("new".into()),
        status: BucketStatus::Inactive.into(),
        valid_for: Some(valid_for),
        version: created.version + 1,
        ..created
    };
    assert_eq!(updated.as_ref(), Some(&expected));
    assert_eq!(fixture.get("b").await, expected);

    // An empty member is removed.
    let request = UpdateBucketRequest {
        name: Some(String::new()),
        description: Some(String::new()),
        valid_for: Some(TimePeriod::default()),
        ..update("b")
    };
    let updated = fixture.client.clone().update_bucket(request).await;
    let expected = Bucket {
        name: None,
        description: None,
        valid_for: None,
        version: expected.version + 1,
        ..expected
    };
    let updated = updated.expect("updated").into_inner().bucket;
    assert_eq!(updated, Some(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unexpected_version_is_refused() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "1").await;
    // Movements increase the version too, because it covers the values.
    fixture.topup(topup("b", "1", "t")).await;
    let version = fixture.get("b").await.version;
    assert_eq!(version, 3);
    let expecting = |version: i64| UpdateBucketRequest {
        expected_version: Some(version),
        ..to("b", BucketStatus::Suspended)
    };
    let mut client = fixture.client.clone();
    let refused = refusal(client.update_bucket(expecting(2)).await);
    let refused = refused.expect(Code::Aborted, "VERSION_MISMATCH");
    assert_eq!(refused.metadata["expected_version"], "2");
    assert_eq!(refused.metadata["actual_version"], "3");
    assert_eq!(fixture.get("b").await.status(), BucketStatus::Active);
    client.update_bucket(expecting(3)).await.expect("updated");
    assert_eq!(fixture.get("b").await.version, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_empty_bucket_can_be_closed_and_closed_is_final() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "2").await;
    let held = fixture.reserve(reserve("b", "1", "r")).await;
    let mut client = fixture.client.clone();
    let mut close = async || client.update_bucket(to("b", BucketStatus::Closed)).await;
    refusal(close().await).expect(Code::FailedPrecondition, "BUCKET_NOT_USABLE");
    let mut other = fixture.client.clone();
    let deducted = other.deduct_balance(deduct("b", "1", "d")).await;
    deducted.expect("deducted");
    assert_eq!(fixture.values("b").await, left("0", "1"));
    let refused = refusal(close().await).expect(Code::FailedPrecondition, "BUCKET_NOT_USABLE");
    assert_eq!(refused.metadata["status"], "ACTIVE");
    other
        .unreserve_balance(unreserve("b", &held.id, "u"))
        .await
        .expect("given back");
    let deducted = other.deduct_balance(deduct("b", "1", "d2")).await;
    deducted.expect("deducted");
    let closed = close().await.expect("closed").into_inner().bucket;
    assert_eq!(closed.expect("set").status(), BucketStatus::Closed);

    for request in [
        to("b", BucketStatus::Active),
        to("b", BucketStatus::Closed),
        UpdateBucketRequest {
            name: Some("n".into()),
            ..update("b")
        },
    ] {
        let refused = refusal(other.update_bucket(request).await);
        let refused = refused.expect(Code::FailedPrecondition, "ALREADY_TERMINAL");
        assert_eq!(refused.metadata["status"], "CLOSED");
    }
    // Empty from the start, it may be CLOSED from the start.
    let bucket = Bucket {
        status: BucketStatus::Closed.into(),
        ..eur("c", "0")
    };
    assert_eq!(fixture.create(bucket).await.status(), BucketStatus::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_between_open_statuses_is_allowed() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "1").await;
    let open = [
        BucketStatus::Active,
        BucketStatus::Suspended,
        BucketStatus::Expired,
        BucketStatus::Inactive,
    ];
    for from in open {
        for status in open {
            fixture.set_status("b", from).await;
            fixture.set_status("b", status).await;
            assert_eq!(fixture.get("b").await.status(), status);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_with_a_used_request_id_is_replayed() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "1").await;
    let mut client = fixture.client.clone();
    let request = UpdateBucketRequest {
        request_id: "k".into(),
        ..to("b", BucketStatus::Suspended)
    };
    let first = client.update_bucket(request.clone()).await.expect("done");
    assert!(!is_replayed(&first));
    client
        .update_bucket(to("b", BucketStatus::Active))
        .await
        .expect("done");
    // The expected version is not part of the key's content, so this is a replay.
    let again = UpdateBucketRequest {
        expected_version: Some(99),
        ..request.clone()
    };
    let again = client.update_bucket(again).await.expect("replayed");
    assert!(is_replayed(&again));
    // The record as it stands now.
    let bucket = again.into_inner().bucket.expect("set");
    assert_eq!(bucket.status(), BucketStatus::Active);
    let other = UpdateBucketRequest {
        name: Some("n".into()),
        ..request
    };
    let refused = refusal(client.update_bucket(other).await);
    let refused = refused.expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(refused.metadata["field"], "request_id");
    // Keys are per bucket, so another bucket may use the same one.
    fixture.bucket("c", "1").await;
    let request = UpdateBucketRequest {
        request_id: "k".into(),
        ..to("c", BucketStatus::Inactive)
    };
    assert!(!is_replayed(
        &client.update_bucket(request).await.expect("done")
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_only_updates_nothing_and_stores_no_key() {
    let fixture = BucketFixture::open().await;
    let before = fixture.bucket("b", "1").await;
    let request = UpdateBucketRequest {
        request_id: "k".into(),
        validate_only: true,
        ..to("b", BucketStatus::Suspended)
    };
    let mut client = fixture.client.clone();
    let validated = client.update_bucket(request.clone()).await;
    let validated = validated.expect("validated").into_inner().bucket;
    assert_eq!(fixture.get("b").await, before);
    let request = UpdateBucketRequest {
        validate_only: false,
        ..request
    };
    let updated = client.update_bucket(request).await.expect("done");
    assert!(!is_replayed(&updated));
    assert_eq!(updated.into_inner().bucket, validated);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_changes_nothing_changes_nothing() {
    let fixture = BucketFixture::open().await;
    let bucket = Bucket {
        name: Some("n".into()),
        valid_for: Some(TimePeriod {
            start_date_time: Some(Timestamp::default()),
            end_date_time: None,
        }),
        ..eur("b", "1")
    };
    let before = fixture.create(bucket).await;
    let stored = async || {
        let sql = "SELECT version::text || updated_at FROM bucket";
        let row = fixture.earmark.sql().await.query_one(sql, &[]).await;
        row.expect(sql).get::<_, String>(0)
    };
    let row = stored().await;
    let mut client = fixture.client.clone();
    let as_it_is = UpdateBucketRequest {
        name: Some("n".into()),
        description: Some(String::new()),
        status: BucketStatus::Active.into(),
        valid_for: before.valid_for,
        ..update("b")
    };
    for request in [update("b"), as_it_is.clone()] {
        let updated = client.update_bucket(request).await.expect("updated");
        assert!(!is_replayed(&updated));
        assert_eq!(updated.into_inner().bucket.as_ref(), Some(&before));
        assert_eq!(stored().await, row);
    }
    assert_eq!(
        fixture
            .earmark
            .count("SELECT count(*) FROM bucket_update")
            .await,
        0
    );
    // Its key is kept: a late repetition does not undo what came in between.
    let keyed = UpdateBucketRequest {
        request_id: "k".into(),
        ..as_it_is
    };
    client.update_bucket(keyed.clone()).await.expect("updated");
    assert_eq!(fixture.get("b").await, before);
    fixture.set_status("b", BucketStatus::Suspended).await;
    let again = client.update_bucket(keyed.clone()).await.expect("replayed");
    assert!(is_replayed(&again));
    assert_eq!(fixture.get("b").await.status(), BucketStatus::Suspended);
    let other = UpdateBucketRequest {
        name: Some("other".into()),
        ..keyed
    };
    let refused = refusal(client.update_bucket(other).await);
    let refused = refused.expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(refused.metadata["id"], "b");
    assert_eq!(
        refused.metadata["version"],
        (before.version + 1).to_string()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_update_arguments_are_refused() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "1").await;
    let mut client = fixture.client.clone();
    let request = UpdateBucketRequest {
        bucket_id: String::new(),
        name: Some("x".repeat(201)),
        description: Some("x".repeat(1_001)),
        status: 9,
        valid_for: Some(TimePeriod {
            start_date_time: Some(Timestamp {
                seconds: 2,
                nanos: 0,
            }),
            end_date_time: Some(Timestamp {
                seconds: 1,
                nanos: 0,
            }),
        }),
        request_id: "x".repeat(129),
        ..Default::default()
    };
    refusal(client.update_bucket(request).await).expect_invalid(&[
        "bucket_id",
        "name",
        "description",
        "status",
        "valid_for.end_date_time",
        "request_id",
    ]);
    let refused = client.update_bucket(to("c", BucketStatus::Active)).await;
    refusal(refused).expect(Code::NotFound, "BUCKET_NOT_FOUND");
}
