//! The issuer's public keys: reads them from their source, and again while they are used.
//!
//! A version of the keys has an age: the time since it was read, or read again and found unchanged.
//!
//! | age | what happens |
//! |---|---|
//! | below 80 % of the maximum | the keys are used |
//! | from there on | they are read again in the background, and until that succeeds again and again |
//! | above the maximum | a call waits a moment for a read that is under way, then uses the keys at hand |
//! | above the stale maximum, or never read | calls are refused, and health is NOT_SERVING |
//!
//! Besides, a token that no key at hand verifies leads to a read, at most one in [`JwksSettings::refresh_min`].

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use jsonwebtoken::Algorithm;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::limits::{
    JWKS_AGE_MAX, JWKS_REFRESH_MIN, JWKS_RETRY_PAUSE, JWKS_STALE_MAX, JWKS_TRIES_MAX,
    JWKS_WAIT_MAX, JWKS_WAITS_MAX, JWKS_WARNING_PAUSE,
};
use crate::trace;

use crate::metrics::keys;

mod document;
mod source;

pub use document::JwksError;
pub(crate) use document::JwksKey;
pub use source::JwksSource;
pub(crate) use source::{JwksDocument, read as read_document};

/// How the keys are read, and how long they are used.
#[derive(Clone, Debug)]
pub struct JwksSettings {
    /// A PEM file with root certificates for `https`, besides those of the operating system.
    pub ca: Option<PathBuf>,
    /// The age from which calls wait for a read. From 80 % of it on the keys are read in the background.
    pub age_max: Duration,
    /// The age from which the keys are not used any more.
    pub stale_max: Duration,
    /// The shortest time between two reads for tokens that the keys do not verify. The command line has no option for it.
    pub refresh_min: Duration,
}

impl Default for JwksSettings {
    fn default() -> Self {
        Self {
            ca: None,
            age_max: JWKS_AGE_MAX,
            stale_max: JWKS_STALE_MAX,
            refresh_min: JWKS_REFRESH_MIN,
        }
    }
}

/// The usable keys of one version of the document.
#[derive(Debug)]
pub(crate) struct JwksKeySet {
    keys: Vec<JwksKey>,
    /// Grows by one with each version of the document whose usable keys differ from those before.
    pub(crate) generation: u64,
    read_at: Instant,
}

/// The keys of an issuer, kept up to date.
#[derive(Debug)]
pub struct Jwks {
    source: JwksSource,
    settings: JwksSettings,
    /// `None` until the first read has succeeded.
    current: RwLock<Option<Arc<JwksKeySet>>>,
    reads: Mutex<JwksReads>,
    /// One permit for each call that may wait for a read.
    waits: Semaphore,
    stale_warning: RareWarning,
    failure_warning: RareWarning,
}

/// When the document was read, and is to be read again.
#[derive(Debug, Default)]
struct JwksReads {
    /// The last read, which may have ended.
    last: Option<JwksRead>,
    /// When a read for a token that the keys do not verify was started last.
    last_demanded: Option<Instant>,
    /// When to try again after a read that has failed, or has not succeeded yet.
    retry_at: Option<Instant>,
}

/// One read of the document, which all that need one at the time share.
#[derive(Clone, Debug)]
struct JwksRead {
    started: Instant,
    /// Cancelled when the read has ended, in whatever way.
    ended: CancellationToken,
}

impl Jwks {
    /// The keys of a source, with the default settings.
    ///
    /// # Errors
    /// The same as those of [`Jwks::open_with`].
    pub async fn open(source: JwksSource) -> Result<Arc<Self>, JwksError> {
        Self::open_with(source, JwksSettings::default()).await
    }

    /// The keys of a source. A URL need not answer yet: it is asked in the background until it does.
    ///
    /// # Errors
    /// A file cannot be read, is no JWKS or has no usable key; or the file with root certificates has none.
    pub async fn open_with(
        source: JwksSource,
        settings: JwksSettings,
    ) -> Result<Arc<Self>, JwksError> {
        if let Some(ca) = &settings.ca {
            source::certificates(ca)?;
        }
        let jwks = Arc::new(Self {
            source: source.clone(),
            settings,
            current: RwLock::new(None),
            reads: Mutex::default(),
            waits: Semaphore::new(JWKS_WAITS_MAX),
            stale_warning: RareWarning::default(),
            failure_warning: RareWarning::default(),
        });
        let (fresh, stale) = (jwks.settings.age_max, jwks.settings.stale_max);
        keys::watch(&jwks, |jwks| Some(jwks.current()?.age()), fresh, stale);
        if let JwksSource::File(_) = source {
            jwks.read().await?;
        } else {
            // So that the first calls wait for it.
            jwks.read_if_due();
        }
        tokio::spawn(Self::keep_fresh(Arc::downgrade(&jwks)));
        Ok(jwks)
    }

