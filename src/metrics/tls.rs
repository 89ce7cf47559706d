//! The server's certificate.

use crate::metrics::instrument::{MetricDescription, described};

const NOT_AFTER: MetricDescription = described(
    "earmark.tls.certificate.not_after.timestamp",
    "s",
    "Unix time at which the server's certificate expires; absent without TLS.",
);
const RELOADS_FAILED: MetricDescription = described(
    "earmark.tls.reload.failures",
    "{read}",
    "Reads of changed TLS files that could not be used; absent without TLS.",
);

/// Serves when the certificate in use expires, in seconds since 1970, and how often changed files could not be used.
pub(crate) fn watch(
    not_after: impl Fn() -> u64 + Send + Sync + 'static,
    reloads_failed: impl Fn() -> u64 + Send + Sync + 'static,
) {
    NOT_AFTER.read_by::<&str>([], move || Some(not_after() as f64));
    RELOADS_FAILED.counted_by(move || Some(reloads_failed() as f64));
}
