//! Searches: pages, orders, projections, operators.

use super::{Client, any, cash, create, deal, found, pb, search, search_for, sourced};
use crate::support::earmark::Earmark;
use crate::support::service::{fields, reason};

fn ids(answer: &pb::SearchAllocationsResponse) -> Vec<String> {
    answer
        .allocations
        .iter()
        .map(|each| each.id.clone())
        .collect()
}

fn by(field: &str, direction: i32) -> pb::SortField {
    pb::SortField {
        field: field.into(),
        direction,
    }
}

async fn many(client: &Client, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for index in 0..count {
        ids.push(create(client, deal(&format!("D-{}", index % 2))).await.id);
    }
    ids
}

#[tokio::test]
async fn pages_are_numbered_from_one_and_have_page_tokens() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let all = many(&client, 7).await;
    let page = |page, page_size| pb::SearchAllocationsRequest {
        page,
        page_size,
        ..Default::default()
    };
    let whole = search(&client, page(None, 0)).await.expect("found");
    assert_eq!(
        (whole.page, whole.page_size, whole.total_count),
        (1, 250, Some(7))
    );
    assert_eq!(
        (ids(&whole), whole.next_page_token.as_str()),
        (all.clone(), "")
    );
    for (number, expected) in [(1, &all[..3]), (2, &all[3..6]), (3, &all[6..]), (4, &[])] {
        let answer = search(&client, page(Some(number), 3)).await.expect("found");
        assert_eq!(
            (answer.page, answer.page_size, answer.total_count),
            (number, 3, Some(7))
        );
        assert_eq!(ids(&answer), expected);
        assert_eq!(answer.next_page_token.is_empty(), number > 2);
    }
    let large = search(&client, page(None, 5_000)).await.expect("cut");
    assert_eq!(large.page_size, 1_000);

    let mut walked = Vec::new();
    let mut request = page(None, 2);
    loop {
        let answer = search(&client, request.clone()).await.expect("found");
        assert_eq!(answer.page, if walked.is_empty() { 1 } else { 0 });
        assert_eq!(answer.total_count, Some(7));
        walked.extend(ids(&answer));
        if answer.next_page_token.is_empty() {
            break;
        }
        request.page_token = answer.next_page_token;
    }
    assert_eq!(walked, all);
}

#[tokio::test]
async fn a_page_token_is_refused_by_any_other_search() {
    let earmark = Earmark::start().await;
    let (client, other) = (earmark.firm("1"), earmark.firm("2"));
    many(&client, 3).await;
    let request = pb::SearchAllocationsRequest {
        page_size: 1,
        ..search_for(&[("companyId", "!=", "1")])
    };
    let first = search(&client, request.clone()).await.expect("found");
    let next = pb::SearchAllocationsRequest {
        page_token: first.next_page_token,
        ..request
    };
    // Neither the size of a page nor what is shown makes another search.
    let shown = pb::SearchAllocationsRequest {
        page_size: 2,
        projection: "dealId".into(),
        ..next.clone()
    };
    assert_eq!(
        search(&client, shown)
            .await
            .expect("found")
            .allocations
            .len(),
        2
    );
    let refused = search(&other, next.clone()).await;
    assert_eq!(reason(refused), "PAGE_TOKEN_INVALID");
    let sorted = pb::SearchAllocationsRequest {
        sort_fields: vec![by("dealId", 0)],
        ..next.clone()
    };
    assert_eq!(reason(search(&client, sorted).await), "PAGE_TOKEN_INVALID");
    let filtered = pb::SearchAllocationsRequest {
        criteria: Vec::new(),
        ..next.clone()
    };
    assert_eq!(
        reason(search(&client, filtered).await),
        "PAGE_TOKEN_INVALID"
    );
    let numbered = pb::SearchAllocationsRequest {
        page: Some(1),
        ..next
    };
    assert_eq!(fields(search(&client, numbered).await), ["page_token"]);
}

