//! Turns at something of which there are few: those who wait are served in turn by key, and a key alone leaves a half
//! to others.
//!
//! A key is given one more only while it holds fewer than are free. So one key alone has a half (of an odd number the
//! larger one), two have a third each, and there is always something left for a newcomer.

mod queue;

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

pub use queue::{FairQueue, QueueTicket};

/// How much of the whole a key may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareOfTurns {
    /// As much as is free, so that others find something: one key alone holds a half.
    Fair,
    /// All of it. Keys still take turns where several wait.
    All,
}

/// There are too many that wait under the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyWait;

/// A number of places at something, taken in turn by key. Cheap to clone.
#[derive(Debug)]
pub struct Turns<K: Copy + Eq + Hash>(Arc<Mutex<TurnState<K>>>);

impl<K: Copy + Eq + Hash> Clone for Turns<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A place that is held under a key until it is dropped.
#[derive(Debug)]
pub struct Turn<K: Copy + Eq + Hash> {
    turns: Turns<K>,
    key: K,
}

#[derive(Debug)]
struct TurnState<K: Copy + Eq + Hash> {
    free: usize,
    /// How many places each key holds, without keys that hold none.
    held: HashMap<K, usize>,
    share: ShareOfTurns,
    /// Those who wait. Whenever nobody has the lock, none of them may be given a place.
    waiting: FairQueue<K, oneshot::Sender<Turn<K>>>,
    waiting_max: usize,
}

impl<K: Copy + Eq + Hash> Turns<K> {
    /// So many places. At most `waiting_max` callers wait under one key.
    pub fn new(places: usize, share: ShareOfTurns, waiting_max: usize) -> Self {
        Self(Arc::new(Mutex::new(TurnState {
            free: places,
            held: HashMap::new(),
            share,
            waiting: FairQueue::default(),
            waiting_max,
        })))
    }

    /// Takes a place if the key may have one now.
    pub fn try_take(&self, key: K) -> Option<Turn<K>> {
        self.state().try_grant(key).then(|| self.turn(key))
    }

    /// Takes a place, or waits until it is the caller's turn. A caller that is cancelled leaves no trace.
    ///
    /// # Errors
    /// At once [`TooManyWait`], if so many wait under the key already.
    pub async fn take(&self, key: K) -> Result<Turn<K>, TooManyWait> {
        let (granted, ticket) = {
            let mut state = self.state();
            if state.try_grant(key) {
                return Ok(self.turn(key));
            }
            if state.waiting.len_of(&key) >= state.waiting_max {
                return Err(TooManyWait);
            }
            let (grant, granted) = oneshot::channel();
            (granted, state.waiting.push(key, grant))
        };
        // If the caller is cancelled, the queue forgets it; a turn that was sent meanwhile is dropped with the channel.
        let _leave = LeaveQueue {
            turns: self,
            key,
            ticket,
        };
        // The other end stays in the queue until it has sent.
        granted.await.map_err(|_| TooManyWait)
    }

    /// How many callers wait, of all keys.
    pub fn waiting(&self) -> usize {
        self.state().waiting.len()
    }

    /// How many places nobody holds.
    pub fn free(&self) -> usize {
        self.state().free
    }

    fn turn(&self, key: K) -> Turn<K> {
        Turn {
            turns: self.clone(),
            key,
        }
    }

    fn state(&self) -> MutexGuard<'_, TurnState<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place back, and serves those whose turn it is.
    fn take_back(&self, key: K) {
        let granted = self.state().take_back(key);
        for (key, grant) in granted {
            // The turn of one that was cancelled at this moment is dropped here, and so passed on.
            drop(grant.send(self.turn(key)));
        }
    }
}

impl<K: Copy + Eq + Hash> Drop for Turn<K> {
    fn drop(&mut self) {
        self.turns.take_back(self.key);
    }
}

