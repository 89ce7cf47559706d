//! The request to stop, and to stop at once.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Asks a server to stop: first in peace, then without waiting. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    begun: CancellationToken,
    hurried: CancellationToken,
}

impl Shutdown {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that SIGTERM and SIGINT begin; a second signal hurries it.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::new();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let asked = shutdown.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                asked.ask();
            }
        });
        Ok(shutdown)
    }

    /// Asks once: the first time to begin, then to hurry.
    pub fn ask(&self) {
        if self.begun.is_cancelled() {
            self.hurry();
        } else {
            self.begun.cancel();
        }
    }

    /// Skips the waiting; what must be flushed still is.
    pub fn hurry(&self) {
        self.begun.cancel();
        self.hurried.cancel();
    }

    /// Waits until somebody asks.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Whether somebody has asked.
    pub fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Sleeps, unless it is to hurry.
    pub(crate) async fn sleep(&self, duration: Duration) {
        let _ = tokio::time::timeout(duration, self.hurried.cancelled()).await;
    }
}
