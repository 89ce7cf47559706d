//! `grpc.health.v1.Health`, with states that are measured rather than set.
//!
//! tonic-health's own server answers Watch on an unknown name with NOT_FOUND, where the protocol wants a stream that
//! stays open.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthRpcs, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::auth::scope;
use crate::server::panic;

/// Time between two probes. With the timeout it keeps the state younger than a second.
const PROBE_INTERVAL: Duration = Duration::from_millis(400);
/// How long a probe may take before the database counts as gone.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// The name that is SERVING as long as the process can answer at all.
const LIVENESS: &str = "liveness";

/// Tells whether the database answers and its migrations are current.
pub type Probe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// Makes a probe of an async closure.
pub fn probe<F, P>(is_ready: P) -> Probe
where
    P: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = bool> + Send + 'static,
{
    Arc::new(move || Box::pin(is_ready()))
}

/// What the state follows from.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    probed: bool,
    draining: bool,
}

impl State {
    fn serving(self) -> ServingStatus {
        if self.probed && !self.draining {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        }
    }
}

/// The server's health. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Health {
    state: Arc<watch::Sender<State>>,
    names: Arc<BTreeSet<&'static str>>,
}

impl Health {
    /// Starts to probe, for as long as the handle lives. NOT_SERVING until a probe has passed.
    pub(super) fn start(probe: Probe) -> (Self, AbortOnDropHandle<()>) {
        let health = Self {
            state: Arc::new(watch::Sender::new(State::default())),
            names: Arc::new(service_names().chain([""]).collect()),
        };
        let probing = tokio::spawn(health.clone().keep_probing(probe));
        (health, AbortOnDropHandle::new(probing))
    }

    /// The gRPC service.
    pub(super) fn service(&self) -> HealthServer<Self> {
        HealthServer::new(self.clone())
    }

    /// Says NOT_SERVING from now on.
    pub(super) fn drain(&self) {
        self.change(|state| state.draining = true);
    }

    async fn keep_probing(self, probe: Probe) {
        loop {
            let probing = tokio::time::timeout(PROBE_TIMEOUT, probe());
            let probed = matches!(panic::catch(probing).await, Ok(Ok(true)));
            self.change(|state| state.probed = probed);
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }

    /// Changes the state; watchers wake only if what they see has changed.
    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_if_modified(|state| {
            let before = state.serving();
            change(state);
            let after = state.serving();
            if before != after {
                tracing::info!(health = after.as_str_name(), "health has changed");
            }
            before != after
        });
    }
}

/// The full names of the services that need a token.
fn service_names() -> impl Iterator<Item = &'static str> {
    scope::RPCS
        .iter()
        .filter_map(|rpc| rpc.path.strip_prefix('/')?.split_once('/'))
        .map(|(service, _)| service)
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

#[tonic::async_trait]
impl HealthRpcs for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.get_ref().service.as_str();
        if name == LIVENESS {
            return Ok(Response::new(response(ServingStatus::Serving)));
        }
        if !self.names.contains(name) {
            return Err(Status::not_found("There is no such service."));
        }
        Ok(Response::new(response(self.state.borrow().serving())))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let name = request.get_ref().service.as_str();
        let for_ever = |status| stream::iter([Ok(response(status))]).chain(stream::pending());
        let statuses: Self::WatchStream = if name == LIVENESS {
            Box::pin(for_ever(ServingStatus::Serving))
        } else if self.names.contains(name) {
            let states = WatchStream::new(self.state.subscribe());
            Box::pin(states.map(|state| Ok(response(state.serving()))))
        } else {
            Box::pin(for_ever(ServingStatus::ServiceUnknown))
        };
        Ok(Response::new(statuses))
    }
}
