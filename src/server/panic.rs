//! Turns a panic in a handler into an error of its call. Without this a panic would end the connection, and with it
//! every other call on it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;

/// A panic that was caught, with its message, which is for the log only.
pub(super) struct Panicked(pub(super) String);

/// Runs a future until it completes or panics. It is unwind safe because the future is never polled again.
pub(super) async fn catch<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(future)
        .catch_unwind()
        .await
        .map_err(panicked)
}

/// Runs a closure until it returns or panics. The caller must drop what the closure has borrowed after a panic.
pub(super) fn catch_sync<T>(step: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(step)).map_err(panicked)
}

fn panicked(payload: Box<dyn Any + Send>) -> Panicked {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no text");
    Panicked(format!("panic: {text}"))
}