    /// Reads the files that a source and its settings name, as a server does at its start. No URL is asked.
    ///
    /// # Errors
    /// The same as those of [`Jwks::open_with`].
    pub(crate) async fn check_files(
        source: &JwksSource,
        settings: &JwksSettings,
    ) -> Result<(), JwksError> {
        if let Some(ca) = &settings.ca {
            source::certificates(ca)?;
        }
        if let JwksSource::File(_) = source {
            source::read(source.clone(), settings.ca.clone()).await?;
        }
        Ok(())
    }

    /// The keys at hand, unless they are older than `age_max`.
    pub(crate) fn fresh(&self) -> Option<Arc<JwksKeySet>> {
        let current = self.current()?;
        (current.age() < self.settings.age_max).then_some(current)
    }

    /// The keys at hand where there are no fresh ones: waits for a read that is under way until it has lasted for
    /// [`JWKS_WAIT_MAX`], unless [`JWKS_WAITS_MAX`] calls wait already.
    ///
    /// # Errors
    /// `KeysUnavailable` if the keys then are older than `stale_max`, or were never read.
    pub(crate) async fn fresh_or_stale(self: &Arc<Self>) -> Result<Arc<JwksKeySet>> {
        if let Some(read) = self.read_if_due() {
            self.wait_for(&read).await;
        }
        let current = self.current().ok_or(Error::KeysUnavailable)?;
        let age = current.age();
        if age >= self.settings.stale_max {
            return Err(Error::KeysUnavailable);
        }
        if age >= self.settings.age_max && self.stale_warning.is_due() {
            tracing::warn!(
                source = %self.source,
                ?age,
                stale_max = ?self.settings.stale_max,
                "the issuer's keys are too old and cannot be read again: they are used until they reach the stale maximum"
            );
        }
        Ok(current)
    }

    /// Whether there are keys that may be used, be they stale.
    pub(crate) fn is_usable(&self) -> bool {
        let current = self.current();
        current.is_some_and(|current| current.age() < self.settings.stale_max)
    }

    /// Keys that differ from those by which a token could not be verified, if there are any.
    ///
    /// Reads the document again for it, unless that was done less than `refresh_min` ago. Waits for a read that is under
    /// way as [`Jwks::fresh_or_stale`] does.
    pub(crate) async fn newer_than(self: &Arc<Self>, seen: &JwksKeySet) -> Option<Arc<JwksKeySet>> {
        let newer = || {
            self.current()
                .filter(|current| current.generation != seen.generation)
        };
        if let Some(newer) = newer() {
            return Some(newer);
        }
        if let Some(read) = self.read_on_demand() {
            self.wait_for(&read).await;
        }
        newer()
    }

    #[cfg(test)]
    pub(crate) fn is_reading(&self) -> bool {
        self.lock_reads().under_way().is_some()
    }

