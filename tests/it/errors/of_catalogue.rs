//! Errors of CatalogueService.

use earmark::proto::catalogue::v1::{
    DeleteAllocationRequest, ListAvailableAllocationsRequest, PutAllocationRequest,
};
use earmark::proto::common::v1::ErrorReason as Reason;

use super::{Case, case};
use crate::support::catalogue_fixture::{
    COMPANY, CatalogueFixture, NO_COMPANY, get, listing, putting,
};

const LIST: &str = "/earmark.catalogue.v1.CatalogueService/ListAvailableAllocations";
const GET: &str = "/earmark.catalogue.v1.CatalogueService/GetAllocation";
const PUT: &str = "/earmark.catalogue.v1.CatalogueService/PutAllocation";
const DELETE: &str = "/earmark.catalogue.v1.CatalogueService/DeleteAllocation";

pub(super) async fn all() -> Vec<Case> {
    let fixture = CatalogueFixture::open().await;
    let mut client = fixture.client.clone();
    let refused = "refused";
    let empty = client.list_available_allocations(listing("")).await;
    let invalid = client.list_available_allocations(listing("?")).await;
    let delete = DeleteAllocationRequest {
        company_id: COMPANY,
        allocation_id: "1".into(),
        ..Default::default()
    };
    let nothing = client.delete_allocation(delete).await;
    let mut mine = putting("1", []);
    mine.translations
        .insert("\u{202e}".repeat(5_000), Default::default());
    let unreadable = client.put_allocation(mine).await;
    fixture.stock(1_000, 1).await;
    let one_more = client.put_allocation(putting("1001", [])).await;
    let mismatch = PutAllocationRequest {
        expected_version: Some(2),
        ..putting("1", [])
    };
    let mismatch = client.put_allocation(mismatch).await;
    let missing = ListAvailableAllocationsRequest {
        company_id: NO_COMPANY,
        ..listing("")
    };
    let missing = client.list_available_allocations(missing).await;
    let unknown = client.get_allocation(get("5000", "")).await;

    let token = fixture
        .earmark
        .company_token("catalogue-read catalogue-write", &[9]);
    let mut stranger = fixture.earmark.with_token(token).catalogue;
    let closed = stranger.list_available_allocations(listing("")).await;
    let closed_to_writes = stranger.put_allocation(putting("1", [])).await;
    vec![
        case(Reason::NoResults, LIST, empty.expect_err(refused)),
        case(Reason::InvalidRequest, LIST, invalid.expect_err(refused)),
        case(Reason::NoResults, DELETE, nothing.expect_err(refused)),
        case(Reason::InvalidRequest, PUT, unreadable.expect_err(refused)),
        case(Reason::LimitReached, PUT, one_more.expect_err(refused)),
        case(Reason::VersionMismatch, PUT, mismatch.expect_err(refused)),
        case(Reason::CompanyNotFound, LIST, missing.expect_err(refused)),
        case(Reason::NoResults, GET, unknown.expect_err(refused)),
        case(
            Reason::CompanyAccessDenied,
            LIST,
            closed.expect_err(refused),
        ),
        case(
            Reason::CompanyAccessDenied,
            PUT,
            closed_to_writes.expect_err(refused),
        ),
    ]
}
