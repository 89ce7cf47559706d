//! The server's certificate.

use std::sync::Once;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::metrics::instrument::{MetricDescription, described};

const NOT_AFTER: MetricDescription = described(
    "earmark.tls.certificate.not_after.timestamp",
    "s",
    "Unix time at which the server's certificate expires; absent without TLS.",
);

static CERTIFICATE_NOT_AFTER: AtomicI64 = AtomicI64::new(0);
static IS_SERVED: Once = Once::new();

/// Serves when the certificate in use expires, in seconds since 1970.
#[expect(dead_code, reason = "the listener has no TLS yet")]
pub(crate) fn set_certificate_not_after(unix_seconds: i64) {
    CERTIFICATE_NOT_AFTER.store(unix_seconds, Ordering::Relaxed);
    IS_SERVED.call_once(|| {
        NOT_AFTER.read_by::<&str>([], || {
            Some(CERTIFICATE_NOT_AFTER.load(Ordering::Relaxed) as f64)
        });
    });
}
