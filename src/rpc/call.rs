//! The call as the server's layers pass it to a handler, and the answer that a handler returns.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, TryStreamExt};
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use crate::auth::caller::Caller;
use crate::auth::scope::Rpc;
use crate::error::{Error, Result};
use crate::ledger::claim::Claim;
use crate::rpc::status;
use crate::types::principal::Principal;

/// Metadata key that is `true` on the answer to a repeated write, which was not applied again.
pub const REPLAYED: &str = "earmark-replayed";

/// Metadata key of the number of records on all pages of a list.
pub const TOTAL_COUNT: &str = "x-total-count";

/// What the server's layers determined before the handler runs. They put it into the request's extensions.
#[derive(Clone, Debug)]
pub struct Call {
    /// The row of the scope table for the method that was called.
    pub rpc: &'static Rpc,
    /// The bearer of the token, whose scopes include one that the method requires.
    pub caller: Arc<Caller>,
    /// Whose share the call uses of what is scarce.
    pub principal: Principal,
    /// Identifies the request in logs and in INTERNAL errors.
    pub request_id: Arc<str>,
    /// Decides between starting the call's write and withdrawing it at the deadline: whichever claims first.
    pub claim: Claim,
}

/// The answer of a handler: the message and the metadata that go with it.
pub struct Answer<T> {
    message: T,
    replayed: bool,
    counts: Vec<(&'static str, u64)>,
}

impl<T> Answer<T> {
    /// The answer to a read, or to a write that was applied by this call.
    pub fn fresh(message: T) -> Self {
        Self {
            message,
            replayed: false,
            counts: Vec::new(),
        }
    }

    /// The answer to a write; `replayed` says that an earlier call with the same key had applied it.
    pub fn new(message: T, replayed: bool) -> Self {
        Self {
            message,
            replayed,
            counts: Vec::new(),
        }
    }

    /// Adds a number to the metadata of the answer, under a key that must be lower-case ASCII.
    pub fn with_count(mut self, name: &'static str, count: u64) -> Self {
        self.counts.push((name, count));
        self
    }
}

/// Runs a handler of one answer: passes it the call and the message, and converts its result to tonic's types.
pub async fn answer<M, T, F>(
    request: Request<M>,
    handler: impl FnOnce(Call, M) -> F,
) -> Result<Response<T>, Status>
where
    F: Future<Output = Result<Answer<T>>>,
{
    let (call, message) = take_call(request)?;
    let (rpc, request_id) = (call.rpc, Arc::clone(&call.request_id));
    match handler(call, message).await {
        Ok(answer) => {
            let mut response = Response::new(answer.message);
            for (name, count) in answer.counts {
                response.metadata_mut().insert(name, count.into());
            }
            if answer.replayed {
                response
                    .metadata_mut()
                    .insert(REPLAYED, MetadataValue::from_static("true"));
            }
            Ok(response)
        }
        Err(error) => Err(status::from_error(&error, Some(rpc), &request_id)),
    }
}

/// The stream that a streaming method returns to tonic.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Runs a handler that answers with a stream. An error before or in the stream becomes a status; one in
/// the stream ends it.
pub async fn answer_stream<M, T, S, F>(
    request: Request<M>,
    handler: impl FnOnce(Call, M) -> F,
) -> Result<Response<Answers<T>>, Status>
where
    F: Future<Output = Result<S>>,
    S: Stream<Item = Result<T>> + Send + 'static,
{
    let (call, message) = take_call(request)?;
    let (rpc, request_id) = (call.rpc, Arc::clone(&call.request_id));
    let to_status = move |error| status::from_error(&error, Some(rpc), &request_id);
    match handler(call, message).await {
        Ok(answers) => Ok(Response::new(Box::pin(answers.map_err(to_status)))),
        Err(error) => Err(to_status(error)),
    }
}

fn take_call<M>(request: Request<M>) -> Result<(Call, M), Status> {
    let (_, mut extensions, message) = request.into_parts();
    match extensions.remove::<Call>() {
        Some(call) => Ok((call, message)),
        None => {
            let error = Error::internal("a handler was reached past the authorisation layer");
            Err(status::from_error(&error, None, ""))
        }
    }
}
