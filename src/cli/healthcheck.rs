//! `earmark healthcheck`: queries the health service of a server.

use http::Uri;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::cli::failure::CliFailure;
use crate::cli::tls_connector::TlsConnector;
use crate::config::HealthcheckArgs;

pub(super) async fn run(args: HealthcheckArgs) -> Result<(), CliFailure> {
    let HealthcheckArgs {
        address,
        service,
        timeout,
        tls,
    } = args;
    let tls = TlsConnector::of(&tls, &address)?;
    match tokio::time::timeout(timeout, check(&address, &service, tls)).await {
        Ok(result) => result,
        Err(_) => Err(CliFailure::new(format!(
            "{address} did not answer within {}: check the server's log, or wait longer with --timeout",
            humantime::format_duration(timeout)
        ))),
    }
}

/// Makes one health check, with TLS if there is a connector for it. Any status but SERVING is a failure.
pub(super) async fn check(
    address: &str,
    service: &str,
    tls: Option<TlsConnector>,
) -> Result<(), CliFailure> {
    let has_tls = tls.is_some();
    let channel = connect(address, tls).await?;
    let request = HealthCheckRequest {
        service: service.into(),
    };
    let response = HealthClient::new(channel)
        .check(request)
        .await
        .map_err(|status| {
            let (code, text) = (status.code(), status.message());
            let (setting, advice) = match code {
                Code::NotFound => (format!(", --service {service}"), ""),
                // A server closes the connection only when it has read the first bytes, or judged the certificate.
                Code::Cancelled | Code::Internal | Code::Unavailable | Code::Unknown => {
                    (String::new(), closed_advice(has_tls))
                }
                _ => (String::new(), ""),
            };
            CliFailure::new(format!("{address}{setting}: {code:?}: {text}{advice}"))
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

/// What may be the reason why the server has closed the connection without an answer.
fn closed_advice(has_tls: bool) -> &'static str {
    if has_tls {
        "; if the server has --tls-client-ca, it needs a certificate of one of those authorities, by --tls-cert and \
         --tls-key; its log says why it has closed a connection"
    } else {
        "; if the server has --tls-cert, ask with --tls"
    }
}

async fn connect(address: &str, tls: Option<TlsConnector>) -> Result<Channel, CliFailure> {
    let invalid = |error: &dyn std::fmt::Display| {
        CliFailure::setting(format!(
            "--address {address}: {error}; write host:port, for example 127.0.0.1:50051"
        ))
    };
    let endpoint =
        Endpoint::from_shared(format!("http://{address}")).map_err(|error| invalid(&error))?;
    let has_tls = tls.is_some();
    let connected = match tls {
        Some(tls) => {
            // With `https` as the endpoint's own, tonic would ask for its own TLS.
            let origin = format!("https://{address}").parse::<Uri>();
            let origin = origin.map_err(|error| invalid(&error))?;
            endpoint.origin(origin).connect_with_connector(tls).await
        }
        None => endpoint.connect().await,
    };
    connected.map_err(|error| {
        let advice = if has_tls {
            "is the server running, and does this address speak TLS?"
        } else {
            "is the server running, and is this the address that it listens on?"
        };
        let cause = root_cause(&error);
        CliFailure::new(format!("cannot connect to {address}: {cause}; {advice}"))
    })
}

/// The innermost source of an error: tonic's own text is only «transport error».
fn root_cause(error: &dyn std::error::Error) -> &dyn std::error::Error {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}
