//! CasAllocationService, endpoint by endpoint and rule by rule.

mod asking;
mod patch;
mod patch_model;
mod plans;
mod records;
mod refusals;
mod search;
mod search_model;
mod source;
mod statements;
mod texts;
mod tokens;
mod unchanged;
mod upserts;
mod writes;

use earmark::proto::cas::v1 as pb;
use earmark::proto::cas::v1::cas_allocation_service_client::CasAllocationServiceClient;
use serde_json::Value;
use tonic::Status;

use crate::support::earmark::Authorized;

/// A client of one firm.
type Client = CasAllocationServiceClient<Authorized>;

/// A UUID that no record has.
const NOBODY: &str = "0198a7b2-6a44-7c11-8d4e-00000000ffff";

async fn create(client: &Client, allocation: pb::CasAllocation) -> pb::CasAllocation {
    let request = pb::CreateAllocationRequest {
        allocation: Some(allocation),
        ..Default::default()
    };
    let answer = client.clone().create_allocation(request).await;
    answer
        .expect("created")
        .into_inner()
        .allocation
        .expect("set")
}

async fn get(client: &Client, id: &str) -> Result<pb::CasAllocation, Status> {
    let request = pb::GetAllocationRequest { id: id.into() };
    let answer = client.clone().get_allocation(request).await?;
    Ok(answer.into_inner().allocation.expect("set"))
}

/// Applies a patch, written as the document writes it.
async fn patch(client: &Client, id: &str, operations: Value) -> Result<pb::CasAllocation, Status> {
    let request = pb::PatchAllocationRequest {
        id: id.into(),
        operations: self::operations(&operations),
        ..Default::default()
    };
    let answer = client.clone().patch_allocation(request).await?;
    Ok(answer.into_inner().allocation.expect("set"))
}

/// The operations of a patch document.
fn operations(patch: &Value) -> Vec<pb::PatchOperation> {
    let operations = patch.as_array().expect("an array").iter();
    let text = |value: &Value| value.as_str().map(String::from);
    let operation = |operation: &Value| pb::PatchOperation {
        op: text(&operation["op"]).unwrap_or_default(),
        path: text(&operation["path"]).unwrap_or_default(),
        from: text(&operation["from"]),
        value_json: operation.get("value").map(Value::to_string),
    };
    operations.map(operation).collect()
}

fn criterion(field: &str, operator: &str, value: &str) -> pb::Criterion {
    pb::Criterion {
        field: field.into(),
        operator: operator.into(),
        value: value.into(),
        any: Vec::new(),
    }
}

/// Criteria that one element of an array must meet.
fn any(array: &str, criteria: &[(&str, &str, &str)]) -> pb::Criterion {
    let criteria = criteria.iter();
    let element = |(field, operator, value): &(&str, &str, &str)| pb::ElementCriterion {
        field: (*field).into(),
        operator: (*operator).into(),
        value: (*value).into(),
    };
    pb::Criterion {
        field: array.into(),
        any: criteria.map(element).collect(),
        ..Default::default()
    }
}

fn search_for(criteria: &[(&str, &str, &str)]) -> pb::SearchAllocationsRequest {
    let criteria = criteria.iter();
    pb::SearchAllocationsRequest {
        criteria: criteria.map(|(f, o, v)| criterion(f, o, v)).collect(),
        ..Default::default()
    }
}

async fn search(
    client: &Client,
    request: pb::SearchAllocationsRequest,
) -> Result<pb::SearchAllocationsResponse, Status> {
    let answer = client.clone().search_allocations(request).await?;
    Ok(answer.into_inner())
}

/// The ids that a search finds on its first page.
async fn found(client: &Client, criteria: &[(&str, &str, &str)]) -> Vec<String> {
    let answer = search(client, search_for(criteria)).await.expect("found");
    answer.allocations.into_iter().map(|each| each.id).collect()
}

fn deal(deal: &str) -> pb::CasAllocation {
    pb::CasAllocation {
        deal_id: Some(deal.into()),
        ..Default::default()
    }
}

fn sourced(source_id: &str) -> pb::CasAllocation {
    pb::CasAllocation {
        source_id: Some(source_id.into()),
        ..Default::default()
    }
}

/// An allocation value with this amount.
fn cash(amount: &str) -> pb::AllocationValue {
    pb::AllocationValue {
        r#type: pb::AllocationValueType::Cash.into(),
        data: Some(pb::AllocationValueData {
            amount: Some(amount.into()),
        }),
        override_allocation: None,
    }
}
