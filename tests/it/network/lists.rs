//! The two lists with filters, each filter alone and together.

use std::collections::BTreeMap;

use earmark::proto::network::v1 as pb;

use super::{NOBODY, client, connection, enterprise, joining, network, partner};
use crate::support::service::{NetworkClient, Services, member, reason};

/// A buyer with three connections to two venues' partners, another buyer with one, and a partner that nobody uses.
struct Market {
    services: Services,
    ids: BTreeMap<&'static str, String>,
}

impl Market {
    fn id(&self, name: &str) -> String {
        self.ids[name].clone()
    }

    fn name(&self, id: &str) -> &'static str {
        let found = self.ids.iter().find(|(_, known)| *known == id);
        found.expect("a record of the market").0
    }

    fn of(&self, name: &str) -> NetworkClient {
        self.services.network(member(&[&self.ids[name]]))
    }

    /// The connections that a side sees through a filter.
    async fn connections(
        &self,
        side: &str,
        filter: impl FnOnce(&mut pb::ListConnectionsRequest),
    ) -> Vec<&'static str> {
        let mut request = pb::ListConnectionsRequest {
            enterprise_id: self.id(side),
            ..Default::default()
        };
        filter(&mut request);
        let listed = self.of(side).list_connections(request).await;
        let listed = listed.expect("listed").into_inner();
        assert_eq!(listed.next_page_token, "");
        listed
            .connections
            .iter()
            .map(|c| self.name(&c.id))
            .collect()
    }

    /// The partners that a side sees through a filter.
    async fn partners(
        &self,
        side: &str,
        filter: impl FnOnce(&mut pb::ListPartnersRequest),
    ) -> Vec<&'static str> {
        let mut request = pb::ListPartnersRequest {
            enterprise_id: self.id(side),
            ..Default::default()
        };
        filter(&mut request);
        let listed = self.of(side).list_partners(request).await;
        let listed = listed.expect("listed").into_inner();
        assert_eq!(listed.next_page_token, "");
        listed.partners.iter().map(|p| self.name(&p.id)).collect()
    }
}

async fn market() -> Market {
    let services = Services::start().await;
    let admin = services.admin();
    let mut ids = BTreeMap::new();
    for name in ["buyer", "rival", "venue", "bourse"] {
        ids.insert(name, enterprise(&admin, name).await.id);
    }
    for (name, owner) in [("buyer's client", "buyer"), ("rival's client", "rival")] {
        ids.insert(name, client(&admin, &ids[owner]).await.id);
    }
    for (name, owner) in [
        ("spot", "venue"),
        ("futures", "venue"),
        ("bonds", "bourse"),
        ("unused", "bourse"),
        // The buyer is a venue too.
        ("desk", "buyer"),
    ] {
        ids.insert(name, partner(&admin, &ids[owner], name).await.id);
    }
    for (name, client, partner, partners_id) in [
        ("buyer-spot", "buyer's client", "spot", "S-1"),
        ("rival-spot", "rival's client", "spot", "S-2"),
        ("buyer-futures", "buyer's client", "futures", "S-1"),
        ("buyer-bonds", "buyer's client", "bonds", ""),
        ("rival-desk", "rival's client", "desk", "D-1"),
    ] {
        let request = pb::CreateConnectionRequest {
            name: name.into(),
            partners_connection_id: partners_id.into(),
            ..joining(&ids[client], &ids[partner])
        };
        ids.insert(name, connection(&admin, request).await.id);
    }
    for (name, allocations, deallocations) in [
        ("buyer-futures", Some(false), Some(false)),
        // Half a connection is active.
        ("buyer-bonds", Some(false), None),
    ] {
        let request = pb::UpdateConnectionRequest {
            connection_id: ids[name].clone(),
            allocations_enabled: allocations,
            deallocations_enabled: deallocations,
            disabled_reason: Some("why".into()),
            ..Default::default()
        };
        admin.update_connection(request).await.expect("updated");
    }
    Market { services, ids }
}

