//! The demo network: two enterprises that are connected as client and partner.

use tonic::Status;
use tonic::codegen::InterceptedService;
use tonic::service::Routes;

use crate::demo::caller::DemoCaller;
use crate::demo::ids::{COMPANY, DEAL, DemoIds, FIRM, PRODUCT, TENANT};
use crate::proto::network::v1::network_service_client::NetworkServiceClient;
use crate::proto::network::v1::{
    ConnectionMode, CreateClientRequest, CreateConnectionRequest, CreateEnterpriseRequest,
    CreatePartnerRequest,
};

/// Creates two enterprises, a client, a partner, and a connection of each mode.
pub(super) async fn load(routes: Routes) -> Result<DemoIds, Status> {
    let mut rpc = NetworkServiceClient::new(InterceptedService::new(routes, DemoCaller::of(&[])));
    let mut enterprise = async |name: &str| {
        let request = CreateEnterpriseRequest {
            name: name.into(),
            oes_licensed: true,
            request_id: format!("demo enterprise {name}"),
            validate_only: false,
        };
        let answer = rpc.create_enterprise(request).await?.into_inner();
        Ok::<_, Status>(answer.enterprise.unwrap_or_default().id)
    };
    let client_side = enterprise("Acme Capital").await?;
    let partner_side = enterprise("Northwind Exchange").await?;
    let client = CreateClientRequest {
        enterprise_id: client_side.clone(),
        name: "Acme Capital Trading".into(),
        request_id: "demo client".into(),
        validate_only: false,
    };
    let client = rpc
        .create_client(client)
        .await?
        .into_inner()
        .client
        .unwrap_or_default();
    let partner = CreatePartnerRequest {
        enterprise_id: partner_side.clone(),
        name: "Northwind Spot".into(),
        institution_identifier: "NORTHWIND".into(),
        request_id: "demo partner".into(),
        validate_only: false,
    };
    let partner = rpc
        .create_partner(partner)
        .await?
        .into_inner()
        .partner
        .unwrap_or_default();
    let mut connection = async |name: &str, mode: ConnectionMode| {
        let request = CreateConnectionRequest {
            client_id: client.id.clone(),
            partner_id: partner.id.clone(),
            name: name.into(),
            partners_connection_id: format!(
                "acme-{}",
                mode.as_str_name().rsplit('_').next().unwrap_or_default()
            ),
            mode: mode.into(),
            request_id: format!("demo connection {name}"),
            validate_only: false,
        };
        let answer = rpc.create_connection(request).await?.into_inner();
        Ok::<_, Status>(answer.connection.unwrap_or_default().id)
    };
    Ok(DemoIds {
        confirmed_connection: connection("Acme at Northwind, confirmed", ConnectionMode::Confirmed)
            .await?,
        instant_connection: connection("Acme at Northwind, instant", ConnectionMode::Instant)
            .await?,
        enterprise: client_side,
        partner_enterprise: partner_side,
        tenant: TENANT,
        product: PRODUCT,
        firm: FIRM,
        deal: DEAL,
        company: COMPANY,
    })
}
