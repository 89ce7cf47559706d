//! ListEntries: what is seen, by whom, in which order.

use std::time::{Duration, SystemTime};

use earmark::proto::allocation::v1::CreateAllocationRequest;
use earmark::proto::balance::v1::{Entry, EntryCause, ListEntriesRequest};
use earmark::proto::common::v1::{Amount, SortDirection};
use earmark::rpc::page_token::{self, Binding};
use prost_types::Timestamp;
use serde_json::{Value, json};
use tonic::Code;
use uuid::Uuid;

use super::world::{CURRENCIES, World, journal};
use crate::support::earmark::{Earmark, NOBODY, refusal};
use crate::support::journal::split;
use crate::support::random::Random;

const CUSTODY: Uuid = Uuid::from_u128(1);

/// An entry as it is stored.
#[derive(Clone, Debug)]
struct Stored {
    owner: String,
    account: Uuid,
    entry: Entry,
    micros: i64,
}

impl Stored {
    fn key(&self) -> (i64, Uuid, &str) {
        (self.micros, self.account, &self.entry.unit)
    }
}

/// The whole journal, those accounts included that nobody sees.
async fn stored(world: &World) -> Vec<Stored> {
    let sql = "SELECT e.owner_id, e.account_id, e.unit, e.version, e.available_delta::text, e.held_delta::text, \
               e.available::text, e.held::text, e.cause, coalesce(j.external_id, e.cause_id::text), \
               (extract(epoch FROM e.time) * 1000000)::bigint \
               FROM entry e LEFT JOIN adjustment j ON j.owner_id = e.owner_id AND j.id = e.cause_id";
    let rows = world.earmark.sql().await.query(sql, &[]).await.expect(sql);
    let stored = rows.iter().map(|row| {
        let account: Uuid = row.get(1);
        let cause = format!("ENTRY_CAUSE_{}", row.get::<_, &str>(8));
        let micros: i64 = row.get(10);
        let entry = Entry {
            account: if account == CUSTODY {
                "custody".into()
            } else {
                account.to_string()
            },
            unit: row.get(2),
            version: row.get(3),
            available_delta: row.get(4),
            held_delta: row.get(5),
            available: row.get(6),
            held: row.get(7),
            cause: EntryCause::from_str_name(&cause).expect("known").into(),
            cause_id: row.get(9),
            time: Some(time(micros)),
        };
        Stored {
            owner: row.get::<_, Uuid>(0).to_string(),
            account,
            entry,
            micros,
        }
    });
    stored.collect()
}

fn time(micros: i64) -> Timestamp {
    Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).expect("small"),
    }
}

fn micros(time: &Timestamp) -> i64 {
    time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000
}

/// What a list must hold, by its words alone.
fn expected(world: &World, stored: &[Stored], request: &ListEntriesRequest) -> Vec<Entry> {
    let enterprise = &request.enterprise_id;
    let is_seen = |entry: &Stored| {
        let connection = world
            .connections
            .iter()
            .find(|connection| connection.id == entry.entry.account);
        match connection {
            Some(connection) => [
                &connection.client_enterprise,
                &connection.partner_enterprise,
            ]
            .contains(&enterprise),
            None => entry.account == CUSTODY && entry.owner == *enterprise,
        }
    };
    let mut seen: Vec<&Stored> = stored
        .iter()
        .filter(|entry| is_seen(entry))
        .filter(|entry| match request.connection_id.as_deref() {
            None => true,
            Some("") => entry.account == CUSTODY,
            Some(id) => entry.entry.account == id,
        })
        .filter(|entry| request.currency.is_empty() || entry.entry.unit == request.currency)
        .filter(|entry| {
            let (from, to) = (&request.time_on_or_after, &request.time_before);
            from.as_ref()
                .is_none_or(|from| entry.micros >= micros(from))
                && to.as_ref().is_none_or(|to| entry.micros < micros(to))
        })
        .filter(|entry| request.causes.is_empty() || request.causes.contains(&entry.entry.cause))
        .filter(|entry| {
            request.cause_ids.is_empty() || request.cause_ids.contains(&entry.entry.cause_id)
        })
        .collect();
    seen.sort_by(|a, b| a.key().cmp(&b.key()));
    if request.sort_direction() == SortDirection::Desc {
        seen.reverse();
    }
    seen.into_iter().map(|entry| entry.entry.clone()).collect()
}

