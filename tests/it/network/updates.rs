//! Updates of clients, partners and connections, and those that change nothing.

use earmark::proto::network::v1 as pb;
use tonic::Code;

use super::{NOBODY, Network, connection, enterprise, joining, network, partner};
use crate::support::service::{Services, detail, fields, is_replayed, member, reason};

/// What differs from an update of the client that was made under a key.
async fn refuses_other_updates(world: &Network, made: pb::UpdateClientRequest) {
    let admin = world.services.admin();
    let stale = pb::UpdateClientRequest {
        request_id: String::new(),
        name: Some("Other".into()),
        ..made.clone()
    };
    assert_eq!(
        reason(admin.update_client(stale.clone()).await),
        "VERSION_MISMATCH"
    );
    let reused = pb::UpdateClientRequest {
        name: Some("Other".into()),
        ..made
    };
    let refused = admin.update_client(reused).await.expect_err("reused");
    assert_eq!(detail(&refused, "id"), Some(world.client.id.clone()));
    assert_eq!(detail(&refused, "version").as_deref(), Some("2"));
    assert_eq!(reason::<()>(Err(refused)), "IDEMPOTENCY_KEY_REUSED");
    let unknown = pb::UpdateClientRequest {
        client_id: NOBODY.into(),
        ..stale
    };
    assert_eq!(
        reason(admin.update_client(unknown).await),
        "CLIENT_NOT_FOUND"
    );
    let empty = pb::UpdateClientRequest {
        client_id: "x".into(),
        name: Some(String::new()),
        ..Default::default()
    };
    assert_eq!(
        fields(admin.update_client(empty).await),
        ["client_id", "name"]
    );
}

#[tokio::test]
async fn a_client_is_renamed_and_its_connections_show_it() {
    let world = network().await;
    let admin = world.services.admin();
    let rename = pb::UpdateClientRequest {
        client_id: world.client.id.clone(),
        name: Some("Treasury".into()),
        expected_version: Some(1),
        request_id: "rename".into(),
        validate_only: false,
    };
    let validated = pb::UpdateClientRequest {
        validate_only: true,
        request_id: String::new(),
        ..rename.clone()
    };
    let validated = admin.update_client(validated).await.expect("valid");
    let validated = validated.into_inner().client.expect("set");
    assert_eq!((validated.version, validated.updated_at), (2, None));
    assert_eq!(validated.name, "Treasury");

    let updated = admin.update_client(rename.clone()).await.expect("updated");
    let updated = updated.into_inner().client.expect("set");
    let expected = pb::Client {
        name: "Treasury".into(),
        version: 2,
        updated_at: updated.updated_at,
        ..world.client.clone()
    };
    assert_eq!(updated, expected);
    assert_ne!(updated.updated_at, world.client.updated_at);
    let again = admin.update_client(rename.clone()).await.expect("replayed");
    assert!(is_replayed(&again));
    assert_eq!(again.into_inner().client, Some(updated));

    refuses_other_updates(&world, rename).await;
    // The partner sees whose connection it is.
    let venue = world.services.network(member(&[&world.venue.id]));
    let list = pb::ListConnectionsRequest {
        enterprise_id: world.venue.id.clone(),
        ..Default::default()
    };
    let listed = venue.list_connections(list).await.expect("listed");
    let listed = listed.into_inner().connections;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&*listed[0].client_name, &*listed[0].partner_name),
        ("Treasury", "partner")
    );
    assert_eq!(listed[0].version, 1);
}

#[tokio::test]
async fn a_partner_is_renamed_and_keeps_its_identifier_unique() {
    let world = network().await;
    let admin = world.services.admin();
    let other = partner(&admin, &world.venue.id, "other").await;
    let update = |identifier: &str| pb::UpdatePartnerRequest {
        partner_id: world.partner.id.clone(),
        institution_identifier: Some(identifier.into()),
        ..Default::default()
    };
    let taken = admin.update_partner(update("other-institution")).await;
    let taken = taken.expect_err("taken");
    assert_eq!(taken.code(), Code::AlreadyExists);
    assert_eq!(detail(&taken, "id"), Some(other.id.clone()));
    assert_eq!(detail(&taken, "version").as_deref(), Some("1"));
    assert_eq!(
        detail(&taken, "field").as_deref(),
        Some("institution_identifier")
    );
    assert_eq!(reason::<()>(Err(taken)), "PARTNER_EXISTS");
    // Its own is none of another.
    let same = admin.update_partner(update("partner-institution")).await;
    let same = same.expect("unchanged").into_inner().partner;
    assert_eq!(same, Some(world.partner.clone()));
    let both = pb::UpdatePartnerRequest {
        name: Some("Spot".into()),
        ..update("SPOT")
    };
    let updated = admin.update_partner(both).await.expect("updated");
    let updated = updated.into_inner().partner.expect("set");
    let expected = pb::Partner {
        name: "Spot".into(),
        institution_identifier: "SPOT".into(),
        version: 2,
        updated_at: updated.updated_at,
        ..world.partner.clone()
    };
    assert_eq!(updated, expected);
    // What it gave up is free again; and another enterprise may have the same.
    let again = pb::CreatePartnerRequest {
        enterprise_id: world.venue.id.clone(),
        name: "again".into(),
        institution_identifier: "partner-institution".into(),
        ..Default::default()
    };
    admin.create_partner(again).await.expect("free");
    let elsewhere = pb::CreatePartnerRequest {
        enterprise_id: world.stranger.id.clone(),
        name: "elsewhere".into(),
        institution_identifier: "SPOT".into(),
        ..Default::default()
    };
    admin.create_partner(elsewhere.clone()).await.expect("free");
    assert_eq!(
        reason(admin.create_partner(elsewhere).await),
        "PARTNER_EXISTS"
    );
    let unknown = pb::UpdatePartnerRequest {
        partner_id: NOBODY.into(),
        ..Default::default()
    };
    assert_eq!(
        reason(admin.update_partner(unknown).await),
        "PARTNER_NOT_FOUND"
    );
}

