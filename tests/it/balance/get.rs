//! GetBalance as it stands: arguments, sides, what is open.

use std::time::{Duration, SystemTime};

use earmark::proto::allocation::v1::SubmitAllocationsRequest;
use earmark::proto::allocation::v1::{AllocationType, CreateAllocationRequest, SubmitItem};
use earmark::proto::balance::v1::get_balance_request::Moment;
use earmark::proto::balance::v1::{BalanceView, GetBalanceRequest, GetBalanceResponse};
use earmark::proto::common::v1::Amount;
use earmark::proto::network::v1::ConnectionMode;
use prost_types::Timestamp;
use tonic::Code;

use super::world::{World, get};
use crate::support::earmark::{Earmark, NOBODY, balance, refusal};
use crate::support::random::Random;

const EPOCH: Timestamp = Timestamp {
    seconds: 0,
    nanos: 0,
};

fn sum(answer: &GetBalanceResponse) -> u64 {
    let quantity = |amount: &Amount| amount.quantity.parse::<u64>().expect("a number");
    answer
        .reservations
        .iter()
        .map(|reservation| quantity(reservation.amount.as_ref().expect("set")))
        .sum()
}

#[tokio::test]
async fn a_balance_is_returned_with_its_open_reservations() {
    let mut world = World::make().await;
    let (buyer, venue) = (world.buyer.clone(), world.venue.clone());
    let connection = world.connections[0].id.clone();
    let never = world.get(get(&buyer, None, "BTC")).await;
    assert_eq!(
        never,
        GetBalanceResponse {
            balance: balance("0", "0", 0),
            reservation_total: "0".into(),
            as_of: Some(EPOCH),
            ..Default::default()
        }
    );

    world.adjust(&buyer, "BTC", "100").await;
    world.create(0, "BTC", "30", false).await;
    world.create(4, "BTC", "5", false).await;
    let custody = world.get(get(&buyer, None, "BTC")).await;
    assert_eq!(custody.balance, balance("65", "35", 3));
    assert_eq!(
        (
            custody.reservation_count,
            custody.reservation_total.as_str()
        ),
        (2, "35")
    );
    let amounts: Vec<_> = custody
        .reservations
        .iter()
        .map(|reservation| reservation.amount.clone().expect("set"))
        .map(|amount| (amount.currency, amount.quantity))
        .collect();
    let expected = [("BTC", "30"), ("BTC", "5")].map(|(c, q)| (c.to_owned(), q.to_owned()));
    assert_eq!(amounts, expected);
    assert_eq!(custody.as_of, custody.reservations[1].created_at);

    // What custody holds for a connection is no part of that connection's balance.
    for enterprise in [&buyer, &venue] {
        let answer = world.get(get(enterprise, Some(&connection), "BTC")).await;
        assert_eq!(answer.balance, balance("0", "0", 0));
        assert_eq!(answer.reservation_count, 0);
    }
    // A deallocation is held in the connection.
    let mut random = Random::new(0);
    while world
        .get(get(&venue, Some(&connection), "BTC"))
        .await
        .balance
        == balance("0", "0", 0)
    {
        world.create(0, "BTC", "10", false).await;
        world.close(&mut random).await;
    }
    world.create(0, "BTC", "4", true).await;
    let theirs = world.get(get(&venue, Some(&connection), "BTC")).await;
    let ours = world.get(get(&buyer, Some(&connection), "BTC")).await;
    assert_eq!(theirs.reservation_total, "4");
    assert_eq!(
        (&theirs.balance, &theirs.reservations),
        (&ours.balance, &ours.reservations)
    );
    assert_eq!(theirs.as_of, theirs.reservations[0].created_at);
}

