//! Who may give a verdict on what, and which refusal comes first.

use std::time::Duration;

use earmark::proto::allocation::v1::{
    Allocation, AllocationStatus, AllocationType, ClearAllocationRequest,
};
use earmark::proto::network::v1::ConnectionMode;
use tonic::Code;

use crate::support::desk::Desk;
use crate::support::earmark::{Clients, NOBODY, Parties, Refusal, refusal};
use crate::support::locks::hold_owner;

/// A call whose arguments say all there is to say of it.
struct Ask<'a> {
    clients: Clients,
    enterprise: &'a str,
    connection: &'a str,
    allocation: &'a str,
}

impl Ask<'_> {
    async fn clear(&self, desk: &Desk) -> Refusal {
        let request = ClearAllocationRequest {
            enterprise_id: self.enterprise.into(),
            connection_id: self.connection.into(),
            ..desk.parties.clear(self.allocation)
        };
        refusal(
            self.clients
                .allocation
                .clone()
                .clear_allocation(request)
                .await,
        )
    }

    async fn release(&self, desk: &Desk) -> Refusal {
        let mut request = desk.parties.release(self.allocation);
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

    async fn cancel(&self, desk: &Desk) -> Refusal {
        let mut request = desk.parties.cancel(self.allocation);
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
    async fn partners_verdicts(&self, desk: &Desk, code: Code, reason: &str) {
        let (clear, release) = (self.clear(desk).await, self.release(desk).await);
        assert_eq!(clear.metadata["outcome"], "not_applied");
        assert_eq!(clear, release);
        clear.expect(code, reason);
    }
}

/// A desk with a cleared record, and one with a released one.
async fn final_records() -> (Desk, Allocation, Allocation) {
    let (desk, first) = Desk::with_hold(AllocationType::Allocation).await;
    let second = desk.allocate("1", "second").await;
    let cleared = desk.clear(&first.id).await.into_inner().allocation;
    let released = desk.release(&second.id).await.into_inner().allocation;
    (desk, cleared.expect("set"), released.expect("set"))
}

/// Each call is still wrong in every way that comes later.
#[tokio::test]
async fn the_first_check_that_fails_answers_a_partners_verdict() {
    let (desk, cleared, released) = final_records().await;
    assert_eq!(cleared.status(), AllocationStatus::Cleared);
    let earmark = &desk.earmark;
    let bare = earmark.enterprise("Without anything").await.id;
    let unlicensed = earmark.new_enterprise("Without licence", false).await.id;
    let strangers = earmark.enterprise("Another venue").await.id;
    earmark.partner(&strangers, "Another").await;
    let everyone = [
        NOBODY,
        &bare,
        &unlicensed,
        &strangers,
        &desk.parties.partner_enterprise,
    ];
    let reader = earmark.with_token(earmark.token("settlement_network_read", &everyone));
    let ask = |clients: &Clients, enterprise, connection, allocation| {
        let clients = clients.clone();
        Ask {
            clients,
            enterprise,
            connection,
            allocation,
        }
    };
    let (member, theirs) = (earmark.member(&everyone), &desk.parties.partner_enterprise);
    let stranger = earmark.member(&[]);
    let denied = Code::PermissionDenied;
    let (unauthenticated, missing) = (Code::Unauthenticated, Code::NotFound);
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
            "NO_OES_LICENSE",
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
            ask(&member, &strangers, &desk.parties.connection, &cleared.id),
            missing,
            "CONNECTION_NOT_FOUND",
        ),
        (
            ask(&member, theirs, &desk.parties.connection, NOBODY),
            missing,
            "ALLOCATION_NOT_FOUND",
        ),
    ];
    for (ask, code, reason) in steps {
        ask.partners_verdicts(&desk, code, reason).await;
    }
    // The same ladder where the connection does exist.
    for (enterprise, code, reason) in [
        (NOBODY, missing, "ENTERPRISE_NOT_FOUND"),
        (&*unlicensed, denied, "NO_OES_LICENSE"),
        (&*bare, denied, "PARTNER_ACCESS_DENIED"),
    ] {
        let ask = ask(&member, enterprise, &desk.parties.connection, &cleared.id);
        ask.partners_verdicts(&desk, code, reason).await;
    }
    let theirs = |record| ask(&member, theirs, &desk.parties.connection, record);
    let opposite = (Code::FailedPrecondition, "ALREADY_TERMINAL");
    let (code, reason) = opposite;
    theirs(&released.id).clear(&desk).await.expect(code, reason);
    theirs(&cleared.id)
        .release(&desk)
        .await
        .expect(code, reason);
}

