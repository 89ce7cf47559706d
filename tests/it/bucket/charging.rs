//! Concurrent charging of one bucket.

use std::collections::BTreeMap;
use std::sync::Arc;

use earmark::proto::bucket::v1::{
    BalanceActionStatus, Bucket, DeductBalanceRequest, ListBalanceActionsRequest,
};
use futures_util::future::join_all;
use tonic::Code;

use crate::support::bucket_fixture::{
    BucketFixture, adjust, deduct, left, reserve, transfer, unreserve, values,
};
use crate::support::earmark::{Earmark, Setup, refusal};
use crate::support::random::Random;

const CLIENTS: usize = 64;
const ROUNDS: usize = 12;

/// What one client got, in cents of the shared bucket.
#[derive(Debug, Default)]
struct Got {
    deducted: i64,
    refused: usize,
    open: Vec<(String, i64)>,
}

/// Reserves, deducts and unreserves at random; each answer's values must be possible.
async fn charge(fixture: Arc<BucketFixture>, number: usize) -> Got {
    let mut client = BucketFixture::client(&fixture.earmark, fixture.tenant);
    let mut random = Random::new(number as u64);
    let mut got = Got::default();
    for round in 0..ROUNDS {
        let key = format!("{number}/{round}");
        let cents = i64::try_from(random.number(1..400)).expect("small");
        let of = format!("{}.{:02}", cents / 100, cents % 100);
        let reserve_first = random.number(0..3) > 0;
        if !reserve_first {
            match client.deduct_balance(deduct("shared", &of, &key)).await {
                Ok(answer) => {
                    got.deducted += cents;
                    assert_possible(answer.into_inner().bucket);
                }
                Err(status) => refused(&mut got, status),
            }
            continue;
        }
        let held = match client.reserve_balance(reserve("shared", &of, &key)).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                assert_possible(answer.bucket);
                answer.balance_action.expect("set").id
            }
            Err(status) => {
                refused(&mut got, status);
                continue;
            }
        };
        match random.number(0..4) {
            0 => got.open.push((held, cents)),
            1 => {
                let given = client
                    .unreserve_balance(unreserve("shared", &held, &key))
                    .await;
                assert_possible(given.expect("given back").into_inner().bucket);
            }
            kind => {
                let used = cents.div_euclid(2).max(1);
                let request = DeductBalanceRequest {
                    reserve_id: Some(held.clone()),
                    keep_rest: kind == 2,
                    ..deduct("shared", &format!("{}.{:02}", used / 100, used % 100), &key)
                };
                let answer = client.deduct_balance(request.clone()).await;
                let answer = answer.expect("deducted").into_inner();
                assert_possible(answer.bucket.clone());
                // The repeated call is a replay.
                let again = client.deduct_balance(request).await.expect("replayed");
                assert_eq!(again.into_inner().balance_action, answer.balance_action);
                got.deducted += used;
                if kind == 2 && cents > used {
                    got.open.push((held, cents - used));
                }
            }
        }
    }
    got
}

#[track_caller]
fn assert_possible(bucket: Option<Bucket>) {
    let (remaining, reserved) = values(&bucket.expect("set"));
    for value in [cents(&remaining), cents(&reserved)] {
        assert!((0..=TOTAL).contains(&value), "{remaining} {reserved}");
    }
}

#[track_caller]
fn refused(got: &mut Got, status: tonic::Status) {
    let refused = refusal::<()>(Err(status));
    let refused = refused.expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
    let metadata = &refused.metadata;
    assert!(cents(&metadata["available"]) < cents(&metadata["requested"]));
    got.refused += 1;
}

/// An amount in hundredths, all that this test moves.
#[track_caller]
fn cents(amount: &str) -> i64 {
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    format!("{whole}{fraction:0<2}")
        .parse()
        .expect("hundredths")
}

