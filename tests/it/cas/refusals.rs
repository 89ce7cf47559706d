//! Invalid arguments: each is reported, and nothing is written.

use prost_types::Timestamp;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{Client, NOBODY, any, cash, create, criterion, deal, get, pb, search, search_for};
use crate::support::earmark::{Earmark, refusal};
use crate::support::service::{detail, fields, reason};

/// A record with as many wrong members as one can have.
fn wrong_record() -> pb::CasAllocation {
    let long = "x".repeat(129);
    let time = Some(Timestamp {
        seconds: i64::MAX,
        nanos: 0,
    });
    pb::CasAllocation {
        deal_id: Some("a\0b".into()),
        tranche_id: Some(long.clone()),
        source_id: Some(String::new()),
        indication_id: Some("x".repeat(1024 * 1024)),
        order_status: 6,
        status_messages: vec![
            Default::default(),
            pb::StatusMessage {
                code: Some(long),
                message: Some("m".repeat(1_001)),
            },
        ],
        allocation_value: Some(pb::AllocationValue {
            r#type: 9,
            override_allocation: Some(pb::OverrideAllocation {
                r#type: -1,
                data: Some(pb::AllocationValueData {
                    amount: Some(String::new()),
                }),
            }),
            ..cash("1e3")
        }),
        distribution_type: 4,
        comment: Some(pb::CommentList {
            comments: vec![pb::Comment {
                last_modified_date_time: time,
                ..Default::default()
            }],
        }),
        ..Default::default()
    }
}

async fn wrong_amounts_are_named(client: &Client) {
    for bad in [
        "10000000000000000",
        "0.0000000000001",
        "NaN",
        "+1",
        " 1",
        ".5",
    ] {
        let request = pb::CreateAllocationRequest {
            allocation: Some(pb::CasAllocation {
                allocation_value: Some(cash(bad)),
                ..Default::default()
            }),
            ..Default::default()
        };
        let refused = client.clone().create_allocation(request).await;
        assert_eq!(
            fields(refused),
            ["allocation.allocation_value.data.amount"],
            "{bad}"
        );
    }
}

