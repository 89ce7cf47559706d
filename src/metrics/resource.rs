//! What metrics and traces are of: this process.

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::EnvResourceDetector;
use uuid::Uuid;

use crate::version::VERSION;

/// Tells the processes of a service apart.
static INSTANCE: LazyLock<String> = LazyLock::new(|| Uuid::new_v4().to_string());

/// The process, where `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` do not say otherwise.
pub(crate) fn of_process() -> Resource {
    let resource = Resource::builder()
        .with_attributes([
            KeyValue::new("service.name", "earmark"),
            KeyValue::new("service.version", VERSION),
            KeyValue::new("service.instance.id", INSTANCE.as_str()),
        ])
        .with_detector(Box::new(EnvResourceDetector::new()));
    match std::env::var("OTEL_SERVICE_NAME") {
        Ok(name) if !name.is_empty() => resource.with_service_name(name).build(),
        _ => resource.build(),
    }
}