#[tokio::test]
async fn the_partners_own_id_of_a_connection_is_set_changed_and_removed() {
    let world = network().await;
    let admin = world.services.admin();
    let named = pb::CreateConnectionRequest {
        partners_connection_id: "A-1".into(),
        ..joining(&world.client.id, &world.partner.id)
    };
    let other = connection(&admin, named).await;
    let update = |own_id: &str| pb::UpdateConnectionRequest {
        connection_id: world.connection.id.clone(),
        partners_connection_id: Some(own_id.into()),
        ..Default::default()
    };
    let taken = admin.update_connection(update("A-1")).await;
    let taken = taken.expect_err("taken");
    assert_eq!(detail(&taken, "id"), Some(other.id.clone()));
    assert_eq!(detail(&taken, "version").as_deref(), Some("1"));
    assert_eq!(reason::<()>(Err(taken)), "CONNECTION_EXISTS");
    for (own_id, version) in [("B-2", 2), ("C-3", 3), ("", 4), ("", 4)] {
        let updated = admin.update_connection(update(own_id)).await;
        let updated = updated.expect("updated").into_inner().connection;
        let updated = updated.expect("set");
        assert_eq!(updated.partners_connection_id, own_id);
        assert_eq!(updated.version, version);
    }
    // Two without any do not share one.
    let cleared = pb::UpdateConnectionRequest {
        connection_id: other.id.clone(),
        ..update("")
    };
    admin.update_connection(cleared).await.expect("removed");
    let free = admin.update_connection(update("A-1")).await;
    free.expect("it is free again");
    let long = admin.update_connection(update(&"x".repeat(129))).await;
    assert_eq!(fields(long), ["partners_connection_id"]);
}

/// The two connections belong to different clients, whose owners are locked by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_updates_to_one_own_id_one_is_applied() {
    let world = network().await;
    let admin = world.services.admin();
    let mut connections = Vec::new();
    for number in 0..6 {
        let owner = enterprise(&admin, &format!("buyer {number}")).await;
        let client = super::client(&admin, &owner.id).await;
        connections.push(connection(&admin, joining(&client.id, &world.partner.id)).await);
    }
    let calls = connections.iter().map(|connection| {
        let (admin, connection_id) = (world.services.admin(), connection.id.clone());
        tokio::spawn(async move {
            let request = pb::UpdateConnectionRequest {
                connection_id,
                partners_connection_id: Some("the one".into()),
                ..Default::default()
            };
            admin.update_connection(request).await
        })
    });
    let mut updated = 0;
    for call in calls.collect::<Vec<_>>() {
        match call.await.expect("no panic") {
            Ok(_) => updated += 1,
            refused => assert_eq!(reason(refused), "CONNECTION_EXISTS"),
        }
    }
    assert_eq!(updated, 1);
}

/// All rows of the network, but for its keys.
async fn rows(services: &Services) -> String {
    let sql = "SELECT string_agg(t, E'\\n' ORDER BY t) FROM (
        SELECT e::text t FROM enterprise e UNION ALL SELECT c::text FROM client c
        UNION ALL SELECT p::text FROM partner p UNION ALL SELECT c::text FROM connection c) all_rows";
    let row = services.sql().await.query_one(sql, &[]).await;
    row.expect("the rows").get(0)
}

#[tokio::test]
async fn an_update_to_the_same_content_changes_nothing() {
    let world = network().await;
    let admin = world.services.admin();
    let before = rows(&world.services).await;
    for validate_only in [true, false] {
        let enterprise = pb::UpdateEnterpriseRequest {
            enterprise_id: world.buyer.id.clone(),
            name: Some(world.buyer.name.clone()),
            oes_licensed: Some(world.buyer.oes_licensed),
            expected_version: Some(1),
            request_id: "same".into(),
            validate_only,
        };
        let same = admin.update_enterprise(enterprise.clone()).await;
        let same = same.expect("served").into_inner().enterprise.expect("set");
        assert_eq!((same.version, same.updated_at), (1, world.buyer.updated_at));
        let client = pb::UpdateClientRequest {
            client_id: world.client.id.clone(),
            name: Some(world.client.name.clone()),
            validate_only,
            ..Default::default()
        };
        let same = admin.update_client(client).await.expect("served");
        assert_eq!(same.into_inner().client.as_ref(), Some(&world.client));
        let partner = pb::UpdatePartnerRequest {
            partner_id: world.partner.id.clone(),
            validate_only,
            ..Default::default()
        };
        let same = admin.update_partner(partner).await.expect("served");
        assert_eq!(same.into_inner().partner.as_ref(), Some(&world.partner));
        let connection = pb::UpdateConnectionRequest {
            connection_id: world.connection.id.clone(),
            allocations_enabled: Some(true),
            partners_connection_id: Some(String::new()),
            validate_only,
            ..Default::default()
        };
        let same = admin.update_connection(connection).await.expect("served");
        assert_eq!(
            same.into_inner().connection.as_ref(),
            Some(&world.connection)
        );
    }
    assert_eq!(rows(&world.services).await, before);
    // The key stands for it nevertheless.
    let other = pb::UpdateEnterpriseRequest {
        enterprise_id: world.buyer.id.clone(),
        name: Some("other".into()),
        request_id: "same".into(),
        ..Default::default()
    };
    assert_eq!(
        reason(admin.update_enterprise(other).await),
        "IDEMPOTENCY_KEY_REUSED"
    );
}
