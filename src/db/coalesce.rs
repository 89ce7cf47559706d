//! Joins reads by key that many callers make at the same time into one statement.
//!
//! A read is sent at once if no statement is under way. Otherwise it waits, together with those that come after it,
//! until that statement is answered, until [`COALESCED_JOIN_MIN`] reads wait, or for [`COALESCED_JOIN_WAIT_MAX`]. Most
//! of the cost of a small statement is fixed, so fewer and larger statements serve more reads. A read never joins a
//! statement that was already sent, so it sees every write that was acknowledged before the read began.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::{Error, Result};
use crate::limits::{
    COALESCED_JOIN_MIN, COALESCED_JOIN_WAIT_MAX, COALESCED_PRINCIPAL_MAX, COALESCED_QUEUE_MAX,
    COALESCED_READS_MAX, COALESCED_STATEMENTS_MAX, READ_BY_KEY_MAX,
};
use crate::metrics::lanes::{self, DatabaseLane};
use crate::trace::{self, WaitSpan};
use crate::turns::FairQueue;
use crate::types::principal::Principal;

/// A read of many records by their keys in one statement.
pub(crate) trait ReadMany: Send + Sync + 'static {
    /// The key of one record.
    type Key: Send + Sync + 'static;
    /// The result of the read of one record.
    type Value: Send + 'static;

    /// Reads the records of all keys. The results must be as many as the keys, and in their order.
    fn read(
        &self,
        keys: &[Self::Key],
    ) -> impl Future<Output = Result<Vec<Result<Self::Value>>>> + Send;
}

/// A read that waits for its statement.
struct PendingRead<K, V> {
    key: K,
    answer: oneshot::Sender<Result<V>>,
    since: Instant,
    /// Of a read of a sampled call.
    span: Option<Box<WaitSpan>>,
}

/// The reads of one kind that wait, by principal, and a signal that there is one more.
struct PendingReads<K, V> {
    waiting: Mutex<FairQueue<Principal, PendingRead<K, V>>>,
    came: Notify,
}

impl<K, V> PendingReads<K, V> {
    fn waiting(&self) -> MutexGuard<'_, FairQueue<Principal, PendingRead<K, V>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once so many wait.
    async fn are(&self, many: usize) {
        while self.waiting().len() < many {
            // A read that comes before this is polled leaves a permit.
            self.came.notified().await;
        }
    }

    /// Takes the reads of one statement: of each principal in turn, so that one with many delays no other. Those whose
    /// callers have been cancelled are left out.
    fn take(&self) -> Vec<PendingRead<K, V>> {
        let mut waiting = self.waiting();
        let mut taken = Vec::with_capacity(waiting.len().min(COALESCED_READS_MAX));
        let before = waiting.len();
        while taken.len() < COALESCED_READS_MAX
            && let Some((_, read)) = waiting.pop(|_| true)
        {
            if !read.answer.is_closed() {
                taken.push(read);
            }
        }
        lanes::end_wait_by_id(before - waiting.len());
        drop(waiting);
        let now = Instant::now();
        for read in &taken {
            DatabaseLane::ById.counters().waited(now - read.since);
        }
        taken
    }

    /// Answers those with an error that have waited too long to be sent now.
    fn fail_late(&self, error: &Error) {
        let mut waiting = self.waiting();
        let mut others = FairQueue::default();
        while let Some((principal, read)) = waiting.pop(|_| true) {
            if read.since.elapsed() < READ_BY_KEY_MAX {
                others.push(principal, read);
            } else {
                lanes::end_wait_by_id(1);
                _ = read.answer.send(Err(error.clone()));
            }
        }
        *waiting = others;
    }
}

/// The queue of the reads of one kind. Cheap to clone.
pub(crate) struct Coalescer<K, V> {
    reads: Arc<PendingReads<K, V>>,
    /// Ends the task when the last clone is dropped.
    _open: Arc<DropGuard>,
}

impl<K, V> std::fmt::Debug for Coalescer<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coalescer").finish_non_exhaustive()
    }
}

impl<K, V> Clone for Coalescer<K, V> {
    fn clone(&self) -> Self {
        Self {
            reads: Arc::clone(&self.reads),
            _open: Arc::clone(&self._open),
        }
    }
}

