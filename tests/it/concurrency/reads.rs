//! Reads and validations during writes.

use std::sync::atomic::{AtomicBool, Ordering};

use earmark::proto::allocation::v1::{
    AllocationStatus, AllocationType, CreateAllocationRequest, ListClientAllocationsRequest,
    SubmitAllocationsRequest,
};
use earmark::proto::balance::v1::{BalanceView, GetBalanceRequest, ListClientBalancesRequest};
use earmark::proto::common::v1::Balance;
use earmark::proto::network::v1::ConnectionMode;
use futures_util::future::join_all;

use super::Pair;
use crate::support::allocation_fixture::AllocationFixture;
use crate::support::ledger_dump::assert_sound;

/// How many reservations are made and closed, one after the other.
async fn work(fixture: &AllocationFixture, name: &str, rounds: usize) {
    for round in 0..rounds {
        let hold = fixture.allocate("1", &format!("{name} {round}")).await;
        match round % 3 {
            0 => _ = fixture.clear(&hold.id).await,
            1 => _ = fixture.release(&hold.id).await,
            _ => _ = fixture.cancel(&hold.id).await,
        }
    }
}

/// Several at once, and a sign that they are done.
async fn work_at_once(fixture: &AllocationFixture, rounds: usize, done: &AtomicBool) {
    let names = ["a", "b", "c", "d"];
    join_all(names.map(|name| work(fixture, name, rounds))).await;
    done.store(true, Ordering::Relaxed);
}

