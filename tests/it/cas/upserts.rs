//! Updates that create a record that is missing, and conflicts of keys.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use tonic::{Code, Response, Status};

use super::{Client, create, deal, found, get, pb, sourced};
use crate::support::earmark::{Earmark, Setup};
use crate::support::service::{detail, fields, is_replayed, reason};

fn of_deal(source_id: &str, deal_id: &str) -> pb::CasAllocation {
    pb::CasAllocation {
        deal_id: Some(deal_id.into()),
        ..sourced(source_id)
    }
}

fn upsert(allocation: pb::CasAllocation) -> pb::UpdateAllocationRequest {
    pb::UpdateAllocationRequest {
        allocation: Some(allocation),
        allow_missing: true,
        ..Default::default()
    }
}

async fn send(
    client: &Client,
    request: pb::UpdateAllocationRequest,
) -> Result<Response<pb::UpdateAllocationResponse>, Status> {
    client.clone().update_allocation(request).await
}

/// The record, and whether the call has created it.
async fn sent(client: &Client, request: pb::UpdateAllocationRequest) -> (pb::CasAllocation, bool) {
    let answer = send(client, request).await.expect("updated").into_inner();
    (answer.allocation.expect("set"), answer.created)
}

#[tokio::test]
async fn an_update_creates_a_missing_record_only_if_it_may() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let plain = pb::UpdateAllocationRequest {
        allow_missing: false,
        ..upsert(sourced("S"))
    };
    assert_eq!(
        reason(send(&client, plain.clone()).await),
        "ALLOCATION_NOT_FOUND"
    );

    let (record, created) = sent(&client, upsert(of_deal("S", "D"))).await;
    assert!(created);
    assert_eq!((record.version, record.created_by()), (1, "somebody"));
    assert_eq!(record.created_date_time, record.last_modified_date_time);
    assert_eq!(get(&client, &record.id).await.expect("there"), record);
    // The same again changes nothing, and other content changes the record.
    assert_eq!(
        sent(&client, upsert(of_deal("S", "D"))).await,
        (record.clone(), false)
    );
    let (changed, created) = sent(&client, upsert(of_deal("S", "E"))).await;
    assert_eq!(
        (changed.id.as_str(), changed.version, created),
        (record.id.as_str(), 2, false)
    );
    let (_, created) = sent(&client, plain).await;
    assert!(!created);

    // A create with the content that it was created with is a repeat.
    let creation = pb::CreateAllocationRequest {
        allocation: Some(of_deal("S", "D")),
        ..Default::default()
    };
    let answer = client
        .clone()
        .create_allocation(creation)
        .await
        .expect("a repeat");
    assert!(is_replayed(&answer));
    // Another firm's record is none of ours.
    assert!(sent(&earmark.firm("2"), upsert(sourced("S"))).await.1);
}

#[tokio::test]
async fn the_version_of_a_missing_record_is_zero() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let at = |version, source_id: &str| pb::UpdateAllocationRequest {
        expected_version: Some(version),
        ..upsert(sourced(source_id))
    };
    let mismatch = |status: Status| {
        let versions = ["expected_version", "actual_version"].map(|key| detail(&status, key));
        assert_eq!(status.code(), Code::Aborted);
        assert_eq!(reason::<()>(Err(status)), "VERSION_MISMATCH");
        versions.map(|version| version.expect("a version"))
    };
    let refused = send(&client, at(1, "S")).await.expect_err("missing");
    assert_eq!(mismatch(refused), ["1", "0"]);
    assert!(sent(&client, at(0, "S")).await.1);
    let refused = send(&client, at(0, "S")).await.expect_err("there");
    assert_eq!(mismatch(refused), ["0", "1"]);
    assert!(!sent(&client, at(1, "S")).await.1);
    let plain = pb::UpdateAllocationRequest {
        allow_missing: false,
        ..at(0, "T")
    };
    assert_eq!(reason(send(&client, plain).await), "ALLOCATION_NOT_FOUND");
}

#[tokio::test]
async fn only_a_record_with_a_source_id_can_be_created_by_an_update() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(&client, sourced("S")).await;
    let with_id = pb::UpdateAllocationRequest {
        id: record.id.clone(),
        ..upsert(sourced("S"))
    };
    assert_eq!(fields(send(&client, with_id).await), ["allow_missing"]);
    assert_eq!(fields(send(&client, upsert(deal("D"))).await), ["id"]);
    let reader = earmark.of_firm("reader", "allocations-read", "1");
    let refused = send(&reader, upsert(sourced("T"))).await;
    assert_eq!(reason(refused), "SCOPE_MISSING");
    assert_eq!(found(&client, &[]).await, [record.id]);
}

#[tokio::test]
async fn validate_only_says_whether_the_record_would_be_created() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let request = pb::UpdateAllocationRequest {
        validate_only: true,
        request_id: "R".into(),
        ..upsert(of_deal("S", "D"))
    };
    let (shown, created) = sent(&client, request.clone()).await;
    assert!(created);
    assert_eq!(
        (shown.id.as_str(), shown.version, shown.deal_id()),
        ("", 1, "D")
    );
    assert_eq!(
        (shown.created_date_time, shown.last_modified_date_time),
        (None, None)
    );
    assert_eq!(found(&client, &[]).await, [""; 0]);
    create(&client, sourced("S")).await;
    let (shown, created) = sent(&client, request).await;
    assert_eq!((shown.version, created), (2, false));
    assert_eq!(earmark.count("SELECT count(*) FROM request_key").await, 0);
}