/// All pages of a list.
async fn all(world: &World, request: &ListEntriesRequest) -> Vec<Entry> {
    let (mut entries, mut request) = (Vec::new(), request.clone());
    loop {
        let page = world.entries(request.clone()).await;
        let size = match request.page_size {
            0 => 100,
            size => usize::try_from(size).expect("positive"),
        };
        assert!(page.entries.len() <= size);
        entries.extend(page.entries);
        if page.next_page_token.is_empty() {
            return entries;
        }
        request.page_token = page.next_page_token;
    }
}

/// A random filter with values that entries have.
fn filter(random: &mut Random, world: &World, stored: &[Stored], by: &str) -> ListEntriesRequest {
    let mut request = journal(by);
    let pick = |random: &mut Random| &stored[random.number(0..stored.len())];
    match random.number(0..8) {
        0 | 1 => request.connection_id = Some(String::new()),
        2..=4 => {
            let at = random.number(0..world.connections.len());
            request.connection_id = Some(world.connections[at].id.clone());
        }
        _ => {}
    }
    if random.one_in(2) {
        request.currency = CURRENCIES[random.number(0..CURRENCIES.len())].into();
    }
    if random.one_in(3) {
        request.time_on_or_after = Some(time(pick(random).micros));
    }
    if random.one_in(3) {
        let to = pick(random).micros;
        let from = request.time_on_or_after.as_ref().map_or(to, micros);
        let behind = i64::from(random.one_in(2));
        request.time_before = Some(time(to.max(from) + behind));
    }
    if random.one_in(3) {
        request.causes = random.some_of(&[1, 2, 3, 4, 5, 7]);
    }
    if random.one_in(3) {
        let ids = (0..random.number(1..40)).map(|_| pick(random).entry.cause_id.clone());
        request.cause_ids = ids.collect();
        request.cause_ids.extend([NOBODY.into(), "nothing".into()]);
    }
    if random.one_in(2) {
        request.sort_direction = SortDirection::Desc.into();
    }
    request.page_size = [0, 1, 2, 7, 30, 500][random.number(0..6)];
    request
}

#[tokio::test]
async fn every_filter_selects_the_matching_entries_on_all_pages() {
    filters_select_what_matches(false).await;
}

#[tokio::test]
async fn every_filter_selects_the_matching_entries_of_all_partitions() {
    filters_select_what_matches(true).await;
}

async fn filters_select_what_matches(is_split: bool) {
    const SEED: u64 = 0x5eed_0004;
    let mut random = Random::new(SEED);
    let mut world = World::make().await;
    for client in [world.buyer.clone(), world.rival.clone()] {
        for currency in CURRENCIES {
            world.adjust(&client, currency, "300").await;
        }
    }
    for _ in 0..300 {
        world.step(&mut random).await;
    }
    if is_split {
        split(&world.earmark.sql().await).await;
    }
    let stored = stored(&world).await;
    assert!(
        stored.len() > 250,
        "seed {SEED:#x} moves enough: {}",
        stored.len()
    );
    let enterprises = [&world.buyer, &world.rival, &world.venue].map(Clone::clone);
    for enterprise in &enterprises {
        for direction in [SortDirection::Asc, SortDirection::Desc] {
            for page_size in [23, 500] {
                let request = ListEntriesRequest {
                    sort_direction: direction.into(),
                    page_size,
                    ..journal(enterprise)
                };
                let expected = expected(&world, &stored, &request);
                assert_eq!(all(&world, &request).await, expected, "{request:?}");
                assert!(expected.len() > 20);
            }
        }
    }
    let mut found = 0;
    for round in 0..250 {
        let by = &enterprises[random.number(0..3)];
        let mut request = filter(&mut random, &world, &stored, by);
        if *by == world.venue && request.connection_id.as_deref() == Some("") {
            continue;
        }
        let expected = expected(&world, &stored, &request);
        found += usize::from(!expected.is_empty());
        // Pages of one entry are for short lists.
        if expected.len() > 30 {
            request.page_size = request.page_size.max(17);
        }
        let listed = all(&world, &request).await;
        assert_eq!(
            listed, expected,
            "seed {SEED:#x}, round {round}: {request:?}"
        );
    }
    assert!(found > 90, "{found} of the filters find something");
}