#[tokio::test]
async fn an_enterprise_lists_the_connections_of_both_its_sides_in_creation_order() {
    let market = market().await;
    let all = market.connections("buyer", |_| {}).await;
    assert_eq!(
        all,
        ["buyer-spot", "buyer-futures", "buyer-bonds", "rival-desk"]
    );
    let venue = market.connections("venue", |_| {}).await;
    assert_eq!(venue, ["buyer-spot", "rival-spot", "buyer-futures"]);

    // An administrator sees it as the enterprise does.
    let request = pb::ListConnectionsRequest {
        enterprise_id: market.id("venue"),
        ..Default::default()
    };
    let admin = market.services.admin().list_connections(request).await;
    assert_eq!(admin.expect("listed").into_inner().connections.len(), 3);
}

#[tokio::test]
async fn connections_are_filtered_by_each_field_and_by_all_combined() {
    let market = market().await;
    let id = |name: &str| vec![market.id(name)];

    let found = market
        .connections("buyer", |r| {
            r.connection_ids = vec![market.id("buyer-bonds"), market.id("buyer-spot")];
        })
        .await;
    assert_eq!(found, ["buyer-spot", "buyer-bonds"]);
    let found = market.connections("buyer", |r| r.client_ids = id("rival's client"));
    assert_eq!(found.await, ["rival-desk"]);
    let found = market.connections("buyer", |r| r.partner_ids = id("futures"));
    assert_eq!(found.await, ["buyer-futures"]);
    let found = market.connections("buyer", |r| {
        r.partners_connection_ids = vec!["S-1".into(), "D-1".into()];
    });
    assert_eq!(found.await, ["buyer-spot", "buyer-futures", "rival-desk"]);
    let found = market.connections("buyer", |r| r.names = vec!["buyer-bonds".into()]);
    assert_eq!(found.await, ["buyer-bonds"]);
    let found = market.connections("buyer", |r| r.names = vec!["BUYER-BONDS".into()]);
    assert_eq!(found.await, [""; 0], "letter by letter");
    let found = market.connections("buyer", |r| r.active = Some(true));
    assert_eq!(found.await, ["buyer-spot", "buyer-bonds", "rival-desk"]);
    let found = market.connections("buyer", |r| r.active = Some(false));
    assert_eq!(found.await, ["buyer-futures"]);

    let all = |r: &mut pb::ListConnectionsRequest| {
        r.connection_ids = vec![market.id("buyer-spot"), market.id("buyer-futures")];
        r.client_ids = id("buyer's client");
        r.partner_ids = vec![market.id("spot"), market.id("futures")];
        r.partners_connection_ids = vec!["S-1".into()];
        r.names = vec!["buyer-spot".into(), "buyer-futures".into()];
        r.active = Some(false);
    };
    assert_eq!(market.connections("buyer", all).await, ["buyer-futures"]);
    assert_eq!(market.connections("venue", all).await, ["buyer-futures"]);
    let none = |r: &mut pb::ListConnectionsRequest| {
        all(r);
        r.partners_connection_ids = vec!["S-2".into()];
    };
    assert_eq!(market.connections("buyer", none).await, [""; 0]);
}

#[tokio::test]
async fn ids_of_others_and_unknown_ids_match_nothing() {
    let market = market().await;
    let foreign = vec![NOBODY.to_owned(), market.id("rival-spot")];
    let found = market.connections("buyer", |r| r.connection_ids = foreign.clone());
    assert_eq!(found.await, [""; 0]);
    let found = market.partners("bourse", |r| r.partner_ids = vec![market.id("spot")]);
    assert_eq!(found.await, [""; 0]);
    // The rival's connection to the venue does not show through the buyer's view of the same partner.
    let found = market.partners("buyer", |r| r.connection_ids = foreign);
    assert_eq!(found.await, [""; 0]);
    let found = market.partners("buyer", |r| r.partners_connection_ids = vec!["S-2".into()]);
    assert_eq!(found.await, [""; 0]);
}

