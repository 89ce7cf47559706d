//! Value in a bucket that cannot be used: topped up and valid again, or taken out. Errors say what state stands in the way.

use std::time::Duration;

use earmark::proto::bucket::v1::{
    Bucket, BucketStatus, DeductBalanceRequest, ReserveBalanceRequest, TimePeriod,
    TopupBalanceRequest, UpdateBucketRequest,
};
use prost_types::Timestamp;
use tonic::Code;

use crate::support::allocation_fixture::in_micros;
use crate::support::bucket_fixture::{
    BucketFixture, adjust, amount, close, deduct, eur, left, reserve, topup, transfer, unreserve,
};
use crate::support::earmark::refusal;
use crate::support::service::is_replayed;

const PAST: Timestamp = Timestamp {
    seconds: 1_600_000_000,
    nanos: 0,
};

fn valid(start_date_time: Option<Timestamp>, end_date_time: Option<Timestamp>) -> Bucket {
    Bucket {
        valid_for: Some(TimePeriod {
            start_date_time,
            end_date_time,
        }),
        ..eur("b", "10")
    }
}

fn until(end: Timestamp, key: &str) -> TopupBalanceRequest {
    TopupBalanceRequest {
        valid_for_end: Some(end),
        ..topup("b", "1", key)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_top_up_with_a_new_end_revives_an_expired_bucket() {
    let fixture = BucketFixture::open().await;
    let before = fixture.create(valid(None, Some(PAST))).await;
    let mut client = fixture.client.clone();
    let refused = refusal(client.topup_balance(topup("b", "1", "k")).await);
    let refused = refused.expect(Code::FailedPrecondition, "BUCKET_NOT_USABLE");
    assert_eq!(refused.metadata["status"], "EXPIRED");
    assert_eq!(refused.metadata["bucket_id"], "b");
    assert_eq!(refused.metadata["since"], "2020-09-13T12:26:40.000000Z");
    let message = refused.message;
    for part in ["\"b\" expired at 2020-09-13T12:26:40", "valid_for_end"] {
        assert!(message.contains(part), "{message}");
    }
    let end = in_micros(&fixture.earmark, 3_600_000_000).await;
    let answer = client
        .topup_balance(until(end, "k"))
        .await
        .expect("revived");
    let bucket = answer.into_inner().bucket.expect("set");
    assert_eq!(bucket.status(), BucketStatus::Active);
    assert_eq!(bucket.valid_for.and_then(|of| of.end_date_time), Some(end));
    // The movement, and the new validity.
    assert_eq!(bucket.version, before.version + 2);
    assert_eq!(fixture.get("b").await, bucket);
    client
        .deduct_balance(deduct("b", "11", "d"))
        .await
        .expect("usable again");
    let again = client
        .topup_balance(until(end, "k"))
        .await
        .expect("replayed");
    assert!(is_replayed(&again));
    let refused = refusal(client.topup_balance(topup("b", "1", "k")).await);
    let refused = refused.expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    let action = again.into_inner().balance_action.expect("set");
    assert_eq!(refused.metadata["id"], action.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_end_never_shortens_and_revives_the_status_expired_only() {
    let fixture = BucketFixture::open().await;
    let late = in_micros(&fixture.earmark, 7_200_000_000).await;
    let soon = in_micros(&fixture.earmark, 3_600_000_000).await;
    let mut created = fixture.create(valid(Some(PAST), Some(late))).await;
    let mut client = fixture.client.clone();
    let mut topped_up = async |end, key: &str| {
        let answer = client.topup_balance(until(end, key)).await;
        answer.map(|answer| answer.into_inner().bucket.expect("set"))
    };
    let bucket = topped_up(soon, "1").await.expect("topped up");
    assert_eq!(bucket.valid_for, created.valid_for);
    assert_eq!(bucket.version, created.version + 1);
    for (status, is_revived) in [
        (BucketStatus::Expired, true),
        (BucketStatus::Suspended, false),
        (BucketStatus::Inactive, false),
    ] {
        fixture.set_status("b", status).await;
        let answer = topped_up(late, &format!("{status:?}")).await;
        if is_revived {
            assert_eq!(answer.expect("revived").status(), BucketStatus::Active);
        } else {
            let refused = refusal(answer.map(tonic::Response::new));
            let refused = refused.expect(Code::FailedPrecondition, "BUCKET_NOT_USABLE");
            assert_eq!(
                refused.metadata["status"],
                format!("{status:?}").to_uppercase()
            );
            let since = &refused.metadata["since"];
            let state = format!("is {} since {since}", refused.metadata["status"]);
            assert!(refused.message.contains(&state), "{}", refused.message);
            assert_eq!(fixture.get("b").await.status(), status);
        }
    }
    // A validity without an end keeps having none.
    fixture.set_status("b", BucketStatus::Expired).await;
    let endless = UpdateBucketRequest {
        bucket_id: "b".into(),
        valid_for: Some(TimePeriod::default()),
        ..Default::default()
    };
    let mut other = fixture.client.clone();
    other.update_bucket(endless).await.expect("updated");
    created = topped_up(soon, "endless").await.expect("revived");
    assert_eq!(created.status(), BucketStatus::Active);
    assert_eq!(created.valid_for, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_end_must_be_after_now_and_the_start() {
    let fixture = BucketFixture::open().await;
    let start = in_micros(&fixture.earmark, 7_200_000_000).await;
    let before = fixture.create(valid(Some(start), None)).await;
    let mut client = fixture.client.clone();
    let now = in_micros(&fixture.earmark, 0).await;
    let soon = in_micros(&fixture.earmark, 3_600_000_000).await;
    for end in [PAST, now, soon, start] {
        let refused = refusal(client.topup_balance(until(end, "k")).await);
        refused.expect_invalid(&["valid_for_end"]);
    }
    assert_eq!(fixture.get("b").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn value_is_taken_out_in_every_status_but_closed() {
    let fixture = BucketFixture::open().await;
    fixture.create(valid(None, Some(PAST))).await;
    let mut client = fixture.client.clone();
    for (status, key, remaining) in [
        (BucketStatus::Active, "1", "9"),
        (BucketStatus::Suspended, "2", "8"),
        (BucketStatus::Inactive, "3", "7"),
        (BucketStatus::Expired, "4", "6"),
    ] {
        fixture.set_status("b", status).await;
        client
            .adjust_balance(adjust("b", "-1", key))
            .await
            .expect("taken out");
        assert_eq!(fixture.values("b").await, left(remaining, "0"));
        let refused = refusal(client.adjust_balance(adjust("b", "1", "up")).await);
        refused.expect(Code::FailedPrecondition, "BUCKET_NOT_USABLE");
    }
    let refused = refusal(client.adjust_balance(adjust("b", "-7", "5")).await);
    let refused = refused.expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
    assert_eq!(refused.metadata["available"], "6");
    assert_eq!(refused.metadata["bucket_id"], "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_a_transfer_name_the_bucket_that_they_are_about() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("a", "10").await;
    fixture.bucket("full", "9999999999999999").await;
    fixture.bucket("s", "1").await;
    fixture.set_status("s", BucketStatus::Suspended).await;
    let mut client = fixture.client.clone();
    for (from, to, of, reason, bucket) in [
        ("a", "s", "1", "BUCKET_NOT_USABLE", "s"),
        ("s", "a", "1", "BUCKET_NOT_USABLE", "s"),
        ("a", "full", "11", "INSUFFICIENT_BALANCE", "a"),
        ("a", "full", "1", "BALANCE_LIMIT", "full"),
    ] {
        let refused = refusal(client.transfer_balance(transfer(from, to, of, "t")).await);
        let refused = refused.expect(Code::FailedPrecondition, reason);
        assert_eq!(refused.metadata["bucket_id"], bucket, "{from} {to}");
        let named = format!("{bucket:?}");
        assert!(refused.message.contains(&named), "{}", refused.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_a_bucket_is_named() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "9999999999999998").await;
    fixture.reserve(reserve("b", "1", "r")).await;
    let refused = fixture
        .client
        .clone()
        .topup_balance(topup("b", "2", "t"))
        .await;
    let refused = refusal(refused).expect(Code::FailedPrecondition, "BALANCE_LIMIT");
    assert_eq!(refused.metadata["limit"], "9999999999999999.999999999999");
    assert_eq!(refused.metadata["requested"], "2");
    assert_eq!(refused.metadata["bucket_id"], "b");
    for part in [
        "9999999999999998 EUR",
        "reserved",
        "below 10000000000000000",
    ] {
        assert!(refused.message.contains(part), "{}", refused.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_reserve_says_how_and_since_when() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    let mut client = fixture.client.clone();
    let expiring = ReserveBalanceRequest {
        expire_time: Some(in_micros(&fixture.earmark, 300_000).await),
        ..reserve("b", "1", "expired")
    };
    let expired = fixture.reserve(expiring).await;
    let given_back = fixture.reserve(reserve("b", "1", "given back")).await;
    client
        .unreserve_balance(unreserve("b", &given_back.id, "u"))
        .await
        .expect("given back");
    let used = fixture.reserve(reserve("b", "1", "used")).await;
    let all_of_it = DeductBalanceRequest {
        reserve_id: Some(used.id.clone()),
        ..deduct("b", "1", "d")
    };
    client.deduct_balance(all_of_it).await.expect("deducted");
    tokio::time::sleep(Duration::from_millis(400)).await;
    for (id, ended, status) in [
        (expired.id, "expired at", "CANCELLED"),
        (given_back.id, "was given back at", "CANCELLED"),
        (used.id, "was used and closed at", "COMPLETED"),
    ] {
        let again = DeductBalanceRequest {
            reserve_id: Some(id.clone()),
            ..deduct("b", "1", "again")
        };
        let since = fixture.action(&id).await.confirmation_date.expect("closed");
        for refused in [
            refusal(client.unreserve_balance(unreserve("b", &id, "again")).await),
            refusal(client.deduct_balance(again).await),
        ] {
            let refused = refused.expect(Code::FailedPrecondition, "ALREADY_TERMINAL");
            assert_eq!(refused.metadata["id"], id);
            assert_eq!(refused.metadata["status"], status);
            let told = &refused.metadata["since"];
            let told: Timestamp = told.parse().expect("a time");
            assert_eq!(told, since);
            assert!(refused.message.contains(ended), "{}", refused.message);
            assert!(refused.message.contains(&id), "{}", refused.message);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserve_with_too_little_is_named() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    let held = fixture.reserve(reserve("b", "2", "r")).await;
    let request = DeductBalanceRequest {
        reserve_id: Some(held.id.clone()),
        ..deduct("b", "2.5", "d")
    };
    let refused = refusal(fixture.client.clone().deduct_balance(request).await);
    let refused = refused.expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
    assert_eq!(refused.metadata["id"], held.id);
    assert_eq!(refused.metadata["bucket_id"], "b");
    assert_eq!(
        (
            &*refused.metadata["available"],
            &*refused.metadata["requested"]
        ),
        ("2", "2.5")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_key_or_id_names_the_record_that_has_it() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    let first = fixture.topup(topup("b", "1", "k")).await;
    let mut client = fixture.client.clone();
    let refused = refusal(client.topup_balance(topup("b", "2", "k")).await);
    let refused = refused.expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(refused.metadata["field"], "request_id");
    assert_eq!(refused.metadata["id"], first.id);
    assert!(!refused.metadata.contains_key("version"));
    let request = crate::support::bucket_fixture::creation(eur("b", "11"));
    let refused = refusal(client.create_bucket(request).await);
    let refused = refused.expect(Code::AlreadyExists, "BUCKET_EXISTS");
    assert_eq!(refused.metadata["id"], "b");
    assert_eq!(refused.metadata["version"], "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_amounts_are_shown_and_unknown_members_get_the_nearest_one() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    let mut client = fixture.client.clone();
    let refused = refusal(client.topup_balance(topup("b", "-0.5", "k")).await);
    let refused = refused.expect(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(
        refused.message,
        "`amount.amount`: must be above zero, got \"-0.5\""
    );
    let request = TopupBalanceRequest {
        amount: amount("1", "USD"),
        ..topup("b", "1", "k")
    };
    let refused = refusal(client.topup_balance(request).await);
    let refused = refused.expect(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(
        refused.message,
        "`amount.units`: must be the bucket's, which is EUR, got \"USD\""
    );
    for (fields, suggested) in [
        ("remainingvalue", "remainingValue"),
        ("remainingValue.amuont", "amount"),
        ("party_acount", "partyAccount"),
    ] {
        let request = earmark::proto::bucket::v1::GetBucketRequest {
            id: "b".into(),
            fields: fields.into(),
            ..Default::default()
        };
        let refused = refusal(client.get_bucket(request).await);
        let refused = refused.expect(Code::InvalidArgument, "INVALID_REQUEST");
        let advice = format!("did you mean `{suggested}`?");
        assert!(refused.message.contains(&advice), "{}", refused.message);
    }
    client
        .close_bucket(close("b", true, "k"))
        .await
        .expect("closed");
}
