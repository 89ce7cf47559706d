//! The health service `grpc.health.v1.Health`. Its state comes from a probe that runs all the time, and from whether there
//! are keys to verify tokens with.
//!
//! tonic-health's own server is not used because it answers Watch of an unknown service with NOT_FOUND, where the
//! protocol prescribes a stream that stays open and reports SERVICE_UNKNOWN.

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
use crate::auth::token::TokenVerifier;
use crate::limits::HEALTH_REQUEST_BYTES_MAX;
use crate::server::panic;

/// Pause between two probes; together with the timeout the state is never older than a second.
const PROBE_INTERVAL: Duration = Duration::from_millis(400);
/// A probe that takes longer counts as failed.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// A service name that is SERVING whenever the process can answer, whatever the state of the database.
const LIVENESS: &str = "liveness";

/// Checks that the database answers and that its migrations are current: `true` if so.
pub type HealthProbe = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// Makes a [`HealthProbe`] of an async closure, which is called again for each probe.
pub fn probe<F, P>(is_ready: P) -> HealthProbe
where
    P: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = bool> + Send + 'static,
{
    Arc::new(move || Box::pin(is_ready()))
}

/// The facts that the serving status is derived from.
#[derive(Clone, Copy, Debug, Default)]
struct HealthState {
    probe_passed: bool,
    /// Whether there are keys to verify tokens with: without them every call is refused.
    has_keys: bool,
    draining: bool,
}

impl HealthState {
    fn serving(self) -> ServingStatus {
        if self.probe_passed && self.has_keys && !self.draining {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        }
    }
}

/// Probes the database and reports the result as the server's health. Clones share the state.
#[derive(Clone, Debug)]
pub(super) struct HealthReporter {
    state: Arc<watch::Sender<HealthState>>,
    names: Arc<BTreeSet<&'static str>>,
}

impl HealthReporter {
    /// Starts to probe the database, and to ask the verifier for its keys; dropping the handle ends it. The state is
    /// NOT_SERVING until the first probe has passed and there are keys.
    pub(super) fn start(
        probe: HealthProbe,
        verifier: Arc<TokenVerifier>,
    ) -> (Self, AbortOnDropHandle<()>) {
        let health = Self {
            state: Arc::new(watch::Sender::new(HealthState::default())),
            names: Arc::new(service_names().chain([""]).collect()),
        };
        let probe_task = tokio::spawn(health.clone().keep_probing(probe, verifier));
        (health, AbortOnDropHandle::new(probe_task))
    }

    /// The gRPC service that reports this health.
    pub(super) fn service(&self) -> HealthServer<Self> {
        HealthServer::new(self.clone()).max_decoding_message_size(HEALTH_REQUEST_BYTES_MAX)
    }

    /// Reports NOT_SERVING from now on, whatever the probe finds.
    pub(super) fn drain(&self) {
        self.change(|state| state.draining = true);
    }

    async fn keep_probing(self, probe: HealthProbe, verifier: Arc<TokenVerifier>) {
        loop {
            let probing = tokio::time::timeout(PROBE_TIMEOUT, probe());
            let passed = matches!(panic::catch(probing).await, Ok(Ok(true)));
            self.change(|state| {
                state.probe_passed = passed;
                state.has_keys = verifier.has_keys();
            });
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }

    /// Changes the state; watchers are notified only if the serving status has changed.
    fn change(&self, change: impl FnOnce(&mut HealthState)) {
        self.state.send_if_modified(|state| {
            let before = state.serving();
            change(state);
            let after = state.serving();
            if before != after {
                tracing::info!(
                    health = after.as_str_name(),
                    probe_passed = state.probe_passed,
                    has_keys = state.has_keys,
                    "health changed"
                );
            }
            before != after
        });
    }
}

/// The full names of all services but health and reflection.
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
impl HealthRpcs for HealthReporter {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.get_ref().service.as_str();
        if name == LIVENESS {
            return Ok(Response::new(response(ServingStatus::Serving)));
        }
        if !self.names.contains(name) {
            return Err(Status::not_found(
                "There is no such service: use an empty name, `liveness`, or a full name such as `earmark.balance.v1.BalanceService`.",
            ));
        }
        Ok(Response::new(response(self.state.borrow().serving())))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let name = request.get_ref().service.as_str();
        let unchanging = |status| stream::iter([Ok(response(status))]).chain(stream::pending());
        let statuses: Self::WatchStream = if name == LIVENESS {
            Box::pin(unchanging(ServingStatus::Serving))
        } else if self.names.contains(name) {
            let states = WatchStream::new(self.state.subscribe());
            Box::pin(states.map(|state| Ok(response(state.serving()))))
        } else {
            Box::pin(unchanging(ServingStatus::ServiceUnknown))
        };
        Ok(Response::new(statuses))
    }
}
