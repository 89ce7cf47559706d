//! What every call passes on its way to its handler, in this order:
//!
//! request id → trace and access log → panic → deadline → drain → token → scope → complete request → share of the
//! principal → state of the database → handler → status
//!
//! The request id is first because every log line and every response carries it. The access log surrounds the rest, so
//! that it records the status that the caller receives. The deadline surrounds all work. A call counts as in progress
//! only from its complete request on: neither a client that sends slowly nor a slow key server keeps others out. This is
//! one function rather than a stack of tower services: the order is visible in one place,
//! and a call costs one allocation.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;
use tonic::{Code, Status};
use tower::ServiceExt;
use tracing::Instrument;

use crate::audit;
use crate::error::{Error, Result};
use crate::ledger::claim::Claim;
use crate::rpc::status;
use crate::server::access_log::{AccessLogLine, CallOutcome};
use crate::server::admission::{Admission, AdmittedCall, CallFault, HeldByCall};
use crate::server::authorise::{PublicCall, Route};
use crate::server::call_context::CallContext;
use crate::server::health::HealthReporter;
use crate::server::panic::{self, Panicked};
use crate::server::peer::Peer;
use crate::server::response_body::ResponseBody;
use crate::server::{deadline, request_id, status_rewrite};
use crate::trace::{self, CallTrace};

/// State that all calls of a server share.
pub(super) struct Layers {
    pub(super) routes: Routes,
    pub(super) admission: Admission,
    /// See `ServerSettings::call_max` in the parent module.
    pub(super) call_max: Duration,
    /// Knows in which states of the database every call is refused.
    pub(super) health: HealthReporter,
    /// Cancelled at the end of the lame duck's time: new calls are refused from then on.
    pub(super) closing: CancellationToken,
    /// Whether any method but those of health is answered as unknown.
    pub(super) only_health: bool,
}

impl Layers {
    /// Handles one call from its request's headers to its response's headers. The response's body does the rest.
    pub(super) async fn handle(&self, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        let path = request.uri().path();
        let context = CallContext {
            route: self.route(path),
            request_id: request_id::of(request.headers()),
            claim: Claim::new(),
        };
        let request_id = Arc::clone(&context.request_id);
        let method = context.route.traced_method();
        let trace = CallTrace::begin(request.headers(), method, peer.address);
        let (trace_id, traced) = (trace.id(), trace.span().cloned());
        let log_line =
            AccessLogLine::new(path, context.route, Arc::clone(&request_id), peer, trace);
        if !is_grpc(request.headers()) {
            let mut response = unsupported_media_type(log_line);
            request_id::echo(&request_id, response.headers_mut());
            return response;
        }
        let span = tracing::info_span!(
            "call",
            method = path,
            request_id = &*request_id,
            trace_id = trace_id.as_str()
        );
        let handled = self.within_deadline(request, peer, context, log_line);
        // Pinned here for the same reason as in there.
        let handled = pin!(handled.instrument(span));
        let mut response = match traced {
            None => handled.await,
            Some(traced) => trace::within(traced, handled).await,
        };
        request_id::echo(&request_id, response.headers_mut());
        response
    }

    fn route(&self, path: &str) -> Route {
        match Route::of(path) {
            health @ Route::Public(PublicCall::Check | PublicCall::Watch) => health,
            _ if self.only_health => Route::Unknown,
            other => other,
        }
    }

