//! CreateDeallocation, ClearAllocation, ReleaseAllocation, CancelAllocation: what moves, and what answers say of it.

mod refusals;
mod replays;
mod validation;

use earmark::proto::allocation::v1::{
    Allocation, AllocationStatus, AllocationType, CancelAllocationRequest, GetAllocationRequest,
    ReleaseAllocationRequest,
};
use earmark::proto::common::v1::Balance;
use earmark::proto::network::v1::{ConnectionMode, UpdateConnectionRequest};
use tonic::Code;

use crate::support::allocation_fixture::AllocationFixture;
use crate::support::earmark::{NOBODY, balance, refusal};
use crate::support::ledger_dump::assert_sound;
use crate::support::service::is_replayed;

const BOTH: [AllocationType; 2] = [AllocationType::Allocation, AllocationType::Deallocation];

/// The balances of custody and of the connection.
type Balances = (Option<Balance>, Option<Balance>);

/// After the hold of `AllocationFixture::with_hold` was cleared.
fn cleared(direction: AllocationType) -> Balances {
    match direction {
        AllocationType::Deallocation => (balance("50", "0", 4), balance("50", "0", 3)),
        _ => (balance("30", "0", 5), balance("70", "0", 2)),
    }
}

/// After the hold of `AllocationFixture::with_hold` was given back.
fn given_back(direction: AllocationType) -> Balances {
    match direction {
        AllocationType::Deallocation => (balance("40", "0", 3), balance("60", "0", 3)),
        _ => (balance("40", "0", 5), balance("60", "0", 1)),
    }
}

/// What a verdict makes of a record; `reason` is also what tells who gave it.
fn ended(hold: &Allocation, status: AllocationStatus, shown: &Allocation) -> Allocation {
    assert_ne!(shown.updated_at, hold.updated_at);
    Allocation {
        status: status.into(),
        updated_at: shown.updated_at,
        ..hold.clone()
    }
}

/// Both sides see this record, and custody and connection stand so.
async fn assert_stands(fixture: &AllocationFixture, record: &Allocation, balances: &Balances) {
    assert_eq!(&fixture.get(&record.id).await, record);
    let request = GetAllocationRequest {
        enterprise_id: fixture.parties.partner_enterprise.clone(),
        allocation_id: record.id.clone(),
    };
    let answer = fixture.partner.clone().get_allocation(request).await;
    let seen = answer.expect("the partner's too").into_inner().allocation;
    assert_eq!(seen.as_ref(), Some(record));
    assert_eq!(&fixture.balances().await, balances);
}

#[tokio::test]
async fn a_deallocation_is_held_on_the_connection_until_the_partner_acts() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let moved = fixture.allocate("60", "same key").await;
    fixture.clear(&moved.id).await;
    let mut request = fixture.parties.deallocation("BTC", "10", "same key");
    request.notes = Some("on its way back".into());
    let answer = fixture.client.clone().create_deallocation(request).await;
    let answer = answer.expect("a deallocation may have an allocation's key");
    assert!(!is_replayed(&answer));
    let answer = answer.into_inner();
    let record = answer.allocation.expect("set");
    assert_eq!(record.r#type(), AllocationType::Deallocation);
    assert_eq!(record.status(), AllocationStatus::Reserved);
    assert_eq!(record.notes.as_deref(), Some("on its way back"));
    assert_eq!(record.initiated_by, "somebody");
    assert_eq!(answer.custody_balance, balance("40", "0", 3));
    assert_eq!(answer.connection_balance, balance("50", "10", 2));
    let balances = (answer.custody_balance, answer.connection_balance);
    assert_stands(&fixture, &record, &balances).await;
}

#[tokio::test]
async fn a_deallocation_on_an_instant_connection_moves_at_once() {
    let fixture = AllocationFixture::open(ConnectionMode::Instant).await;
    fixture.allocate("60", "a").await;
    let request = fixture.parties.deallocation("BTC", "10", "d");
    let answer = fixture.client.clone().create_deallocation(request).await;
    let answer = answer.expect("moved").into_inner();
    let record = answer.allocation.expect("set");
    assert_eq!(record.status(), AllocationStatus::Cleared);
    assert_eq!(record.created_at, record.updated_at);
    assert_eq!(answer.custody_balance, balance("50", "0", 3));
    assert_eq!(answer.connection_balance, balance("50", "0", 2));
    assert_stands(
        &fixture,
        &record,
        &(balance("50", "0", 3), balance("50", "0", 2)),
    )
    .await;
}

