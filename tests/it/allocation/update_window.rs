//! Lists by the time of the last movement, and by the own ids of both sides.

use std::collections::BTreeSet;

use earmark::proto::allocation::v1::{
    Allocation, AllocationSortField, ListClientAllocationsRequest, ListPartnerAllocationsRequest,
};
use earmark::proto::common::v1::SortDirection;
use earmark::proto::network::v1::ConnectionMode;
use prost_types::Timestamp;
use tonic::Code;

use crate::support::allocation_fixture::AllocationFixture;
use crate::support::earmark::{Parties, refusal};

/// Records of two connections to the same partner and one to another, some of them closed long after they were created.
async fn records() -> (AllocationFixture, Vec<Allocation>) {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let earmark = &fixture.earmark;
    let second = earmark
        .connection(&fixture.parties, ConnectionMode::Instant)
        .await;
    let venue = earmark.enterprise("Another venue").await.id;
    let elsewhere = Parties {
        partner: earmark.partner(&venue, "Another").await,
        partner_enterprise: venue,
        ..fixture.parties.clone()
    };
    let third = earmark
        .connection(&elsewhere, ConnectionMode::Confirmed)
        .await;
    let mut open = Vec::new();
    for number in 0..12 {
        let connection = [&fixture.parties.connection, &second, &third][number % 3];
        let mut create = fixture
            .parties
            .allocation("BTC", "1", &format!("key {number}"));
        create.connection_id.clone_from(connection);
        let created = fixture.client.clone().create_allocation(create).await;
        open.push(
            created
                .expect("created")
                .into_inner()
                .allocation
                .expect("set"),
        );
        if number % 5 == 1 {
            let deposit = earmark.deposit(&fixture.parties.enterprise, "BTC", "1");
            deposit.await;
        }
    }
    // The older ones are closed after the younger ones were created.
    fixture.clear(&open[0].id).await;
    fixture.cancel(&open[2].id).await;
    fixture.release(&open[3].id).await;
    let mut all = Vec::new();
    for record in &open {
        all.push(fixture.get(&record.id).await);
    }
    (fixture, all)
}

fn time(record: &Allocation) -> (i64, i32) {
    let time = record.updated_at.expect("set");
    (time.seconds, time.nanos)
}

fn timestamp((seconds, nanos): (i64, i32)) -> Timestamp {
    Timestamp { seconds, nanos }
}

fn ids<'a>(records: impl IntoIterator<Item = &'a Allocation>) -> Vec<&'a str> {
    records
        .into_iter()
        .map(|record| record.id.as_str())
        .collect()
}

impl AllocationFixture {
    async fn of_client(&self, request: ListClientAllocationsRequest) -> Vec<Allocation> {
        let mut request = ListClientAllocationsRequest {
            enterprise_id: self.parties.enterprise.clone(),
            page_size: 2,
            ..request
        };
        let mut all = Vec::new();
        loop {
            let mut client = self.client.clone();
            let page = client.list_client_allocations(request.clone()).await;
            let page = page.expect("listed").into_inner();
            all.extend(page.allocations);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return all;
            }
        }
    }

    async fn of_partner(&self, request: ListPartnerAllocationsRequest) -> Vec<Allocation> {
        let mut request = ListPartnerAllocationsRequest {
            enterprise_id: self.parties.partner_enterprise.clone(),
            page_size: 2,
            ..request
        };
        let mut all = Vec::new();
        loop {
            let mut partner = self.partner.clone();
            let page = partner.list_partner_allocations(request.clone()).await;
            let page = page.expect("listed").into_inner();
            all.extend(page.allocations);
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return all;
            }
        }
    }
}

/// The records in this order.
fn sorted(mut records: Vec<&Allocation>, field: i32, descending: bool) -> Vec<&Allocation> {
    if field == i32::from(AllocationSortField::UpdatedAt) {
        records.sort_by_key(|record| time(record));
    }
    if descending {
        records.reverse();
    }
    records
}

#[tokio::test]
async fn windows_that_follow_each_other_share_no_record_and_lose_none() {
    let (fixture, all) = records().await;
    let mut times: Vec<_> = all.iter().map(time).collect();
    times.sort_unstable();
    let own: BTreeSet<_> = all
        .iter()
        .filter(|record| record.partner_id == fixture.parties.partner)
        .map(|record| &record.id)
        .collect();
    assert_eq!((all.len(), own.len()), (12, 8));
    let orders = [
        (0, 0),
        (AllocationSortField::Id.into(), SortDirection::Desc.into()),
        (AllocationSortField::UpdatedAt.into(), 0),
        (
            AllocationSortField::UpdatedAt.into(),
            SortDirection::Desc.into(),
        ),
    ];
    for (field, direction) in orders {
        for (from, before) in [
            (None, None),
            (None, Some(times[5])),
            (Some(times[5]), Some(times[9])),
            (Some(times[9]), None),
            (Some(times[5]), Some(times[5])),
        ] {
            let client = ListClientAllocationsRequest {
                updated_on_or_after: from.map(timestamp),
                updated_before: before.map(timestamp),
                sort_field: field,
                sort_direction: direction,
                ..Default::default()
            };
            let fits = |record: &&Allocation| {
                from.is_none_or(|from| time(record) >= from)
                    && before.is_none_or(|before| time(record) < before)
            };
            let descending = direction == i32::from(SortDirection::Desc);
            let expected = sorted(all.iter().filter(fits).collect(), field, descending);
            let listed = fixture.of_client(client.clone()).await;
            assert_eq!(ids(&listed), ids(expected.iter().copied()), "{client:?}");
            let partner = ListPartnerAllocationsRequest {
                updated_on_or_after: client.updated_on_or_after,
                updated_before: client.updated_before,
                sort_field: field,
                sort_direction: direction,
                ..Default::default()
            };
            let expected = expected
                .into_iter()
                .filter(|record| own.contains(&record.id));
            let listed = fixture.of_partner(partner).await;
            assert_eq!(ids(&listed), ids(expected), "as partner: {client:?}");
        }
    }
}

