//! Serves the RPCs: accepts connections, runs every call through the layers, serves health and reflection, and
//! shuts down in order.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use tonic::service::Routes;

use crate::auth::token::TokenVerifier;
use crate::limits::{
    CALL_MAX, CONNECTION_AGE_MAX, CONNECTION_GOAWAY_GRACE, CONNECTION_IDLE_MAX,
    CONNECTION_PREFACE_MAX,
};
use crate::server::acceptor::Acceptor;
use crate::server::connection::{ConnectionLimits, ConnectionServer};
use crate::server::drain::Shutdown;
use crate::server::health::{HealthProbe, HealthReporter};
use crate::server::layers::Layers;
use crate::server::load_shed::LoadShedder;

mod acceptor;
mod access_log;
mod authorise;
mod call_context;
mod calls_in_progress;
mod connection;
mod connection_io;
mod deadline;
pub mod drain;
pub mod health;
mod layers;
mod load_shed;
mod log_rate;
mod panic;
mod peer_connections;
mod reflection;
mod request_id;
mod response_body;
mod status_rewrite;

/// Limits and times of the server. The help of `earmark serve` says what happens when one is too high or too low.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// How many calls are in progress at the same time; the next one is answered RESOURCE_EXHAUSTED without waiting.
    /// Health and reflection have a separate limit of the same size.
    pub calls_max: usize,
    /// The longest time that a call may take; a call with a shorter deadline of its client ends at that one. RPCs that
    /// the scope table marks `long`, health and reflection are exempt.
    pub call_max: Duration,
    /// How many client connections are open at the same time; further ones stay in the listening socket's backlog.
    pub connections_max: usize,
    /// How many of them one peer may have, an IPv4 address or an IPv6 network of 64 bits; further ones are closed at once.
    pub connections_per_peer_max: usize,
    /// The age, give or take a tenth, at which a connection gets GOAWAY.
    pub connection_age_max: Duration,
    /// How long a connection may be without a call before it gets GOAWAY.
    pub connection_idle_max: Duration,
    /// How long a new connection may take to send the preface of HTTP/2. The command line has no option for it.
    pub preface_max: Duration,
    /// How long a connection without a call stays open after GOAWAY, at a shutdown too, if its client does not end it.
    /// The command line has no option for it.
    pub goaway_grace: Duration,
    /// How many calls one connection carries at the same time (HTTP/2's SETTINGS_MAX_CONCURRENT_STREAMS). Clients
    /// delay further ones until one has ended.
    pub streams_max: u32,
    /// How long the server still takes new calls after health has changed to NOT_SERVING at a shutdown.
    pub lame_duck: Duration,
    /// How long calls in progress may continue after the lame duck's time; their connections are closed then.
    pub drain_max: Duration,
    /// Whether gRPC reflection is served, v1 and v1alpha.
    pub reflection: bool,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            calls_max: 4_096,
            call_max: CALL_MAX,
            connections_max: 10_000,
            connections_per_peer_max: 5_000,
            connection_age_max: CONNECTION_AGE_MAX,
            connection_idle_max: CONNECTION_IDLE_MAX,
            preface_max: CONNECTION_PREFACE_MAX,
            goaway_grace: CONNECTION_GOAWAY_GRACE,
            streams_max: 1_024,
            lame_duck: Duration::from_secs(5),
            drain_max: Duration::from_secs(25),
            reflection: true,
        }
    }
}

/// One step of a shutdown, run once the last call has ended: for example the writer's flush, or closing the pools.
pub struct ClosingHook {
    name: &'static str,
    close: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl ClosingHook {
    /// A step with its name in the log. `close` is polled only after the hooks before it have completed.
    pub fn new(name: &'static str, close: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            name,
            close: Box::pin(close),
        }
    }
}