#[tokio::test]
async fn a_deallocation_takes_no_more_than_its_connection_has_available() {
    for mode in [ConnectionMode::Confirmed, ConnectionMode::Instant] {
        let fixture = AllocationFixture::open(mode).await;
        let moved = fixture.allocate("60", "a").await;
        if mode == ConnectionMode::Confirmed {
            fixture.clear(&moved.id).await;
        }
        fixture.deallocate("20", "d-1").await;
        // Neither custody nor what is held counts.
        let request = fixture.parties.deallocation("BTC", "41", "d-2");
        let answer = fixture.client.clone().create_deallocation(request).await;
        let refused = refusal(answer).expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
        let numbers = ["available", "requested", "currency", "outcome"]
            .map(|key| refused.metadata[key].clone());
        assert_eq!(numbers, ["40", "41", "BTC", "not_applied"]);
        fixture.deallocate("40", "d-2").await;
        assert_sound(&fixture.earmark).await;
    }
}

#[tokio::test]
async fn disabled_deallocations_do_not_disable_allocations() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let moved = fixture.allocate("60", "a").await;
    fixture.clear(&moved.id).await;
    let held = fixture.deallocate("20", "d-1").await;
    let update = UpdateConnectionRequest {
        connection_id: fixture.parties.connection.clone(),
        deallocations_enabled: Some(false),
        disabled_reason: Some("under review".into()),
        ..Default::default()
    };
    let mut admin = fixture.earmark.admin().network;
    admin.update_connection(update).await.expect("disabled");
    // More than there is: the connection answers first.
    let request = fixture.parties.deallocation("BTC", "1000", "d-2");
    let status = fixture.client.clone().create_deallocation(request).await;
    let status = status.expect_err("disabled");
    assert!(status.message().contains("under review"), "{status:?}");
    let refused = refusal(Err::<(), _>(status));
    let refused = refused.expect(Code::FailedPrecondition, "CONNECTION_INACTIVE");
    assert_eq!(refused.metadata["direction"], "deallocation");
    fixture.allocate("1", "a-2").await;
    fixture.clear(&held.id).await;
}

#[tokio::test]
async fn clear_moves_the_held_value_to_its_destination() {
    for direction in BOTH {
        let (fixture, hold) = AllocationFixture::with_hold(direction).await;
        let answer = fixture.clear(&hold.id).await;
        assert!(!is_replayed(&answer));
        let answer = answer.into_inner();
        let record = answer.allocation.expect("set");
        let expected = Allocation {
            partner_external_id: Some("their own id".into()),
            ..ended(&hold, AllocationStatus::Cleared, &record)
        };
        assert_eq!(record, expected);
        let balances = cleared(direction);
        assert_eq!(answer.connection_balance, balances.1);
        assert_stands(&fixture, &record, &balances).await;
        assert_sound(&fixture.earmark).await;
    }
}

#[tokio::test]
async fn release_returns_the_held_value_to_its_origin() {
    for direction in BOTH {
        let (fixture, hold) = AllocationFixture::with_hold(direction).await;
        let answer = fixture.release(&hold.id).await;
        assert!(!is_replayed(&answer));
        let answer = answer.into_inner();
        let record = answer.allocation.expect("set");
        let expected = Allocation {
            partner_external_id: Some("their own id".into()),
            reason: Some("not wanted".into()),
            ..ended(&hold, AllocationStatus::Released, &record)
        };
        assert_eq!(record, expected);
        let balances = given_back(direction);
        assert_eq!(answer.connection_balance, balances.1);
        assert_stands(&fixture, &record, &balances).await;
        assert_sound(&fixture.earmark).await;
    }
}

#[tokio::test]
async fn cancel_returns_the_held_value_and_shows_the_custody_balance() {
    for direction in BOTH {
        let (fixture, hold) = AllocationFixture::with_hold(direction).await;
        let answer = fixture.cancel(&hold.id).await;
        assert!(!is_replayed(&answer));
        let answer = answer.into_inner();
        let record = answer.allocation.expect("set");
        let expected = Allocation {
            reason: Some("changed our mind".into()),
            ..ended(&hold, AllocationStatus::Released, &record)
        };
        assert_eq!(record, expected);
        let balances = given_back(direction);
        assert_eq!(
            (answer.custody_balance, answer.connection_balance),
            balances
        );
        assert_stands(&fixture, &record, &balances).await;
        assert_sound(&fixture.earmark).await;
    }
}

#[tokio::test]
async fn partner_external_id_and_the_reason_of_a_cancel_are_optional() {
    let (fixture, first) = AllocationFixture::with_hold(AllocationType::Allocation).await;
    let second = fixture.allocate("1", "second").await;
    let third = fixture.allocate("1", "third").await;
    let mut clear = fixture.parties.clear(&first.id);
    clear.partner_external_id = None;
    let answer = fixture.partner.clone().clear_allocation(clear).await;
    let cleared = answer.expect("cleared").into_inner().allocation;
    assert_eq!(cleared.expect("set").partner_external_id, None);
    let mut release = fixture.parties.release(&second.id);
    release.partner_external_id = None;
    let answer = fixture.partner.clone().release_allocation(release).await;
    let released = answer.expect("released").into_inner().allocation;
    assert_eq!(released.expect("set").partner_external_id, None);
    let mut cancel = fixture.parties.cancel(&third.id);
    cancel.reason = None;
    let answer = fixture.client.clone().cancel_allocation(cancel).await;
    let cancelled = answer.expect("cancelled").into_inner().allocation;
    assert_eq!(cancelled.expect("set").reason, None);
}

