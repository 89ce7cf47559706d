//! Create, get, update, delete: whose records they are, and what the server adds.

use prost_types::Timestamp;
use tonic::Code;

use super::{NOBODY, cash, create, deal, found, get, pb, sourced};
use crate::support::earmark::{Earmark, refusal};
use crate::support::service::{detail, is_replayed, reason};

#[tokio::test]
async fn create_stores_the_given_members_and_the_servers_fields() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("acme");
    let said = pb::CasAllocation {
        id: NOBODY.into(),
        created_by: Some("a liar".into()),
        version: 7,
        deal_id: Some(String::new()),
        company_id: Some(-3),
        order_status: pb::OrderStatus::DeletePending.into(),
        status_messages: vec![pb::StatusMessage {
            code: None,
            message: Some("späť \u{1f600}".into()),
        }],
        allocation_value: Some(pb::AllocationValue {
            data: Some(Default::default()),
            ..cash("-0010.500")
        }),
        detail: Some(Default::default()),
        comment: Some(pb::CommentList {
            comments: vec![pb::Comment {
                last_modified_date_time: Some(Timestamp {
                    seconds: -62_135_596_800,
                    nanos: 1_999,
                }),
                ..Default::default()
            }],
        }),
        ..Default::default()
    };
    let record = create(&client, said.clone()).await;
    assert_ne!(record.id, NOBODY);
    assert_eq!(record.created_by.as_deref(), Some("somebody"));
    assert_eq!(record.last_modified_by, record.created_by);
    assert_eq!(record.last_modified_date_time, record.created_date_time);
    assert_eq!(record.version, 1);
    // An empty string is a value; an object without members is unset.
    assert_eq!(record.deal_id.as_deref(), Some(""));
    assert_eq!(record.tranche_id, None);
    assert_eq!(record.company_id, Some(-3));
    assert_eq!(record.status_messages, said.status_messages);
    let value = record.allocation_value.clone().expect("has a type");
    assert_eq!(
        (value.r#type(), value.data),
        (pb::AllocationValueType::Cash, None)
    );
    assert_eq!(record.detail, None);
    let time = record.comment.as_ref().expect("set").comments[0].last_modified_date_time;
    assert_eq!(time.expect("set").nanos, 1_000, "rounded down");
    assert_eq!(get(&client, &record.id).await.expect("there"), record);
}

#[tokio::test]
async fn amounts_keep_every_digit() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("acme");
    for (given, answered) in [
        (
            "9999999999999999.999999999999",
            "9999999999999999.999999999999",
        ),
        ("-0.000000000001", "-0.000000000001"),
        ("-0", "0"),
        ("1.50", "1.5"),
    ] {
        let said = pb::CasAllocation {
            allocation_value: Some(cash(given)),
            ..Default::default()
        };
        let record = create(&client, said).await;
        let stored = get(&client, &record.id).await.expect("there");
        let data = stored.allocation_value.expect("set").data.expect("set");
        assert_eq!(data.amount.as_deref(), Some(answered));
    }
}

#[tokio::test]
async fn another_firms_record_is_not_found() {
    let earmark = Earmark::start().await;
    let (acme, other) = (earmark.firm("1"), earmark.firm("2"));
    let record = create(&acme, sourced("S-1")).await;
    let refused = get(&other, &record.id).await.expect_err("not theirs");
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(reason::<()>(Err(refused)), "ALLOCATION_NOT_FOUND");
    let update = pb::UpdateAllocationRequest {
        id: record.id.clone(),
        allocation: Some(deal("theirs")),
        ..Default::default()
    };
    let refused = other.clone().update_allocation(update.clone()).await;
    assert_eq!(reason(refused), "ALLOCATION_NOT_FOUND");
    let delete = pb::DeleteAllocationRequest {
        id: record.id.clone(),
        ..Default::default()
    };
    let refused = other.clone().delete_allocation(delete).await;
    assert_eq!(reason(refused), "ALLOCATION_NOT_FOUND");
    let delete = pb::DeleteAllocationBySourceIdRequest {
        source_id: "S-1".into(),
        ..Default::default()
    };
    let refused = other.clone().delete_allocation_by_source_id(delete).await;
    assert_eq!(reason(refused), "ALLOCATION_NOT_FOUND");
    assert_eq!(found(&other, &[]).await, [""; 0]);
    assert_eq!(get(&acme, &record.id).await.expect("untouched"), record);
    // Source ids are per firm.
    create(&other, sourced("S-1")).await;
}

