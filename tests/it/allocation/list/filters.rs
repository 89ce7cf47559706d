//! Filters of ListClientAllocations.

use earmark::proto::allocation::v1::{
    Allocation, AllocationStatus, AllocationType, ListClientAllocationsRequest,
};
use prost_types::Timestamp;
use tonic::Code;

use super::{Records, ids, orders};
use crate::support::earmark::{Earmark, NOBODY, Refusal, refusal};
use crate::support::random::Random;

/// The time so many nanoseconds later.
fn moved(time: Timestamp, nanos: i64) -> Timestamp {
    let all = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos) + i128::from(nanos);
    Timestamp {
        seconds: i64::try_from(all.div_euclid(1_000_000_000)).expect("in range"),
        nanos: i32::try_from(all.rem_euclid(1_000_000_000)).expect("in range"),
    }
}

/// The `index`-th filter, set to some of what the records have and now and then to what none has.
fn set(
    request: &mut ListClientAllocationsRequest,
    index: usize,
    random: &mut Random,
    all: &[Allocation],
) {
    fn values(
        random: &mut Random,
        all: &[Allocation],
        of: impl Fn(&Allocation) -> String,
        nobodys: &str,
    ) -> Vec<String> {
        let mut known: Vec<String> = all.iter().map(of).collect();
        known.sort();
        known.dedup();
        let mut values = random.some_of(&known);
        if random.one_in(3) {
            values.push(nobodys.into());
            // A repeated value counts once.
            values.push(values[0].clone());
        }
        values
    }
    let time = all[random.number(0..all.len())].created_at.expect("set");
    let time = moved(time, [-1_000, -1, 0, 1, 999, 1_000][random.number(0..6)]);
    match index {
        0 => request.allocation_ids = values(random, all, |record| record.id.clone(), NOBODY),
        1 => request.types = random.some_of(&[1, 2]),
        2 => request.statuses = random.some_of(&[1, 2, 3]),
        3 => {
            let currency = |record: &Allocation| record.amount.clone().expect("set").currency;
            request.currencies = values(random, all, currency, "eth");
        }
        4 => {
            let connection = |record: &Allocation| record.connection_id.clone();
            request.connection_ids = values(random, all, connection, NOBODY);
        }
        5 => request.partner_ids = values(random, all, |record| record.partner_id.clone(), NOBODY),
        6 => request.created_on_or_after = Some(time),
        7 => request.created_before = Some(time),
        8 => {
            let external_id = |record: &Allocation| record.client_external_id.clone();
            request.client_external_ids = values(random, all, external_id, "a-0 ");
        }
        _ => unreachable!("nine filters"),
    }
}
const FILTERS: usize = 9;

fn reversed(request: &ListClientAllocationsRequest) -> bool {
    match (request.created_on_or_after, request.created_before) {
        (Some(from), Some(to)) => (from.seconds, from.nanos) > (to.seconds, to.nanos),
        _ => false,
    }
}

#[tokio::test]
async fn filters_select_matching_records_alone_and_combined() {
    let records = Records::make(60).await;
    const SEED: u64 = 11;
    let mut random = Random::new(SEED);
    let (mut found, mut empty) = (0, 0);
    for round in 0..260 {
        let mut request = ListClientAllocationsRequest {
            page_size: 500,
            ..records.request()
        };
        if round < 10 * FILTERS {
            set(&mut request, round % FILTERS, &mut random, &records.all);
        } else {
            for index in 0..FILTERS {
                if random.one_in(3) {
                    set(&mut request, index, &mut random, &records.all);
                }
            }
        }
        let orders = orders();
        let (field, direction) = orders[random.number(0..orders.len())];
        request.sort_field = field.into();
        request.sort_direction = direction.into();
        if reversed(&request) {
            continue;
        }
        let listed = records.list(request.clone()).await;
        let expected = records.expected(&request);
        assert_eq!(
            ids(&listed.allocations),
            ids(&expected),
            "round {round} of seed {SEED}: {request:?}"
        );
        assert_eq!(listed.allocations, expected);
        if expected.is_empty() {
            empty += 1;
        } else {
            found += 1;
        }
    }
    assert!(found > 100 && empty > 10, "{found} found, {empty} empty");
}

