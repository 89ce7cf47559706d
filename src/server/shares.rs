//! Divides something scarce, such as calls in progress or bytes of memory, among principals without waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::metrics::overload::{self, SharedBound};
use crate::types::principal::Principal;

/// A number of units that principals take and give back.
///
/// A principal may hold at most as many units as are free after it has taken them (a dynamic threshold with factor 1, as
/// switches divide their buffers): a principal alone holds at most half of all, each of two at most a third, and
/// something always remains for one that holds nothing yet. Units in use cannot be taken back, so without this reserve
/// whoever comes first could keep all others out for as long as it likes.
#[derive(Debug)]
pub(super) struct Shares {
    /// The most units that one principal may hold, whatever is free.
    principal_max: usize,
    /// Whether a principal must leave as many free as it holds.
    leaves_room: bool,
    state: Mutex<State>,
    /// What refusals are counted as, once that is known.
    counted_as: OnceLock<SharedBound>,
}

#[derive(Debug)]
struct State {
    free: usize,
    held: HashMap<Principal, usize>,
}

/// Units that a principal holds, until this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    principal: Principal,
    units: usize,
}

impl Shares {
    /// So many units, of which a principal may hold what the threshold allows.
    pub(super) fn new(units: usize) -> Arc<Self> {
        Self::with_principal_max(units, units)
    }

    /// So many units, of which a principal may hold at most `principal_max`, and what the threshold allows.
    pub(super) fn with_principal_max(units: usize, principal_max: usize) -> Arc<Self> {
        Self::build(units, principal_max, true)
    }

    /// So many units, of which a principal may hold `principal_max`. If that is more than half, somebody has chosen that
    /// one may keep others out, and the threshold does not apply.
    pub(super) fn with_chosen_max(units: usize, principal_max: usize) -> Arc<Self> {
        Self::build(units, principal_max, principal_max <= units.div_ceil(2))
    }

    fn build(units: usize, principal_max: usize, leaves_room: bool) -> Arc<Self> {
        Arc::new(Self {
            principal_max,
            leaves_room,
            state: Mutex::new(State {
                free: units,
                held: HashMap::new(),
            }),
            counted_as: OnceLock::new(),
        })
    }

    /// Counts refusals as those of this bound, and serves how much of it is used.
    pub(super) fn counted_as(self: Arc<Self>, bound: SharedBound) -> Arc<Self> {
        let units = self.state().free;
        overload::watch(bound, &self, |shares| shares.used(), units);
        _ = self.counted_as.set(bound);
        self
    }

    /// The units that somebody holds.
    fn used(&self) -> usize {
        self.state().held.values().sum()
    }

    /// Takes units in the name of a principal. `None` if there are too few, or it would hold more than its share.
    pub(super) fn take(self: &Arc<Self>, principal: Principal, units: usize) -> Option<Share> {
        self.add(principal, units).then(|| Share {
            shares: Arc::clone(self),
            principal,
            units,
        })
    }

    fn add(&self, principal: Principal, units: usize) -> bool {
        let mut state = self.state();
        let State { free, held } = &mut *state;
        let before = held.get_mut(&principal);
        let held_before = before.as_ref().map_or(0, |held| **held);
        // What it would hold must not exceed what would be left over, except for the only unit of one that holds none.
        let leaves_room = held_before + 2 * units <= *free || (held_before == 0 && units == 1);
        let is_in_share = leaves_room || !self.leaves_room;
        if units > *free || !is_in_share || held_before + units > self.principal_max {
            if let Some(bound) = self.counted_as.get() {
                overload::refused(*bound);
            }
            return false;
        }
        *free -= units;
        match before {
            Some(before) => *before += units,
            None => {
                held.insert(principal, units);
            }
        }
        true
    }

    fn give_back(&self, principal: Principal, units: usize) {
        let mut state = self.state();
        state.free += units;
        if let Some(held) = state.held.get_mut(&principal) {
            *held = held.saturating_sub(units);
            if *held == 0 {
                state.held.remove(&principal);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Takes further units. False if the principal would hold more than its share; the share is unchanged then.
    pub(super) fn grow(&mut self, units: usize) -> bool {
        let grown = self.shares.add(self.principal, units);
        if grown {
            self.units += units;
        }
        grown
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.give_back(self.principal, self.units);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::ids::CompanyId;

    fn principal(number: i64) -> Principal {
        Principal::Company(CompanyId(number))
    }

    /// How many units a principal gets one by one.
    fn take_all(shares: &Arc<Shares>, number: i64) -> Vec<Share> {
        std::iter::from_fn(|| shares.take(principal(number), 1)).collect()
    }

    #[test]
    fn whoever_comes_first_leaves_room_for_others() {
        let shares = Shares::new(4_096);
        let first = take_all(&shares, 1);
        let second = take_all(&shares, 2);
        let third = take_all(&shares, 3);
        assert_eq!(
            (first.len(), second.len(), third.len()),
            (2_048, 1_024, 512)
        );
        drop(first);
        assert!(shares.take(principal(4), 1_000).is_some());
    }

    #[test]
    fn a_single_unit_is_not_kept_back() {
        let shares = Shares::new(1);
        let only = shares.take(principal(1), 1).expect("free");
        assert!(shares.take(principal(2), 1).is_none());
        drop(only);
        assert!(shares.take(principal(2), 1).is_some());
    }

    #[test]
    fn a_chosen_limit_above_half_applies_as_it_is() {
        let shares = Shares::with_chosen_max(10, 10);
        assert_eq!(take_all(&shares, 1).len(), 10);
        let shares = Shares::with_chosen_max(10, 5);
        let (first, second) = (take_all(&shares, 1), take_all(&shares, 2));
        assert_eq!((first.len(), second.len()), (5, 2));
    }

    #[test]
    fn a_principal_never_holds_more_than_its_limit() {
        let shares = Shares::with_principal_max(100, 10);
        let mut share = shares.take(principal(1), 8).expect("free");
        assert!(!share.grow(3));
        assert!(share.grow(2));
        assert!(shares.take(principal(1), 1).is_none());
        assert!(shares.take(principal(2), 10).is_some());
    }

    proptest! {
        #[test]
        fn no_unit_is_lost_or_made(
            units in 1_usize..50,
            steps in proptest::collection::vec((0_i64..4, 0_usize..8, any::<bool>()), 0..200),
        ) {
            let shares = Shares::new(units);
            let mut held: Vec<Share> = Vec::new();
            for (number, amount, takes) in steps {
                if takes {
                    held.extend(shares.take(principal(number), amount));
                } else if !held.is_empty() {
                    let index = amount % held.len();
                    if amount % 2 == 0 {
                        held.swap_remove(index);
                    } else {
                        held[index].grow(amount);
                    }
                }
                let in_use: usize = held.iter().map(|share| share.units).sum();
                let state = shares.state();
                prop_assert_eq!(state.free + in_use, units);
                prop_assert_eq!(state.held.values().sum::<usize>(), in_use);
            }
            drop(held);
            prop_assert!(shares.state().held.is_empty());
            prop_assert_eq!(shares.state().free, units);
        }
    }
}