/// Opens so many reservations of 1, 2, 3 … in turns on two connections.
async fn open_many(world: &World, key: &str, many: usize) {
    let mut rpc = world.all.allocation.clone();
    let items = (0..many).map(|item| SubmitItem {
        r#type: AllocationType::Allocation.into(),
        connection_id: world.connections[if item % 2 == 0 { 0 } else { 4 }]
            .id
            .clone(),
        amount: Some(Amount {
            currency: "BTC".into(),
            quantity: (item + 1).to_string(),
        }),
        client_external_id: format!("{key}-{item}"),
        ..Default::default()
    });
    let request = SubmitAllocationsRequest {
        enterprise_id: world.buyer.clone(),
        items: items.collect(),
        validate_only: false,
    };
    rpc.submit_allocations(request).await.expect("submitted");
}

#[tokio::test]
async fn reservations_are_shown_in_pages_of_one_version_whatever_happens_between_them() {
    let mut world = World::make().await;
    let buyer = world.buyer.clone();
    world.adjust(&buyer, "BTC", "1000000").await;
    // Some are open before the others, and are closed between the pages; the oldest of all is closed before the first.
    let mut random = Random::new(2);
    world.create(0, "BTC", "7", false).await;
    world.close(&mut random).await;
    for quantity in ["11", "12", "13"] {
        world.create(4, "BTC", quantity, false).await;
    }
    open_many(&world, "a", 600).await;
    open_many(&world, "b", 600).await;

    let whole = GetBalanceRequest {
        page_size: 5_000,
        ..get(&buyer, None, "BTC")
    };
    let first = world.get(whole.clone()).await;
    assert_eq!(first.reservations.len(), 1_000, "a larger page is reduced");
    assert_eq!(first.reservation_count, 1_203);
    assert_eq!(first.reservation_total, (600 * 601 + 36).to_string());
    let default = GetBalanceRequest {
        page_size: 0,
        ..whole.clone()
    };
    let default = world.get(default).await;
    assert_eq!(default.reservations, first.reservations[..100]);

    let paged = GetBalanceRequest {
        page_size: 170,
        ..whole.clone()
    };
    let mut pages = vec![world.get(paged.clone()).await];
    while let Some(token) = pages.last().map(|page| page.next_page_token.clone())
        && !token.is_empty()
    {
        world.close(&mut random).await;
        world.create(4, "BTC", "1", false).await;
        let next = GetBalanceRequest {
            page_token: token,
            ..paged.clone()
        };
        pages.push(world.get(next).await);
    }
    assert_eq!(pages.len(), 8);
    let mut shown = Vec::new();
    for page in pages {
        assert_eq!(
            (&page.balance, page.reservation_count, page.as_of),
            (&first.balance, first.reservation_count, first.as_of)
        );
        shown.extend(page.reservations);
    }
    assert_eq!(shown.len(), 1_203);
    assert_eq!(shown[..1_000], first.reservations);
    let times: Vec<_> = shown
        .iter()
        .map(|reservation| reservation.created_at.expect("set"))
        .map(|time| (time.seconds, time.nanos))
        .collect();
    assert!(
        times.is_sorted_by(|earlier, later| earlier < later),
        "oldest first, none twice"
    );
    // The moment of the first page leads to the same reservations, in a page or in several.
    let then = GetBalanceRequest {
        moment: first.as_of.map(Moment::AsOf),
        ..whole
    };
    let then = world.get(then).await;
    assert_eq!(
        (then.balance, then.reservations),
        (first.balance, first.reservations)
    );
}

