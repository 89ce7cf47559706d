//! A repeatable random number generator: a failing test prints its seed.

use std::ops::Range;

/// The generator SplitMix64, whose state is its seed.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A uniformly distributed number of the range.
    pub(crate) fn number(&mut self, range: Range<usize>) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let width = (range.end - range.start) as u64;
        range.start + usize::try_from(bits % width).expect("below the width")
    }

    /// True with probability 1/n.
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.number(0..n) == 0
    }

    /// Some of the values in their order: at least one and, of several, not all.
    pub(crate) fn some_of<T: Clone>(&mut self, values: &[T]) -> Vec<T> {
        let wanted = self.number(1..values.len().max(2));
        let mut picked: Vec<usize> = (0..values.len()).collect();
        while picked.len() > wanted {
            picked.remove(self.number(0..picked.len()));
        }
        picked.into_iter().map(|at| values[at].clone()).collect()
    }
}