#[tokio::test]
async fn both_time_bounds_are_inclusive() {
    let records = Records::make(5).await;
    let time = records.all[2].created_at.expect("set");
    // Offsets of the two bounds in nanoseconds, and whether the record between them is found.
    for (from, to, found) in [
        (0, 0, true),
        (0, 999, true),
        (-1_000, 0, true),
        (-999, 0, true),
        (-1_000, -1, false),
        (1, 1_000, false),
        (999, 1_000, false),
        // Times are stored in whole microseconds.
        (1, 1, false),
        (-2, -1, false),
    ] {
        let request = ListClientAllocationsRequest {
            created_on_or_after: Some(moved(time, from)),
            created_before: Some(moved(time, to)),
            allocation_ids: vec![records.all[2].id.clone()],
            ..records.request()
        };
        let listed = records.list(request).await;
        assert_eq!(listed.allocations.len() == 1, found, "{from} {to}");
    }
    // The smallest and the largest timestamp.
    let request = ListClientAllocationsRequest {
        created_on_or_after: Some(Timestamp {
            seconds: -62_135_596_800,
            nanos: 0,
        }),
        created_before: Some(Timestamp {
            seconds: 253_402_300_799,
            nanos: 999_999_999,
        }),
        ..records.request()
    };
    assert_eq!(records.list(request).await.allocations, records.all);
    for bound in [-62_135_596_800, 253_402_300_799] {
        let end = Some(Timestamp {
            seconds: bound,
            nanos: 999_999_999,
        });
        let from = ListClientAllocationsRequest {
            created_on_or_after: end,
            ..records.request()
        };
        let to = ListClientAllocationsRequest {
            created_before: end,
            ..records.request()
        };
        let found = [records.list(from).await, records.list(to).await];
        let found = found.map(|listed| listed.allocations.len());
        assert_eq!(found, if bound < 0 { [5, 0] } else { [0, 5] });
    }
}

async fn refused(earmark: &Earmark, request: ListClientAllocationsRequest) -> Refusal {
    // Arguments are judged before anything is looked up.
    let listed = earmark
        .member(&[])
        .allocation
        .list_client_allocations(request)
        .await;
    refusal(listed)
}

