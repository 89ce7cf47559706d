//! ListPartnerBalances.

use earmark::proto::balance::v1::{
    ListPartnerBalancesRequest, ListPartnerBalancesResponse, PartnerNetworkBalance,
};
use earmark::proto::network::v1::UpdateClientRequest;
use tonic::Code;

use super::world::World;
use crate::support::earmark::{Earmark, NOBODY, balance, refusal};

async fn list(world: &World, request: ListPartnerBalancesRequest) -> ListPartnerBalancesResponse {
    let mut rpc = world.all.balance.clone();
    let listed = rpc.list_partner_balances(request).await;
    listed.expect("listed").into_inner()
}

fn request(world: &World) -> ListPartnerBalancesRequest {
    ListPartnerBalancesRequest {
        enterprise_id: world.venue.clone(),
        ..Default::default()
    }
}

/// The connections of a page, by their place in the world.
fn places(world: &World, networks: &[PartnerNetworkBalance]) -> Vec<usize> {
    networks
        .iter()
        .map(|network| {
            let place =
                |connection: &super::world::Connection| connection.id == network.connection_id;
            world.connections.iter().position(place).expect("known")
        })
        .collect()
}

#[tokio::test]
async fn a_partner_lists_the_balances_of_its_connections_and_no_custody() {
    let mut world = World::make().await;
    for (enterprise, currency) in [
        (world.buyer.clone(), "BTC"),
        (world.buyer.clone(), "ETH"),
        (world.rival.clone(), "BTC"),
        (world.rival.clone(), "ADA"),
    ] {
        world.adjust(&enterprise, currency, "1000").await;
    }
    // On an INSTANT connection value stands at once; on the others it is still custody's.
    world.create(2, "BTC", "300", false).await;
    world.create(2, "ETH", "7", false).await;
    world.create(2, "BTC", "100", true).await;
    world.create(0, "BTC", "50", false).await;
    world.create(1, "ADA", "50", false).await;

    let listed = list(&world, request(&world)).await;
    assert_eq!(listed.next_page_token, "");
    assert_eq!(places(&world, &listed.network_balances), [0, 1, 2, 4]);
    for network in &listed.network_balances {
        let place = places(&world, std::slice::from_ref(network))[0];
        let connection = &world.connections[place];
        assert_eq!(network.client_id, connection.client);
        assert_eq!(network.partner_id, connection.partner);
        assert_eq!(network.partners_connection_id, connection.partners_id);
        assert_eq!(network.name, format!("Connection {place}"));
        if place != 2 {
            assert!(network.balances.is_empty(), "{network:?}");
        }
    }
    let balances = &listed.network_balances[2].balances;
    assert_eq!(balances.get("BTC").cloned(), balance("200", "0", 2));
    assert_eq!(balances.get("ETH").cloned(), balance("7", "0", 1));
    assert_eq!(balances.len(), 2);

    // The buyer's own partner sees its one connection alone.
    let fixture = ListPartnerBalancesRequest {
        enterprise_id: world.buyer.clone(),
        ..Default::default()
    };
    let listed = list(&world, fixture).await;
    assert_eq!(places(&world, &listed.network_balances), [3]);
}

/// Seen: a partner knew its clients by UUID alone.
#[tokio::test]
async fn a_partner_sees_the_name_that_each_client_has_now() {
    let world = World::make().await;
    let renamed = &world.connections[0].client;
    let rename = UpdateClientRequest {
        client_id: renamed.clone(),
        name: Some("Treasury".into()),
        ..Default::default()
    };
    let mut admin = world.earmark.admin().network;
    admin.update_client(rename).await.expect("renamed");
    let listed = list(&world, request(&world)).await;
    assert_eq!(listed.network_balances.len(), 4);
    for network in &listed.network_balances {
        let expected = match network.client_id == *renamed {
            true => "Treasury",
            false => "Client",
        };
        assert_eq!(network.client_name, expected, "{network:?}");
    }
}

/// Filters, and the places of the connections that they let pass.
fn filter_cases(world: &World) -> Vec<(ListPartnerBalancesRequest, &'static [usize])> {
    let [spot, futures] = [0, 2].map(|place| world.connections[place].partner.clone());
    let [buyers, rivals] = [0, 1].map(|place| world.connections[place].client.clone());
    let of = |place: usize| world.connections[place].id.clone();
    vec![
        (
            ListPartnerBalancesRequest {
                partner_ids: vec![futures.clone()],
                ..request(world)
            },
            &[2, 4],
        ),
        (
            ListPartnerBalancesRequest {
                partner_ids: vec![futures.clone(), spot.clone(), NOBODY.into()],
                ..request(world)
            },
            &[0, 1, 2, 4],
        ),
        (
            ListPartnerBalancesRequest {
                client_ids: vec![rivals.clone()],
                ..request(world)
            },
            &[1],
        ),
        (
            ListPartnerBalancesRequest {
                connection_ids: vec![of(4), of(0)],
                ..request(world)
            },
            &[0, 4],
        ),
        (
            // Another partner's connection matches nothing.
            ListPartnerBalancesRequest {
                connection_ids: vec![of(3), NOBODY.into()],
                ..request(world)
            },
            &[],
        ),
        (
            ListPartnerBalancesRequest {
                partners_connection_ids: vec!["S-1".into()],
                ..request(world)
            },
            &[0, 2],
        ),
        (
            ListPartnerBalancesRequest {
                partners_connection_ids: vec!["S-1".into(), "S-2".into()],
                client_ids: vec![buyers.clone()],
                partner_ids: vec![spot.clone()],
                connection_ids: vec![of(0), of(1), of(2)],
                ..request(world)
            },
            &[0],
        ),
        (
            ListPartnerBalancesRequest {
                partner_ids: vec![spot],
                client_ids: vec![NOBODY.into()],
                ..request(world)
            },
            &[],
        ),
    ]
}

