//! Patches of a record's document form.

use serde_json::{Value, json};
use tonic::Code;

use super::{cash, create, deal, get, patch, pb, sourced};
use crate::support::earmark::Earmark;
use crate::support::service::{detail, fields, reason};

fn example() -> pb::CasAllocation {
    pb::CasAllocation {
        deal_id: Some("D".into()),
        company_id: Some(1),
        order_status: pb::OrderStatus::Pending.into(),
        status_messages: ["a", "b"]
            .map(|code| pb::StatusMessage {
                code: Some(code.into()),
                message: None,
            })
            .into(),
        allocation_value: Some(cash("1.10")),
        ..Default::default()
    }
}

#[tokio::test]
async fn all_six_operations_work_on_the_document() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(&client, example()).await;
    let operations = json!([
        {"op": "test", "path": "/allocationValue/data/amount", "value": 1.1},
        {"op": "test", "path": "/version", "value": 1.0},
        {"op": "replace", "path": "/orderStatus", "value": "deletePending"},
        {"op": "add", "path": "/statusMessages/1", "value": {"code": "between"}},
        {"op": "add", "path": "/statusMessages/-", "value": {"code": "last", "message": "m"}},
        {"op": "remove", "path": "/statusMessages/0"},
        {"op": "move", "from": "/dealId", "path": "/trancheId"},
        {"op": "copy", "from": "/createdBy", "path": "/indicationId"},
        {"op": "copy", "from": "/allocationValue/data", "path": "/allocationValue/overrideAllocation"},
        {"op": "remove", "path": "/allocationValue/overrideAllocation"},
        {"op": "add", "path": "/detail", "value": {"order": {"affirmation": {"isAffirmed": false}}}},
        {"op": "add", "path": "/comment/comments/-", "value": {"comment": "x", "commentType": "public"}},
        {"op": "replace", "path": "/companyId", "value": null},
    ]);
    let patched = patch(&client, &record.id, operations)
        .await
        .expect("patched");
    assert_eq!(patched.order_status(), pb::OrderStatus::DeletePending);
    let codes: Vec<_> = patched
        .status_messages
        .iter()
        .map(|each| each.code())
        .collect();
    assert_eq!(codes, ["between", "b", "last"]);
    assert_eq!(
        (patched.deal_id.as_deref(), patched.tranche_id.as_deref()),
        (None, Some("D"))
    );
    assert_eq!(patched.indication_id.as_deref(), Some("somebody"));
    assert_eq!(patched.company_id, None);
    assert_eq!(patched.allocation_value, Some(cash("1.1")));
    let affirmation = patched
        .detail
        .clone()
        .and_then(|detail| detail.order?.affirmation);
    assert_eq!(affirmation.expect("set").is_affirmed, Some(false));
    assert_eq!(patched.comment.as_ref().expect("set").comments.len(), 1);
    assert_eq!(patched.version, 2);
    assert_eq!(get(&client, &record.id).await.expect("there"), patched);
}

#[tokio::test]
async fn a_patched_amount_keeps_every_digit() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(&client, example()).await;
    let amount = "9999999999999999.999999999999";
    let replace = |value: &str| pb::PatchAllocationRequest {
        id: record.id.clone(),
        operations: vec![pb::PatchOperation {
            op: "replace".into(),
            path: "/allocationValue/data/amount".into(),
            value_json: Some(value.into()),
            from: None,
        }],
        ..Default::default()
    };
    let patched = client.clone().patch_allocation(replace(amount)).await;
    let patched = patched
        .expect("patched")
        .into_inner()
        .allocation
        .expect("set");
    assert_eq!(patched.allocation_value, Some(cash(amount)));
    for bad in [
        "10000000000000000",
        "0.0000000000001",
        "\"1\"",
        "1e30",
        "true",
    ] {
        let refused = client.clone().patch_allocation(replace(bad)).await;
        assert_eq!(fields(refused), ["/allocationValue/data/amount"], "{bad}");
    }
    let stored = get(&client, &record.id).await.expect("there");
    assert_eq!(
        (stored.version, stored.allocation_value),
        (2, Some(cash(amount)))
    );
}

/// Operations that are refused whatever the record holds, or since it lacks what they name.
fn impossible_operations() -> Vec<Value> {
    vec![
        // Not there.
        json!({"op": "remove", "path": "/trancheId"}),
        json!({"op": "replace", "path": "/statusMessages/2/code", "value": "x"}),
        json!({"op": "add", "path": "/statusMessages/3", "value": {}}),
        json!({"op": "add", "path": "/detail/order", "value": {}}),
        json!({"op": "move", "from": "/no", "path": "/dealId"}),
        // Never right.
        json!({"op": "add", "path": "dealId", "value": 1}),
        json!({"op": "add", "path": "/deal~2Id", "value": 1}),
        json!({"op": "add", "path": "/dealId"}),
        json!({"op": "copy", "path": "/dealId"}),
        json!({"op": "spam", "path": "/dealId"}),
        json!({"op": "move", "from": "/allocationValue", "path": "/allocationValue/data"}),
        // The server's.
        json!({"op": "replace", "path": "/id", "value": "x"}),
        json!({"op": "remove", "path": "/version"}),
        json!({"op": "add", "path": "/createdBy", "value": "x"}),
        json!({"op": "move", "from": "/lastModifiedBy", "path": "/dealId"}),
        json!({"op": "replace", "path": "/createdDateTime", "value": null}),
        json!({"op": "remove", "path": ""}),
    ]
}

