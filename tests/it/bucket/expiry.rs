use std::time::Duration;

use earmark::proto::bucket::v1::{
    BalanceAction, BalanceActionStatus, Bucket, BucketStatus, DeductBalanceRequest,
    GetAccumulatedBalanceRequest, ListBalanceActionsRequest, ListBucketsRequest, PartyAccountRef,
    ReserveBalanceRequest, TimePeriod, UpdateBucketRequest,
};
use tonic::Code;

use crate::support::desk::in_micros;
use crate::support::earmark::refusal;
use crate::support::locks;
use crate::support::till::{
    Till, amount, deduct, eur, left, reserve, topup, transfer, unreserve, values,
};

/// A bucket of 10 EUR with a reserve of 4 that ends after so many microseconds.
async fn with_reserve(till: &Till, id: &str, micros: i64) -> BalanceAction {
    let bucket = Bucket {
        party_account: Some(PartyAccountRef {
            id: "party".into(),
            ..Default::default()
        }),
        ..eur(id, "10")
    };
    till.create(bucket).await;
    // On a busy machine the time may be over before the call is there: what was refused left no key.
    for micros in [micros, 4 * micros, 16 * micros] {
        let request = ReserveBalanceRequest {
            expire_time: Some(in_micros(&till.earmark, micros).await),
            ..reserve(id, "4", "r")
        };
        match till.client.clone().reserve_balance(request).await {
            Ok(answer) => return answer.into_inner().balance_action.expect("set"),
            Err(status) => refusal(Err::<(), _>(status)).expect_invalid(&["expire_time"]),
        };
    }
    panic!("too late every time");
}

