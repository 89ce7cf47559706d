//! Telemetry that was lost on its way out.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use opentelemetry::metrics::BoundCounter;

use crate::metrics::instrument::{bound, described};

/// A kind of telemetry that is sent to a collector.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    /// Counted in exports, each of which has the state of all metrics.
    Metrics,
    /// Counted in spans, each of which is sent once.
    Traces,
}

impl Signal {
    const ALL: [Self; 2] = [Self::Metrics, Self::Traces];

    const fn label(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Traces => "traces",
        }
    }
}

static DROPPED: LazyLock<[BoundCounter<u64>; Signal::ALL.len()]> = LazyLock::new(|| {
    let counter = described(
        "earmark.telemetry.dropped",
        "{item}",
        "Telemetry that the OTLP endpoint did not take: exports of metrics, spans of traces.",
    )
    .counter();
    Signal::ALL.map(|signal| bound(&counter, &[("signal", signal.label())]))
});

/// Whether anybody collects metrics.
static IS_COLLECTED: AtomicBool = AtomicBool::new(false);

/// Counts what the collector did not take, or what was not even sent to it.
pub(crate) fn dropped(signal: Signal, items: u64) {
    DROPPED[signal as usize].add(items);
}

/// Declares that metrics are collected from now on: the provider is installed.
pub(crate) fn begin() {
    IS_COLLECTED.store(true, Ordering::Relaxed);
    LazyLock::force(&DROPPED);
}

/// Whether metrics are collected. What costs more than a few instructions is measured only then.
pub(crate) fn is_collected() -> bool {
    IS_COLLECTED.load(Ordering::Relaxed)
}