#[tokio::test]
async fn a_firm_id_may_be_a_number_or_a_string() {
    let earmark = Earmark::start().await;
    let record = create(&earmark.firm("42"), deal("D")).await;
    let mut claims = earmark.claims("somebody", &[]);
    claims["scope"] = "allocations-read".into();
    claims["firm_id"] = 42.into();
    let client = earmark.with_token(earmark.token_of(&claims)).cas;
    get(&client, &record.id).await.expect("the same firm");
}

#[tokio::test]
async fn every_rpc_requires_a_scope_and_a_firm() {
    let earmark = Earmark::start().await;
    let record = create(&earmark.firm("1"), deal("D")).await;
    let reader = earmark.of_firm("reader", "allocations-read", "1");
    get(&reader, &record.id).await.expect("may read");
    let delete = pb::DeleteAllocationRequest {
        id: record.id.clone(),
        ..Default::default()
    };
    let refused = reader.clone().delete_allocation(delete.clone()).await;
    let refused = refused.expect_err("may not write");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(
        detail(&refused, "required_scope").as_deref(),
        Some("allocations-write")
    );
    let writer = earmark.of_firm("writer", "allocations-write", "1");
    let refused = get(&writer, &record.id).await.expect_err("may not read");
    assert_eq!(
        detail(&refused, "required_scope").as_deref(),
        Some("allocations-read")
    );

    let scopes = earmark.token("allocations-read allocations-write", &[]);
    let nobodys = earmark.with_token(scopes).cas;
    let refused = get(&nobodys, &record.id).await.expect_err("no firm");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(detail(&refused, "claim").as_deref(), Some("firm_id"));
    // Arguments are checked before the claim `firm_id`.
    let refused = get(&nobodys, "no UUID").await.expect_err("no id");
    assert_eq!(refused.code(), Code::InvalidArgument);
    writer
        .clone()
        .delete_allocation(delete)
        .await
        .expect("may write");
}

#[tokio::test]
async fn an_update_by_id_or_source_id_replaces_every_writable_member() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(
        &client,
        pb::CasAllocation {
            deal_id: Some("D".into()),
            ..sourced("S-1")
        },
    )
    .await;
    let editor = earmark.of_firm("editor", "allocations-write", "1");
    let by_source_id = pb::UpdateAllocationRequest {
        allocation: Some(pb::CasAllocation {
            tranche_id: Some("T".into()),
            ..sourced("S-1")
        }),
        ..Default::default()
    };
    let answer = editor.clone().update_allocation(by_source_id).await;
    let updated = answer
        .expect("updated")
        .into_inner()
        .allocation
        .expect("set");
    assert_eq!(
        (updated.id.clone(), updated.version),
        (record.id.clone(), 2)
    );
    assert_eq!(
        (updated.deal_id.as_deref(), updated.tranche_id.as_deref()),
        (None, Some("T"))
    );
    assert_eq!(updated.created_by.as_deref(), Some("somebody"));
    assert_eq!(updated.last_modified_by.as_deref(), Some("editor"));
    assert_eq!(updated.created_date_time, record.created_date_time);
    let micros = |time: Option<Timestamp>| time.map(|time| (time.seconds, time.nanos));
    assert!(micros(updated.last_modified_date_time) > micros(record.last_modified_date_time));
    assert_eq!(get(&client, &record.id).await.expect("there"), updated);

    // In an update by id the source id is replaced like other members.
    let by_id = |said| pb::UpdateAllocationRequest {
        id: record.id.clone(),
        allocation: Some(said),
        ..Default::default()
    };
    let answer = client
        .clone()
        .update_allocation(by_id(sourced("S-2")))
        .await;
    let updated = answer
        .expect("updated")
        .into_inner()
        .allocation
        .expect("set");
    assert_eq!(
        (updated.source_id.as_deref(), updated.version),
        (Some("S-2"), 3)
    );
    create(&client, sourced("S-1")).await;
    let refused = client
        .clone()
        .update_allocation(by_id(sourced("S-1")))
        .await;
    let refused = refusal(refused).expect(Code::AlreadyExists, "SOURCE_ID_TAKEN");
    assert_eq!(refused.metadata["field"], "allocation.source_id");

    let unknown = pb::UpdateAllocationRequest {
        allocation: Some(sourced("S-3")),
        ..Default::default()
    };
    let refused = client.clone().update_allocation(unknown).await;
    assert_eq!(reason(refused), "ALLOCATION_NOT_FOUND");
}

