//! Collects the metrics: for Prometheus, which asks for them, and for a collector that is sent them by OTLP.
//!
//! A collector that is away or slow costs exports, which are counted, and nothing else: they are sent by a thread of their
//! own, one at a time, and each has the state of all metrics as it is then, so that none waits for another.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use opentelemetry::global;
use opentelemetry_otlp::{MetricExporter, RetryPolicy, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use prometheus::Registry;
use tokio::runtime::Handle;

use crate::metrics::export::{self, Signal};
use crate::metrics::{process, resource};

/// How long one export may take, the connection to the collector included.
const EXPORT_MAX: Duration = Duration::from_secs(10);
/// How long the last export may delay the end of the process.
const LAST_EXPORT_MAX: Duration = Duration::from_secs(2);

/// What collects the metrics of the process.
pub(crate) struct MetricsExport {
    provider: SdkMeterProvider,
    /// What Prometheus is answered from.
    pub(crate) registry: Registry,
}

/// Begins to collect the metrics of the process, and to push them if there is a collector. It is called once, before the
/// first instrument is used.
///
/// Must be called within a tokio runtime.
///
/// # Errors
/// The collector's URL cannot be used.
pub(crate) fn install(collector: Option<&str>) -> Result<MetricsExport, String> {
    let registry = Registry::new();
    let text = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .without_target_info()
        .scope_info_enabled(false)
        .build()
        .map_err(|error| error.to_string())?;
    let mut provider = SdkMeterProvider::builder()
        .with_resource(resource::of_process())
        .with_reader(text);
    if let Some(collector) = collector {
        let exporter = MetricExporter::builder()
            .with_tonic()
            .with_endpoint(collector)
            .with_timeout(EXPORT_MAX)
            // The next export has everything that this one had.
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(|error| error.to_string())?;
        let exporter = BoundedExporter {
            inner: exporter,
            collector: collector.to_owned(),
            runtime: Handle::current(),
        };
        provider = provider.with_reader(PeriodicReader::builder(exporter).build());
        tracing::info!(collector, "metrics are pushed");
    }
    let provider = provider.build();
    global::set_meter_provider(provider.clone());
    export::begin();
    process::watch();
    Ok(MetricsExport { provider, registry })
}

impl MetricsExport {
    /// Pushes the metrics for the last time, without a long wait for a collector that does not answer.
    pub(crate) async fn shut_down(self) {
        let last = tokio::task::spawn_blocking(move || self.provider.shutdown());
        // The failure of an export has its line in the log already.
        if tokio::time::timeout(LAST_EXPORT_MAX, last).await.is_err() {
            tracing::warn!(
                "the last export of metrics was given up: the collector does not answer"
            );
        }
    }
}

/// The library's exporter, with a bound on its time, which counts what it could not export.
struct BoundedExporter {
    inner: MetricExporter,
    collector: String,
    /// Has the timer: exports run on a thread outside of it.
    runtime: Handle,
}

impl BoundedExporter {
    async fn within_limit(
        &self,
        work: impl Future<Output = OTelSdkResult> + Send,
    ) -> OTelSdkResult {
        let limit = {
            let _entered = self.runtime.enter();
            tokio::time::sleep(EXPORT_MAX)
        };
        match select(pin!(work), pin!(limit)).await {
            Either::Left((result, _)) => result,
            Either::Right(((), _)) => Err(OTelSdkError::Timeout(EXPORT_MAX)),
        }
    }
}

impl PushMetricExporter for BoundedExporter {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.within_limit(self.inner.export(metrics)).await;
        if let Err(error) = &result {
            export::dropped(Signal::Metrics, 1);
            tracing::warn!(
                collector = self.collector,
                %error,
                "an export of metrics was dropped: the collector does not take it; the next one has the same counters"
            );
        }
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}
