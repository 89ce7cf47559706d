//! A licence gates what sets value aside, and not the way back.

use earmark::proto::allocation::v1::submit_result::Outcome;
use earmark::proto::allocation::v1::{
    AllocationStatus, AllocationType, CreateAllocationRequest, ListClientAllocationsRequest,
    ListPartnerAllocationsRequest, SubmitItem,
};
use earmark::proto::common::v1::ErrorReason;
use earmark::proto::network::v1::ConnectionMode;
use tonic::Code;

use crate::support::allocation_fixture::AllocationFixture;
use crate::support::earmark::{balance, refusal};
use crate::support::ledger_dump::assert_sound;
use crate::support::service::is_replayed;

const OUT: AllocationType = AllocationType::Allocation;
const BACK: AllocationType = AllocationType::Deallocation;

impl AllocationFixture {
    async fn license(&self, client: bool, partner: bool) {
        let earmark = &self.earmark;
        earmark.license(&self.parties.enterprise, client).await;
        earmark
            .license(&self.parties.partner_enterprise, partner)
            .await;
    }

    async fn refuses_create(&self, code: Code, reason: &str) {
        for validate_only in [true, false] {
            let create = CreateAllocationRequest {
                validate_only,
                ..self.parties.allocation("BTC", "1", "new")
            };
            let answer = self.client.clone().create_allocation(create).await;
            refusal(answer).expect(code, reason);
        }
    }

    async fn refuses_clear(&self, id: &str, code: Code, reason: &str) {
        let before = self.get_as_stored(id).await;
        for validate_only in [true, false] {
            let mut clear = self.parties.clear(id);
            clear.validate_only = validate_only;
            let answer = self.partner.clone().clear_allocation(clear).await;
            refusal(answer).expect(code, reason);
        }
        assert_eq!(self.get_as_stored(id).await, before);
    }

    async fn get_as_stored(&self, id: &str) -> String {
        let sql = format!("SELECT a::text FROM allocation a WHERE id = '{id}'");
        let row = self.earmark.sql().await.query_one(&sql, &[]).await;
        row.expect("there").get(0)
    }

    async fn reasons(&self, items: Vec<SubmitItem>) -> Vec<Option<ErrorReason>> {
        let request = self.parties.submission(items);
        let answer = self.client.clone().submit_allocations(request).await;
        let results = answer.expect("served").into_inner().results;
        let reason = |outcome| match outcome {
            Some(Outcome::Error(error)) => Some(error.reason()),
            _ => None,
        };
        results
            .into_iter()
            .map(|result| reason(result.outcome))
            .collect()
    }
}

/// Seen: with a licence withdrawn on either side, everything that was set aside was trapped.
#[tokio::test]
async fn without_any_licence_all_value_comes_back_to_custody() {
    let (fixture, hold) = AllocationFixture::with_hold(OUT).await;
    let released = fixture.allocate("1", "released").await;
    let back = fixture.deallocate("20", "back").await;
    fixture.license(false, false).await;

    fixture.clear(&back.id).await;
    fixture.release(&released.id).await;
    let rest = fixture.deallocate("40", "the rest").await;
    assert_eq!(rest.status(), AllocationStatus::Reserved);
    fixture.clear(&rest.id).await;
    fixture
        .refuses_clear(&hold.id, Code::PermissionDenied, "NO_OES_LICENSE")
        .await;
    fixture.cancel(&hold.id).await;
    fixture
        .refuses_create(Code::PermissionDenied, "NO_OES_LICENSE")
        .await;

    let list = ListClientAllocationsRequest {
        enterprise_id: fixture.parties.enterprise.clone(),
        ..Default::default()
    };
    let answer = fixture.client.clone().list_client_allocations(list).await;
    refusal(answer).expect(Code::PermissionDenied, "NO_OES_LICENSE");
    let list = ListPartnerAllocationsRequest {
        enterprise_id: fixture.parties.partner_enterprise.clone(),
        ..Default::default()
    };
    let answer = fixture.partner.clone().list_partner_allocations(list).await;
    refusal(answer).expect(Code::PermissionDenied, "NO_OES_LICENSE");

    fixture.license(true, true).await;
    let (custody, connection) = fixture.balances().await;
    let custody = custody.expect("used");
    assert_eq!((&*custody.available, &*custody.held), ("100", "0"));
    let connection = connection.expect("used");
    assert_eq!((&*connection.available, &*connection.held), ("0", "0"));
    assert_sound(&fixture.earmark).await;
}

