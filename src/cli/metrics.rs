//! Starts the metrics, for the commands that serve.

use tokio_util::task::AbortOnDropHandle;

use crate::cli::failure::CliFailure;
use crate::cli::listen::listen;
use crate::config::TelemetryArgs;
use crate::server::ClosingHook;
use crate::telemetry::{metrics_endpoint, metrics_export};

/// Starts to collect metrics, to serve and to push them, as far as the settings ask for it. The result ends all of that once
/// the last call has ended.
///
/// # Errors
/// The address cannot be listened on, or the collector's URL cannot be used.
pub(super) async fn start(telemetry: &TelemetryArgs) -> Result<Option<ClosingHook>, CliFailure> {
    let collector = telemetry.endpoint().map_err(CliFailure::setting)?;
    let listener = match &telemetry.metrics_listen {
        Some(address) => Some(listen(address, "--metrics-listen").await?),
        None => None,
    };
    if listener.is_none() && collector.is_none() {
        return Ok(None);
    }
    let export = metrics_export::install(collector.as_deref()).map_err(|error| {
        let url = collector.as_deref().unwrap_or_default();
        CliFailure::setting(format!("--otlp-endpoint {url}: {error}"))
    })?;
    let registry = export.registry.clone();
    let serving = listener.map(|listener| {
        AbortOnDropHandle::new(tokio::spawn(metrics_endpoint::serve(listener, registry)))
    });
    Ok(Some(ClosingHook::new("metrics", async move {
        export.shut_down().await;
        drop(serving);
    })))
}
