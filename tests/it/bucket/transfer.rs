use earmark::proto::bucket::v1::{
    BalanceActionStatus, BalanceActionType, BucketStatus, CostOwner, ListBalanceActionsRequest,
    Quantity, TransferBalanceRequest,
};
use tonic::Code;

use crate::support::bucket_fixture::{
    BucketFixture, amount, eur, left, reserve, topup, transfer, values,
};
use crate::support::earmark::refusal;
use crate::support::service::is_replayed;

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_moves_value_in_one_step() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("a", "10").await;
    fixture.bucket("b", "1").await;
    let mut client = fixture.client.clone();
    let answer = client
        .transfer_balance(transfer("a", "b", "4.5", "t"))
        .await;
    let answer = answer.expect("transferred").into_inner();
    assert_eq!(values(&answer.bucket.expect("set")), left("5.5", "0"));
    assert_eq!(fixture.values("b").await, left("5.5", "0"));
    let action = answer.balance_action.expect("set");
    assert_eq!(action.status(), BalanceActionStatus::Completed);
    assert_eq!(
        (
            action.bucket_id.as_str(),
            action.receiver_bucket_id.as_deref()
        ),
        ("a", Some("b"))
    );
    assert_eq!(
        (action.transfer_cost.clone(), action.cost_owner()),
        (None, CostOwner::Unspecified)
    );
    assert_eq!(fixture.action(&action.id).await, action);
    // Both buckets list the transfer.
    for id in ["a", "b"] {
        let request = ListBalanceActionsRequest {
            bucket_ids: vec![id.into()],
            types: vec![BalanceActionType::Transfer.into()],
            ..Default::default()
        };
        let listed = client.list_balance_actions(request).await.expect("listed");
        let mut expected = action.clone();
        expected.bucket_deltas.retain(|delta| delta.bucket_id == id);
        assert_eq!(listed.into_inner().balance_actions, [expected], "{id}");
    }
    let again = client
        .transfer_balance(transfer("a", "b", "4.5", "t"))
        .await;
    let again = again.expect("replayed");
    assert!(is_replayed(&again));
    assert_eq!(fixture.values("b").await, left("5.5", "0"));
    let other = client
        .transfer_balance(transfer("a", "c", "4.5", "t"))
        .await;
    refusal(other).expect(Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cost_owner_pays_the_cost() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("a", "10").await;
    fixture.bucket("b", "0").await;
    let mut client = fixture.client.clone();
    let costing = |of: &str, cost: &str, owner: CostOwner, key: &str| TransferBalanceRequest {
        transfer_cost: amount(cost, "EUR"),
        cost_owner: owner.into(),
        ..transfer("a", "b", of, key)
    };
    for (of, cost, owner, a, b) in [
        ("3", "1", CostOwner::Unspecified, "6", "3"),
        ("2", "0.5", CostOwner::Receiver, "4", "4.5"),
        // The receiver pays the cost from the value that it received.
        ("1", "5.5", CostOwner::Receiver, "3", "0"),
        ("1", "2", CostOwner::Originator, "0", "1"),
    ] {
        let request = costing(of, cost, owner, a);
        let answer = client.transfer_balance(request).await.expect("transferred");
        let action = answer.into_inner().balance_action.expect("set");
        let owner = match owner {
            CostOwner::Receiver => CostOwner::Receiver,
            _ => CostOwner::Originator,
        };
        assert_eq!(action.cost_owner(), owner);
        assert_eq!(action.transfer_cost, amount(cost, "EUR"));
        assert_eq!(fixture.values("a").await, left(a, "0"));
        assert_eq!(fixture.values("b").await, left(b, "0"));
    }
    fixture.topup(topup("a", "3", "t")).await;
    for (of, cost, owner, available, requested) in [
        ("2", "1.5", CostOwner::Originator, "3", "3.5"),
        ("1", "2.5", CostOwner::Receiver, "2", "2.5"),
    ] {
        let refused = client
            .transfer_balance(costing(of, cost, owner, "refused"))
            .await;
        let refused = refusal(refused).expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
        assert_eq!(refused.metadata["available"], available);
        assert_eq!(refused.metadata["requested"], requested);
    }
    assert_eq!(fixture.values("a").await, left("3", "0"));
    assert_eq!(fixture.values("b").await, left("1", "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_value_is_not_transferred() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("a", "10").await;
    fixture.bucket("b", "0").await;
    fixture.reserve(reserve("a", "8", "r")).await;
    let refused = fixture
        .client
        .clone()
        .transfer_balance(transfer("a", "b", "3", "t"))
        .await;
    let refused = refusal(refused).expect(Code::FailedPrecondition, "INSUFFICIENT_BALANCE");
    assert_eq!(refused.metadata["available"], "2");
    assert_eq!(fixture.values("b").await, left("0", "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn both_buckets_of_a_transfer_must_be_usable_and_have_one_unit() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("a", "10").await;
    fixture.bucket("b", "0").await;
    fixture.bucket("s", "10").await;
    fixture.set_status("s", BucketStatus::Suspended).await;
    let mut kilobytes = eur("k", "1");
    kilobytes.remaining_value = Some(Quantity {
        amount: "1".into(),
        units: "kB".into(),
        ..Default::default()
    });
    fixture.create(kilobytes).await;
    let mut client = fixture.client.clone();
    for (from, to) in [("a", "s"), ("s", "a")] {
        let refused = client.transfer_balance(transfer(from, to, "1", "t")).await;
        refusal(refused).expect(Code::FailedPrecondition, "BUCKET_NOT_USABLE");
    }
    for (from, to, missing) in [("a", "x", "x"), ("x", "a", "x"), ("x", "y", "x")] {
        let refused = client.transfer_balance(transfer(from, to, "1", "t")).await;
        let refused = refusal(refused).expect(Code::NotFound, "BUCKET_NOT_FOUND");
        assert_eq!(refused.metadata["outcome"], "not_applied", "{missing}");
    }
    let refused = client.transfer_balance(transfer("a", "k", "1", "t")).await;
    refusal(refused).expect_invalid(&["receiver_bucket_id"]);
    for (units, cost_units, wrong) in [
        ("kB", "EUR", "amount.units"),
        ("EUR", "USD", "transfer_cost.units"),
    ] {
        let request = TransferBalanceRequest {
            amount: amount("1", units),
            transfer_cost: amount("1", cost_units),
            ..transfer("a", "b", "1", "t")
        };
        let refused = refusal(client.transfer_balance(request).await);
        refused.expect_invalid(&[wrong]);
    }
    assert_eq!(fixture.values("a").await, left("10", "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_to_another_tenants_bucket_is_refused() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("a", "10").await;
    let fixture = {
        let other = BucketFixture::on(fixture.earmark);
        other.bucket("b", "0").await;
        BucketFixture {
            tenant: fixture.tenant,
            client: fixture.client,
            earmark: other.earmark,
        }
    };
    let refused = fixture
        .client
        .clone()
        .transfer_balance(transfer("a", "b", "1", "t"))
        .await;
    refusal(refused).expect(Code::NotFound, "BUCKET_NOT_FOUND");
    assert_eq!(fixture.values("a").await, left("10", "0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_transfer_arguments_are_refused() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("a", "10").await;
    let mut client = fixture.client.clone();
    let refused = client.transfer_balance(transfer("a", "a", "1", "t")).await;
    refusal(refused).expect_invalid(&["receiver_bucket_id"]);
    let request = TransferBalanceRequest {
        cost_owner: CostOwner::Receiver.into(),
        ..transfer("a", "", "1", "t")
    };
    let refused = refusal(client.transfer_balance(request).await);
    refused.expect_invalid(&["receiver_bucket_id", "cost_owner"]);
    for cost in ["0", "-1"] {
        let request = TransferBalanceRequest {
            transfer_cost: amount(cost, "EUR"),
            ..transfer("a", "b", "1", "t")
        };
        let refused = refusal(client.transfer_balance(request).await);
        refused.expect_invalid(&["transfer_cost.amount"]);
    }
    assert_eq!(fixture.values("a").await, left("10", "0"));
}