/// Seen: a client could allocate to a partner whose enterprise had no licence.
#[tokio::test]
async fn creating_an_allocation_takes_the_licences_of_both_sides() {
    for mode in [ConnectionMode::Confirmed, ConnectionMode::Instant] {
        let fixture = AllocationFixture::open(mode).await;
        fixture.license(true, false).await;
        let (code, reason) = (Code::FailedPrecondition, "PARTNER_NOT_LICENSED");
        fixture.refuses_create(code, reason).await;
        let create = fixture.parties.allocation("BTC", "1", "new");
        let answer = fixture.client.clone().create_allocation(create).await;
        let message = answer.expect_err("refused").message().to_owned();
        let named = format!("The partner of connection {}", fixture.parties.connection);
        assert!(message.starts_with(&named), "{message}");

        // Both are missing: the caller's own comes first.
        fixture.license(false, false).await;
        let (code, reason) = (Code::PermissionDenied, "NO_OES_LICENSE");
        fixture.refuses_create(code, reason).await;
        fixture.license(true, true).await;
        fixture.allocate("1", "new").await;
        // A replay takes the caller's, and not the other side's.
        fixture.license(true, false).await;
        fixture.allocate("1", "new").await;
        assert_sound(&fixture.earmark).await;
    }
}

#[tokio::test]
async fn clearing_an_allocation_takes_the_licences_of_both_sides() {
    let (fixture, hold) = AllocationFixture::with_hold(OUT).await;
    let cleared = fixture.allocate("1", "cleared").await;
    fixture.clear(&cleared.id).await;
    fixture.license(false, true).await;
    fixture
        .refuses_clear(&hold.id, Code::FailedPrecondition, "PARTNER_NOT_LICENSED")
        .await;
    // What is final, and what is not there, does not depend on the client's licence.
    assert!(is_replayed(&fixture.clear(&cleared.id).await));
    let answer = fixture.parties.release(&cleared.id);
    let answer = fixture.partner.clone().release_allocation(answer).await;
    refusal(answer).expect(Code::FailedPrecondition, "ALREADY_TERMINAL");

    fixture.license(true, false).await;
    let (code, reason) = (Code::PermissionDenied, "NO_OES_LICENSE");
    fixture.refuses_clear(&hold.id, code, reason).await;
    fixture.refuses_clear(&cleared.id, code, reason).await;
    let unknown = fixture.parties.clear(crate::support::earmark::NOBODY);
    let answer = fixture.partner.clone().clear_allocation(unknown).await;
    refusal(answer).expect(Code::NotFound, "ALLOCATION_NOT_FOUND");
    fixture.license(true, true).await;
    fixture.clear(&hold.id).await;
    let (_, connection) = fixture.balances().await;
    assert_eq!(connection, balance("71", "0", 3));
    assert_sound(&fixture.earmark).await;
}

#[tokio::test]
async fn items_of_a_submission_are_judged_by_their_direction() {
    let fixture = AllocationFixture::open(ConnectionMode::Instant).await;
    fixture.allocate("50", "moved").await;
    let items = |key: &str| {
        [OUT, BACK, OUT, BACK]
            .iter()
            .enumerate()
            .map(|(number, kind)| fixture.parties.item(*kind, "1", &format!("{key} {number}")))
            .collect::<Vec<_>>()
    };
    for (client, partner, expected) in [
        (true, true, None),
        (false, true, Some(ErrorReason::NoOesLicense)),
        (true, false, Some(ErrorReason::PartnerNotLicensed)),
        (false, false, Some(ErrorReason::NoOesLicense)),
    ] {
        fixture.license(client, partner).await;
        let reasons = fixture.reasons(items(&format!("{client} {partner}"))).await;
        assert_eq!(reasons, [expected, None, expected, None]);
    }
    assert_sound(&fixture.earmark).await;
}
