//! Sound ledgers: nothing is said of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use earmark::proto::network::v1::ConnectionMode;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::support::chance::Chance;
use crate::support::desk::Desk;
use crate::support::earmark::Earmark;
use crate::support::picture::assert_sound;
use crate::verify::{Office, verify};

#[tokio::test]
async fn an_empty_ledger_is_sound() {
    let earmark = Earmark::start().await;
    let told = verify(&earmark).await;
    told.assert_sound();
    assert_eq!((told.summary.accounts, told.summary.entries), (0, 0));
}

#[tokio::test]
async fn records_of_every_kind_and_fate_are_sound() {
    let office = Office::open().await;
    let told = verify(&office.desk.earmark).await;
    told.assert_sound();
    let count = async |table: &str| {
        let sql = format!("SELECT count(*) FROM {table}");
        office.desk.earmark.count(&sql).await
    };
    assert_eq!(told.summary.accounts, count("account").await);
    assert_eq!(told.summary.entries, count("entry").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_go_on_and_cause_no_breach() {
    let desk = Arc::new(Desk::open(ConnectionMode::Confirmed).await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..20 {
        let (desk, stop) = (Arc::clone(&desk), Arc::clone(&stop));
        writers.spawn(async move {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                let key = format!("{writer}-{written}");
                if written % 3 == 2 {
                    let enterprise = &desk.parties.enterprise;
                    desk.earmark.deposit(enterprise, "ETH", "7").await;
                } else {
                    let held = desk.allocate("1", &key).await;
                    match written % 3 {
                        0 => drop(desk.release(&held.id).await),
                        _ => drop(desk.cancel(&held.id).await),
                    }
                }
                written += 1;
            }
            written
        });
    }
    let mut entries = Vec::new();
    for _ in 0..5 {
        let told = verify(&desk.earmark).await;
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
    verify(&desk.earmark).await.assert_sound();
}

#[tokio::test]
async fn what_the_server_writes_is_sound_by_both_ways_to_look() {
    let seed = Uuid::new_v4().as_u64_pair().1;
    eprintln!("seed {seed}");
    let mut chance = Chance::new(seed);
    for mode in [ConnectionMode::Confirmed, ConnectionMode::Instant] {
        let desk = Desk::open(mode).await;
        let mut open = Vec::new();
        for step in 0..150 {
            let key = format!("key {step}");
            let quantity = chance.number(1..40).to_string();
            match chance.number(0..8) {
                0 => {
                    let enterprise = &desk.parties.enterprise;
                    let unit = ["BTC", "ETH"][chance.number(0..2)];
                    desk.earmark.deposit(enterprise, unit, &quantity).await;
                }
                1..4 => {
                    let mut request = desk.parties.allocation("BTC", &quantity, &key);
                    if mode == ConnectionMode::Confirmed && chance.one_in(4) {
                        request.expire_time = Some(desk.in_millis(5).await);
                    }
                    let answer = desk.client.clone().create_allocation(request).await;
                    // Too little is a fine answer too.
                    open.extend(
                        answer
                            .ok()
                            .and_then(|answer| answer.into_inner().allocation),
                    );
                }
                4 => {
                    let request = desk.parties.deallocation("BTC", &quantity, &key);
                    let answer = desk.client.clone().create_deallocation(request).await;
                    open.extend(
                        answer
                            .ok()
                            .and_then(|answer| answer.into_inner().allocation),
                    );
                }
                verdict if !open.is_empty() => {
                    let allocation = open.swap_remove(chance.number(0..open.len()));
                    let (mut partner, mut client) = (desk.partner.clone(), desk.client.clone());
                    // It may have been final, or expired: whatever is answered, the ledger stays sound.
                    match verdict {
                        5 => drop(
                            partner
                                .clear_allocation(desk.parties.clear(&allocation.id))
                                .await,
                        ),
                        6 => drop(
                            partner
                                .release_allocation(desk.parties.release(&allocation.id))
                                .await,
                        ),
                        _ => drop(
                            client
                                .cancel_allocation(desk.parties.cancel(&allocation.id))
                                .await,
                        ),
                    }
                }
                _ => {}
            }
        }
        let told = verify(&desk.earmark).await;
        told.assert_sound();
        let picture = assert_sound(&desk.earmark).await;
        assert!(picture.allocations.len() > 20, "much was written");
    }
}
