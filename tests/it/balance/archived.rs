//! Balances and the journal where its beginning is archived.

use std::collections::{BTreeMap, BTreeSet};

use earmark::proto::balance::v1::get_balance_request::Moment;
use earmark::proto::balance::v1::{
    Entry, EntryCause, GetBalanceRequest, GetBalanceResponse, ListEntriesRequest,
};
use earmark::proto::common::v1::SortDirection;
use earmark::types::amount::Amount;
use earmark::types::time::Time;
use prost_types::Timestamp;
use tonic::Code;

use super::world::{CURRENCIES, World, get, journal};
use crate::support::archive::{ArchivedRows, archive_with};
use crate::support::earmark::{Refusal, refusal};
use crate::support::random::Random;

fn timestamp(micros: i64) -> Timestamp {
    Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000)).expect("small") * 1_000,
    }
}

fn micros(time: &Timestamp) -> i64 {
    time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000
}

#[track_caller]
fn expect_archived(refused: Refusal, field: &str, since: Time) {
    let refused = refused.expect(Code::OutOfRange, "HISTORY_ARCHIVED");
    assert_eq!(refused.metadata["field"], field, "{refused:?}");
    assert_eq!(refused.metadata["since"], since.to_string(), "{refused:?}");
}

fn at(request: &GetBalanceRequest, moment: Moment) -> GetBalanceRequest {
    GetBalanceRequest {
        moment: Some(moment),
        ..request.clone()
    }
}

fn version(answer: &GetBalanceResponse) -> i64 {
    answer.balance.as_ref().expect("set").version
}

/// Everything but the time by which it is asked for again.
fn balance_of(answer: &GetBalanceResponse) -> GetBalanceResponse {
    GetBalanceResponse {
        as_of: None,
        ..answer.clone()
    }
}

async fn refused(world: &World, request: GetBalanceRequest) -> Refusal {
    refusal(world.all.balance.clone().get_balance(request).await)
}

/// Two clients with deposits and random movements.
async fn moving(random: &mut Random) -> World {
    let mut world = World::make().await;
    for client in [world.buyer.clone(), world.rival.clone()] {
        for currency in CURRENCIES {
            world.adjust(&client, currency, "300").await;
        }
    }
    for _ in 0..80 {
        world.step(random).await;
    }
    world
}

type Views = Vec<GetBalanceRequest>;

fn views(world: &World) -> Views {
    let views = world.views();
    let of_view = |(enterprise, connection): &(String, Option<String>)| {
        CURRENCIES.map(|currency| get(enterprise, connection.as_deref(), currency))
    };
    views.iter().flat_map(of_view).collect()
}

async fn all_now(world: &World, views: &Views) -> Vec<GetBalanceResponse> {
    let mut answers = Vec::new();
    for request in views {
        answers.push(world.get(request.clone()).await);
    }
    answers
}

#[tokio::test]
async fn balances_stay_as_they_are_and_those_before_the_boundary_are_refused() {
    balances_stay(ArchivedRows::Removed).await;
}

#[tokio::test]
async fn rows_that_are_archived_but_still_there_change_no_answer() {
    balances_stay(ArchivedRows::Left).await;
}