#[tokio::test]
async fn every_invalid_member_of_a_record_is_reported() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let bad = wrong_record();
    let request = pb::CreateAllocationRequest {
        allocation: Some(bad.clone()),
        ..Default::default()
    };
    let expected = [
        "allocation.order_status",
        "allocation.allocation_value.type",
        "allocation.allocation_value.data.amount",
        "allocation.allocation_value.override_allocation.type",
        "allocation.allocation_value.override_allocation.data.amount",
        "allocation.distribution_type",
        "allocation.comment.comments[0].last_modified_date_time",
        "allocation.deal_id",
        "allocation.tranche_id",
        "allocation.indication_id",
        "allocation.source_id",
        "allocation.status_messages[1].code",
        "allocation.status_messages[1].message",
    ];
    assert_eq!(
        fields(client.clone().create_allocation(request).await),
        expected
    );
    let record = create(&client, deal("D")).await;
    let request = pb::UpdateAllocationRequest {
        id: record.id.clone(),
        allocation: Some(bad),
        ..Default::default()
    };
    assert_eq!(
        fields(client.clone().update_allocation(request).await),
        expected
    );

    wrong_amounts_are_named(&client).await;
    let many = pb::CreateAllocationRequest {
        allocation: Some(pb::CasAllocation {
            status_messages: vec![Default::default(); 201],
            comment: Some(pb::CommentList {
                comments: vec![Default::default(); 201],
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    let refused = client.clone().create_allocation(many).await;
    assert_eq!(
        fields(refused),
        ["allocation.status_messages", "allocation.comment.comments"]
    );
    assert_eq!(get(&client, &record.id).await.expect("there"), record);
    assert_eq!(
        earmark.count("SELECT count(*) FROM cas_allocation").await,
        1
    );
}

#[tokio::test]
async fn invalid_ids_and_keys_are_refused() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let refused = get(&client, "").await;
    assert_eq!(fields(refused), ["id"]);
    let refused = client
        .clone()
        .create_allocation(pb::CreateAllocationRequest::default())
        .await;
    assert_eq!(fields(refused), ["allocation"]);
    let update = |id: &str, allocation| pb::UpdateAllocationRequest {
        id: id.into(),
        allocation,
        request_id: "r".repeat(129),
        ..Default::default()
    };
    let refused = client.clone().update_allocation(update("x", None)).await;
    assert_eq!(fields(refused), ["id", "allocation", "request_id"]);
    let refused = client
        .clone()
        .update_allocation(update("", Some(deal("D"))))
        .await;
    assert_eq!(fields(refused), ["id", "request_id"]);
    let refused = client.clone().update_allocation(update("", None)).await;
    assert_eq!(fields(refused), ["allocation", "request_id"]);
    let delete = pb::DeleteAllocationBySourceIdRequest::default();
    let refused = client.clone().delete_allocation_by_source_id(delete).await;
    assert_eq!(fields(refused), ["source_id"]);
    let unknown = get(&client, NOBODY).await.expect_err("nobody");
    assert_eq!(unknown.code(), Code::NotFound);
}

/// Field, operator and value of a criterion, and which of them is wrong.
const WRONG_CRITERIA: &[(&str, &str, &str, &str)] = &[
    ("", "=", "x", "field"),
    ("dealID", "=", "x", "field"),
    ("dealId; DROP TABLE owner", "=", "x", "field"),
    ("allocationValue", "=", "1", "field"),
    ("statusMessages[0].code", "=", "x", "field"),
    ("dealId", "", "x", "operator"),
    ("dealId", "==", "x", "operator"),
    ("dealId", "IN", "x", "operator"),
    ("companyId", "like", "1%", "operator"),
    ("orderStatus", "like", "p%", "operator"),
    ("companyId", "=", "one", "value"),
    ("companyId", "=", "", "value"),
    ("companyId", ">", "9223372036854775808", "value"),
    ("companyId", "in", "1,,2", "value"),
    ("version", "=", "1.0", "value"),
    ("id", "=", "x", "value"),
    ("allocationValue.data.amount", ">", "1e3", "value"),
    (
        "allocationValue.data.amount",
        ">",
        "10000000000000000",
        "value",
    ),
    ("createdDateTime", ">", "2020-04-09", "value"),
    (
        "createdDateTime",
        "=",
        "2020-04-09T04:36:37.1234567Z",
        "value",
    ),
    ("createdDateTime", "<", "0000-01-01T00:00:00Z", "value"),
    ("orderStatus", "=", "PENDING", "value"),
    ("orderStatus", "in", "pending,gone", "value"),
    ("detail.order.affirmation.isAffirmed", "=", "yes", "value"),
    ("dealId", "=", "a\0", "value"),
    ("dealId", "like", "a\\", "value"),
    ("comment.comments", "is-set", "", "field"),
    ("dealId", "is-set", "x", "value"),
    ("dealId", "is-unset", " ", "value"),
    ("dealId", "isset", "", "operator"),
    ("createdDateTime", ">", "2020-04-09T12:00:60Z", "value"),
    ("createdDateTime", ">", "2016-12-31T23:59:60+01:00", "value"),
];

#[tokio::test]
async fn a_search_reports_each_invalid_criterion() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    for &(field, operator, value, wrong) in WRONG_CRITERIA {
        let refused = search(
            &client,
            search_for(&[("dealId", "=", "D"), (field, operator, value)]),
        );
        let refused = refused.await.expect_err(value);
        let allowed = refused.message().to_owned();
        assert_eq!(
            fields::<()>(Err(refused)),
            [format!("criteria[1].{wrong}")],
            "{field} {operator} {value}"
        );
        let is_helpful = ["must", "is required", "no field", "no operator"];
        assert!(
            is_helpful.iter().any(|words| allowed.contains(words)),
            "{allowed}"
        );
    }
    for value in ["x".repeat(1_001), "x".repeat(1024 * 1024), "x,".repeat(500)] {
        let operator = if value.contains(',') { "in" } else { "=" };
        let refused = search(&client, search_for(&[("dealId", operator, &value)])).await;
        let refused = refusal(refused).expect_invalid(&["criteria[0].value"]);
        assert!(refused.message.contains(", got "), "{refused:?}");
    }
    let without_any = search_for(&[("comment.comments", "=", "x")]);
    let refused = refusal(search(&client, without_any).await);
    let (_, rule) = &refused.violations[0];
    let listed = "comment.comments.lastModifiedBy, comment.comments.lastModifiedDateTime.";
    assert!(rule.ends_with(listed), "{rule}");
    let many = pb::SearchAllocationsRequest {
        criteria: vec![criterion("dealId", "=", "x"); 1_000],
        ..Default::default()
    };
    assert_eq!(fields(search(&client, many).await), ["criteria"]);
    let all = pb::SearchAllocationsRequest {
        criteria: vec![criterion("dealId", "=", "x"); 50],
        ..Default::default()
    };
    search(&client, all).await.expect("50 are allowed");
    let of_one_element = any("statusMessages", &[("code", "=", "x"); 25]);
    let many = pb::SearchAllocationsRequest {
        criteria: vec![
            of_one_element.clone(),
            of_one_element,
            criterion("dealId", "=", "x"),
        ],
        ..Default::default()
    };
    let refused = search(&client, many).await.expect_err("51");
    assert!(
        refused.message().contains("at most 50 criteria, got 51"),
        "{refused:?}"
    );
    assert_eq!(fields::<()>(Err(refused)), ["criteria"]);
}

#[tokio::test]
async fn a_search_reports_each_invalid_criterion_in_any() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let code = ("code", "=", "x");
    let beside = pb::Criterion {
        operator: "=".into(),
        value: "x".into(),
        ..any("statusMessages", &[code])
    };
    let long = "x".repeat(1_001);
    for (criterion, wrong) in [
        (any("", &[code]), vec!["field"]),
        (any("comment", &[code]), vec!["field"]),
        (any("dealId", &[code]), vec!["field"]),
        (any("statusMessages.code", &[code]), vec!["field"]),
        (beside, vec!["operator", "value"]),
        (
            any(
                "statusMessages",
                &[
                    code,
                    ("", "=", "x"),
                    ("statusMessages.code", "=", "x"),
                    ("commentType", "=", "x"),
                ],
            ),
            vec!["any[1].field", "any[2].field", "any[3].field"],
        ),
        (
            any(
                "comment.comments",
                &[
                    ("comment", "==", "x"),
                    ("lastModifiedDateTime", "like", "x"),
                    ("lastModifiedDateTime", "<", "x"),
                    ("comment", "=", &long),
                    ("comment", "is-set", "x"),
                ],
            ),
            vec![
                "any[0].operator",
                "any[1].operator",
                "any[2].value",
                "any[3].value",
                "any[4].value",
            ],
        ),
    ] {
        let request = pb::SearchAllocationsRequest {
            criteria: vec![criterion.clone()],
            ..Default::default()
        };
        let wrong: Vec<_> = wrong
            .iter()
            .map(|wrong| format!("criteria[0].{wrong}"))
            .collect();
        assert_eq!(
            fields(search(&client, request).await),
            wrong,
            "{criterion:?}"
        );
    }
    // They cost what they cost one by one.
    let dear = any("comment.comments", &[("comment", "!=", "x"); 21]);
    let request = pb::SearchAllocationsRequest {
        criteria: vec![dear],
        ..Default::default()
    };
    assert_eq!(
        fields(search(&client, request).await),
        ["criteria[0].any[0].field"]
    );
}

#[tokio::test]
async fn a_search_that_is_too_expensive_is_refused_before_the_database() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    const COMMENT: &str = "comment.comments.comment";
    let refusal = async |criteria: Vec<pb::Criterion>| {
        let request = pb::SearchAllocationsRequest {
            criteria,
            ..Default::default()
        };
        let refused = search(&client, request).await;
        let refused = refused.map_err(|status| {
            let violations = status.get_details_bad_request().expect("a BadRequest");
            let violations = violations.field_violations.into_iter();
            violations
                .map(|each| (each.field, each.description))
                .collect::<Vec<_>>()
        });
        refused.err().map(|mut violations| {
            assert_eq!(violations.len(), 1, "{violations:?}");
            violations.remove(0)
        })
    };
    let of_arrays = |count| vec![criterion(COMMENT, "!=", &"x".repeat(838)); count];
    assert_eq!(refusal(of_arrays(20)).await, None);
    let (field, rule) = refusal(of_arrays(50)).await.expect("refused");
    assert_eq!(field, "criteria[0].field");
    assert_eq!(
        rule,
        "makes the search too expensive: it costs 250, at most 100, and this criterion 5; one on an array costs 5"
    );

    // Wildcards side by side count as one.
    let wildcards = criterion(COMMENT, "like", &"%".repeat(400));
    assert_eq!(refusal(vec![wildcards; 20]).await, None);
    let phrase = criterion(COMMENT, "like", &format!("%{}%", "a".repeat(90)));
    assert_eq!(refusal(vec![phrase.clone()]).await, None);
    let together = vec![criterion("dealId", "=", "x"), phrase];
    let (field, rule) = refusal(together).await.expect("refused");
    assert_eq!(field, "criteria[1].value");
    assert!(
        rule.contains("it costs 101") && rule.contains("this criterion 100"),
        "{rule}"
    );
    for (field, value) in [
        (COMMENT, format!("%{}", "a".repeat(32))),
        ("statusMessages.message", format!("%{}%b", "a_".repeat(200))),
        ("dealId", format!("%{}%b", "a".repeat(397))),
    ] {
        let refused = refusal(vec![criterion(field, "like", &value)]).await;
        assert_eq!(refused.expect(&value).0, "criteria[0].value");
        let anchored = value.get(1..40).unwrap_or(&value[1..]);
        let allowed = refusal(vec![criterion(field, "like", anchored)]).await;
        assert_eq!(allowed, None, "{anchored}");
    }
}

