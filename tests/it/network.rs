//! NetworkService, RPC by RPC and rule by rule.

mod arguments;
mod connections;
mod enterprises;
mod keys;
mod lists;
mod locks;
mod pages;
mod sides;
mod updates;
mod validate_only;

use earmark::proto::network::v1 as pb;

use crate::support::service::{NetworkClient, Services};

/// A UUID that no record has.
const NOBODY: &str = "0198a7b2-6a44-7c11-8d4e-00000000ffff";

async fn enterprise(network: &NetworkClient, name: &str) -> pb::Enterprise {
    let request = pb::CreateEnterpriseRequest {
        name: name.into(),
        oes_licensed: true,
        ..Default::default()
    };
    let response = network.create_enterprise(request).await.expect("created");
    response.into_inner().enterprise.expect("the record")
}

async fn client(network: &NetworkClient, enterprise_id: &str) -> pb::Client {
    let request = pb::CreateClientRequest {
        enterprise_id: enterprise_id.into(),
        name: "client".into(),
        ..Default::default()
    };
    let response = network.create_client(request).await.expect("created");
    response.into_inner().client.expect("the record")
}

async fn partner(network: &NetworkClient, enterprise_id: &str, name: &str) -> pb::Partner {
    let request = pb::CreatePartnerRequest {
        enterprise_id: enterprise_id.into(),
        name: name.into(),
        institution_identifier: format!("{name}-institution"),
        ..Default::default()
    };
    let response = network.create_partner(request).await.expect("created");
    response.into_inner().partner.expect("the record")
}

fn joining(client_id: &str, partner_id: &str) -> pb::CreateConnectionRequest {
    pb::CreateConnectionRequest {
        client_id: client_id.into(),
        partner_id: partner_id.into(),
        name: "connection".into(),
        mode: pb::ConnectionMode::Confirmed.into(),
        ..Default::default()
    }
}

async fn connection(
    network: &NetworkClient,
    request: pb::CreateConnectionRequest,
) -> pb::Connection {
    let response = network.create_connection(request).await.expect("created");
    response.into_inner().connection.expect("the record")
}

/// Two enterprises that a connection joins, and one that has nothing to do with it.
struct Network {
    services: Services,
    buyer: pb::Enterprise,
    client: pb::Client,
    venue: pb::Enterprise,
    partner: pb::Partner,
    connection: pb::Connection,
    stranger: pb::Enterprise,
}

async fn network() -> Network {
    let services = Services::start().await;
    let admin = services.admin();
    let buyer = enterprise(&admin, "buyer").await;
    let client = client(&admin, &buyer.id).await;
    let venue = enterprise(&admin, "venue").await;
    let partner = partner(&admin, &venue.id, "partner").await;
    let connection = connection(&admin, joining(&client.id, &partner.id)).await;
    let stranger = enterprise(&admin, "stranger").await;
    Network {
        services,
        buyer,
        client,
        venue,
        partner,
        connection,
        stranger,
    }
}
