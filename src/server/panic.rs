//! Turns a panic into an error: one call is lost, not the connection with all its others.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;

/// What a panic said.
pub(super) struct Panicked(pub(super) String);

/// Runs a future to its end or its panic. Unwinding is safe: the future is never polled again.
pub(super) async fn catch<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(name)
}

/// The same for one step of something that is thrown away after a panic.
pub(super) fn catch_step<T>(step: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(step)).map_err(name)
}

fn name(payload: Box<dyn Any + Send>) -> Panicked {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no text");
    Panicked(format!("panic: {text}"))
}
