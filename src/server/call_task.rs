//! The task of one call, which can end although its client reads nothing of the answer.
//!
//! hyper polls a response's body only when the client has room for more of it, so a body cannot enforce a deadline by
//! itself. Dropping the call's task resets its stream.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::audit;
use crate::limits::ANSWER_SEND_GRACE;
use crate::server::access_log;

tokio::task_local! {
    /// When the task ends at the latest.
    static END: Cell<Option<Instant>>;
}

/// Ends the task of the current call a little after its deadline, even if its client does not take the answer. Does
/// nothing without a deadline, or outside of such a task.
pub(super) fn end_at(deadline: Option<Instant>) {
    if let Some(deadline) = deadline {
        _ = END.try_with(|end| end.set(Some(deadline + ANSWER_SEND_GRACE)));
    }
}

/// Runs the future of a call until it has ended, or until the time that [`end_at`] was given within it.
pub(super) fn run<F>(call: F) -> impl Future<Output = ()> + Send
where
    F: Future + Send,
{
    // Its state is several KiB: in a box it is copied once, and not by each future around it.
    let mut call = Box::pin(call);
    // Created only for calls whose client does not take the answer at once.
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    let until_end = poll_fn(move |task| {
        if call.as_mut().poll(task).is_ready() {
            return Poll::Ready(());
        }
        let Some(time) = END.with(Cell::get) else {
            return Poll::Pending;
        };
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(time)));
        timer.as_mut().poll(task)
    });
    let call = audit::within(access_log::is_on(), until_end);
    END.scope(Cell::new(None), call)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_set_a_time_ends_then() {
        let started = Instant::now();
        let deadline = started + Duration::from_secs(3);
        run(async {
            end_at(Some(deadline));
            std::future::pending::<()>().await;
        })
        .await;
        assert!(started.elapsed() >= Duration::from_secs(3) + ANSWER_SEND_GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_a_time_goes_on() {
        let slow = run(async {
            end_at(None);
            tokio::time::sleep(Duration::from_secs(3_600)).await;
        });
        let ended = tokio::time::timeout(Duration::from_secs(7_200), slow).await;
        assert!(ended.is_ok());
    }
}
