//! Makes instruments.

use std::sync::{Arc, Weak};

use opentelemetry::metrics::{BoundCounter, Counter, Histogram, Meter};
use opentelemetry::{KeyValue, Value, global};

/// The upper bounds of durations, in seconds. A call by key takes about a millisecond, a call that is refused for its
/// time up to 30 s.
const SECONDS: [f64; 15] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// The upper bounds of sizes of batches, up to the largest.
const SIZES: [f64; 13] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0,
];

/// The values of an instrument's labels.
pub(super) type Labels<'a> = &'a [(&'static str, &'static str)];

/// An instrument's name, its unit in UCUM, and what it means.
#[derive(Clone, Copy)]
pub(super) struct MetricDescription {
    name: &'static str,
    unit: &'static str,
    meaning: &'static str,
}

/// Describes an instrument. In Prometheus's text dots are underscores, and the unit `s` or `By` is a suffix.
pub(super) const fn described(
    name: &'static str,
    unit: &'static str,
    meaning: &'static str,
) -> MetricDescription {
    MetricDescription {
        name,
        unit,
        meaning,
    }
}

fn meter() -> Meter {
    global::meter("earmark")
}

fn key_values(labels: Labels<'_>) -> Vec<KeyValue> {
    let key_value = |(key, value): &(&'static str, &'static str)| KeyValue::new(*key, *value);
    labels.iter().map(key_value).collect()
}

impl MetricDescription {
    /// A counter, to be bound to labels.
    pub(super) fn counter(self) -> Counter<u64> {
        meter()
            .u64_counter(self.name)
            .with_unit(self.unit)
            .with_description(self.meaning)
            .build()
    }

    /// A histogram of durations in seconds, to be bound to labels.
    pub(super) fn durations(self) -> Histogram<f64> {
        meter()
            .f64_histogram(self.name)
            .with_unit(self.unit)
            .with_description(self.meaning)
            .with_boundaries(SECONDS.to_vec())
            .build()
    }

    /// A histogram of sizes of batches, to be bound to labels.
    pub(super) fn sizes(self) -> Histogram<u64> {
        meter()
            .u64_histogram(self.name)
            .with_unit(self.unit)
            .with_description(self.meaning)
            .with_boundaries(SIZES.to_vec())
            .build()
    }

    /// Reads a value whenever metrics are collected; `None` is left out. It must not block or panic.
    pub(super) fn read_by<V: Into<Value>>(
        self,
        labels: impl IntoIterator<Item = (&'static str, V)>,
        read: impl Fn() -> Option<f64> + Send + Sync + 'static,
    ) {
        let labels: Vec<KeyValue> = labels
            .into_iter()
            .map(|(key, value)| KeyValue::new(key, value))
            .collect();
        // The provider keeps the callback: the instrument itself is not needed.
        meter()
            .f64_observable_gauge(self.name)
            .with_unit(self.unit)
            .with_description(self.meaning)
            .with_callback(move |found| {
                if let Some(value) = read() {
                    found.observe(value, &labels);
                }
            })
            .build();
    }

    /// The same of a component, for as long as it exists.
    pub(super) fn read_of<T: Send + Sync + 'static>(
        self,
        labels: Labels<'static>,
        component: &Arc<T>,
        read: impl Fn(&T) -> f64 + Send + Sync + 'static,
    ) {
        let component: Weak<T> = Arc::downgrade(component);
        self.read_by(labels.iter().copied(), move || {
            component.upgrade().map(|component| read(&component))
        });
    }

    /// Reads a count that only grows, whenever metrics are collected.
    pub(super) fn counted_by(self, read: impl Fn() -> Option<f64> + Send + Sync + 'static) {
        meter()
            .f64_observable_counter(self.name)
            .with_unit(self.unit)
            .with_description(self.meaning)
            .with_callback(move |found| {
                if let Some(value) = read() {
                    found.observe(value, &[]);
                }
            })
            .build();
    }
}

/// Binds a counter to its labels. It is served as 0 before it has counted anything: of a series that begins with 1,
/// Prometheus sees no increase.
pub(super) fn bound(counter: &Counter<u64>, labels: Labels<'_>) -> BoundCounter<u64> {
    let bound = counter.bind(&key_values(labels));
    bound.add(0);
    bound
}

/// The labels of a histogram or counter as the library takes them.
pub(super) fn attributes(labels: Labels<'_>) -> Vec<KeyValue> {
    key_values(labels)
}

/// The value of a gauge that says whether something is so: 1 for true, 0 for false.
pub(super) fn as_number(is_true: bool) -> f64 {
    f64::from(u8::from(is_true))
}
