//! Errors of CasAllocationService.

use earmark::proto::cas::v1 as pb;
use earmark::proto::common::v1::ErrorReason as Reason;

use super::{Case, case};
use crate::support::earmark::Earmark;

const CREATE: &str = "/earmark.cas.v1.CasAllocationService/CreateAllocation";
const GET: &str = "/earmark.cas.v1.CasAllocationService/GetAllocation";
const UPDATE: &str = "/earmark.cas.v1.CasAllocationService/UpdateAllocation";
const PATCH: &str = "/earmark.cas.v1.CasAllocationService/PatchAllocation";

pub(super) async fn all() -> Vec<Case> {
    let earmark = Earmark::start().await;
    let mut client = earmark.firm("1");
    let sourced = |source_id: &str| pb::CasAllocation {
        source_id: Some(source_id.into()),
        ..Default::default()
    };
    let create = |source_id: &str| pb::CreateAllocationRequest {
        allocation: Some(sourced(source_id)),
        ..Default::default()
    };
    let created = client
        .create_allocation(create("A"))
        .await
        .expect("created");
    let record = created.into_inner().allocation.expect("set");
    client
        .create_allocation(create("B"))
        .await
        .expect("created");

    let mut other = create("A");
    other.allocation.get_or_insert_default().company_id = Some(1);
    let reused = client.create_allocation(other).await;
    let update = pb::UpdateAllocationRequest {
        id: record.id.clone(),
        allocation: Some(sourced("B")),
        ..Default::default()
    };
    let taken = client.update_allocation(update).await;
    let test = pb::PatchAllocationRequest {
        id: record.id.clone(),
        operations: vec![pb::PatchOperation {
            op: "test".into(),
            path: "/sourceId".into(),
            from: None,
            value_json: Some("\"B\"".into()),
        }],
        ..Default::default()
    };
    let failed = client.patch_allocation(test.clone()).await;
    let missing = pb::PatchAllocationRequest {
        operations: vec![pb::PatchOperation {
            op: "remove".into(),
            path: "/dealId".into(),
            from: None,
            value_json: None,
        }],
        ..test.clone()
    };
    let missing = client.patch_allocation(missing).await;
    let stale = pb::PatchAllocationRequest {
        expected_version: Some(2),
        ..test
    };
    let stale = client.patch_allocation(stale).await;
    let get = pb::GetAllocationRequest { id: record.id };
    let foreign = earmark.firm("2").get_allocation(get.clone()).await;
    let scope = earmark.token("allocations-read", &[]);
    let nobodys = earmark.with_token(scope).cas.get_allocation(get).await;
    let error = "refused";
    vec![
        case(
            Reason::IdempotencyKeyReused,
            CREATE,
            reused.expect_err(error),
        ),
        case(Reason::SourceIdTaken, UPDATE, taken.expect_err(error)),
        case(Reason::PatchTestFailed, PATCH, failed.expect_err(error)),
        case(Reason::PatchPathMissing, PATCH, missing.expect_err(error)),
        case(Reason::VersionMismatch, PATCH, stale.expect_err(error)),
        case(Reason::AllocationNotFound, GET, foreign.expect_err(error)),
        case(Reason::ClaimMissing, GET, nobodys.expect_err(error)),
    ]
}