async fn balances_stay(rows: ArchivedRows) {
    const SEED: u64 = 0x5eed_0021;
    let mut random = Random::new(SEED);
    let mut world = moving(&mut random).await;
    let views = views(&world);
    let before = all_now(&world, &views).await;
    let since = archive_with(&world.earmark, rows).await;
    let boundary = Moment::AsOf(timestamp(since.micros()));
    for (request, answer) in views.iter().zip(&before) {
        let now = world.get(request.clone()).await;
        assert_eq!(balance_of(&now), balance_of(answer), "{request:?}");
        let again = world.get(at(request, boundary)).await;
        assert_eq!(balance_of(&again), balance_of(answer), "{request:?}");
        assert_eq!(again.as_of, Some(timestamp(since.micros())), "{request:?}");
        if rows == ArchivedRows::Removed {
            assert_eq!(now, again);
        }
        let earlier = at(request, Moment::AsOf(timestamp(since.micros() - 1)));
        expect_archived(refused(&world, earlier).await, "as_of", since);
    }
    for _ in 0..60 {
        world.step(&mut random).await;
    }
    let mut archived = 0;
    for (request, opening) in views.iter().zip(&before) {
        assert_eq!(
            balance_of(&world.get(at(request, boundary)).await),
            balance_of(opening)
        );
        let now = world.get(request.clone()).await;
        for number in 0..=version(&now) {
            let by_version = at(request, Moment::AsOfVersion(number));
            if number < version(opening) {
                archived += 1;
                expect_archived(refused(&world, by_version).await, "as_of_version", since);
                continue;
            }
            let answer = world.get(by_version).await;
            assert_eq!(version(&answer), number, "seed {SEED:#x}: {request:?}");
            let as_of = answer.as_of.expect("set");
            assert!(micros(&as_of) >= since.micros(), "{request:?}");
            assert_eq!(world.get(at(request, Moment::AsOf(as_of))).await, answer);
        }
        let newest = at(request, Moment::AsOfVersion(version(&now)));
        assert_eq!(balance_of(&world.get(newest).await), balance_of(&now));
        let above = at(request, Moment::AsOfVersion(version(&now) + 1));
        refused(&world, above)
            .await
            .expect_invalid(&["as_of_version"]);
    }
    assert!(archived > 50, "{archived} versions are archived");
}

#[tokio::test]
async fn pages_of_reservations_end_where_more_is_archived() {
    let mut world = World::make().await;
    let buyer = world.buyer.clone();
    world.adjust(&buyer, "BTC", "300").await;
    for _ in 0..3 {
        world.create(0, "BTC", "5", false).await;
    }
    let request = GetBalanceRequest {
        page_size: 1,
        ..get(&buyer, None, "BTC")
    };
    let first = world.get(request.clone()).await;
    let second = GetBalanceRequest {
        page_token: first.next_page_token,
        ..request.clone()
    };
    let since = archive_with(&world.earmark, ArchivedRows::Removed).await;
    expect_archived(refused(&world, second).await, "page_token", since);
    // From the first page on, all are of the boundary.
    let mut next = request;
    let mut found = Vec::new();
    loop {
        let page = world.get(next.clone()).await;
        found.extend(page.reservations);
        if page.next_page_token.is_empty() {
            break;
        }
        next.page_token = page.next_page_token;
    }
    assert_eq!(found.len(), 3);
}

/// All pages of a list.
async fn all(world: &World, request: &ListEntriesRequest) -> Vec<Entry> {
    let (mut entries, mut request) = (Vec::new(), request.clone());
    loop {
        let page = world.entries(request.clone()).await;
        entries.extend(page.entries);
        if page.next_page_token.is_empty() {
            return entries;
        }
        assert!(entries.len() < 10_000);
        request.page_token = page.next_page_token;
    }
}

/// What a list shows once everything before `since` is archived, given the whole history: of each account the last entry
/// before as what it left, and the entries from then on.
fn beginning_at(since: Time, whole: &[Entry]) -> Vec<Entry> {
    let is_before = |entry: &Entry| micros(entry.time.as_ref().expect("set")) < since.micros();
    let mut last = BTreeMap::new();
    for (place, entry) in whole
        .iter()
        .enumerate()
        .filter(|(_, entry)| is_before(entry))
    {
        last.insert((&entry.account, &entry.unit), place);
    }
    let mut places: Vec<usize> = last.into_values().collect();
    places.sort_unstable();
    let openings = places.into_iter().map(|place| Entry {
        available_delta: whole[place].available.clone(),
        held_delta: whole[place].held.clone(),
        cause: EntryCause::Opening.into(),
        cause_id: String::new(),
        ..whole[place].clone()
    });
    let later = whole.iter().filter(|entry| !is_before(entry)).cloned();
    openings.chain(later).collect()
}

#[tokio::test]
async fn a_history_begins_with_what_each_account_had() {
    histories_begin_at_the_boundary(ArchivedRows::Removed).await;
}

#[tokio::test]
async fn a_history_begins_at_the_boundary_although_rows_before_it_are_there() {
    histories_begin_at_the_boundary(ArchivedRows::Left).await;
}