impl<K: Copy + Eq + Hash> TurnState<K> {
    /// Whether the key may be given one more place.
    fn is_allowed(&self, key: &K) -> bool {
        let held = self.held.get(key).copied().unwrap_or_default();
        match self.share {
            ShareOfTurns::All => self.free > 0,
            ShareOfTurns::Fair => self.free > held,
        }
    }

    /// Gives the key a place unless it may have none now. None of those who wait may have it either, except for others of
    /// the same key, which have their turn before.
    fn try_grant(&mut self, key: K) -> bool {
        let is_granted = self.is_allowed(&key) && self.waiting.len_of(&key) == 0;
        if is_granted {
            self.free -= 1;
            *self.held.entry(key).or_default() += 1;
        }
        is_granted
    }

    /// Takes a place back, and takes those from the queue who may have a place now.
    fn take_back(&mut self, key: K) -> Vec<(K, oneshot::Sender<Turn<K>>)> {
        self.free += 1;
        if let Some(held) = self.held.get_mut(&key) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&key);
            }
        }
        let mut granted = Vec::new();
        // Out of its place, so that the condition can look at the rest.
        let mut waiting = std::mem::take(&mut self.waiting);
        while let Some((key, grant)) = waiting.pop(|key| self.is_allowed(key)) {
            self.free -= 1;
            *self.held.entry(key).or_default() += 1;
            granted.push((key, grant));
        }
        self.waiting = waiting;
        granted
    }
}

/// Takes a caller that no longer waits out of the queue.
struct LeaveQueue<'a, K: Copy + Eq + Hash> {
    turns: &'a Turns<K>,
    key: K,
    ticket: QueueTicket,
}

