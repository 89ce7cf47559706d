//! The length of a round.

use std::time::Duration;

/// The length of a round: what is not counted, and what is.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) warm_up: Duration,
    pub(crate) duration: Duration,
}
