//! `validate_only` checks everything, answers like the real call, and writes nothing.

use earmark::proto::network::v1 as pb;

use super::{NOBODY, Network, joining, network};
use crate::support::service::{Services, is_replayed, reason};

/// Everything that is stored, as text.
async fn stored(services: &Services) -> String {
    let rows = [
        "owner",
        "enterprise",
        "client",
        "partner",
        "connection",
        "request_key",
    ]
    .map(|table| {
        format!("SELECT '{table}' AS stored, to_jsonb({table})::text AS row FROM {table}")
    });
    let sql = format!(
        "SELECT coalesce(string_agg(stored || row, E'\\n' ORDER BY stored, row), '') FROM ({}) AS all_rows",
        rows.join(" UNION ALL ")
    );
    services
        .sql()
        .await
        .query_one(&sql, &[])
        .await
        .expect(&sql)
        .get(0)
}

async fn validates_creations_of_sides(world: &Network) {
    let network = world.services.admin();
    let request = pb::CreateClientRequest {
        enterprise_id: world.venue.id.clone(),
        name: "c".into(),
        request_id: "k".into(),
        validate_only: true,
    };
    let answer = network.create_client(request).await.expect("valid");
    let expected = pb::Client {
        enterprise_id: world.venue.id.clone(),
        name: "c".into(),
        version: 1,
        ..Default::default()
    };
    assert_eq!(answer.into_inner().client, Some(expected));

    let request = pb::CreatePartnerRequest {
        enterprise_id: world.venue.id.clone(),
        name: "p".into(),
        institution_identifier: "i".into(),
        request_id: "k".into(),
        validate_only: true,
    };
    let answer = network.create_partner(request).await.expect("valid");
    let expected = pb::Partner {
        enterprise_id: world.venue.id.clone(),
        name: "p".into(),
        institution_identifier: "i".into(),
        version: 1,
        ..Default::default()
    };
    assert_eq!(answer.into_inner().partner, Some(expected));
}

async fn validates_writes_of_connections(world: &Network) {
    let network = world.services.admin();
    let request = pb::CreateConnectionRequest {
        partners_connection_id: "A-1".into(),
        request_id: "k".into(),
        validate_only: true,
        ..joining(&world.client.id, &world.partner.id)
    };
    let answer = network.create_connection(request).await.expect("valid");
    let expected = pb::Connection {
        id: String::new(),
        partners_connection_id: "A-1".into(),
        created_at: None,
        updated_at: None,
        ..world.connection.clone()
    };
    assert_eq!(answer.into_inner().connection, Some(expected));

    let request = pb::UpdateConnectionRequest {
        connection_id: world.connection.id.clone(),
        allocations_enabled: Some(false),
        disabled_reason: Some("why".into()),
        request_id: "k".into(),
        validate_only: true,
        ..Default::default()
    };
    let answer = network.update_connection(request).await.expect("valid");
    let expected = pb::Connection {
        allocations_enabled: false,
        allocations_disabled_reason: Some("why".into()),
        version: 2,
        updated_at: None,
        ..world.connection.clone()
    };
    assert_eq!(answer.into_inner().connection, Some(expected));
}

#[tokio::test]
async fn validate_only_answers_like_the_real_write_and_writes_nothing() {
    let world = network().await;
    let network = world.services.admin();
    let before = stored(&world.services).await;

    let request = pb::CreateEnterpriseRequest {
        name: "e".into(),
        oes_licensed: true,
        request_id: "k".into(),
        validate_only: true,
    };
    let answer = network.create_enterprise(request).await.expect("valid");
    assert!(!is_replayed(&answer));
    let expected = pb::Enterprise {
        name: "e".into(),
        oes_licensed: true,
        version: 1,
        ..Default::default()
    };
    assert_eq!(answer.into_inner().enterprise, Some(expected));

    let request = pb::UpdateEnterpriseRequest {
        enterprise_id: world.buyer.id.clone(),
        name: Some("renamed".into()),
        expected_version: Some(1),
        request_id: "k".into(),
        validate_only: true,
        ..Default::default()
    };
    let answer = network.update_enterprise(request).await.expect("valid");
    let expected = pb::Enterprise {
        name: "renamed".into(),
        client_id: Some(world.client.id.clone()),
        version: 2,
        updated_at: None,
        ..world.buyer.clone()
    };
    assert_eq!(answer.into_inner().enterprise, Some(expected));

    validates_creations_of_sides(&world).await;
    validates_writes_of_connections(&world).await;
    assert_eq!(stored(&world.services).await, before);
}

#[tokio::test]
async fn validate_only_refuses_what_the_real_write_refuses() {
    let world = network().await;
    let network = world.services.admin();
    let validate = |request: pb::CreateConnectionRequest| pb::CreateConnectionRequest {
        validate_only: true,
        ..request
    };
    let named = pb::CreateConnectionRequest {
        partners_connection_id: "A-1".into(),
        ..joining(&world.client.id, &world.partner.id)
    };
    network
        .create_connection(named.clone())
        .await
        .expect("created");
    let before = stored(&world.services).await;

    let refused = network.create_connection(validate(named)).await;
    assert_eq!(reason(refused), "CONNECTION_EXISTS");
    let unknown = validate(joining(NOBODY, &world.partner.id));
    let refused = network.create_connection(unknown).await;
    assert_eq!(reason(refused), "CLIENT_NOT_FOUND");
    let second = pb::CreateClientRequest {
        enterprise_id: world.buyer.id.clone(),
        name: "c".into(),
        validate_only: true,
        ..Default::default()
    };
    let refused = network.create_client(second.clone()).await;
    assert_eq!(reason(refused), "CLIENT_EXISTS");
    let nobodys = pb::CreateClientRequest {
        enterprise_id: NOBODY.into(),
        ..second
    };
    let refused = network.create_client(nobodys).await;
    assert_eq!(reason(refused), "ENTERPRISE_NOT_FOUND");
    let stale = pb::UpdateEnterpriseRequest {
        enterprise_id: world.buyer.id.clone(),
        expected_version: Some(3),
        validate_only: true,
        ..Default::default()
    };
    let refused = network.update_enterprise(stale).await;
    assert_eq!(reason(refused), "VERSION_MISMATCH");
    assert_eq!(stored(&world.services).await, before);
}

#[tokio::test]
async fn validate_only_replays_and_refuses_a_reused_key() {
    let services = Services::start().await;
    let network = services.admin();
    let request = |name: &str, validate_only| pb::CreateEnterpriseRequest {
        name: name.into(),
        request_id: "k".into(),
        validate_only,
        ..Default::default()
    };
    let created = network.create_enterprise(request("e", false)).await;
    let created = created.expect("created").into_inner();
    let validated = network.create_enterprise(request("e", true)).await;
    let validated = validated.expect("replayed");
    assert!(is_replayed(&validated));
    assert_eq!(validated.into_inner(), created);
    let refused = network.create_enterprise(request("f", true)).await;
    assert_eq!(reason(refused), "IDEMPOTENCY_KEY_REUSED");
}
