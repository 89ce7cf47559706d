//! Starts the export of traces, for the commands that serve.

use crate::cli::failure::CliFailure;
use crate::config::{TelemetryArgs, TraceArgs};
use crate::server::ClosingHook;
use crate::trace;

/// Starts to export traces, if there is a collector. The result ends it, once the last call has ended.
pub(super) fn start(
    telemetry: &TelemetryArgs,
    traces: &TraceArgs,
) -> Result<Option<ClosingHook>, CliFailure> {
    let Some(endpoint) = telemetry.endpoint().map_err(CliFailure::setting)? else {
        return Ok(None);
    };
    let settings = traces.settings(endpoint);
    trace::start(&settings).map_err(|error| {
        CliFailure::setting(format!("--otlp-endpoint {}: {error}", settings.endpoint))
    })?;
    tracing::info!(
        endpoint = settings.endpoint,
        sample_ratio = settings.sample_ratio,
        "traces are exported"
    );
    Ok(Some(ClosingHook::new("traces", trace::shut_down())))
}
