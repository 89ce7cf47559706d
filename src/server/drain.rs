//! Requests a server's shutdown, by a signal or from code.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A request to shut down. The first one starts the drain, a second one ends its waits. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    begun: CancellationToken,
    hurried: CancellationToken,
}

impl Shutdown {
    /// A shutdown that has not been requested.
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown that SIGTERM and SIGINT request: the first signal starts the drain, a second one ends its waits.
    ///
    /// # Errors
    /// The signal handlers cannot be installed.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let on_signal = shutdown.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                on_signal.ask();
            }
        });
        Ok(shutdown)
    }

    /// Requests the shutdown, or, if it was requested before, ends its waits as [`Shutdown::hurry`] does.
    pub fn ask(&self) {
        if self.begun.is_cancelled() {
            self.hurry();
        } else {
            self.begun.cancel();
        }
    }

    /// Requests the shutdown and ends its waits. The closing hooks still run: accepted writes are flushed.
    pub fn hurry(&self) {
        self.begun.cancel();
        self.hurried.cancel();
    }

    /// Completes when the shutdown is requested.
    pub(crate) async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Runs a step of a start; `None` as soon as the shutdown is requested, without waiting for the step.
    pub(crate) async fn or_sooner<T>(&self, step: impl Future<Output = T>) -> Option<T> {
        self.begun.run_until_cancelled(step).await
    }

    /// Whether the shutdown has been requested.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Sleeps for this duration; returns early once the waits are to end.
    pub(crate) async fn sleep(&self, duration: Duration) {
        let _ = tokio::time::timeout(duration, self.hurried.cancelled()).await;
    }
}