#[tokio::test]
async fn a_time_range_between_two_microseconds_is_empty() {
    let mut world = World::make().await;
    let buyer = world.buyer.clone();
    world.adjust(&buyer, "BTC", "300").await;
    let entries = world.entries(journal(&buyer)).await.entries;
    let [deposit] = entries.as_slice() else {
        panic!("{entries:?}");
    };
    let bound = |nanos| {
        let time = deposit.time.as_ref().expect("set");
        Some(Timestamp {
            seconds: time.seconds,
            nanos: time.nanos + nanos,
        })
    };
    // Each is a statement of its own.
    let whole = journal(&buyer);
    let custody = ListEntriesRequest {
        connection_id: Some(String::new()),
        ..whole.clone()
    };
    let cause = ListEntriesRequest {
        cause_ids: vec![deposit.cause_id.clone()],
        ..whole.clone()
    };
    for request in [whole, custody, cause] {
        for direction in [SortDirection::Asc, SortDirection::Desc] {
            for (from, to, found) in [
                (0, 0, 0),
                (0, 1, 1),
                (0, 1_000, 1),
                (1, 1, 0),
                (1, 999, 0),
                (1, 1_000, 0),
            ] {
                let request = ListEntriesRequest {
                    time_on_or_after: bound(from),
                    time_before: bound(to),
                    sort_direction: direction.into(),
                    ..request.clone()
                };
                let listed = world.entries(request.clone()).await.entries;
                assert_eq!(listed.len(), found, "{request:?}");
            }
        }
    }
}

#[tokio::test]
async fn windows_that_follow_each_other_share_no_entry_and_lose_none() {
    let mut world = World::make().await;
    let buyer = world.buyer.clone();
    for quantity in ["1000", "1", "2", "3", "4"] {
        world.adjust(&buyer, "BTC", quantity).await;
    }
    let whole = world.entries(journal(&buyer)).await.entries;
    let times: Vec<_> = whole.iter().filter_map(|entry| entry.time).collect();
    assert_eq!(times.len(), 5);
    // Bounds at the time of an entry, and up to a microsecond before and behind it.
    for nanos in [-999, -1, 0, 1, 999] {
        let at = |index: usize| {
            let nanos = i64::from(times[index].nanos) + nanos;
            Timestamp {
                seconds: times[index].seconds + nanos.div_euclid(1_000_000_000),
                nanos: i32::try_from(nanos.rem_euclid(1_000_000_000)).expect("below a second"),
            }
        };
        let mut listed = Vec::new();
        for (from, before) in [(None, Some(1)), (Some(1), Some(3)), (Some(3), None)] {
            let request = ListEntriesRequest {
                time_on_or_after: from.map(at),
                time_before: before.map(at),
                ..journal(&buyer)
            };
            listed.extend(world.entries(request).await.entries);
        }
        assert_eq!(listed, whole, "{nanos} ns beside an entry");
    }
}

