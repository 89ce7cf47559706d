//! ListClientAllocations.

mod filters;
mod pages;
mod tokens;

use std::cmp::Ordering;
use std::collections::HashSet;

use earmark::proto::allocation::v1::allocation_service_client::AllocationServiceClient;
use earmark::proto::allocation::v1::{
    Allocation, AllocationSortField, AllocationType, ListClientAllocationsRequest,
    ListClientAllocationsResponse,
};
use earmark::proto::common::v1::SortDirection;
use earmark::proto::network::v1::ConnectionMode;
use futures_util::future::join_all;
use prost_types::Timestamp;

use crate::support::allocation_sql::make_allocations_writable;
use crate::support::earmark::{Authorized, Earmark, Parties};
use crate::support::random::Random;

const CURRENCIES: [&str; 5] = ["BTC", "ETH", "a.b", "btc", "Z-9"];
const QUANTITIES: [&str; 6] = ["9", "10", "100", "99", "1", "12345678901234567890"];

/// A client with records of every kind, in an order that is none of those that a list can be sorted by.
struct Records {
    earmark: Earmark,
    parties: Parties,
    client: AllocationServiceClient<Authorized>,
    /// All records in the order of creation.
    all: Vec<Allocation>,
}

impl Records {
    /// Makes records on four connections to two partners. Some are turned by SQL into what no RPC makes yet.
    async fn make(count: usize) -> Self {
        let earmark = Earmark::start().await;
        let parties = earmark.parties(ConnectionMode::Instant).await;
        let venue = earmark.enterprise("Another venue").await;
        let other = Parties {
            partner: earmark.partner(&venue.id, "Another").await,
            ..parties.clone()
        };
        let connections = [
            parties.connection.clone(),
            earmark
                .connection(&parties, ConnectionMode::Confirmed)
                .await,
            earmark.connection(&other, ConnectionMode::Instant).await,
            earmark.connection(&other, ConnectionMode::Confirmed).await,
        ];
        for currency in CURRENCIES {
            let plenty = "9".repeat(24);
            earmark
                .deposit(&parties.enterprise, currency, &plenty)
                .await;
        }
        let mut random = Random::new(7);
        let requests = (0..count).map(|index| {
            let currency = CURRENCIES[random.number(0..CURRENCIES.len())];
            let quantity = QUANTITIES[random.number(0..QUANTITIES.len())];
            let mut request = parties.allocation(currency, quantity, &format!("a-{index}"));
            request.connection_id = connections[random.number(0..connections.len())].clone();
            request
        });
        let client = earmark.member(&[&parties.enterprise]).allocation;
        let created = join_all(requests.map(async |request| {
            let answer = client.clone().create_allocation(request).await;
            answer.expect("created").into_inner().allocation
        }))
        .await;
        assert!(created.iter().all(Option::is_some));
        // Only five different times, so that the last update has ties.
        let sql = earmark.sql().await;
        make_allocations_writable(&sql).await;
        sql.batch_execute(
                "UPDATE allocation SET type = 'DEALLOCATION' WHERE right(client_external_id, 1) IN ('1', '4', '7');
                 UPDATE allocation SET status = 'RELEASED', reason = 'why', closed_cause = 'RELEASE',
                        closed_custody_version = 1, closed_connection_version = 0
                  WHERE right(client_external_id, 1) IN ('2', '7', '9');
                 UPDATE allocation SET updated_at = (SELECT max(created_at) FROM allocation)
                        + (ascii(right(id::text, 1)) % 5) * interval '1 microsecond'",
            )
            .await
            .expect("turned");
        let mut records = Self {
            earmark,
            parties,
            client,
            all: Vec::new(),
        };
        let mut request = ListClientAllocationsRequest {
            page_size: 500,
            ..records.request()
        };
        while records.all.len() < count {
            let page = records.list(request.clone()).await;
            records.all.extend(page.allocations);
            request.page_token = page.next_page_token;
        }
        records
    }

    /// The list with all its pages.
    fn request(&self) -> ListClientAllocationsRequest {
        ListClientAllocationsRequest {
            enterprise_id: self.parties.enterprise.clone(),
            ..Default::default()
        }
    }

    fn client(&self) -> AllocationServiceClient<Authorized> {
        self.client.clone()
    }

    async fn list(&self, request: ListClientAllocationsRequest) -> ListClientAllocationsResponse {
        let listed = self.client().list_client_allocations(request.clone()).await;
        listed
            .unwrap_or_else(|status| panic!("{status:?}: {request:?}"))
            .into_inner()
    }

