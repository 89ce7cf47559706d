//! Texts of errors that say what would work.

use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{create, criterion, deal, get, patch, pb, search, search_for};
use crate::support::earmark::Earmark;
use crate::support::service::reason;

/// The descriptions of all violations.
fn descriptions(status: &Status) -> Vec<String> {
    let bad_request = status.get_details_bad_request().expect("a BadRequest");
    let violations = bad_request.field_violations.into_iter();
    violations.map(|violation| violation.description).collect()
}

fn encoded_bytes(status: &Status) -> usize {
    let mut headers = http::HeaderMap::new();
    status.add_header(&mut headers).expect("headers");
    headers.values().map(|value| value.len()).sum()
}

#[tokio::test]
async fn an_unknown_field_gets_the_nearest_one_and_the_list_of_all() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let refused = search(&client, search_for(&[("dealID", "=", "D")])).await;
    let refused = refused.expect_err("unknown");
    assert_eq!(
        refused.message(),
        "`criteria[0].field`: no field `dealID`: did you mean `dealId`?"
    );
    let described = descriptions(&refused);
    assert!(
        described[0]
            .starts_with("no field `dealID`: did you mean `dealId`? Every field: id, version, "),
        "{described:?}"
    );
    assert!(described[0].ends_with("detail.order.affirmation.modifiedDateTime."));

    let sorted = pb::SearchAllocationsRequest {
        sort_fields: vec![pb::SortField {
            field: "amount".into(),
            ..Default::default()
        }],
        projection: "dealId,allocation_values".into(),
        ..Default::default()
    };
    let refused = search(&client, sorted).await.expect_err("unknown");
    let described = descriptions(&refused);
    assert!(
        described[0].contains("did you mean `allocationValue`?"),
        "{described:?}"
    );
    assert!(
        described[1].contains("did you mean `allocationValue.data.amount`?"),
        "{described:?}"
    );

    // As many as there may be fit an error; the list stands there once.
    let criteria = vec![criterion("no such field \u{1f600}", "=", "x"); 50];
    let request = pb::SearchAllocationsRequest {
        criteria,
        ..Default::default()
    };
    let refused = search(&client, request).await.expect_err("unknown");
    let described = descriptions(&refused);
    let lists = described
        .iter()
        .filter(|each| each.contains("Every field"))
        .count();
    assert_eq!(lists, 1, "{described:?}");
    assert!(
        encoded_bytes(&refused) <= 6 * 1024,
        "{}",
        encoded_bytes(&refused)
    );
    let long = search(&client, search_for(&[(&"x".repeat(1_000_000), "=", "x")])).await;
    let long = long.expect_err("unknown");
    assert!(
        long.message()
            .contains("`BadRequest` lists those that there are"),
        "{long:?}"
    );
}

#[tokio::test]
async fn an_unknown_operator_or_value_gets_the_nearest_one() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    for (criterion, text) in [
        (("dealId", "==", "x"), "no operator `==`: did you mean `=`?"),
        (
            ("dealId", "IN", "x"),
            "no operator `IN`: did you mean `in`?",
        ),
        (
            ("dealId", "isset", ""),
            "no operator `isset`: did you mean `is-set`?",
        ),
        (("orderStatus", "=", "PENDING"), "did you mean \"pending\"?"),
        (
            ("companyId", "like", "1%"),
            "must not be like for companyId",
        ),
        (
            ("createdDateTime", ">", "2020-04-09T12:00:60Z"),
            "must not have a second 60: leap seconds are only at 23:59:60 UTC",
        ),
    ] {
        let refused = search(&client, search_for(&[criterion])).await;
        let refused = refused.expect_err("wrong");
        assert!(refused.message().contains(text), "{refused:?}");
    }
}

