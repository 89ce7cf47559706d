//! What every call passes on its way to its handler, in this order:
//!
//! request id → trace and access log → panic → deadline → drain → load shedding → token → scope → handler → status
//!
//! The request id is first because every log line and every response carries it. The access log surrounds the rest, so
//! that it records the status that the caller receives. The deadline surrounds all work, and load shedding precedes
//! everything expensive (verifying a signature, handling the call). This is one function rather than a stack of tower
//! services: the order is visible in one place, and a call costs one allocation.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{Request, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;
use tower::ServiceExt;
use tracing::Instrument;

use crate::auth::token::TokenVerifier;
use crate::error::{Error, Result};
use crate::ledger::claim::Claim;
use crate::rpc::call::Call;
use crate::server::access_log::{AccessLogLine, CallOutcome};
use crate::server::authorise::{self, Route};
use crate::server::call_context::CallContext;
use crate::server::load_shed::{CallPermit, LoadShedder};
use crate::server::panic::{self, Panicked};
use crate::server::response_body::ResponseBody;
use crate::server::{deadline, request_id, status_rewrite};
use crate::types::principal::Principal;

/// State that all calls of a server share.
pub(super) struct Layers {
    pub(super) routes: Routes,
    pub(super) verifier: Arc<TokenVerifier>,
    pub(super) load_shedder: LoadShedder,
    /// See `ServerSettings::call_max` in the parent module.
    pub(super) call_max: Duration,
    /// Cancelled at the end of the lame duck's time: new calls are refused from then on.
    pub(super) closing: CancellationToken,
}

impl Layers {
    /// Handles one call from its request's headers to its response's headers. The response's body does the rest.
    pub(super) async fn handle(&self, request: Request<Body>, peer: SocketAddr) -> Response<Body> {
        let path = request.uri().path();
        let context = CallContext {
            route: Route::of(path),
            request_id: request_id::of(request.headers()),
            claim: Claim::new(),
        };
        let request_id = Arc::clone(&context.request_id);
        let log_line = AccessLogLine::new(path, context.route, Arc::clone(&request_id), peer);
        let span = tracing::info_span!("call", method = path, request_id = &*request_id);
        let mut response = self
            .within_deadline(request, peer, context, log_line)
            .instrument(span)
            .await;
        request_id::echo(&request_id, response.headers_mut());
        response
    }

    async fn within_deadline(
        &self,
        request: Request<Body>,
        peer: SocketAddr,
        context: CallContext,
        mut log_line: AccessLogLine,
    ) -> Response<Body> {
        let max = (!context.is_long()).then_some(self.call_max);
        let deadline = deadline::of(request.headers(), max);
        let handled = panic::catch(self.admit_and_handle(request, peer, &context, &mut log_line));
        let outcome = match timeout_at(deadline, handled).await {
            Some(Ok(outcome)) => outcome.map_err(|error| context.status(&error)),
            Some(Err(Panicked(message))) => {
                Err(context.status(&Error::Internal(message, context.claim.withdraw())))
            }
            None => Err(context.deadline_passed()),
        };
        match outcome {
            Ok((response, permit)) => self.finish(response, permit, deadline, context, log_line),
            Err(status) => {
                log_line.set_outcome(CallOutcome::of(&status));
                status.into_http()
            }
        }
    }

    /// The handler's response. An error if the call is refused before it reaches its handler.
    async fn admit_and_handle(
        &self,
        mut request: Request<Body>,
        peer: SocketAddr,
        context: &CallContext,
        log_line: &mut AccessLogLine,
    ) -> Result<(Response<Body>, CallPermit)> {
        if self.closing.is_cancelled() && !context.is_public() {
            return Err(Error::ShuttingDown);
        }
        let permit = self.load_shedder.admit(context.is_public())?;
        match context.route {
            Route::Rpc(rpc) => {
                let caller = authorise::authenticate(&self.verifier, request.headers()).await?;
                log_line.set_caller(Arc::clone(&caller));
                authorise::require_scope(&caller, rpc)?;
                // The handler does not need the token, and without it cannot write it to a log.
                request.headers_mut().remove(AUTHORIZATION);
                request.extensions_mut().insert(Call {
                    rpc,
                    caller,
                    principal: Principal::of_peer(peer.ip()),
                    request_id: Arc::clone(&context.request_id),
                    claim: context.claim.clone(),
                });
            }
            Route::Public => {}
            Route::Unknown => return Err(Error::MethodUnknown),
        }
        request.extensions_mut().insert(TcpConnectInfo {
            local_addr: None,
            remote_addr: Some(peer),
        });
        match self.routes.clone().oneshot(request).await {
            Ok(response) => Ok((response, permit)),
            Err(never) => match never {},
        }
    }

    /// Finalises the status of a response that is complete with its headers. Any other response gets a body that does
    /// so when it comes to the trailers.
    fn finish(
        &self,
        mut response: Response<Body>,
        permit: CallPermit,
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
                body,
                context,
                log_line,
                deadline,
                closing,
                Some(permit),
            ))
        })
    }
}

/// The future's output; `None` if the deadline passes first.
async fn timeout_at<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}
