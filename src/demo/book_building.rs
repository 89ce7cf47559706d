//! CAS allocations of one firm: those of two investors in a deal, and one that failed.

use tonic::Status;
use tonic::codegen::InterceptedService;
use tonic::service::Routes;

use crate::demo::caller::DemoCaller;
use crate::demo::ids::DEAL;
use crate::proto::cas::v1::cas_allocation_service_client::CasAllocationServiceClient;
use crate::proto::cas::v1::{
    Affirmation, AllocationDetail, AllocationOrder, AllocationValue, AllocationValueData,
    AllocationValueType, CasAllocation, Comment, CommentList, CreateAllocationRequest,
    DistributionType, OrderStatus, StatusMessage,
};

/// Creates the allocations. Their source ids are their idempotency keys.
pub(super) async fn load(routes: Routes) -> Result<(), Status> {
    let channel = InterceptedService::new(routes, DemoCaller::of(&[]));
    let mut rpc = CasAllocationServiceClient::new(channel);
    let allocation = |number: u32, investor: &str, amount: &str| CasAllocation {
        deal_id: Some(DEAL.into()),
        tranche_id: Some("A".into()),
        source_id: Some(format!("demo-{number}")),
        investor_account_id: Some(investor.into()),
        company_id: Some(102),
        order_status: OrderStatus::Successful.into(),
        allocation_value: Some(AllocationValue {
            r#type: AllocationValueType::Cash.into(),
            data: Some(AllocationValueData {
                amount: Some(amount.into()),
            }),
            override_allocation: None,
        }),
        distribution_type: DistributionType::Manual.into(),
        ..Default::default()
    };
    let affirmed = CasAllocation {
        detail: Some(AllocationDetail {
            order: Some(AllocationOrder {
                affirmation: Some(Affirmation {
                    is_affirmed: Some(true),
                    modified_by: Some("ada".into()),
                    modified_date_time: None,
                }),
            }),
        }),
        ..allocation(1, "INV-1", "1250000.5")
    };
    let commented = CasAllocation {
        comment: Some(CommentList {
            comments: vec![Comment {
                comment_type: Some("public".into()),
                comment: Some("Scaled back".into()),
                last_modified_by: Some("ada".into()),
                last_modified_date_time: None,
            }],
        }),
        ..allocation(2, "INV-2", "750000")
    };
    let failed = CasAllocation {
        order_status: OrderStatus::Failed.into(),
        status_messages: vec![StatusMessage {
            code: Some("E-17".into()),
            message: Some("Unknown investor account".into()),
        }],
        ..allocation(3, "INV-3", "40000")
    };
    for allocation in [affirmed, commented, failed] {
        let request = CreateAllocationRequest {
            allocation: Some(allocation),
            ..Default::default()
        };
        rpc.create_allocation(request).await?;
    }
    Ok(())
}
