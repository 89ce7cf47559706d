//! Idempotency keys: one key, one record.

use earmark::limits::SWEEP_INTERVAL;
use earmark::proto::network::v1 as pb;
use tonic::Code;

use super::{NOBODY, client, connection, enterprise, joining, network, partner};
use crate::support::earmark::{Earmark, refusal};
use crate::support::service::{NetworkClient, Services, admin, detail, is_replayed, reason};

fn creating(name: &str, request_id: &str) -> pb::CreateEnterpriseRequest {
    pb::CreateEnterpriseRequest {
        name: name.into(),
        request_id: request_id.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_replayed_create_returns_the_current_record() {
    let services = Services::start().await;
    let network = services.admin();
    let first = network.create_enterprise(creating("e", "k")).await;
    let first = first.expect("created");
    assert!(!is_replayed(&first));
    let created = first.into_inner().enterprise.expect("the record");
    client(&network, &created.id).await;
    let update = pb::UpdateEnterpriseRequest {
        enterprise_id: created.id.clone(),
        name: Some("renamed".into()),
        ..Default::default()
    };
    let updated = network.update_enterprise(update).await.expect("updated");

    let again = network.create_enterprise(creating("e", "k")).await;
    let again = again.expect("replayed");
    assert!(is_replayed(&again));
    assert_eq!(
        again.into_inner().enterprise,
        updated.into_inner().enterprise
    );
    assert_eq!(services.count("SELECT count(*) FROM enterprise").await, 1);
    // One key of the issuer and one of the enterprise; none for the enterprise that was not created.
    assert_eq!(services.count("SELECT count(*) FROM owner").await, 2);

    // Without a key a repeat is another record.
    for _ in 0..2 {
        let unkeyed = network.create_enterprise(creating("e", "")).await;
        assert!(!is_replayed(&unkeyed.expect("created")));
    }
    assert_eq!(services.count("SELECT count(*) FROM enterprise").await, 3);
}

#[tokio::test]
async fn a_key_with_other_content_is_refused() {
    let services = Services::start().await;
    let network = services.admin();
    network
        .create_enterprise(creating("e", "k"))
        .await
        .expect("created");
    let licensed = pb::CreateEnterpriseRequest {
        oes_licensed: true,
        ..creating("e", "k")
    };
    for other in [creating("f", "k"), licensed] {
        let refused = network.create_enterprise(other).await.expect_err("reused");
        assert_eq!(refused.code(), Code::AlreadyExists);
        assert_eq!(detail(&refused, "field").as_deref(), Some("request_id"));
        assert_eq!(reason::<()>(Err(refused)), "IDEMPOTENCY_KEY_REUSED");
    }
    assert_eq!(services.count("SELECT count(*) FROM enterprise").await, 1);
}

#[tokio::test]
async fn a_key_belongs_to_one_issuer_and_one_rpc() {
    let services = Services::start().await;
    let mut elsewhere = admin();
    elsewhere.issuer = "https://other.example".into();
    let network = services.admin();
    let mut colleague = admin();
    colleague.subject = "colleague".into();

    let first = network.create_enterprise(creating("e", "k")).await;
    let first = first.expect("created").into_inner().enterprise;
    let other = services.network(elsewhere);
    let other = other.create_enterprise(creating("f", "k")).await;
    assert!(!is_replayed(&other.expect("created")));
    let same = services.network(colleague);
    let same = same.create_enterprise(creating("e", "k")).await;
    let same = same.expect("replayed");
    assert!(is_replayed(&same));
    assert_eq!(same.into_inner().enterprise, first);

    let request = pb::CreatePartnerRequest {
        enterprise_id: first.expect("the record").id,
        name: "e".into(),
        institution_identifier: "i".into(),
        request_id: "k".into(),
        ..Default::default()
    };
    let partner = network.create_partner(request).await;
    assert!(!is_replayed(&partner.expect("created")));
}

async fn update_of_a_connection_replays(network: &NetworkClient, connection_id: &str) {
    let request = pb::UpdateConnectionRequest {
        connection_id: connection_id.into(),
        allocations_enabled: Some(false),
        disabled_reason: Some("why".into()),
        expected_version: Some(1),
        request_id: "k".into(),
        ..Default::default()
    };
    let first = network.update_connection(request.clone()).await;
    let first = first.expect("updated");
    let other_version = pb::UpdateConnectionRequest {
        expected_version: None,
        ..request.clone()
    };
    let again = network.update_connection(request.clone()).await;
    let again = again.expect("replayed");
    let still = network.update_connection(other_version).await;
    assert!(!is_replayed(&first) && is_replayed(&again));
    assert!(is_replayed(&still.expect("the version is no content")));
    assert_eq!(first.into_inner(), again.into_inner());
    let other_reason = pb::UpdateConnectionRequest {
        disabled_reason: Some("why not".into()),
        ..request
    };
    let refused = network.update_connection(other_reason).await;
    assert_eq!(reason(refused), "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn every_write_is_replayed_by_its_key() {
    let world = network().await;
    let network = world.services.admin();
    let owner = enterprise(&network, "e").await;

    let request = pb::CreateClientRequest {
        enterprise_id: owner.id.clone(),
        name: "c".into(),
        request_id: "k".into(),
        ..Default::default()
    };
    let first = network
        .create_client(request.clone())
        .await
        .expect("created");
    let again = network.create_client(request).await.expect("replayed");
    assert!(!is_replayed(&first) && is_replayed(&again));
    assert_eq!(first.into_inner(), again.into_inner());

    let request = pb::CreatePartnerRequest {
        enterprise_id: owner.id.clone(),
        name: "p".into(),
        institution_identifier: "i".into(),
        request_id: "k".into(),
        ..Default::default()
    };
    let first = network
        .create_partner(request.clone())
        .await
        .expect("created");
    let again = network.create_partner(request).await.expect("replayed");
    assert!(!is_replayed(&first) && is_replayed(&again));
    assert_eq!(first.into_inner(), again.into_inner());

    // Its own `partners_connection_id` does not stand in the way of a repeat.
    let request = pb::CreateConnectionRequest {
        partners_connection_id: "A-1".into(),
        request_id: "k".into(),
        ..joining(&world.client.id, &world.partner.id)
    };
    let first = network.create_connection(request.clone()).await;
    let first = first.expect("created");
    let again = network.create_connection(request).await.expect("replayed");
    assert!(!is_replayed(&first) && is_replayed(&again));
    assert_eq!(first.into_inner(), again.into_inner());

    // Nor does the version that the first one made.
    let request = pb::UpdateEnterpriseRequest {
        enterprise_id: owner.id.clone(),
        oes_licensed: Some(false),
        expected_version: Some(1),
        request_id: "k".into(),
        ..Default::default()
    };
    let first = network.update_enterprise(request.clone()).await;
    let first = first.expect("updated");
    let again = network.update_enterprise(request).await.expect("replayed");
    assert!(!is_replayed(&first) && is_replayed(&again));
    assert_eq!(first.into_inner(), again.into_inner());

    update_of_a_connection_replays(&network, &world.connection.id).await;
}

#[tokio::test]
async fn a_refused_write_stores_no_key() {
    let world = network().await;
    let network = world.services.admin();
    let request = |expected_version| pb::UpdateEnterpriseRequest {
        enterprise_id: world.buyer.id.clone(),
        name: Some("n".into()),
        expected_version: Some(expected_version),
        request_id: "k".into(),
        ..Default::default()
    };
    let refused = network.update_enterprise(request(9)).await;
    assert_eq!(reason(refused), "VERSION_MISMATCH");
    let unknown = pb::CreateConnectionRequest {
        request_id: "k".into(),
        ..joining(NOBODY, NOBODY)
    };
    let refused = network.create_connection(unknown).await;
    assert_eq!(reason(refused), "CLIENT_NOT_FOUND");
    assert_eq!(
        world
            .services
            .count("SELECT count(*) FROM request_key")
            .await,
        0
    );

    let applied = network.update_enterprise(request(1)).await;
    assert!(!is_replayed(&applied.expect("updated")));
    assert_eq!(
        world
            .services
            .count("SELECT count(*) FROM request_key")
            .await,
        1
    );
}

#[tokio::test]
async fn a_replay_is_found_before_the_named_records_are_checked() {
    let world = network().await;
    let network = world.services.admin();
    let first = pb::CreateConnectionRequest {
        request_id: "k".into(),
        ..joining(&world.client.id, &world.partner.id)
    };
    connection(&network, first).await;
    let unknown = pb::CreateConnectionRequest {
        request_id: "k".into(),
        ..joining(NOBODY, NOBODY)
    };
    let refused = network.create_connection(unknown).await;
    assert_eq!(reason(refused), "IDEMPOTENCY_KEY_REUSED");

    let update = |connection_id: &str| pb::UpdateConnectionRequest {
        connection_id: connection_id.into(),
        name: Some("n".into()),
        request_id: "k".into(),
        ..Default::default()
    };
    let updated = network
        .update_connection(update(&world.connection.id))
        .await;
    updated.expect("updated");
    let refused = network.update_connection(update(NOBODY)).await;
    assert_eq!(reason(refused), "IDEMPOTENCY_KEY_REUSED");

    // The enterprise is checked before the key.
    partner(&network, &world.venue.id, "p").await;
    let unknown = pb::CreateClientRequest {
        enterprise_id: NOBODY.into(),
        name: "c".into(),
        request_id: "k".into(),
        ..Default::default()
    };
    let refused = network.create_client(unknown).await;
    assert_eq!(reason(refused), "ENTERPRISE_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_creates_with_one_key_make_one_record() {
    let services = Services::start().await;
    let calls = (0..16).map(|_| {
        let network = services.admin();
        tokio::spawn(async move { network.create_enterprise(creating("e", "k")).await })
    });
    let mut fresh = 0;
    let mut ids = std::collections::BTreeSet::new();
    for call in calls.collect::<Vec<_>>() {
        let response = call.await.expect("no panic").expect("created or replayed");
        fresh += i32::from(!is_replayed(&response));
        ids.insert(response.into_inner().enterprise.expect("the record").id);
    }
    assert_eq!((fresh, ids.len()), (1, 1));
    assert_eq!(services.count("SELECT count(*) FROM enterprise").await, 1);
}

#[tokio::test]
async fn a_key_is_kept_as_long_as_its_record() {
    // A whole server with its background tasks.
    let earmark = Earmark::start().await;
    let network = earmark.admin().network;
    let create = async |name: &str| {
        let request = creating(name, "k");
        network.clone().create_enterprise(request).await
    };
    let first = create("e").await.expect("created").into_inner();
    let age = "UPDATE request_key SET created_at = created_at - interval '10 years'";
    earmark.sql().await.execute(age, &[]).await.expect(age);
    tokio::time::sleep(2 * SWEEP_INTERVAL).await;
    let again = create("e").await.expect("replayed");
    assert!(is_replayed(&again));
    assert_eq!(again.into_inner(), first);
    refusal(create("other").await).expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
}
