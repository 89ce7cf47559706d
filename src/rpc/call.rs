//! What the layers know of a call, and the way in and out of every handler.

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

/// Metadata of an answer that repeats an earlier one.
pub const REPLAYED: &str = "earmark-replayed";

/// What the layers found out before the handler runs; they put it into the request's extensions.
#[derive(Clone, Debug)]
pub struct Call {
    /// The RPC's row in the scope table.
    pub rpc: &'static Rpc,
    /// The bearer of the token, which has a scope that serves the RPC.
    pub caller: Arc<Caller>,
    /// Names this request in logs and in answers that say INTERNAL.
    pub request_id: Arc<str>,
    /// Who has this call's write: the deadline withdraws by it, the writer takes by it.
    pub claim: Claim,
}

/// A handler's answer.
pub struct Answer<T> {
    message: T,
    replayed: bool,
    counts: Vec<(&'static str, u64)>,
}

impl<T> Answer<T> {
    /// An answer to a call that was carried out, or that only reads.
    pub fn fresh(message: T) -> Self {
        Self {
            message,
            replayed: false,
            counts: Vec::new(),
        }
    }

    /// An answer to a call whose key was used before.
    pub fn new(message: T, replayed: bool) -> Self {
        Self {
            message,
            replayed,
            counts: Vec::new(),
        }
    }

    /// Adds a number to the answer's metadata.
    pub fn with_count(mut self, name: &'static str, count: u64) -> Self {
        self.counts.push((name, count));
        self
    }
}

/// Runs a handler: gives it the call and the message, and turns what it returns into what tonic sends.
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

/// A stream of answers, as tonic sends it.
pub type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Runs a handler that answers with a stream. An error, before the stream or in it, becomes what tonic sends; one in the
/// stream ends it.
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