/// What is in the shared bucket at first: less than all clients ask for.
const TOTAL: i64 = 50_000;

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_clients_never_overdraw_a_bucket() {
    let fixture = Arc::new(BucketFixture::open().await);
    fixture.bucket("shared", "500").await;
    let clients = (0..CLIENTS).map(|number| tokio::spawn(charge(Arc::clone(&fixture), number)));
    let got: Vec<Got> = join_all(clients)
        .await
        .into_iter()
        .map(|got| got.expect("no panic"))
        .collect();

    let deducted: i64 = got.iter().map(|got| got.deducted).sum();
    let refused: usize = got.iter().map(|got| got.refused).sum();
    let open: BTreeMap<_, _> = got.into_iter().flat_map(|got| got.open).collect();
    let held: i64 = open.values().sum();
    let (remaining, reserved) = fixture.values("shared").await;
    assert_eq!(cents(&reserved), held);
    assert_eq!(cents(&remaining), TOTAL - deducted - held);
    assert!(refused > 0, "there was enough for everybody");
    assert!(deducted > TOTAL / 4, "{deducted}");

    for (id, cents_left) in open {
        let action = fixture.action(&id).await;
        assert_eq!(action.status(), BalanceActionStatus::Created);
        let remaining = action.remaining_amount.expect("set").amount;
        assert_eq!(cents(&remaining), cents_left);
    }
    assert_sound(&fixture.earmark).await;
}

/// Asserts that VerifyLedger reports no breach.
async fn assert_sound(earmark: &Earmark) {
    use earmark::proto::balance::v1::VerifyLedgerRequest;
    use earmark::proto::balance::v1::verify_ledger_response::Event;

    let mut admin = earmark.admin().balance;
    let answers = admin.verify_ledger(VerifyLedgerRequest {}).await;
    let mut answers = answers.expect("a stream").into_inner();
    let mut is_done = false;
    while let Some(answer) = answers.message().await.expect("an event") {
        match answer.event {
            Some(Event::Summary(summary)) => {
                assert_eq!(summary.breaches, 0);
                is_done = true;
            }
            Some(Event::Breach(breach)) => panic!("{breach:?}"),
            _ => {}
        }
    }
    assert!(is_done);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_transfers_in_a_ring_keep_the_total() {
    let fixture = Arc::new(BucketFixture::open().await);
    let ring = 8;
    for number in 0..ring {
        fixture.bucket(&number.to_string(), "10").await;
    }
    let moves = (0..CLIENTS).map(|number| {
        let fixture = Arc::clone(&fixture);
        tokio::spawn(async move {
            let mut client = BucketFixture::client(&fixture.earmark, fixture.tenant);
            for round in 0..8 {
                // Half of the transfers go each way, so each pair of buckets is locked from both sides.
                let step = if number % 2 == 0 { 1 } else { ring - 1 };
                let from = (number + round) % ring;
                let to = ((from + step) % ring).to_string();
                let request = transfer(&from.to_string(), &to, "3.5", &format!("{number}/{round}"));
                if let Err(status) = client.transfer_balance(request).await {
                    let refused = refusal::<()>(Err(status));
                    refused.expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
                }
            }
        })
    });
    for moved in join_all(moves).await {
        moved.expect("no panic");
    }
    let mut total = 0;
    for number in 0..ring {
        let (remaining, reserved) = fixture.values(&number.to_string()).await;
        assert_eq!(reserved, "0");
        total += cents(&remaining);
    }
    assert_eq!(total, 8_000);
    assert_sound(&fixture.earmark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_charging_one_bucket_never_overdraw_it() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("shared", "100").await;
    let other = Earmark::start_on(&fixture.earmark.url, Setup::default()).await;
    let work = (0..40).map(|number: usize| {
        let earmark = if number.is_multiple_of(2) {
            &fixture.earmark
        } else {
            &other
        };
        let mut client = BucketFixture::client(earmark, fixture.tenant);
        async move {
            // The same key in both processes.
            let key = format!("{}", number / 2);
            client.adjust_balance(adjust("shared", "-3", &key)).await
        }
    });
    let answers = join_all(work).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(fixture.values("shared").await, left("40", "0"));
    let request = ListBalanceActionsRequest {
        bucket_ids: vec!["shared".into()],
        ..Default::default()
    };
    let mut client = BucketFixture::client(&other, fixture.tenant);
    let listed = client.list_balance_actions(request).await.expect("listed");
    // With the opening.
    assert_eq!(listed.into_inner().balance_actions.len(), 20 + 1);
}