#[tokio::test]
async fn an_enterprise_lists_its_own_and_its_connected_partners_in_creation_order() {
    let market = market().await;
    let all = market.partners("buyer", |_| {}).await;
    assert_eq!(all, ["spot", "futures", "bonds", "desk"]);
    assert_eq!(market.partners("bourse", |_| {}).await, ["bonds", "unused"]);
    assert_eq!(market.partners("rival", |_| {}).await, ["spot", "desk"]);
}

#[tokio::test]
async fn partner_filters_must_all_match_the_same_connection() {
    let market = market().await;
    let found = market
        .partners("buyer", |r| {
            r.connection_ids = vec![market.id("buyer-bonds")]
        })
        .await;
    assert_eq!(found, ["bonds"]);
    let found = market.partners("venue", |r| {
        r.client_ids = vec![market.id("rival's client")]
    });
    assert_eq!(found.await, ["spot"]);
    let found = market.partners("buyer", |r| {
        r.partner_ids = vec![market.id("desk"), market.id("spot"), market.id("unused")];
    });
    assert_eq!(found.await, ["spot", "desk"]);
    let found = market.partners("buyer", |r| r.partners_connection_ids = vec!["S-1".into()]);
    assert_eq!(found.await, ["spot", "futures"]);
    let found = market.partners("bourse", |r| r.names = vec!["unused".into()]);
    assert_eq!(found.await, ["unused"]);
    let found = market.partners("buyer", |r| r.active = Some(true));
    assert_eq!(found.await, ["spot", "bonds", "desk"]);
    let found = market.partners("buyer", |r| r.active = Some(false));
    assert_eq!(found.await, ["futures"]);
    // A partner without any connection is neither.
    for active in [true, false] {
        let found = market.partners("bourse", |r| {
            r.active = Some(active);
            r.names = vec!["unused".into()];
        });
        assert_eq!(found.await, [""; 0]);
    }

    let found = market.partners("venue", |r| {
        r.connection_ids = vec![market.id("rival-spot"), market.id("buyer-futures")];
        r.client_ids = vec![market.id("rival's client")];
        r.partner_ids = vec![market.id("spot"), market.id("futures")];
        r.partners_connection_ids = vec!["S-2".into(), "S-1".into()];
        r.names = vec!["spot".into(), "futures".into()];
        r.active = Some(true);
    });
    assert_eq!(found.await, ["spot"]);
    // Each fits some connection of `spot`, but no single one fits both.
    let found = market.partners("venue", |r| {
        r.client_ids = vec![market.id("rival's client")];
        r.partners_connection_ids = vec!["S-1".into()];
    });
    assert_eq!(found.await, [""; 0]);
}

#[tokio::test]
async fn lists_check_membership_before_existence() {
    let world = network().await;
    let connections = |enterprise_id: &str| pb::ListConnectionsRequest {
        enterprise_id: enterprise_id.into(),
        ..Default::default()
    };
    let partners = |enterprise_id: &str| pb::ListPartnersRequest {
        enterprise_id: enterprise_id.into(),
        ..Default::default()
    };
    let member = world
        .services
        .network(member(&[&world.stranger.id, NOBODY]));
    for id in [world.buyer.id.as_str(), &world.client.id] {
        let refused = member.list_connections(connections(id)).await;
        assert_eq!(reason(refused), "NOT_A_MEMBER");
        let refused = member.list_partners(partners(id)).await;
        assert_eq!(reason(refused), "NOT_A_MEMBER");
    }
    for caller in [&member, &world.services.admin()] {
        let refused = caller.list_connections(connections(NOBODY)).await;
        assert_eq!(reason(refused), "ENTERPRISE_NOT_FOUND");
        let refused = caller.list_partners(partners(NOBODY)).await;
        assert_eq!(reason(refused), "ENTERPRISE_NOT_FOUND");
        let none = caller
            .list_connections(connections(&world.stranger.id))
            .await;
        assert_eq!(none.expect("listed").into_inner().connections, []);
        let none = caller.list_partners(partners(&world.stranger.id)).await;
        assert_eq!(none.expect("listed").into_inner().partners, []);
    }
}