fn of_nobody() -> ListClientAllocationsRequest {
    ListClientAllocationsRequest {
        enterprise_id: NOBODY.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn invalid_and_reversed_time_ranges_are_refused() {
    let earmark = Earmark::start().await;
    let time = |seconds, nanos| Some(Timestamp { seconds, nanos });
    for wrong in [
        time(253_402_300_800, 0),
        time(-62_135_596_801, 0),
        time(i64::MAX, 0),
        time(i64::MIN, 0),
        time(0, -1),
        time(0, 1_000_000_000),
        time(0, i32::MIN),
    ] {
        let request = ListClientAllocationsRequest {
            created_on_or_after: wrong,
            created_before: wrong,
            ..of_nobody()
        };
        let refused = refused(&earmark, request).await;
        refused.expect_invalid(&["created_on_or_after", "created_before"]);
    }
    for (from, to) in [(time(2, 0), time(1, 999_999_999)), (time(1, 2), time(1, 1))] {
        let request = ListClientAllocationsRequest {
            created_on_or_after: from,
            created_before: to,
            ..of_nobody()
        };
        refused(&earmark, request)
            .await
            .expect_invalid(&["created_before"]);
    }
}

#[tokio::test]
async fn each_filter_value_that_no_record_can_have_is_reported() {
    let earmark = Earmark::start().await;
    let request = ListClientAllocationsRequest {
        enterprise_id: "nobody".into(),
        allocation_ids: vec![NOBODY.into(), "".into()],
        types: vec![AllocationType::Allocation.into(), 3, 0, -1],
        statuses: vec![i32::MAX, AllocationStatus::Reserved.into()],
        currencies: vec!["B C".into()],
        connection_ids: vec!["x".into()],
        partner_ids: vec![NOBODY.replace('-', "")],
        client_external_ids: vec!["\0".into(), "ok".into(), "x".repeat(129), "".into()],
        sort_field: 99,
        sort_direction: -7,
        page_number: Some(-1),
        page_size: -1,
        page_token: "not one".into(),
        ..Default::default()
    };
    refused(&earmark, request).await.expect_invalid(&[
        "enterprise_id",
        "allocation_ids[1]",
        "types[1]",
        "types[2]",
        "types[3]",
        "statuses[0]",
        "currencies[0]",
        "connection_ids[0]",
        "partner_ids[0]",
        "client_external_ids[0]",
        "client_external_ids[2]",
        "client_external_ids[3]",
        "sort_field",
        "sort_direction",
        "page_size",
        "page_number",
        "page_token",
    ]);
    let direction_alone = ListClientAllocationsRequest {
        sort_direction: 2,
        ..of_nobody()
    };
    let refused = refused(&earmark, direction_alone).await;
    refused.expect_invalid(&["sort_direction"]);
}

#[tokio::test]
async fn a_filter_takes_at_most_500_values() {
    let records = Records::make(3).await;
    let of = |count: usize| ListClientAllocationsRequest {
        allocation_ids: vec![records.all[0].id.clone(); count],
        types: [1, 2].repeat(count / 2),
        statuses: vec![2; count],
        currencies: vec!["BTC".into(); count],
        connection_ids: vec![NOBODY.into(); count],
        partner_ids: vec![NOBODY.into(); count],
        client_external_ids: vec!["𝄞".repeat(128); count],
        ..records.request()
    };
    assert_eq!(records.list(of(500)).await.allocations, []);
    // More than 2,000 are counted before the request is decoded.
    for count in [502, 2_000] {
        let refused = refused(&records.earmark, of(count)).await;
        assert!(refused.violations[0].1.contains("500"), "{refused:?}");
        refused.expect_invalid(&[
            "allocation_ids",
            "types",
            "statuses",
            "currencies",
            "connection_ids",
            "partner_ids",
            "client_external_ids",
        ]);
    }
    for count in [501, 10_000] {
        let request = ListClientAllocationsRequest {
            allocation_ids: vec!["x".into(); count],
            ..records.request()
        };
        let refused = refused(&records.earmark, request).await;
        refused.expect_invalid(&["allocation_ids"]);
    }
    // 500 violations are counted, 20 are listed.
    let request = ListClientAllocationsRequest {
        allocation_ids: vec!["x".into(); 500],
        ..records.request()
    };
    let refused = refused(&records.earmark, request).await;
    let refused = refused.expect(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(refused.metadata["violations_total"], "500");
    assert_eq!(refused.violations.len(), 20);
    assert_eq!(refused.violations[19].0, "allocation_ids[19]");
}

#[tokio::test]
async fn ids_of_other_enterprises_match_nothing() {
    let records = Records::make(10).await;
    let earmark = &records.earmark;
    let theirs = earmark
        .parties(earmark::proto::network::v1::ConnectionMode::Instant)
        .await;
    earmark.deposit(&theirs.enterprise, "BTC", "100").await;
    let created = earmark
        .member(&[&theirs.enterprise])
        .allocation
        .create_allocation(theirs.allocation("BTC", "1", "theirs"))
        .await
        .expect("created");
    let record = created.into_inner().allocation.expect("set");
    let requests = [
        ListClientAllocationsRequest {
            allocation_ids: vec![record.id],
            ..records.request()
        },
        ListClientAllocationsRequest {
            connection_ids: vec![theirs.connection.clone()],
            ..records.request()
        },
        ListClientAllocationsRequest {
            partner_ids: vec![theirs.partner.clone()],
            ..records.request()
        },
        ListClientAllocationsRequest {
            client_external_ids: vec!["theirs".into()],
            ..records.request()
        },
    ];
    // This holds for a member of both enterprises too.
    let mut both = earmark
        .member(&[&records.parties.enterprise, &theirs.enterprise])
        .allocation;
    for request in requests {
        let listed = both.list_client_allocations(request).await.expect("listed");
        assert_eq!(listed.into_inner().allocations, []);
    }
}
