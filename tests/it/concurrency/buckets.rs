//! Concurrent charging of one bucket through two servers: no overdraft, and calls share transactions.

use earmark::proto::bucket::v1::DeductBalanceRequest;
use futures_util::future::join_all;
use tonic::Code;

use crate::support::bucket_fixture::{BucketFixture, deduct, left, reserve, transfer};
use crate::support::earmark::{Earmark, Setup, refusal};
use crate::support::ledger_dump::assert_sound;
use crate::support::random::Random;

const CLIENTS: usize = 64;
const CHARGES: usize = 12;

/// What one client deducted, reserved and was refused, in whole EUR.
#[derive(Default)]
struct Tally {
    deducted: usize,
    held: usize,
    refused: usize,
}

/// Asserts that actions shared transactions: entries of one transaction have the same `xmin`.
async fn actions_shared_transactions(earmark: &Earmark) {
    let sql = "SELECT max(movements) FROM (
            SELECT count(DISTINCT (cause, cause_id)) AS movements FROM entry GROUP BY xmin::text) x";
    let largest = earmark.count(sql).await;
    let movements = earmark.count("SELECT count(*) FROM bucket_action").await;
    let transactions = earmark
        .count("SELECT count(DISTINCT xmin::text) FROM entry")
        .await;
    eprintln!("{movements} actions in {transactions} transactions, {largest} in the largest");
    assert!(largest > 4, "{largest}");
    assert!(
        transactions * 2 < movements,
        "{transactions} for {movements}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_reserves_and_deductions_never_overdraw_a_bucket_and_share_transactions() {
    let fixture = BucketFixture::open().await;
    let other = Earmark::start_on(&fixture.earmark.url, Setup::default()).await;
    let clients = [
        fixture.client.clone(),
        BucketFixture::client(&other, fixture.tenant),
    ];
    fixture.bucket("shared", "400").await;
    let work = (0..CLIENTS).map(|number| {
        let mut client = clients[number % 2].clone();
        async move {
            let mut random = Random::new(number as u64);
            let mut tally = Tally::default();
            for charge in 0..CHARGES {
                let key = format!("{number}-{charge}");
                let wanted = random.number(1..4);
                let amount = wanted.to_string();
                if random.one_in(3) {
                    match client.deduct_balance(deduct("shared", &amount, &key)).await {
                        Ok(_) => tally.deducted += wanted,
                        Err(status) => tally.refuse(status, wanted),
                    }
                    continue;
                }
                let reserved = client
                    .reserve_balance(reserve("shared", &amount, &key))
                    .await;
                let reserved = match reserved {
                    Ok(answer) => answer.into_inner().balance_action.expect("set"),
                    Err(status) => {
                        tally.refuse(status, wanted);
                        continue;
                    }
                };
                // Some reserves stay open, some keep the rest, some return it.
                let kept = random.number(0..3);
                if kept == 0 {
                    tally.held += wanted;
                    continue;
                }
                let part = DeductBalanceRequest {
                    reserve_id: Some(reserved.id),
                    keep_rest: kept == 1,
                    ..deduct("shared", "1", &key)
                };
                client.deduct_balance(part).await.expect("it is held");
                tally.deducted += 1;
                if kept == 1 {
                    tally.held += wanted - 1;
                }
            }
            tally
        }
    });
    let tallies = join_all(work.map(tokio::spawn)).await;
    let mut all = Tally::default();
    for tally in tallies {
        let tally = tally.expect("no panic");
        all.deducted += tally.deducted;
        all.held += tally.held;
        all.refused += tally.refused;
    }
    assert!(all.refused > 0, "more was asked for than there was");
    let available = 400 - all.deducted - all.held;
    let expected = left(&available.to_string(), &all.held.to_string());
    assert_eq!(fixture.values("shared").await, expected);
    assert_sound(&fixture.earmark).await;

    actions_shared_transactions(&fixture.earmark).await;
}

impl Tally {
    /// Asserts that the refusal is an insufficient balance and reports less than was wanted.
    fn refuse(&mut self, status: tonic::Status, wanted: usize) {
        let refused = refusal::<()>(Err(status));
        let refused = refused.expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
        let available: usize = refused.metadata["available"].parse().expect("whole");
        assert!(available < wanted);
        assert_eq!(refused.metadata["requested"], wanted.to_string());
        self.refused += 1;
    }
}

/// Transfers in both directions of a ring: each locks two buckets, in either order of their ids.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_opposite_transfers_all_succeed() {
    let fixture = BucketFixture::open().await;
    let other = Earmark::start_on(&fixture.earmark.url, Setup::default()).await;
    let clients = [
        fixture.client.clone(),
        BucketFixture::client(&other, fixture.tenant),
    ];
    const BUCKETS: usize = 5;
    for number in 0..BUCKETS {
        fixture.bucket(&number.to_string(), "100").await;
    }
    let work = (0..40).map(|number| {
        let mut client = clients[number % 2].clone();
        async move {
            let mut random = Random::new(number as u64);
            for gift in 0..8 {
                let from = random.number(0..BUCKETS);
                let to = (from + random.number(1..BUCKETS)) % BUCKETS;
                let (from, to) = (from.to_string(), to.to_string());
                let request = transfer(&from, &to, "0.25", &format!("{number}-{gift}"));
                client.transfer_balance(request).await.expect("given");
            }
        }
    });
    for worker in join_all(work.map(tokio::spawn)).await {
        worker.expect("no panic");
    }
    let sum = "SELECT sum(available)::bigint FROM account
        WHERE account_id = '00000000-0000-0000-0000-000000000001'";
    assert_eq!(fixture.earmark.count(sum).await, 500);
    assert_eq!(
        fixture
            .earmark
            .count("SELECT count(*) FROM bucket_action")
            .await,
        320
    );
    assert_sound(&fixture.earmark).await;
}
