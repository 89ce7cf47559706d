//! The tracer of the process. There is none unless traces are exported.

use std::sync::OnceLock;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

struct ProcessTracer {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

static PROCESS: OnceLock<ProcessTracer> = OnceLock::new();

/// Makes it the tracer of the process; false if there is one already.
pub(super) fn install(provider: SdkTracerProvider) -> bool {
    let tracer = provider.tracer("earmark");
    PROCESS.set(ProcessTracer { provider, tracer }).is_ok()
}

/// `None` if traces are not exported.
pub(super) fn tracer() -> Option<&'static SdkTracer> {
    PROCESS.get().map(|process| &process.tracer)
}

/// What [`install`] was given.
pub(super) fn provider() -> Option<SdkTracerProvider> {
    PROCESS.get().map(|process| process.provider.clone())
}
