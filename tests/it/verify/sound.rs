//! Sound ledgers have no breaches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use earmark::proto::network::v1::ConnectionMode;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::allocation_fixture::AllocationFixture;
use crate::support::earmark::Earmark;
use crate::support::ledger_dump::assert_sound;
use crate::support::random::Random;
use crate::verify::{LedgerFixture, verify};

#[tokio::test]
async fn an_empty_ledger_is_sound() {
    let earmark = Earmark::start().await;
    let told = verify(&earmark).await;
    told.assert_sound();
    assert_eq!((told.summary.accounts, told.summary.entries), (0, 0));
}

#[tokio::test]
async fn a_ledger_with_every_kind_and_status_of_record_is_sound() {
    let ledger = LedgerFixture::open().await;
    let told = verify(&ledger.fixture.earmark).await;
    told.assert_sound();
    let count = async |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        ledger.fixture.earmark.count(&sql).await
    };
    assert_eq!(told.summary.accounts, count("account").await);
    assert_eq!(told.summary.entries, count("entry").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_during_writes_reports_no_breach() {
    let fixture = Arc::new(AllocationFixture::open(ConnectionMode::Confirmed).await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..20 {
        let (fixture, stop) = (Arc::clone(&fixture), Arc::clone(&stop));
        writers.spawn(async move {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                let key = format!("{writer}-{written}");
                if written % 3 == 2 {
                    let enterprise = &fixture.parties.enterprise;
                    fixture.earmark.deposit(enterprise, "ETH", "7").await;
                } else {
                    let held = fixture.allocate("1", &key).await;
                    match written % 3 {
                        0 => drop(fixture.release(&held.id).await),
                        _ => drop(fixture.cancel(&held.id).await),
                    }
                }
                written += 1;
            }
            written
        });
    }
    let mut entries = Vec::new();
    for _ in 0..5 {
        let told = verify(&fixture.earmark).await;
        told.assert_sound();
        entries.push(told.summary.entries);
    }
    stop.store(true, Ordering::Relaxed);
    let written: usize = writers.join_all().await.into_iter().sum();
    assert!(written > 20);
    assert!(
        entries.is_sorted_by(|a, b| a < b),
        "they wrote meanwhile: {entries:?}"
    );
    verify(&fixture.earmark).await.assert_sound();
}

#[tokio::test]
async fn sql_and_invariant_functions_agree_that_the_ledger_is_sound() {
    let seed = Uuid::new_v4().as_u64_pair().1;
    eprintln!("seed {seed}");
    let mut random = Random::new(seed);
    for mode in [ConnectionMode::Confirmed, ConnectionMode::Instant] {
        let fixture = AllocationFixture::open(mode).await;
        let mut open = Vec::new();
        for step in 0..150 {
            let key = format!("key {step}");
            let quantity = random.number(1..40).to_string();
            match random.number(0..8) {
                0 => {
                    let enterprise = &fixture.parties.enterprise;
                    let unit = ["BTC", "ETH"][random.number(0..2)];
                    fixture.earmark.deposit(enterprise, unit, &quantity).await;
                }
                1..4 => {
                    let mut request = fixture.parties.allocation("BTC", &quantity, &key);
                    if mode == ConnectionMode::Confirmed && random.one_in(4) {
                        request.expire_time = Some(fixture.in_millis(5).await);
                    }
                    let answer = fixture.client.clone().create_allocation(request).await;
                    // An insufficient balance is a valid answer too.
                    open.extend(
                        answer
                            .ok()
                            .and_then(|answer| answer.into_inner().allocation),
                    );
                }
                4 => {
                    let request = fixture.parties.deallocation("BTC", &quantity, &key);
                    let answer = fixture.client.clone().create_deallocation(request).await;
                    open.extend(
                        answer
                            .ok()
                            .and_then(|answer| answer.into_inner().allocation),
                    );
                }
                verdict if !open.is_empty() => {
                    let allocation = open.swap_remove(random.number(0..open.len()));
                    let (mut partner, mut client) =
                        (fixture.partner.clone(), fixture.client.clone());
                    // It may have been final, or expired: whatever is answered, the ledger stays sound.
                    match verdict {
                        5 => drop(
                            partner
                                .clear_allocation(fixture.parties.clear(&allocation.id))
                                .await,
                        ),
                        6 => drop(
                            partner
                                .release_allocation(fixture.parties.release(&allocation.id))
                                .await,
                        ),
                        _ => drop(
                            client
                                .cancel_allocation(fixture.parties.cancel(&allocation.id))
                                .await,
                        ),
                    }
                }
                _ => {}
            }
        }
        let told = verify(&fixture.earmark).await;
        told.assert_sound();
        let dump = assert_sound(&fixture.earmark).await;
        assert!(dump.allocations.len() > 20, "much was written");
    }
}
