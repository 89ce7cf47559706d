//! The client library against a real server.

use std::sync::atomic::{AtomicU32, Ordering};

use earmark::proto::network::v1::ConnectionMode;
use earmark_client::proto::allocation::v1::CreateAllocationRequest;
use earmark_client::proto::allocation::v1::allocation_service_client::AllocationServiceClient;
use earmark_client::proto::common::v1::{Amount, ErrorReason};
use earmark_client::{BearerToken, CallError, RetryPolicy, WriteOutcome, retry};
use tonic::Code;
use tonic::codegen::InterceptedService;
use tonic::transport::Channel;

use crate::support::cluster::database;
use crate::support::earmark::{Earmark, Parties, Setup};
use crate::support::proxy::Proxy;

type Client = AllocationServiceClient<InterceptedService<Channel, BearerToken>>;

fn client(server: &Earmark, parties: &Parties) -> Client {
    let address = format!("http://{}", server.address);
    let channel = Channel::from_shared(address).expect("a URI").connect_lazy();
    let scopes = "settlement_network_read settlement_network_write";
    let token = server.token(scopes, &[&parties.enterprise]);
    let token = BearerToken::new(&token).expect("a token");
    AllocationServiceClient::with_interceptor(channel, token)
}

fn request(parties: &Parties, quantity: &str, key: &str) -> CreateAllocationRequest {
    CreateAllocationRequest {
        enterprise_id: parties.enterprise.clone(),
        connection_id: parties.connection.clone(),
        amount: Some(Amount {
            currency: "BTC".into(),
            quantity: quantity.into(),
        }),
        client_external_id: key.into(),
        ..Default::default()
    }
}

/// The id of the allocation, and whether the call was a replay.
async fn create(
    client: &Client,
    request: &CreateAllocationRequest,
) -> Result<(String, bool), CallError> {
    let call = async || client.clone().create_allocation(request.clone()).await;
    let response = retry(&RetryPolicy::repeatable(), call).await?;
    let is_replayed = response.metadata().get("earmark-replayed").is_some();
    let allocation = response.into_inner().allocation.expect("set");
    Ok((allocation.id, is_replayed))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_is_replayed_under_its_key_and_refused_beyond_the_balance() {
    let server = Earmark::start().await;
    let parties = server.parties(ConnectionMode::Confirmed).await;
    server.deposit(&parties.enterprise, "BTC", "100").await;
    let client = client(&server, &parties);

    let first = request(&parties, "75", "first");
    let (id, is_replayed) = create(&client, &first).await.expect("created");
    assert!(!is_replayed);
    let again = create(&client, &first).await.expect("replayed");
    assert_eq!(again, (id, true));

    let beyond = request(&parties, "26", "beyond");
    let error = create(&client, &beyond).await.expect_err("refused");
    assert_eq!(error.code(), Code::FailedPrecondition);
    assert_eq!(error.reason(), Some(ErrorReason::InsufficientBalance));
    assert_eq!(error.metadata("available"), Some("25"));
    assert_eq!(error.outcome(), Some(WriteOutcome::NotApplied));
    assert_eq!(error.retry_delay(), None);

    let invalid = request(&parties, "-1", "invalid");
    let error = create(&client, &invalid).await.expect_err("refused");
    assert_eq!(error.reason(), Some(ErrorReason::InvalidRequest));
    let fields = error.field_violations().iter();
    let fields: Vec<&str> = fields.map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["amount.quantity"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_is_repeated_until_the_database_is_back() {
    let db = database().await;
    let proxy = Proxy::before(&db.url).await;
    let server = Earmark::start_on(&proxy.url, Setup::default()).await;
    let parties = server.parties(ConnectionMode::Confirmed).await;
    server.deposit(&parties.enterprise, "BTC", "100").await;
    let client = client(&server, &parties);
    let request = request(&parties, "10", "first");

    proxy.refuse(true);
    let tries = AtomicU32::new(0);
    let call = async || {
        tries.fetch_add(1, Ordering::SeqCst);
        let answer = client.clone().create_allocation(request.clone()).await;
        if let Err(status) = &answer {
            let error = CallError::from(status.clone());
            assert_eq!(error.code(), Code::Unavailable, "{error:?}");
            assert!(error.retry_delay().is_some(), "{error:?}");
            proxy.refuse(false);
        }
        answer
    };
    let response = retry(&RetryPolicy::repeatable(), call).await;
    let allocation = response.expect("created").into_inner().allocation;
    assert_eq!(allocation.expect("set").client_external_id, "first");
    assert!(tries.load(Ordering::SeqCst) > 1);
    assert_eq!(server.count("SELECT count(*) FROM allocation").await, 1);
}
