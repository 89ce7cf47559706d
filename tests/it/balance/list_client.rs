//! ListClientBalances.

use std::collections::BTreeMap;

use earmark::proto::balance::v1::{
    ClientNetworkBalance, ListClientBalancesRequest, ListClientBalancesResponse,
};
use earmark::proto::common::v1::Balance;
use earmark::proto::network::v1::{ConnectionMode, CreateConnectionRequest};
use tonic::Code;

use crate::support::earmark::{Earmark, NOBODY, Parties, Refusal, balance, refusal};
use crate::support::random::Random;

/// A client whose custody and connections hold two currencies, apart from one connection that was never used.
struct World {
    earmark: Earmark,
    parties: Parties,
    /// Of the first partner twice, then of the second twice; the last was never used.
    connections: Vec<String>,
    second_partner: String,
}

impl World {
    async fn make() -> Self {
        let earmark = Earmark::start().await;
        let parties = earmark.parties(ConnectionMode::Instant).await;
        let second_partner = earmark.partner(&parties.partner_enterprise, "Second").await;
        let second = Parties {
            partner: second_partner.clone(),
            ..parties.clone()
        };
        let connections = vec![
            parties.connection.clone(),
            earmark
                .connection(&parties, ConnectionMode::Confirmed)
                .await,
            earmark.connection(&second, ConnectionMode::Instant).await,
            earmark.connection(&second, ConnectionMode::Instant).await,
        ];
        for currency in ["BTC", "ETH"] {
            earmark.deposit(&parties.enterprise, currency, "100").await;
        }
        let mut client = earmark.member(&[&parties.enterprise]).allocation;
        for (connection, currency, quantity) in [
            (0, "BTC", "1"),
            (1, "BTC", "2"),
            (2, "ETH", "4"),
            (0, "ETH", "8"),
        ] {
            let mut request =
                parties.allocation(currency, quantity, &format!("{connection}{currency}"));
            request.connection_id = connections[connection].clone();
            client.create_allocation(request).await.expect("created");
        }
        Self {
            earmark,
            parties,
            connections,
            second_partner,
        }
    }

    fn request(&self) -> ListClientBalancesRequest {
        ListClientBalancesRequest {
            enterprise_id: self.parties.enterprise.clone(),
            ..Default::default()
        }
    }

    async fn list(&self, request: ListClientBalancesRequest) -> ListClientBalancesResponse {
        let mut client = self.earmark.member(&[&self.parties.enterprise]).balance;
        let listed = client.list_client_balances(request).await;
        listed.expect("listed").into_inner()
    }

    async fn refused(&self, request: ListClientBalancesRequest) -> Refusal {
        let mut client = self.earmark.member(&[&self.parties.enterprise]).balance;
        refusal(client.list_client_balances(request).await)
    }
}

fn sorted(balances: impl IntoIterator<Item = (String, Balance)>) -> BTreeMap<String, Balance> {
    balances.into_iter().collect()
}

fn of(balances: &[(&str, Option<Balance>)]) -> BTreeMap<String, Balance> {
    let balances = balances.iter().cloned();
    balances
        .map(|(currency, balance)| (currency.to_owned(), balance.expect("set")))
        .collect()
}

fn ids(connections: &[ClientNetworkBalance]) -> Vec<&str> {
    let ids = connections.iter();
    ids.map(|connection| connection.connection_id.as_str())
        .collect()
}

