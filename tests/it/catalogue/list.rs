//! Lists: order, pages, cost, and the document's three errors.

use std::sync::Arc;

use earmark::auth::caller::Caller;
use earmark::auth::scope::{self, Scope};
use earmark::catalogue::CatalogueService;
use earmark::db::connect::Connector;
use earmark::db::pool::{self, PoolSettings};
use earmark::db::pools::Pools;
use earmark::ledger::claim::Claim;
use earmark::proto::catalogue::v1::catalogue_service_server::CatalogueService as _;
use earmark::proto::catalogue::v1::{DeleteAllocationRequest, ListAvailableAllocationsRequest};
use earmark::rpc::call::Call;
use earmark::types::ids::CompanyId;
use earmark::types::principal::Principal;
use prost::Message;
use tonic::{Code, Request};

use crate::support::catalogue_fixture::{
    COMPANY, CatalogueFixture, NO_COMPANY, listing, putting, texts,
};
use crate::support::earmark::refusal;
use crate::support::proxy::Proxy;

const RESPONSE_BYTES_MAX: usize = 4 * 1024 * 1024;

async fn ids(fixture: &CatalogueFixture, page_size: i32) -> Vec<Vec<String>> {
    let (mut pages, mut page_token) = (Vec::new(), String::new());
    loop {
        let listed = fixture
            .list(ListAvailableAllocationsRequest {
                page_size,
                page_token,
                ..listing("fr")
            })
            .await;
        assert!(listed.encoded_len() < RESPONSE_BYTES_MAX);
        let ids = listed.allocations.into_iter().map(|one| one.allocation_id);
        pages.push(ids.collect());
        page_token = listed.next_page_token;
        if page_token.is_empty() {
            return pages;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn allocations_are_listed_in_numeric_order_of_their_ids() {
    let fixture = CatalogueFixture::open().await;
    let greatest = "999999999999999999";
    for id in ["10", greatest, "9", "100", "1"] {
        fixture.put(putting(id, [])).await;
    }
    let all = ["1", "9", "10", "100", greatest];
    assert_eq!(ids(&fixture, 0).await, [all.as_slice()]);
    assert_eq!(ids(&fixture, 5).await, [all.as_slice()]);
    assert_eq!(ids(&fixture, 2_000).await, [all.as_slice()]);
    assert_eq!(ids(&fixture, 2).await, [&all[..2], &all[2..4], &all[4..]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_is_refused_by_any_other_list() {
    let fixture = CatalogueFixture::open().await;
    for id in ["1", "2"] {
        fixture.put(putting(id, [])).await;
    }
    let first = ListAvailableAllocationsRequest {
        page_size: 1,
        ..listing("fr")
    };
    let page_token = fixture.list(first.clone()).await.next_page_token;
    let second = ListAvailableAllocationsRequest {
        page_token: page_token.clone(),
        ..first.clone()
    };
    for foreign in [
        ListAvailableAllocationsRequest {
            langcode: "en".into(),
            ..second.clone()
        },
        ListAvailableAllocationsRequest {
            company_id: NO_COMPANY,
            ..second.clone()
        },
        ListAvailableAllocationsRequest {
            page_token: format!("{page_token}x"),
            ..second.clone()
        },
    ] {
        let refused = fixture
            .client
            .clone()
            .list_available_allocations(foreign)
            .await;
        refusal(refused).expect(Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }
    let negative = ListAvailableAllocationsRequest {
        page_size: -1,
        ..first
    };
    let refused = fixture
        .client
        .clone()
        .list_available_allocations(negative)
        .await;
    refusal(refused).expect_invalid(&["page_size"]);

    let respelled = ListAvailableAllocationsRequest {
        langcode: "FR-u-nu-arab;q=0.5".into(),
        ..second.clone()
    };
    for same in [&second, &respelled] {
        let last = fixture.list(same.clone()).await;
        assert_eq!(last.allocations[0].allocation_id, "2");
    }
    // Allocations deleted meanwhile leave an empty last page, not an error.
    let gone = DeleteAllocationRequest {
        company_id: COMPANY,
        allocation_id: "2".into(),
        ..Default::default()
    };
    let deleted = fixture.client.clone().delete_allocation(gone).await;
    deleted.expect("deleted");
    let empty = fixture.list(second).await;
    assert_eq!(
        (empty.allocations.len(), empty.next_page_token),
        (0, String::new())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_a_page_size_ends_its_page_before_4_mib() {
    let fixture = CatalogueFixture::open().await;
    // 240 KB each.
    fixture.stock(30, 10_000).await;
    let pages = ids(&fixture, 0).await;
    assert!(pages.len() >= 2 && pages[0].len() > 10, "{pages:?}");
    let all: Vec<String> = (1..=30).map(|id| id.to_string()).collect();
    assert_eq!(pages.concat(), all);
}

/// Prepared once, a list costs one round trip to the database, however long it is and in whatever language.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_500_allocations_takes_one_round_trip() {
    let fixture = CatalogueFixture::open().await;
    fixture.stock(499, 20).await;
    fixture.put(putting("500", [("fr", texts("fr"))])).await;
    let proxy = Proxy::before(&fixture.earmark.url).await;
    let one = PoolSettings {
        max_size: 1,
        min_idle: 1,
        ..PoolSettings::default()
    };
    let connector = Connector::new(&proxy.url).expect("a URL");
    let service = CatalogueService::new(Pools::sharing(&pool::open(connector, &one)));
    let path = "/earmark.catalogue.v1.CatalogueService/ListAvailableAllocations";
    let list = async |langcode: &str| {
        let mut request = Request::new(listing(langcode));
        request.extensions_mut().insert(Call {
            rpc: scope::rpc(path).expect("an RPC of the table"),
            caller: Arc::new(Caller {
                companies: Ok(vec![CompanyId(COMPANY)]),
                ..Caller::with_scopes("reader", &[Scope::CatalogueRead])
            }),
            principal: Principal::Server,
            request_id: "test".into(),
            claim: Claim::new(),
        });
        let listed = service.list_available_allocations(request).await;
        listed.expect("listed").into_inner().allocations
    };
    assert_eq!(list("en").await.len(), 500);
    for langcode in ["fr-CA", "en", "de"] {
        let before = proxy.round_trips();
        let listed = list(langcode).await;
        assert_eq!(proxy.round_trips() - before, 1, "{langcode}");
        assert_eq!(listed.len(), 500);
    }
    assert_eq!(list("fr-CA").await[499].allocation_name, "fr name");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documents_errors_have_its_exact_texts() {
    let fixture = CatalogueFixture::open().await;
    let status = async |company_id| {
        let request = ListAvailableAllocationsRequest {
            company_id,
            ..listing("")
        };
        let refused = fixture
            .client
            .clone()
            .list_available_allocations(request)
            .await;
        refused.expect_err("refused")
    };
    for company in [0, -1, i64::MIN] {
        let status = status(company).await;
        assert_eq!(status.message(), "Invalid company id.");
        refusal::<()>(Err(status)).expect_invalid(&["company_id"]);
    }
    let unknown = status(NO_COMPANY).await;
    assert_eq!(unknown.message(), "Invalid company id.");
    refusal::<()>(Err(unknown)).expect(Code::NotFound, "COMPANY_NOT_FOUND");

    let empty = status(COMPANY).await;
    assert_eq!(empty.message(), "No results found for specified criteria.");
    refusal::<()>(Err(empty)).expect(Code::NotFound, "NO_RESULTS");

    // Another company, whether it exists or not; and a token without the claim `companies`.
    let foreign = fixture.earmark.company_token("catalogue-read", &[1]);
    let claimless = fixture.earmark.token("catalogue-read", &[]);
    for token in [foreign, claimless] {
        let mut client = fixture.earmark.with_token(token).catalogue;
        for company_id in [COMPANY, 9] {
            let request = ListAvailableAllocationsRequest {
                company_id,
                ..listing("")
            };
            let refused = client.list_available_allocations(request).await;
            let refused = refused.expect_err("refused");
            assert_eq!(
                refused.message(),
                "Access denied: you don't have permissions to see allocations of this company."
            );
            refusal::<()>(Err(refused)).expect(Code::PermissionDenied, "COMPANY_ACCESS_DENIED");
        }
    }
}
