//! Which verdicts are refused, and the order of the checks.

use std::time::Duration;

use earmark::proto::allocation::v1::{
    Allocation, AllocationStatus, AllocationType, ClearAllocationRequest,
};
use earmark::proto::network::v1::ConnectionMode;
use tonic::Code;

use crate::support::allocation_fixture::AllocationFixture;
use crate::support::earmark::{Clients, NOBODY, Parties, Refusal, refusal};
use crate::support::locks::hold_owner;

/// A verdict by its caller and arguments.
struct Ask<'a> {
    clients: Clients,
    enterprise: &'a str,
    connection: &'a str,
    allocation: &'a str,
}

fn ask<'a>(
    clients: &Clients,
    enterprise: &'a str,
    connection: &'a str,
    allocation: &'a str,
) -> Ask<'a> {
    let clients = clients.clone();
    Ask {
        clients,
        enterprise,
        connection,
        allocation,
    }
}

impl Ask<'_> {
    async fn clear(&self, fixture: &AllocationFixture) -> Refusal {
        let request = ClearAllocationRequest {
            enterprise_id: self.enterprise.into(),
            connection_id: self.connection.into(),
            ..fixture.parties.clear(self.allocation)
        };
        refusal(
            self.clients
                .allocation
                .clone()
                .clear_allocation(request)
                .await,
        )
    }

    async fn release(&self, fixture: &AllocationFixture) -> Refusal {
        let mut request = fixture.parties.release(self.allocation);
        request.enterprise_id = self.enterprise.into();
        request.connection_id = self.connection.into();
        refusal(
            self.clients
                .allocation
                .clone()
                .release_allocation(request)
                .await,
        )
    }

    async fn cancel(&self, fixture: &AllocationFixture) -> Refusal {
        let mut request = fixture.parties.cancel(self.allocation);
        request.enterprise_id = self.enterprise.into();
        refusal(
            self.clients
                .allocation
                .clone()
                .cancel_allocation(request)
                .await,
        )
    }

    /// Both verdicts of a partner are refused alike.
    async fn partners_verdicts(&self, fixture: &AllocationFixture, code: Code, reason: &str) {
        let (clear, release) = (self.clear(fixture).await, self.release(fixture).await);
        assert_eq!(clear.metadata["outcome"], "not_applied");
        assert_eq!(clear, release);
        clear.expect(code, reason);
    }
}

/// A fixture with a cleared and a released record.
async fn final_records() -> (AllocationFixture, Allocation, Allocation) {
    let (fixture, first) = AllocationFixture::with_hold(AllocationType::Allocation).await;
    let second = fixture.allocate("1", "second").await;
    let cleared = fixture.clear(&first.id).await.into_inner().allocation;
    let released = fixture.release(&second.id).await.into_inner().allocation;
    (fixture, cleared.expect("set"), released.expect("set"))
}

async fn final_records_refuse_the_opposite(
    fixture: &AllocationFixture,
    member: &Clients,
    cleared: &Allocation,
    released: &Allocation,
) {
    let Parties {
        partner_enterprise,
        connection,
        ..
    } = &fixture.parties;
    let (code, reason) = (Code::FailedPrecondition, "ALREADY_TERMINAL");
    let clear = ask(member, partner_enterprise, connection, &released.id);
    clear.clear(fixture).await.expect(code, reason);
    let release = ask(member, partner_enterprise, connection, &cleared.id);
    release.release(fixture).await.expect(code, reason);
}

