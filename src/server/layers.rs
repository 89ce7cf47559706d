//! What every call passes on its way to its handler, in this order:
//!
//! request id → trace and access log → panic → deadline → drain → load shed → token → scope → handler → rewriting
//!
//! The id comes first, so that every line and every answer has it. The log surrounds the rest, so that it sees what the
//! caller sees. The deadline surrounds all work, the shedding all work that costs something. One function rather than a
//! stack of services: the order stands in one place, and a call is one allocation.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{Request, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;
use tower::ServiceExt;
use tracing::Instrument;

use crate::auth::scope::Rpc;
use crate::auth::token::Verifier;
use crate::error::{Error, Result};
use crate::ledger::claim::Claim;
use crate::rpc::call::Call;
use crate::rpc::status;
use crate::server::access_log::{Entry, Verdict};
use crate::server::authorise::{self, Route};
use crate::server::body::AnswerBody;
use crate::server::panic::{self, Panicked};
use crate::server::shed::{Place, Shed};
use crate::server::{deadline, request_id, rewrite};

/// What the calls of a server share.
pub struct Layers {
    pub(super) routes: Routes,
    pub(super) verifier: Arc<Verifier>,
    pub(super) shed: Shed,
    pub(super) call_max: Duration,
    pub(super) closing: CancellationToken,
}

/// What makes statuses of one call.
#[derive(Clone, Debug)]
pub(super) struct Context {
    route: Route,
    pub(super) request_id: Arc<str>,
    pub(super) claim: Claim,
}

impl Context {
    pub(super) fn new(route: Route, request_id: Arc<str>, claim: Claim) -> Self {
        Self {
            route,
            request_id,
            claim,
        }
    }

    pub(super) fn rpc(&self) -> Option<&'static Rpc> {
        self.route.rpc()
    }

    /// Whether it is one of those that need no token and no details.
    pub(super) fn is_open(&self) -> bool {
        self.route == Route::Open
    }

    /// Whether it may go on for as long as its client waits.
    fn is_long(&self) -> bool {
        self.is_open() || self.rpc().is_some_and(|rpc| rpc.long)
    }

    pub(super) fn status(&self, error: &Error) -> Status {
        status::from_error(error, self.rpc(), &self.request_id)
    }

    /// Withdraws the call's write, if the writer does not have it yet.
    pub(super) fn deadline_passed(&self) -> Status {
        self.status(&Error::Deadline(self.claim.withdraw()))
    }
}

impl Layers {
    /// Answers one call.
    pub(super) async fn answer(&self, request: Request<Body>, peer: SocketAddr) -> Response<Body> {
        let path = request.uri().path();
        let request_id = request_id::of(request.headers());
        let context = Context::new(Route::of(path), request_id, Claim::new());
        let request_id = Arc::clone(&context.request_id);
        let entry = Entry::new(path, context.route, Arc::clone(&request_id), peer);
        let span = tracing::info_span!("call", method = path, request_id = &*request_id);
        let mut response = self
            .within_deadline(request, peer, context, entry)
            .instrument(span)
            .await;
        request_id::echo(&request_id, response.headers_mut());
        response
    }

    async fn within_deadline(
        &self,
        request: Request<Body>,
        peer: SocketAddr,
        context: Context,
        mut entry: Entry,
    ) -> Response<Body> {
        let max = (!context.is_long()).then_some(self.call_max);
        let deadline = deadline::of(request.headers(), max);
        let handled = panic::catch(self.admit_and_handle(request, peer, &context, &mut entry));
        let outcome = match within(deadline, handled).await {
            Some(Ok(outcome)) => outcome.map_err(|error| context.status(&error)),
            Some(Err(Panicked(what))) => {
                Err(context.status(&Error::Internal(what, context.claim.withdraw())))
            }
            None => Err(context.deadline_passed()),
        };
        match outcome {
            Ok((response, place)) => self.see_out(response, place, deadline, context, entry),
            Err(status) => {
                entry.set_verdict(Verdict::of(&status));
                status.into_http()
            }
        }
    }

    /// The handler's answer, unless the call is turned away before.
    async fn admit_and_handle(
        &self,
        mut request: Request<Body>,
        peer: SocketAddr,
        context: &Context,
        entry: &mut Entry,
    ) -> Result<(Response<Body>, Place)> {
        if self.closing.is_cancelled() && !context.is_open() {
            return Err(Error::ShuttingDown);
        }
        let place = self.shed.admit(!context.is_open())?;
        match context.route {
            Route::Rpc(rpc) => {
                let caller = authorise::authenticate(&self.verifier, request.headers()).await?;
                entry.set_caller(Arc::clone(&caller));
                authorise::require_scope(&caller, rpc)?;
                // Nobody behind here needs it, and nobody can log it then.
                request.headers_mut().remove(AUTHORIZATION);
                request.extensions_mut().insert(Call {
                    rpc,
                    caller,
                    request_id: Arc::clone(&context.request_id),
                    claim: context.claim.clone(),
                });
            }
            Route::Open => {}
            Route::Unknown => return Err(Error::MethodUnknown),
        }
        request.extensions_mut().insert(TcpConnectInfo {
            local_addr: None,
            remote_addr: Some(peer),
        });
        match self.routes.clone().oneshot(request).await {
            Ok(response) => Ok((response, place)),
            Err(never) => match never {},
        }
    }

    /// Settles the status of an answer that is nothing but one; goes along with any other until its trailers.
    fn see_out(
        &self,
        mut response: Response<Body>,
        place: Place,
        deadline: Option<Instant>,
        context: Context,
        mut entry: Entry,
    ) -> Response<Body> {
        if let Some(verdict) = rewrite::settle(response.headers_mut(), &context) {
            entry.set_verdict(verdict);
            return response;
        }
        let closing = context.is_long().then(|| self.closing.clone());
        response.map(|body| {
            let body = AnswerBody::new(body, context, entry, deadline, closing, Some(place));
            Body::new(body)
        })
    }
}

/// The future's output, or `None` once the deadline has passed.
async fn within<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}
