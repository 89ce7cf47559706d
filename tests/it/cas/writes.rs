//! Keys, versions and `validate_only` of every write; concurrent writes.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::json;
use tonic::Code;

use super::{Client, create, deal, found, get, operations, patch, pb, sourced};
use crate::support::earmark::{Earmark, Setup};
use crate::support::service::{detail, fields, is_replayed, reason};

fn add_status(code: &str) -> Vec<pb::PatchOperation> {
    operations(&json!([{"op": "add", "path": "/statusMessages/-", "value": {"code": code}}]))
}

async fn delete_by(
    client: &Client,
    source_id: &str,
    request_id: &str,
) -> Result<tonic::Response<pb::DeleteAllocationBySourceIdResponse>, tonic::Status> {
    let request = pb::DeleteAllocationBySourceIdRequest {
        source_id: source_id.into(),
        request_id: request_id.into(),
        ..Default::default()
    };
    client.clone().delete_allocation_by_source_id(request).await
}

/// A source id is a key too: a create takes one of the two.
async fn two_keys_are_refused(client: &Client) {
    let two_keys = pb::CreateAllocationRequest {
        allocation: Some(sourced("T")),
        request_id: "R".into(),
        ..Default::default()
    };
    let refused = client.clone().create_allocation(two_keys).await;
    assert_eq!(fields(refused), ["request_id"]);
}

#[tokio::test]
async fn a_write_with_a_used_request_id_is_replayed() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let creation = |deal_id: &str| pb::CreateAllocationRequest {
        allocation: Some(deal(deal_id)),
        request_id: "R".into(),
        ..Default::default()
    };
    let first = client
        .clone()
        .create_allocation(creation("D"))
        .await
        .expect("created");
    assert!(!is_replayed(&first));
    let record = first.into_inner().allocation.expect("set");
    let again = client
        .clone()
        .create_allocation(creation("D"))
        .await
        .expect("a repeat");
    assert!(is_replayed(&again));
    assert_eq!(again.into_inner().allocation.as_ref(), Some(&record));
    let other = client.clone().create_allocation(creation("E")).await;
    assert_eq!(reason(other), "IDEMPOTENCY_KEY_REUSED");
    // Keys are per firm.
    let theirs = earmark.firm("2").create_allocation(creation("E")).await;
    assert!(!is_replayed(&theirs.expect("created")));

    let addition = |code: &str| pb::PatchAllocationRequest {
        id: record.id.clone(),
        operations: add_status(code),
        request_id: "R".into(),
        ..Default::default()
    };
    for is_repeat in [false, true] {
        let answer = client
            .clone()
            .patch_allocation(addition("x"))
            .await
            .expect("patched");
        assert_eq!(is_replayed(&answer), is_repeat);
        let patched = answer.into_inner().allocation.expect("set");
        assert_eq!((patched.version, patched.status_messages.len()), (2, 1));
    }
    let other = client.clone().patch_allocation(addition("y")).await;
    assert_eq!(reason(other), "IDEMPOTENCY_KEY_REUSED");

    let update = pb::UpdateAllocationRequest {
        id: record.id.clone(),
        allocation: Some(sourced("S")),
        request_id: "R".into(),
        ..Default::default()
    };
    for is_repeat in [false, true] {
        let answer = client
            .clone()
            .update_allocation(update.clone())
            .await
            .expect("updated");
        assert_eq!(is_replayed(&answer), is_repeat);
        assert_eq!(answer.into_inner().allocation.expect("set").version, 3);
    }

    // A repeated delete does not touch a newer record with the same source id.
    delete_by(&client, "S", "R").await.expect("deleted");
    let successor = create(&client, sourced("S")).await;
    let again = delete_by(&client, "S", "R").await;
    assert_eq!(reason(again), "ALLOCATION_NOT_FOUND");
    get(&client, &successor.id).await.expect("there");
    // Neither do repeats with the deleted record's other keys.
    let again = client.clone().patch_allocation(addition("x")).await;
    assert_eq!(reason(again), "ALLOCATION_NOT_FOUND");

    two_keys_are_refused(&client).await;
}

