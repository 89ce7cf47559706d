//! Errors of state name the record, the account and since when, and errors of keys the record that has the key.

use earmark::proto::allocation::v1::AllocationType;
use earmark::proto::network::v1::ConnectionMode;
use prost_types::Timestamp;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::allocation_fixture::AllocationFixture;

fn metadata(status: &Status, key: &str) -> String {
    let info = status.get_details_error_info().expect("ErrorInfo");
    info.metadata[key].clone()
}

/// Seen: «120 BTC requested, 0 available», while custody had plenty.
#[tokio::test]
async fn too_little_says_in_which_account() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let back = fixture.parties.deallocation("BTC", "20", "back");
    let refused = fixture.client.clone().create_deallocation(back).await;
    let refused = refused.expect_err("refused");
    let connection = &fixture.parties.connection;
    assert_eq!(
        refused.message(),
        format!(
            "20 BTC requested, 0 available on the connection {connection}, which never had any BTC: currencies are told \
             apart by their case too."
        )
    );
    assert_eq!(metadata(&refused, "account"), *connection);
    let out = fixture.parties.allocation("BTC", "101", "out");
    let refused = fixture.client.clone().create_allocation(out).await;
    let refused = refused.expect_err("refused");
    assert_eq!(
        refused.message(),
        "101 BTC requested, 100 available in custody."
    );
    assert_eq!(metadata(&refused, "account"), "custody");
}

/// Seen: «The record is RELEASED already», of one that had expired a moment ago.
#[tokio::test]
async fn a_final_record_says_what_made_it_final_and_when() {
    let (fixture, hold) = AllocationFixture::with_hold(AllocationType::Allocation).await;
    let cleared = fixture.clear(&hold.id).await.into_inner().allocation;
    let released = fixture.allocate("1", "released").await;
    let released = fixture
        .release(&released.id)
        .await
        .into_inner()
        .allocation
        .expect("set");
    let cancelled = fixture.allocate("1", "cancelled").await;
    let cancelled = fixture
        .cancel(&cancelled.id)
        .await
        .into_inner()
        .allocation
        .expect("set");
    let expired = fixture.allocate("1", "expired").await;
    let soon = format!(
        "UPDATE open_allocation SET expire_time = clock_timestamp() WHERE id = '{}'",
        expired.id
    );
    fixture
        .earmark
        .sql()
        .await
        .batch_execute(&soon)
        .await
        .expect("due");
    for (id, event) in [
        (&released.id, "was released by the partner"),
        (&cancelled.id, "was cancelled by the client"),
        (&expired.id, "expired"),
    ] {
        let clear = fixture.parties.clear(id);
        let refused = fixture.partner.clone().clear_allocation(clear).await;
        let refused = refused.expect_err("final");
        assert_eq!(refused.code(), Code::FailedPrecondition);
        let since = metadata(&refused, "since");
        assert_eq!(
            refused.message(),
            format!("The allocation {id} {event} at {since}: its status, RELEASED, is final.")
        );
        assert_eq!(metadata(&refused, "id"), *id);
        assert_eq!(metadata(&refused, "status"), "RELEASED");
        let since: Timestamp = since.parse().expect("a time");
        assert_eq!(Some(since), fixture.get(id).await.updated_at);
    }
    let cancel = fixture.parties.cancel(&hold.id);
    let refused = fixture.client.clone().cancel_allocation(cancel).await;
    let message = refused.expect_err("final").message().to_owned();
    let id = cleared.expect("set").id;
    let start = format!("The allocation {id} was cleared by the partner at 20");
    assert!(message.starts_with(&start), "{message}");
}

#[tokio::test]
async fn a_disabled_connection_and_a_taken_key_are_named() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let first = fixture.allocate("1", "taken").await;
    let other = fixture.parties.allocation("BTC", "2", "taken");
    let refused = fixture.client.clone().create_allocation(other).await;
    let refused = refused.expect_err("refused");
    assert_eq!(metadata(&refused, "id"), first.id);
    assert!(refused.message().contains(&first.id), "{refused:?}");

    fixture.disable_connection().await;
    let out = fixture.parties.allocation("BTC", "1", "out");
    let refused = fixture.client.clone().create_allocation(out).await;
    let refused = refused.expect_err("refused");
    let connection = &fixture.parties.connection;
    assert_eq!(
        refused.message(),
        format!("The connection {connection} does not accept allocations: under review")
    );
    assert_eq!(metadata(&refused, "id"), *connection);
}

#[tokio::test]
async fn a_wrong_expire_time_is_shown_beside_the_databases_clock() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let mut out = fixture.parties.allocation("BTC", "1", "out");
    out.expire_time = Some(Timestamp {
        seconds: 1,
        nanos: 0,
    });
    let refused = fixture.client.clone().create_allocation(out).await;
    let message = refused.expect_err("refused").message().to_owned();
    assert!(
        message.starts_with("`expire_time`: must be after now, 20"),
        "{message}"
    );
    assert!(
        message.ends_with("got 1970-01-01T00:00:01.000000Z"),
        "{message}"
    );
}
