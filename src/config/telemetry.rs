//! Settings of what a process tells of itself.

use clap::Args;

use crate::config::listen_address::ListenAddress;
use crate::config::values::{collector_url, metrics_address};

/// The environment variable that OpenTelemetry's specification has for the collector of all programs.
const COMMON_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The one for the protocol, of which this program speaks one.
const COMMON_PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";

/// Where metrics are served, and where telemetry is sent.
#[derive(Args, Clone, Debug)]
pub(crate) struct TelemetryArgs {
    /// The address to serve metrics on, as Prometheus text at /metrics: a port, such as 9464, or an address and a port
    ///
    /// A port alone is one of this machine only (127.0.0.1). Without the setting no metrics are served: several processes
    /// on one machine would want the same port. There is no encryption and no password, and metrics tell how busy the
    /// service is: on an address such as 0.0.0.0:9464, let only the monitoring reach the port. Port 0 selects a free
    /// port, which the log names.
    #[arg(
        long,
        env = "EARMARK_METRICS_LISTEN",
        value_name = "ADDRESS",
        value_parser = metrics_address
    )]
    pub(crate) metrics_listen: Option<ListenAddress>,

    /// The collector that telemetry is sent to, by OTLP over gRPC: http://host:4317 or https://host:4317
    ///
    /// Without it, and without the environment variable OTEL_EXPORTER_OTLP_ENDPOINT, nothing is sent. The certificate of a
    /// collector by https must lead to a root of the operating system. The collector need not answer when the server
    /// starts, and a collector that is away or slow delays no call: what it does not take is dropped and counted.
    #[arg(
        long,
        env = "EARMARK_OTLP_ENDPOINT",
        value_name = "URL",
        value_parser = collector_url
    )]
    pub(crate) otlp_endpoint: Option<String>,
}

impl TelemetryArgs {
    /// The collector, if there is one.
    ///
    /// # Errors
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` counts, and is no URL of a collector; or `OTEL_EXPORTER_OTLP_PROTOCOL` asks for a
    /// protocol other than gRPC.
    pub(crate) fn endpoint(&self) -> Result<Option<String>, String> {
        let of_environment = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let endpoint = match &self.otlp_endpoint {
            Some(endpoint) => endpoint.clone(),
            None => match of_environment(COMMON_ENDPOINT) {
                Some(endpoint) => collector_url(&endpoint)
                    .map_err(|error| format!("{COMMON_ENDPOINT}: {error}"))?,
                None => return Ok(None),
            },
        };
        match of_environment(COMMON_PROTOCOL) {
            Some(protocol) if protocol != "grpc" => Err(format!(
                "{COMMON_PROTOCOL} is {protocol}, but earmark sends by gRPC only: unset it, and name the collector's port for \
                 gRPC, which mostly is 4317"
            )),
            _ => Ok(Some(endpoint)),
        }
    }
}
