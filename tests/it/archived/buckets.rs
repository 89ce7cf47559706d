//! Buckets whose entries are archived. Their actions stay on line.

use earmark::proto::bucket::v1::{ListBalanceActionsRequest, TransferBalanceResponse};
use tonic::Code;

use crate::support::archive::archive;
use crate::support::bucket_fixture::{
    BucketFixture, creation, deduct, eur, reserve, topup, transfer, values,
};
use crate::support::earmark::refusal;

/// The values of the bucket in an answer.
fn values_of(answer: &TransferBalanceResponse) -> (String, String) {
    values(answer.bucket.as_ref().expect("set"))
}

#[tokio::test]
async fn an_action_is_repeated_as_long_as_its_balance_is_there() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b-1", "10").await;
    fixture.bucket("b-2", "0").await;
    let first = fixture.topup(topup("b-1", "5", "first")).await;
    let held = fixture.reserve(reserve("b-1", "2", "held")).await;
    let given = transfer("b-1", "b-2", "4", "given");
    let mut client = fixture.client.clone();
    let transferred = client.transfer_balance(given.clone()).await.expect("given");
    let since = archive(&fixture.earmark).await;

    let rows = "SELECT count(*) FROM entry";
    assert_eq!(fixture.earmark.count(rows).await, 0);
    let again = refusal(client.topup_balance(topup("b-1", "5", "first")).await);
    let again = again.expect(Code::FailedPrecondition, "ARCHIVED");
    assert_eq!(again.metadata["id"], first.id);
    assert_eq!(again.metadata["since"], since.to_string());
    let created = refusal(client.create_bucket(creation(eur("b-1", "10"))).await);
    let created = created.expect(Code::FailedPrecondition, "ARCHIVED");
    assert_eq!(created.metadata["bucket_id"], "b-1");
    let again = client.transfer_balance(given.clone()).await.expect("again");
    assert_eq!(
        again.metadata().get("earmark-replayed").expect("replayed"),
        "true"
    );
    assert_eq!(again.get_ref(), transferred.get_ref());
    assert_eq!(fixture.earmark.count(rows).await, 0);

    // What was held is used, and what is shown of before adds up with it.
    let mut used = deduct("b-1", "1", "used");
    used.reserve_id = Some(held.id.clone());
    client.deduct_balance(used).await.expect("used");
    let again = client.transfer_balance(given).await.expect("again");
    assert_eq!(values_of(again.get_ref()), values_of(transferred.get_ref()));
    let actions = fixture.actions(ListBalanceActionsRequest::default()).await;
    let kinds: Vec<_> = actions.iter().map(|action| action.r#type()).collect();
    assert_eq!(actions.len(), 5, "{kinds:?}");
}
