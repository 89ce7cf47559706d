//! Closing buckets, with and without a write-off.

use earmark::proto::bucket::v1::{
    AdjustType, BalanceActionStatus, BalanceActionType, BucketStatus, CloseBucketRequest,
    UpdateBucketRequest,
};
use tonic::Code;

use crate::support::bucket_fixture::{
    BucketFixture, adjust, amount, close, deduct, left, reserve, topup, unreserve,
};
use crate::support::earmark::refusal;
use crate::support::ledger_dump::assert_sound;
use crate::support::service::is_replayed;

#[tokio::test(flavor = "multi_thread")]
async fn closing_writes_off_what_remains_in_one_step() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "2.5").await;
    fixture.set_status("b", BucketStatus::Suspended).await;
    let before = fixture.get("b").await;
    let mut client = fixture.client.clone();
    let refused = refusal(client.close_bucket(close("b", false, "k")).await);
    let refused = refused.expect(Code::FailedPrecondition, "BUCKET_NOT_USABLE");
    assert_eq!(refused.metadata["available"], "2.5");
    assert_eq!(refused.metadata["reserved"], "0");
    assert_eq!(refused.metadata["bucket_id"], "b");
    assert!(refused.message.contains("write_off"), "{}", refused.message);
    assert_eq!(fixture.get("b").await, before);

    let request = CloseBucketRequest {
        reason: Some("number given up".into()),
        ..close("b", true, "k")
    };
    let answer = client.close_bucket(request.clone()).await.expect("closed");
    assert!(!is_replayed(&answer));
    let answer = answer.into_inner();
    let bucket = answer.bucket.clone().expect("set");
    assert_eq!(bucket.status(), BucketStatus::Closed);
    // The movement, and the new status.
    assert_eq!(bucket.version, before.version + 2);
    assert_eq!(fixture.get("b").await, bucket);
    assert_eq!(fixture.values("b").await, left("0", "0"));
    let action = answer.balance_action.clone().expect("set");
    assert_eq!(action.r#type(), BalanceActionType::Adjust);
    assert_eq!(action.status(), BalanceActionStatus::Completed);
    assert_eq!(action.adjust_type(), AdjustType::OneTime);
    assert_eq!(action.amount, amount("-2.5", "EUR"));
    assert_eq!(action.reason.as_deref(), Some("number given up"));
    assert_eq!(action.request_id, "k");
    assert_eq!(fixture.action(&action.id).await, action);

    let again = client
        .close_bucket(request.clone())
        .await
        .expect("replayed");
    assert!(is_replayed(&again));
    assert_eq!(again.into_inner(), answer);
    let other = CloseBucketRequest {
        write_off: false,
        ..request
    };
    let refused = refusal(client.close_bucket(other).await);
    let refused = refused.expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(refused.metadata["id"], "b");
    assert_eq!(refused.metadata["version"], bucket.version.to_string());
    assert_sound(&fixture.earmark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_bucket_closes_without_an_action() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "1").await;
    let mut client = fixture.client.clone();
    client
        .deduct_balance(deduct("b", "1", "d"))
        .await
        .expect("deducted");
    let answer = client.close_bucket(close("b", false, "k")).await;
    let answer = answer.expect("closed").into_inner();
    assert_eq!(answer.balance_action, None);
    assert_eq!(answer.bucket.clone().expect("set").version, 4);
    let again = client.close_bucket(close("b", false, "k")).await;
    let again = again.expect("replayed");
    assert!(is_replayed(&again));
    assert_eq!(again.into_inner(), answer);

    // Another key: it is closed, and says since when.
    let refused = refusal(client.close_bucket(close("b", false, "other")).await);
    let refused = refused.expect(Code::FailedPrecondition, "ALREADY_TERMINAL");
    assert_eq!(refused.metadata["status"], "CLOSED");
    assert_eq!(refused.metadata["bucket_id"], "b");
    let since = &refused.metadata["since"];
    assert!(refused.message.contains(since), "{}", refused.message);
    // Nothing works on it any more, not even what works in every other status.
    for of in ["1", "-1"] {
        let refused = refusal(client.adjust_balance(adjust("b", of, "a")).await);
        let refused = refused.expect(Code::FailedPrecondition, "BUCKET_NOT_USABLE");
        assert_eq!(refused.metadata["status"], "CLOSED");
        assert_eq!(&refused.metadata["since"], since);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_reserves_keep_a_bucket_open() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "3").await;
    let held = fixture.reserve(reserve("b", "1", "r")).await;
    let mut client = fixture.client.clone();
    let refused = refusal(client.close_bucket(close("b", true, "k")).await);
    let refused = refused.expect(Code::FailedPrecondition, "BUCKET_NOT_USABLE");
    assert_eq!(refused.metadata["reserved"], "1");
    assert_eq!(refused.metadata["available"], "2");
    assert_eq!(refused.metadata["units"], "EUR");
    assert_eq!(fixture.values("b").await, left("2", "1"));
    client
        .unreserve_balance(unreserve("b", &held.id, "u"))
        .await
        .expect("given back");
    client
        .close_bucket(close("b", true, "k"))
        .await
        .expect("a refused request leaves no key");
}