impl<K: Send + Sync + 'static, V: Send + 'static> Coalescer<K, V> {
    /// Starts the task that sends the statements; it ends when the last clone is dropped.
    pub(crate) fn start(reader: impl ReadMany<Key = K, Value = V>) -> Self {
        let closed = CancellationToken::new();
        let reads = Arc::new(PendingReads {
            waiting: Mutex::default(),
            came: Notify::new(),
        });
        let sending = dispatch(Arc::new(reader), Arc::clone(&reads));
        tokio::spawn(closed.clone().run_until_cancelled_owned(sending));
        Self {
            reads,
            _open: Arc::new(closed.drop_guard()),
        }
    }

    /// Reads the record of one key.
    ///
    /// # Errors
    /// Those of the statement and of the record; [`Error::Overloaded`] at once if [`COALESCED_QUEUE_MAX`] reads wait, or
    /// [`COALESCED_PRINCIPAL_MAX`] of the principal. If the database stops to answer, those that have waited for
    /// [`READ_BY_KEY_MAX`] have the error of the statement before them.
    pub(crate) async fn read(&self, principal: Principal, key: K) -> Result<V> {
        let (answer, answered) = oneshot::channel();
        let span = trace::wait_span("wait for a read by id");
        let waits = {
            let mut waiting = self.reads.waiting();
            let is_full = waiting.len() >= COALESCED_QUEUE_MAX
                || waiting.len_of(&principal) >= COALESCED_PRINCIPAL_MAX;
            if is_full {
                DatabaseLane::ById.counters().refused();
                return Err(Error::Overloaded);
            }
            let since = Instant::now();
            let read = PendingRead {
                key,
                answer,
                since,
                span,
            };
            waiting.push(principal, read);
            lanes::begin_wait_by_id();
            waiting.len()
        };
        // These are the numbers that the task waits for; to wake it for each read costs more than the read itself.
        if waits == 1 || waits == COALESCED_JOIN_MIN {
            self.reads.came.notify_one();
        }
        let gone = |_| {
            Err(Error::internal(
                "the task of a coalesced read ended without an answer",
            ))
        };
        answered.await.unwrap_or_else(gone)
    }
}

async fn dispatch<R: ReadMany>(reader: Arc<R>, reads: Arc<PendingReads<R::Key, R::Value>>) {
    let permits = Arc::new(Semaphore::new(COALESCED_STATEMENTS_MAX as usize));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        reads.are(1).await;
        tokio::select! {
            biased;
            // All other permits are free: no other statement is under way.
            _ = permits.acquire_many(COALESCED_STATEMENTS_MAX - 1) => {}
            () = reads.are(COALESCED_JOIN_MIN) => {}
            () = sleep(COALESCED_JOIN_WAIT_MAX) => {}
        }
        let taken = reads.take();
        if !taken.is_empty() {
            tokio::spawn(carry_out(
                Arc::clone(&reader),
                taken,
                Arc::clone(&reads),
                permit,
            ));
        }
    }
}

