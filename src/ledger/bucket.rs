//! Prepaid buckets, and the balance actions that fill, hold and use their value.

mod act;
mod action;
mod action_context;
mod action_key;
mod close;
pub mod delta;
mod find;
mod judge;
mod kind;
pub mod model;
mod movements;
mod records;
mod replies;
pub mod request;
mod reserve;
mod statements;
mod transfer;
mod verification;
