use earmark::auth::caller::Caller;
use earmark::proto::network::v1 as pb;
use tonic::Code;

use super::{NOBODY, client, enterprise, network, partner};
use crate::support::service::{Services, member, reason};

fn get_client(id: &str) -> pb::GetClientRequest {
    pb::GetClientRequest {
        client_id: id.into(),
    }
}

fn get_partner(id: &str) -> pb::GetPartnerRequest {
    pb::GetPartnerRequest {
        partner_id: id.into(),
    }
}

#[tokio::test]
async fn an_enterprise_has_at_most_one_client() {
    let services = Services::start().await;
    let network = services.admin();
    let owner = enterprise(&network, "e").await;
    let created = client(&network, &owner.id).await;
    assert_eq!(created.enterprise_id, owner.id);
    assert_eq!(created.name, "client");
    assert_eq!(created.created_at, created.updated_at);

    let second = pb::CreateClientRequest {
        enterprise_id: owner.id.clone(),
        name: "second".into(),
        ..Default::default()
    };
    let refused = network.create_client(second).await.expect_err("a second");
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(reason::<()>(Err(refused)), "CLIENT_EXISTS");

    let read = network.get_client(get_client(&created.id)).await;
    assert_eq!(read.expect("found").into_inner().client, Some(created));
    assert_eq!(services.count("SELECT count(*) FROM client").await, 1);
}

#[tokio::test]
async fn concurrent_creates_make_one_client() {
    let services = Services::start().await;
    let owner = enterprise(&services.admin(), "e").await;
    let calls = (0..8).map(|_| {
        let (network, enterprise_id) = (services.admin(), owner.id.clone());
        tokio::spawn(async move {
            let request = pb::CreateClientRequest {
                enterprise_id,
                name: "client".into(),
                ..Default::default()
            };
            network.create_client(request).await
        })
    });
    let (mut created, mut refused) = (0, 0);
    for call in calls.collect::<Vec<_>>() {
        match call.await.expect("no panic") {
            Ok(_) => created += 1,
            refusal => {
                assert_eq!(reason(refusal), "CLIENT_EXISTS");
                refused += 1;
            }
        }
    }
    assert_eq!((created, refused), (1, 7));
}

#[tokio::test]
async fn an_enterprise_has_any_number_of_partners() {
    let services = Services::start().await;
    let network = services.admin();
    let owner = enterprise(&network, "e").await;
    let one = partner(&network, &owner.id, "same").await;
    let other = pb::CreatePartnerRequest {
        enterprise_id: owner.id.clone(),
        name: "same".into(),
        institution_identifier: "other-institution".into(),
        ..Default::default()
    };
    let other = network.create_partner(other).await.expect("created");
    assert_ne!(other.into_inner().partner.expect("set").id, one.id);
    assert_eq!(one.institution_identifier, "same-institution");
    let read = network.get_partner(get_partner(&one.id)).await;
    assert_eq!(read.expect("found").into_inner().partner, Some(one));
}

#[tokio::test]
async fn clients_and_partners_of_an_unknown_enterprise_are_refused() {
    let services = Services::start().await;
    let network = services.admin();
    let client = pb::CreateClientRequest {
        enterprise_id: NOBODY.into(),
        name: "c".into(),
        ..Default::default()
    };
    assert_eq!(
        reason(network.create_client(client).await),
        "ENTERPRISE_NOT_FOUND"
    );
    let partner = pb::CreatePartnerRequest {
        enterprise_id: NOBODY.into(),
        name: "p".into(),
        institution_identifier: "i".into(),
        ..Default::default()
    };
    assert_eq!(
        reason(network.create_partner(partner).await),
        "ENTERPRISE_NOT_FOUND"
    );
}

#[tokio::test]
async fn a_client_is_visible_to_its_own_enterprise_only() {
    let world = network().await;
    let of = |id: &str| world.services.network(member(&[NOBODY, id]));
    let own = of(&world.buyer.id)
        .get_client(get_client(&world.client.id))
        .await;
    assert_eq!(
        own.expect("found").into_inner().client,
        Some(world.client.clone())
    );
    for other in [&world.venue.id, &world.stranger.id] {
        let hidden = of(other).get_client(get_client(&world.client.id)).await;
        assert_eq!(reason(hidden), "CLIENT_NOT_FOUND");
    }
    let admin = world.services.admin();
    assert_eq!(
        reason(admin.get_client(get_client(NOBODY)).await),
        "CLIENT_NOT_FOUND"
    );
    let mut no_claim = member(&[]);
    no_claim.enterprises = Caller::with_scopes("nobody", &[]).enterprises;
    let no_claim = world.services.network(no_claim);
    let refused = no_claim.get_client(get_client(&world.client.id)).await;
    assert_eq!(reason(refused), "NOT_A_MEMBER");
}

#[tokio::test]
async fn a_partner_is_visible_to_its_own_and_to_connected_enterprises() {
    let world = network().await;
    for id in [&world.venue.id, &world.buyer.id] {
        let seen = world.services.network(member(&[id]));
        let seen = seen.get_partner(get_partner(&world.partner.id)).await;
        assert_eq!(
            seen.expect("found").into_inner().partner,
            Some(world.partner.clone())
        );
    }
    let stranger = world.services.network(member(&[&world.stranger.id]));
    let hidden = stranger.get_partner(get_partner(&world.partner.id)).await;
    assert_eq!(reason(hidden), "PARTNER_NOT_FOUND");

    // A second partner of the same venue, not connected to the buyer.
    let admin = world.services.admin();
    let unconnected = partner(&admin, &world.venue.id, "other").await;
    let buyer = world.services.network(member(&[&world.buyer.id]));
    let hidden = buyer.get_partner(get_partner(&unconnected.id)).await;
    assert_eq!(reason(hidden), "PARTNER_NOT_FOUND");
}
