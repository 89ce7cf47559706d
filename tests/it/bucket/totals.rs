//! Totals of a party account's buckets, and histories that add up to what buckets and party accounts have.

use std::time::Duration;

use earmark::proto::bucket::v1::{
    AccumulatedBalance, BalanceAction, BalanceActionStatus, BalanceActionType, Bucket, BucketDelta,
    BucketStatus, CostOwner, DeductBalanceRequest, GetAccumulatedBalanceRequest,
    ListBalanceActionsRequest, ReserveBalanceRequest, StatusBalance, TimePeriod,
    TransferBalanceRequest,
};
use prost_types::Timestamp;
use rust_decimal::Decimal;

use crate::support::allocation_fixture::in_micros;
use crate::support::bucket_fixture::{
    BucketFixture, adjust, amount, close, deduct, eur, left, of_party, reserve, topup, transfer,
    unreserve,
};

/// Remaining and reserved, as the deltas of listed actions add up.
fn sums(actions: &[BalanceAction]) -> (String, String) {
    let (mut remaining, mut reserved) = (Decimal::ZERO, Decimal::ZERO);
    for delta in actions.iter().flat_map(|action| &action.bucket_deltas) {
        remaining += delta.remaining_delta.parse::<Decimal>().expect("decimal");
        reserved += delta.reserved_delta.parse::<Decimal>().expect("decimal");
    }
    let text = |sum: Decimal| sum.normalize().to_string();
    (text(remaining), text(reserved))
}

fn of_bucket(id: &str) -> ListBalanceActionsRequest {
    ListBalanceActionsRequest {
        bucket_ids: vec![id.into()],
        page_size: 2,
        ..Default::default()
    }
}

fn of_account(party: &str) -> ListBalanceActionsRequest {
    ListBalanceActionsRequest {
        party_account_ids: vec![party.into()],
        page_size: 3,
        ..Default::default()
    }
}

async fn totals(fixture: &BucketFixture, party: &str, units: &str) -> Vec<AccumulatedBalance> {
    let request = GetAccumulatedBalanceRequest {
        party_account_id: party.into(),
        units: units.into(),
        ..Default::default()
    };
    let answer = fixture
        .client
        .clone()
        .get_accumulated_balance(request)
        .await;
    answer.expect("there").into_inner().accumulated_balances
}

fn of_status(
    status: BucketStatus,
    usable: &str,
    available: &str,
    reserved: &str,
    bucket_count: i64,
) -> StatusBalance {
    StatusBalance {
        status: status.into(),
        usable: usable.into(),
        available: available.into(),
        reserved: reserved.into(),
        bucket_count,
    }
}