/// Everything that [`serve`] needs besides a listening socket.
pub struct ServerParts {
    /// The services, each with its own limits of message sizes; [`serve`] adds health and reflection.
    pub routes: Routes,
    /// Verifies the token of every call, and keeps the results for a while.
    pub verifier: Arc<TokenVerifier>,
    /// Checks that the database answers and has every migration; health reports the result.
    pub probe: HealthProbe,
    /// The server's limits and times.
    pub settings: ServerSettings,
    /// Run in this order after the last call: sweep, writers, pools, the embedded Postgres last.
    pub closing: Vec<ClosingHook>,
}

impl ServerSettings {
    fn of_connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            streams_max: self.streams_max,
            preface_max: self.preface_max,
            age_max: self.connection_age_max,
            idle_max: self.connection_idle_max,
            goaway_grace: self.goaway_grace,
        }
    }
}

/// Why a server cannot start to serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The reflection service cannot be built from the descriptors in the binary.
    #[error("reflection cannot be served: {0}; start the server with --reflection false")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves until `shutdown` is requested and the last call has ended, then runs the closing hooks.
///
/// The steps of a shutdown:
/// 1. Health changes to NOT_SERVING, and calls are still served for `lame_duck`.
/// 2. No connection is accepted any more, connections get GOAWAY, Watch streams end, and new calls are answered
///    SHUTTING_DOWN. A connection without a call is closed after `goaway_grace`, even if its client does nothing.
/// 3. Calls in progress may end, for at most `drain_max`; then their connections are closed.
/// 4. The closing hooks run, one after the other.
///
/// `Shutdown::hurry` skips the waits of steps 1 and 3, but not the hooks.
///
/// # Errors
/// [`ServeError::Reflection`] before the first connection is accepted; there is none afterwards.
pub async fn serve(
    listener: TcpListener,
    parts: ServerParts,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let settings = parts.settings;
    let (health, probing) = HealthReporter::start(parts.probe);
    let mut routes = parts.routes.add_service(health.service());
    if settings.reflection {
        routes = reflection::add_to(routes)?;
    }

    let closing = CancellationToken::new();
    let cut = CancellationToken::new();
    // Dropping this future closes every connection too.
    let _cut_on_drop = cut.clone().drop_guard();
    let tasks = TaskTracker::new();
    let acceptor = Acceptor {
        layers: Arc::new(Layers {
            routes: routes.prepare(),
            verifier: parts.verifier,
            load_shedder: LoadShedder::new(settings.calls_max),
            call_max: settings.call_max,
            closing: closing.clone(),
        }),
        connections_max: settings.connections_max,
        connections_per_peer_max: settings.connections_per_peer_max,
        connections: ConnectionServer {
            limits: settings.of_connections(),
            closing: closing.clone(),
            cut: cut.clone(),
            tasks: tasks.clone(),
        },
    };
    let accepting = tokio::spawn(acceptor.run(listener));
    let reporting = AbortOnDropHandle::new(tokio::spawn(access_log::report_each_second()));

    shutdown.begun().await;
    tracing::info!(lame_duck = ?settings.lame_duck, "shutdown requested: health is NOT_SERVING, calls are served until the lame duck's time is over");
    health.drain();
    shutdown.sleep(settings.lame_duck).await;
    closing.cancel();
    // `closing` ends the acceptor: from here on only open connections can add tasks.
    let _ = accepting.await;
    tasks.close();
    tokio::select! {
        () = tasks.wait() => tracing::info!("all calls have ended"),
        () = shutdown.sleep(settings.drain_max) => {
            tracing::warn!(tasks = tasks.len(), "the drain's time is over: closing the connections that still have calls");
        }
    }
    cut.cancel();
    // Tasks end when they are polled next; a handler that blocks its thread must not delay the hooks.
    let _ = tokio::time::timeout(Duration::from_secs(1), tasks.wait()).await;

    drop((probing, reporting));
    access_log::report_unlogged();
    for hook in parts.closing {
        let started = Instant::now();
        hook.close.await;
        tracing::info!(hook = hook.name, duration = ?started.elapsed(), "closing hook done");
    }
    Ok(())
}