    /// What the whole list must be: the filter and the order again, in memory.
    fn expected(&self, request: &ListClientAllocationsRequest) -> Vec<Allocation> {
        let fits = |record: &&Allocation| fits(request, record);
        let mut expected: Vec<_> = self.all.iter().filter(fits).cloned().collect();
        expected.sort_by(|a, b| compare(request, a, b));
        expected
    }
}

fn fits(request: &ListClientAllocationsRequest, record: &Allocation) -> bool {
    fn lets_pass<T: PartialEq>(filter: &[T], value: &T) -> bool {
        filter.is_empty() || filter.contains(value)
    }
    let currency = record.amount.clone().expect("set").currency;
    let created_at = order_of(record.created_at);
    lets_pass(&request.allocation_ids, &record.id)
        && lets_pass(&request.types, &record.r#type)
        && lets_pass(&request.statuses, &record.status)
        && lets_pass(&request.currencies, &currency)
        && lets_pass(&request.connection_ids, &record.connection_id)
        && lets_pass(&request.partner_ids, &record.partner_id)
        && lets_pass(&request.client_external_ids, &record.client_external_id)
        && request
            .created_on_or_after
            .is_none_or(|from| created_at >= order_of(Some(from)))
        && request
            .created_before
            .is_none_or(|to| created_at <= order_of(Some(to)))
}

fn compare(request: &ListClientAllocationsRequest, a: &Allocation, b: &Allocation) -> Ordering {
    let amount = |record: &Allocation| record.amount.clone().expect("set");
    let quantity = |record| -> i128 { amount(record).quantity.parse().expect("digits") };
    let by_field = match request.sort_field() {
        AllocationSortField::Unspecified => Ordering::Equal,
        AllocationSortField::Id => a.id.cmp(&b.id),
        AllocationSortField::UpdatedAt => order_of(a.updated_at).cmp(&order_of(b.updated_at)),
        AllocationSortField::Quantity => quantity(a).cmp(&quantity(b)),
        AllocationSortField::Currency => amount(a).currency.cmp(&amount(b).currency),
    };
    let by_field = match request.sort_direction() {
        SortDirection::Desc => by_field.reverse(),
        SortDirection::Asc | SortDirection::Unspecified => by_field,
    };
    by_field
        .then(order_of(a.created_at).cmp(&order_of(b.created_at)))
        .then(a.id.cmp(&b.id))
}

fn order_of(time: Option<Timestamp>) -> (i64, i32) {
    let time = time.expect("set");
    (time.seconds, time.nanos)
}

/// Every order that a list can have.
fn orders() -> Vec<(AllocationSortField, SortDirection)> {
    let mut orders = vec![(AllocationSortField::Unspecified, SortDirection::Unspecified)];
    for field in [
        AllocationSortField::Id,
        AllocationSortField::UpdatedAt,
        AllocationSortField::Quantity,
        AllocationSortField::Currency,
    ] {
        for direction in [
            SortDirection::Unspecified,
            SortDirection::Asc,
            SortDirection::Desc,
        ] {
            orders.push((field, direction));
        }
    }
    orders
}

fn ids(records: &[Allocation]) -> Vec<&str> {
    records.iter().map(|record| record.id.as_str()).collect()
}

#[tokio::test]
async fn every_sort_field_works_in_both_directions_with_ties_in_creation_order() {
    let records = Records::make(60).await;
    let distinct = |field: fn(&Allocation) -> String| -> usize {
        records.all.iter().map(field).collect::<HashSet<_>>().len()
    };
    assert!(distinct(|record| format!("{:?}", record.updated_at)) < 6);
    assert!(distinct(|record| record.r#type.to_string()) == 2);
    assert!(distinct(|record| record.status.to_string()) == 3);
    for (field, direction) in orders() {
        let request = ListClientAllocationsRequest {
            sort_field: field.into(),
            sort_direction: direction.into(),
            ..records.request()
        };
        let listed = records.list(request.clone()).await;
        assert_eq!(
            ids(&listed.allocations),
            ids(&records.expected(&request)),
            "{field:?} {direction:?}"
        );
        assert_eq!(listed.next_page_token, "");
    }
    let deallocations = records
        .all
        .iter()
        .filter(|record| record.r#type() == AllocationType::Deallocation);
    assert!(deallocations.count() > 10);
}
