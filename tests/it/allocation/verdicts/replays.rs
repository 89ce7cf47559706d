//! A verdict is its own key: what a repeat answers.

use earmark::proto::allocation::v1::{
    Allocation, AllocationStatus, AllocationType, CancelAllocationRequest,
    CancelAllocationResponse, ClearAllocationRequest, ClearAllocationResponse,
    ReleaseAllocationRequest, ReleaseAllocationResponse,
};
use earmark::proto::network::v1::ConnectionMode;
use tonic::Code;

use super::{BOTH, given_back};
use crate::support::allocation_fixture::AllocationFixture;
use crate::support::earmark::{balance, refusal};
use crate::support::ledger_dump::assert_sound;
use crate::support::service::is_replayed;

/// Moves custody and connection, and back again a little.
async fn later_movements(fixture: &AllocationFixture) {
    let later = fixture.allocate("7", "later").await;
    fixture.clear(&later.id).await;
    let later = fixture.deallocate("3", "later").await;
    fixture.clear(&later.id).await;
}

#[tokio::test]
async fn a_repeated_verdict_returns_the_first_answers_balances() {
    for direction in BOTH {
        let (fixture, first) = AllocationFixture::with_hold(direction).await;
        let second = fixture.hold(direction, "1", "second").await;
        let third = fixture.hold(direction, "1", "third").await;
        let cleared = fixture.clear(&first.id).await.into_inner();
        let released = fixture.release(&second.id).await.into_inner();
        let cancelled = fixture.cancel(&third.id).await.into_inner();
        later_movements(&fixture).await;

        let again = fixture.clear(&first.id).await;
        assert!(is_replayed(&again));
        assert_eq!(again.into_inner(), cleared);
        let mut repeat = fixture.parties.release(&second.id);
        repeat.reason = "another reason".into();
        let again = fixture.partner.clone().release_allocation(repeat).await;
        let again = again.expect("replayed");
        assert!(is_replayed(&again));
        assert_eq!(again.into_inner(), released);
        let mut repeat = fixture.parties.cancel(&third.id);
        repeat.reason = None;
        let again = fixture.client.clone().cancel_allocation(repeat).await;
        let again = again.expect("replayed");
        assert!(is_replayed(&again));
        assert_eq!(again.into_inner(), cancelled);
        assert_sound(&fixture.earmark).await;
    }
}

/// Releases and cancels what was RELEASED by something else: both are replays of that.
async fn assert_replays_of(
    fixture: &AllocationFixture,
    record: &Allocation,
    direction: AllocationType,
) {
    let (custody, connection) = given_back(direction);
    later_movements(fixture).await;
    let released = fixture.release(&record.id).await;
    assert!(is_replayed(&released));
    let expected = ReleaseAllocationResponse {
        allocation: Some(record.clone()),
        connection_balance: connection.clone(),
    };
    assert_eq!(released.into_inner(), expected);
    let cancelled = fixture.cancel(&record.id).await;
    assert!(is_replayed(&cancelled));
    let expected = CancelAllocationResponse {
        allocation: Some(record.clone()),
        custody_balance: custody,
        connection_balance: connection,
    };
    assert_eq!(cancelled.into_inner(), expected);
    assert_eq!(&fixture.get(&record.id).await, record);
    assert_sound(&fixture.earmark).await;
}

#[tokio::test]
async fn release_after_cancel_and_cancel_after_release_are_replays() {
    for direction in BOTH {
        let (fixture, hold) = AllocationFixture::with_hold(direction).await;
        let cancelled = fixture.cancel(&hold.id).await.into_inner().allocation;
        assert_replays_of(&fixture, &cancelled.expect("set"), direction).await;

        let (fixture, hold) = AllocationFixture::with_hold(direction).await;
        let released = fixture.release(&hold.id).await.into_inner().allocation;
        assert_replays_of(&fixture, &released.expect("set"), direction).await;
    }
}

#[tokio::test]
async fn release_and_cancel_after_expiry_are_replays() {
    for direction in BOTH {
        let (fixture, hold) = AllocationFixture::with_hold(direction).await;
        // Made due by SQL, so that its versions are those of every other hold here.
        let due =
            "UPDATE open_allocation SET expire_time = clock_timestamp() WHERE status = 'RESERVED'";
        fixture
            .earmark
            .sql()
            .await
            .batch_execute(due)
            .await
            .expect(due);
        let expired = fixture.get(&hold.id).await;
        assert_eq!(expired.status(), AllocationStatus::Released);
        assert_eq!(expired.reason.as_deref(), Some("expired"));
        assert_replays_of(&fixture, &expired, direction).await;
    }
}

