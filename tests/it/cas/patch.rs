//! Patches of a record's document form.

use serde_json::{Value, json};
use tonic::Code;

use super::{cash, create, deal, get, patch, pb, sourced};
use crate::support::earmark::{Earmark, refusal};
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

/// Operations on what the record does not have.
fn operations_without_a_target() -> Vec<Value> {
    vec![
        json!({"op": "remove", "path": "/trancheId"}),
        json!({"op": "replace", "path": "/statusMessages/2/code", "value": "x"}),
        json!({"op": "replace", "path": "/detail/order", "value": {}}),
        json!({"op": "add", "path": "/statusMessages/3", "value": {}}),
        json!({"op": "add", "path": "/detail/order", "value": {}}),
        json!({"op": "move", "from": "/trancheId", "path": "/dealId"}),
        json!({"op": "copy", "from": "/allocationValue/overrideAllocation/data", "path": "/allocationValue/data"}),
        json!({"op": "copy", "from": "/dealId", "path": "/comment/comments/0/comment"}),
    ]
}

/// Operations that are refused whatever the record holds.
fn impossible_operations() -> Vec<Value> {
    vec![
        json!({"op": "add", "path": "dealId", "value": 1}),
        json!({"op": "add", "path": "/deal~2Id", "value": 1}),
        json!({"op": "add", "path": "/dealId"}),
        json!({"op": "copy", "path": "/dealId"}),
        json!({"op": "spam", "path": "/dealId"}),
        json!({"op": "move", "from": "/allocationValue", "path": "/allocationValue/data"}),
        // No record can have it.
        json!({"op": "add", "path": "/unknown", "value": 1}),
        json!({"op": "move", "from": "/no", "path": "/dealId"}),
        json!({"op": "test", "path": "/deal_id", "value": "D"}),
        json!({"op": "test", "path": "/dealId/0", "value": null}),
        json!({"op": "test", "path": "/statusMessages/01", "value": null}),
        json!({"op": "remove", "path": "/statusMessages/-"}),
        // The server's.
        json!({"op": "replace", "path": "/id", "value": "x"}),
        json!({"op": "remove", "path": "/version"}),
        json!({"op": "add", "path": "/createdBy", "value": "x"}),
        json!({"op": "move", "from": "/lastModifiedBy", "path": "/dealId"}),
        json!({"op": "replace", "path": "/createdDateTime", "value": null}),
        json!({"op": "remove", "path": ""}),
    ]
}

/// Tests that do not hold.
fn tests_that_fail() -> Vec<Value> {
    vec![
        json!({"op": "test", "path": "/companyId", "value": 2}),
        json!({"op": "test", "path": "/companyId", "value": null}),
        json!({"op": "test", "path": "/trancheId", "value": "T"}),
        json!({"op": "test", "path": "/detail", "value": {}}),
        json!({"op": "test", "path": "/statusMessages/2", "value": null}),
        json!({"op": "test", "path": "/statusMessages/2/code", "value": null}),
        json!({"op": "test", "path": "/comment/comments/0/comment", "value": "x"}),
    ]
}