#[tokio::test]
async fn without_the_view_a_balance_comes_alone_and_takes_no_page_token() {
    let mut world = World::make().await;
    let (buyer, venue) = (world.buyer.clone(), world.venue.clone());
    world.adjust(&buyer, "BTC", "100").await;
    world.create(0, "BTC", "30", false).await;
    world.create(4, "BTC", "5", false).await;
    let with_view = GetBalanceRequest {
        page_size: 1,
        ..get(&buyer, None, "BTC")
    };
    let page = world.get(with_view.clone()).await;
    assert_eq!(page.reservations.len(), 1);
    let mut rpc = world.all.balance.clone();
    for view in [BalanceView::Unspecified, BalanceView::Basic] {
        let alone = GetBalanceRequest {
            view: view.into(),
            ..with_view.clone()
        };
        let answer = world.get(alone.clone()).await;
        let expected = GetBalanceResponse {
            reservations: Vec::new(),
            next_page_token: String::new(),
            ..page.clone()
        };
        assert_eq!(answer, expected);
        assert_eq!(
            (answer.reservation_count, &*answer.reservation_total),
            (2, "35")
        );
        let with_token = GetBalanceRequest {
            page_token: page.next_page_token.clone(),
            ..alone
        };
        refusal(rpc.get_balance(with_token).await).expect_invalid(&["page_token"]);
    }
    let wrong = GetBalanceRequest {
        view: 7,
        page_size: -1,
        ..with_view.clone()
    };
    refusal(rpc.get_balance(wrong).await).expect_invalid(&["view"]);
    let negative = GetBalanceRequest {
        page_size: -1,
        ..with_view.clone()
    };
    refusal(rpc.get_balance(negative).await).expect_invalid(&["page_size"]);
    // A token serves the request that it came from, and no other.
    for other in [
        get(&buyer, None, "ETH"),
        get(&venue, Some(&world.connections[0].id), "BTC"),
        GetBalanceRequest {
            moment: Some(Moment::AsOfVersion(2)),
            ..get(&buyer, None, "BTC")
        },
    ] {
        let request = GetBalanceRequest {
            page_token: page.next_page_token.clone(),
            ..other
        };
        refusal(rpc.get_balance(request).await).expect(Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }
}

#[tokio::test]
async fn due_reservations_are_expired_before_a_balance_is_read() {
    let mut world = World::make().await;
    let (buyer, venue) = (world.buyer.clone(), world.venue.clone());
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
    rpc.create_allocation(request).await.expect("created");
    let held = world.get(get(&buyer, None, "BTC")).await;
    assert_eq!(held.balance, balance("70", "30", 2));
    let expire_time = held.reservations[0].expire_time.expect("set");
    assert_eq!(expire_time.seconds, Timestamp::from(soon).seconds);
    tokio::time::sleep(Duration::from_millis(2_010)).await;
    let released = world.get(get(&buyer, None, "BTC")).await;
    assert_eq!(released.balance, balance("100", "0", 3));
    assert_eq!(released.reservation_count, 0);
    // And it was held then, for ever.
    let then = GetBalanceRequest {
        moment: held.as_of.map(Moment::AsOf),
        ..get(&buyer, None, "BTC")
    };
    assert_eq!(world.get(then).await, held);
    _ = venue;
}

#[tokio::test]
async fn held_equals_the_sum_of_the_reservations_during_writes() {
    let mut world = World::make().await;
    let buyer = world.buyer.clone();
    world.adjust(&buyer, "BTC", "1000").await;
    let connection = world.connections[4].id.clone();
    let mut random = Random::new(1);
    for _ in 0..20 {
        world.create(4, "BTC", "9", false).await;
        world.close(&mut random).await;
    }
    let reader = world.all.balance.clone();
    let (done, is_done) = tokio::sync::watch::channel(false);
    let readers: Vec<_> = [None, Some(connection)]
        .into_iter()
        .flat_map(|connection| [connection.clone(), connection])
        .map(|connection| {
            let (mut reader, buyer, is_done) = (reader.clone(), buyer.clone(), is_done.clone());
            tokio::spawn(async move {
                let (mut reads, mut last) = (0, 0);
                while !*is_done.borrow() {
                    let request = get(&buyer, connection.as_deref(), "BTC");
                    let answer = reader
                        .get_balance(request)
                        .await
                        .expect("there")
                        .into_inner();
                    let balance = answer.balance.as_ref().expect("set");
                    assert_eq!(balance.held, answer.reservation_total);
                    assert_eq!(balance.held, sum(&answer).to_string());
                    assert_eq!(answer.reservation_count, answer.reservations.len() as i64);
                    assert!(balance.version >= last, "versions never go back");
                    last = balance.version;
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    for _ in 0..150 {
        let back = random.one_in(2);
        world.create(4, "BTC", "3", back).await;
        if !random.one_in(3) {
            world.close(&mut random).await;
        }
    }
    done.send(true).expect("readers");
    for reader in readers {
        assert!(reader.await.expect("no disagreement") > 10);
    }
}

#[tokio::test]
async fn checks_of_get_balance_run_in_the_documented_order() {
    let earmark = Earmark::start().await;
    let one = earmark.new_enterprise("One", false).await.id;
    let wrong = GetBalanceRequest {
        enterprise_id: "x".into(),
        connection_id: Some(String::new()),
        currency: String::new(),
        moment: Some(Moment::AsOfVersion(-1)),
        view: BalanceView::Basic.into(),
        page_token: "x".into(),
        ..Default::default()
    };
    let mut writer = earmark.with_token(earmark.token("settlement_network_write", &[&one]));
    refusal(writer.balance.get_balance(wrong.clone()).await)
        .expect(Code::PermissionDenied, "SCOPE_MISSING");
    let mut stranger = earmark.member(&[]).balance;
    refusal(stranger.get_balance(wrong.clone()).await).expect_invalid(&[
        "enterprise_id",
        "connection_id",
        "currency",
        "as_of_version",
        "page_token",
    ]);
    let never = Timestamp {
        seconds: 0,
        nanos: -1,
    };
    let bad_time = GetBalanceRequest {
        moment: Some(Moment::AsOf(never)),
        ..get(&one, None, "BTC")
    };
    refusal(stranger.get_balance(bad_time).await).expect_invalid(&["as_of"]);

    let far = Some(Moment::AsOf(Timestamp {
        seconds: 253_402_300_799,
        nanos: 999_999_999,
    }));
    let request = GetBalanceRequest {
        moment: far,
        ..get(&one, Some(NOBODY), "BTC")
    };
    let custody = GetBalanceRequest {
        connection_id: None,
        ..request.clone()
    };
    refusal(stranger.get_balance(request.clone()).await)
        .expect(Code::Unauthenticated, "NOT_A_MEMBER");
    let mut member = earmark.member(&[&one, NOBODY]).balance;
    refusal(member.get_balance(get(NOBODY, None, "BTC")).await)
        .expect(Code::NotFound, "ENTERPRISE_NOT_FOUND");
    refusal(member.get_balance(request.clone()).await)
        .expect(Code::PermissionDenied, "NO_OES_LICENSE");
    earmark.license(&one, true).await;
    for request in [&request, &custody] {
        refusal(member.get_balance(request.clone()).await)
            .expect(Code::NotFound, "CLIENT_NOT_FOUND");
    }
    earmark.partner(&one, "a partner").await;
    refusal(member.get_balance(custody.clone()).await).expect_invalid(&["connection_id"]);
    refusal(member.get_balance(request.clone()).await)
        .expect(Code::NotFound, "CONNECTION_NOT_FOUND");
    earmark.client(&one).await;
    refusal(member.get_balance(request).await).expect(Code::NotFound, "CONNECTION_NOT_FOUND");
    refusal(member.get_balance(custody).await).expect_invalid(&["as_of"]);
    let above = GetBalanceRequest {
        moment: Some(Moment::AsOfVersion(1)),
        ..get(&one, None, "BTC")
    };
    refusal(member.get_balance(above).await).expect_invalid(&["as_of_version"]);

    // Somebody else's connection is as good as none.
    let others = earmark.parties(ConnectionMode::Confirmed).await;
    let foreign = get(&one, Some(&others.connection), "BTC");
    refusal(member.get_balance(foreign).await).expect(Code::NotFound, "CONNECTION_NOT_FOUND");
}
