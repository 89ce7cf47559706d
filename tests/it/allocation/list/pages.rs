//! Pages of ListClientAllocations.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use earmark::limits::RESPONSE_BYTES_MAX;
use earmark::proto::allocation::v1::{
    Allocation, CreateAllocationRequest, ListClientAllocationsRequest,
};
use earmark::proto::common::v1::SortDirection;
use earmark::proto::network::v1::ConnectionMode;
use futures_util::future::join_all;
use prost::Message;

use super::{Records, ids, orders};
use crate::support::allocation_sql::make_allocations_writable;
use crate::support::earmark::{Earmark, NOBODY, refusal};

/// Walks by token; each page but the last is full.
async fn by_token(records: &Records, first: ListClientAllocationsRequest) -> Vec<Allocation> {
    let (mut all, mut request) = (Vec::new(), first);
    loop {
        let page = records.list(request.clone()).await;
        let size = page.allocations.len();
        all.extend(page.allocations);
        if page.next_page_token.is_empty() {
            return all;
        }
        assert_eq!(i32::try_from(size), Ok(request.page_size));
        request.page_token = page.next_page_token;
    }
}

/// Walks by number until a page is empty.
async fn by_number(
    records: &Records,
    mut request: ListClientAllocationsRequest,
) -> Vec<Allocation> {
    let mut all: Vec<Allocation> = Vec::new();
    loop {
        let page = records.list(request.clone()).await;
        let ends = page.next_page_token.is_empty();
        let size = page.allocations.len();
        all.extend(page.allocations);
        if size == 0 {
            assert!(ends);
            return all;
        }
        assert_eq!(
            ends,
            all.len() == records.all.len(),
            "the last page leads nowhere"
        );
        request.page_number = Some(request.page_number.map_or(1, |number| number + 1));
    }
}

#[tokio::test]
async fn pages_of_any_size_and_order_add_up_to_the_whole_list() {
    let records = Records::make(23).await;
    // An unset direction is the ascending one.
    let orders = orders().into_iter();
    for (field, direction) in orders.filter(|(_, direction)| *direction != SortDirection::Asc) {
        for page_size in [1, 7, 100] {
            let request = ListClientAllocationsRequest {
                sort_field: field.into(),
                sort_direction: direction.into(),
                page_size,
                ..records.request()
            };
            let expected = records.expected(&request);
            let walked = by_token(&records, request.clone()).await;
            assert_eq!(ids(&walked), ids(&expected), "by token: {request:?}");
            let walked = by_number(&records, request.clone()).await;
            assert_eq!(ids(&walked), ids(&expected), "by number: {request:?}");
        }
    }
}

