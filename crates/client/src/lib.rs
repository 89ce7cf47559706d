//! A client of Earmark: generated calls, typed errors, and retries that never do anything twice.
//!
//! - [`proto`] holds the messages and clients that tonic generates from the protos.
//! - [`CallError`] is a failed call: its gRPC code, its [`ErrorReason`](proto::common::v1::ErrorReason), the
//!   numbers behind it, and whether a write has changed anything.
//! - [`retry`] repeats a call as a [`RetryPolicy`] allows.
//! - [`BearerToken`] puts a token into every call of a client.
//!
//! A server that runs out of balance refuses with a reason, and one that restarts is tried again:
//!
//! ```no_run
//! use earmark_client::proto::allocation::v1::CreateAllocationRequest;
//! use earmark_client::proto::allocation::v1::allocation_service_client::AllocationServiceClient;
//! use earmark_client::proto::common::v1::{Amount, ErrorReason};
//! use earmark_client::{BearerToken, RetryPolicy, retry};
//! use tonic::transport::Channel;
//!
//! # async fn example(token: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let channel = Channel::from_static("http://127.0.0.1:50051").connect_lazy();
//! let client = AllocationServiceClient::with_interceptor(channel, BearerToken::new(token)?);
//! let request = CreateAllocationRequest {
//!     enterprise_id: "018f0000-0000-7000-8000-000000000001".into(),
//!     connection_id: "018f0003-0000-7000-8000-000000000001".into(),
//!     amount: Some(Amount {
//!         currency: "BTC".into(),
//!         quantity: "2500".into(),
//!     }),
//!     // The idempotency key: the same for every attempt, so that the allocation is made once.
//!     client_external_id: "order-4711".into(),
//!     ..Default::default()
//! };
//! let answer = retry(&RetryPolicy::repeatable(), async || {
//!     client.clone().create_allocation(request.clone()).await
//! })
//! .await;
//! match answer {
//!     Ok(answer) => println!("{:?}", answer.into_inner().allocation),
//!     Err(error) if error.reason() == Some(ErrorReason::InsufficientBalance) => {
//!         println!("only {} available", error.metadata("available").unwrap_or("?"));
//!     }
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(())
//! # }
//! ```

mod error;
pub mod proto;
mod retry;
mod token;

pub use self::error::{CallError, FieldViolation, WriteOutcome};
pub use self::retry::{RetryPolicy, retry};
pub use self::token::{BearerToken, InvalidToken};
