//! What must hold of a ledger at rest: one small function for each invariant of `lib.rs`, over a complete dump of
//! owners. Nothing here knows how the ledger decides.

mod accounts;
mod bucket;
pub mod dump;
mod journal;
mod oes;
mod report;
#[cfg(test)]
mod tests;

use crate::ledger::breach::Breach;
use crate::ledger::invariant::dump::LedgerDump;

/// Every breach that there is, in the order of the invariants.
pub fn check(dump: &LedgerDump) -> Vec<Breach> {
    let invariants: [fn(&LedgerDump) -> Vec<Breach>; 10] = [
        accounts::conservation,
        accounts::no_overdraft,
        accounts::held_is_explained,
        journal::journal,
        oes::finality,
        bucket::finality,
        oes::once,
        bucket::once,
        accounts::transfer,
        accounts::transit,
    ];
    invariants
        .iter()
        .flat_map(|invariant| invariant(dump))
        .collect()
}
