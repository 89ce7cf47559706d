//! Page tokens of ListClientAllocations: what they continue, and where they are refused.

use earmark::proto::allocation::v1::{
    AllocationSortField, AllocationStatus, AllocationType, ListClientAllocationsRequest,
};
use earmark::proto::balance::v1::ListClientBalancesRequest;
use earmark::proto::common::v1::SortDirection;
use earmark::proto::network::v1::ConnectionMode;
use earmark::rpc::page_token::{self, Binding};
use serde_json::{Value, json};
use tonic::Code;

use super::{Records, ids};
use crate::support::earmark::refusal;

const LIST: &str = "/earmark.allocation.v1.AllocationService/ListClientAllocations";

/// A request for the second page.
async fn second_page(
    records: &Records,
    first: ListClientAllocationsRequest,
) -> ListClientAllocationsRequest {
    let page = records.list(first.clone()).await;
    assert_ne!(page.next_page_token, "");
    ListClientAllocationsRequest {
        page_token: page.next_page_token,
        ..first
    }
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, tonic::Status>, case: &str) {
    let refused = refusal(result);
    assert_eq!(refused.reason, "PAGE_TOKEN_INVALID", "{case}: {refused:?}");
    assert_eq!(refused.code, Code::InvalidArgument);
    assert_eq!(refused.fields(), ["page_token"]);
}

#[tokio::test]
async fn a_page_token_works_with_any_page_size_and_for_any_member() {
    let records = Records::make(20).await;
    let first = ListClientAllocationsRequest {
        page_size: 5,
        ..records.request()
    };
    let request = second_page(&records, first).await;
    for page_size in [1, 3, 15, 0, 1_000] {
        let resized = ListClientAllocationsRequest {
            page_size,
            ..request.clone()
        };
        let page = records.list(resized).await.allocations;
        assert_eq!(ids(&page), ids(&records.all[5..][..page.len()]));
        assert_eq!(
            page.len(),
            [1, 3]
                .into_iter()
                .find(|size| *size == page_size)
                .map_or(15, |size| size as usize)
        );
    }
    let enterprise = records.parties.enterprise.as_str();
    let colleague = records.earmark.claims("a colleague", &[enterprise]);
    let colleague = records.earmark.token_of(&colleague);
    let mut colleague = records.earmark.with_token(colleague).allocation;
    let page = colleague.list_client_allocations(request).await;
    assert_eq!(
        page.expect("listed").into_inner().allocations,
        records.all[5..10]
    );
}

type Change = fn(&mut ListClientAllocationsRequest);

/// Each makes the request one for another list.
const CHANGES: [(&str, Change); 11] = [
    ("ids", |r| r.allocation_ids = vec![r.enterprise_id.clone()]),
    ("types", |r| {
        r.types = vec![AllocationType::Allocation.into()]
    }),
    ("statuses", |r| {
        r.statuses = vec![AllocationStatus::Cleared.into()]
    }),
    ("currencies", |r| r.currencies = vec!["BTC".into()]),
    ("connections", |r| {
        r.connection_ids = vec![r.enterprise_id.clone()]
    }),
    ("partners", |r| {
        r.partner_ids = vec![r.enterprise_id.clone()]
    }),
    ("from", |r| {
        r.created_on_or_after = Some(prost_types::Timestamp::default())
    }),
    ("to", |r| {
        r.created_before = Some(prost_types::Timestamp {
            seconds: 253_402_300_799,
            nanos: 0,
        })
    }),
    ("external ids", |r| {
        r.client_external_ids = vec!["a-1".into()]
    }),
    ("field", |r| {
        r.sort_field = AllocationSortField::Currency.into()
    }),
    ("direction", |r| {
        r.sort_direction = SortDirection::Desc.into()
    }),
];

#[tokio::test]
async fn a_page_token_is_refused_by_any_other_list() {
    let records = Records::make(20).await;
    let first = ListClientAllocationsRequest {
        page_size: 5,
        sort_field: AllocationSortField::Quantity.into(),
        ..records.request()
    };
    let request = second_page(&records, first).await;
    let another = records.earmark.parties(ConnectionMode::Instant).await;
    for (case, change) in CHANGES {
        let mut changed = request.clone();
        change(&mut changed);
        let listed = records.client().list_client_allocations(changed).await;
        assert_refused(listed, case);
    }
    let mut both = records
        .earmark
        .member(&[&records.parties.enterprise, &another.enterprise]);
    let theirs = ListClientAllocationsRequest {
        enterprise_id: another.enterprise.clone(),
        ..request.clone()
    };
    let listed = both.allocation.list_client_allocations(theirs).await;
    assert_refused(listed, "enterprise");

    // Tokens of one RPC are refused by another one, even where both requests have the same encoding.
    let plain = ListClientAllocationsRequest {
        page_size: 5,
        ..records.request()
    };
    let plain = second_page(&records, plain).await;
    let balances = ListClientBalancesRequest {
        enterprise_id: plain.enterprise_id.clone(),
        page_token: plain.page_token.clone(),
        ..Default::default()
    };
    let listed = both.balance.list_client_balances(balances.clone()).await;
    assert_refused(listed, "call");
    let first = ListClientBalancesRequest {
        page_size: 1,
        page_token: String::new(),
        ..balances
    };
    let page = both.balance.list_client_balances(first).await;
    let foreign = ListClientAllocationsRequest {
        page_token: page.expect("listed").into_inner().next_page_token,
        ..plain
    };
    assert_ne!(foreign.page_token, "");
    let listed = both.allocation.list_client_allocations(foreign).await;
    assert_refused(listed, "call");
}

