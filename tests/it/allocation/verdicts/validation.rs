//! `validate_only`: each verdict against the real one, made right after.

use earmark::proto::allocation::v1::{
    Allocation, AllocationType, CancelAllocationRequest, ClearAllocationRequest,
    CreateDeallocationRequest, ReleaseAllocationRequest,
};
use earmark::proto::network::v1::ConnectionMode;
use tonic::Code;

use super::BOTH;
use crate::support::allocation_fixture::AllocationFixture;
use crate::support::earmark::refusal;
use crate::support::ledger_dump::assert_sound;
use crate::support::service::is_replayed;

/// Equal but for the time of the movement, which only the real one has for good.
fn assert_alike(validated: Option<Allocation>, real: Option<Allocation>) {
    let (validated, real) = (validated.expect("set"), real.expect("set"));
    assert!(validated.updated_at.is_some());
    let timeless = |record: Allocation| Allocation {
        updated_at: None,
        ..record
    };
    assert_eq!(timeless(validated), timeless(real));
}

#[tokio::test]
async fn validate_only_answers_like_the_real_verdict_and_writes_nothing() {
    for direction in BOTH {
        let (fixture, first) = AllocationFixture::with_hold(direction).await;
        let second = fixture.hold(direction, "1", "second").await;
        let third = fixture.hold(direction, "1", "third").await;
        let stored = assert_sound(&fixture.earmark).await;
        let clear = ClearAllocationRequest {
            validate_only: true,
            ..fixture.parties.clear(&first.id)
        };
        let would_clear = fixture.partner.clone().clear_allocation(clear).await;
        let would_clear = would_clear.expect("validated");
        assert!(!is_replayed(&would_clear));
        let release = ReleaseAllocationRequest {
            validate_only: true,
            ..fixture.parties.release(&second.id)
        };
        let cancel = CancelAllocationRequest {
            validate_only: true,
            ..fixture.parties.cancel(&third.id)
        };
        // Twice: the first left nothing that the second could meet.
        for _ in 0..2 {
            let answer = fixture
                .partner
                .clone()
                .release_allocation(release.clone())
                .await;
            assert!(!is_replayed(&answer.expect("validated")));
            let answer = fixture
                .client
                .clone()
                .cancel_allocation(cancel.clone())
                .await;
            assert!(!is_replayed(&answer.expect("validated")));
        }
        let now = assert_sound(&fixture.earmark).await;
        assert_eq!(now.entries, stored.entries);
        assert_eq!(now.accounts, stored.accounts);
        assert_eq!(now.allocations, stored.allocations);

        let (would_clear, clears) = (would_clear.into_inner(), fixture.clear(&first.id).await);
        assert!(!is_replayed(&clears));
        let clears = clears.into_inner();
        assert_eq!(would_clear.connection_balance, clears.connection_balance);
        assert_alike(would_clear.allocation, clears.allocation);

        let would_release = fixture.partner.clone().release_allocation(release).await;
        let would_release = would_release.expect("validated").into_inner();
        let releases = fixture.release(&second.id).await.into_inner();
        assert_eq!(
            would_release.connection_balance,
            releases.connection_balance
        );
        assert_alike(would_release.allocation, releases.allocation);

        let would_cancel = fixture.client.clone().cancel_allocation(cancel).await;
        let would_cancel = would_cancel.expect("validated").into_inner();
        let cancels = fixture.cancel(&third.id).await.into_inner();
        assert_eq!(would_cancel.custody_balance, cancels.custody_balance);
        assert_eq!(would_cancel.connection_balance, cancels.connection_balance);
        assert_alike(would_cancel.allocation, cancels.allocation);
    }
}

#[tokio::test]
async fn validate_only_answers_like_the_real_deallocation_without_an_id() {
    for mode in [ConnectionMode::Confirmed, ConnectionMode::Instant] {
        let fixture = AllocationFixture::open(mode).await;
        let moved = fixture.allocate("60", "a").await;
        fixture.clear(&moved.id).await;
        let request = fixture.parties.deallocation("BTC", "10", "d");
        let validate = CreateDeallocationRequest {
            validate_only: true,
            ..request.clone()
        };
        let validated = fixture.client.clone().create_deallocation(validate).await;
        let validated = validated.expect("validated").into_inner();
        let real = fixture.client.clone().create_deallocation(request).await;
        let real = real.expect("created");
        assert!(!is_replayed(&real), "no key was left");
        let mut real = real.into_inner();
        if let Some(record) = &mut real.allocation {
            record.id.clear();
            (record.created_at, record.updated_at) = (None, None);
        }
        assert_eq!(validated, real);
        assert_sound(&fixture.earmark).await;
    }
}

#[tokio::test]
async fn validate_only_refuses_what_the_real_verdict_refuses() {
    let (fixture, hold) = AllocationFixture::with_hold(AllocationType::Allocation).await;
    fixture.clear(&hold.id).await;
    for validate_only in [true, false] {
        let release = ReleaseAllocationRequest {
            validate_only,
            ..fixture.parties.release(&hold.id)
        };
        let answer = fixture.partner.clone().release_allocation(release).await;
        refusal(answer).expect(Code::FailedPrecondition, "ALREADY_TERMINAL");
        let cancel = CancelAllocationRequest {
            validate_only,
            ..fixture.parties.cancel(&hold.id)
        };
        let answer = fixture.client.clone().cancel_allocation(cancel).await;
        refusal(answer).expect(Code::FailedPrecondition, "ALREADY_TERMINAL");
        let clear = ClearAllocationRequest {
            validate_only,
            partner_external_id: Some("another".into()),
            ..fixture.parties.clear(&hold.id)
        };
        let answer = fixture.partner.clone().clear_allocation(clear).await;
        refusal(answer).expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    }
}