#[tokio::test]
async fn a_window_is_joined_with_other_filters_and_rounded_up() {
    let (fixture, all) = records().await;
    let newest = all.iter().map(time).max().expect("some");
    let list = |updated_on_or_after, updated_before| ListClientAllocationsRequest {
        updated_on_or_after,
        updated_before,
        connection_ids: vec![fixture.parties.connection.clone()],
        ..Default::default()
    };
    let cleared = fixture
        .of_client(list(Some(timestamp(time(&all[0]))), None))
        .await;
    assert_eq!(ids(&cleared), [&*all[0].id, &*all[3].id]);
    let (seconds, nanos) = newest;
    // Within the microsecond of the newest: a bound that is excluded lets it in, one that is included leaves it out.
    let within = timestamp((seconds, nanos + 1));
    let before = fixture.of_client(list(None, Some(within))).await;
    assert_eq!(before.len(), 4);
    let after = fixture.of_client(list(Some(within), None)).await;
    assert!(after.is_empty());
    let before = fixture.of_client(list(None, Some(timestamp(newest)))).await;
    assert_eq!(before.len(), 3);
    let reversed = ListClientAllocationsRequest {
        enterprise_id: fixture.parties.enterprise.clone(),
        ..list(Some(within), Some(timestamp(newest)))
    };
    let answer = fixture
        .client
        .clone()
        .list_client_allocations(reversed)
        .await;
    refusal(answer).expect_invalid(&["updated_before"]);
}

/// A reservation that had expired was updated then, whether or not it was released before it is listed.
#[tokio::test]
async fn a_window_shows_what_expired_in_it() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let mut create = fixture.parties.allocation("BTC", "1", "later");
    create.expire_time = Some(fixture.in_millis(60_000).await);
    let created = fixture.client.clone().create_allocation(create).await;
    let created = created.expect("created").into_inner().allocation;
    let from = created.expect("set").updated_at.expect("set");
    let from = timestamp((from.seconds, from.nanos + 1_000));
    let request = ListClientAllocationsRequest {
        updated_on_or_after: Some(from),
        ..Default::default()
    };
    let due = "UPDATE open_allocation SET expire_time = clock_timestamp()";
    let sql = fixture.earmark.sql().await;
    sql.batch_execute(due).await.expect("due");
    let listed = fixture.of_client(request).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].reason.as_deref(), Some("expired"));
}

#[tokio::test]
async fn each_side_finds_records_by_the_others_own_ids() {
    let (fixture, all) = records().await;
    let partners_id = all[0].partner_external_id.clone().expect("given");
    let listed = fixture
        .of_client(ListClientAllocationsRequest {
            partner_external_ids: vec![partners_id.clone(), "unknown".into()],
            ..Default::default()
        })
        .await;
    let expected: Vec<_> = all
        .iter()
        .filter(|record| record.partner_external_id.as_ref() == Some(&partners_id))
        .collect();
    assert_eq!(ids(&listed), ids(expected));
    let listed = fixture
        .of_partner(ListPartnerAllocationsRequest {
            client_external_ids: vec!["key 1".into(), "key 2".into(), "key 3".into()],
            ..Default::default()
        })
        .await;
    // The record of the second key is another partner's.
    assert_eq!(ids(&listed), [&*all[1].id, &*all[3].id]);
    let both = ListPartnerAllocationsRequest {
        client_external_ids: vec!["key 1".into()],
        partner_external_ids: vec![partners_id],
        ..Default::default()
    };
    assert!(fixture.of_partner(both).await.is_empty());
    let many = ListPartnerAllocationsRequest {
        enterprise_id: fixture.parties.partner_enterprise.clone(),
        client_external_ids: vec!["x".into(); 501],
        ..Default::default()
    };
    let answer = fixture.partner.clone().list_partner_allocations(many).await;
    refusal(answer).expect_invalid(&["client_external_ids"]);
}

#[tokio::test]
async fn notes_that_are_empty_are_none() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let mut create = fixture.parties.allocation("BTC", "1", "key");
    create.notes = None;
    let first = fixture
        .client
        .clone()
        .create_allocation(create.clone())
        .await;
    let first = first.expect("created").into_inner().allocation;
    create.notes = Some(String::new());
    let again = fixture
        .client
        .clone()
        .create_allocation(create.clone())
        .await;
    let again = again.expect("replayed").into_inner().allocation;
    assert_eq!(again, first);
    assert_eq!(again.expect("set").notes, None);
    create.notes = Some(" ".into());
    let answer = fixture.client.clone().create_allocation(create).await;
    refusal(answer).expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
}