#[tokio::test]
async fn an_altered_token_is_refused() {
    let records = Records::make(6).await;
    let first = ListClientAllocationsRequest {
        page_size: 2,
        ..records.request()
    };
    let request = second_page(&records, first).await;
    let token = request.page_token.clone();
    let mut altered: Vec<String> = (0..token.len())
        .map(|at| {
            let other = if &token[at..=at] == "A" { "B" } else { "A" };
            format!("{}{other}{}", &token[..at], &token[at + 1..])
        })
        .collect();
    altered.extend([
        "A".into(),
        token[1..].into(),
        token[..token.len() - 1].into(),
        format!("{token}="),
        format!("{token}A"),
        format!(" {token}"),
        format!("{token}{token}"),
        "%".into(),
        "\0".into(),
        "é".into(),
        "A".repeat(100_000),
    ]);
    let mut client = records.client();
    for page_token in altered {
        let request = ListClientAllocationsRequest {
            page_token: page_token.clone(),
            ..request.clone()
        };
        let listed = client.list_client_allocations(request).await;
        assert_refused(listed, &page_token);
    }
    for number in [0, 1] {
        let numbered = ListClientAllocationsRequest {
            page_number: Some(number),
            ..request.clone()
        };
        let refused = refusal(client.list_client_allocations(numbered).await);
        refused.expect_invalid(&["page_token"]);
    }
}

/// The checksum is no secret: whoever reads the source can make a token up.
#[tokio::test]
async fn a_forged_page_token_is_refused_or_selects_only_the_callers_records() {
    let records = Records::make(6).await;
    let mut client = records.client();
    let id = records.all[2].id.as_str();
    let made_up: [(AllocationSortField, Value); 15] = [
        (AllocationSortField::Id, json!({})),
        (AllocationSortField::Id, json!({"id": id, "key": 1})),
        (
            AllocationSortField::Id,
            json!({"id": id, "key": {"Currency": "BTC"}}),
        ),
        (AllocationSortField::Id, json!({"id": "x", "key": null})),
        (
            AllocationSortField::Currency,
            json!({"id": id, "key": null}),
        ),
        (
            AllocationSortField::Currency,
            json!({"id": id, "key": {"Currency": "\0"}}),
        ),
        (
            AllocationSortField::Currency,
            json!({"id": id, "key": {"Currency": ""}}),
        ),
        (
            AllocationSortField::Quantity,
            json!({"id": id, "key": {"Currency": "BTC"}}),
        ),
        (
            AllocationSortField::Quantity,
            json!({"id": id, "key": {"Quantity": "NaN"}}),
        ),
        (
            AllocationSortField::Quantity,
            json!({"id": id, "key": {"Quantity": "1e999999"}}),
        ),
        (
            AllocationSortField::Quantity,
            json!({"id": id, "key": {"Quantity": "9".repeat(29)}}),
        ),
        (
            AllocationSortField::Quantity,
            json!({"id": id, "key": {"Quantity": ""}}),
        ),
        (
            AllocationSortField::UpdatedAt,
            json!({"id": id, "key": {"UpdatedAt": "yesterday"}}),
        ),
        (
            AllocationSortField::UpdatedAt,
            json!({"id": id, "key": {"UpdatedAt": "+262000-01-01T00:00:00Z"}}),
        ),
        (
            AllocationSortField::UpdatedAt,
            json!({"id": id, "key": {"UpdatedAt": "-262000-01-01T00:00:00Z"}}),
        ),
    ];
    for (field, cursor) in made_up {
        let request = ListClientAllocationsRequest {
            sort_field: field.into(),
            ..records.request()
        };
        let page_token = page_token::encode(Binding::new(LIST, &request), &cursor);
        let request = ListClientAllocationsRequest {
            page_token,
            ..request
        };
        let listed = client.list_client_allocations(request).await;
        assert_refused(listed, &cursor.to_string());
    }
}