#[tokio::test]
async fn a_partner_sees_no_custody_and_no_world_entries() {
    let mut world = World::make().await;
    let (buyer, venue) = (world.buyer.clone(), world.venue.clone());
    world.adjust(&buyer, "BTC", "1000").await;
    world.create(0, "BTC", "5", false).await;
    assert_eq!(world.entries(journal(&venue)).await.entries, []);
    world.create(2, "BTC", "7", false).await;
    let theirs = world.entries(journal(&venue)).await.entries;
    let [only] = theirs.as_slice() else {
        panic!("one entry, not {theirs:?}");
    };
    assert_eq!(only.account, world.connections[2].id);
    assert_eq!((only.version, only.available_delta.as_str()), (1, "7"));
    assert_eq!(only.cause(), EntryCause::Instant);

    let ours = world.entries(journal(&buyer)).await.entries;
    let accounts: Vec<&str> = ours.iter().map(|entry| entry.account.as_str()).collect();
    assert_eq!(accounts, ["custody", "custody", "custody", &only.account]);
    assert_eq!(ours[3], *only);
    assert_eq!(ours[2].cause_id, only.cause_id);
    assert_eq!(ours[2].time, only.time, "one movement, one time");
    assert_eq!(ours[0].cause_id, "x-1", "an adjustment's external id");

    // Not by the names of what moved custody, either.
    let causes = ours.iter().map(|entry| entry.cause_id.clone());
    let named = ListEntriesRequest {
        cause_ids: causes.collect(),
        ..journal(&venue)
    };
    assert_eq!(world.entries(named).await.entries, theirs);
}

#[tokio::test]
async fn due_reservations_are_expired_before_the_journal_is_read() {
    let mut world = World::make().await;
    let buyer = world.buyer.clone();
    world.adjust(&buyer, "BTC", "100").await;
    let soon = SystemTime::now() + Duration::from_secs(2);
    let request = CreateAllocationRequest {
        enterprise_id: buyer.clone(),
        connection_id: world.connections[0].id.clone(),
        amount: Some(Amount {
            currency: "BTC".into(),
            quantity: "30".into(),
        }),
        client_external_id: "soon".into(),
        expire_time: Some(soon.into()),
        ..Default::default()
    };
    let mut rpc = world.all.allocation.clone();
    let created = rpc.create_allocation(request).await.expect("created");
    let id = created.into_inner().allocation.expect("set").id;
    tokio::time::sleep(Duration::from_millis(2_010)).await;
    let expired = ListEntriesRequest {
        connection_id: Some(String::new()),
        causes: vec![EntryCause::Expire.into()],
        ..journal(&buyer)
    };
    let entries = world.entries(expired).await.entries;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].cause_id, id);
    assert_eq!(entries[0].available, "100");
    assert_eq!(entries[0].held_delta, "-30");
}

#[tokio::test]
async fn pages_contain_each_entry_once_while_others_are_written() {
    let mut world = World::make().await;
    let mut random = Random::new(5);
    let buyer = world.buyer.clone();
    for _ in 0..60 {
        world.adjust(&buyer, "BTC", "10").await;
        world.create(0, "BTC", "3", false).await;
    }
    for connection_id in [None, Some(String::new())] {
        let mut request = ListEntriesRequest {
            connection_id,
            page_size: 13,
            ..journal(&buyer)
        };
        let mut listed = Vec::new();
        loop {
            let page = world.entries(request.clone()).await;
            listed.extend(page.entries);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
            world.close(&mut random).await;
        }
        request.page_token = String::new();
        assert_eq!(listed, all(&world, &request).await);
    }
}

