//! Health, as the gRPC health service reports it.

use crate::metrics::instrument::{MetricDescription, as_number, described};

const SERVING: MetricDescription = described(
    "earmark.health.serving",
    "",
    "1 while the health service reports SERVING under this name, else 0.",
);

/// Serves the health under a name; nothing when there is no server any more.
pub(crate) fn watch(
    service: &'static str,
    is_serving: impl Fn() -> Option<bool> + Send + Sync + 'static,
) {
    SERVING.read_by([("service", service)], move || is_serving().map(as_number));
}