#[tokio::test]
async fn unset_values_sort_above_all_others() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let mut records = Vec::new();
    for (amount, deal_id) in [
        ("10", Some("b")),
        ("9.5", None),
        ("-1", Some("a")),
        ("10", None),
    ] {
        let said = pb::CasAllocation {
            deal_id: deal_id.map(Into::into),
            allocation_value: Some(cash(amount)),
            ..Default::default()
        };
        records.push(create(&client, said).await.id);
    }
    for (sort, expected) in [
        (vec![by("allocationValue.data.amount", 1)], [2, 1, 0, 3]),
        (vec![by("allocation_value.data.amount", 2)], [0, 3, 1, 2]),
        (vec![by("dealId", 0)], [2, 0, 1, 3]),
        (vec![by("dealId", 2)], [1, 3, 0, 2]),
        (
            vec![by("dealId", 2), by("allocationValue.data.amount", 2)],
            [3, 1, 0, 2],
        ),
        (vec![by("id", 2)], [3, 2, 1, 0]),
    ] {
        let expected: Vec<String> = expected
            .iter()
            .map(|index: &usize| records[*index].clone())
            .collect();
        let mut request = pb::SearchAllocationsRequest {
            sort_fields: sort,
            ..Default::default()
        };
        let answer = search(&client, request.clone()).await.expect("found");
        assert_eq!(ids(&answer), expected);
        // One by one it is the same order.
        request.page_size = 1;
        let mut walked = Vec::new();
        loop {
            let answer = search(&client, request.clone()).await.expect("found");
            walked.extend(ids(&answer));
            if answer.next_page_token.is_empty() {
                break;
            }
            request.page_token = answer.next_page_token;
        }
        assert_eq!(walked, expected);
    }
}

fn record_to_project() -> pb::CasAllocation {
    pb::CasAllocation {
        deal_id: Some("D".into()),
        company_id: Some(1),
        order_status: pb::OrderStatus::Failed.into(),
        distribution_type: pb::DistributionType::Auto.into(),
        status_messages: vec![pb::StatusMessage {
            code: Some("c".into()),
            message: Some("m".into()),
        }],
        allocation_value: Some(pb::AllocationValue {
            override_allocation: Some(pb::OverrideAllocation {
                data: cash("2").data,
                ..Default::default()
            }),
            ..cash("1")
        }),
        ..sourced("S")
    }
}

#[tokio::test]
async fn a_projection_returns_the_named_members_and_the_id() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(&client, record_to_project()).await;
    let only = |shown: pb::CasAllocation| pb::CasAllocation {
        id: record.id.clone(),
        ..shown
    };
    for (projection, expected) in [
        ("id", only(Default::default())),
        (
            "dealId,source_id",
            only(pb::CasAllocation {
                deal_id: Some("D".into()),
                ..sourced("S")
            }),
        ),
        (
            " allocationValue.data.amount , statusMessages.code",
            only(pb::CasAllocation {
                allocation_value: Some(pb::AllocationValue {
                    data: cash("1").data,
                    ..Default::default()
                }),
                status_messages: vec![pb::StatusMessage {
                    code: Some("c".into()),
                    message: None,
                }],
                ..Default::default()
            }),
        ),
        (
            "allocation_value",
            only(pb::CasAllocation {
                allocation_value: record.allocation_value.clone(),
                ..Default::default()
            }),
        ),
        (
            "version,createdBy,orderStatus,detail,comment",
            only(pb::CasAllocation {
                version: 1,
                created_by: Some("somebody".into()),
                order_status: pb::OrderStatus::Failed.into(),
                ..Default::default()
            }),
        ),
        ("", record.clone()),
    ] {
        let request = pb::SearchAllocationsRequest {
            projection: projection.into(),
            ..Default::default()
        };
        let answer = search(&client, request).await.expect("found");
        assert_eq!(answer.allocations, [expected], "{projection}");
    }
}

/// Three records that differ in each field, and one with nothing set.
async fn records_to_compare(client: &Client) -> Vec<pb::CasAllocation> {
    let mut records = Vec::new();
    for (deal_id, amount, company_id) in [
        ("a%b", "9", 9),
        ("A,b", "10", 10),
        ("a\\b", "10.000000000001", -10),
    ] {
        let said = pb::CasAllocation {
            company_id: Some(company_id),
            allocation_value: Some(cash(amount)),
            order_status: pb::OrderStatus::DeletePending.into(),
            ..deal(deal_id)
        };
        records.push(create(client, said).await);
    }
    records.push(create(client, Default::default()).await);
    records
}

