//! Joins reads by key that many callers make at the same time into one statement.
//!
//! A read is sent at once if no statement is under way. Otherwise it waits, together with those that come after it,
//! until that statement is answered, until [`COALESCED_JOIN_MIN`] reads wait, or for [`COALESCED_JOIN_WAIT_MAX`]. Most
//! of the cost of a small statement is fixed, so fewer and larger statements serve more reads. A read never joins a
//! statement that was already sent, so it sees every write that was acknowledged before the read began.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::error::{Error, Outcome, Result};
use crate::limits::{
    COALESCED_JOIN_MIN, COALESCED_JOIN_WAIT_MAX, COALESCED_QUEUE_MAX, COALESCED_READ_MAX,
    COALESCED_READS_MAX, COALESCED_STATEMENTS_MAX,
};

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

/// A read that waits for its statement: the key, and where to send the result.
type PendingRead<K, V> = (K, oneshot::Sender<Result<V>>);

/// The queue of the reads of one kind. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Coalescer<K, V> {
    queue: mpsc::Sender<PendingRead<K, V>>,
}

impl<K, V> Clone for Coalescer<K, V> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

impl<K: Send + Sync + 'static, V: Send + 'static> Coalescer<K, V> {
    /// Starts the task that sends the statements; it ends when the last clone is dropped.
    pub(crate) fn start(reader: impl ReadMany<Key = K, Value = V>) -> Self {
        let (queue, waiting) = mpsc::channel(COALESCED_QUEUE_MAX);
        tokio::spawn(dispatch(Arc::new(reader), waiting));
        Self { queue }
    }

    /// Reads the record of one key.
    ///
    /// # Errors
    /// Those of the statement and of the record; [`Error::Overloaded`] at once if [`COALESCED_QUEUE_MAX`] reads wait;
    /// [`Error::DatabaseUnavailable`] if the database does not answer within [`COALESCED_READ_MAX`].
    pub(crate) async fn read(&self, key: K) -> Result<V> {
        let (answer, answered) = oneshot::channel();
        self.queue
            .try_send((key, answer))
            .map_err(|error| match error {
                TrySendError::Full(_) => Error::Overloaded,
                TrySendError::Closed(_) => {
                    Error::internal("the task that sends coalesced reads has ended")
                }
            })?;
        let gone = |_| {
            Err(Error::internal(
                "the task of a coalesced read ended without an answer",
            ))
        };
        answered.await.unwrap_or_else(gone)
    }
}

async fn dispatch<R: ReadMany>(
    reader: Arc<R>,
    mut queue: mpsc::Receiver<PendingRead<R::Key, R::Value>>,
) {
    let permits = Arc::new(Semaphore::new(COALESCED_STATEMENTS_MAX as usize));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let mut waiting = Vec::new();
        if queue.recv_many(&mut waiting, COALESCED_READS_MAX).await == 0 {
            return;
        }
        tokio::select! {
            biased;
            // All other permits are free: no other statement is under way.
            _ = permits.acquire_many(COALESCED_STATEMENTS_MAX - 1) => {}
            () = fill(&mut waiting, &mut queue, COALESCED_JOIN_MIN) => {}
            () = sleep(COALESCED_JOIN_WAIT_MAX) => {}
        }
        while waiting.len() < COALESCED_READS_MAX
            && let Ok(next) = queue.try_recv()
        {
            waiting.push(next);
        }
        tokio::spawn(carry_out(Arc::clone(&reader), waiting, permit));
    }
}

/// Moves reads from the queue to `waiting` until there are `many`.
async fn fill<T>(waiting: &mut Vec<T>, queue: &mut mpsc::Receiver<T>, many: usize) {
    while waiting.len() < many
        && let Some(next) = queue.recv().await
    {
        waiting.push(next);
    }
}

async fn carry_out<R: ReadMany>(
    reader: Arc<R>,
    mut waiting: Vec<PendingRead<R::Key, R::Value>>,
    _permit: OwnedSemaphorePermit,
) {
    // The callers of these reads have been cancelled.
    waiting.retain(|(_, answer)| !answer.is_closed());
    let (keys, answers): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
    let read = timeout(COALESCED_READ_MAX, reader.read(&keys)).await;
    let failed = match read.unwrap_or(Err(Error::DatabaseUnavailable(Outcome::NotApplied))) {
        Ok(values) if values.len() == keys.len() => {
            for (answer, value) in answers.into_iter().zip(values) {
                _ = answer.send(value);
            }
            return;
        }
        Ok(_) => {
            Error::internal("a coalesced read returned another number of results than it has keys")
        }
        Err(error) => error,
    };
    for answer in answers {
        _ = answer.send(Err(failed.clone()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::time::sleep;

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
        assert_eq!(reads.read(7).await, Ok(14));
        let crowd = join_all((0..500).map(|key| {
            let reads = reads.clone();
            async move { reads.read(key).await }
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
            async move { reads.read(1).await }
        });
        sleep(Duration::from_millis(1)).await;
        let begun = tokio::time::Instant::now();
        let behind = join_all((0..many).map(|key| {
            let reads = reads.clone();
            async move { reads.read(key).await }
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
        assert_eq!(reads.read(999).await, Err(Error::Overloaded));
        assert_eq!(reads.read(1).await, Ok(2));
    }
}
