//! The state of the database, as the monitor finds it.

use std::sync::LazyLock;

use opentelemetry::metrics::BoundCounter;

use crate::metrics::instrument::{MetricDescription, as_number, bound, described};

/// What the monitor found at its last look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DatabaseHealth {
    pub(crate) answers: bool,
    pub(crate) is_read_only: bool,
    pub(crate) is_outdated: bool,
}

const UP: MetricDescription = described(
    "earmark.database.up",
    "",
    "1 while the database answers, else 0.",
);
const READ_ONLY: MetricDescription = described(
    "earmark.database.read_only",
    "",
    "1 while the database answers but takes no writes.",
);
const OUTDATED: MetricDescription = described(
    "earmark.database.schema_outdated",
    "",
    "1 while the database lacks migrations that this version needs.",
);

static CONNECT_FAILURES: LazyLock<BoundCounter<u64>> = LazyLock::new(|| {
    let failures = described(
        "earmark.database.connect.failures",
        "{attempt}",
        "Attempts of pools and writers to connect to the database that failed.",
    );
    bound(&failures.counter(), &[])
});

/// Counts an attempt to connect that failed.
pub(crate) fn connect_failed() {
    CONNECT_FAILURES.add(1);
}

/// Serves the state of the database; nothing while nobody has looked yet, or any more.
pub(crate) fn watch(read: impl Fn() -> Option<DatabaseHealth> + Clone + Send + Sync + 'static) {
    LazyLock::force(&CONNECT_FAILURES);
    let serve = |gauge: MetricDescription, of: fn(DatabaseHealth) -> bool| {
        let read = read.clone();
        gauge.read_by::<&str>([], move || read().map(|health| as_number(of(health))));
    };
    serve(UP, |health| health.answers);
    serve(READ_ONLY, |health| health.is_read_only);
    serve(OUTDATED, |health| health.is_outdated);
}