#[tokio::test]
async fn values_compare_by_their_type() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let records = records_to_compare(&client).await;
    let created = records[1].created_date_time.expect("set");
    let nanos = u32::try_from(created.nanos).expect("positive");
    let moment = |nanos| {
        let time = chrono::DateTime::from_timestamp(created.seconds, nanos).expect("in range");
        time.to_rfc3339()
    };
    let (exact, finer) = (moment(nanos), moment(nanos + 1));
    for (field, operator, value, expected) in [
        ("allocationValue.data.amount", ">", "9.5", vec![1, 2]),
        ("allocationValue.data.amount", "<=", "10.0", vec![0, 1]),
        ("allocationValue.data.amount", "=", "10.00", vec![1]),
        ("allocationValue.data.amount", "!=", "10", vec![0, 2, 3]),
        ("companyId", "<", "10", vec![0, 2]),
        ("companyId", "in", "10,9,8", vec![0, 1]),
        ("dealId", "=", "a%b", vec![0]),
        ("dealId", "in", "A\\,b,a%b", vec![0, 1]),
        ("dealId", "in", "a\\\\b", vec![2]),
        ("dealId", "in", "a\\b", vec![2]),
        ("dealId", "like", "a%", vec![0, 2]),
        ("dealId", "like", "a\\%b", vec![0]),
        ("dealId", "like", "a\\\\b", vec![2]),
        ("dealId", "like", "_,_", vec![1]),
        ("dealId", ">", "B", vec![0, 2]),
        ("dealId", "=", "'; --", vec![]),
        ("orderStatus", "=", "deletePending", vec![0, 1, 2]),
        (
            "order_status",
            "in",
            "pending,ORDER_STATUS_DELETE_PENDING",
            vec![0, 1, 2],
        ),
        ("orderStatus", "!=", "deletePending", vec![3]),
        (
            "detail.order.affirmation.isAffirmed",
            "!=",
            "true",
            vec![0, 1, 2, 3],
        ),
        ("detail.order.affirmation.isAffirmed", ">=", "false", vec![]),
        ("createdDateTime", "=", exact.as_str(), vec![1]),
        ("createdDateTime", ">", finer.as_str(), vec![2, 3]),
        ("createdDateTime", ">=", finer.as_str(), vec![2, 3]),
        ("createdDateTime", "<", finer.as_str(), vec![0, 1]),
        ("createdDateTime", "<=", finer.as_str(), vec![0, 1]),
        ("id", "=", records[3].id.as_str(), vec![3]),
        ("version", "<", "2", vec![0, 1, 2, 3]),
        ("dealId", "is-set", "", vec![0, 1, 2]),
        ("company_id", "is-unset", "", vec![3]),
        ("trancheId", "is-set", "", vec![]),
        (
            "detail.order.affirmation.modifiedDateTime",
            "is-unset",
            "",
            vec![0, 1, 2, 3],
        ),
        ("id", "is-set", "", vec![0, 1, 2, 3]),
        ("version", "is-unset", "", vec![]),
    ] {
        let expected: Vec<_> = expected
            .iter()
            .map(|index: &usize| records[*index].id.clone())
            .collect();
        let found = found(&client, &[(field, operator, value)]).await;
        assert_eq!(found, expected, "{field} {operator} {value}");
    }
}

#[tokio::test]
async fn a_criterion_on_an_array_matches_if_any_element_does() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let status = |code: Option<&str>| pb::StatusMessage {
        code: code.map(Into::into),
        message: None,
    };
    let mut records = Vec::new();
    for codes in [
        vec![Some("a"), Some("b")],
        vec![Some("a")],
        vec![None],
        vec![],
    ] {
        let said = pb::CasAllocation {
            status_messages: codes.into_iter().map(status).collect(),
            ..Default::default()
        };
        records.push(create(&client, said).await.id);
    }
    for (operator, value, expected) in [
        ("=", "a", vec![0, 1]),
        ("!=", "a", vec![0, 2, 3]),
        ("!=", "x", vec![0, 1, 2, 3]),
        ("in", "b,c", vec![0]),
        (">", "a", vec![0]),
        ("like", "%", vec![0, 1]),
        ("is-set", "", vec![0, 1]),
        ("is-unset", "", vec![2, 3]),
    ] {
        let expected: Vec<_> = expected
            .iter()
            .map(|index: &usize| records[*index].clone())
            .collect();
        let found = found(&client, &[("statusMessages.code", operator, value)]).await;
        assert_eq!(found, expected, "{operator} {value}");
    }
}

