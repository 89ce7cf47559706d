//! What calls share, and how often a call found none of it left.

use std::sync::{Arc, LazyLock};

use opentelemetry::metrics::BoundCounter;

use crate::metrics::instrument::{MetricDescription, bound, described};

/// Something that calls share. A call that finds none left is refused with OVERLOADED. Calls that the lanes to the database
/// refuse are counted there.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SharedBound {
    Calls,
    RequestBytes,
    AnswerBytes,
    Watches,
    Reflections,
    /// Health watches and reflection calls of one connection.
    ConnectionStreams,
    Verifications,
    WriterQueue,
}

impl SharedBound {
    const ALL: [Self; 8] = [
        Self::Calls,
        Self::RequestBytes,
        Self::AnswerBytes,
        Self::Watches,
        Self::Reflections,
        Self::ConnectionStreams,
        Self::Verifications,
        Self::WriterQueue,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::RequestBytes => "request_bytes",
            Self::AnswerBytes => "answer_bytes",
            Self::Watches => "watches",
            Self::Reflections => "reflections",
            Self::ConnectionStreams => "connection_streams",
            Self::Verifications => "verifications",
            Self::WriterQueue => "writer_queue",
        }
    }

    /// What is used of it, and its limit; `None` where nobody needs them.
    const fn gauges(self) -> Option<[MetricDescription; 2]> {
        match self {
            Self::Calls => Some([
                described(
                    "earmark.calls.in_progress",
                    "{call}",
                    "Calls from their complete request to the last byte of their answer.",
                ),
                described("earmark.calls.limit", "{call}", "The setting --calls-max."),
            ]),
            Self::RequestBytes => Some([
                described(
                    "earmark.request.in_flight",
                    "By",
                    "Bytes of requests that are received or handled, small ones aside.",
                ),
                described(
                    "earmark.request.in_flight_limit",
                    "By",
                    "The setting --request-bytes-max.",
                ),
            ]),
            Self::AnswerBytes => Some([
                described(
                    "earmark.answer.in_flight",
                    "By",
                    "Bytes of answers that wait to be sent, small ones aside.",
                ),
                described(
                    "earmark.answer.in_flight_limit",
                    "By",
                    "The setting --answer-bytes-max.",
                ),
            ]),
            _ => None,
        }
    }
}

static REFUSALS: LazyLock<Vec<BoundCounter<u64>>> = LazyLock::new(|| {
    let counter = described(
        "earmark.overload.refusals",
        "{call}",
        "Calls refused with OVERLOADED, by what was used up; those of lanes are in earmark_lane_refused_total.",
    )
    .counter();
    let bind = |shared: SharedBound| bound(&counter, &[("bound", shared.label())]);
    SharedBound::ALL.map(bind).into()
});

/// Counts a call that was refused because of this bound.
pub(crate) fn refused(shared: SharedBound) {
    if let Some(counter) = REFUSALS.get(shared as usize) {
        counter.add(1);
    }
}

/// Serves what is used of a bound.
pub(crate) fn watch<T: Send + Sync + 'static>(
    shared: SharedBound,
    component: &Arc<T>,
    used: fn(&T) -> usize,
    limit: usize,
) {
    LazyLock::force(&REFUSALS);
    if let Some([used_gauge, limit_gauge]) = shared.gauges() {
        used_gauge.read_of(&[], component, move |component| used(component) as f64);
        limit_gauge.read_of(&[], component, move |_| limit as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_has_the_counter_at_its_number() {
        for (place, shared) in SharedBound::ALL.into_iter().enumerate() {
            assert_eq!(shared as usize, place, "{shared:?}");
        }
    }
}
