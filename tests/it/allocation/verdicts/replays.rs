//! A verdict is its own key: what a repeat answers.

use earmark::proto::allocation::v1::{
    Allocation, AllocationStatus, AllocationType, CancelAllocationRequest,
    CancelAllocationResponse, ClearAllocationRequest, ClearAllocationResponse,
    ReleaseAllocationRequest, ReleaseAllocationResponse,
};
use earmark::proto::network::v1::ConnectionMode;
use tonic::Code;

use super::{BOTH, given_back};
use crate::support::desk::Desk;
use crate::support::earmark::{balance, refusal};
use crate::support::picture::assert_sound;
use crate::support::service::is_replayed;

/// Moves custody and connection, and back again a little.
async fn later_movements(desk: &Desk) {
    let later = desk.allocate("7", "later").await;
    desk.clear(&later.id).await;
    let later = desk.deallocate("3", "later").await;
    desk.clear(&later.id).await;
}

#[tokio::test]
async fn the_same_verdict_twice_answers_as_the_first_did_whatever_moved_since() {
    for direction in BOTH {
        let (desk, first) = Desk::with_hold(direction).await;
        let second = desk.hold(direction, "1", "second").await;
        let third = desk.hold(direction, "1", "third").await;
        let cleared = desk.clear(&first.id).await.into_inner();
        let released = desk.release(&second.id).await.into_inner();
        let cancelled = desk.cancel(&third.id).await.into_inner();
        later_movements(&desk).await;

        let again = desk.clear(&first.id).await;
        assert!(is_replayed(&again));
        assert_eq!(again.into_inner(), cleared);
        let mut repeat = desk.parties.release(&second.id);
        repeat.reason = "another reason".into();
        let again = desk.partner.clone().release_allocation(repeat).await;
        let again = again.expect("replayed");
        assert!(is_replayed(&again));
        assert_eq!(again.into_inner(), released);
        let mut repeat = desk.parties.cancel(&third.id);
        repeat.reason = None;
        let again = desk.client.clone().cancel_allocation(repeat).await;
        let again = again.expect("replayed");
        assert!(is_replayed(&again));
        assert_eq!(again.into_inner(), cancelled);
        assert_sound(&desk.earmark).await;
    }
}

/// Releases and cancels what was RELEASED by something else: both are replays of that.
async fn assert_replays_of(desk: &Desk, record: &Allocation, direction: AllocationType) {
    let (custody, connection) = given_back(direction);
    later_movements(desk).await;
    let released = desk.release(&record.id).await;
    assert!(is_replayed(&released));
    let expected = ReleaseAllocationResponse {
        allocation: Some(record.clone()),
        connection_balance: connection.clone(),
    };
    assert_eq!(released.into_inner(), expected);
    let cancelled = desk.cancel(&record.id).await;
    assert!(is_replayed(&cancelled));
    let expected = CancelAllocationResponse {
        allocation: Some(record.clone()),
        custody_balance: custody,
        connection_balance: connection,
    };
    assert_eq!(cancelled.into_inner(), expected);
    assert_eq!(&desk.get(&record.id).await, record);
    assert_sound(&desk.earmark).await;
}

#[tokio::test]
async fn releasing_what_was_cancelled_and_cancelling_what_was_released_are_replays() {
    for direction in BOTH {
        let (desk, hold) = Desk::with_hold(direction).await;
        let cancelled = desk.cancel(&hold.id).await.into_inner().allocation;
        assert_replays_of(&desk, &cancelled.expect("set"), direction).await;

        let (desk, hold) = Desk::with_hold(direction).await;
        let released = desk.release(&hold.id).await.into_inner().allocation;
        assert_replays_of(&desk, &released.expect("set"), direction).await;
    }
}

#[tokio::test]
async fn releasing_and_cancelling_what_expired_are_replays() {
    for direction in BOTH {
        let (desk, hold) = Desk::with_hold(direction).await;
        // Made due by SQL, so that its versions are those of every other hold here.
        let due = "UPDATE allocation SET expire_time = clock_timestamp() WHERE status = 'RESERVED'";
        desk.earmark
            .sql()
            .await
            .batch_execute(due)
            .await
            .expect(due);
        let expired = desk.get(&hold.id).await;
        assert_eq!(expired.status(), AllocationStatus::Released);
        assert_eq!(expired.reason.as_deref(), Some("expired"));
        assert_replays_of(&desk, &expired, direction).await;
    }
}

#[tokio::test]
async fn clearing_what_moved_at_once_is_a_replay() {
    let desk = Desk::open(ConnectionMode::Instant).await;
    for direction in BOTH {
        let moved = desk.hold(direction, "10", "moved").await;
        let (_, connection) = desk.balances().await;
        desk.allocate("1", &format!("later {direction:?}")).await;
        let cleared = desk.clear(&moved.id).await;
        assert!(is_replayed(&cleared));
        let expected = ClearAllocationResponse {
            // The partner gave no verdict, and so no id of its own.
            allocation: Some(moved.clone()),
            connection_balance: connection,
        };
        assert_eq!(cleared.into_inner(), expected);
        assert_eq!(desk.get(&moved.id).await, moved);
        assert_terminal(&desk, &moved.id, AllocationStatus::Cleared).await;
    }
    assert_sound(&desk.earmark).await;
}