#[tokio::test]
async fn a_page_token_is_refused_by_any_other_list() {
    const LIST: &str = "/earmark.balance.v1.BalanceService/ListEntries";
    let mut world = World::make().await;
    let buyer = world.buyer.clone();
    for _ in 0..5 {
        world.adjust(&buyer, "BTC", "10").await;
    }
    let first = journal(&buyer);
    let token = world
        .entries(ListEntriesRequest {
            page_size: 2,
            ..first.clone()
        })
        .await
        .next_page_token;
    let second = ListEntriesRequest {
        page_token: token.clone(),
        ..first.clone()
    };
    assert_eq!(world.entries(second.clone()).await.entries.len(), 3);
    let mut rpc = world.all.balance.clone();
    let mut assert_refused = async |request: ListEntriesRequest| {
        let refused = rpc.list_entries(request.clone()).await;
        let refused = refusal(refused).expect(Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        assert_eq!(refused.fields(), ["page_token"], "{request:?}");
    };
    for other in [
        ListEntriesRequest {
            enterprise_id: world.rival.clone(),
            ..second.clone()
        },
        ListEntriesRequest {
            connection_id: Some(String::new()),
            ..second.clone()
        },
        ListEntriesRequest {
            currency: "BTC".into(),
            ..second.clone()
        },
        ListEntriesRequest {
            sort_direction: SortDirection::Desc.into(),
            ..second.clone()
        },
        ListEntriesRequest {
            cause_ids: vec!["x-1".into()],
            ..second.clone()
        },
        ListEntriesRequest {
            page_token: token[1..].into(),
            ..second
        },
    ] {
        assert_refused(other).await;
    }
    // A token is no secret: one that is well made but leads to what no entry has is refused too.
    let binding = Binding::new(LIST, &first);
    let good: Value = page_token::decode(binding, &token).expect("a cursor");
    for (field, value) in [
        ("time", json!("+262142-12-31T23:59:59Z")),
        ("time", json!("-9999-01-01T00:00:00Z")),
        ("unit", json!("a\0b")),
        ("unit", json!("")),
        ("account", json!("x")),
    ] {
        let mut cursor = good.clone();
        cursor[field] = value;
        let made_up = ListEntriesRequest {
            page_token: page_token::encode(binding, &cursor),
            ..first.clone()
        };
        assert_refused(made_up).await;
    }
}

#[tokio::test]
async fn checks_of_list_entries_run_in_the_documented_order() {
    let earmark = Earmark::start().await;
    let one = earmark.new_enterprise("One", false).await.id;
    let wrong = ListEntriesRequest {
        enterprise_id: "x".into(),
        connection_id: Some("x".into()),
        currency: "€".into(),
        time_on_or_after: Some(time(1)),
        time_before: Some(time(0)),
        causes: vec![0, 99],
        cause_ids: vec![String::new()],
        sort_direction: 9,
        page_size: -1,
        page_token: "x".into(),
    };
    let mut stranger = earmark.member(&[]).balance;
    refusal(stranger.list_entries(wrong).await).expect_invalid(&[
        "enterprise_id",
        "connection_id",
        "currency",
        "time_before",
        "causes[0]",
        "causes[1]",
        "cause_ids[0]",
        "sort_direction",
        "page_size",
    ]);
    let custody = |enterprise: &str| ListEntriesRequest {
        connection_id: Some(String::new()),
        ..journal(enterprise)
    };
    let (every, of_custody) = (journal(&one), custody(&one));
    refusal(stranger.list_entries(every.clone()).await)
        .expect(Code::Unauthenticated, "NOT_A_MEMBER");
    let mut member = earmark.member(&[&one, NOBODY]).balance;
    refusal(member.list_entries(journal(NOBODY)).await)
        .expect(Code::NotFound, "ENTERPRISE_NOT_FOUND");
    refusal(member.list_entries(every.clone()).await)
        .expect(Code::PermissionDenied, "NO_OES_LICENSE");
    earmark.license(&one, true).await;
    for request in [&every, &of_custody] {
        refusal(member.list_entries(request.clone()).await)
            .expect(Code::NotFound, "CLIENT_NOT_FOUND");
    }
    earmark.partner(&one, "a partner").await;
    member
        .list_entries(every)
        .await
        .expect("a partner's, empty");
    refusal(member.list_entries(of_custody.clone()).await)
        .expect(Code::NotFound, "CLIENT_NOT_FOUND");
    earmark.client(&one).await;
    member.list_entries(of_custody).await.expect("empty");
}
