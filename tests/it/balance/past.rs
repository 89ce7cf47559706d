//! GetBalance at past times and versions: its answer never changes.

use std::collections::BTreeMap;

use earmark::proto::balance::v1::get_balance_request::Moment;
use earmark::proto::balance::v1::{GetBalanceRequest, GetBalanceResponse};
use earmark::proto::common::v1::Balance;
use prost_types::Timestamp;

use super::world::{CURRENCIES, World, get};
use crate::support::earmark::{balance, refusal};
use crate::support::journal::split;
use crate::support::random::Random;

fn at(request: &GetBalanceRequest, moment: Moment) -> GetBalanceRequest {
    GetBalanceRequest {
        moment: Some(moment),
        ..request.clone()
    }
}

fn version(answer: &GetBalanceResponse) -> i64 {
    answer.balance.as_ref().expect("set").version
}

fn held(answer: &GetBalanceResponse) -> &str {
    &answer.balance.as_ref().expect("set").held
}

#[tokio::test]
async fn a_past_balance_is_answered_the_same_for_ever() {
    answers_stay_the_same(false).await;
}

#[tokio::test]
async fn a_past_balance_is_answered_the_same_from_whatever_partition_it_comes() {
    answers_stay_the_same(true).await;
}

async fn answers_stay_the_same(is_split: bool) {
    const SEED: u64 = 0x5eed_0003;
    let mut random = Random::new(SEED);
    let mut world = World::make().await;
    let views = world.views();
    for client in [world.buyer.clone(), world.rival.clone()] {
        for currency in CURRENCIES {
            world.adjust(&client, currency, "300").await;
        }
    }
    let mut remembered: Vec<(GetBalanceRequest, GetBalanceResponse)> = Vec::new();
    for _ in 0..160 {
        world.step(&mut random).await;
        for _ in 0..2 {
            let (enterprise, connection) = &views[random.number(0..views.len())];
            let currency = CURRENCIES[random.number(0..CURRENCIES.len())];
            let request = get(enterprise, connection.as_deref(), currency);
            let answer = world.get(request.clone()).await;
            assert_eq!(held(&answer), answer.reservation_total);
            remembered.push((request, answer));
        }
    }
    let answers = remembered.iter().map(|(_, answer)| answer);
    let with_reservations = answers.filter(|answer| answer.reservation_count > 0);
    assert!(with_reservations.count() > 8, "seed {SEED:#x} moves enough");
    if is_split {
        split(&world.earmark.sql().await).await;
    }
    for (request, answer) in &remembered {
        let then = at(request, Moment::AsOf(answer.as_of.expect("set")));
        assert_eq!(
            &world.get(then).await,
            answer,
            "seed {SEED:#x}: {request:?}"
        );
    }

    // Every version of every account, from both ends: the newest is the balance as it stands, each step's reservations
    // make up what was held, and the time of a version leads back to it.
    for (enterprise, connection) in &views {
        for currency in CURRENCIES {
            let request = get(enterprise, connection.as_deref(), currency);
            let now = world.get(request.clone()).await;
            let mut seen = BTreeMap::new();
            for number in 0..=version(&now) {
                let answer = world.get(at(&request, Moment::AsOfVersion(number))).await;
                assert_eq!(version(&answer), number);
                assert_eq!(
                    held(&answer),
                    answer.reservation_total,
                    "seed {SEED:#x}: {request:?} {number}"
                );
                let by_time = at(&request, Moment::AsOf(answer.as_of.expect("set")));
                assert_eq!(world.get(by_time).await, answer, "{request:?} {number}");
                seen.insert(number, answer);
            }
            let newest = &seen[&version(&now)];
            assert_eq!(newest.balance, now.balance);
            assert_eq!(newest.reservations, now.reservations);
            assert_eq!(seen[&0].balance, balance("0", "0", 0));
            for (asked, answer) in &remembered {
                if *asked == request {
                    let same = &seen[&version(answer)];
                    assert_eq!(same.balance, answer.balance);
                    assert_eq!(same.reservations, answer.reservations);
                }
            }
            let above = at(&request, Moment::AsOfVersion(version(&now) + 1));
            let mut rpc = world.all.balance.clone();
            refusal(rpc.get_balance(above).await).expect_invalid(&["as_of_version"]);
        }
    }
}