/// Each call is still wrong in every way that comes later.
#[tokio::test]
async fn checks_of_a_partners_verdict_run_in_the_documented_order() {
    let (fixture, cleared, released) = final_records().await;
    assert_eq!(cleared.status(), AllocationStatus::Cleared);
    let earmark = &fixture.earmark;
    let bare = earmark.enterprise("Without anything").await.id;
    let unlicensed = earmark.new_enterprise("Without licence", false).await.id;
    let strangers = earmark.enterprise("Another venue").await.id;
    earmark.partner(&strangers, "Another").await;
    let theirs = fixture.parties.partner_enterprise.as_str();
    let everyone = [NOBODY, &bare, &unlicensed, &strangers, theirs];
    let reader = earmark.with_token(earmark.token("settlement_network_read", &everyone));
    let (member, stranger) = (earmark.member(&everyone), earmark.member(&[]));
    let denied = Code::PermissionDenied;
    let (unauthenticated, missing) = (Code::Unauthenticated, Code::NotFound);
    let connection = fixture.parties.connection.as_str();
    let steps = [
        (ask(&reader, "x", "x", "x"), denied, "SCOPE_MISSING"),
        (
            ask(&stranger, NOBODY, "x", "x"),
            Code::InvalidArgument,
            "INVALID_REQUEST",
        ),
        (
            ask(&stranger, NOBODY, NOBODY, NOBODY),
            unauthenticated,
            "NOT_A_MEMBER",
        ),
        (
            ask(&member, NOBODY, NOBODY, NOBODY),
            missing,
            "ENTERPRISE_NOT_FOUND",
        ),
        (
            ask(&member, &unlicensed, NOBODY, NOBODY),
            denied,
            "PARTNER_ACCESS_DENIED",
        ),
        (
            ask(&member, &bare, NOBODY, NOBODY),
            denied,
            "PARTNER_ACCESS_DENIED",
        ),
        (
            ask(&member, theirs, NOBODY, NOBODY),
            missing,
            "CONNECTION_NOT_FOUND",
        ),
        (
            ask(&member, &strangers, connection, &cleared.id),
            missing,
            "CONNECTION_NOT_FOUND",
        ),
        (
            ask(&member, theirs, connection, NOBODY),
            missing,
            "ALLOCATION_NOT_FOUND",
        ),
    ];
    for (ask, code, reason) in steps {
        ask.partners_verdicts(&fixture, code, reason).await;
    }
    // In the same order where the connection does exist.
    for (enterprise, code, reason) in [
        (NOBODY, missing, "ENTERPRISE_NOT_FOUND"),
        (&*unlicensed, denied, "PARTNER_ACCESS_DENIED"),
        (&*bare, denied, "PARTNER_ACCESS_DENIED"),
    ] {
        let ask = ask(&member, enterprise, connection, &cleared.id);
        ask.partners_verdicts(&fixture, code, reason).await;
    }
    final_records_refuse_the_opposite(&fixture, &member, &cleared, &released).await;
}

#[tokio::test]
async fn checks_of_a_cancel_run_in_the_documented_order() {
    let (fixture, cleared, _) = final_records().await;
    let earmark = &fixture.earmark;
    let bare = earmark.enterprise("Without anything").await.id;
    let unlicensed = earmark.new_enterprise("Without licence", false).await.id;
    let everyone = [
        NOBODY,
        &bare,
        &unlicensed,
        &fixture.parties.enterprise,
        &fixture.parties.partner_enterprise,
    ];
    let reader = earmark.with_token(earmark.token("settlement_network_read", &everyone));
    let (member, stranger) = (earmark.member(&everyone), earmark.member(&[]));
    let (denied, missing) = (Code::PermissionDenied, Code::NotFound);
    let steps: [(&Clients, &str, &str, Code, &str); 8] = [
        (&reader, "x", "x", denied, "SCOPE_MISSING"),
        (
            &stranger,
            NOBODY,
            "x",
            Code::InvalidArgument,
            "INVALID_REQUEST",
        ),
        (
            &stranger,
            NOBODY,
            NOBODY,
            Code::Unauthenticated,
            "NOT_A_MEMBER",
        ),
        (&member, NOBODY, NOBODY, missing, "ENTERPRISE_NOT_FOUND"),
        (&member, &unlicensed, NOBODY, missing, "CLIENT_NOT_FOUND"),
        // Nor has the partner's enterprise a client.
        (
            &member,
            &fixture.parties.partner_enterprise,
            &cleared.id,
            missing,
            "CLIENT_NOT_FOUND",
        ),
        (
            &member,
            &fixture.parties.enterprise,
            NOBODY,
            missing,
            "ALLOCATION_NOT_FOUND",
        ),
        (
            &member,
            &fixture.parties.enterprise,
            &cleared.id,
            Code::FailedPrecondition,
            "ALREADY_TERMINAL",
        ),
    ];
    for (clients, enterprise, allocation, code, reason) in steps {
        let ask = ask(clients, enterprise, "", allocation);
        let refused = ask.cancel(&fixture).await.expect(code, reason);
        assert_eq!(refused.metadata["outcome"], "not_applied");
    }
}