/// The verdicts that contradict how a record stands are refused, with its status.
async fn assert_terminal(desk: &Desk, id: &str, status: AllocationStatus) {
    let mut refusals = Vec::new();
    if status == AllocationStatus::Cleared {
        let release = desk.parties.release(id);
        let answer = desk.partner.clone().release_allocation(release).await;
        refusals.push(refusal(answer));
        let cancel = desk.parties.cancel(id);
        let answer = desk.client.clone().cancel_allocation(cancel).await;
        refusals.push(refusal(answer));
    } else {
        let clear = desk.parties.clear(id);
        let answer = desk.partner.clone().clear_allocation(clear).await;
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
async fn the_opposite_verdict_is_refused_with_how_the_record_stands() {
    for direction in BOTH {
        let (desk, hold) = Desk::with_hold(direction).await;
        desk.clear(&hold.id).await;
        assert_terminal(&desk, &hold.id, AllocationStatus::Cleared).await;
        let second = desk.hold(direction, "1", "second").await;
        desk.release(&second.id).await;
        assert_terminal(&desk, &second.id, AllocationStatus::Released).await;
        let third = desk.hold(direction, "1", "third").await;
        desk.cancel(&third.id).await;
        assert_terminal(&desk, &third.id, AllocationStatus::Released).await;
        assert_sound(&desk.earmark).await;
    }
}

#[tokio::test]
async fn a_repeat_with_another_partner_external_id_is_refused() {
    let (desk, first) = Desk::with_hold(AllocationType::Allocation).await;
    let second = desk.allocate("1", "second").await;
    let third = desk.allocate("1", "third").await;
    desk.clear(&first.id).await;
    desk.release(&second.id).await;
    let mut clear = desk.parties.clear(&third.id);
    clear.partner_external_id = None;
    let cleared = desk.partner.clone().clear_allocation(clear).await;
    cleared.expect("cleared");
    let (some, none) = (Some("another".to_owned()), None);
    for (id, partner_external_id) in [(&first.id, &some), (&first.id, &none), (&third.id, &some)] {
        let clear = ClearAllocationRequest {
            partner_external_id: partner_external_id.clone(),
            ..desk.parties.clear(id)
        };
        let answer = desk.partner.clone().clear_allocation(clear).await;
        let refused = refusal(answer).expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
        assert_eq!(refused.metadata["field"], "partner_external_id");
        assert_eq!(refused.metadata["outcome"], "not_applied");
    }
    for partner_external_id in [some, none] {
        let release = ReleaseAllocationRequest {
            partner_external_id,
            ..desk.parties.release(&second.id)
        };
        let answer = desk.partner.clone().release_allocation(release).await;
        refusal(answer).expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    }
    // How it stands comes first.
    let mut release = desk.parties.release(&first.id);
    release.partner_external_id = Some("another".into());
    let answer = desk.partner.clone().release_allocation(release).await;
    refusal(answer).expect(Code::FailedPrecondition, "ALREADY_TERMINAL");
}

#[tokio::test]
async fn a_replayed_create_shows_the_record_as_it_stands_and_the_balances_of_its_first_answer() {
    let (desk, _) = Desk::with_hold(AllocationType::Allocation).await;
    let create = desk.parties.deallocation("BTC", "20", "d");
    let first = desk
        .client
        .clone()
        .create_deallocation(create.clone())
        .await;
    let first = first.expect("held").into_inner();
    assert_eq!(first.connection_balance, balance("40", "20", 2));
    let id = first.allocation.expect("set").id;
    let cleared = desk.clear(&id).await.into_inner().allocation;
    let again = desk
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
    let answer = desk.client.clone().create_deallocation(other).await;
    let refused = refusal(answer).expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(refused.metadata["field"], "client_external_id");
}

#[tokio::test]
async fn validating_a_repeat_answers_as_the_repeat_does() {
    let (desk, first) = Desk::with_hold(AllocationType::Allocation).await;
    let second = desk.allocate("1", "second").await;
    let cleared = desk.clear(&first.id).await.into_inner();
    let cancelled = desk.cancel(&second.id).await.into_inner();
    let clear = ClearAllocationRequest {
        validate_only: true,
        ..desk.parties.clear(&first.id)
    };
    let answer = desk.partner.clone().clear_allocation(clear).await;
    let answer = answer.expect("validated");
    assert!(is_replayed(&answer));
    assert_eq!(answer.into_inner(), cleared);
    let cancel = CancelAllocationRequest {
        validate_only: true,
        ..desk.parties.cancel(&second.id)
    };
    let answer = desk.client.clone().cancel_allocation(cancel).await;
    let answer = answer.expect("validated");
    assert!(is_replayed(&answer));
    assert_eq!(answer.into_inner(), cancelled);
    let release = ReleaseAllocationRequest {
        validate_only: true,
        ..desk.parties.release(&second.id)
    };
    let answer = desk.partner.clone().release_allocation(release).await;
    let answer = answer.expect("validated");
    assert!(is_replayed(&answer));
    assert_eq!(answer.into_inner().allocation, cancelled.allocation);
}