#[tokio::test]
async fn the_list_shows_custody_and_every_connection() {
    let world = World::make().await;
    let listed = world.list(world.request()).await;
    assert_eq!(listed.client_id, world.parties.client);
    assert_eq!(listed.next_page_token, "");
    // Deposited, then 1 and 2 of BTC, 4 and 8 of ETH were taken; the 2 are held.
    let custody = of(&[
        ("BTC", balance("97", "2", 3)),
        ("ETH", balance("88", "0", 3)),
    ]);
    assert_eq!(sorted(listed.balances), custody);

    let shown = listed.network_balances;
    let expected = [
        of(&[("BTC", balance("1", "0", 1)), ("ETH", balance("8", "0", 1))]),
        // A reservation stands in custody.
        of(&[]),
        of(&[("ETH", balance("4", "0", 1))]),
        of(&[]),
    ];
    assert_eq!(shown.len(), 4);
    for (index, shown) in shown.into_iter().enumerate() {
        assert_eq!(shown.connection_id, world.connections[index]);
        let partner = [&world.parties.partner, &world.second_partner][index / 2];
        assert_eq!(&shown.partner_id, partner);
        assert_eq!(shown.name, "Connection");
        assert_eq!(shown.partners_connection_id, "");
        let name = ["Partner", "Second"][index / 2];
        let institution = format!("institution of {name}");
        assert_eq!(shown.partner_institution_identifier, institution);
        assert_eq!(sorted(shown.balances), expected[index], "{index}");
    }
}

#[tokio::test]
async fn the_list_shows_the_partners_id_of_a_connection() {
    let world = World::make().await;
    let request = CreateConnectionRequest {
        client_id: world.parties.client.clone(),
        partner_id: world.parties.partner.clone(),
        name: "named".into(),
        partners_connection_id: "theirs-7".into(),
        mode: ConnectionMode::Instant.into(),
        ..Default::default()
    };
    let mut admin = world.earmark.admin().network;
    admin.create_connection(request).await.expect("created");
    let listed = world.list(world.request()).await.network_balances;
    let last = listed.last().expect("five");
    assert_eq!(last.partners_connection_id, "theirs-7");
    assert_eq!(last.name, "named");
}

#[tokio::test]
async fn connection_filters_keep_custody_and_currency_filters_may_leave_empty_maps() {
    let world = World::make().await;
    let whole = world.list(world.request()).await;
    const SEED: u64 = 3;
    let mut random = Random::new(SEED);
    let partners = [
        world.parties.partner.clone(),
        world.second_partner.clone(),
        NOBODY.to_owned(),
    ];
    let mut known = world.connections.clone();
    known.push(NOBODY.into());
    let currencies = ["BTC", "ETH", "eth"].map(String::from);
    for round in 0..120 {
        let mut request = world.request();
        // Each alone first, then any of them together.
        if round % 3 == 0 || (round >= 30 && random.one_in(2)) {
            request.connection_ids = random.some_of(&known);
        }
        if round % 3 == 1 || (round >= 30 && random.one_in(2)) {
            request.partner_ids = random.some_of(&partners);
        }
        if round % 3 == 2 || (round >= 30 && random.one_in(2)) {
            request.currencies = random.some_of(&currencies);
        }
        let mut expected = whole.clone();
        let passes =
            |filter: &[String], value: &String| filter.is_empty() || filter.contains(value);
        let of_currency =
            |currency: &String, _: &mut Balance| passes(&request.currencies, currency);
        expected.balances.retain(of_currency);
        expected.network_balances.retain(|connection| {
            passes(&request.connection_ids, &connection.connection_id)
                && passes(&request.partner_ids, &connection.partner_id)
        });
        for connection in &mut expected.network_balances {
            connection.balances.retain(of_currency);
        }
        let listed = world.list(request.clone()).await;
        assert_eq!(
            listed, expected,
            "round {round} of seed {SEED}: {request:?}"
        );
    }
}

