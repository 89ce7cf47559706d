//! The issuer's keys.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use opentelemetry::metrics::BoundCounter;

use crate::metrics::instrument::{MetricDescription, bound, described};

const AGE: MetricDescription = described(
    "earmark.jwks.age",
    "s",
    "Time since the issuer's keys were last read; absent before the first time.",
);
const AGE_LIMIT: MetricDescription = described(
    "earmark.jwks.age_limit",
    "s",
    "The settings --jwks-max-age (limit=fresh) and --jwks-stale-max (limit=stale).",
);

static READ_FAILURES: LazyLock<BoundCounter<u64>> = LazyLock::new(|| {
    let failures = described(
        "earmark.jwks.read.failures",
        "{attempt}",
        "Attempts to read the issuer's keys that failed.",
    );
    bound(&failures.counter(), &[])
});

/// Counts an attempt to read the keys that failed.
pub(crate) fn read_failed() {
    READ_FAILURES.add(1);
}

/// Serves the age of the keys.
pub(crate) fn watch<T: Send + Sync + 'static>(
    keys: &Arc<T>,
    age: fn(&T) -> Option<Duration>,
    fresh: Duration,
    stale: Duration,
) {
    LazyLock::force(&READ_FAILURES);
    let weak = Arc::downgrade(keys);
    AGE.read_by::<&str>([], move || Some(age(&*weak.upgrade()?)?.as_secs_f64()));
    AGE_LIMIT.read_of(&[("limit", "fresh")], keys, move |_| fresh.as_secs_f64());
    AGE_LIMIT.read_of(&[("limit", "stale")], keys, move |_| stale.as_secs_f64());
}
