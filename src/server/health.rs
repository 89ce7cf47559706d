//! The health service `grpc.health.v1.Health`. Its state comes from a probe that runs all the time, and from whether there
//! are keys to verify tokens with.
//!
//! tonic-health's own server is not used because it answers Watch of an unknown service with NOT_FOUND, where the
//! protocol prescribes a stream that stays open and reports SERVICE_UNKNOWN.

use std::collections::{BTreeMap, BTreeSet};
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
use crate::error::Error;
use crate::limits::HEALTH_REQUEST_BYTES_MAX;
use crate::metrics::health;
use crate::server::panic;

mod list;

pub(super) use list::descriptors;
use list::{AllStatuses, HealthService};

/// Pause between two probes, which read what the monitor of the database has found.
const PROBE_INTERVAL: Duration = Duration::from_millis(50);
/// A probe that takes longer counts as failed.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// How long a call that comes right after the start waits for the first probe to find what state the database is in.
const FIRST_PROBE_MAX: Duration = Duration::from_secs(1);
/// A service name that is SERVING while reads can be answered, though value may not move.
const READS: &str = "reads";
/// A service name that is SERVING whenever the process can answer, whatever the state of the database.
const LIVENESS: &str = "liveness";

/// What a server can do in the state that its database is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Whether anything is known of the database yet.
    pub is_known: bool,
    /// The database answers with a schema that serves.
    pub reads: bool,
    /// It takes writes too, and a writer has a connection.
    pub writes: bool,
    /// Why every call is refused, if its cause is known.
    pub refusal: Option<Error>,
}

impl From<bool> for Readiness {
    /// Reads and writes alike, or neither of them.
    fn from(is_ready: bool) -> Self {
        Self {
            is_known: true,
            reads: is_ready,
            writes: is_ready,
            refusal: None,
        }
    }
}

/// Asks what a server can do.
pub type HealthProbe =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Readiness> + Send>> + Send + Sync>;

/// Makes a [`HealthProbe`] of an async closure, which is called again for each probe.
pub fn probe<F, P>(readiness: P) -> HealthProbe
where
    P: Fn() -> F + Send + Sync + 'static,
    F: Future<Output: Into<Readiness>> + Send + 'static,
{
    Arc::new(move || {
        let found = readiness();
        Box::pin(async move { found.await.into() })
    })
}

/// The facts that the serving statuses are derived from.
#[derive(Clone, Debug, Default)]
struct HealthState {
    readiness: Readiness,
    /// Whether there are keys to verify tokens with: without them every call is refused.
    has_keys: bool,
    draining: bool,
    /// Whether anything was ever SERVING.
    has_served: bool,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
enum Subject {
    /// Whatever a service does.
    Service,
    Reads,
}

impl HealthState {
    fn serving(&self, subject: Subject) -> ServingStatus {
        let is_ready = match subject {
            Subject::Service => self.readiness.writes,
            Subject::Reads => self.readiness.reads,
        };
        if is_ready && self.has_keys && !self.draining {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        }
    }

    /// All that callers of the health service can see.
    fn statuses(&self) -> [ServingStatus; 2] {
        [Subject::Service, Subject::Reads].map(|subject| self.serving(subject))
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
        health.watch();
        let probe_task = tokio::spawn(health.clone().keep_probing(probe, verifier));
        (health, AbortOnDropHandle::new(probe_task))
    }

    /// Serves this health as a metric under each name.
    fn watch(&self) {
        for &name in self.names.iter().chain(&[READS]) {
            let (state, subject) = (Arc::downgrade(&self.state), self.subject(name));
            // An empty label is none in Prometheus.
            let label = if name.is_empty() { "overall" } else { name };
            health::watch(label, move || {
                let status = state.upgrade()?.borrow().serving(subject?);
                Some(status == ServingStatus::Serving)
            });
        }
        health::watch(LIVENESS, || Some(true));
    }

    /// The gRPC service that reports this health.
    pub(super) fn service(&self) -> HealthService<Self> {
        let others = HealthServer::new(self.clone());
        let others = others.max_decoding_message_size(HEALTH_REQUEST_BYTES_MAX);
        let reporter = self.clone();
        HealthService::new(others, AllStatuses(Arc::new(move || reporter.all())))
    }

    /// The status of every name, as `List` answers it.
    fn all(&self) -> BTreeMap<String, HealthCheckResponse> {
        let state = self.state.borrow();
        let names = self.names.iter().copied().chain([READS]);
        let statuses = names.filter_map(|name| Some((name, state.serving(self.subject(name)?))));
        statuses
            .chain([(LIVENESS, ServingStatus::Serving)])
            .map(|(name, status)| (name.to_owned(), response(status)))
            .collect()
    }

    /// Reports NOT_SERVING from now on, whatever the probe finds.
    pub(super) fn drain(&self) {
        self.change(|state| state.draining = true);
    }

    /// Whether anybody could have seen it SERVING.
    pub(super) fn has_served(&self) -> bool {
        self.state.borrow().has_served
    }

    /// Why every call would be refused now. Right after the start it waits for what the first probe finds.
    pub(super) async fn refusal(&self) -> Option<Error> {
        let is_known = self.state.borrow().readiness.is_known;
        if !is_known {
            let mut states = self.state.subscribe();
            let known = states.wait_for(|state| state.readiness.is_known);
            _ = tokio::time::timeout(FIRST_PROBE_MAX, known).await;
        }
        self.state.borrow().readiness.refusal.clone()
    }

    async fn keep_probing(self, probe: HealthProbe, verifier: Arc<TokenVerifier>) {
        loop {
            let probing = tokio::time::timeout(PROBE_TIMEOUT, probe());
            let readiness = match panic::catch(probing).await {
                Ok(Ok(readiness)) => readiness,
                Ok(Err(_)) | Err(_) => Readiness::from(false),
            };
            self.change(|state| {
                state.readiness = readiness;
                state.has_keys = verifier.has_keys();
            });
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    }

    /// The serving status of a name; `None` if it is none.
    fn subject(&self, name: &str) -> Option<Subject> {
        match name {
            READS => Some(Subject::Reads),
            name => self.names.contains(name).then_some(Subject::Service),
        }
    }

    /// Changes the state; watchers are notified only if anything has changed.
    fn change(&self, change: impl FnOnce(&mut HealthState)) {
        self.state.send_if_modified(|state| {
            let before = state.clone();
            change(state);
            state.has_served |= state.statuses().contains(&ServingStatus::Serving);
            let (health, reads) = (
                state.serving(Subject::Service),
                state.serving(Subject::Reads),
            );
            if before.statuses() != [health, reads] {
                let (health, reads) = (health.as_str_name(), reads.as_str_name());
                let has_keys = state.has_keys;
                tracing::info!(health, reads, has_keys, "health changed");
            }
            before.statuses() != state.statuses() || before.readiness != state.readiness
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
        let subject = self.subject(name).ok_or_else(|| {
            Status::not_found(
                "There is no such service: use an empty name, `reads`, `liveness`, or a full name such as \
                 `earmark.balance.v1.BalanceService`.",
            )
        })?;
        Ok(Response::new(response(
            self.state.borrow().serving(subject),
        )))
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
        } else if let Some(subject) = self.subject(name) {
            let mut last = None;
            let statuses = WatchStream::new(self.state.subscribe())
                .map(move |state| state.serving(subject))
                .filter(move |status| std::future::ready(last.replace(*status) != Some(*status)));
            Box::pin(statuses.map(|status| Ok(response(status))))
        } else {
            Box::pin(unchanging(ServingStatus::ServiceUnknown))
        };
        Ok(Response::new(statuses))
    }
}
