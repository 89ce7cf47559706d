//! Writes whose record, key or first answer is archived: they are refused, and change nothing.

use earmark::proto::allocation::v1::submit_result::Outcome;
use earmark::proto::allocation::v1::{
    AllocationType, CreateAllocationRequest, GetAllocationRequest, SubmitAllocationsRequest,
};
use earmark::proto::balance::v1::{AdjustBalanceRequest, AdjustBalanceResponse};
use earmark::proto::network::v1::ConnectionMode;
use earmark::types::ids::ordered_id;
use earmark::types::time::Time;
use tonic::{Code, Response, Status};
use uuid::Uuid;

use crate::support::allocation_fixture::AllocationFixture;
use crate::support::archive::archive;
use crate::support::earmark::{Refusal, refusal};

/// Code and reason, and the metadata that name the record and the boundary.
#[track_caller]
fn expect_archived(refused: Refusal, id: &str, since: Time) {
    let refused = refused.expect(Code::FailedPrecondition, "ARCHIVED");
    assert_eq!(refused.metadata["id"], id, "{refused:?}");
    assert_eq!(refused.metadata["since"], since.to_string(), "{refused:?}");
    assert_eq!(refused.metadata["outcome"], "not_applied", "{refused:?}");
}

/// All that a write could change.
async fn written(fixture: &AllocationFixture) -> String {
    let rows = "SELECT concat_ws(' ',
        (SELECT json_agg(t ORDER BY t.owner_id, t.account_id, t.unit) FROM account t),
        (SELECT count(*) FROM entry), (SELECT count(*) FROM allocation), (SELECT count(*) FROM adjustment),
        (SELECT count(*) FROM allocation_key))";
    let sql = fixture.earmark.sql().await;
    sql.query_one(rows, &[]).await.expect(rows).get(0)
}

impl AllocationFixture {
    async fn created_again(&self, quantity: &str, key: &str, validate_only: bool) -> Refusal {
        let request = CreateAllocationRequest {
            validate_only,
            ..self.parties.allocation("BTC", quantity, key)
        };
        refusal(self.client.clone().create_allocation(request).await)
    }

    /// What each verdict on a record answers.
    async fn verdicts(&self, id: &str) -> [Refusal; 3] {
        let (mut client, mut partner) = (self.client.clone(), self.partner.clone());
        [
            refusal(partner.clear_allocation(self.parties.clear(id)).await),
            refusal(partner.release_allocation(self.parties.release(id)).await),
            refusal(client.cancel_allocation(self.parties.cancel(id)).await),
        ]
    }
}

#[tokio::test]
async fn a_key_whose_record_is_archived_never_acts_again() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let cleared = fixture.allocate("10", "cleared").await;
    fixture.clear(&cleared.id).await;
    let since = archive(&fixture.earmark).await;

    let before = written(&fixture).await;
    for (quantity, validate_only) in [("10", false), ("10", true), ("11", false)] {
        let refused = fixture.created_again(quantity, "cleared", validate_only);
        expect_archived(refused.await, &cleared.id, since);
    }
    assert_eq!(written(&fixture).await, before);
    // The keys of the other direction, and of other enterprises, are others.
    fixture.deallocate("1", "cleared").await;
    let parties = fixture.earmark.parties(ConnectionMode::Confirmed).await;
    fixture
        .earmark
        .deposit(&parties.enterprise, "BTC", "9")
        .await;
    let mut other = fixture.earmark.member(&[&parties.enterprise]).allocation;
    let request = parties.allocation("BTC", "9", "cleared");
    other.create_allocation(request).await.expect("created");
}

#[tokio::test]
async fn only_the_item_whose_record_is_archived_is_refused() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let released = fixture.allocate("10", "released").await;
    fixture.release(&released.id).await;
    fixture.allocate("7", "open").await;
    let since = archive(&fixture.earmark).await;

    let item = |quantity, key| {
        fixture
            .parties
            .item(AllocationType::Allocation, quantity, key)
    };
    let items = vec![item("10", "released"), item("7", "open"), item("3", "new")];
    for validate_only in [true, false] {
        let request = SubmitAllocationsRequest {
            validate_only,
            ..fixture.parties.submission(items.clone())
        };
        let answer = fixture.client.clone().submit_allocations(request).await;
        let results = answer.expect("judged").into_inner().results;
        let [archived, open, new] = results.as_slice() else {
            panic!("{results:?}");
        };
        let Some(Outcome::Error(error)) = &archived.outcome else {
            panic!("{archived:?}");
        };
        assert_eq!(error.code, i32::from(Code::FailedPrecondition));
        assert_eq!(error.metadata["since"], since.to_string(), "{error:?}");
        assert_eq!(error.metadata["id"], released.id, "{error:?}");
        // The record is on line, whatever became of its first entry.
        assert!(open.replayed, "{open:?}");
        assert!(
            matches!(new.outcome, Some(Outcome::Allocation(_))),
            "{new:?}"
        );
    }
}

#[tokio::test]
async fn a_verdict_on_an_archived_record_is_refused_by_its_id_alone() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let cleared = fixture.allocate("10", "cleared").await;
    fixture.clear(&cleared.id).await;
    // Of another client and partner, and still open.
    let theirs = AllocationFixture::on_same(&fixture).await;
    let since = archive(&fixture.earmark).await;

    let before = written(&fixture).await;
    let never = |time: Time| ordered_id(time, [1; 8]).to_string();
    for id in [&cleared.id, &theirs, &never(since.previous())] {
        for refused in fixture.verdicts(id).await {
            expect_archived(refused, id, since);
        }
    }
    for id in [
        never(since),
        Uuid::new_v4().to_string(),
        Uuid::nil().to_string(),
    ] {
        for refused in fixture.verdicts(&id).await {
            refused.expect(Code::NotFound, "ALLOCATION_NOT_FOUND");
        }
    }
    assert_eq!(written(&fixture).await, before);
}

