use earmark::proto::network::v1 as pb;
use tonic::Code;

use super::{NOBODY, client, connection, enterprise, joining, network, partner};
use crate::support::service::{detail, fields, member, reason};

fn get(id: &str) -> pb::GetConnectionRequest {
    pb::GetConnectionRequest {
        connection_id: id.into(),
    }
}

fn update(id: &str) -> pb::UpdateConnectionRequest {
    pb::UpdateConnectionRequest {
        connection_id: id.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_new_connection_has_both_directions_enabled_and_is_visible_to_both_sides() {
    let world = network().await;
    let expected = pb::Connection {
        id: world.connection.id.clone(),
        client_id: world.client.id.clone(),
        client_name: world.client.name.clone(),
        partner_id: world.partner.id.clone(),
        partner_name: world.partner.name.clone(),
        name: "connection".into(),
        partners_connection_id: String::new(),
        mode: pb::ConnectionMode::Confirmed.into(),
        active: true,
        allocations_enabled: true,
        deallocations_enabled: true,
        allocations_disabled_reason: None,
        deallocations_disabled_reason: None,
        version: 1,
        created_at: world.connection.created_at,
        updated_at: world.connection.created_at,
    };
    assert!(expected.created_at.is_some());
    for id in [&world.buyer.id, &world.venue.id] {
        let side = world.services.network(member(&[id]));
        let read = side.get_connection(get(&world.connection.id)).await;
        let read = read.expect("found").into_inner().connection;
        assert_eq!(read.as_ref(), Some(&expected));
    }
    let stranger = world.services.network(member(&[&world.stranger.id]));
    let hidden = stranger.get_connection(get(&world.connection.id)).await;
    assert_eq!(reason(hidden), "CONNECTION_NOT_FOUND");
    let unknown = world.services.admin().get_connection(get(NOBODY)).await;
    assert_eq!(reason(unknown), "CONNECTION_NOT_FOUND");
}

#[tokio::test]
async fn a_connection_needs_a_client_and_a_partner_of_different_enterprises() {
    let world = network().await;
    let admin = world.services.admin();
    let refused = admin.create_connection(joining(NOBODY, NOBODY)).await;
    assert_eq!(reason(refused), "CLIENT_NOT_FOUND");
    let refused = admin
        .create_connection(joining(&world.client.id, NOBODY))
        .await;
    assert_eq!(reason(refused), "PARTNER_NOT_FOUND");
    let own = partner(&admin, &world.buyer.id, "own").await;
    let refused = admin
        .create_connection(joining(&world.client.id, &own.id))
        .await;
    assert_eq!(fields(refused), ["partner_id"]);
}

#[tokio::test]
async fn a_partners_own_id_is_unique_among_its_connections() {
    let world = network().await;
    let admin = world.services.admin();
    let named = |client_id: &str, partner_id: &str| pb::CreateConnectionRequest {
        partners_connection_id: "A-1".into(),
        ..joining(client_id, partner_id)
    };
    let first = connection(&admin, named(&world.client.id, &world.partner.id)).await;
    assert_eq!(first.partners_connection_id, "A-1");

    // The same client's again, and another client's.
    let other = enterprise(&admin, "other buyer").await;
    let other = client(&admin, &other.id).await;
    for client_id in [&world.client.id, &other.id] {
        let taken = admin
            .create_connection(named(client_id, &world.partner.id))
            .await;
        let taken = taken.expect_err("taken");
        assert_eq!(taken.code(), Code::AlreadyExists);
        assert_eq!(
            detail(&taken, "field").as_deref(),
            Some("partners_connection_id")
        );
        assert_eq!(reason::<()>(Err(taken)), "CONNECTION_EXISTS");
    }
    // Another partner's, and any number without one.
    let second = partner(&admin, &world.venue.id, "second").await;
    connection(&admin, named(&world.client.id, &second.id)).await;
    connection(&admin, joining(&world.client.id, &world.partner.id)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_concurrent_connections_with_one_partner_id_is_created() {
    let world = network().await;
    let admin = world.services.admin();
    let mut calls = Vec::new();
    for index in 0..8 {
        let buyer = enterprise(&admin, &format!("buyer {index}")).await;
        let client = client(&admin, &buyer.id).await;
        let request = pb::CreateConnectionRequest {
            partners_connection_id: "A-1".into(),
            ..joining(&client.id, &world.partner.id)
        };
        calls.push((admin.clone(), request));
    }
    let calls = calls.into_iter().map(|(admin, request)| {
        tokio::spawn(async move { admin.create_connection(request).await })
    });
    let mut created = 0;
    for call in calls.collect::<Vec<_>>() {
        match call.await.expect("no panic") {
            Ok(_) => created += 1,
            refused => assert_eq!(reason(refused), "CONNECTION_EXISTS"),
        }
    }
    assert_eq!(created, 1);
}

#[tokio::test]
async fn disabling_a_direction_needs_a_reason_and_enabling_takes_none() {
    let world = network().await;
    let admin = world.services.admin();
    let apply = async |request: pb::UpdateConnectionRequest| {
        let response = admin.update_connection(request).await.expect("updated");
        response.into_inner().connection.expect("the record")
    };
    let id = world.connection.id.as_str();

    let one = apply(pb::UpdateConnectionRequest {
        allocations_enabled: Some(false),
        disabled_reason: Some("halted".into()),
        ..update(id)
    })
    .await;
    assert!(one.active && !one.allocations_enabled && one.deallocations_enabled);
    assert_eq!(one.allocations_disabled_reason.as_deref(), Some("halted"));
    assert_eq!(
        (one.deallocations_disabled_reason.as_deref(), one.version),
        (None, 2)
    );

    let both = apply(pb::UpdateConnectionRequest {
        allocations_enabled: Some(false),
        deallocations_enabled: Some(false),
        disabled_reason: Some("closed".into()),
        name: Some("renamed".into()),
        ..update(id)
    })
    .await;
    assert!(!both.active);
    assert_eq!(both.allocations_disabled_reason.as_deref(), Some("closed"));
    assert_eq!(
        both.deallocations_disabled_reason.as_deref(),
        Some("closed")
    );
    assert_eq!((both.name.as_str(), both.version), ("renamed", 3));

    let mixed = apply(pb::UpdateConnectionRequest {
        allocations_enabled: Some(true),
        deallocations_enabled: Some(false),
        disabled_reason: Some("still".into()),
        ..update(id)
    })
    .await;
    assert!(mixed.active && mixed.allocations_enabled);
    assert_eq!(mixed.allocations_disabled_reason, None);
    assert_eq!(
        mixed.deallocations_disabled_reason.as_deref(),
        Some("still")
    );

    let enabled = apply(pb::UpdateConnectionRequest {
        deallocations_enabled: Some(true),
        expected_version: Some(4),
        ..update(id)
    })
    .await;
    let expected = pb::Connection {
        name: "renamed".into(),
        version: 5,
        updated_at: enabled.updated_at,
        ..world.connection.clone()
    };
    assert_eq!(enabled, expected);
    let read = admin.get_connection(get(id)).await;
    assert_eq!(read.expect("found").into_inner().connection, Some(enabled));
}

#[tokio::test]
async fn a_reason_without_disabling_a_direction_is_refused() {
    let world = network().await;
    let admin = world.services.admin();
    let id = world.connection.id.as_str();
    let reason_missing = pb::UpdateConnectionRequest {
        allocations_enabled: Some(false),
        deallocations_enabled: Some(true),
        ..update(id)
    };
    let reason_empty = pb::UpdateConnectionRequest {
        disabled_reason: Some(String::new()),
        ..reason_missing.clone()
    };
    let reason_long = pb::UpdateConnectionRequest {
        disabled_reason: Some("x".repeat(1_001)),
        ..reason_missing.clone()
    };
    let reason_alone = pb::UpdateConnectionRequest {
        disabled_reason: Some("why".into()),
        ..update(id)
    };
    let reason_of_enabling = pb::UpdateConnectionRequest {
        allocations_enabled: Some(true),
        disabled_reason: Some("why".into()),
        ..update(id)
    };
    for request in [
        reason_missing,
        reason_empty,
        reason_long,
        reason_alone,
        reason_of_enabling,
    ] {
        let refused = admin.update_connection(request.clone()).await;
        assert_eq!(fields(refused), ["disabled_reason"], "{request:?}");
    }
    let read = admin.get_connection(get(id)).await;
    let read = read.expect("found").into_inner().connection;
    assert_eq!(read, Some(world.connection));
}

#[tokio::test]
async fn an_update_of_an_unknown_connection_or_an_unexpected_version_is_refused() {
    let world = network().await;
    let admin = world.services.admin();
    let unknown = admin.update_connection(update(NOBODY)).await;
    assert_eq!(reason(unknown), "CONNECTION_NOT_FOUND");
    let stale = pb::UpdateConnectionRequest {
        expected_version: Some(0),
        ..update(&world.connection.id)
    };
    let stale = admin.update_connection(stale).await;
    assert_eq!(reason(stale), "VERSION_MISMATCH");
}