impl<K: Copy + Eq + Hash> Drop for LeaveQueue<'_, K> {
    fn drop(&mut self) {
        self.turns.state().waiting.remove(&self.key, self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    type Taking = Pin<Box<dyn Future<Output = Result<Turn<u8>, TooManyWait>>>>;

    /// Callers of one test: those who hold a place, and those who wait, in the order in which they came.
    struct Callers {
        turns: Turns<u8>,
        holding: Vec<(u8, Turn<u8>)>,
        waiting: Vec<(u8, Taking)>,
    }

    impl Callers {
        fn new(turns: Turns<u8>) -> Self {
            Self {
                turns,
                holding: Vec::new(),
                waiting: Vec::new(),
            }
        }

        fn come(&mut self, key: u8) {
            let turns = self.turns.clone();
            let taking = async move { turns.take(key).await };
            self.waiting.push((key, Box::pin(taking)));
        }

        /// Lets every caller run once; returns the keys of those who got a place, in the order in which they came.
        fn run(&mut self) -> Vec<u8> {
            let mut context = Context::from_waker(Waker::noop());
            let mut served = Vec::new();
            let mut still = Vec::new();
            for (key, mut taking) in self.waiting.drain(..) {
                match taking.as_mut().poll(&mut context) {
                    Poll::Ready(turn) => {
                        self.holding.push((key, turn.expect("few wait")));
                        served.push(key);
                    }
                    Poll::Pending => still.push((key, taking)),
                }
            }
            self.waiting = still;
            served
        }

        fn held(&self, key: u8) -> usize {
            self.holding.iter().filter(|(k, _)| *k == key).count()
        }

        fn go(&mut self, key: u8) {
            let place = self.holding.iter().position(|(k, _)| *k == key);
            self.holding.remove(place.expect("it holds a place"));
        }
    }

    fn come_all(callers: &mut Callers, keys: &[u8]) -> Vec<u8> {
        keys.iter().for_each(|key| callers.come(*key));
        callers.run()
    }

    #[test]
    fn one_key_alone_has_a_half_and_a_newcomer_finds_a_place() {
        let mut callers = Callers::new(Turns::new(8, ShareOfTurns::Fair, 100));
        assert_eq!(come_all(&mut callers, &[1; 10]), [1; 4]);
        assert_eq!(come_all(&mut callers, &[2; 10]), [2; 2]);
        assert_eq!(come_all(&mut callers, &[3; 10]), [3; 1]);
        assert_eq!(come_all(&mut callers, &[4; 10]), [4; 1]);
        assert_eq!(callers.turns.free(), 0);
    }

    #[test]
    fn a_key_that_may_have_all_has_all() {
        let mut callers = Callers::new(Turns::new(3, ShareOfTurns::All, 100));
        assert_eq!(come_all(&mut callers, &[1, 1, 1, 1, 2]), [1; 3]);
        callers.go(1);
        assert_eq!(callers.run(), [1]);
        callers.go(1);
        assert_eq!(callers.run(), [2]);
    }

    #[test]
    fn a_place_that_becomes_free_goes_to_the_keys_in_turn() {
        let mut callers = Callers::new(Turns::new(1, ShareOfTurns::Fair, 100));
        come_all(&mut callers, &[9, 1, 1, 1, 2, 3, 2]);
        let mut order = Vec::new();
        while let Some((key, turn)) = callers.holding.pop() {
            order.push(key);
            drop(turn);
            callers.run();
        }
        assert_eq!(order, [9, 1, 2, 3, 1, 2, 1]);
    }

    #[test]
    fn a_turn_that_was_given_to_a_cancelled_caller_is_passed_on() {
        let mut callers = Callers::new(Turns::new(1, ShareOfTurns::Fair, 100));
        come_all(&mut callers, &[1, 2, 3]);
        callers.go(1);
        // The caller has its turn already, but has not run since.
        drop(callers.waiting.remove(0));
        assert_eq!(callers.run(), [3]);
        callers.go(3);
        assert_eq!(callers.turns.free(), 1);
    }

    #[test]
    fn only_so_many_wait_under_one_key() {
        let mut callers = Callers::new(Turns::new(1, ShareOfTurns::Fair, 2));
        come_all(&mut callers, &[1, 1, 1, 2]);
        let mut refused: Taking = Box::pin({
            let turns = callers.turns.clone();
            async move { turns.take(1).await }
        });
        let answer = refused
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(answer, Poll::Ready(Err(TooManyWait))));
        drop(callers.waiting.remove(0));
        callers.come(1);
        assert_eq!(callers.run(), [0; 0], "it waits in place of the cancelled");
    }

    proptest! {
        #[test]
        fn places_are_never_lost_and_nobody_waits_in_vain(
            places in 1..9_usize,
            steps in prop::collection::vec((0..5_u8, 0..4_u8, any::<Index>()), 0..150)
        ) {
            let mut callers = Callers::new(Turns::new(places, ShareOfTurns::Fair, usize::MAX));
            for (action, key, index) in steps {
                match action {
                    0 | 1 => callers.come(key),
                    2 if !callers.holding.is_empty() => {
                        let at = index.index(callers.holding.len());
                        callers.holding.remove(at);
                    }
                    3 if !callers.waiting.is_empty() => {
                        let at = index.index(callers.waiting.len());
                        drop(callers.waiting.remove(at));
                    }
                    // A place is given back and, before anybody runs, a caller is cancelled who may have just got it.
                    4 if !callers.holding.is_empty() && !callers.waiting.is_empty() => {
                        let at = index.index(callers.holding.len());
                        callers.holding.remove(at);
                        let at = index.index(callers.waiting.len());
                        drop(callers.waiting.remove(at));
                    }
                    _ => {}
                }
                callers.run();
                let free = callers.turns.free();
                prop_assert_eq!(callers.holding.len() + free, places);
                for (key, _) in &callers.waiting {
                    prop_assert!(callers.held(*key) >= free, "{} waits, {} are free", key, free);
                }
            }
            callers.waiting.clear();
            callers.holding.clear();
            prop_assert_eq!(callers.turns.free(), places);
        }
    }
}