#[tokio::test]
async fn a_stale_version_changes_nothing() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(&client, sourced("S")).await;
    let stale = Some(2);
    let update = pb::UpdateAllocationRequest {
        allocation: Some(sourced("S")),
        expected_version: stale,
        ..Default::default()
    };
    let patch = pb::PatchAllocationRequest {
        id: record.id.clone(),
        operations: add_status("x"),
        expected_version: stale,
        ..Default::default()
    };
    let delete = pb::DeleteAllocationRequest {
        id: record.id.clone(),
        expected_version: stale,
        ..Default::default()
    };
    let delete_by_source_id = pb::DeleteAllocationBySourceIdRequest {
        source_id: "S".into(),
        expected_version: stale,
        ..Default::default()
    };
    let refusals = [
        client.clone().update_allocation(update).await.map(|_| ()),
        client
            .clone()
            .patch_allocation(patch.clone())
            .await
            .map(|_| ()),
        client
            .clone()
            .delete_allocation(delete.clone())
            .await
            .map(|_| ()),
        client
            .clone()
            .delete_allocation_by_source_id(delete_by_source_id)
            .await
            .map(|_| ()),
    ];
    for refused in refusals {
        let status = refused.expect_err("stale");
        assert_eq!(status.code(), Code::Aborted);
        assert_eq!(detail(&status, "actual_version").as_deref(), Some("1"));
        assert_eq!(reason::<()>(Err(status)), "VERSION_MISMATCH");
    }
    assert_eq!(get(&client, &record.id).await.expect("there"), record);
    let current = pb::PatchAllocationRequest {
        expected_version: Some(1),
        ..patch
    };
    client
        .clone()
        .patch_allocation(current)
        .await
        .expect("patched");
    let current = pb::DeleteAllocationRequest {
        expected_version: stale,
        ..delete
    };
    client
        .clone()
        .delete_allocation(current)
        .await
        .expect("deleted");
}

async fn deletes_are_only_validated(client: &Client, id: &str) {
    let delete = pb::DeleteAllocationRequest {
        id: id.into(),
        validate_only: true,
        ..Default::default()
    };
    client
        .clone()
        .delete_allocation(delete)
        .await
        .expect("valid");
    let delete = pb::DeleteAllocationBySourceIdRequest {
        source_id: "U".into(),
        validate_only: true,
        ..Default::default()
    };
    let refused = client.clone().delete_allocation_by_source_id(delete).await;
    assert_eq!(reason(refused), "ALLOCATION_NOT_FOUND");
}

