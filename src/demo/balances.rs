//! Balances of the demo network's client, and allocations of them.

use tonic::Status;
use tonic::codegen::InterceptedService;
use tonic::service::Routes;
use uuid::Uuid;

use crate::demo::caller::DemoCaller;
use crate::demo::ids::DemoIds;
use crate::proto::allocation::v1::allocation_service_client::AllocationServiceClient;
use crate::proto::allocation::v1::{
    ClearAllocationRequest, CreateAllocationRequest, CreateDeallocationRequest,
    ReleaseAllocationRequest,
};
use crate::proto::balance::v1::AdjustBalanceRequest;
use crate::proto::balance::v1::balance_service_client::BalanceServiceClient;
use crate::proto::common::v1::Amount;
use crate::types::ids::EnterpriseId;

/// Deposits 5 BTC and 250,000 USDC, and creates allocations of them.
pub(super) async fn load(routes: Routes, demo: &DemoIds) -> Result<(), Status> {
    let enterprises: Vec<EnterpriseId> = [&demo.enterprise, &demo.partner_enterprise]
        .into_iter()
        .filter_map(|id| Uuid::parse_str(id).ok().map(EnterpriseId))
        .collect();
    let channel = InterceptedService::new(routes, DemoCaller::of(&enterprises));
    let mut rpc = BalanceServiceClient::new(channel.clone());
    // Quantities are in base units, of which a BTC has 10^8 and a USDC 10^6.
    for (currency, quantity) in [("BTC", "500000000"), ("USDC", "250000000000")] {
        let request = AdjustBalanceRequest {
            enterprise_id: demo.enterprise.clone(),
            currency: currency.into(),
            quantity: quantity.into(),
            external_id: format!("demo deposit {currency}"),
            reason: "Opening deposit".into(),
            validate_only: false,
        };
        rpc.adjust_balance(request).await?;
    }
    allocations(AllocationServiceClient::new(channel), demo).await
}

/// One allocation in each state: open, cleared, released, being deallocated, and moved instantly.
async fn allocations(
    mut rpc: AllocationServiceClient<InterceptedService<Routes, DemoCaller>>,
    demo: &DemoIds,
) -> Result<(), Status> {
    let amount = |currency: &str, quantity: &str| {
        Some(Amount {
            currency: currency.into(),
            quantity: quantity.into(),
        })
    };
    let mut create = async |connection: &str, amount: Option<Amount>, external_id: &str| {
        let request = CreateAllocationRequest {
            enterprise_id: demo.enterprise.clone(),
            connection_id: connection.into(),
            amount,
            client_external_id: external_id.into(),
            notes: Some("Demo data".into()),
            ..Default::default()
        };
        let answer = rpc.create_allocation(request).await?.into_inner();
        Ok::<_, Status>(answer.allocation.unwrap_or_default().id)
    };
    let (confirmed, instant) = (&demo.confirmed_connection, &demo.instant_connection);
    create(confirmed, amount("BTC", "120000000"), "demo-1").await?;
    create(instant, amount("USDC", "50000000000"), "demo-2").await?;
    let cleared = create(confirmed, amount("BTC", "80000000"), "demo-3").await?;
    let released = create(confirmed, amount("BTC", "30000000"), "demo-4").await?;

    let clear = ClearAllocationRequest {
        enterprise_id: demo.partner_enterprise.clone(),
        connection_id: confirmed.clone(),
        allocation_id: cleared,
        partner_external_id: Some("nw-3".into()),
        validate_only: false,
    };
    rpc.clear_allocation(clear).await?;
    let release = ReleaseAllocationRequest {
        enterprise_id: demo.partner_enterprise.clone(),
        connection_id: confirmed.clone(),
        allocation_id: released,
        partner_external_id: Some("nw-4".into()),
        reason: "Not needed any more".into(),
        validate_only: false,
    };
    rpc.release_allocation(release).await?;
    let back = CreateDeallocationRequest {
        enterprise_id: demo.enterprise.clone(),
        connection_id: confirmed.clone(),
        amount: amount("BTC", "20000000"),
        client_external_id: "demo-5".into(),
        notes: Some("Demo data".into()),
        ..Default::default()
    };
    rpc.create_deallocation(back).await.map(|_| ())
}
