//! Calls of a ledger whose beginning is archived.

mod buckets;
mod races;
mod reads;
mod writes;
