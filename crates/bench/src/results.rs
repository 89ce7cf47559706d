//! What a run has measured, before it is judged and shown.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::arm::Round;
use crate::row::RowDone;

/// What the rows of a run have measured.
#[derive(Default)]
pub(crate) struct BenchResults {
    pub(crate) rows: Vec<RowDone>,
    pub(crate) creates: Vec<Curve>,
    pub(crate) gets: Vec<Curve>,
    pub(crate) open_loops: Vec<OpenLoop>,
    pub(crate) growth: Vec<Growth>,
    /// The server's memory in MiB, by seconds.
    pub(crate) memory: Vec<(f64, f64)>,
    /// Rows that could not be run to their end, and why.
    pub(crate) failures: Vec<String>,
}

/// Throughput and latency of one arm at several numbers of callers.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<Point>,
}

/// One of them. Times are in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Point {
    pub(crate) callers: usize,
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Curve {
    /// Where most was done.
    pub(crate) fn best(&self) -> Option<&Point> {
        let by_throughput = |a: &&Point, b: &&Point| a.per_second.total_cmp(&b.per_second);
        self.points.iter().max_by(by_throughput)
    }
}

/// What a call costs at several sizes of the tables.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Growth {
    pub(crate) work: &'static str,
    /// Rows, and processor time of a call in microseconds: the server's and Postgres's.
    pub(crate) points: Vec<(f64, f64, f64)>,
}

/// An arm that was called at a steady rate.
#[derive(Clone, Serialize)]
pub(crate) struct OpenLoop {
    pub(crate) name: &'static str,
    /// Calls a second that were intended.
    pub(crate) rate: f64,
    pub(crate) round: Round,
    /// In microseconds, from the intended time on.
    #[serde(skip)]
    pub(crate) latency: Histogram<u64>,
}