#[tokio::test]
async fn a_client_cannot_clear_or_release_its_own_record() {
    let (fixture, hold) = AllocationFixture::with_hold(AllocationType::Allocation).await;
    let own = &fixture.parties.enterprise;
    let ask = Ask {
        clients: fixture.earmark.member(&[own]),
        enterprise: own,
        connection: &fixture.parties.connection,
        allocation: &hold.id,
    };
    let (code, reason) = (Code::PermissionDenied, "PARTNER_ACCESS_DENIED");
    ask.partners_verdicts(&fixture, code, reason).await;
    fixture.earmark.partner(own, "The client's own venue").await;
    ask.partners_verdicts(&fixture, code, reason).await;
    assert_eq!(fixture.get(&hold.id).await, hold);
}

#[tokio::test]
async fn a_verdict_with_another_connection_than_the_records_is_refused() {
    let (fixture, hold) = AllocationFixture::with_hold(AllocationType::Allocation).await;
    let other = fixture
        .earmark
        .connection(&fixture.parties, ConnectionMode::Confirmed)
        .await;
    let ask = Ask {
        clients: fixture
            .earmark
            .member(&[&fixture.parties.partner_enterprise]),
        enterprise: &fixture.parties.partner_enterprise,
        connection: &other,
        allocation: &hold.id,
    };
    let (code, reason) = (Code::NotFound, "ALLOCATION_NOT_FOUND");
    ask.partners_verdicts(&fixture, code, reason).await;
    let named = format!("but on {}: name that one", hold.connection_id);
    let refused = ask.clear(&fixture).await;
    assert!(refused.message.contains(&named), "{refused:?}");
    let cancelled = ask.cancel(&fixture).await;
    let cancelled = cancelled.expect(Code::NotFound, "CLIENT_NOT_FOUND");
    let way = "Calls of a partner's side: ReleaseAllocation";
    assert!(cancelled.message.contains(way), "{cancelled:?}");
    assert_eq!(fixture.get(&hold.id).await, hold);
}

#[tokio::test]
async fn another_partners_records_and_connections_are_refused_like_unknown_ones() {
    let (fixture, hold) = AllocationFixture::with_hold(AllocationType::Allocation).await;
    let earmark = &fixture.earmark;
    let venue = earmark.enterprise("Another venue").await.id;
    let theirs = Parties {
        partner: earmark.partner(&venue, "Another").await,
        partner_enterprise: venue,
        ..fixture.parties.clone()
    };
    // Connected to the same client.
    let connection = earmark.connection(&theirs, ConnectionMode::Confirmed).await;
    let clients = earmark.member(&[&theirs.partner_enterprise]);
    let missing = Code::NotFound;
    for (connection, allocation, reason) in [
        (NOBODY, &*hold.id, "CONNECTION_NOT_FOUND"),
        (
            &fixture.parties.connection,
            &hold.id,
            "CONNECTION_NOT_FOUND",
        ),
        (&fixture.parties.connection, NOBODY, "CONNECTION_NOT_FOUND"),
        (&connection, &hold.id, "ALLOCATION_NOT_FOUND"),
        (&connection, NOBODY, "ALLOCATION_NOT_FOUND"),
    ] {
        let ask = Ask {
            clients: clients.clone(),
            enterprise: &theirs.partner_enterprise,
            connection,
            allocation,
        };
        ask.partners_verdicts(&fixture, missing, reason).await;
    }
    // Nor does another client cancel it.
    let elsewhere = earmark.parties(ConnectionMode::Confirmed).await;
    let ask = Ask {
        clients: earmark.member(&[&elsewhere.enterprise]),
        enterprise: &elsewhere.enterprise,
        connection: "",
        allocation: &hold.id,
    };
    let refused = ask.cancel(&fixture).await;
    refused.expect(missing, "ALLOCATION_NOT_FOUND");
    assert_eq!(fixture.get(&hold.id).await, hold);
}

#[tokio::test]
async fn a_verdict_of_another_partner_is_refused_without_waiting_for_the_owners_lock() {
    let (fixture, hold) = AllocationFixture::with_hold(AllocationType::Allocation).await;
    let earmark = &fixture.earmark;
    let venue = earmark.enterprise("Another venue").await.id;
    earmark.partner(&venue, "Another").await;
    let _holder = hold_owner(&earmark.url, &fixture.parties.enterprise).await;
    let ask = Ask {
        clients: earmark.member(&[&venue]),
        enterprise: &venue,
        connection: &fixture.parties.connection,
        allocation: &hold.id,
    };
    // How long it takes would tell that the connection exists.
    let refused = tokio::time::timeout(Duration::from_secs(4), ask.clear(&fixture)).await;
    let refused = refused.expect("at once");
    refused.expect(Code::NotFound, "CONNECTION_NOT_FOUND");
}