#[tokio::test]
async fn clear_of_an_instant_allocation_is_a_replay() {
    let fixture = AllocationFixture::open(ConnectionMode::Instant).await;
    for direction in BOTH {
        let moved = fixture.hold(direction, "10", "moved").await;
        let (_, connection) = fixture.balances().await;
        fixture.allocate("1", &format!("later {direction:?}")).await;
        let cleared = fixture.clear(&moved.id).await;
        assert!(is_replayed(&cleared));
        let expected = ClearAllocationResponse {
            // The partner gave no verdict, and so no id of its own.
            allocation: Some(moved.clone()),
            connection_balance: connection,
        };
        assert_eq!(cleared.into_inner(), expected);
        assert_eq!(fixture.get(&moved.id).await, moved);
        assert_terminal(&fixture, &moved.id, AllocationStatus::Cleared).await;
    }
    assert_sound(&fixture.earmark).await;
}

/// The verdicts that contradict how a record stands are refused, with its status.
async fn assert_terminal(fixture: &AllocationFixture, id: &str, status: AllocationStatus) {
    let mut refusals = Vec::new();
    if status == AllocationStatus::Cleared {
        let release = fixture.parties.release(id);
        let answer = fixture.partner.clone().release_allocation(release).await;
        refusals.push(refusal(answer));
        let cancel = fixture.parties.cancel(id);
        let answer = fixture.client.clone().cancel_allocation(cancel).await;
        refusals.push(refusal(answer));
    } else {
        let clear = fixture.parties.clear(id);
        let answer = fixture.partner.clone().clear_allocation(clear).await;
        refusals.push(refusal(answer));
    }
    for refused in refusals {
        let refused = refused.expect(Code::FailedPrecondition, "ALREADY_TERMINAL");
        let name = status.as_str_name().replace("ALLOCATION_STATUS_", "");
        assert_eq!(refused.metadata["status"], name);
        assert_eq!(refused.metadata["outcome"], "not_applied");
    }
}

#[tokio::test]
async fn the_opposite_verdict_is_refused_with_the_records_status() {
    for direction in BOTH {
        let (fixture, hold) = AllocationFixture::with_hold(direction).await;
        fixture.clear(&hold.id).await;
        assert_terminal(&fixture, &hold.id, AllocationStatus::Cleared).await;
        let second = fixture.hold(direction, "1", "second").await;
        fixture.release(&second.id).await;
        assert_terminal(&fixture, &second.id, AllocationStatus::Released).await;
        let third = fixture.hold(direction, "1", "third").await;
        fixture.cancel(&third.id).await;
        assert_terminal(&fixture, &third.id, AllocationStatus::Released).await;
        assert_sound(&fixture.earmark).await;
    }
}

#[tokio::test]
async fn a_repeated_verdict_with_another_partner_external_id_is_refused() {
    let (fixture, first) = AllocationFixture::with_hold(AllocationType::Allocation).await;
    let second = fixture.allocate("1", "second").await;
    let third = fixture.allocate("1", "third").await;
    fixture.clear(&first.id).await;
    fixture.release(&second.id).await;
    let mut clear = fixture.parties.clear(&third.id);
    clear.partner_external_id = None;
    let cleared = fixture.partner.clone().clear_allocation(clear).await;
    cleared.expect("cleared");
    let some = Some("another".to_owned());
    let clear = ClearAllocationRequest {
        partner_external_id: some.clone(),
        ..fixture.parties.clear(&first.id)
    };
    let answer = fixture.partner.clone().clear_allocation(clear).await;
    let refused = refusal(answer).expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(refused.metadata["field"], "partner_external_id");
    assert_eq!(refused.metadata["id"], first.id);
    assert_eq!(refused.metadata["outcome"], "not_applied");
    let release = ReleaseAllocationRequest {
        partner_external_id: some,
        ..fixture.parties.release(&second.id)
    };
    let answer = fixture.partner.clone().release_allocation(release).await;
    let refused = refusal(answer).expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(refused.metadata["id"], second.id);
    // How it stands comes first.
    let mut release = fixture.parties.release(&first.id);
    release.partner_external_id = Some("another".into());
    let answer = fixture.partner.clone().release_allocation(release).await;
    refusal(answer).expect(Code::FailedPrecondition, "ALREADY_TERMINAL");
}

