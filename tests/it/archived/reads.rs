//! Reads of archived allocations, and lists with windows of time.

use earmark::proto::allocation::v1::{
    Allocation, AllocationStatus, GetAllocationRequest, ListClientAllocationsRequest,
    ListPartnerAllocationsRequest,
};
use earmark::proto::network::v1::ConnectionMode;
use earmark::types::ids::ordered_id;
use earmark::types::time::Time;
use prost_types::Timestamp;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::support::allocation_fixture::AllocationFixture;
use crate::support::archive::{ArchivedRows, archive, archive_with};
use crate::support::earmark::{NOBODY, Refusal, refusal};

fn timestamp(time: Time) -> Option<Timestamp> {
    let micros = time.micros();
    Some(Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000)).expect("small") * 1_000,
    })
}

#[track_caller]
fn expect_archived(refused: Refusal, field: &str, since: Time) -> Refusal {
    let refused = refused.expect(Code::OutOfRange, "HISTORY_ARCHIVED");
    assert_eq!(refused.metadata["field"], field, "{refused:?}");
    assert_eq!(refused.metadata["since"], since.to_string(), "{refused:?}");
    assert!(refused.message.contains(&since.to_string()), "{refused:?}");
    refused
}

async fn get(fixture: &AllocationFixture, enterprise: &str, id: &str) -> Refusal {
    let request = GetAllocationRequest {
        enterprise_id: enterprise.into(),
        allocation_id: id.into(),
    };
    let mut rpc = fixture.earmark.member(&[enterprise]).allocation;
    refusal(rpc.get_allocation(request).await)
}

#[tokio::test]
async fn an_old_id_is_archived_for_everybody_whether_or_not_it_ever_was() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let cleared = fixture.allocate("10", "cleared").await;
    fixture.clear(&cleared.id).await;
    let open = fixture.allocate("7", "open").await;
    let stranger = fixture.earmark.parties(ConnectionMode::Confirmed).await;
    let since = archive(&fixture.earmark).await;
    let later = fixture.allocate("3", "later").await;

    let (client, partner) = (
        &fixture.parties.enterprise,
        &fixture.parties.partner_enterprise,
    );
    for enterprise in [
        client,
        partner,
        &stranger.enterprise,
        &stranger.partner_enterprise,
    ] {
        for id in [cleared.id.as_str(), NOBODY] {
            let refused = get(&fixture, enterprise, id).await;
            let refused = expect_archived(refused, "allocation_id", since);
            assert_eq!(refused.metadata["id"], id);
        }
    }
    // What a stranger is answered does not tell that it is on line.
    expect_archived(
        get(&fixture, &stranger.enterprise, &open.id).await,
        "allocation_id",
        since,
    );
    assert_eq!(fixture.get(&open.id).await, open);
    assert_eq!(fixture.get(&later.id).await, later);
    let first = ordered_id(since, [0; 8]).to_string();
    for id in [
        &later.id,
        &first,
        &Uuid::new_v4().to_string(),
        &Uuid::nil().to_string(),
    ] {
        let refused = get(&fixture, &stranger.enterprise, id).await;
        refused.expect(Code::NotFound, "ALLOCATION_NOT_FOUND");
    }
}

async fn listed(
    fixture: &AllocationFixture,
    request: ListClientAllocationsRequest,
) -> Result<Vec<Allocation>, Status> {
    let request = ListClientAllocationsRequest {
        enterprise_id: fixture.parties.enterprise.clone(),
        ..request
    };
    // The partner sees the same: there are no others.
    let as_partner = ListPartnerAllocationsRequest {
        enterprise_id: fixture.parties.partner_enterprise.clone(),
        statuses: request.statuses.clone(),
        created_on_or_after: request.created_on_or_after,
        created_before: request.created_before,
        updated_on_or_after: request.updated_on_or_after,
        updated_before: request.updated_before,
        ..Default::default()
    };
    let of_client = fixture
        .client
        .clone()
        .list_client_allocations(request)
        .await;
    let of_partner = fixture
        .partner
        .clone()
        .list_partner_allocations(as_partner)
        .await;
    let of_client = of_client.map(|answer| answer.into_inner().allocations);
    let of_partner = of_partner.map(|answer| answer.into_inner().allocations);
    match (&of_client, &of_partner) {
        (Ok(client), Ok(partner)) => assert_eq!(client, partner),
        (Err(client), Err(partner)) => assert_eq!(client.message(), partner.message()),
        _ => panic!("{of_client:?} but {of_partner:?}"),
    }
    of_client
}

