//! Errors of CasAllocationService.

use earmark::proto::cas::v1 as pb;
use earmark::proto::cas::v1::cas_allocation_service_client::CasAllocationServiceClient;
use earmark::proto::common::v1::ErrorReason as Reason;
use tonic::Status;

use super::{Case, case};
use crate::support::earmark::{Authorized, Earmark};

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
    let [failed, missing, stale] = refused_patches(&mut client, &record.id).await;
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
        case(Reason::PatchTestFailed, PATCH, failed),
        case(Reason::PatchPathMissing, PATCH, missing),
        case(Reason::VersionMismatch, PATCH, stale),
        case(Reason::AllocationNotFound, GET, foreign.expect_err(error)),
        case(Reason::ClaimMissing, GET, nobodys.expect_err(error)),
    ]
}

/// Errors of patches: of a test that fails, of a member that is not there, and of another version.
async fn refused_patches(
    client: &mut CasAllocationServiceClient<Authorized>,
    id: &str,
) -> [Status; 3] {
    let patch = |op: &str, value_json: Option<&str>| pb::PatchAllocationRequest {
        id: id.into(),
        operations: vec![pb::PatchOperation {
            op: op.into(),
            path: "/dealId".into(),
            from: None,
            value_json: value_json.map(Into::into),
        }],
        ..Default::default()
    };
    let test = patch("test", Some("\"D\""));
    let missing = patch("remove", None);
    let stale = pb::PatchAllocationRequest {
        expected_version: Some(2),
        ..missing.clone()
    };
    let mut refusals = Vec::new();
    for request in [test, missing, stale] {
        let refused = client.patch_allocation(request).await;
        refusals.push(refused.expect_err("refused"));
    }
    refusals.try_into().expect("three")
}
