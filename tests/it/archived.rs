//! Calls of a ledger whose beginning is archived.

mod buckets;
mod reads;
mod writes;