/// Three records: one with two comments, one with one, one without any.
async fn records_with_comments(client: &Client) -> Vec<String> {
    let comment = |comment_type: Option<&str>, comment: &str, seconds| pb::Comment {
        comment_type: comment_type.map(Into::into),
        comment: Some(comment.into()),
        last_modified_by: None,
        last_modified_date_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
    };
    let mut records = Vec::new();
    for comments in [
        vec![
            comment(Some("public"), "a lazy dog", 0),
            comment(None, "a 100% \\quick_fox", 86_400),
        ],
        vec![comment(Some("public"), "a quick fox", 86_400)],
        vec![],
    ] {
        let said = pb::CasAllocation {
            comment: Some(pb::CommentList { comments }),
            status_messages: vec![pb::StatusMessage {
                code: Some(format!("s{}", records.len())),
                message: None,
            }],
            ..Default::default()
        };
        records.push(create(client, said).await.id);
    }
    records
}

const COMMENT: &str = "comment.comments.comment";
const COMMENT_TYPE: &str = "comment.comments.commentType";
const COMMENT_TIME: &str = "comment.comments.lastModifiedDateTime";
const CODE: &str = "statusMessages.code";

/// Field, operator and value of two criteria, and which of the records with comments meet both.
type Pair = [(&'static str, &'static str, &'static str); 2];
const ON_ARRAYS: &[(Pair, &[usize])] = &[
    (
        [(COMMENT, "like", "%lazy%"), (COMMENT, "like", "%fox%")],
        &[0],
    ),
    (
        [
            (COMMENT, "like", "%lazy%"),
            (COMMENT, "like", "%quick fox%"),
        ],
        &[],
    ),
    (
        [
            (COMMENT_TYPE, "=", "public"),
            (COMMENT_TIME, ">", "1970-01-01T12:00:00Z"),
        ],
        &[0, 1],
    ),
    (
        [(COMMENT_TYPE, "!=", "public"), (COMMENT, "!=", "x")],
        &[0, 2],
    ),
    ([(COMMENT_TYPE, "!=", "public"), (CODE, "!=", "s0")], &[2]),
    ([(COMMENT, "like", "%"), (CODE, "like", "_1")], &[1]),
    ([(COMMENT, "like", "%%"), ("version", "=", "1")], &[0, 1]),
    (
        [
            (COMMENT, "like", "%100\\% \\\\quick\\_fox%"),
            (CODE, "like", "s%"),
        ],
        &[0],
    ),
    (
        [(COMMENT, "like", "%quick_fox"), (CODE, "in", "s0,s1,s2")],
        &[0, 1],
    ),
    (
        [
            (COMMENT, "like", "a%_%dog"),
            (COMMENT_TIME, "<=", "1970-01-01T00:00:00Z"),
        ],
        &[0],
    ),
];

#[tokio::test]
async fn criteria_on_one_array_may_be_met_by_different_elements() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let records = records_with_comments(&client).await;
    for (criteria, expected) in ON_ARRAYS {
        let expected: Vec<_> = expected
            .iter()
            .map(|index| records[*index].clone())
            .collect();
        assert_eq!(found(&client, criteria).await, expected, "{criteria:?}");
        // One by one, by page tokens, it is the same.
        let mut request = pb::SearchAllocationsRequest {
            page_size: 1,
            ..search_for(criteria)
        };
        let mut walked = Vec::new();
        loop {
            let answer = search(&client, request.clone()).await.expect("found");
            assert_eq!(
                answer.total_count,
                Some(expected.len() as i64),
                "{criteria:?}"
            );
            walked.extend(ids(&answer));
            if answer.next_page_token.is_empty() {
                break;
            }
            request.page_token = answer.next_page_token;
        }
        assert_eq!(walked, expected, "{criteria:?}");
    }
}

/// The array and the criteria that one element must meet, and which of the records with comments meet them.
type OnOneElement = (
    &'static str,
    &'static [(&'static str, &'static str, &'static str)],
    &'static [usize],
);
const ON_ONE_ELEMENT: &[OnOneElement] = &[
    (
        "comment.comments",
        &[
            ("commentType", "=", "public"),
            ("lastModifiedDateTime", ">", "1970-01-01T12:00:00Z"),
        ],
        &[1],
    ),
    (
        "comment.comments",
        &[("comment", "like", "%lazy%"), ("comment", "like", "%fox%")],
        &[],
    ),
    (
        "comment.comments",
        &[
            ("comment_type", "is-unset", ""),
            ("comment", "like", "%fox"),
        ],
        &[0],
    ),
    (
        "comment.comments",
        &[
            ("comment_type", "!=", "public"),
            ("last_modified_by", "is-unset", ""),
        ],
        &[0],
    ),
    (
        "comment.comments",
        &[("commentType", "is-set", "")],
        &[0, 1],
    ),
    // An array without elements has none that meets anything.
    (
        "comment.comments",
        &[("lastModifiedBy", "is-unset", "")],
        &[0, 1],
    ),
    (
        "status_messages",
        &[("code", "in", "s0,s2"), ("message", "is-unset", "")],
        &[0, 2],
    ),
];

