use std::time::Duration;

use earmark::proto::bucket::v1::{
    BalanceAction, BalanceActionStatus, BalanceActionType, Bucket, BucketStatus,
    DeductBalanceRequest, GetAccumulatedBalanceRequest, ListBalanceActionsRequest,
    ListBucketsRequest, PartyAccountRef, ReserveBalanceRequest, TimePeriod, UpdateBucketRequest,
};
use tonic::Code;

use crate::support::allocation_fixture::in_micros;
use crate::support::bucket_fixture::{
    BucketFixture, amount, deduct, eur, left, reserve, topup, transfer, unreserve, values,
};
use crate::support::earmark::refusal;
use crate::support::locks;

/// A bucket of 10 EUR with a reserve of 4 that ends after so many microseconds.
async fn with_reserve(fixture: &BucketFixture, id: &str, micros: i64) -> BalanceAction {
    let bucket = Bucket {
        party_account: Some(PartyAccountRef {
            id: "party".into(),
            ..Default::default()
        }),
        ..eur(id, "10")
    };
    fixture.create(bucket).await;
    // On a busy machine the time may be over before the call is there: what was refused left no key.
    for micros in [micros, 4 * micros, 16 * micros] {
        let request = ReserveBalanceRequest {
            expire_time: Some(in_micros(&fixture.earmark, micros).await),
            ..reserve(id, "4", "r")
        };
        match fixture.client.clone().reserve_balance(request).await {
            Ok(answer) => return answer.into_inner().balance_action.expect("set"),
            Err(status) => refusal(Err::<(), _>(status)).expect_invalid(&["expire_time"]),
        };
    }
    panic!("too late every time");
}

