//! Sealed periods: when a period has ended, its part of the journal is hashed, and so are the balances that its accounts had
//! at its end. From then on anybody can show that no entry of it was changed, removed or added.
//!
//! `digest` says what is hashed, `walk` goes through entries in their order, `compare` holds seals against each other, `period`
//! divides time; these are pure.
//! `journal` reads entries from the database, and `run` seals. `verify` holds what is stored against what was sealed.

mod barrier;
pub mod compare;
pub mod digest;
pub mod journal;
pub mod model;
pub mod period;
pub mod rows;
pub mod run;
pub mod walk;
mod writes;