#[tokio::test]
async fn a_search_reports_other_invalid_arguments() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let by = |field: &str, direction| pb::SortField {
        field: field.into(),
        direction,
    };
    let ask = |change: fn(&mut pb::SearchAllocationsRequest)| {
        let mut request = pb::SearchAllocationsRequest::default();
        change(&mut request);
        request
    };
    for (request, wrong) in [
        (ask(|ask| ask.page = Some(-1)), "page"),
        (ask(|ask| ask.page = Some(0)), "page"),
        (ask(|ask| ask.page_size = -1), "page_size"),
        (ask(|ask| ask.count = 3), "count"),
        (
            ask(|ask| (ask.page, ask.page_size) = (Some(1), 1_001)),
            "page_size",
        ),
        (
            ask(|ask| (ask.page, ask.page_size) = (Some(1_002), 1_000)),
            "page",
        ),
        (
            ask(|ask| ask.projection = "dealId,nothing".into()),
            "projection",
        ),
        (ask(|ask| ask.projection = "dealId,".into()), "projection"),
        (ask(|ask| ask.projection = "x".repeat(10_001)), "projection"),
    ] {
        assert_eq!(fields(search(&client, request).await), [wrong]);
    }
    let sorted = pb::SearchAllocationsRequest {
        sort_fields: vec![
            by("dealId", 3),
            by("nothing", 1),
            by("", 1),
            by("deal_id", 2),
        ],
        ..Default::default()
    };
    assert_eq!(
        fields(search(&client, sorted).await),
        [
            "sort_fields[0].direction",
            "sort_fields[1].field",
            "sort_fields[2].field",
            "sort_fields[3].field",
        ]
    );
    let many = pb::SearchAllocationsRequest {
        sort_fields: vec![by("dealId", 1); 9],
        ..Default::default()
    };
    assert_eq!(fields(search(&client, many).await), ["sort_fields"]);

    for token in ["x", "AAAA"] {
        let request = pb::SearchAllocationsRequest {
            page_token: token.into(),
            ..Default::default()
        };
        let refused = search(&client, request).await.expect_err("altered");
        assert_eq!(detail(&refused, "field").as_deref(), Some("page_token"));
        assert_eq!(reason::<()>(Err(refused)), "PAGE_TOKEN_INVALID");
    }
}