#[tokio::test]
async fn a_time_between_two_entries_selects_the_earlier_one() {
    let mut world = World::make().await;
    let buyer = world.buyer.clone();
    let before = Timestamp::from(std::time::SystemTime::now());
    world.adjust(&buyer, "BTC", "1").await;
    let first = world.get(get(&buyer, None, "BTC")).await;
    world.adjust(&buyer, "BTC", "1").await;
    let request = get(&buyer, None, "BTC");
    let first_time = first.as_of.expect("set");
    assert_eq!(first_time.nanos % 1_000, 0, "whole microseconds");

    let shows = async |time: Timestamp| {
        let answer = world.get(at(&request, Moment::AsOf(time))).await;
        version(&answer)
    };
    assert_eq!(shows(before).await, 0);
    assert_eq!(shows(first_time).await, 1);
    let finer = Timestamp {
        nanos: first_time.nanos + 999,
        ..first_time
    };
    assert_eq!(shows(finer).await, 1);
    let year_one = Timestamp {
        seconds: -62_135_596_800,
        nanos: 0,
    };
    assert_eq!(shows(year_one).await, 0);
    let earlier = world.get(at(&request, Moment::AsOf(year_one))).await;
    assert_eq!(earlier.as_of, Some(Timestamp::default()));
}

#[tokio::test]
async fn a_future_time_is_refused_unless_an_entry_is_that_late() {
    let mut world = World::make().await;
    let (buyer, venue) = (world.buyer.clone(), world.venue.clone());
    world.adjust(&buyer, "BTC", "10").await;
    world.create(2, "BTC", "4", false).await;
    // These entries were made by a clock that ran ahead, so they are in the future of the database's clock.
    let sql = "UPDATE entry SET time = time + interval '1 hour'";
    world
        .earmark
        .sql()
        .await
        .batch_execute(sql)
        .await
        .expect(sql);
    let (custody, connection) = (
        get(&buyer, None, "BTC"),
        get(&venue, Some(&world.connections[2].id), "BTC"),
    );
    for request in [&custody, &connection] {
        let now = world.get(request.clone()).await;
        let newest = now.as_of.expect("set");
        let asked = at(request, Moment::AsOf(newest));
        assert_eq!(world.get(asked).await, now);
        let later = Timestamp {
            seconds: newest.seconds + 1,
            ..newest
        };
        let mut rpc = world.all.balance.clone();
        let later = at(request, Moment::AsOf(later));
        refusal(rpc.get_balance(later).await).expect_invalid(&["as_of"]);
    }
    // A later custody entry must not be visible to the partner, not even through a refusal.
    let sql = "UPDATE entry SET time = time + interval '1 hour' WHERE cause = 'ADJUST'";
    world
        .earmark
        .sql()
        .await
        .batch_execute(sql)
        .await
        .expect(sql);
    let ahead = world.get(custody).await.as_of.expect("set");
    let asked = at(&connection, Moment::AsOf(ahead));
    let mut rpc = world.all.balance.clone();
    refusal(rpc.get_balance(asked).await).expect_invalid(&["as_of"]);
}

#[tokio::test]
async fn custody_entries_do_not_affect_a_partners_answer() {
    let mut world = World::make().await;
    let (buyer, venue) = (world.buyer.clone(), world.venue.clone());
    world.adjust(&buyer, "BTC", "1000").await;
    world.create(2, "BTC", "100", false).await;
    let request = get(&venue, Some(&world.connections[2].id), "BTC");
    let before = world.get(request.clone()).await;
    // Deposits, reservations of this and other connections, other currencies: all of it custody's.
    world.adjust(&buyer, "BTC", "77").await;
    world.adjust(&buyer, "ETH", "77").await;
    world.create(0, "BTC", "5", false).await;
    world.create(4, "BTC", "5", false).await;
    assert_eq!(world.get(request.clone()).await, before);
    let again = at(&request, Moment::AsOf(before.as_of.expect("set")));
    assert_eq!(world.get(again).await, before);
    let by_version = at(&request, Moment::AsOfVersion(1));
    assert_eq!(world.get(by_version).await, before);
    // The client's answer of the same account does: its time is that of all its accounts.
    let ours = get(&buyer, Some(&world.connections[2].id), "BTC");
    let ours = world.get(ours).await;
    assert_eq!(ours.balance, before.balance);
    assert_ne!(ours.as_of, before.as_of);
    assert_eq!(ours.balance.map(|Balance { version, .. }| version), Some(1));
}