/// Operations that are refused before the record is read, and what the answer says.
fn refused_operations() -> Vec<(Value, &'static str)> {
    vec![
        (
            json!({"op": "replace", "path": "/dealID", "value": "x"}),
            "`operations[0].path`: no member `dealID`: did you mean `dealId`?",
        ),
        (
            json!({"op": "test", "path": "/allocation_value", "value": null}),
            "no member `allocation_value`: did you mean `allocationValue`?",
        ),
        (
            json!({"op": "add", "path": "/statusMessages/0/Code", "value": "x"}),
            "no member of `/statusMessages/0` `Code`: did you mean `code`?",
        ),
        (
            json!({"op": "add", "path": "/dealId/x", "value": "x"}),
            "must not go inside of `/dealId`, which has no members",
        ),
        (
            json!({"op": "test", "path": "/statusMessages/-", "value": null}),
            "must have a position in `/statusMessages`",
        ),
        (
            json!({"op": "Replace", "path": "/dealId", "value": "x"}),
            "no operation `Replace`: did you mean `replace`?",
        ),
        (
            json!({"op": "remove", "path": "/version"}),
            "must not be in `/version`, which is read-only",
        ),
    ]
}

#[tokio::test]
async fn a_patch_that_no_record_can_take_says_what_was_meant() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(&client, deal("D")).await;
    for (operation, text) in refused_operations() {
        let refused = patch(&client, &record.id, json!([operation])).await;
        let refused = refused.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        assert!(refused.message().contains(text), "{}", refused.message());
    }
    for (value, text) in [
        ("pending", "a text needs double quotes, `\"pending\"`"),
        ("True", "did you mean `true`?"),
        ("\"PENDING\"", "did you mean \"pending\"?"),
    ] {
        let request = pb::PatchAllocationRequest {
            id: record.id.clone(),
            operations: vec![pb::PatchOperation {
                op: "add".into(),
                path: "/orderStatus".into(),
                from: None,
                value_json: Some(value.into()),
            }],
            ..Default::default()
        };
        let refused = client.clone().patch_allocation(request).await;
        let refused = refused.expect_err("refused");
        assert!(refused.message().contains(text), "{}", refused.message());
    }
    let inside = json!([{"op": "add", "path": "/detail", "value": {"orders": {}}}]);
    let refused = patch(&client, &record.id, inside)
        .await
        .expect_err("no record");
    assert_eq!(
        refused.message(),
        "`/detail/orders`: no member `orders`: did you mean `order`?"
    );
    assert_eq!(get(&client, &record.id).await.expect("untouched"), record);
}

#[tokio::test]
async fn a_second_60_is_read_only_where_utc_has_leap_seconds() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(&client, deal("D")).await;
    let set = |time: &str| {
        json!([{"op": "add", "path": "/detail", "value":
            {"order": {"affirmation": {"modifiedDateTime": time}}}}])
    };
    for time in ["2020-04-09T12:00:60Z", "2016-12-31T23:59:60+00:30"] {
        let refused = patch(&client, &record.id, set(time))
            .await
            .expect_err("no leap second");
        assert!(
            refused.message().contains("must not have a second 60"),
            "{}",
            refused.message()
        );
        assert_eq!(reason::<()>(Err(refused)), "INVALID_REQUEST");
    }
    for time in ["2016-12-31T23:59:60Z", "2016-12-31T15:59:60-08:00"] {
        let patched = patch(&client, &record.id, set(time))
            .await
            .expect("a leap second");
        let affirmation = patched.detail.and_then(|detail| detail.order?.affirmation);
        let read = affirmation.and_then(|affirmation| affirmation.modified_date_time);
        assert_eq!(read.expect("set").seconds, 1_483_228_800);
    }
    const FIELD: &str = "detail.order.affirmation.modifiedDateTime";
    for (operator, value) in [
        ("=", "2016-12-31T23:59:60Z"),
        (">=", "2017-01-01T00:59:60+01:00"),
    ] {
        let found = super::found(&client, &[(FIELD, operator, value)]).await;
        assert_eq!(found, std::slice::from_ref(&record.id));
    }
}