async fn histories_begin_at_the_boundary(rows: ArchivedRows) {
    const SEED: u64 = 0x5eed_0022;
    let mut random = Random::new(SEED);
    let mut world = moving(&mut random).await;
    let by = [&world.buyer, &world.rival, &world.venue].map(Clone::clone);
    let mut before = Vec::new();
    for enterprise in &by {
        before.push(all(&world, &journal(enterprise)).await);
    }
    // Twice, so that some accounts have entries only before the first boundary.
    archive_with(&world.earmark, rows).await;
    for round in 0..2 {
        for _ in 0..7 {
            world.step(&mut random).await;
        }
        if round == 0 {
            for (enterprise, whole) in by.iter().zip(&mut before) {
                whole.extend(entries_on_line(&world, enterprise).await);
            }
        }
        if round == 0 {
            archive_with(&world.earmark, rows).await;
        }
    }
    let since = world
        .earmark
        .count("SELECT (extract(epoch FROM max(end_time)) * 1000000)::bigint FROM archived_period")
        .await;
    let since = Time::from_micros(since).expect("in range");
    for (enterprise, mut whole) in by.iter().zip(before) {
        whole.extend(entries_on_line(&world, enterprise).await);
        let expected = beginning_at(since, &whole);
        assert_lists(&world, enterprise, &expected).await;
        assert_refused(&world, enterprise, since).await;
        assert_sums(&world, enterprise, &expected).await;
    }
}

/// The entries from the boundary on.
async fn entries_on_line(world: &World, enterprise: &str) -> Vec<Entry> {
    let boundary =
        "SELECT (extract(epoch FROM max(end_time)) * 1000000)::bigint FROM archived_period";
    let request = ListEntriesRequest {
        time_on_or_after: Some(timestamp(world.earmark.count(boundary).await)),
        ..journal(enterprise)
    };
    let entries = all(world, &request).await;
    let is_opening = |entry: &Entry| entry.cause() == EntryCause::Opening;
    assert!(!entries.iter().any(is_opening), "{entries:?}");
    entries
}

type Keeps = fn(&Entry) -> bool;

/// Lists without a beginning, and which entries each lets pass.
fn filters(enterprise: &str) -> [(ListEntriesRequest, Keeps); 5] {
    let whole = journal(enterprise);
    let of_causes = |causes: &[EntryCause]| ListEntriesRequest {
        causes: causes.iter().map(|cause| i32::from(*cause)).collect(),
        ..whole.clone()
    };
    let of_currency = ListEntriesRequest {
        currency: "BTC".into(),
        ..whole.clone()
    };
    let of_custody = ListEntriesRequest {
        connection_id: Some(String::new()),
        ..whole.clone()
    };
    [
        (of_currency, |entry| entry.unit == "BTC"),
        (of_custody, |entry| entry.account == "custody"),
        (of_causes(&[EntryCause::Opening]), |entry| {
            entry.cause() == EntryCause::Opening
        }),
        (
            of_causes(&[EntryCause::Reserve, EntryCause::Adjust]),
            |entry| [EntryCause::Reserve, EntryCause::Adjust].contains(&entry.cause()),
        ),
        (whole, |_| true),
    ]
}

/// Each filter and page size, in both directions.
async fn assert_lists(world: &World, enterprise: &str, expected: &[Entry]) {
    for (request, keeps) in filters(enterprise) {
        let kept = expected.iter().filter(|entry| keeps(entry));
        let kept: Vec<Entry> = kept.cloned().collect();
        // A partner has no custody.
        if request.connection_id.is_some() && kept.is_empty() {
            continue;
        }
        for page_size in [1, 2, 5, 500] {
            for direction in [SortDirection::Asc, SortDirection::Desc] {
                let request = ListEntriesRequest {
                    page_size,
                    sort_direction: direction.into(),
                    ..request.clone()
                };
                let mut kept = kept.clone();
                if direction == SortDirection::Desc {
                    kept.reverse();
                }
                assert_eq!(all(world, &request).await, kept, "{request:?}");
            }
        }
    }
    let accounts: BTreeSet<&String> = expected.iter().map(|entry| &entry.account).collect();
    for account in accounts {
        if account == "custody" {
            continue;
        }
        let request = ListEntriesRequest {
            connection_id: Some(account.clone()),
            ..journal(enterprise)
        };
        let kept = expected.iter().filter(|entry| entry.account == *account);
        let kept: Vec<Entry> = kept.cloned().collect();
        assert_eq!(all(world, &request).await, kept, "{request:?}");
    }
}

