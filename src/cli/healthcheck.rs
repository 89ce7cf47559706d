//! `earmark healthcheck`: queries the health service of a server.

use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::cli::failure::CliFailure;
use crate::config::HealthcheckArgs;

pub(super) async fn run(args: HealthcheckArgs) -> Result<(), CliFailure> {
    let HealthcheckArgs {
        address,
        service,
        timeout,
    } = args;
    match tokio::time::timeout(timeout, check(&address, &service)).await {
        Ok(result) => result,
        Err(_) => Err(CliFailure::new(format!(
            "{address} did not answer within {}: check the server's log, or wait longer with --timeout",
            humantime::format_duration(timeout)
        ))),
    }
}

/// Makes one health check. Any status but SERVING is a failure.
pub(super) async fn check(address: &str, service: &str) -> Result<(), CliFailure> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| {
        CliFailure::setting(format!(
            "--address {address}: {error}; write host:port, for example 127.0.0.1:50051"
        ))
    })?;
    let channel = endpoint.connect().await.map_err(|error| {
        CliFailure::new(format!(
            "cannot connect to {address}: {}; is the server running, and is this the address that it listens on?",
            root_cause(&error)
        ))
    })?;
    let request = HealthCheckRequest {
        service: service.into(),
    };
    let response = HealthClient::new(channel)
        .check(request)
        .await
        .map_err(|status| {
            let (code, text) = (status.code(), status.message());
            let setting = match code {
                Code::NotFound => format!(", --service {service}"),
                _ => String::new(),
            };
            CliFailure::new(format!("{address}{setting}: {code:?}: {text}"))
        })?;
    match response.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        other => Err(CliFailure::new(format!(
            "{address} is {}: the server is shutting down, its database does not answer, or the database lacks migrations \
             (run `earmark migrate`)",
            other.as_str_name()
        ))),
    }
}

/// The innermost source of an error: tonic's own text is only «transport error».
fn root_cause(error: &dyn std::error::Error) -> &dyn std::error::Error {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}