    async fn within_deadline(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
        context: CallContext,
        mut log_line: AccessLogLine,
    ) -> Response<Body> {
        let limit = context.time_limit(self.call_max);
        let deadline = match deadline::of(request.headers(), limit) {
            Ok(deadline) => deadline,
            Err(error) => {
                let status = context.status(&error);
                log_line.set_outcome(CallOutcome::of(&status));
                return status.into_http();
            }
        };
        let ended = {
            // Pinned here, since each function that takes it by value would keep room for it twice.
            let handled = pin!(self.admit_and_handle(request, peer, &context, &mut log_line));
            timeout_at(deadline, panic::catch(handled)).await
        };
        log_line.set_writes(audit::take());
        let outcome = match ended {
            Some(Ok(outcome)) => outcome,
            Some(Err(Panicked(message))) => {
                Err(Error::Internal(message, context.claim.withdraw()).into())
            }
            None => Err(Error::Deadline(context.claim.withdraw()).into()),
        };
        match outcome {
            Ok((response, held)) => self.finish(response, held, deadline, context, log_line),
            // Nobody receives it, and the access log has CANCELLED where no outcome is set.
            Err(CallFault::ClientGone) => Status::cancelled("").into_http(),
            Err(fault) => {
                let status = status_of(&fault, &context);
                log_line.set_outcome(CallOutcome::of(&status));
                status.into_http()
            }
        }
    }

    /// The handler's response. An error if the call is refused before it reaches its handler.
    async fn admit_and_handle(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
        context: &CallContext,
        log_line: &mut AccessLogLine,
    ) -> Result<(Response<Body>, HeldByCall), CallFault> {
        if self.closing.is_cancelled() && !context.is_public() {
            return Err(Error::ShuttingDown.into());
        }
        let admitted = match context.route {
            Route::Rpc(rpc) => {
                let admission = &self.admission;
                let admitted = admission
                    .admit_rpc(request, rpc, peer, context, log_line)
                    .await?;
                if let Some(refusal) = self.health.refusal().await {
                    return Err(refusal.into());
                }
                admitted
            }
            Route::Public(call) => self.admission.admit_public(request, call, peer).await?,
            Route::Unknown => return Err(Error::MethodUnknown.into()),
        };
        let AdmittedCall {
            mut request,
            held,
            request_bytes,
        } = admitted;
        request.extensions_mut().insert(TcpConnectInfo {
            local_addr: None,
            remote_addr: Some(peer.address),
        });
        log_line.set_handled();
        let handled = self.routes.clone().oneshot(request).await;
        // The handler has taken the request apart.
        drop(request_bytes);
        match handled {
            Ok(response) => Ok((response, held)),
            Err(never) => match never {},
        }
    }

    /// Finalises the status of a response that is complete with its headers. Any other response gets a body that does
    /// so when it comes to the trailers.
    fn finish(
        &self,
        mut response: Response<Body>,
        held: HeldByCall,
        deadline: Option<Instant>,
        context: CallContext,
        mut log_line: AccessLogLine,
    ) -> Response<Body> {
        if let Some(outcome) = status_rewrite::finalise(response.headers_mut(), &context) {
            log_line.set_outcome(outcome);
            return response;
        }
        let closing = context.is_long().then(|| self.closing.clone());
        response.map(|body| {
            Body::new(ResponseBody::new(
                body, context, log_line, deadline, closing, held,
            ))
        })
    }
}

/// Whether the request is in a protocol that is served here: gRPC with protobuf messages.
fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let essence = value.and_then(|value| value.split(|byte| *byte == b';').next());
    let essence = essence.map(<[u8]>::trim_ascii);
    matches!(
        essence,
        Some(b"application/grpc" | b"application/grpc+proto")
    )
}

/// The answer that gRPC prescribes to any other protocol.
fn unsupported_media_type(mut log_line: AccessLogLine) -> Response<Body> {
    let text = "This server speaks gRPC, with the content-type application/grpc.\n";
    log_line.set_outcome(CallOutcome::of(&Status::invalid_argument(text)));
    let mut response = Response::new(Body::new(text.to_owned()));
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    let plain = HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// The status of a call that ended before its handler returned.
fn status_of(fault: &CallFault, context: &CallContext) -> Status {
    match fault {
        CallFault::Failed(error) => context.status(error),
        CallFault::SecondMessage => status::with_code(
            Code::Unimplemented,
            &Error::MalformedMessage("it has a second message, and the method takes one".into()),
            context.rpc(),
            &context.request_id,
        ),
        CallFault::ClientGone => Status::cancelled(""),
    }
}

/// The future's output; `None` if the deadline passes first.
async fn timeout_at<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}