async fn ids(fixture: &AllocationFixture, request: ListClientAllocationsRequest) -> Vec<String> {
    let listed = listed(fixture, request).await.expect("listed");
    listed.into_iter().map(|record| record.id).collect()
}

#[tokio::test]
async fn a_list_is_refused_if_its_window_begins_before_the_boundary() {
    for rows in [ArchivedRows::Removed, ArchivedRows::Left] {
        let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
        let cleared = fixture.allocate("10", "cleared").await;
        fixture.clear(&cleared.id).await;
        let open = fixture.allocate("7", "open").await;
        let closed = fixture.allocate("8", "closed").await;
        let since = archive_with(&fixture.earmark, rows).await;
        fixture.clear(&closed.id).await;
        let later = fixture.allocate("3", "later").await;

        let none = ListClientAllocationsRequest::default();
        if rows == ArchivedRows::Removed {
            let whole = ids(&fixture, none.clone()).await;
            assert_eq!(whole, [&open.id, &closed.id, &later.id].map(Clone::clone));
        }
        let before = timestamp(since.previous());
        let at = timestamp(since);
        let refused = [
            (
                "created_on_or_after",
                ListClientAllocationsRequest {
                    created_on_or_after: before,
                    ..none.clone()
                },
            ),
            (
                "created_before",
                ListClientAllocationsRequest {
                    created_before: before,
                    ..none.clone()
                },
            ),
            (
                "updated_on_or_after",
                ListClientAllocationsRequest {
                    updated_on_or_after: before,
                    ..none.clone()
                },
            ),
            (
                "updated_before",
                ListClientAllocationsRequest {
                    updated_before: at,
                    ..none.clone()
                },
            ),
        ];
        for (field, request) in refused {
            let refused = refusal(listed(&fixture, request).await);
            expect_archived(refused, field, since);
        }
        let created = ListClientAllocationsRequest {
            created_on_or_after: at,
            ..none.clone()
        };
        assert_eq!(
            ids(&fixture, created).await,
            std::slice::from_ref(&later.id)
        );
        let updated = ListClientAllocationsRequest {
            updated_on_or_after: at,
            ..none.clone()
        };
        assert_eq!(
            ids(&fixture, updated).await,
            [&closed.id, &later.id].map(Clone::clone)
        );
    }
}

#[tokio::test]
async fn open_records_are_listed_whatever_the_window() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let before = Time::from(chrono::Utc::now() - chrono::TimeDelta::hours(1));
    let open = fixture.allocate("7", "open").await;
    let since = archive(&fixture.earmark).await;
    let later = fixture.allocate("3", "later").await;
    let of_open = ListClientAllocationsRequest {
        statuses: vec![AllocationStatus::Reserved.into()],
        ..Default::default()
    };
    let (from, at) = (timestamp(before), timestamp(since));
    let both = [&open.id, &later.id].map(Clone::clone);
    let window = |created, updated| ListClientAllocationsRequest {
        created_on_or_after: created,
        updated_on_or_after: updated,
        ..of_open.clone()
    };
    for (request, expected) in [
        (window(from, None), &both[..]),
        (window(None, from), &both[..]),
        (window(from, at), &both[1..]),
        (window(at, from), &both[1..]),
        (
            ListClientAllocationsRequest {
                updated_before: at,
                ..of_open.clone()
            },
            &both[..1],
        ),
        (
            ListClientAllocationsRequest {
                created_before: at,
                updated_before: at,
                ..of_open.clone()
            },
            &both[..1],
        ),
    ] {
        assert_eq!(
            ids(&fixture, request.clone()).await,
            expected,
            "{request:?}"
        );
    }
}
