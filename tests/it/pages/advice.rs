//! Pages that lost records once, and what is answered now.

use earmark::proto::balance::v1::ListPartnerBalancesRequest;
use earmark::proto::cas::v1::{
    CasAllocation, CreateAllocationRequest, SearchAllocationsRequest, StatusMessage,
};
use earmark::proto::network::v1::ConnectionMode;
use tonic::Code;

use crate::support::catalogue_fixture::{CatalogueFixture, listing};
use crate::support::earmark::{Earmark, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn a_numbered_page_of_a_search_says_how_many_records_fit() {
    let earmark = Earmark::start().await;
    let mut client = earmark.firm("1");
    for _ in 0..16 {
        // 400 kB.
        let message = StatusMessage {
            code: None,
            message: Some("¥".repeat(1_000)),
        };
        let large = CasAllocation {
            status_messages: vec![message; 200],
            ..Default::default()
        };
        let request = CreateAllocationRequest {
            allocation: Some(large),
            ..Default::default()
        };
        client.create_allocation(request).await.expect("created");
    }
    let asked = |page, page_size| SearchAllocationsRequest {
        page,
        page_size,
        ..Default::default()
    };
    let refused = client.search_allocations(asked(Some(1), 12)).await;
    let refused = refusal(refused).expect(Code::InvalidArgument, "PAGE_TOO_LARGE");
    assert_eq!(refused.metadata["fits"], "10");
    assert_eq!(refused.metadata["field"], "page_size");
    let mut found = Vec::new();
    for number in 1..=2 {
        let page = client.search_allocations(asked(Some(number), 10)).await;
        let page = page.expect("fits").into_inner();
        assert_eq!(
            (page.page, page.page_size, page.total_count),
            (number, 10, Some(16))
        );
        found.extend(page.allocations.into_iter().map(|record| record.id));
    }
    assert_eq!(found.len(), 16);
    // Without a number the page ends early, and says what was applied.
    let first = client.search_allocations(asked(None, 12)).await;
    let first = first.expect("found").into_inner();
    assert_eq!((first.page, first.page_size), (1, 12));
    assert_eq!(first.allocations.len(), 10);
    let next = SearchAllocationsRequest {
        page_token: first.next_page_token,
        ..asked(None, 12)
    };
    let next = client
        .search_allocations(next)
        .await
        .expect("found")
        .into_inner();
    assert_eq!((next.page, next.page_size), (0, 12));
    assert_eq!(next.allocations.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbered_pages_of_balances_skip_no_connection() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Instant).await;
    let stock = "
        INSERT INTO connection SELECT (jsonb_populate_record(c, jsonb_build_object(
            'id', gen_random_uuid(), 'partners_connection_id', n::text))).* FROM connection c, generate_series(1, 519) n;
        INSERT INTO account SELECT client_enterprise_id, id, lpad(n::text, 32, 'U'), 9999999999999999999999999999, 0, 9
          FROM connection, generate_series(1, 120) n";
    earmark.sql().await.batch_execute(stock).await.expect(stock);
    let mut client = earmark.member(&[&parties.partner_enterprise]).balance;
    let asked = |page_number, page_size| ListPartnerBalancesRequest {
        enterprise_id: parties.partner_enterprise.clone(),
        page_number: Some(page_number),
        page_size,
        ..Default::default()
    };
    let refused = client.list_partner_balances(asked(0, 500)).await;
    let refused = refusal(refused).expect(Code::InvalidArgument, "PAGE_TOO_LARGE");
    let fits: i32 = refused.metadata["fits"].parse().expect("a number");
    assert!((400..500).contains(&fits), "{fits}");
    let mut found = Vec::new();
    for number in 0..2 {
        let page = client.list_partner_balances(asked(number, fits)).await;
        let page = page.expect("fits").into_inner().network_balances;
        found.extend(page.into_iter().map(|network| network.connection_id));
    }
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 520);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalogue_that_ends_early_says_how_many_allocations_there_are() {
    let fixture = CatalogueFixture::open().await;
    fixture.stock(30, 10_000).await;
    let mut client = fixture.client.clone();
    let answer = client.list_available_allocations(listing("")).await;
    let answer = answer.expect("listed");
    assert_eq!(answer.metadata().get("x-total-count").expect("there"), "30");
    let answer = answer.into_inner();
    assert!((1..30).contains(&answer.allocations.len()));
    assert_ne!(answer.next_page_token, "");
    // The number is there on every page, also on one behind whose token nothing is left.
    let rest = "DELETE FROM catalogue_allocation WHERE allocation_id > 5";
    fixture
        .earmark
        .sql()
        .await
        .batch_execute(rest)
        .await
        .expect(rest);
    let mut request = listing("");
    request.page_token = answer.next_page_token;
    let answer = client.list_available_allocations(request).await;
    let answer = answer.expect("listed");
    assert_eq!(answer.metadata().get("x-total-count").expect("there"), "5");
    let answer = answer.into_inner();
    assert_eq!(
        (answer.allocations.len(), answer.next_page_token.as_str()),
        (0, "")
    );
}
