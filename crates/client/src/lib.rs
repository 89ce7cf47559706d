//! A client of Earmark: generated calls, typed errors, and retries that never do anything twice.
//!
//! - [`proto`] holds the messages and clients that tonic generates from the protos.
//! - [`CallError`] is a failed call: its gRPC code, its [`ErrorReason`](proto::common::v1::ErrorReason), the
//!   numbers behind it, and whether a write has changed anything.
//! - [`retry`] repeats a call as a [`RetryPolicy`] allows.
//! - [`BearerToken`] puts a token into every call of a client.
//!
//! An example, which is also `examples/create_allocation.rs`:
//!
#![doc = concat!("```no_run\n", include_str!("../examples/create_allocation.rs"), "```")]

mod error;
pub mod proto;
mod retry;
mod token;

pub use self::error::{CallError, FieldViolation, WriteOutcome};
pub use self::retry::{RetryPolicy, retry};
pub use self::token::{BearerToken, InvalidToken};
