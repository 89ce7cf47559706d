//! CatalogueService.

use earmark::proto::catalogue::v1::{
    DeleteAllocationRequest, GetAllocationRequest, ListAvailableAllocationsRequest,
    ListSupportedCurrenciesRequest, ListSupportedLanguagesRequest, PutAllocationRequest,
    PutCompanyRequest,
};
use prost::Message;

use super::{REPLAYED, SERVED, Step, Table, add, step};
use crate::support::catalogue_fixture::{COMPANY, NO_COMPANY, client, get, listing, putting};
use crate::support::earmark::Earmark;

const SCOPES: &str = "catalogue-read catalogue-write";
const OF_NOBODY: i64 = 9;

/// A company with the allocation 1, one that is not there, and one that is not the caller's.
struct World<'w> {
    earmark: &'w Earmark,
}

impl World<'_> {
    fn own(&self, expected: &'static str, message: &impl Message) -> Step {
        let token = self.earmark.company_token(SCOPES, &[COMPANY, NO_COMPANY]);
        step(expected, token, message)
    }

    /// Wrong arguments, then a token that names no company, then one that names another.
    fn first<M: Message>(&self, invalid: &M, of: impl Fn(i64) -> M) -> Vec<Step> {
        let nobody = || self.earmark.token(SCOPES, &[]);
        let stranger = || self.earmark.company_token(SCOPES, &[OF_NOBODY]);
        vec![
            step("INVALID_REQUEST", nobody(), invalid),
            step("COMPANY_ACCESS_DENIED", nobody(), &of(COMPANY)),
            step("COMPANY_ACCESS_DENIED", stranger(), &of(COMPANY)),
            step("COMPANY_ACCESS_DENIED", stranger(), &of(NO_COMPANY)),
        ]
    }
}

pub(super) async fn add_to(table: &mut Table, earmark: &Earmark) {
    let mut writer = client(earmark);
    let company = PutCompanyRequest {
        company_id: COMPANY,
        name: "Company".into(),
        ..Default::default()
    };
    writer.put_company(company).await.expect("created");
    let put = writer.put_allocation(putting("1", [])).await;
    put.expect("put");
    let world = &World { earmark };
    for (method, steps) in [
        (
            "ListAvailableAllocations",
            list_available_allocations(world),
        ),
        ("GetAllocation", get_allocation(world)),
        ("PutCompany", put_company(world)),
        ("PutAllocation", put_allocation(world)),
        ("DeleteAllocation", delete_allocation(world)),
        ("ListSupportedLanguages", list_supported_languages(world)),
        ("ListSupportedCurrencies", list_supported_currencies(world)),
    ] {
        let path = format!("/earmark.catalogue.v1.CatalogueService/{method}");
        add(table, &path, steps);
    }
}

fn list_available_allocations(world: &World) -> Vec<Step> {
    let of = |company_id| ListAvailableAllocationsRequest {
        company_id,
        ..listing("")
    };
    let foreign_token = ListAvailableAllocationsRequest {
        page_token: "x".into(),
        ..of(OF_NOBODY)
    };
    let invalid = ListAvailableAllocationsRequest {
        langcode: "?".into(),
        ..foreign_token.clone()
    };
    let mut steps = world.first(&invalid, of);
    steps.extend([
        world.own("PAGE_TOKEN_INVALID", &foreign_token),
        world.own("COMPANY_NOT_FOUND", &of(NO_COMPANY)),
        world.own(SERVED, &of(COMPANY)),
    ]);
    steps
}

fn get_allocation(world: &World) -> Vec<Step> {
    let of = |company_id| GetAllocationRequest {
        company_id,
        ..get("2", "")
    };
    let mut steps = world.first(&get("x", ""), of);
    steps.extend([
        world.own("COMPANY_NOT_FOUND", &of(NO_COMPANY)),
        world.own("NO_RESULTS", &of(COMPANY)),
        world.own(SERVED, &get("1", "")),
    ]);
    steps
}

fn put_company(world: &World) -> Vec<Step> {
    let of = |company_id| PutCompanyRequest {
        company_id,
        name: "Company".into(),
        expected_version: Some(5),
        validate_only: true,
    };
    let invalid = PutCompanyRequest {
        name: String::new(),
        ..of(COMPANY)
    };
    let replayed = PutCompanyRequest {
        expected_version: Some(1),
        ..of(COMPANY)
    };
    let fitting = PutCompanyRequest {
        name: "New".into(),
        ..replayed.clone()
    };
    let mut steps = world.first(&invalid, of);
    steps.extend([
        world.own(REPLAYED, &replayed),
        world.own("VERSION_MISMATCH", &of(NO_COMPANY)),
        world.own("VERSION_MISMATCH", &of(COMPANY)),
        world.own(SERVED, &fitting),
    ]);
    steps
}

fn put_allocation(world: &World) -> Vec<Step> {
    let of = |company_id| PutAllocationRequest {
        company_id,
        expected_version: Some(5),
        validate_only: true,
        ..putting("2", [])
    };
    let replayed = PutAllocationRequest {
        expected_version: Some(0),
        ..putting("1", [])
    };
    let fitting = PutAllocationRequest {
        expected_version: None,
        ..of(COMPANY)
    };
    let mut steps = world.first(&PutAllocationRequest::default(), of);
    steps.extend([
        world.own(REPLAYED, &replayed),
        world.own("COMPANY_NOT_FOUND", &of(NO_COMPANY)),
        world.own("VERSION_MISMATCH", &of(COMPANY)),
        world.own(SERVED, &fitting),
    ]);
    steps
}

fn delete_allocation(world: &World) -> Vec<Step> {
    let of = |company_id| DeleteAllocationRequest {
        company_id,
        allocation_id: "2".into(),
        expected_version: Some(5),
        validate_only: true,
    };
    let invalid = DeleteAllocationRequest {
        allocation_id: "x".into(),
        ..of(COMPANY)
    };
    let there = DeleteAllocationRequest {
        allocation_id: "1".into(),
        ..of(COMPANY)
    };
    let fitting = DeleteAllocationRequest {
        expected_version: Some(1),
        ..there.clone()
    };
    let mut steps = world.first(&invalid, of);
    steps.extend([
        world.own("COMPANY_NOT_FOUND", &of(NO_COMPANY)),
        world.own("NO_RESULTS", &of(COMPANY)),
        world.own("VERSION_MISMATCH", &there),
        world.own(SERVED, &fitting),
    ]);
    steps
}

fn list_supported_languages(world: &World) -> Vec<Step> {
    let nobody = world.earmark.token(SCOPES, &[]);
    let request = ListSupportedLanguagesRequest::default();
    let foreign = ListSupportedLanguagesRequest {
        page_token: "x".into(),
        ..request.clone()
    };
    let wrong = ListSupportedLanguagesRequest {
        page_size: -1,
        ..foreign.clone()
    };
    vec![
        step("INVALID_REQUEST", nobody.clone(), &wrong),
        step("PAGE_TOKEN_INVALID", nobody.clone(), &foreign),
        step("COMPANY_ACCESS_DENIED", nobody, &request),
        world.own(SERVED, &request),
    ]
}

fn list_supported_currencies(world: &World) -> Vec<Step> {
    let nobody = world.earmark.token(SCOPES, &[]);
    vec![step(SERVED, nobody, &ListSupportedCurrenciesRequest {})]
}
