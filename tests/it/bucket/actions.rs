//! Top-up, adjustment, reserve, unreserve, deduction: what each moves, records and repeats.

use earmark::proto::bucket::v1::{
    ActionAmount, AdjustBalanceRequest, AdjustType, BalanceAction, BalanceActionStatus,
    BalanceActionType, BucketDelta, BucketStatus, DeductBalanceRequest, RecurringPeriod,
    ReserveBalanceRequest, TopupBalanceRequest,
};
use tonic::{Code, Status};

use crate::support::bucket_fixture::{
    BucketFixture, adjust, amount, deduct, left, reserve, topup, unreserve, values,
};
use crate::support::earmark::{Refusal, refusal};
use crate::support::service::is_replayed;

/// The members that every completed action has. A deduction is one without a reserve.
fn done(kind: BalanceActionType, bucket: &str, of: &str, key: &str) -> BalanceAction {
    let negative = format!("-{of}");
    let (remaining, reserved) = match kind {
        BalanceActionType::Deduct => (&*negative, "0"),
        BalanceActionType::Reserve => (&*negative, of),
        BalanceActionType::Unreserve => (of, &*negative),
        _ => (of, "0"),
    };
    BalanceAction {
        bucket_deltas: delta(bucket, remaining, reserved),
        r#type: kind.into(),
        status: BalanceActionStatus::Completed.into(),
        bucket_id: bucket.into(),
        amount: amount(of, "EUR"),
        request_id: key.into(),
        initiated_by: "somebody".into(),
        ..Default::default()
    }
}

fn delta(bucket: &str, remaining: &str, reserved: &str) -> Vec<BucketDelta> {
    vec![BucketDelta {
        bucket_id: bucket.into(),
        remaining_delta: remaining.into(),
        reserved_delta: reserved.into(),
    }]
}

/// Takes out what is another at every run, after a look at it.
fn take_own(mut action: BalanceAction) -> BalanceAction {
    assert_eq!(action.id.len(), 36, "{action:?}");
    action.id.clear();
    assert!(action.requested_date.take().is_some(), "{action:?}");
    let is_final = action.status() != BalanceActionStatus::Created;
    assert_eq!(action.confirmation_date.take().is_some(), is_final);
    action
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topup_adds_its_amount_and_stores_every_member() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "1.5").await;
    let request = TopupBalanceRequest {
        reason: Some("voucher".into()),
        channel: Some("web".into()),
        requestor: Some("James".into()),
        is_auto_topup: Some(true),
        recurring_period: RecurringPeriod::Fortnightly.into(),
        number_of_periods: Some(3),
        ..topup("b", "0.500000000001", "t")
    };
    let answer = fixture.client.clone().topup_balance(request.clone()).await;
    let answer = answer.expect("topped up").into_inner();
    let (action, bucket) = (
        answer.balance_action.expect("set"),
        answer.bucket.expect("set"),
    );
    assert_eq!(values(&bucket), left("2.000000000001", "0"));
    assert_eq!(fixture.get("b").await, bucket);
    assert_eq!(fixture.action(&action.id).await, action);
    assert_eq!(action.requested_date, action.confirmation_date);
    let expected = BalanceAction {
        reason: request.reason,
        channel: request.channel,
        requestor: request.requestor,
        is_auto_topup: Some(true),
        recurring_period: RecurringPeriod::Fortnightly.into(),
        number_of_periods: Some(3),
        ..done(BalanceActionType::Topup, "b", "0.500000000001", "t")
    };
    assert_eq!(take_own(action), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adjustment_may_be_negative_but_not_overdraw_the_bucket() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    fixture.reserve(reserve("b", "4", "r")).await;
    let mut client = fixture.client.clone();
    for (of, key, kind, after) in [
        ("-5.5", "1", AdjustType::Unspecified, "0.5"),
        ("2", "2", AdjustType::Recurring, "2.5"),
        ("-2.5", "3", AdjustType::OneTime, "0"),
    ] {
        let request = AdjustBalanceRequest {
            adjust_type: kind.into(),
            ..adjust("b", of, key)
        };
        let answer = client.adjust_balance(request).await.expect("adjusted");
        let answer = answer.into_inner();
        assert_eq!(values(&answer.bucket.expect("set")), left(after, "4"));
        let kind = match kind {
            AdjustType::Recurring => AdjustType::Recurring,
            _ => AdjustType::OneTime,
        };
        let expected = BalanceAction {
            adjust_type: kind.into(),
            ..done(BalanceActionType::Adjust, "b", of, key)
        };
        let action = answer.balance_action.expect("set");
        assert_eq!(take_own(action), expected);
    }
    let refused = refusal(client.adjust_balance(adjust("b", "-0.1", "4")).await);
    assert_insufficient(refused, "0", "0.1");
    assert_eq!(fixture.values("b").await, left("0", "4"));
}

