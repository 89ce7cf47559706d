//! CreateAllocation.

use earmark::proto::allocation::v1::{AllocationStatus, AllocationType, GetAllocationRequest};
use earmark::proto::common::v1::Balance;
use earmark::proto::network::v1::ConnectionMode;
use tonic::Code;

use crate::support::earmark::{Earmark, refusal};

fn balance(available: &str, held: &str, version: i64) -> Option<Balance> {
    Some(Balance {
        available: available.into(),
        held: held.into(),
        version,
    })
}

#[tokio::test]
async fn a_confirmed_connection_reserves() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    let mut client = earmark.member(&[&parties.enterprise]).allocation;

    let answer = client
        .create_allocation(parties.allocation("BTC", "30", "a-1"))
        .await
        .expect("created");
    assert!(answer.metadata().get("earmark-replayed").is_none());
    let answer = answer.into_inner();
    let allocation = answer.allocation.expect("set");
    assert_eq!(allocation.status(), AllocationStatus::Reserved);
    assert_eq!(allocation.r#type(), AllocationType::Allocation);
    assert_eq!(allocation.initiated_by, "somebody");
    assert_eq!(
        (&allocation.client_id, &allocation.partner_id),
        (&parties.client, &parties.partner)
    );
    assert_eq!(allocation.created_at, allocation.updated_at);
    assert_eq!(answer.custody_balance, balance("70", "30", 2));
    assert_eq!(answer.connection_balance, balance("0", "0", 0));

    let request = GetAllocationRequest {
        enterprise_id: parties.enterprise.clone(),
        allocation_id: allocation.id.clone(),
    };
    let got = client
        .get_allocation(request.clone())
        .await
        .expect("there")
        .into_inner();
    assert_eq!(got.allocation.as_ref(), Some(&allocation));
    let mut partner = earmark.member(&[&parties.partner_enterprise]).allocation;
    let request = GetAllocationRequest {
        enterprise_id: parties.partner_enterprise.clone(),
        ..request
    };
    let got = partner
        .get_allocation(request)
        .await
        .expect("the partner's too")
        .into_inner();
    assert_eq!(got.allocation, Some(allocation));
}

#[tokio::test]
async fn an_instant_connection_moves_at_once() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Instant).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    let answer = client
        .create_allocation(parties.allocation("BTC", "30", "a-1"))
        .await
        .expect("created")
        .into_inner();
    assert_eq!(
        answer.allocation.expect("set").status(),
        AllocationStatus::Cleared
    );
    assert_eq!(answer.custody_balance, balance("70", "0", 2));
    assert_eq!(answer.connection_balance, balance("30", "0", 1));
}

#[tokio::test]
async fn a_repeat_answers_the_record_as_it_stands_and_the_balances_of_its_first_answer() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Instant).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    let first = client
        .create_allocation(parties.allocation("BTC", "30", "a-1"))
        .await
        .expect("created")
        .into_inner();
    client
        .create_allocation(parties.allocation("BTC", "5", "a-2"))
        .await
        .expect("created");
    let again = client
        .create_allocation(parties.allocation("BTC", "30", "a-1"))
        .await
        .expect("replayed");
    assert_eq!(
        again.metadata().get("earmark-replayed").expect("set"),
        "true"
    );
    assert_eq!(again.into_inner(), first);

    let other = refusal(
        client
            .create_allocation(parties.allocation("BTC", "31", "a-1"))
            .await,
    );
    assert_eq!(
        (other.code, other.reason.as_str()),
        (Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED")
    );
    assert_eq!(other.metadata["outcome"], "not_applied");
}

#[tokio::test]
async fn too_little_says_how_much_there_is_and_records_nothing() {
    let earmark = Earmark::start().await;
    let parties = earmark.parties(ConnectionMode::Confirmed).await;
    earmark.deposit(&parties.enterprise, "BTC", "100").await;
    let mut client = earmark.member(&[&parties.enterprise]).allocation;
    let refused = refusal(
        client
            .create_allocation(parties.allocation("BTC", "101", "a-1"))
            .await,
    );
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Code::FailedPrecondition, "INSUFFICIENT_BALANCE")
    );
    let numbers: Vec<_> = ["available", "requested", "currency"]
        .iter()
        .map(|key| refused.metadata[*key].as_str())
        .collect();
    assert_eq!(numbers, ["100", "101", "BTC"]);
    // The key is free: a refused request leaves none.
    let answer = client
        .create_allocation(parties.allocation("BTC", "100", "a-1"))
        .await
        .expect("created");
    assert_eq!(answer.into_inner().custody_balance, balance("0", "100", 2));
}