async fn carry_out<R: ReadMany>(
    reader: Arc<R>,
    mut taken: Vec<PendingRead<R::Key, R::Value>>,
    reads: Arc<PendingReads<R::Key, R::Value>>,
    _permit: OwnedSemaphorePermit,
) {
    let spans = taken.iter_mut().filter_map(|read| read.span.as_deref_mut());
    let span = trace::shared_span("read by id", spans);
    let (keys, answers): (Vec<_>, Vec<_>) = taken
        .into_iter()
        .map(|read| (read.key, (read.answer, read.span)))
        .unzip();
    let reading = reader.read(&keys);
    let read = match span {
        None => reading.await,
        // On the heap, since it is seldom needed.
        Some(span) => Box::pin(trace::within(span, reading)).await,
    };
    let failed = match read {
        Ok(values) if values.len() == keys.len() => {
            for ((answer, span), value) in answers.into_iter().zip(values) {
                drop(span);
                _ = answer.send(value);
            }
            return;
        }
        Ok(_) => {
            Error::internal("a coalesced read returned another number of results than it has keys")
        }
        Err(error) => error,
    };
    if matches!(failed, Error::DatabaseUnavailable(_)) {
        reads.fail_late(&failed);
    }
    for (answer, span) in answers {
        drop(span);
        _ = answer.send(Err(failed.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::*;

    /// Notes what was read together.
    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<Vec<Vec<u32>>>>);

    impl ReadMany for Slow {
        type Key = u32;
        type Value = u32;

        async fn read(&self, keys: &[u32]) -> Result<Vec<Result<u32>>> {
            self.0.lock().expect("no panic").push(keys.to_vec());
            sleep(Duration::from_millis(10)).await;
            if keys.contains(&999) {
                return Err(Error::Overloaded);
            }
            Ok(keys.iter().map(|key| odd_doubled(*key)).collect())
        }
    }

    fn odd_doubled(key: u32) -> Result<u32> {
        if key % 2 == 1 {
            Ok(key * 2)
        } else {
            Err(Error::MethodUnknown)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lone_read_goes_at_once_and_a_crowd_goes_together() {
        let log = Slow::default();
        let reads = Coalescer::start(log.clone());
        assert_eq!(reads.read(Principal::Server, 7).await, Ok(14));
        let crowd = join_all((0..500).map(|key| {
            let reads = reads.clone();
            async move { reads.read(Principal::Server, key).await }
        }));
        for (key, answer) in (0..500).zip(crowd.await) {
            assert_eq!(answer, odd_doubled(key), "each has its own answer");
        }
        let statements = log.0.lock().expect("no panic");
        assert_eq!(statements[0], [7]);
        assert!(statements.len() < 20, "{} statements", statements.len());
        assert!(
            statements
                .iter()
                .all(|keys| keys.len() <= COALESCED_READS_MAX)
        );
    }

    /// How many reads went in each statement, and how long they took together, when so many are made while one is under
    /// way that will take 10 ms.
    async fn behind_another(many: u32) -> (Vec<usize>, Duration) {
        let log = Slow::default();
        let reads = Coalescer::start(log.clone());
        let ahead = tokio::spawn({
            let reads = reads.clone();
            async move { reads.read(Principal::Server, 1).await }
        });
        sleep(Duration::from_millis(1)).await;
        let begun = Instant::now();
        let behind = join_all((0..many).map(|key| {
            let reads = reads.clone();
            async move { reads.read(Principal::Server, key).await }
        }));
        assert_eq!(behind.await.len(), many as usize);
        let took = begun.elapsed();
        ahead.await.expect("no panic").expect("read");
        let statements = log.0.lock().expect("no panic");
        (statements.iter().map(Vec::len).collect(), took)
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_statement_is_sent_for_many_at_once_and_for_few_in_a_while() {
        let millis = Duration::from_millis;
        let many = u32::try_from(COALESCED_JOIN_MIN).expect("few");
        let (statements, took) = behind_another(many).await;
        assert_eq!(statements, [1, COALESCED_JOIN_MIN]);
        assert_eq!(took, millis(10));
        let (statements, took) = behind_another(many - 1).await;
        assert_eq!(statements, [1, COALESCED_JOIN_MIN - 1]);
        let late = COALESCED_JOIN_WAIT_MAX;
        assert!(
            (late..=late + millis(1)).contains(&(took - millis(10))),
            "{took:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_statement_fails_its_own_reads_and_no_later_one() {
        let reads = Coalescer::start(Slow::default());
        assert_eq!(
            reads.read(Principal::Server, 999).await,
            Err(Error::Overloaded)
        );
        assert_eq!(reads.read(Principal::Server, 1).await, Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_principal_with_many_reads_delays_another_by_no_more_than_a_statement() {
        let log = Slow::default();
        let reads = Coalescer::start(log.clone());
        let many = tokio::spawn({
            let reads = reads.clone();
            async move {
                let all = (0..10 * COALESCED_READS_MAX as u32).map(|key| {
                    let reads = reads.clone();
                    async move { reads.read(Principal::Server, 1_001 + 2 * key).await }
                });
                join_all(all).await
            }
        });
        sleep(Duration::from_millis(1)).await;
        let other = reads.read(Principal::Admin, 100_001).await;
        assert_eq!(other, Ok(200_002));
        assert!(!many.is_finished());
        for answer in many.await.expect("no panic") {
            answer.expect("read");
        }
        let statements = log.0.lock().expect("no panic");
        let place = statements.iter().position(|keys| keys.contains(&100_001));
        let sent_before = COALESCED_STATEMENTS_MAX as usize;
        assert!(
            place <= Some(sent_before),
            "{place:?} of {}",
            statements.len()
        );
        assert!(statements.len() >= 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_principal_has_half_of_the_queue() {
        let reads = Coalescer::start(Slow::default());
        let one_more = COALESCED_PRINCIPAL_MAX as u32 + 1;
        let all = (0..one_more).map(|_| reads.read(Principal::Server, 1));
        let answers = join_all(all.chain([reads.read(Principal::Admin, 1)])).await;
        let refused = answers
            .iter()
            .filter(|answer| **answer == Err(Error::Overloaded));
        assert_eq!(refused.count(), 1);
        assert_eq!(answers.last(), Some(&Ok(2)));
    }
}