#[track_caller]
fn assert_insufficient(refused: Refusal, available: &str, requested: &str) {
    let refused = refused.expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
    let expected = [
        ("available", available),
        ("bucket_id", "b"),
        ("outcome", "not_applied"),
        ("requested", requested),
        ("units", "EUR"),
    ];
    let metadata = refused.metadata.iter().filter(|(key, _)| *key != "id");
    let metadata: Vec<_> = metadata.map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(metadata, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserve_is_held_until_it_is_unreserved() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    let held = fixture.reserve(reserve("b", "4", "r")).await;
    assert_eq!(fixture.values("b").await, left("6", "4"));
    let expected = BalanceAction {
        status: BalanceActionStatus::Created.into(),
        remaining_amount: amount("4", "EUR"),
        ..done(BalanceActionType::Reserve, "b", "4", "r")
    };
    assert_eq!(take_own(held.clone()), expected);

    let mut client = fixture.client.clone();
    let given = client
        .unreserve_balance(unreserve("b", &held.id, "u"))
        .await;
    let given = given.expect("given back").into_inner();
    assert_eq!(values(&given.bucket.expect("set")), left("10", "0"));
    let action = given.balance_action.expect("set");
    let closed = fixture.action(&held.id).await;
    assert_eq!(closed.status(), BalanceActionStatus::Cancelled);
    assert_eq!(closed.remaining_amount, amount("0", "EUR"));
    assert_eq!(closed.requested_date, held.requested_date);
    assert_eq!(closed.confirmation_date, action.requested_date);
    let expected = BalanceAction {
        reserve_id: Some(held.id.clone()),
        ..done(BalanceActionType::Unreserve, "b", "4", "u")
    };
    assert_eq!(take_own(action), expected);
    let again = client
        .unreserve_balance(unreserve("b", &held.id, "v"))
        .await;
    let refused = refusal(again).expect(Code::FailedPrecondition, "ALREADY_TERMINAL");
    assert_eq!(refused.metadata["status"], "CANCELLED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deduction_from_a_reserve_keeps_or_returns_the_rest() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    let held = fixture.reserve(reserve("b", "4", "r")).await;
    let mut client = fixture.client.clone();
    let from = |of: &str, key: &str, keep_rest: bool| DeductBalanceRequest {
        reserve_id: Some(held.id.clone()),
        keep_rest,
        ..deduct("b", of, key)
    };
    let mut take = async |request| {
        let answer = client.deduct_balance(request).await;
        answer.map(|answer| {
            let answer = answer.into_inner();
            let action = answer.balance_action.expect("set");
            (values(&answer.bucket.expect("set")), action)
        })
    };

    let (after, action) = take(from("1", "1", true)).await.expect("deducted");
    assert_eq!(after, left("6", "3"));
    let expected = BalanceAction {
        reserve_id: Some(held.id.clone()),
        keep_rest: Some(true),
        bucket_deltas: delta("b", "0", "-1"),
        ..done(BalanceActionType::Deduct, "b", "1", "1")
    };
    assert_eq!(take_own(action), expected);
    let open = fixture.action(&held.id).await;
    assert_eq!(open.status(), BalanceActionStatus::Created);
    assert_eq!(open.remaining_amount, amount("3", "EUR"));

    let refused = refusal(take(from("3.1", "2", true)).await);
    assert_insufficient(refused, "3", "3.1");

    let (after, action) = take(from("1", "3", false)).await.expect("deducted");
    assert_eq!(after, left("8", "0"));
    let closed = fixture.action(&held.id).await;
    assert_eq!(closed.status(), BalanceActionStatus::Completed);
    assert_eq!(closed.confirmation_date, action.requested_date);

    let refused = refusal(take(from("1", "4", false)).await);
    let refused = refused.expect(Code::FailedPrecondition, "ALREADY_TERMINAL");
    assert_eq!(refused.metadata["status"], "COMPLETED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserve_is_completed_when_all_of_it_is_deducted() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    let held = fixture.reserve(reserve("b", "4", "r")).await;
    for (of, key, status) in [
        ("3", "1", BalanceActionStatus::Created),
        ("1", "2", BalanceActionStatus::Completed),
    ] {
        let request = DeductBalanceRequest {
            reserve_id: Some(held.id.clone()),
            keep_rest: true,
            ..deduct("b", of, key)
        };
        let answer = fixture.client.clone().deduct_balance(request).await;
        answer.expect("deducted");
        assert_eq!(fixture.action(&held.id).await.status(), status);
    }
    assert_eq!(fixture.values("b").await, left("6", "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partly_used_reserve_is_completed_by_unreserve() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    let held = fixture.reserve(reserve("b", "4", "r")).await;
    let mut client = fixture.client.clone();
    let request = DeductBalanceRequest {
        reserve_id: Some(held.id.clone()),
        keep_rest: true,
        ..deduct("b", "1", "d")
    };
    client.deduct_balance(request).await.expect("deducted");
    let given = client
        .unreserve_balance(unreserve("b", &held.id, "u"))
        .await;
    let given = given.expect("given back").into_inner();
    let action = given.balance_action.expect("set");
    assert_eq!(action.amount, amount("3", "EUR"));
    let closed = fixture.action(&held.id).await;
    assert_eq!(closed.status(), BalanceActionStatus::Completed);
    assert_eq!(fixture.values("b").await, left("9", "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deduction_without_a_reserve_takes_available_value_only() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    fixture.reserve(reserve("b", "4", "r")).await;
    let mut client = fixture.client.clone();
    let answer = client.deduct_balance(deduct("b", "6", "d")).await;
    let answer = answer.expect("deducted").into_inner();
    assert_eq!(values(&answer.bucket.expect("set")), left("0", "4"));
    let action = answer.balance_action.expect("set");
    let expected = done(BalanceActionType::Deduct, "b", "6", "d");
    assert_eq!(take_own(action), expected);
    let refused = client.deduct_balance(deduct("b", "0.000000000001", "e"));
    assert_insufficient(refusal(refused.await), "0", "0.000000000001");
    let refused = client.reserve_balance(reserve("b", "1", "s")).await;
    assert_insufficient(refusal(refused), "0", "1");
}

/// Replays and reuse of keys, for one kind of action.
macro_rules! keys {
    ($fixture:ident, $method:ident, $request:expr, $other:expr) => {{
        let mut client = $fixture.client.clone();
        let first = client.$method($request).await.expect("done");
        assert!(!is_replayed(&first), stringify!($method));
        let first = first.into_inner();
        $fixture
            .topup(topup("b", "1", concat!("after ", stringify!($method))))
            .await;
        let again = client.$method($request).await.expect("replayed");
        assert!(is_replayed(&again), stringify!($method));
        // The values as they were then.
        let again = again.into_inner();
        assert_eq!(again.balance_action, first.balance_action);
        let (then, now) = (first.bucket.expect("set"), again.bucket.expect("set"));
        assert_eq!(values(&now), values(&then), stringify!($method));
        let before = $fixture.get("b").await;
        let refused = refusal(client.$method($other).await);
        let refused = refused.expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
        assert_eq!(refused.metadata["field"], "request_id");
        assert_eq!($fixture.get("b").await, before);
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_unique_per_bucket_and_kind_of_action() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    // One key for all: it is unique per bucket and RPC.
    keys!(
        fixture,
        topup_balance,
        topup("b", "1.0", "k"),
        topup("b", "1.1", "k")
    );
    keys!(
        fixture,
        adjust_balance,
        adjust("b", "-1", "k"),
        adjust("b", "1", "k")
    );
    keys!(
        fixture,
        reserve_balance,
        reserve("b", "1", "k"),
        reserve("b", "2", "k")
    );
    keys!(
        fixture,
        deduct_balance,
        deduct("b", "1", "k"),
        DeductBalanceRequest {
            reason: Some("another".into()),
            ..deduct("b", "1", "k")
        }
    );
    let held = fixture.reserve(reserve("b", "1", "l")).await;
    let other = fixture.reserve(reserve("b", "1", "m")).await;
    keys!(
        fixture,
        unreserve_balance,
        unreserve("b", &held.id, "k"),
        unreserve("b", &other.id, "k")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_reserve_shows_its_current_state() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    let held = fixture.reserve(reserve("b", "4", "r")).await;
    let mut client = fixture.client.clone();
    client
        .unreserve_balance(unreserve("b", &held.id, "u"))
        .await
        .expect("given back");
    let again = client.reserve_balance(reserve("b", "4", "r")).await;
    let again = again.expect("replayed").into_inner();
    assert_eq!(again.balance_action, Some(fixture.action(&held.id).await));
    assert_eq!(values(&again.bucket.expect("set")), left("6", "4"));
    assert_eq!(fixture.values("b").await, left("10", "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn validate_only_answers_like_the_real_action_and_moves_nothing() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    let before = fixture.get("b").await;
    let mut client = fixture.client.clone();
    let request = ReserveBalanceRequest {
        validate_only: true,
        ..reserve("b", "4", "r")
    };
    let validated = client.reserve_balance(request).await.expect("validated");
    assert!(!is_replayed(&validated));
    let validated = validated.into_inner();
    assert_eq!(fixture.get("b").await, before);
    let done = client.reserve_balance(reserve("b", "4", "r")).await;
    let done = done.expect("done").into_inner();
    assert_eq!(done.bucket, validated.bucket);
    let action = validated.balance_action.expect("set");
    assert_eq!((action.id.as_str(), action.requested_date), ("", None));
    assert_eq!(take_own(done.balance_action.expect("set")), action);
    // What would be refused is refused.
    let request = DeductBalanceRequest {
        validate_only: true,
        ..deduct("b", "6.1", "d")
    };
    assert_insufficient(refusal(client.deduct_balance(request).await), "6", "6.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_has_at_most_16_digits_before_the_point() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "9999999999999999").await;
    let refused = fixture
        .client
        .clone()
        .topup_balance(topup("b", "1", "t"))
        .await;
    let refused = refusal(refused).expect(Code::FailedPrecondition, "BALANCE_LIMIT");
    assert_eq!(refused.metadata["units"], "EUR");
    fixture.topup(topup("b", "0.999999999999", "u")).await;
    let most = left("9999999999999999.999999999999", "0");
    assert_eq!(fixture.values("b").await, most);
}

/// Every action but giving back and transfer, each with a new key.
async fn tries(
    fixture: &BucketFixture,
    bucket: &str,
    reserve_id: &str,
) -> Vec<(&'static str, Result<(), Status>)> {
    let mut client = fixture.client.clone();
    let key = uuid::Uuid::new_v4().to_string();
    let from_reserve = DeductBalanceRequest {
        reserve_id: Some(reserve_id.into()),
        keep_rest: true,
        ..deduct(bucket, "1", &format!("{key} from reserve"))
    };
    vec![
        (
            "topup",
            client
                .topup_balance(topup(bucket, "1", &key))
                .await
                .map(|_| ()),
        ),
        (
            "adjust",
            client
                .adjust_balance(adjust(bucket, "1", &key))
                .await
                .map(|_| ()),
        ),
        (
            "reserve",
            client
                .reserve_balance(reserve(bucket, "1", &key))
                .await
                .map(|_| ()),
        ),
        (
            "deduct",
            client
                .deduct_balance(deduct(bucket, "1", &key))
                .await
                .map(|_| ()),
        ),
        (
            "from reserve",
            client.deduct_balance(from_reserve).await.map(|_| ()),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_active_bucket_takes_actions_but_open_reserves_stay_usable() {
    let fixture = BucketFixture::open().await;
    for (index, status) in [
        BucketStatus::Suspended,
        BucketStatus::Expired,
        BucketStatus::Inactive,
    ]
    .into_iter()
    .enumerate()
    {
        let id = index.to_string();
        fixture.bucket(&id, "100").await;
        let held = fixture.reserve(reserve(&id, "10", "r")).await;
        for (what, result) in tries(&fixture, &id, &held.id).await {
            assert!(result.is_ok(), "{what}: {result:?}");
        }
        fixture.set_status(&id, status).await;
        let name = &status.as_str_name()["BUCKET_STATUS_".len()..];
        for (what, result) in tries(&fixture, &id, &held.id).await {
            if what == "from reserve" {
                assert!(result.is_ok(), "{what}: {result:?}");
                continue;
            }
            let refused = refusal(result).expect(Code::FailedPrecondition, "BUCKET_NOT_USABLE");
            assert_eq!(refused.metadata["status"], name, "{what}");
        }
        let given = fixture
            .client
            .clone()
            .unreserve_balance(unreserve(&id, &held.id, "u"))
            .await;
        given.expect("given back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_bucket_takes_no_action() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "0").await;
    fixture.bucket("c", "10").await;
    let held = fixture.reserve(reserve("c", "1", "r")).await;
    fixture.set_status("b", BucketStatus::Closed).await;
    for (what, result) in tries(&fixture, "b", &held.id).await {
        let expected = match what {
            // The reserve of another bucket is none of this one's.
            "from reserve" => (Code::NotFound, "ACTION_NOT_FOUND"),
            _ => (Code::FailedPrecondition, "BUCKET_NOT_USABLE"),
        };
        refusal(result).expect(expected.0, expected.1);
    }
    assert_eq!(fixture.values("b").await, left("0", "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_in_another_unit_than_the_buckets_is_refused() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    let before = fixture.get("b").await;
    let mut client = fixture.client.clone();
    let usd = || -> Option<ActionAmount> { amount("1", "USD") };
    let refused = [
        refusal(
            client
                .topup_balance(TopupBalanceRequest {
                    amount: usd(),
                    ..topup("b", "1", "k")
                })
                .await,
        ),
        refusal(
            client
                .adjust_balance(AdjustBalanceRequest {
                    amount: usd(),
                    ..adjust("b", "1", "k")
                })
                .await,
        ),
        refusal(
            client
                .reserve_balance(ReserveBalanceRequest {
                    amount: usd(),
                    ..reserve("b", "1", "k")
                })
                .await,
        ),
        refusal(
            client
                .deduct_balance(DeductBalanceRequest {
                    amount: usd(),
                    ..deduct("b", "1", "k")
                })
                .await,
        ),
    ];
    for refused in refused {
        refused.expect_invalid(&["amount.units"]);
    }
    assert_eq!(fixture.get("b").await, before);
}