/// The keys of one call have nothing to do with those of another.
#[tokio::test(flavor = "multi_thread")]
async fn a_closing_has_keys_of_its_own() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "3").await;
    let mut client = fixture.client.clone();
    client
        .adjust_balance(adjust("b", "-1", "k"))
        .await
        .expect("adjusted");
    let request = UpdateBucketRequest {
        bucket_id: "b".into(),
        request_id: "k".into(),
        ..Default::default()
    };
    client.update_bucket(request).await.expect("updated");
    let closed = client.close_bucket(close("b", true, "k")).await;
    let closed = closed.expect("closed");
    assert!(!is_replayed(&closed));
    let action = closed.into_inner().balance_action.expect("set");
    assert_eq!(action.amount, amount("-2", "EUR"));
    let again = client.adjust_balance(adjust("b", "-1", "k")).await;
    let again = again.expect("replayed").into_inner();
    assert_eq!(
        again.balance_action.expect("set").amount,
        amount("-1", "EUR")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_only_closes_nothing_and_an_unexpected_version_is_refused() {
    let fixture = BucketFixture::open().await;
    let before = fixture.bucket("b", "3").await;
    let mut client = fixture.client.clone();
    let request = CloseBucketRequest {
        expected_version: Some(before.version),
        ..close("b", true, "k")
    };
    let validated = CloseBucketRequest {
        validate_only: true,
        ..request.clone()
    };
    let validated = client.close_bucket(validated).await.expect("validated");
    let validated = validated.into_inner();
    let action = validated.balance_action.expect("set");
    assert_eq!((action.id.as_str(), action.requested_date), ("", None));
    assert_eq!(fixture.get("b").await, before);
    fixture.topup(topup("b", "1", "t")).await;
    let refused = refusal(client.close_bucket(request.clone()).await);
    let refused = refused.expect(Code::Aborted, "VERSION_MISMATCH");
    assert_eq!(refused.metadata["actual_version"], "3");
    let request = CloseBucketRequest {
        expected_version: Some(3),
        ..request
    };
    let closed = client.close_bucket(request).await.expect("closed");
    assert!(!is_replayed(&closed));
    assert_eq!(
        closed.into_inner().bucket.expect("set").version,
        validated.bucket.expect("set").version + 1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_closing_arguments_are_refused() {
    let fixture = BucketFixture::open().await;
    let mut client = fixture.client.clone();
    let request = CloseBucketRequest {
        reason: Some("x".repeat(1_001)),
        ..Default::default()
    };
    let refused = refusal(client.close_bucket(request).await);
    refused.expect_invalid(&["bucket_id", "request_id", "reason"]);
    let refused = refusal(client.close_bucket(close("x", true, "k")).await);
    refused.expect(Code::NotFound, "BUCKET_NOT_FOUND");
}
