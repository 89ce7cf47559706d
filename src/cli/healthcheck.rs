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
    match tokio::time::timeout(timeout, ask(&address, &service)).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::new(format!(
            "{address}: no answer within {}",
            humantime::format_duration(timeout)
        ))),
    }
}

/// Asks once; a failure unless the answer is SERVING.
pub(super) async fn ask(address: &str, service: &str) -> Result<(), Failure> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| Failure::setting(format!("--address {address}: {error}")))?;
    let channel = endpoint.connect().await.map_err(|error| {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Failure::new(format!("{address}: {cause}"))
    })?;
    let request = HealthCheckRequest {
        service: service.into(),
    };
    let answer = HealthClient::new(channel)
        .check(request)
        .await
        .map_err(|status| {
            let (code, text) = (status.code(), status.message());
            Failure::new(format!("{address}: {code:?}: {text}"))
        })?;
    match answer.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        other => Err(Failure::new(format!("{address}: {}", other.as_str_name()))),
    }
}