/// The sum of these statuses' buckets.
fn of_unit(units: &str, sums: [&str; 3], by_status: Vec<StatusBalance>) -> AccumulatedBalance {
    let [usable, available, reserved] = sums.map(Into::into);
    AccumulatedBalance {
        units: units.into(),
        usable,
        available,
        reserved,
        bucket_count: by_status.iter().map(|of| of.bucket_count).sum(),
        by_status,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn totals_are_per_unit_and_exclude_closed_buckets() {
    let fixture = BucketFixture::open().await;
    for (id, amount, units) in [
        ("a", "0.1", "EUR"),
        ("b", "0.20", "EUR"),
        ("k", "9999999999999999.999999999999", "kB"),
        ("l", "9999999999999999.999999999999", "kB"),
        ("empty", "0", "SMS"),
        ("closed", "0", "gone"),
    ] {
        fixture.create(of_party("p", id, amount, units)).await;
    }
    fixture.create(of_party("other", "o", "7", "EUR")).await;
    fixture.bucket("nobody's", "7").await;
    fixture.reserve(reserve("b", "0.05", "r")).await;
    fixture.set_status("a", BucketStatus::Suspended).await;
    fixture.set_status("closed", BucketStatus::Closed).await;
    let (active, suspended) = (BucketStatus::Active, BucketStatus::Suspended);
    let both = "19999999999999999.999999999998";
    let all = [
        of_unit(
            "EUR",
            ["0.15", "0.25", "0.05"],
            vec![
                of_status(active, "0.15", "0.15", "0.05", 1),
                of_status(suspended, "0", "0.1", "0", 1),
            ],
        ),
        of_unit(
            "SMS",
            ["0", "0", "0"],
            vec![of_status(active, "0", "0", "0", 1)],
        ),
        of_unit(
            "kB",
            [both, both, "0"],
            vec![of_status(active, both, both, "0", 2)],
        ),
    ];
    assert_eq!(totals(&fixture, "p", "").await, all);
    assert_eq!(totals(&fixture, "p", "EUR").await, all[..1]);
    assert_eq!(totals(&fixture, "p", "eur").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn usable_is_what_active_buckets_have_within_their_validity() {
    let fixture = BucketFixture::open().await;
    let past = Some(Timestamp {
        seconds: 1_600_000_000,
        nanos: 0,
    });
    let future = Some(in_micros(&fixture.earmark, 3_600_000_000).await);
    for (id, start_date_time, end_date_time) in [
        ("now", past, future),
        ("endless", None, None),
        ("ended", None, past),
        ("to come", future, None),
    ] {
        let valid_for = Some(TimePeriod {
            start_date_time,
            end_date_time,
        });
        let bucket = Bucket {
            valid_for,
            ..of_party("p", id, "10", "EUR")
        };
        fixture.create(bucket).await;
    }
    for (id, status) in [
        ("suspended", BucketStatus::Suspended),
        ("inactive", BucketStatus::Inactive),
        ("expired", BucketStatus::Expired),
    ] {
        fixture.create(of_party("p", id, "1", "EUR")).await;
        fixture.reserve(reserve(id, "0.25", "r")).await;
        fixture.set_status(id, status).await;
    }
    let expected = of_unit(
        "EUR",
        ["20", "42.25", "0.75"],
        vec![
            of_status(BucketStatus::Active, "20", "30", "0", 3),
            of_status(BucketStatus::Suspended, "0", "0.75", "0.25", 1),
            of_status(BucketStatus::Expired, "0", "10.75", "0.25", 2),
            of_status(BucketStatus::Inactive, "0", "0.75", "0.25", 1),
        ],
    );
    assert_eq!(totals(&fixture, "p", "").await, [expected]);
}

/// Buckets `a` and `b` of the party account `p` and `c` of another, with actions of every type.
async fn busy() -> BucketFixture {
    let fixture = BucketFixture::open().await;
    fixture.create(of_party("p", "a", "100", "EUR")).await;
    fixture.create(of_party("p", "b", "0", "EUR")).await;
    fixture.create(of_party("q", "c", "7.5", "EUR")).await;
    fixture.topup(topup("a", "5", "t")).await;
    let mut client = fixture.client.clone();
    client
        .adjust_balance(adjust("a", "-2.5", "d"))
        .await
        .expect("adjusted");
    let priced = |from, to, of, key, payer: CostOwner| TransferBalanceRequest {
        transfer_cost: amount("0.5", "EUR"),
        cost_owner: payer.into(),
        ..transfer(from, to, of, key)
    };
    for request in [
        priced("a", "b", "10", "1", CostOwner::Originator),
        priced("a", "c", "10", "2", CostOwner::Receiver),
        priced("c", "a", "1", "3", CostOwner::Originator),
    ] {
        client.transfer_balance(request).await.expect("transferred");
    }
    client
        .deduct_balance(deduct("a", "1", "d"))
        .await
        .expect("deducted");
    let held = fixture.reserve(reserve("a", "20", "kept")).await;
    for (of, key, keep_rest) in [("4", "d1", true), ("1", "d2", false)] {
        let request = DeductBalanceRequest {
            reserve_id: Some(held.id.clone()),
            keep_rest,
            ..deduct("a", of, key)
        };
        client.deduct_balance(request).await.expect("deducted");
    }
    let given = fixture.reserve(reserve("a", "3", "given back")).await;
    client
        .unreserve_balance(unreserve("a", &given.id, "u"))
        .await
        .expect("given back");
    fixture.reserve(reserve("a", "2", "open")).await;
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_of_a_bucket_and_of_a_party_account_adds_up() {
    let fixture = busy().await;
    // 100 + 5 − 2.5 − 10.5 − 10 + 1 − 1 − 5 used of the reserve, and 2 are held.
    for (id, remaining, reserved) in [("a", "75", "2"), ("b", "10", "0"), ("c", "15.5", "0")] {
        assert_eq!(fixture.values(id).await, left(remaining, reserved));
        let actions = fixture.actions(of_bucket(id)).await;
        assert_eq!(sums(&actions), left(remaining, reserved), "{actions:#?}");
    }
    for (party, remaining, reserved) in [("p", "85", "2"), ("q", "15.5", "0")] {
        let total = &totals(&fixture, party, "").await[0];
        let total = (total.available.clone(), total.reserved.clone());
        assert_eq!(total, left(remaining, reserved));
        let actions = fixture.actions(of_account(party)).await;
        assert_eq!(sums(&actions), left(remaining, reserved), "{actions:#?}");
    }
    let all = fixture.actions(ListBalanceActionsRequest::default()).await;
    assert_eq!(sums(&all), left("100.5", "2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_opening_value_is_an_action_and_none_for_zero() {
    let fixture = BucketFixture::open().await;
    let bucket = fixture.bucket("b", "12.50").await;
    fixture.bucket("empty", "0").await;
    let actions = fixture.actions(ListBalanceActionsRequest::default()).await;
    let [opening] = &actions[..] else {
        panic!("not one action: {actions:#?}");
    };
    assert_eq!(opening.r#type(), BalanceActionType::Opening);
    assert_eq!(opening.status(), BalanceActionStatus::Completed);
    assert_eq!(opening.bucket_id, "b");
    assert_eq!(opening.amount, amount("12.5", "EUR"));
    assert_eq!(opening.request_id, "");
    assert_eq!(opening.requested_date, opening.confirmation_date);
    assert_eq!(
        opening.bucket_deltas,
        [BucketDelta {
            bucket_id: "b".into(),
            remaining_delta: "12.5".into(),
            reserved_delta: "0".into(),
        }]
    );
    assert_eq!(&fixture.action(&opening.id).await, opening);
    assert_eq!(bucket.version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_shows_the_change_of_each_listed_bucket() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("a", "10").await;
    fixture.bucket("b", "0").await;
    let request = TransferBalanceRequest {
        transfer_cost: amount("0.5", "EUR"),
        cost_owner: CostOwner::Receiver.into(),
        ..transfer("a", "b", "4", "t")
    };
    let answer = fixture.client.clone().transfer_balance(request).await;
    let action = answer.expect("transferred").into_inner().balance_action;
    let action = action.expect("set");
    let delta = |bucket: &str, remaining: &str| BucketDelta {
        bucket_id: bucket.into(),
        remaining_delta: remaining.into(),
        reserved_delta: "0".into(),
    };
    let both = [delta("a", "-4"), delta("b", "3.5")];
    assert_eq!(action.bucket_deltas, both);
    assert_eq!(fixture.action(&action.id).await, action);
    for (buckets, expected) in [
        (&["a"][..], &both[..1]),
        (&["b"], &both[1..]),
        (&["b", "a"], &both),
        (&[], &both),
    ] {
        let filter = ListBalanceActionsRequest {
            bucket_ids: buckets.iter().map(|id| (*id).into()).collect(),
            types: vec![BalanceActionType::Transfer.into()],
            ..Default::default()
        };
        let listed = fixture.actions(filter).await;
        assert_eq!(listed.len(), 1, "{buckets:?}");
        assert_eq!(listed[0].bucket_deltas, expected, "{buckets:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_changes_the_deltas_of_the_reserve() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    let request = ReserveBalanceRequest {
        expire_time: Some(in_micros(&fixture.earmark, 1_500_000).await),
        ..reserve("b", "5", "r")
    };
    let held = fixture.reserve(request.clone()).await;
    let delta = |remaining: &str, reserved: &str| BucketDelta {
        bucket_id: "b".into(),
        remaining_delta: remaining.into(),
        reserved_delta: reserved.into(),
    };
    assert_eq!(held.bucket_deltas, [delta("-5", "5")]);
    let part = DeductBalanceRequest {
        reserve_id: Some(held.id.clone()),
        keep_rest: true,
        ..deduct("b", "2", "d")
    };
    let used = fixture.client.clone().deduct_balance(part).await;
    let used = used.expect("deducted").into_inner().balance_action;
    assert_eq!(used.expect("set").bucket_deltas, [delta("0", "-2")]);
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    // What the deduction did not use has returned, by the expiry and not by an action of its own.
    assert_eq!(
        fixture.action(&held.id).await.bucket_deltas,
        [delta("-2", "2")]
    );
    let actions = fixture.actions(of_bucket("b")).await;
    assert_eq!(actions.len(), 3);
    assert_eq!(sums(&actions), left("8", "0"));
    assert_eq!(fixture.values("b").await, left("8", "0"));
    // A replay shows the reserve as it stands now.
    let again = fixture.reserve(request).await;
    assert_eq!(again.bucket_deltas, [delta("-2", "2")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_off_is_a_part_of_the_history() {
    let fixture = BucketFixture::open().await;
    fixture.create(of_party("p", "a", "10", "EUR")).await;
    fixture.create(of_party("p", "b", "3", "EUR")).await;
    let closed = fixture
        .client
        .clone()
        .close_bucket(close("a", true, "k"))
        .await;
    closed.expect("closed");
    let actions = fixture.actions(of_bucket("a")).await;
    assert_eq!(sums(&actions), left("0", "0"), "{actions:#?}");
    let adjustments = ListBalanceActionsRequest {
        types: vec![BalanceActionType::Adjust.into()],
        ..of_account("p")
    };
    assert_eq!(fixture.actions(adjustments).await, actions[1..]);
    assert_eq!(
        sums(&fixture.actions(of_account("p")).await),
        left("3", "0")
    );
}

/// Buckets that many callers create in one batch have one time of creation.
#[tokio::test(flavor = "multi_thread")]
async fn openings_of_one_moment_are_each_listed_once_over_all_pages() {
    let fixture = BucketFixture::open().await;
    let creations = (0..40).map(|number| {
        let fixture = &fixture;
        async move { fixture.create(eur(&number.to_string(), "1")).await }
    });
    futures_util::future::join_all(creations).await;
    let at_once = "UPDATE bucket SET created_at = (SELECT max(created_at) FROM bucket)";
    fixture
        .earmark
        .sql()
        .await
        .batch_execute(at_once)
        .await
        .expect("changed");
    let filter = ListBalanceActionsRequest {
        page_size: 3,
        ..Default::default()
    };
    let actions = fixture.actions(filter).await;
    let mut buckets: Vec<_> = actions.iter().map(|action| &action.bucket_id).collect();
    assert!(actions.is_sorted_by_key(|action| &action.id));
    buckets.sort_unstable();
    buckets.dedup();
    assert_eq!((actions.len(), buckets.len()), (40, 40));
}
