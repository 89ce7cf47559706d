//! The heart: what value does. See `lib.rs` for the invariants.

pub mod claim;