#[tokio::test]
async fn the_first_check_that_fails_answers_a_cancel() {
    let (desk, cleared, _) = final_records().await;
    let earmark = &desk.earmark;
    let bare = earmark.enterprise("Without anything").await.id;
    let unlicensed = earmark.new_enterprise("Without licence", false).await.id;
    let everyone = [
        NOBODY,
        &bare,
        &unlicensed,
        &desk.parties.enterprise,
        &desk.parties.partner_enterprise,
    ];
    let reader = earmark.with_token(earmark.token("settlement_network_read", &everyone));
    let (member, stranger) = (earmark.member(&everyone), earmark.member(&[]));
    let steps: [(&Clients, &str, &str, Code, &str); 8] = [
        (&reader, "x", "x", Code::PermissionDenied, "SCOPE_MISSING"),
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
        (
            &member,
            NOBODY,
            NOBODY,
            Code::NotFound,
            "ENTERPRISE_NOT_FOUND",
        ),
        (
            &member,
            &unlicensed,
            NOBODY,
            Code::PermissionDenied,
            "NO_OES_LICENSE",
        ),
        // Nor has the partner's enterprise a client.
        (
            &member,
            &desk.parties.partner_enterprise,
            &cleared.id,
            Code::NotFound,
            "CLIENT_NOT_FOUND",
        ),
        (
            &member,
            &desk.parties.enterprise,
            NOBODY,
            Code::NotFound,
            "ALLOCATION_NOT_FOUND",
        ),
        (
            &member,
            &desk.parties.enterprise,
            &cleared.id,
            Code::FailedPrecondition,
            "ALREADY_TERMINAL",
        ),
    ];
    for (clients, enterprise, allocation, code, reason) in steps {
        let ask = Ask {
            clients: clients.clone(),
            enterprise,
            connection: "",
            allocation,
        };
        let refused = ask.cancel(&desk).await.expect(code, reason);
        assert_eq!(refused.metadata["outcome"], "not_applied");
    }
}

#[tokio::test]
async fn the_clients_side_gives_no_verdict_even_where_it_is_a_partner_of_others() {
    let (desk, hold) = Desk::with_hold(AllocationType::Allocation).await;
    let own = &desk.parties.enterprise;
    let ask = Ask {
        clients: desk.earmark.member(&[own]),
        enterprise: own,
        connection: &desk.parties.connection,
        allocation: &hold.id,
    };
    let (code, reason) = (Code::PermissionDenied, "PARTNER_ACCESS_DENIED");
    ask.partners_verdicts(&desk, code, reason).await;
    desk.earmark.partner(own, "The client's own venue").await;
    ask.partners_verdicts(&desk, code, reason).await;
    assert_eq!(desk.get(&hold.id).await, hold);
}

#[tokio::test]
async fn a_verdict_must_name_the_records_own_connection() {
    let (desk, hold) = Desk::with_hold(AllocationType::Allocation).await;
    let other = desk
        .earmark
        .connection(&desk.parties, ConnectionMode::Confirmed)
        .await;
    let ask = Ask {
        clients: desk.earmark.member(&[&desk.parties.partner_enterprise]),
        enterprise: &desk.parties.partner_enterprise,
        connection: &other,
        allocation: &hold.id,
    };
    let (code, reason) = (Code::NotFound, "ALLOCATION_NOT_FOUND");
    ask.partners_verdicts(&desk, code, reason).await;
    assert_eq!(desk.get(&hold.id).await, hold);
}

#[tokio::test]
async fn another_partners_records_and_connections_are_as_unknown_as_those_that_do_not_exist() {
    let (desk, hold) = Desk::with_hold(AllocationType::Allocation).await;
    let earmark = &desk.earmark;
    let venue = earmark.enterprise("Another venue").await.id;
    let theirs = Parties {
        partner: earmark.partner(&venue, "Another").await,
        partner_enterprise: venue,
        ..desk.parties.clone()
    };
    // Connected to the same client.
    let connection = earmark.connection(&theirs, ConnectionMode::Confirmed).await;
    let clients = earmark.member(&[&theirs.partner_enterprise]);
    let missing = Code::NotFound;
    for (connection, allocation, reason) in [
        (NOBODY, &*hold.id, "CONNECTION_NOT_FOUND"),
        (&desk.parties.connection, &hold.id, "CONNECTION_NOT_FOUND"),
        (&desk.parties.connection, NOBODY, "CONNECTION_NOT_FOUND"),
        (&connection, &hold.id, "ALLOCATION_NOT_FOUND"),
        (&connection, NOBODY, "ALLOCATION_NOT_FOUND"),
    ] {
        let ask = Ask {
            clients: clients.clone(),
            enterprise: &theirs.partner_enterprise,
            connection,
            allocation,
        };
        ask.partners_verdicts(&desk, missing, reason).await;
    }
    // Nor does another client cancel it.
    let elsewhere = earmark.parties(ConnectionMode::Confirmed).await;
    let ask = Ask {
        clients: earmark.member(&[&elsewhere.enterprise]),
        enterprise: &elsewhere.enterprise,
        connection: "",
        allocation: &hold.id,
    };
    let refused = ask.cancel(&desk).await;
    refused.expect(missing, "ALLOCATION_NOT_FOUND");
    assert_eq!(desk.get(&hold.id).await, hold);
}

#[tokio::test]
async fn a_strangers_verdict_does_not_wait_for_the_clients_lock() {
    let (desk, hold) = Desk::with_hold(AllocationType::Allocation).await;
    let earmark = &desk.earmark;
    let venue = earmark.enterprise("Another venue").await.id;
    earmark.partner(&venue, "Another").await;
    let _holder = hold_owner(&earmark.url, &desk.parties.enterprise).await;
    let ask = Ask {
        clients: earmark.member(&[&venue]),
        enterprise: &venue,
        connection: &desk.parties.connection,
        allocation: &hold.id,
    };
    // How long it takes would tell that the connection exists.
    let refused = tokio::time::timeout(Duration::from_secs(4), ask.clear(&desk)).await;
    let refused = refused.expect("at once");
    refused.expect(Code::NotFound, "CONNECTION_NOT_FOUND");
}