#[tokio::test]
async fn filters_combine_with_and_and_their_values_with_or() {
    let mut world = World::make().await;
    let buyer = world.buyer.clone();
    world.adjust(&buyer, "BTC", "1000").await;
    world.create(2, "BTC", "300", false).await;
    let cases = filter_cases(&world);
    for (request, expected) in cases {
        let listed = list(&world, request.clone()).await;
        let found = places(&world, &listed.network_balances);
        assert_eq!(found, expected, "{request:?}");
    }
    for (currencies, expected) in [(vec!["BTC"], 1), (vec!["ETH"], 0), (vec!["btc", "BTC"], 1)] {
        let request = ListPartnerBalancesRequest {
            connection_ids: vec![world.connections[2].id.clone()],
            currencies: currencies.into_iter().map(Into::into).collect(),
            ..request(&world)
        };
        let listed = list(&world, request).await;
        assert_eq!(listed.network_balances.len(), 1, "it stands there still");
        assert_eq!(listed.network_balances[0].balances.len(), expected);
    }
}

#[tokio::test]
async fn pages_by_number_and_by_token_contain_each_connection_once() {
    let world = World::make().await;
    for size in [1, 2, 3, 4, 500] {
        let first = ListPartnerBalancesRequest {
            page_size: size,
            ..request(&world)
        };
        let (mut by_token, mut request) = (Vec::new(), first.clone());
        loop {
            let page = list(&world, request).await;
            by_token.extend(places(&world, &page.network_balances));
            if page.next_page_token.is_empty() {
                break;
            }
            assert_eq!(page.network_balances.len(), size as usize);
            request = ListPartnerBalancesRequest {
                page_token: page.next_page_token,
                ..first.clone()
            };
        }
        assert_eq!(by_token, [0, 1, 2, 4], "size {size}");
        let mut by_number = Vec::new();
        for page_number in 0..=4 / size {
            let numbered = ListPartnerBalancesRequest {
                page_number: Some(page_number),
                ..first.clone()
            };
            by_number.extend(places(
                &world,
                &list(&world, numbered).await.network_balances,
            ));
        }
        assert_eq!(by_number, [0, 1, 2, 4], "size {size}");
    }
    let first = ListPartnerBalancesRequest {
        page_size: 1,
        ..request(&world)
    };
    let token = list(&world, first).await.next_page_token;
    let other = ListPartnerBalancesRequest {
        page_token: token,
        currencies: vec!["BTC".into()],
        ..request(&world)
    };
    let mut rpc = world.all.balance.clone();
    refusal(rpc.list_partner_balances(other).await)
        .expect(Code::InvalidArgument, "PAGE_TOKEN_INVALID");
}

#[tokio::test]
async fn checks_of_list_partner_balances_run_in_the_documented_order() {
    let earmark = Earmark::start().await;
    let venue = earmark.new_enterprise("Venue", false).await.id;
    let request = ListPartnerBalancesRequest {
        enterprise_id: venue.clone(),
        ..Default::default()
    };
    let wrong = ListPartnerBalancesRequest {
        enterprise_id: "x".into(),
        partner_ids: vec!["x".into()],
        client_ids: vec![NOBODY.into(), "x".into()],
        connection_ids: vec!["x".into()],
        partners_connection_ids: vec![String::new()],
        currencies: vec!["€".into()],
        page_number: Some(-1),
        page_size: -1,
        page_token: "x".into(),
    };
    let mut writer = earmark.with_token(earmark.token("settlement_network_write", &[&venue]));
    refusal(writer.balance.list_partner_balances(wrong.clone()).await)
        .expect(Code::PermissionDenied, "SCOPE_MISSING");

    let mut stranger = earmark.member(&[]).balance;
    refusal(stranger.list_partner_balances(wrong).await).expect_invalid(&[
        "enterprise_id",
        "partner_ids[0]",
        "client_ids[1]",
        "connection_ids[0]",
        "partners_connection_ids[0]",
        "currencies[0]",
        "page_size",
        "page_number",
        "page_token",
    ]);
    let made_up = ListPartnerBalancesRequest {
        page_token: "x".into(),
        ..request.clone()
    };
    refusal(stranger.list_partner_balances(made_up).await)
        .expect(Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    refusal(stranger.list_partner_balances(request.clone()).await)
        .expect(Code::Unauthenticated, "NOT_A_MEMBER");

    let mut member = earmark.member(&[&venue, NOBODY]).balance;
    let nobody = ListPartnerBalancesRequest {
        enterprise_id: NOBODY.into(),
        ..Default::default()
    };
    refusal(member.list_partner_balances(nobody).await)
        .expect(Code::NotFound, "ENTERPRISE_NOT_FOUND");
    refusal(member.list_partner_balances(request.clone()).await)
        .expect(Code::PermissionDenied, "NO_OES_LICENSE");
    earmark.license(&venue, true).await;
    refusal(member.list_partner_balances(request.clone()).await)
        .expect(Code::PermissionDenied, "PARTNER_ACCESS_DENIED");
    earmark.client(&venue).await;
    refusal(member.list_partner_balances(request.clone()).await)
        .expect(Code::PermissionDenied, "PARTNER_ACCESS_DENIED");
    earmark.partner(&venue, "spot").await;
    let listed = member.list_partner_balances(request).await;
    let listed = listed.expect("a partner without connections").into_inner();
    assert_eq!(listed, ListPartnerBalancesResponse::default());
}