fn number(text: &str) -> i64 {
    text.parse().expect("digits")
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_validations_change_nothing() {
    const ROUNDS: usize = 30;
    let pair = Pair::open(ConnectionMode::Confirmed).await;
    let (fixture, members) = (&pair.fixture, pair.members());
    let open = fixture.allocate("5", "stays open").await;
    let done = AtomicBool::new(false);
    let validators = members.iter().map(async |member| {
        let mut validated = 0;
        while !done.load(Ordering::Relaxed) {
            let mut client = member.allocation.clone();
            let mut create = fixture.parties.allocation("BTC", "2", "only validated");
            create.validate_only = true;
            let created = client.create_allocation(create).await;
            let record = created.expect("validated").into_inner().allocation;
            assert_eq!(record.expect("set").id, "");
            let submit = SubmitAllocationsRequest {
                validate_only: true,
                ..fixture.parties.submission(vec![fixture.parties.item(
                    AllocationType::Allocation,
                    "1",
                    "validated too",
                )])
            };
            client.submit_allocations(submit).await.expect("validated");
            let mut clear = fixture.parties.clear(&open.id);
            clear.validate_only = true;
            client.clear_allocation(clear).await.expect("validated");
            let mut cancel = fixture.parties.cancel(&open.id);
            cancel.validate_only = true;
            client.cancel_allocation(cancel).await.expect("validated");
            validated += 1;
        }
        validated
    });
    let (validated, ()) = tokio::join!(join_all(validators), work_at_once(fixture, ROUNDS, &done));
    assert!(validated.iter().all(|count| *count > 3), "{validated:?}");
    assert_eq!(fixture.get(&open.id).await, open);
    let dump = assert_sound(&fixture.earmark).await;
    assert_eq!(dump.allocations.len(), 1 + 4 * ROUNDS);
    let keys = dump.allocations.iter();
    assert!(
        keys.clone()
            .all(|record| !record.record.terms.client_external_id.contains("validated"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_of_all_balances_never_sees_part_of_a_movement() {
    let pair = Pair::open(ConnectionMode::Confirmed).await;
    let (fixture, members) = (&pair.fixture, pair.members());
    let done = AtomicBool::new(false);
    let whole = |balance: &Balance| number(&balance.available) + number(&balance.held);
    let readers = members.iter().map(async |member| {
        let mut versions = 0;
        while !done.load(Ordering::Relaxed) {
            let request = ListClientBalancesRequest {
                enterprise_id: fixture.parties.enterprise.clone(),
                ..Default::default()
            };
            let listed = member.balance.clone().list_client_balances(request).await;
            let listed = listed.expect("listed").into_inner();
            let custody = &listed.balances["BTC"];
            let connection = listed.network_balances[0].balances.get("BTC");
            // Nothing but deposits changes what a client has in all its accounts together.
            assert_eq!(whole(custody) + connection.map_or(0, whole), 100);
            assert!(custody.version >= versions, "a later read sees no less");
            versions = custody.version;
        }
        versions
    });
    let (seen, ()) = tokio::join!(join_all(readers), work_at_once(fixture, 25, &done));
    assert!(seen.iter().all(|versions| *versions > 20), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_read_during_writes_equals_its_reservations() {
    let pair = Pair::open(ConnectionMode::Confirmed).await;
    let (fixture, members) = (&pair.fixture, pair.members());
    let done = AtomicBool::new(false);
    let readers = members.iter().map(async |member| {
        let mut held_at_times = 0;
        while !done.load(Ordering::Relaxed) {
            let request = GetBalanceRequest {
                enterprise_id: fixture.parties.enterprise.clone(),
                currency: "BTC".into(),
                view: BalanceView::WithReservations.into(),
                page_size: 1_000,
                ..Default::default()
            };
            let read = member.balance.clone().get_balance(request).await;
            let read = read.expect("read").into_inner();
            let held = number(&read.balance.expect("set").held);
            let amounts = read.reservations.iter();
            let sum: i64 = amounts
                .map(|reservation| number(&reservation.amount.as_ref().expect("set").quantity))
                .sum();
            assert_eq!(sum, held);
            assert_eq!(
                usize::try_from(read.reservation_count),
                Ok(read.reservations.len())
            );
            held_at_times += usize::from(held > 0);
        }
        held_at_times
    });
    let (seen, ()) = tokio::join!(join_all(readers), work_at_once(fixture, 25, &done));
    assert!(seen.iter().sum::<usize>() > 3, "{seen:?}");
}

/// Two calls have two snapshots; a list read between them must lie between their answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_read_between_two_balance_reads_is_consistent_with_both() {
    let pair = Pair::open(ConnectionMode::Confirmed).await;
    let (fixture, members) = (&pair.fixture, pair.members());
    let done = AtomicBool::new(false);
    // Reservations are only added, so the held value only grows.
    let writer = async {
        for index in 0..100 {
            let key = format!("{index}");
            let create = CreateAllocationRequest {
                ..fixture.parties.allocation("BTC", "1", &key)
            };
            let mut client = members[index % 2].allocation.clone();
            client.create_allocation(create).await.expect("reserved");
        }
        done.store(true, Ordering::Relaxed);
    };
    let readers = members.iter().map(async |member| {
        let mut looks = 0;
        let held = async || {
            let request = GetBalanceRequest {
                enterprise_id: fixture.parties.enterprise.clone(),
                currency: "BTC".into(),
                ..Default::default()
            };
            let read = member.balance.clone().get_balance(request).await;
            number(&read.expect("read").into_inner().balance.expect("set").held)
        };
        while !done.load(Ordering::Relaxed) {
            let before = held().await;
            let request = ListClientAllocationsRequest {
                enterprise_id: fixture.parties.enterprise.clone(),
                statuses: vec![AllocationStatus::Reserved.into()],
                page_size: 500,
                ..Default::default()
            };
            let listed = member
                .allocation
                .clone()
                .list_client_allocations(request)
                .await;
            let listed = listed.expect("listed").into_inner().allocations.len();
            let listed = i64::try_from(listed).expect("few");
            let after = held().await;
            assert!(
                (before..=after).contains(&listed),
                "{before} {listed} {after}"
            );
            looks += 1;
        }
        looks
    });
    let (looks, ()) = tokio::join!(join_all(readers), writer);
    assert!(looks.iter().all(|looks| *looks > 3), "{looks:?}");
    assert_sound(&fixture.earmark).await;
}
