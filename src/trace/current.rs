//! The span that a task works for. There is one only while the task works for a call that is sampled.

use std::future::Future;

use tokio::task::JoinHandle;
use tokio::task_local;

use crate::trace::span::TraceSpan;

task_local! {
    static CURRENT: TraceSpan;
}

/// Runs a future with this span as the current one.
pub fn within<F: Future>(span: TraceSpan, future: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(span, future)
}

/// The span that this task works for; `None` if it works for no call that is sampled.
pub fn current() -> Option<TraceSpan> {
    CURRENT.try_with(TraceSpan::clone).ok()
}

/// Spawns a task that works for the current span, if there is one.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    match current() {
        None => tokio::spawn(future),
        Some(span) => tokio::spawn(CURRENT.scope(span, future)),
    }
}