#[tokio::test]
async fn criteria_in_any_must_be_met_by_one_element() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let records = records_with_comments(&client).await;
    for (array, criteria, expected) in ON_ONE_ELEMENT {
        let expected: Vec<_> = expected
            .iter()
            .map(|index| records[*index].clone())
            .collect();
        let mut request = pb::SearchAllocationsRequest {
            criteria: vec![any(array, criteria)],
            ..Default::default()
        };
        let answer = search(&client, request.clone()).await.expect("found");
        assert_eq!(ids(&answer), expected, "{criteria:?}");
        assert_eq!(answer.total_count, Some(expected.len() as i64));
        // It stands beside others on the same array, and is found without counting too.
        request.criteria.push(super::criterion(COMMENT, "!=", "x"));
        request.criteria.push(any(array, criteria));
        request.count = pb::TotalCount::None.into();
        let answer = search(&client, request).await.expect("found");
        assert_eq!(ids(&answer), expected, "{criteria:?}");
    }
}

#[tokio::test]
async fn a_search_counts_unless_it_is_not_asked_to_and_its_token_carries_the_total_on() {
    use pb::TotalCount::{Exact, None as NotCounted, Unspecified};

    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let all = many(&client, 5).await;
    let page = async |count: pb::TotalCount, page: i32, token: &str| {
        let request = pb::SearchAllocationsRequest {
            count: count.into(),
            page: (page > 0).then_some(page),
            page_size: 2,
            page_token: token.into(),
            ..Default::default()
        };
        search(&client, request).await.expect("found")
    };
    for count in [Unspecified, Exact] {
        assert_eq!(page(count, 0, "").await.total_count, Some(5));
        assert_eq!(page(count, 3, "").await.total_count, Some(5));
    }
    assert_eq!(page(NotCounted, 2, "").await.total_count, None);

    let counted = page(Unspecified, 0, "").await;
    let uncounted = page(NotCounted, 0, "").await;
    assert_eq!(
        (ids(&uncounted), uncounted.total_count),
        (all[..2].to_vec(), None)
    );
    let another = create(&client, deal("D")).await.id;
    for (first, carried) in [(counted, Some(5)), (uncounted, None)] {
        for (count, total) in [(Unspecified, carried), (Exact, Some(6)), (NotCounted, None)] {
            let second = page(count, 0, &first.next_page_token).await;
            assert_eq!(
                (ids(&second), second.total_count),
                (all[2..4].to_vec(), total)
            );
            let third = page(Unspecified, 0, &second.next_page_token).await;
            let rest = vec![all[4].clone(), another.clone()];
            assert_eq!((ids(&third), third.total_count), (rest, total));
        }
    }
}
