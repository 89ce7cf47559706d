//! Sets 2,500 BTC aside, whatever number of tries it takes: `EARMARK_TOKEN`, an enterprise's id and a connection's id.

use earmark_client::proto::allocation::v1::CreateAllocationRequest;
use earmark_client::proto::allocation::v1::allocation_service_client::AllocationServiceClient;
use earmark_client::proto::common::v1::{Amount, ErrorReason};
use earmark_client::{BearerToken, RetryPolicy, retry};
use tonic::transport::Channel;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let token = BearerToken::new(&std::env::var("EARMARK_TOKEN")?)?;
    let mut arguments = std::env::args().skip(1);
    let request = CreateAllocationRequest {
        enterprise_id: arguments.next().ok_or("no enterprise")?,
        connection_id: arguments.next().ok_or("no connection")?,
        amount: Some(Amount {
            currency: "BTC".into(),
            quantity: "2500".into(),
        }),
        // The idempotency key: the same for every try, so that the allocation is made once.
        client_external_id: "order-4711".into(),
        ..Default::default()
    };
    let channel = Channel::from_static("http://127.0.0.1:50051").connect_lazy();
    let client = AllocationServiceClient::with_interceptor(channel, token);
    let answer = retry(&RetryPolicy::repeatable(), async || {
        client.clone().create_allocation(request.clone()).await
    })
    .await;
    match answer {
        Ok(answer) => eprintln!("{:?}", answer.into_inner().allocation),
        Err(error) if error.reason() == Some(ErrorReason::InsufficientBalance) => {
            eprintln!(
                "only {} available",
                error.metadata("available").unwrap_or("?")
            );
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