/// Waits, by the database's clock, until the reserve is due.
async fn due(fixture: &BucketFixture, held: &BalanceAction) {
    let time = held.expire_time.expect("set");
    let sql = format!(
        "SELECT count(*) FROM pg_sleep_until(to_timestamp({}) + {} * interval '1 microsecond')",
        time.seconds,
        time.nanos / 1_000
    );
    fixture.earmark.count(&sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_shows_a_due_reserve_as_open() {
    let fixture = BucketFixture::open().await;
    let mut client = fixture.client.clone();
    for round in 0..5 {
        let id = format!("get {round}");
        let held = with_reserve(&fixture, &id, 150_000).await;
        due(&fixture, &held).await;
        assert_eq!(fixture.values(&id).await, left("10", "0"));

        let id = format!("list {round}");
        let held = with_reserve(&fixture, &id, 150_000).await;
        due(&fixture, &held).await;
        let listed = fixture.list(ListBucketsRequest::default()).await;
        for bucket in &listed.buckets {
            assert_eq!(values(bucket), left("10", "0"));
        }

        let held = with_reserve(&fixture, &format!("sum {round}"), 150_000).await;
        due(&fixture, &held).await;
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

        let held = with_reserve(&fixture, &format!("action {round}"), 150_000).await;
        due(&fixture, &held).await;
        let closed = fixture.action(&held.id).await;
        assert_eq!(closed.status(), BalanceActionStatus::Cancelled);
        assert_eq!(closed.remaining_amount, amount("0", "EUR"));

        let held = with_reserve(&fixture, &format!("actions {round}"), 150_000).await;
        due(&fixture, &held).await;
        let request = ListBalanceActionsRequest {
            page_size: 500,
            ..Default::default()
        };
        let listed = client.list_balance_actions(request).await.expect("listed");
        let listed = listed.into_inner().balance_actions;
        let is_reserve = |action: &&BalanceAction| action.r#type() == BalanceActionType::Reserve;
        for action in listed.iter().filter(is_reserve) {
            assert_eq!(action.status(), BalanceActionStatus::Cancelled);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_reserve_cannot_be_used() {
    let fixture = BucketFixture::open().await;
    let held = with_reserve(&fixture, "b", 150_000).await;
    due(&fixture, &held).await;
    let mut client = fixture.client.clone();
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
    // The value that it held is available at once.
    let all = client.deduct_balance(deduct("b", "10", "all")).await;
    all.expect("deducted");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_expires_due_reserves() {
    let fixture = BucketFixture::open().await;
    with_reserve(&fixture, "b", 100_000).await;
    let sql = "SELECT count(*) FROM bucket_action WHERE status = 'CREATED'";
    let given_back = async {
        while fixture.earmark.count(sql).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // Two seconds, and what a busy machine adds.
    let in_time = tokio::time::timeout(Duration::from_secs(5), given_back);
    in_time.await.expect("swept");
}

#[tokio::test(flavor = "multi_thread")]
async fn expire_time_of_a_reserve_is_within_366_days() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    let mut client = fixture.client.clone();
    let mut until = async |micros: i64| {
        let request = ReserveBalanceRequest {
            expire_time: Some(in_micros(&fixture.earmark, micros).await),
            ..reserve("b", "1", &format!("{micros}"))
        };
        client.reserve_balance(request).await
    };
    const DAY: i64 = 86_400_000_000;
    for micros in [-1, 366 * DAY + 60_000_000] {
        refusal(until(micros).await).expect_invalid(&["expire_time"]);
    }
    until(366 * DAY - 60_000_000).await.expect("reserved");
    assert_eq!(fixture.values("b").await, left("9", "1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_expires_by_the_databases_clock() {
    let fixture = BucketFixture::open().await;
    let end = in_micros(&fixture.earmark, 2_000_000).await;
    let bucket = Bucket {
        valid_for: Some(TimePeriod {
            start_date_time: None,
            end_date_time: Some(end),
        }),
        ..eur("b", "10")
    };
    assert_eq!(fixture.create(bucket).await.status(), BucketStatus::Active);
    fixture.bucket("other", "0").await;
    let held = fixture.reserve(reserve("b", "4", "r")).await;
    let of = |status: BucketStatus| ListBucketsRequest {
        status: status.into(),
        ..Default::default()
    };
    assert_eq!(fixture.ids(of(BucketStatus::Active)).await, ["b", "other"]);
    let sql = format!(
        "SELECT count(*) FROM pg_sleep_until(to_timestamp({}) + {} * interval '1 microsecond')",
        end.seconds,
        end.nanos / 1_000 + 1
    );
    fixture.earmark.count(&sql).await;

    assert_eq!(fixture.get("b").await.status(), BucketStatus::Expired);
    assert_eq!(fixture.ids(of(BucketStatus::Expired)).await, ["b"]);
    assert_eq!(fixture.ids(of(BucketStatus::Active)).await, ["other"]);
    let mut client = fixture.client.clone();
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
    // A reserve made in time stays usable.
    let from_reserve = DeductBalanceRequest {
        reserve_id: Some(held.id),
        ..deduct("b", "1", "d")
    };
    client.deduct_balance(from_reserve).await.expect("deducted");
    assert_eq!(fixture.values("b").await, left("9", "0"));

    // A later end makes it usable again.
    let request = UpdateBucketRequest {
        bucket_id: "b".into(),
        valid_for: Some(TimePeriod::default()),
        ..Default::default()
    };
    let updated = client.update_bucket(request).await.expect("updated");
    let updated = updated.into_inner().bucket.expect("set");
    assert_eq!(updated.status(), BucketStatus::Active);
    fixture.topup(topup("b", "1", "k")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_not_usable_before_it_is_valid() {
    let fixture = BucketFixture::open().await;
    let start = in_micros(&fixture.earmark, 2_000_000).await;
    let bucket = Bucket {
        valid_for: Some(TimePeriod {
            start_date_time: Some(start),
            end_date_time: None,
        }),
        ..eur("b", "10")
    };
    fixture.create(bucket).await;
    let mut client = fixture.client.clone();
    let refused = refusal(client.deduct_balance(deduct("b", "1", "d")).await);
    let refused = refused.expect(Code::FailedPrecondition, "BUCKET_NOT_USABLE");
    assert_eq!(refused.metadata["status"], "ACTIVE");
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    client
        .deduct_balance(deduct("b", "1", "d"))
        .await
        .expect("deducted");
}

/// A bucket that another session has locked delays reads of itself only, and only if a reserve is due.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_bucket_does_not_delay_reads_of_other_buckets() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("free", "10").await;
    let held = with_reserve(&fixture, "b", 100_000).await;
    let sql = "SELECT owner_id::text FROM bucket WHERE id = 'b'";
    let row = fixture.earmark.sql().await.query_one(sql, &[]).await;
    let owner: String = row.expect("there").get(0);
    let holder = locks::hold_owner(&fixture.earmark.url, &owner).await;
    due(&fixture, &held).await;
    // Whoever waits for the other session does so for five seconds.
    let free = tokio::time::timeout(Duration::from_secs(3), fixture.values("free"));
    assert_eq!(free.await.expect("waits for nobody"), left("10", "0"));
    drop(holder);
    assert_eq!(fixture.values("b").await, left("10", "0"));
}