#[tokio::test]
async fn a_deleted_record_is_not_found_and_its_source_id_is_free() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let first = create(&client, sourced("S-1")).await;
    let by_source_id = pb::DeleteAllocationBySourceIdRequest {
        source_id: "S-1".into(),
        ..Default::default()
    };
    let delete = client
        .clone()
        .delete_allocation_by_source_id(by_source_id.clone())
        .await;
    delete.expect("deleted");
    let again = client
        .clone()
        .delete_allocation_by_source_id(by_source_id)
        .await;
    assert_eq!(reason(again), "ALLOCATION_NOT_FOUND");
    assert_eq!(
        get(&client, &first.id).await.expect_err("gone").code(),
        Code::NotFound
    );

    let second = create(&client, sourced("S-1")).await;
    assert_ne!(second.id, first.id);
    let by_id = pb::DeleteAllocationRequest {
        id: second.id,
        ..Default::default()
    };
    client
        .clone()
        .delete_allocation(by_id.clone())
        .await
        .expect("deleted");
    let again = client.clone().delete_allocation(by_id).await;
    assert_eq!(reason(again), "ALLOCATION_NOT_FOUND");
}

#[tokio::test]
async fn a_replayed_create_returns_the_current_record() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let said = pb::CasAllocation {
        allocation_value: Some(cash("1.0")),
        ..sourced("S-1")
    };
    let request = |said: &pb::CasAllocation| pb::CreateAllocationRequest {
        allocation: Some(said.clone()),
        ..Default::default()
    };
    let first = create(&client, said.clone()).await;
    let same = pb::CasAllocation {
        allocation_value: Some(cash("1")),
        ..said.clone()
    };
    let answer = client
        .clone()
        .create_allocation(request(&same))
        .await
        .expect("the same");
    assert!(is_replayed(&answer));
    assert_eq!(answer.into_inner().allocation.expect("set"), first);

    let other = pb::CasAllocation {
        deal_id: Some("another".into()),
        ..said.clone()
    };
    let refused = client.clone().create_allocation(request(&other)).await;
    let refused = refused.expect_err("other content");
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(
        detail(&refused, "field").as_deref(),
        Some("allocation.source_id")
    );
    assert_eq!(reason::<()>(Err(refused)), "IDEMPOTENCY_KEY_REUSED");

    // The replay shows the record with its later changes.
    let update = pb::UpdateAllocationRequest {
        allocation: Some(other),
        ..Default::default()
    };
    client
        .clone()
        .update_allocation(update)
        .await
        .expect("updated");
    let answer = client
        .clone()
        .create_allocation(request(&said))
        .await
        .expect("the same");
    assert!(is_replayed(&answer));
    let shown = answer.into_inner().allocation.expect("set");
    assert_eq!((shown.id, shown.version), (first.id, 2));
    assert_eq!(shown.deal_id.as_deref(), Some("another"));
}