/// Operations whose result is no record, and the member that is wrong in it.
fn operations_that_leave_no_record() -> Vec<(Value, &'static str)> {
    vec![
        (
            json!({"op": "add", "path": "/unknown", "value": 1}),
            "/unknown",
        ),
        (
            json!({"op": "add", "path": "/detail", "value": {"x": 1}}),
            "/detail/x",
        ),
        (
            json!({"op": "replace", "path": "/companyId", "value": 1.5}),
            "/companyId",
        ),
        (
            json!({"op": "replace", "path": "/orderStatus", "value": "PENDING"}),
            "/orderStatus",
        ),
        (
            json!({"op": "replace", "path": "/dealId", "value": 1}),
            "/dealId",
        ),
        (
            json!({"op": "replace", "path": "/dealId", "value": "x".repeat(129)}),
            "/dealId",
        ),
        (
            json!({"op": "replace", "path": "/dealId", "value": "a\0"}),
            "/dealId",
        ),
        (
            json!({"op": "add", "path": "/sourceId", "value": ""}),
            "/sourceId",
        ),
        (
            json!({"op": "replace", "path": "/statusMessages", "value": {}}),
            "/statusMessages",
        ),
        (
            json!({"op": "add", "path": "/comment/comments/0", "value": {"lastModifiedDateTime": "yesterday"}}),
            "/comment/comments/0/lastModifiedDateTime",
        ),
    ]
}

#[tokio::test]
async fn a_patch_with_a_failing_operation_changes_nothing() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(&client, example()).await;
    let change = json!({"op": "replace", "path": "/dealId", "value": "other"});
    let refused = |operation: Value| {
        let (client, id, change) = (client.clone(), record.id.clone(), change.clone());
        async move {
            let refused = patch(&client, &id, json!([change, operation])).await;
            let refused = refused.expect_err("refused");
            let index = detail(&refused, "index");
            (refused.code(), reason::<()>(Err(refused)), index)
        }
    };
    let invalid = (
        Code::InvalidArgument,
        String::from("INVALID_REQUEST"),
        Some(String::from("1")),
    );
    let failed = (
        Code::FailedPrecondition,
        String::from("PATCH_TEST_FAILED"),
        Some(String::from("1")),
    );
    let test = json!({"op": "test", "path": "/companyId", "value": 2});
    assert_eq!(refused(test).await, failed);
    for operation in impossible_operations() {
        assert_eq!(refused(operation.clone()).await, invalid, "{operation}");
    }
    for (operation, field) in operations_that_leave_no_record() {
        let operations = json!([change, operation]);
        assert_eq!(
            fields(patch(&client, &record.id, operations).await),
            [field]
        );
    }
    assert_eq!(get(&client, &record.id).await.expect("untouched"), record);
}

#[tokio::test]
async fn a_malformed_patch_is_refused_before_the_record_is_read() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(&client, deal("D")).await;
    let refused = patch(
        &client,
        &record.id,
        json!([
            {"op": "add", "path": "x", "value": 1},
            {"op": "test", "path": "/dealId", "value": "D"},
            {"op": "jump", "path": ""},
        ]),
    )
    .await;
    assert_eq!(fields(refused), ["operations[0].path", "operations[2].op"]);

    let none = patch(&client, &record.id, json!([])).await;
    assert_eq!(fields(none), ["operations"]);
    let one = json!({"op": "test", "path": "/dealId", "value": "D"});
    let many = |count: usize| Value::Array(vec![one.clone(); count]);
    patch(&client, &record.id, many(1_000))
        .await
        .expect("1,000 are allowed");
    assert_eq!(
        fields(patch(&client, &record.id, many(10_000)).await),
        ["operations"]
    );
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    let nested = pb::PatchAllocationRequest {
        id: record.id.clone(),
        operations: vec![pb::PatchOperation {
            op: "add".into(),
            path: "/dealId".into(),
            from: None,
            value_json: Some(deep),
        }],
        ..Default::default()
    };
    let refused = client.clone().patch_allocation(nested).await;
    assert_eq!(fields(refused), ["operations[0].value_json"]);
}

#[tokio::test]
async fn a_patch_may_set_the_source_id_unless_another_record_has_it() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    create(&client, sourced("S-1")).await;
    let record = create(&client, deal("D")).await;
    let set = |id: &str| json!([{"op": "add", "path": "/sourceId", "value": id}]);
    let refused = patch(&client, &record.id, set("S-1"))
        .await
        .expect_err("taken");
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(reason::<()>(Err(refused)), "SOURCE_ID_TAKEN");
    let patched = patch(&client, &record.id, set("S-2")).await.expect("free");
    assert_eq!(patched.source_id.as_deref(), Some("S-2"));
}

#[tokio::test]
async fn repeated_copies_are_refused_at_the_size_limit() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(&client, example()).await;
    let mut operations =
        vec![json!({"op": "add", "path": "/x", "value": {"a": "x".repeat(1_000)}})];
    for index in 0..60 {
        operations.push(json!({"op": "copy", "from": "/x", "path": format!("/x/{index}")}));
    }
    let refused = patch(&client, &record.id, Value::Array(operations)).await;
    let refused = refused.expect_err("too large");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(detail(&refused, "index").is_some(), "{refused:?}");
}