/// Operations whose result is no record, and the member that is wrong in it.
fn operations_that_leave_no_record() -> Vec<(Value, &'static str)> {
    vec![
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
    let ends = |code, reason: &str| (code, reason.to_owned(), Some("1".to_owned()));
    for (operations, expected) in [
        (
            impossible_operations(),
            ends(Code::InvalidArgument, "INVALID_REQUEST"),
        ),
        (
            tests_that_fail(),
            ends(Code::FailedPrecondition, "PATCH_TEST_FAILED"),
        ),
        (
            operations_without_a_target(),
            ends(Code::FailedPrecondition, "PATCH_PATH_MISSING"),
        ),
    ] {
        for operation in operations {
            assert_eq!(refused(operation.clone()).await, expected, "{operation}");
        }
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
    let refused = refusal::<()>(Err(refused)).expect(Code::AlreadyExists, "SOURCE_ID_TAKEN");
    assert_eq!(refused.metadata["field"], "/sourceId");
    let patched = patch(&client, &record.id, set("S-2")).await.expect("free");
    assert_eq!(patched.source_id.as_deref(), Some("S-2"));
}

#[tokio::test]
async fn what_a_value_is_instead_is_said() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(&client, deal("D")).await;
    for (path, value, part) in [
        (
            "/allocationValue",
            json!({"data": {"amount": "12"}}),
            "got the text \"12\"",
        ),
        ("/dealId", json!(12), "got the number 12"),
    ] {
        let operations = json!([{"op": "add", "path": path, "value": value}]);
        let refused = patch(&client, &record.id, operations).await;
        let refused = refused.expect_err("refused");
        assert!(refused.message().contains(part), "{refused:?}");
    }
    let operation = pb::PatchOperation {
        op: "add".into(),
        path: "/companyId".into(),
        value_json: Some("01".into()),
        from: None,
    };
    let request = pb::PatchAllocationRequest {
        id: record.id,
        operations: vec![operation],
        ..Default::default()
    };
    let refused = client.clone().patch_allocation(request).await;
    let refused = refusal(refused).expect_invalid(&["operations[0].value_json"]);
    let part = "a JSON number without leading zeros";
    assert!(refused.message.contains(part), "{refused:?}");
}

#[tokio::test]
async fn repeated_copies_are_refused_at_the_size_limit() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(&client, example()).await;
    let long =
        json!({"op": "add", "path": "/statusMessages/-", "value": {"code": "x".repeat(1_000)}});
    let mut operations = vec![long];
    for _ in 0..60 {
        operations
            .push(json!({"op": "copy", "from": "/statusMessages", "path": "/statusMessages/-"}));
    }
    let refused = patch(&client, &record.id, Value::Array(operations)).await;
    let refused = refused.expect_err("too large");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(detail(&refused, "index").is_some(), "{refused:?}");
}

#[tokio::test]
async fn a_guard_reads_an_unset_member_as_null() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(&client, example()).await;
    // What is unset, also below something unset, and what stands in its place once it is set.
    let operations = json!([
        {"op": "test", "path": "/trancheId", "value": null},
        {"op": "test", "path": "/detail/order/affirmation/isAffirmed", "value": null},
        {"op": "test", "path": "/statusMessages/0/message", "value": null},
        {"op": "add", "path": "/detail", "value": {"order": {"affirmation": {"isAffirmed": true}}}},
        {"op": "test", "path": "/detail/order/affirmation/isAffirmed", "value": true},
        {"op": "remove", "path": "/detail"},
        {"op": "test", "path": "/detail/order", "value": null},
        {"op": "add", "path": "/trancheId", "value": "T"},
    ]);
    let patched = patch(&client, &record.id, operations)
        .await
        .expect("guarded");
    assert_eq!((patched.tranche_id(), patched.version), ("T", 2));
    // The same guard fails now that the member is set.
    let guard = json!([{"op": "test", "path": "/trancheId", "value": null}]);
    let refused = patch(&client, &record.id, guard).await.expect_err("set");
    assert_eq!(
        refused.message(),
        "`operations[0]`: the test failed: `/trancheId` is \"T\", not null"
    );
    assert_eq!(reason::<()>(Err(refused)), "PATCH_TEST_FAILED");
}

#[tokio::test]
async fn what_is_missing_is_named_with_what_would_work() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(&client, example()).await;
    for (operation, member, text) in [
        (
            json!({"op": "replace", "path": "/trancheId", "value": "T"}),
            "path",
            "`/trancheId` is unset: `add` sets a member whether it is set or not",
        ),
        (
            json!({"op": "add", "path": "/detail/order/affirmation", "value": {}}),
            "path",
            "`/detail` is unset: `add` it first",
        ),
        (
            json!({"op": "move", "from": "/statusMessages/7", "path": "/statusMessages/0"}),
            "from",
            "`/statusMessages/7` is not there, the array has 2 elements",
        ),
        (
            json!({"op": "add", "path": "/comment/comments/1", "value": {}}),
            "path",
            "`/comment/comments/1` is not there, the array is empty: use a position of at most 0, or `-` for the end",
        ),
    ] {
        let refused = patch(&client, &record.id, json!([operation])).await;
        let refused = refused.expect_err("missing");
        let field = format!("operations[0].{member}");
        assert_eq!(refused.message(), format!("`{field}`: {text}"));
        assert_eq!(detail(&refused, "index").as_deref(), Some("0"));
        assert_eq!(detail(&refused, "field"), Some(field));
        assert_eq!(reason::<()>(Err(refused)), "PATCH_PATH_MISSING");
    }
    assert_eq!(get(&client, &record.id).await.expect("untouched"), record);
}