/// Waits, by the database's clock, until the reserve is due.
async fn due(till: &Till, held: &BalanceAction) {
    let time = held.expire_time.expect("set");
    let sql = format!(
        "SELECT count(*) FROM pg_sleep_until(to_timestamp({}) + {} * interval '1 microsecond')",
        time.seconds,
        time.nanos / 1_000
    );
    till.earmark.count(&sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_shows_a_due_reserve_as_open() {
    let till = Till::open().await;
    let mut client = till.client.clone();
    for round in 0..5 {
        let id = format!("get {round}");
        let held = with_reserve(&till, &id, 150_000).await;
        due(&till, &held).await;
        assert_eq!(till.values(&id).await, left("10", "0"));

        let id = format!("list {round}");
        let held = with_reserve(&till, &id, 150_000).await;
        due(&till, &held).await;
        let listed = till.list(ListBucketsRequest::default()).await;
        for bucket in &listed.buckets {
            assert_eq!(values(bucket), left("10", "0"));
        }

        let held = with_reserve(&till, &format!("sum {round}"), 150_000).await;
        due(&till, &held).await;
        let request = GetAccumulatedBalanceRequest {
            party_account_id: "party".into(),
            ..Default::default()
        };
        let sum = client
            .get_accumulated_balance(request)
            .await
            .expect("there");
        let sum = sum.into_inner().accumulated_balances.remove(0);
        assert_eq!(sum.available, (10 * sum.bucket_count).to_string());
        assert_eq!(sum.reserved, "0");

        let held = with_reserve(&till, &format!("action {round}"), 150_000).await;
        due(&till, &held).await;
        let closed = till.action(&held.id).await;
        assert_eq!(closed.status(), BalanceActionStatus::Cancelled);
        assert_eq!(closed.remaining_amount, amount("0", "EUR"));

        let held = with_reserve(&till, &format!("actions {round}"), 150_000).await;
        due(&till, &held).await;
        let request = ListBalanceActionsRequest {
            page_size: 500,
            ..Default::default()
        };
        let listed = client.list_balance_actions(request).await.expect("listed");
        for action in listed.into_inner().balance_actions {
            assert_eq!(action.status(), BalanceActionStatus::Cancelled);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserve_that_is_due_cannot_be_used_any_more() {
    let till = Till::open().await;
    let held = with_reserve(&till, "b", 150_000).await;
    due(&till, &held).await;
    let mut client = till.client.clone();
    let from_reserve = DeductBalanceRequest {
        reserve_id: Some(held.id.clone()),
        ..deduct("b", "1", "d")
    };
    let refused = refusal(client.deduct_balance(from_reserve).await);
    let refused = refused.expect(Code::FailedPrecondition, "ALREADY_TERMINAL");
    assert_eq!(refused.metadata["status"], "CANCELLED");
    let refused = client
        .unreserve_balance(unreserve("b", &held.id, "u"))
        .await;
    refusal(refused).expect(Code::FailedPrecondition, "ALREADY_TERMINAL");
    // What it held can be used at once.
    let all = client.deduct_balance(deduct("b", "10", "all")).await;
    all.expect("deducted");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_gives_back_what_nobody_asks_for() {
    let till = Till::open().await;
    with_reserve(&till, "b", 100_000).await;
    let sql = "SELECT count(*) FROM bucket_action WHERE status = 'CREATED'";
    let given_back = async {
        while till.earmark.count(sql).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // Two seconds, and what a busy machine adds.
    let in_time = tokio::time::timeout(Duration::from_secs(5), given_back);
    in_time.await.expect("swept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserve_ends_within_a_year_and_a_day() {
    let till = Till::open().await;
    till.bucket("b", "10").await;
    let mut client = till.client.clone();
    let mut until = async |micros: i64| {
        let request = ReserveBalanceRequest {
            expire_time: Some(in_micros(&till.earmark, micros).await),
            ..reserve("b", "1", &format!("{micros}"))
        };
        client.reserve_balance(request).await
    };
    const DAY: i64 = 86_400_000_000;
    for micros in [-1, 366 * DAY + 60_000_000] {
        refusal(until(micros).await).expect_invalid(&["expire_time"]);
    }
    until(366 * DAY - 60_000_000).await.expect("reserved");
    assert_eq!(till.values("b").await, left("9", "1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_expires_by_the_databases_clock() {
    let till = Till::open().await;
    let end = in_micros(&till.earmark, 300_000).await;
    let bucket = Bucket {
        valid_for: Some(TimePeriod {
            start_date_time: None,
            end_date_time: Some(end),
        }),
        ..eur("b", "10")
    };
    assert_eq!(till.create(bucket).await.status(), BucketStatus::Active);
    till.bucket("other", "0").await;
    let held = till.reserve(reserve("b", "4", "r")).await;
    let of = |status: BucketStatus| ListBucketsRequest {
        status: status.into(),
        ..Default::default()
    };
    assert_eq!(till.ids(of(BucketStatus::Active)).await, ["b", "other"]);
    let sql = format!(
        "SELECT count(*) FROM pg_sleep_until(to_timestamp({}) + {} * interval '1 microsecond')",
        end.seconds,
        end.nanos / 1_000 + 1
    );
    till.earmark.count(&sql).await;

    assert_eq!(till.get("b").await.status(), BucketStatus::Expired);
    assert_eq!(till.ids(of(BucketStatus::Expired)).await, ["b"]);
    assert_eq!(till.ids(of(BucketStatus::Active)).await, ["other"]);
    let mut client = till.client.clone();
    let refused = [
        refusal(client.topup_balance(topup("b", "1", "k")).await),
        refusal(client.deduct_balance(deduct("b", "1", "k")).await),
        refusal(
            client
                .transfer_balance(transfer("b", "other", "1", "k"))
                .await,
        ),
        refusal(
            client
                .transfer_balance(transfer("other", "b", "1", "k"))
                .await,
        ),
    ];
    for refused in refused {
        let refused = refused.expect(Code::FailedPrecondition, "BUCKET_NOT_USABLE");
        assert_eq!(refused.metadata["status"], "EXPIRED");
    }
    // What was set aside in time can be used.
    let from_reserve = DeductBalanceRequest {
        reserve_id: Some(held.id),
        ..deduct("b", "1", "d")
    };
    client.deduct_balance(from_reserve).await.expect("deducted");
    assert_eq!(till.values("b").await, left("9", "0"));

    // A later end makes it usable again.
    let request = UpdateBucketRequest {
        bucket_id: "b".into(),
        valid_for: Some(TimePeriod::default()),
        ..Default::default()
    };
    let updated = client.update_bucket(request).await.expect("updated");
    let updated = updated.into_inner().bucket.expect("set");
    assert_eq!(updated.status(), BucketStatus::Active);
    till.topup(topup("b", "1", "k")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_not_usable_before_it_is_valid() {
    let till = Till::open().await;
    let start = in_micros(&till.earmark, 2_000_000).await;
    let bucket = Bucket {
        valid_for: Some(TimePeriod {
            start_date_time: Some(start),
            end_date_time: None,
        }),
        ..eur("b", "10")
    };
    till.create(bucket).await;
    let mut client = till.client.clone();
    let refused = refusal(client.deduct_balance(deduct("b", "1", "d")).await);
    let refused = refused.expect(Code::FailedPrecondition, "BUCKET_NOT_USABLE");
    assert_eq!(refused.metadata["status"], "ACTIVE");
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    client
        .deduct_balance(deduct("b", "1", "d"))
        .await
        .expect("deducted");
}

/// A bucket that another session holds delays the reads of nothing but itself, and of it only if something was due.
#[tokio::test(flavor = "multi_thread")]
async fn a_held_bucket_delays_no_read_of_others() {
    let till = Till::open().await;
    till.bucket("free", "10").await;
    let held = with_reserve(&till, "b", 100_000).await;
    let sql = "SELECT owner_id::text FROM bucket WHERE id = 'b'";
    let row = till.earmark.sql().await.query_one(sql, &[]).await;
    let owner: String = row.expect("there").get(0);
    let holder = locks::hold_owner(&till.earmark.url, &owner).await;
    due(&till, &held).await;
    // Whoever waits for the other session does so for five seconds.
    let free = tokio::time::timeout(Duration::from_secs(3), till.values("free"));
    assert_eq!(free.await.expect("waits for nobody"), left("10", "0"));
    drop(holder);
    assert_eq!(till.values("b").await, left("10", "0"));
}