#[tokio::test]
async fn validate_only_checks_and_writes_nothing() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let creation = pb::CreateAllocationRequest {
        allocation: Some(sourced("S")),
        validate_only: true,
        ..Default::default()
    };
    let answer = client
        .clone()
        .create_allocation(creation.clone())
        .await
        .expect("valid");
    let shown = answer.into_inner().allocation.expect("set");
    assert_eq!((shown.id.as_str(), shown.version), ("", 1));
    assert_eq!(
        (shown.created_date_time, shown.last_modified_date_time),
        (None, None)
    );
    assert_eq!(shown.created_by.as_deref(), Some("somebody"));
    assert_eq!(found(&client, &[]).await, [""; 0]);

    let record = create(&client, sourced("S")).await;
    let answer = client
        .clone()
        .create_allocation(creation.clone())
        .await
        .expect("a repeat");
    assert!(is_replayed(&answer));
    let mut other = creation;
    other.allocation.get_or_insert_default().company_id = Some(1);
    let refused = client.clone().create_allocation(other).await;
    assert_eq!(reason(refused), "IDEMPOTENCY_KEY_REUSED");

    let patch = |operations| pb::PatchAllocationRequest {
        id: record.id.clone(),
        operations,
        request_id: "R".into(),
        validate_only: true,
        ..Default::default()
    };
    let answer = client
        .clone()
        .patch_allocation(patch(add_status("x")))
        .await
        .expect("valid");
    let shown = answer.into_inner().allocation.expect("set");
    assert_eq!((shown.version, shown.status_messages.len()), (2, 1));
    assert_eq!(shown.last_modified_date_time, None);
    let bad = operations(&json!([{"op": "remove", "path": "/dealId"}]));
    let refused = client.clone().patch_allocation(patch(bad)).await;
    assert_eq!(reason(refused), "PATCH_PATH_MISSING");

    create(&client, sourced("T")).await;
    let update = pb::UpdateAllocationRequest {
        id: record.id.clone(),
        allocation: Some(sourced("T")),
        validate_only: true,
        ..Default::default()
    };
    let refused = client.clone().update_allocation(update).await;
    assert_eq!(reason(refused), "SOURCE_ID_TAKEN");
    deletes_are_only_validated(&client, &record.id).await;
    assert_eq!(get(&client, &record.id).await.expect("there"), record);
    assert_eq!(earmark.count("SELECT count(*) FROM request_key").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_patches_are_all_applied() {
    const PATCHES: usize = 120;
    let earmark = Earmark::start().await;
    let other = Earmark::start_on(&earmark.url, Setup::default()).await;
    let clients = [earmark.firm("1"), other.firm("1")];
    let record = create(&clients[0], deal("D")).await;
    let patches = (0..PATCHES).map(|index| {
        let code = format!("{index}");
        let operations =
            json!([{"op": "add", "path": "/statusMessages/-", "value": {"code": code}}]);
        patch(&clients[index % 2], &record.id, operations)
    });
    let patched = join_all(patches).await;
    let versions: BTreeSet<i64> = patched
        .into_iter()
        .map(|patched| patched.expect("patched").version)
        .collect();
    assert!(versions.into_iter().eq(2..=1 + PATCHES as i64));
    let stored = get(&clients[0], &record.id).await.expect("there");
    let codes: BTreeSet<&str> = stored
        .status_messages
        .iter()
        .map(|each| each.code())
        .collect();
    assert_eq!(
        (stored.status_messages.len(), codes.len()),
        (PATCHES, PATCHES)
    );
    assert_eq!(stored.version, 1 + PATCHES as i64);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_concurrent_patches_on_one_version_is_applied() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(&client, deal("D")).await;
    let patches = (0..20).map(|index| {
        let request = pb::PatchAllocationRequest {
            id: record.id.clone(),
            operations: add_status(&index.to_string()),
            expected_version: Some(1),
            ..Default::default()
        };
        let mut client = client.clone();
        async move { client.patch_allocation(request).await }
    });
    let (done, refused): (Vec<_>, Vec<_>) =
        join_all(patches).await.into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), refused.len()), (1, 19));
    for refused in refused {
        assert_eq!(reason(refused), "VERSION_MISMATCH");
    }
    let stored = get(&client, &record.id).await.expect("there");
    assert_eq!((stored.version, stored.status_messages.len()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_concurrent_creates_with_one_key_is_applied() {
    let earmark = Earmark::start().await;
    let other = Earmark::start_on(&earmark.url, Setup::default()).await;
    let clients = [earmark.firm("1"), other.firm("1")];
    let by_source_id = pb::CreateAllocationRequest {
        allocation: Some(sourced("S")),
        ..Default::default()
    };
    let by_request_id = pb::CreateAllocationRequest {
        allocation: Some(deal("D")),
        request_id: "R".into(),
        ..Default::default()
    };
    for request in [by_source_id, by_request_id] {
        let creates = (0..16).map(|index| {
            let (mut client, request) = (clients[index % 2].clone(), request.clone());
            async move { client.create_allocation(request).await.expect("created") }
        });
        let answers = join_all(creates).await;
        let fresh = answers.iter().filter(|answer| !is_replayed(answer)).count();
        let ids: BTreeSet<String> = answers
            .into_iter()
            .map(|answer| answer.into_inner().allocation.expect("set").id)
            .collect();
        assert_eq!((fresh, ids.len()), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_concurrent_updates_to_one_source_id_is_applied() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let mut records = Vec::new();
    for index in 0..10 {
        records.push(create(&client, deal(&index.to_string())).await);
    }
    let updates = records.iter().map(|record| {
        let request = pb::UpdateAllocationRequest {
            id: record.id.clone(),
            allocation: Some(sourced("S")),
            ..Default::default()
        };
        let mut client = client.clone();
        async move { client.update_allocation(request).await }
    });
    let (done, refused): (Vec<_>, Vec<_>) =
        join_all(updates).await.into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), refused.len()), (1, 9));
    for refused in refused {
        assert_eq!(reason(refused), "SOURCE_ID_TAKEN");
    }
}