#[tokio::test]
async fn verdicts_are_accepted_on_disabled_connections() {
    for direction in BOTH {
        let (fixture, first) = AllocationFixture::with_hold(direction).await;
        let second = fixture.hold(direction, "1", "second").await;
        let third = fixture.hold(direction, "1", "third").await;
        fixture.disable_connection().await;
        fixture.clear(&first.id).await;
        fixture.release(&second.id).await;
        fixture.cancel(&third.id).await;
        assert_sound(&fixture.earmark).await;
    }
}

#[tokio::test]
async fn verdict_texts_above_their_limits_are_refused() {
    let (fixture, hold) = AllocationFixture::with_hold(AllocationType::Allocation).await;
    let mut clear = fixture.parties.clear(&hold.id);
    for wrong in [String::new(), "x".repeat(129), "a\0b".into()] {
        clear.partner_external_id = Some(wrong.clone());
        let answer = fixture
            .partner
            .clone()
            .clear_allocation(clear.clone())
            .await;
        refusal(answer).expect_invalid(&["partner_external_id"]);
        let release = ReleaseAllocationRequest {
            partner_external_id: Some(wrong),
            reason: String::new(),
            ..fixture.parties.release(&hold.id)
        };
        let answer = fixture.partner.clone().release_allocation(release).await;
        let refused = refusal(answer).expect_invalid(&["partner_external_id", "reason"]);
        assert_eq!(refused.metadata["violations_total"], "2");
    }
    for wrong in ["x".repeat(1_001), "a\0b".into()] {
        let release = ReleaseAllocationRequest {
            reason: wrong.clone(),
            ..fixture.parties.release(&hold.id)
        };
        let answer = fixture.partner.clone().release_allocation(release).await;
        refusal(answer).expect_invalid(&["reason"]);
        let cancel = CancelAllocationRequest {
            reason: Some(wrong),
            ..fixture.parties.cancel(&hold.id)
        };
        let answer = fixture.client.clone().cancel_allocation(cancel).await;
        refusal(answer).expect_invalid(&["reason"]);
    }
    let (reason, own_id) = ("𝄞".repeat(1_000), "𝄞".repeat(128));
    let release = ReleaseAllocationRequest {
        reason: reason.clone(),
        partner_external_id: Some(own_id.clone()),
        ..fixture.parties.release(&hold.id)
    };
    let answer = fixture.partner.clone().release_allocation(release).await;
    let record = answer.expect("released").into_inner().allocation;
    let record = record.expect("set");
    assert_eq!(record.reason, Some(reason));
    assert_eq!(record.partner_external_id, Some(own_id));
}

#[tokio::test]
async fn no_answer_to_a_partner_shows_custody() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let earmark = &fixture.earmark;
    let telling = "777000777";
    let deposit = "777000677";
    earmark
        .deposit(&fixture.parties.enterprise, "BTC", deposit)
        .await;
    let custody = fixture.balances().await.0.expect("set");
    assert_eq!(custody.available, telling);
    let mut said = Vec::new();
    let mut hear = |what: String| said.push(what);
    for (index, direction) in BOTH.into_iter().enumerate() {
        let key = |name: &str| format!("{name}-{index}");
        let first = fixture.hold(direction, "1", &key("first")).await;
        hear(format!("{:?}", fixture.clear(&first.id).await));
        hear(format!("{:?}", fixture.clear(&first.id).await));
        let release = fixture.parties.release(&first.id);
        let answer = fixture.partner.clone().release_allocation(release).await;
        hear(format!("{:?}", refusal(answer)));
        let second = fixture.hold(direction, "1", &key("second")).await;
        hear(format!("{:?}", fixture.release(&second.id).await));
        hear(format!("{:?}", fixture.release(&second.id).await));
        let mut clear = fixture.parties.clear(&second.id);
        let answer = fixture
            .partner
            .clone()
            .clear_allocation(clear.clone())
            .await;
        hear(format!("{:?}", refusal(answer)));
        clear.allocation_id = NOBODY.into();
        let answer = fixture.partner.clone().clear_allocation(clear).await;
        hear(format!("{:?}", refusal(answer)));
        fixture.allocate("2", &key("more")).await;
        let more = fixture
            .earmark
            .deposit(&fixture.parties.enterprise, "BTC", "2");
        more.await;
        if index == 0 {
            let cleared = fixture.allocate("5", "to deallocate").await;
            hear(format!("{:?}", fixture.clear(&cleared.id).await));
            let refill = fixture
                .earmark
                .deposit(&fixture.parties.enterprise, "BTC", "6");
            refill.await;
        }
    }
    for answer in said {
        let told = answer.contains("7770007") || answer.contains("custody");
        assert!(!told, "{answer}");
    }
}
