//! Settings of traces.

use clap::{ArgAction, Args};

use crate::config::values::ratio;
use crate::trace::TraceSettings;

/// Which calls are sampled.
#[derive(Args, Clone, Debug)]
pub(crate) struct TraceArgs {
    /// The part of the calls that is traced, from 0 to 1; 0.01 is one call in a hundred
    ///
    /// It decides about calls whose client does not say by its traceparent whether they are traced. Traces are sent only
    /// where --otlp-endpoint says. Too low: a call that one looks for is seldom among those that are traced. Too high: each
    /// traced call takes processor time, and more spans than the collector takes are dropped, and counted.
    #[arg(
        long,
        env = "EARMARK_TRACE_SAMPLE_RATIO",
        value_name = "RATIO",
        default_value = "0.01",
        value_parser = ratio
    )]
    pub(crate) trace_sample_ratio: f64,

    /// Whether clients decide by their traceparent whether their calls are traced: true or false
    ///
    /// If true, a client that traces its own call has it traced here too, whatever --trace-sample-ratio is. If false, the
    /// ratio decides alone; the trace of a call is the client's all the same. Set it to false if clients that you do not
    /// trust could have all their calls traced: that costs processor time, and fills the collector.
    #[arg(
        long,
        env = "EARMARK_TRACE_FOLLOW_CLIENTS",
        value_name = "BOOL",
        default_value_t = true,
        action = ArgAction::Set
    )]
    pub(crate) trace_follow_clients: bool,
}

impl TraceArgs {
    /// The settings of the export to this collector.
    pub(crate) fn settings(&self, endpoint: String) -> TraceSettings {
        TraceSettings {
            endpoint,
            sample_ratio: self.trace_sample_ratio,
            follow_callers: self.trace_follow_clients,
        }
    }
}