#[tokio::test]
async fn a_repeat_says_what_the_first_call_did() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let keyed = |request_id: &str, deal_id: &str| pb::UpdateAllocationRequest {
        request_id: request_id.into(),
        ..upsert(of_deal("S", deal_id))
    };
    for (key, deal_id, created, version) in [("A", "D", true, 1), ("B", "E", false, 2)] {
        for is_repeat in [false, true] {
            let answer = send(&client, keyed(key, deal_id)).await.expect("updated");
            assert_eq!(is_replayed(&answer), is_repeat);
            let answer = answer.into_inner();
            assert_eq!(answer.created, created, "{key}");
            assert_eq!(answer.allocation.expect("set").version, version);
        }
    }
    // The first call's answer, with the record as it is now.
    let answer = send(&client, keyed("A", "D"))
        .await
        .expect("a repeat")
        .into_inner();
    assert_eq!(
        (answer.created, answer.allocation.expect("set").version),
        (true, 2)
    );
    // Whether the record may be created is content.
    let plain = pb::UpdateAllocationRequest {
        allow_missing: false,
        ..keyed("A", "D")
    };
    assert_eq!(reason(send(&client, plain).await), "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_concurrent_upserts_creates_the_record() {
    let earmark = Earmark::start().await;
    let other = Earmark::start_on(&earmark.url, Setup::default()).await;
    let clients = [earmark.firm("1"), other.firm("1")];
    let upserts = (0..24).map(|index| {
        let client = clients[index % 2].clone();
        async move { sent(&client, upsert(of_deal("S", &index.to_string()))).await }
    });
    let answers = join_all(upserts).await;
    let created = answers.iter().filter(|(_, created)| *created).count();
    let ids: BTreeSet<&str> = answers
        .iter()
        .map(|(record, _)| record.id.as_str())
        .collect();
    let versions: BTreeSet<i64> = answers.iter().map(|(record, _)| record.version).collect();
    assert_eq!((created, ids.len()), (1, 1));
    assert!(versions.into_iter().eq(1..=24));

    let guarded = (0..16).map(|index| {
        let client = clients[index % 2].clone();
        let request = pb::UpdateAllocationRequest {
            expected_version: Some(0),
            ..upsert(of_deal("T", &index.to_string()))
        };
        async move { send(&client, request).await }
    });
    let (done, refused): (Vec<_>, Vec<_>) =
        join_all(guarded).await.into_iter().partition(Result::is_ok);
    assert_eq!((done.len(), refused.len()), (1, 15));
    for refused in refused {
        assert_eq!(reason(refused), "VERSION_MISMATCH");
    }
}

#[tokio::test]
async fn a_conflict_of_keys_names_the_record_that_has_the_key() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    create(&client, sourced("S")).await;
    let holder = sent(&client, upsert(of_deal("S", "D"))).await.0.id;
    let names = |status: &Status| {
        let [id, version] = ["id", "version"].map(|key| detail(status, key));
        let text = status.message();
        assert!(
            text.contains(&holder) && text.contains("version 2"),
            "{text}"
        );
        (id.expect("an id"), version.expect("a version"))
    };
    let named = (holder.clone(), "2".to_owned());

    let creation = |allocation, request_id: &str| pb::CreateAllocationRequest {
        allocation: Some(allocation),
        request_id: request_id.into(),
        ..Default::default()
    };
    let refused = client
        .clone()
        .create_allocation(creation(of_deal("S", "F"), ""))
        .await;
    let refused = refused.expect_err("other content");
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(names(&refused), named);
    assert_eq!(reason::<()>(Err(refused)), "IDEMPOTENCY_KEY_REUSED");

    let another = create(&client, deal("D")).await;
    let update = pb::UpdateAllocationRequest {
        id: another.id.clone(),
        allocation: Some(sourced("S")),
        ..Default::default()
    };
    let taken = send(&client, update).await.expect_err("taken");
    assert_eq!(names(&taken), named);
    assert_eq!(reason::<()>(Err(taken)), "SOURCE_ID_TAKEN");

    // Of a record that was deleted the id is left.
    let answer = client
        .clone()
        .create_allocation(creation(deal("D"), "R"))
        .await;
    let keyed = answer
        .expect("created")
        .into_inner()
        .allocation
        .expect("set");
    let delete = pb::DeleteAllocationRequest {
        id: keyed.id.clone(),
        ..Default::default()
    };
    client
        .clone()
        .delete_allocation(delete)
        .await
        .expect("deleted");
    let refused = client
        .clone()
        .create_allocation(creation(deal("E"), "R"))
        .await;
    let refused = refused.expect_err("other content");
    assert_eq!(detail(&refused, "id"), Some(keyed.id));
    assert_eq!(detail(&refused, "version"), None);
    assert_eq!(detail(&refused, "field").as_deref(), Some("request_id"));
}