    fn current(&self) -> Option<Arc<JwksKeySet>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(Arc::clone)
    }

    fn lock_reads(&self) -> MutexGuard<'_, JwksReads> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of a read. One that takes longer goes on for the calls to come.
    async fn wait_for(&self, read: &JwksRead) {
        if let Ok(_permit) = self.waits.try_acquire() {
            _ = tokio::time::timeout_at(read.started + JWKS_WAIT_MAX, read.ended.cancelled()).await;
        }
    }

    /// Reads the document whenever it is due, until nobody else holds the keys.
    async fn keep_fresh(jwks: Weak<Self>) {
        while let Some(held) = jwks.upgrade() {
            let (read, due) = (held.read_if_due(), held.due_at(&held.lock_reads()));
            drop(held);
            match read {
                Some(read) => read.ended.cancelled().await,
                None => tokio::time::sleep_until(due).await,
            }
        }
    }

    /// When the document is to be read again, whatever tokens come.
    fn due_at(&self, reads: &JwksReads) -> Instant {
        let current = self.current();
        let aged = current.map(|current| current.read_at + self.settings.age_max * 4 / 5);
        aged.max(reads.retry_at).unwrap_or_else(Instant::now)
    }

    /// The read that is under way, which is started if it is due.
    fn read_if_due(self: &Arc<Self>) -> Option<JwksRead> {
        let mut reads = self.lock_reads();
        if let Some(read) = reads.under_way() {
            return Some(read);
        }
        let is_due = self.due_at(&reads) <= Instant::now();
        is_due.then(|| self.start_read(&mut reads))
    }

    /// The read that is under way, which is started if the last one of this kind is long enough ago.
    fn read_on_demand(self: &Arc<Self>) -> Option<JwksRead> {
        let mut reads = self.lock_reads();
        if let Some(read) = reads.under_way() {
            return Some(read);
        }
        let too_soon = reads
            .last_demanded
            .is_some_and(|last| last.elapsed() < self.settings.refresh_min);
        if too_soon {
            return None;
        }
        reads.last_demanded = Some(Instant::now());
        Some(self.start_read(&mut reads))
    }

    fn start_read(self: &Arc<Self>, reads: &mut JwksReads) -> JwksRead {
        let read = JwksRead {
            started: Instant::now(),
            ended: CancellationToken::new(),
        };
        reads.last = Some(read.clone());
        reads.retry_at = Some(self.retry_at());
        // A task of its own, because a call that is cancelled must not cancel the read that others wait for.
        let (jwks, guard) = (Arc::clone(self), read.ended.clone().drop_guard());
        trace::spawn(async move {
            if let Err(error) = jwks.read().await {
                keys::read_failed();
                jwks.lock_reads().retry_at = Some(jwks.retry_at());
                if jwks.failure_warning.is_due() {
                    tracing::warn!(source = %jwks.source, %error, "the issuer's keys cannot be read");
                }
            }
            drop(guard);
        });
        read
    }

    fn retry_at(&self) -> Instant {
        Instant::now() + JWKS_RETRY_PAUSE.min(self.settings.age_max / 5)
    }

    /// Reads the document, and uses its keys from now on. A version without any that can be used withdraws those before;
    /// the first one must have some.
    async fn read(&self) -> Result<(), JwksError> {
        let document = source::read(self.source.clone(), self.settings.ca.clone()).await?;
        let keys = document.keys;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if keys.is_empty() && current.is_none() {
            return Err(JwksError::NoKey);
        }
        let changed = current.as_ref().is_none_or(|before| before.keys != keys);
        if keys.is_empty() {
            tracing::warn!(source = %self.source, "the issuer has withdrawn all keys that can verify tokens: none is accepted");
        } else if changed {
            tracing::info!(source = %self.source, keys = keys.len(), "the issuer's keys were read, and are new");
        } else {
            tracing::debug!(source = %self.source, "the issuer's keys were read, and are unchanged");
        }
        let generation = current.as_ref().map_or(0, |before| before.generation);
        *current = Some(Arc::new(JwksKeySet {
            keys,
            generation: generation + u64::from(changed),
            read_at: Instant::now(),
        }));
        drop(current);
        self.lock_reads().retry_at = None;
        Ok(())
    }
}

impl JwksReads {
    fn under_way(&self) -> Option<JwksRead> {
        let last = self.last.as_ref();
        last.filter(|read| !read.ended.is_cancelled()).cloned()
    }
}

/// Why no key of a set is tried for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoCandidate {
    /// None has the token's `kid`, and none is without one.
    UnknownId,
    /// The token has no `kid`, there are several keys, and all of them have one.
    IdMissing,
    /// Those that its `kid` allows are for other algorithms.
    OtherAlgorithm,
}

impl JwksKeySet {
    /// The keys that may have signed a token with this `kid` and algorithm, at most [`JWKS_TRIES_MAX`]: those with its
    /// `kid`, of which there may be several while one is replaced; else those without any. Without a `kid` the only key
    /// of the set may have signed too.
    pub(crate) fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Vec<&JwksKey>, NoCandidate> {
        let with_id = |id: Option<&str>| -> Vec<&JwksKey> {
            self.keys.iter().filter(|key| key.id() == id).collect()
        };
        let mut candidates = match (id, self.keys.as_slice()) {
            (None, [only]) => vec![only],
            _ => with_id(id),
        };
        if candidates.is_empty() && id.is_some() {
            candidates = with_id(None);
        }
        if candidates.is_empty() {
            return Err(match id {
                Some(_) => NoCandidate::UnknownId,
                None => NoCandidate::IdMissing,
            });
        }
        candidates.retain(|key| key.algorithm == algorithm);
        candidates.truncate(JWKS_TRIES_MAX);
        if candidates.is_empty() {
            return Err(NoCandidate::OtherAlgorithm);
        }
        Ok(candidates)
    }

    fn age(&self) -> Duration {
        self.read_at.elapsed()
    }
}

/// A warning that is logged at most once in [`JWKS_WARNING_PAUSE`].
#[derive(Debug, Default)]
struct RareWarning(Mutex<Option<Instant>>);

impl RareWarning {
    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| last.elapsed() >= JWKS_WARNING_PAUSE);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

#[cfg(test)]
mod tests;
