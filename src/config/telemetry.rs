//! Settings of what a process tells of itself.

use clap::Args;

use crate::config::values::collector_url;

/// The environment variable that OpenTelemetry's specification has for the collector of all programs.
const COMMON_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Where telemetry is sent.
#[derive(Args, Clone, Debug)]
pub(crate) struct TelemetryArgs {
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
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` counts, and is no URL of a collector.
    pub(crate) fn endpoint(&self) -> Result<Option<String>, String> {
        if let Some(endpoint) = &self.otlp_endpoint {
            return Ok(Some(endpoint.clone()));
        }
        match std::env::var(COMMON_ENDPOINT) {
            Ok(endpoint) if !endpoint.is_empty() => collector_url(&endpoint)
                .map(Some)
                .map_err(|error| format!("{COMMON_ENDPOINT}: {error}")),
            _ => Ok(None),
        }
    }
}
