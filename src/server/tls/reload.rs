//! The configuration in use, which is replaced when its files change.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use super::certificate::as_text;
use super::files::{LoadedTls, TlsFileError, TlsFiles};

/// Time between two warnings of one cause.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);
/// Causes of warnings that are remembered; with more, the oldest is forgotten, and may be warned of again.
const CAUSES_MAX: usize = 16;

/// The TLS of a listener. Clones share it.
#[derive(Clone)]
pub struct ServerTls(Arc<TlsState>);

struct TlsState {
    files: TlsFiles,
    current: RwLock<Arc<LoadedTls>>,
    reloads_failed: AtomicU64,
}

/// What is to be watched of a listener's TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsStatus {
    /// When the certificate in use expires, in seconds of Unix time.
    pub not_after: u64,
    /// How often changed files could not be used, since the start. The files in use stay in use, and the others are tried
    /// again after each interval, so that this rises until they can be used.
    pub reloads_failed: u64,
}

impl ServerTls {
    /// Reads the files, and makes the first configuration of them. It blocks for as long as that takes.
    ///
    /// A certificate that has expired, or is not valid yet, is used, with a warning. A running server would go on with
    /// it as well, and picks up the next one; so a server that is started again must do no less.
    ///
    /// # Errors
    /// A file that cannot be read or used, or two that do not belong together.
    pub fn open(files: TlsFiles) -> Result<Self, TlsFileError> {
        let loaded = files.load(&files.read()?)?;
        if let Some(fault) = loaded.validity.fault_at(unix_now()) {
            let error = files.invalid_now(fault);
            tracing::warn!(
                %error,
                "the certificate is not valid, and clients will refuse it: replace the file; it is read again by itself"
            );
        }
        Ok(Self(Arc::new(TlsState {
            files,
            current: RwLock::new(Arc::new(loaded)),
            reloads_failed: AtomicU64::new(0),
        })))
    }

    /// What metrics show of it.
    pub fn status(&self) -> TlsStatus {
        TlsStatus {
            not_after: self.current().validity.not_after,
            reloads_failed: self.0.reloads_failed.load(Ordering::Relaxed),
        }
    }

    /// What a connection that begins now uses.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current().config)
    }

    /// Looks at the files at each interval, and at once on SIGHUP, until it is dropped. It compares contents: where a
    /// file is a symbolic link into a folder that is replaced, as in volumes of Kubernetes, times of changes say little.
    pub(crate) async fn keep_current(self) {
        let mut hangup = signal(SignalKind::hangup()).ok();
        let mut warnings = Warnings::default();
        let mut tried_before = None;
        loop {
            let is_asked = tokio::select! {
                () = sleep(self.0.files.reload_interval) => false,
                () = received(&mut hangup) => true,
            };
            let tls = self.clone();
            let looking = tokio::task::spawn_blocking(move || tls.reload());
            let Ok(found) = looking.await else { continue };
            match found {
                Ok(()) => tried_before = None,
                Err((error, contents)) => {
                    // Certificate and key are not replaced at the same instant: a first failure may mean no more than that.
                    let is_settled = tried_before.replace(contents) == Some(contents);
                    if is_settled || is_asked {
                        self.0.reloads_failed.fetch_add(1, Ordering::Relaxed);
                        warnings.warn(&error);
                    }
                }
            }
        }
    }

    /// Uses the files if they have changed. It blocks.
    ///
    /// # Errors
    /// Why they cannot be used, and what identifies their contents, if they can be read.
    fn reload(&self) -> Result<(), (TlsFileError, Option<[u8; 32]>)> {
        let files = &self.0.files;
        let contents = files.read().map_err(|error| (error, None))?;
        let digest = contents.digest();
        let current = self.current();
        let now = unix_now();
        let refused = |error| (error, Some(digest));
        if digest == current.digest {
            return match current.validity.fault_at(now) {
                Some(fault) => Err(refused(files.invalid_now(fault))),
                None => Ok(()),
            };
        }
        let loaded = files.load(&contents).map_err(refused)?;
        // Better the one in use than one that no client accepts.
        if let (Some(fault), None) = (
            loaded.validity.fault_at(now),
            current.validity.fault_at(now),
        ) {
            return Err(refused(files.invalid_now(fault)));
        }
        tracing::info!(
            not_after = as_text(loaded.validity.not_after),
            "the files of TLS have changed: connections that begin now use them"
        );
        let mut slot = self
            .0
            .current
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *slot = Arc::new(loaded);
        Ok(())
    }

    fn current(&self) -> Arc<LoadedTls> {
        let current = self.0.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the key.
        f.debug_struct("ServerTls")
            .field("files", &self.0.files)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// Warns once a minute of each cause.
#[derive(Default)]
struct Warnings(Vec<(TlsFileError, Instant)>);

impl Warnings {
    fn warn(&mut self, error: &TlsFileError) {
        self.0.retain(|(_, at)| at.elapsed() < WARNING_INTERVAL);
        if self.0.iter().any(|(warned, _)| warned == error) {
            return;
        }
        if self.0.len() == CAUSES_MAX {
            self.0.remove(0);
        }
        self.0.push((error.clone(), Instant::now()));
        tracing::warn!(
            %error,
            "the files of TLS cannot be used: connections go on with what was read before, and the files are tried again"
        );
    }
}

/// Completes at the next signal; never if signals cannot be received.
async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => _ = signal.recv().await,
        None => std::future::pending().await,
    }
}

fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