#[tokio::test]
async fn pages_add_up_to_the_whole_list_and_each_shows_custody() {
    let world = World::make().await;
    let whole = world.list(world.request()).await;
    for page_size in [1, 2, 3, 4, 100] {
        let mut walked = Vec::new();
        let mut request = ListClientBalancesRequest {
            page_size,
            ..world.request()
        };
        loop {
            let page = world.list(request.clone()).await;
            assert_eq!(page.balances, whole.balances);
            assert_eq!(page.client_id, whole.client_id);
            walked.extend(page.network_balances);
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(walked, whole.network_balances, "by token, {page_size}");

        let mut walked = Vec::new();
        let mut request = ListClientBalancesRequest {
            page_size,
            ..world.request()
        };
        loop {
            let page = world.list(request.clone()).await;
            assert_eq!(page.balances, whole.balances, "even behind the last page");
            if page.network_balances.is_empty() {
                break;
            }
            walked.extend(page.network_balances);
            request.page_number = Some(request.page_number.map_or(1, |number| number + 1));
        }
        assert_eq!(walked, whole.network_balances, "by number, {page_size}");
    }
}

#[tokio::test]
async fn a_page_token_is_refused_with_another_filter() {
    let world = World::make().await;
    let first = ListClientBalancesRequest {
        page_size: 1,
        ..world.request()
    };
    let page = world.list(first.clone()).await;
    let second = ListClientBalancesRequest {
        page_token: page.next_page_token.clone(),
        ..first.clone()
    };
    let others = [
        ListClientBalancesRequest {
            connection_ids: world.connections.clone(),
            ..second.clone()
        },
        ListClientBalancesRequest {
            partner_ids: vec![world.second_partner.clone()],
            ..second.clone()
        },
        ListClientBalancesRequest {
            currencies: vec!["BTC".into()],
            ..second.clone()
        },
        ListClientBalancesRequest {
            page_token: format!("{}A", second.page_token),
            ..second.clone()
        },
    ];
    for other in others {
        let refused = world.refused(other).await;
        let refused = refused.expect(Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        assert_eq!(refused.fields(), ["page_token"]);
    }
    let resized = ListClientBalancesRequest {
        page_size: 10,
        ..second.clone()
    };
    let rest = world.list(resized).await.network_balances;
    assert_eq!(ids(&rest), world.connections[1..]);
    let numbered = ListClientBalancesRequest {
        page_number: Some(1),
        ..second
    };
    let refused = world.refused(numbered).await;
    refused.expect_invalid(&["page_token"]);
}

#[tokio::test]
async fn the_list_reports_every_invalid_field() {
    let world = World::make().await;
    let request = ListClientBalancesRequest {
        enterprise_id: String::new(),
        connection_ids: vec![NOBODY.into(), "x".into()],
        partner_ids: vec!["".into(); 501],
        currencies: vec!["B C".into()],
        page_number: Some(-1),
        page_size: i32::MIN,
        page_token: "x".into(),
    };
    world.refused(request).await.expect_invalid(&[
        "enterprise_id",
        "connection_ids[1]",
        "partner_ids",
        "currencies[0]",
        "page_size",
        "page_number",
        "page_token",
    ]);
    let cut = ListClientBalancesRequest {
        page_number: Some(0),
        page_size: 501,
        ..world.request()
    };
    world.refused(cut).await.expect_invalid(&["page_size"]);
    let far = ListClientBalancesRequest {
        page_number: Some(i32::MAX),
        ..world.request()
    };
    world.refused(far).await.expect_invalid(&["page_number"]);
    let large = ListClientBalancesRequest {
        page_size: i32::MAX,
        ..world.request()
    };
    assert_eq!(world.list(large).await.network_balances.len(), 4);
}

#[tokio::test]
async fn only_a_licensed_enterprise_with_a_client_may_list_balances() {
    let world = World::make().await;
    let earmark = &world.earmark;
    let list = async |enterprise: &str| {
        let request = ListClientBalancesRequest {
            enterprise_id: enterprise.into(),
            ..Default::default()
        };
        let mut member = earmark.member(&[enterprise]).balance;
        member.list_client_balances(request).await
    };
    // The partner's side has none of its own.
    let refused = refusal(list(&world.parties.partner_enterprise).await);
    refused.expect(Code::NotFound, "CLIENT_NOT_FOUND");
    refusal(list(NOBODY).await).expect(Code::NotFound, "ENTERPRISE_NOT_FOUND");
    let enterprise = &world.parties.enterprise;
    earmark.license(enterprise, false).await;
    let refused = refusal(list(enterprise).await);
    refused.expect(Code::PermissionDenied, "NO_OES_LICENSE");
    earmark.license(enterprise, true).await;
    list(enterprise).await.expect("licensed again");
    // A new client: nothing yet.
    let new = earmark.enterprise("New").await.id;
    let client_id = earmark.client(&new).await;
    let expected = ListClientBalancesResponse {
        client_id,
        ..Default::default()
    };
    let listed = list(&new).await.expect("listed").into_inner();
    assert_eq!(listed, expected);
}
