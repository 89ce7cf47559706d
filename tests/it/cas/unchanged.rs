//! A write whose result is the record as it is changes nothing.

use serde_json::json;

use super::{Client, cash, create, get, operations, patch, pb, sourced};
use crate::support::earmark::Earmark;
use crate::support::service::{detail, is_replayed, reason};

fn example() -> pb::CasAllocation {
    pb::CasAllocation {
        deal_id: Some("D".into()),
        company_id: Some(1),
        status_messages: vec![pb::StatusMessage {
            code: Some("c".into()),
            message: None,
        }],
        allocation_value: Some(cash("1.50")),
        ..sourced("S")
    }
}

async fn update(client: &Client, request: pb::UpdateAllocationRequest) -> pb::CasAllocation {
    let answer = client.clone().update_allocation(request).await;
    answer
        .expect("updated")
        .into_inner()
        .allocation
        .expect("set")
}

#[tokio::test]
async fn an_update_with_the_same_content_changes_nothing() {
    let earmark = Earmark::start().await;
    let record = create(&earmark.firm("1"), example()).await;
    let editor = earmark.of_firm("editor", "allocations-read allocations-write", "1");
    // The same content, written otherwise.
    let same = pb::CasAllocation {
        allocation_value: Some(cash("1.5")),
        detail: Some(Default::default()),
        comment: Some(Default::default()),
        version: 7,
        ..example()
    };
    for id in [&record.id, ""] {
        for expected_version in [None, Some(1)] {
            for validate_only in [true, false] {
                let request = pb::UpdateAllocationRequest {
                    id: id.into(),
                    allocation: Some(same.clone()),
                    expected_version,
                    validate_only,
                    ..Default::default()
                };
                assert_eq!(update(&editor, request).await, record);
            }
        }
    }
    assert_eq!(get(&editor, &record.id).await.expect("there"), record);
    // The expected version is judged first.
    let stale = pb::UpdateAllocationRequest {
        allocation: Some(same),
        expected_version: Some(2),
        ..Default::default()
    };
    let refused = editor.clone().update_allocation(stale).await;
    assert_eq!(reason(refused), "VERSION_MISMATCH");
}

#[tokio::test]
async fn a_patch_whose_result_is_equal_changes_nothing() {
    let earmark = Earmark::start().await;
    let record = create(&earmark.firm("1"), example()).await;
    let editor = earmark.of_firm("editor", "allocations-read allocations-write", "1");
    for equal in [
        json!([{"op": "test", "path": "/dealId", "value": "D"}]),
        json!([{"op": "replace", "path": "/companyId", "value": 1.0}]),
        json!([{"op": "add", "path": "/trancheId", "value": null}]),
        json!([{"op": "add", "path": "/detail", "value": {"order": {}}}]),
        json!([{"op": "remove", "path": "/comment"}]),
        json!([
            {"op": "move", "from": "/dealId", "path": "/trancheId"},
            {"op": "move", "from": "/trancheId", "path": "/dealId"},
        ]),
        json!([{"op": "copy", "from": "/allocationValue", "path": "/allocationValue"}]),
    ] {
        let patched = patch(&editor, &record.id, equal.clone()).await;
        assert_eq!(patched.expect("patched"), record, "{equal}");
    }
    assert_eq!(get(&editor, &record.id).await.expect("there"), record);
    let changed = json!([{"op": "replace", "path": "/companyId", "value": 2}]);
    let changed = patch(&editor, &record.id, changed).await.expect("patched");
    assert_eq!((changed.version, changed.last_modified_by()), (2, "editor"));
}

#[tokio::test]
async fn the_key_of_a_write_that_changed_nothing_is_used() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(&client, example()).await;
    let keyed = pb::UpdateAllocationRequest {
        allocation: Some(example()),
        request_id: "R".into(),
        ..Default::default()
    };
    assert_eq!(update(&client, keyed.clone()).await, record);
    let changed = json!([{"op": "replace", "path": "/dealId", "value": "E"}]);
    let changed = patch(&client, &record.id, changed).await.expect("patched");
    // A repeat does not undo what came in between.
    let again = client.clone().update_allocation(keyed.clone()).await;
    let again = again.expect("a repeat");
    assert!(is_replayed(&again));
    assert_eq!(again.into_inner().allocation, Some(changed));

    let tested = pb::PatchAllocationRequest {
        id: record.id.clone(),
        operations: operations(&json!([{"op": "test", "path": "/dealId", "value": "E"}])),
        request_id: "R".into(),
        ..Default::default()
    };
    client
        .clone()
        .patch_allocation(tested.clone())
        .await
        .expect("holds");
    let other = pb::PatchAllocationRequest {
        operations: operations(&json!([{"op": "test", "path": "/dealId", "value": "F"}])),
        ..tested
    };
    let refused = client
        .clone()
        .patch_allocation(other)
        .await
        .expect_err("another patch");
    assert_eq!(detail(&refused, "id").as_deref(), Some(record.id.as_str()));
    assert_eq!(detail(&refused, "version").as_deref(), Some("2"));
    assert_eq!(reason::<()>(Err(refused)), "IDEMPOTENCY_KEY_REUSED");
}