async fn assert_refused(world: &World, enterprise: &str, since: Time) {
    let earlier = Some(timestamp(since.micros() - 1));
    let boundary = Some(timestamp(since.micros()));
    for (field, from, to) in [
        ("time_on_or_after", earlier, None),
        ("time_on_or_after", earlier, boundary),
        ("time_before", None, boundary),
    ] {
        let request = ListEntriesRequest {
            time_on_or_after: from,
            time_before: to,
            ..journal(enterprise)
        };
        let listed = world.all.balance.clone().list_entries(request).await;
        expect_archived(refusal(listed), field, since);
    }
}

/// From the first entry of an account on, its changes add up to what it has.
async fn assert_sums(world: &World, enterprise: &str, entries: &[Entry]) {
    let mut sums: BTreeMap<(String, String), (Amount, Amount, i64)> = BTreeMap::new();
    let amount = |text: &str| Amount::parse_decimal(text).expect("an amount");
    for entry in entries {
        let key = (entry.account.clone(), entry.unit.clone());
        let sum = sums.entry(key).or_insert((Amount::ZERO, Amount::ZERO, 0));
        let added = |sum: Amount, delta| sum.checked_add(amount(delta)).expect("small");
        sum.0 = added(sum.0, &entry.available_delta);
        sum.1 = added(sum.1, &entry.held_delta);
        assert_eq!(sum.0, amount(&entry.available), "{entry:?}");
        assert_eq!(sum.1, amount(&entry.held), "{entry:?}");
        let is_first = entry.cause() == EntryCause::Opening;
        assert!(is_first || entry.version == sum.2 + 1, "{entry:?}");
        sum.2 = entry.version;
    }
    assert!(!sums.is_empty());
    for ((account, unit), (available, held, last)) in sums {
        let connection = Some(account.as_str()).filter(|account| *account != "custody");
        let now = world.get(get(enterprise, connection, &unit)).await;
        let balance = now.balance.expect("set");
        assert_eq!(amount(&balance.available), available);
        assert_eq!(amount(&balance.held), held);
        assert_eq!(balance.version, last);
    }
}

#[tokio::test]
async fn pages_of_a_history_end_where_more_is_archived() {
    let mut world = World::make().await;
    let buyer = world.buyer.clone();
    for quantity in ["100", "1", "2", "3"] {
        world.adjust(&buyer, "BTC", quantity).await;
    }
    let page = |direction: SortDirection, page_token: &str| ListEntriesRequest {
        page_size: 1,
        sort_direction: direction.into(),
        page_token: page_token.into(),
        ..journal(&buyer)
    };
    let [rising, falling] = [SortDirection::Asc, SortDirection::Desc];
    let first = world.entries(page(rising, "")).await;
    let newest = world.entries(page(falling, "")).await;
    let since = archive_with(&world.earmark, ArchivedRows::Removed).await;
    for (direction, token) in [
        (rising, first.next_page_token),
        (falling, newest.next_page_token),
    ] {
        let listed = world
            .all
            .balance
            .clone()
            .list_entries(page(direction, &token))
            .await;
        expect_archived(refusal(listed), "page_token", since);
    }
    // Behind a page of what is still on line, the list goes on to where the history begins by then.
    world.adjust(&buyer, "ETH", "5").await;
    let newest = world.entries(page(falling, "")).await;
    assert_eq!(newest.entries[0].unit, "ETH");
    let then = world.entries(page(falling, &newest.next_page_token)).await;
    assert_eq!(then.entries[0].cause(), EntryCause::Opening);
    assert_eq!(then.entries[0].available, "106");
    assert_eq!(then.next_page_token, "");
}