#[tokio::test]
async fn a_repeated_verdict_may_leave_out_the_partners_id_and_adds_none() {
    let (fixture, first) = AllocationFixture::with_hold(AllocationType::Allocation).await;
    let second = fixture.allocate("1", "second").await;
    let third = fixture.allocate("1", "third").await;
    let cleared = fixture.clear(&first.id).await.into_inner();
    let mut clear = fixture.parties.clear(&first.id);
    clear.partner_external_id = None;
    let again = fixture.partner.clone().clear_allocation(clear).await;
    let again = again.expect("replayed");
    assert!(is_replayed(&again));
    assert_eq!(again.into_inner(), cleared);

    // Nothing is stored, and a final record never changes.
    let mut release = fixture.parties.release(&second.id);
    release.partner_external_id = None;
    let released = fixture.partner.clone().release_allocation(release).await;
    let released = released.expect("released").into_inner();
    let again = fixture.release(&second.id).await;
    assert!(is_replayed(&again));
    assert_eq!(again.into_inner(), released);
    assert_eq!(fixture.get(&second.id).await.partner_external_id, None);

    // Nor has a verdict any that was the client's.
    let cancelled = fixture.cancel(&third.id).await.into_inner().allocation;
    let again = fixture.release(&third.id).await;
    assert!(is_replayed(&again));
    assert_eq!(again.into_inner().allocation, cancelled);
}

#[tokio::test]
async fn a_replayed_create_shows_the_closed_record_and_the_balances_of_its_first_answer() {
    let (fixture, _) = AllocationFixture::with_hold(AllocationType::Allocation).await;
    let create = fixture.parties.deallocation("BTC", "20", "d");
    let first = fixture
        .client
        .clone()
        .create_deallocation(create.clone())
        .await;
    let first = first.expect("held").into_inner();
    assert_eq!(first.connection_balance, balance("40", "20", 2));
    let id = first.allocation.expect("set").id;
    let cleared = fixture.clear(&id).await.into_inner().allocation;
    let again = fixture
        .client
        .clone()
        .create_deallocation(create.clone())
        .await;
    let again = again.expect("replayed");
    assert!(is_replayed(&again));
    let again = again.into_inner();
    assert_eq!(again.allocation, cleared);
    assert_eq!(again.custody_balance, first.custody_balance);
    assert_eq!(again.connection_balance, first.connection_balance);

    let mut other = create;
    other.notes = Some("other content".into());
    let answer = fixture.client.clone().create_deallocation(other).await;
    let refused = refusal(answer).expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(refused.metadata["field"], "client_external_id");
}

#[tokio::test]
async fn validate_only_of_a_repeated_verdict_answers_like_the_replay() {
    let (fixture, first) = AllocationFixture::with_hold(AllocationType::Allocation).await;
    let second = fixture.allocate("1", "second").await;
    let cleared = fixture.clear(&first.id).await.into_inner();
    let cancelled = fixture.cancel(&second.id).await.into_inner();
    let clear = ClearAllocationRequest {
        validate_only: true,
        ..fixture.parties.clear(&first.id)
    };
    let answer = fixture.partner.clone().clear_allocation(clear).await;
    let answer = answer.expect("validated");
    assert!(is_replayed(&answer));
    assert_eq!(answer.into_inner(), cleared);
    let cancel = CancelAllocationRequest {
        validate_only: true,
        ..fixture.parties.cancel(&second.id)
    };
    let answer = fixture.client.clone().cancel_allocation(cancel).await;
    let answer = answer.expect("validated");
    assert!(is_replayed(&answer));
    assert_eq!(answer.into_inner(), cancelled);
    let release = ReleaseAllocationRequest {
        validate_only: true,
        ..fixture.parties.release(&second.id)
    };
    let answer = fixture.partner.clone().release_allocation(release).await;
    let answer = answer.expect("validated");
    assert!(is_replayed(&answer));
    assert_eq!(answer.into_inner().allocation, cancelled.allocation);
}
