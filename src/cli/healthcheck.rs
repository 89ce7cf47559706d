//! `earmark healthcheck`: asks a server whether it serves.

use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::cli::Failure;
use crate::config::HealthcheckArgs;

pub(super) async fn run(args: HealthcheckArgs) -> Result<(), Failure> {
    let HealthcheckArgs {
        address,
        service,
        timeout,
    } = args;
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| Failure::setting(format!("--address {address}: {error}")))?;
    let asked = async {
        let channel = endpoint.connect().await.map_err(|error| {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            format!("{address}: {cause}")
        })?;
        let answer = HealthClient::new(channel)
            .check(HealthCheckRequest { service })
            .await
            .map_err(|status| format!("{address}: {:?}: {}", status.code(), status.message()))?;
        match answer.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            other => Err(format!("{address}: {}", other.as_str_name())),
        }
    };
    match tokio::time::timeout(timeout, asked).await {
        Ok(answer) => answer.map_err(Failure::new),
        Err(_) => Err(Failure::new(format!(
            "{address}: no answer within {}",
            humantime::format_duration(timeout)
        ))),
    }
}