#[tokio::test]
async fn pages_of_a_filtered_list_add_up_to_the_whole_filtered_list() {
    let records = Records::make(60).await;
    for (field, direction) in orders() {
        let request = ListClientAllocationsRequest {
            statuses: vec![1, 3],
            currencies: vec!["BTC".into(), "ETH".into(), "btc".into()],
            created_on_or_after: records.all[5].created_at,
            created_before: records.all[50].created_at,
            sort_field: field.into(),
            sort_direction: direction.into(),
            page_size: 3,
            ..records.request()
        };
        let expected = records.expected(&request);
        assert!(expected.len() > 6);
        let walked = by_token(&records, request).await;
        assert_eq!(ids(&walked), ids(&expected), "{field:?} {direction:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_miss_nothing_and_repeat_nothing_while_others_insert() {
    let records = Records::make(40).await;
    let original: HashSet<String> = records.all.iter().map(|record| record.id.clone()).collect();
    let inserted = AtomicUsize::new(0);
    for (field, direction) in orders() {
        let mut request = ListClientAllocationsRequest {
            sort_field: field.into(),
            sort_direction: direction.into(),
            page_size: 9,
            ..records.request()
        };
        let insert = async |index: usize| {
            let key = format!("late-{}", inserted.fetch_add(1, Ordering::Relaxed));
            let currency = super::CURRENCIES[index % 5];
            let late = records
                .parties
                .allocation(currency, super::QUANTITIES[index % 6], &key);
            let mut client = records.client();
            client.create_allocation(late).await.expect("created");
        };
        let mut seen = HashSet::new();
        let mut pages = 0;
        loop {
            // Others insert before, during and after each page, but not for ever.
            let late = async {
                if pages < 6 {
                    insert(pages).await;
                    insert(pages + 1).await;
                }
            };
            let (page, ()) = tokio::join!(records.list(request.clone()), late);
            for record in page.allocations {
                let id = record.id.clone();
                assert!(
                    seen.insert(id),
                    "twice: {record:?} by {field:?} {direction:?}"
                );
            }
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
            pages += 1;
        }
        let missed: Vec<_> = original.difference(&seen).collect();
        assert!(missed.is_empty(), "{missed:?} by {field:?} {direction:?}");
    }
}

#[tokio::test]
async fn page_sizes_and_numbers_out_of_range_are_refused() {
    let records = Records::make(3).await;
    let of = |page_number: Option<i32>, page_size| ListClientAllocationsRequest {
        page_number,
        page_size,
        ..records.request()
    };
    let accepted = [
        (None, 0, 3),
        (None, 501, 3),
        (None, i32::MAX, 3),
        (Some(0), 0, 3),
        (Some(0), 500, 3),
        (Some(1), 0, 0),
        (Some(1), 2, 1),
        (Some(10_000), 100, 0),
        (Some(10_000), 0, 0),
        (Some(2_000), 500, 0),
        (Some(1_000_000), 1, 0),
    ];
    for (number, size, found) in accepted {
        let listed = records.list(of(number, size)).await;
        assert_eq!(listed.allocations.len(), found, "{number:?} × {size}");
    }
    let refused: [(i32, i32, &[&str]); 10] = [
        (0, 501, &["page_size"]),
        (1, 501, &["page_size"]),
        (1, i32::MAX, &["page_size"]),
        (0, -1, &["page_size"]),
        (0, i32::MIN, &["page_size"]),
        (-1, 10, &["page_number"]),
        (i32::MIN, i32::MIN, &["page_size", "page_number"]),
        (10_001, 100, &["page_number"]),
        (i32::MAX, 1, &["page_number"]),
        (i32::MAX, i32::MAX, &["page_size", "page_number"]),
    ];
    for (number, size, fields) in refused {
        let listed = records
            .client()
            .list_client_allocations(of(Some(number), size))
            .await;
        refusal(listed).expect_invalid(fields);
    }
}

#[tokio::test]
async fn a_page_size_above_the_maximum_is_reduced_to_it() {
    let records = Records::make(510).await;
    for page_size in [500, 501, i32::MAX] {
        let request = ListClientAllocationsRequest {
            page_size,
            ..records.request()
        };
        let page = records.list(request.clone()).await;
        assert_eq!(page.allocations.len(), 500);
        let rest = ListClientAllocationsRequest {
            page_token: page.next_page_token,
            ..request
        };
        assert_eq!(records.list(rest).await.allocations.len(), 10);
    }
    let page = records.list(records.request()).await;
    assert_eq!(
        page.allocations.len(),
        100,
        "unless the caller says otherwise"
    );
}

#[tokio::test]
async fn a_page_ends_before_the_answer_exceeds_4_mib() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Instant).await;
    earmark.deposit(&parties.enterprise, "BTC", "1000").await;
    let client = earmark.member(&[&parties.enterprise]).allocation;
    let long = |index: usize| CreateAllocationRequest {
        notes: Some("🜚".repeat(1_000)),
        ..parties.allocation("BTC", "1", &format!("{index:03}{}", "𝄞".repeat(125)))
    };
    join_all((0..500).map(async |index| {
        let created = client.clone().create_allocation(long(index)).await;
        created.expect("created");
    }))
    .await;
    let release = format!(
        "UPDATE allocation SET status = 'RELEASED', reason = notes, closed_cause = 'RELEASE',
                closed_custody_version = 1, closed_connection_version = 0, partner_external_id = client_external_id, initiated_by = repeat('𝄞', {})",
        255
    );
    let sql = earmark.sql().await;
    make_allocations_writable(&sql).await;
    sql.batch_execute(&release).await.expect("made longer");

    let mut request = ListClientAllocationsRequest {
        enterprise_id: parties.enterprise.clone(),
        page_size: 500,
        ..Default::default()
    };
    let (mut sizes, mut seen) = (Vec::new(), HashSet::new());
    loop {
        // The client refuses what is larger than 4 MiB.
        let page = client
            .clone()
            .list_client_allocations(request.clone())
            .await
            .expect("listed")
            .into_inner();
        assert!(page.encoded_len() <= RESPONSE_BYTES_MAX);
        sizes.push(page.allocations.len());
        seen.extend(page.allocations.iter().map(|record| record.id.clone()));
        if page.next_page_token.is_empty() {
            break;
        }
        let bytes_left = RESPONSE_BYTES_MAX - page.encoded_len();
        assert!(bytes_left < 32 * 1024, "{bytes_left} are left");
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen.len(), 500);
    assert_eq!(sizes.iter().sum::<usize>(), 500, "{sizes:?}");
    assert_eq!(sizes.len(), 2, "{sizes:?}");
}

#[tokio::test]
async fn an_empty_list_has_one_empty_page() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Instant).await;
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    for page_number in [None, Some(0), Some(1)] {
        let request = ListClientAllocationsRequest {
            enterprise_id: parties.enterprise.clone(),
            page_number,
            ..Default::default()
        };
        let listed = client.list_client_allocations(request).await;
        assert_eq!(listed.expect("listed").into_inner(), Default::default());
    }
    let request = ListClientAllocationsRequest {
        enterprise_id: NOBODY.into(),
        ..Default::default()
    };
    refusal(client.list_client_allocations(request).await);
}