impl AllocationFixture {
    /// The id of an open allocation of other parties on the same server.
    async fn on_same(&self) -> String {
        let parties = self.earmark.parties(ConnectionMode::Confirmed).await;
        self.earmark.deposit(&parties.enterprise, "BTC", "5").await;
        let mut client = self.earmark.member(&[&parties.enterprise]).allocation;
        let request = parties.allocation("BTC", "5", "theirs");
        let created = client.create_allocation(request).await.expect("created");
        created.into_inner().allocation.expect("set").id
    }
}

#[tokio::test]
async fn a_record_that_was_open_is_closed_and_its_answers_are_repeated() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let first = fixture.allocate("10", "first").await;
    let second = fixture.allocate("20", "second").await;
    let balances = fixture.balances().await;
    let since = archive(&fixture.earmark).await;

    // The last version before the boundary was carried forward; an earlier one is archived.
    let create = |quantity, key| {
        let request = fixture.parties.allocation("BTC", quantity, key);
        let mut client = fixture.client.clone();
        async move { client.create_allocation(request).await }
    };
    let repeated = create("20", "second").await.expect("repeated");
    assert_eq!(
        repeated
            .metadata()
            .get("earmark-replayed")
            .expect("replayed"),
        "true"
    );
    let repeated = repeated.into_inner();
    assert_eq!(repeated.allocation, Some(second));
    assert_eq!(
        (repeated.custody_balance, repeated.connection_balance),
        balances
    );
    expect_archived(refusal(create("10", "first").await), &first.id, since);
    refusal(create("11", "first").await).expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");

    let cleared = fixture.clear(&first.id).await.into_inner();
    let again = fixture.clear(&first.id).await;
    assert_eq!(
        again.metadata().get("earmark-replayed").expect("replayed"),
        "true"
    );
    assert_eq!(again.into_inner(), cleared);
    // By then the account has moved on.
    let repeated = create("20", "second").await.expect("repeated").into_inner();
    assert_eq!(
        (repeated.custody_balance, repeated.connection_balance),
        balances
    );
    let got = fixture.get(&first.id).await;
    assert_eq!(Some(got), cleared.allocation);

    // Later it is archived as well.
    let since = archive(&fixture.earmark).await;
    let [cleared_again, ..] = fixture.verdicts(&first.id).await;
    expect_archived(cleared_again, &first.id, since);
    let request = GetAllocationRequest {
        enterprise_id: fixture.parties.enterprise.clone(),
        allocation_id: first.id.clone(),
    };
    let got = fixture.client.clone().get_allocation(request).await;
    refusal(got).expect(Code::OutOfRange, "HISTORY_ARCHIVED");
}

async fn adjust(
    fixture: &AllocationFixture,
    quantity: &str,
    key: &str,
) -> Result<Response<AdjustBalanceResponse>, Status> {
    let request = AdjustBalanceRequest {
        enterprise_id: fixture.parties.enterprise.clone(),
        currency: "BTC".into(),
        quantity: quantity.into(),
        external_id: key.into(),
        reason: "a test".into(),
        validate_only: false,
    };
    fixture
        .earmark
        .admin()
        .balance
        .adjust_balance(request)
        .await
}

#[tokio::test]
async fn a_deposit_is_repeated_as_long_as_its_balance_is_there() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    adjust(&fixture, "5", "first").await.expect("deposited");
    let last = adjust(&fixture, "-6", "last").await.expect("withdrawn");
    let since = archive(&fixture.earmark).await;

    let before = written(&fixture).await;
    let id = "SELECT id FROM adjustment WHERE external_id = 'first'";
    let sql = fixture.earmark.sql().await;
    let id: Uuid = sql.query_one(id, &[]).await.expect(id).get(0);
    let first = refusal(adjust(&fixture, "5", "first").await);
    expect_archived(first, &id.to_string(), since);
    let again = adjust(&fixture, "-6", "last").await.expect("repeated");
    assert_eq!(
        again.metadata().get("earmark-replayed").expect("replayed"),
        "true"
    );
    assert_eq!(again.get_ref(), last.get_ref());
    assert_eq!(written(&fixture).await, before);
    // Carried forward, also once the account has moved on.
    adjust(&fixture, "1", "new").await.expect("deposited");
    let again = adjust(&fixture, "-6", "last").await.expect("repeated");
    assert_eq!(again.get_ref(), last.get_ref());
    let content = refusal(adjust(&fixture, "7", "first").await);
    content.expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn an_entry_that_is_missing_but_not_archived_is_a_defect() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    archive(&fixture.earmark).await;
    adjust(&fixture, "5", "lost").await.expect("deposited");
    adjust(&fixture, "5", "last").await.expect("deposited");
    let cleared = fixture.allocate("10", "cleared").await;
    fixture.clear(&cleared.id).await;
    let sql = fixture.earmark.sql().await;
    let lose =
        "DELETE FROM entry e USING adjustment j WHERE j.external_id = 'lost' AND e.cause_id = j.id";
    sql.batch_execute(lose).await.expect(lose);
    refusal(adjust(&fixture, "5", "lost").await).expect(Code::Internal, "INTERNAL");
    // So is a key without a record, as long as nothing is archived.
    let lose = "DELETE FROM closed_allocation; DELETE FROM archived_period";
    sql.batch_execute(lose).await.expect(lose);
    let refused = fixture.created_again("10", "cleared", false).await;
    refused.expect(Code::Internal, "INTERNAL");
}
