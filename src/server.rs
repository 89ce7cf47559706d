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
use crate::metrics;
use crate::server::acceptor::{Acceptor, ServedPort};
use crate::server::admission::Admission;
use crate::server::drain::Shutdown;
use crate::server::health::{HealthProbe, HealthReporter};
use crate::server::layers::Layers;
use crate::server::tls::ServerTls;

mod acceptor;
mod access_log;
mod admission;
mod authorise;
mod call_context;
mod call_metrics;
mod call_task;
mod calls_in_progress;
mod code_name;
mod connection;
mod connection_io;
mod deadline;
pub mod drain;
pub mod health;
mod layers;
mod log_rate;
mod panic;
mod peer;
mod reflection;
mod request_body;
mod request_id;
mod response_body;
mod settings;
mod shares;
mod status_rewrite;
pub mod tls;

pub use settings::ServerSettings;

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

/// The sockets that a server listens on. A [`TcpListener`] alone becomes one without TLS and without a port for health.
pub struct Listeners {
    /// The socket for all services.
    pub calls: TcpListener,
    /// The TLS of the connections that `calls` accepts; `None`: they are not encrypted.
    pub tls: Option<ServerTls>,
    /// A socket for health alone, never encrypted, for probes that know no TLS.
    pub health: Option<TcpListener>,
}

impl From<TcpListener> for Listeners {
    fn from(calls: TcpListener) -> Self {
        Self {
            calls,
            tls: None,
            health: None,
        }
    }
}

/// Everything that [`serve`] needs besides listening sockets.
pub struct ServerParts {
    /// The services, each with its own limits of message sizes; [`serve`] adds health and reflection.
    pub routes: Routes,
    /// Verifies the token of every call, and keeps the results for a while.
    pub verifier: Arc<TokenVerifier>,
    /// Asks what the state of the database allows; health reports the result.
    pub probe: HealthProbe,
    /// The server's limits and times.
    pub settings: ServerSettings,
    /// Run in this order after the last call: sweep, writers, pools, the embedded Postgres last.
    pub closing: Vec<ClosingHook>,
}

/// Why a server cannot start to serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The reflection service cannot be built from the descriptors in the binary.
    #[error("reflection cannot be served: {0}; start the server with --reflection false")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The descriptors in the binary, from which the shapes of requests are read, cannot be decoded.
    #[error("the descriptors in the program cannot be read: {0}; build it again")]
    Descriptors(#[from] prost::DecodeError),
}

/// Serves until `shutdown` is requested and the last call has ended, then runs the closing hooks.
///
/// The steps of a shutdown:
/// 1. Health changes to NOT_SERVING, and calls are still served for `lame_duck`, unless it was NOT_SERVING all the time.
/// 2. No connection is accepted any more, connections get GOAWAY, Watch streams end, and new calls are answered
///    SHUTTING_DOWN. A connection without a call is closed after `goaway_grace`, even if its client does nothing.
/// 3. Calls in progress may end, for at most `drain_max`; then their connections are closed.
/// 4. The closing hooks run, one after the other. The port for health is closed just before.
///
/// `Shutdown::hurry` skips the waits of steps 1 and 3, but not the hooks.
///
/// # Errors
/// Any [`ServeError`] before the first connection is accepted; there is none afterwards.
pub async fn serve(
    listeners: impl Into<Listeners>,
    parts: ServerParts,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let settings = parts.settings;
    let listeners = listeners.into();
    let (health, probing) = HealthReporter::start(parts.probe, Arc::clone(&parts.verifier));
    call_metrics::begin();
    let closing = CancellationToken::new();
    let cut = CancellationToken::new();
    // Dropping this future closes every connection too.
    let _cut_on_drop = cut.clone().drop_guard();
    let tasks = TaskTracker::new();
    let watched = match listeners.health {
        Some(listener) => {
            let verifier = Arc::clone(&parts.verifier);
            Some(serve_health(listener, &health, verifier, &settings, &cut)?)
        }
        None => None,
    };

    let mut routes = parts.routes.add_service(health.service());
    if settings.reflection {
        routes = reflection::add_to(routes)?;
    }
    if let Some(tls) = listeners.tls.clone() {
        let of_failures = tls.clone();
        metrics::tls::watch(
            move || tls.status().not_after,
            move || of_failures.status().reloads_failed,
        );
    }
    let reloading = listeners.tls.clone().map(ServerTls::keep_current);
    let layers = Layers {
        routes: routes.prepare(),
        admission: Admission::new(parts.verifier, &settings)?.counted(),
        call_max: settings.call_max,
        health: health.clone(),
        closing: closing.clone(),
        only_health: false,
    };
    let acceptor = Acceptor::new(ServedPort::Calls, layers, &settings, &cut, &tasks);
    let acceptor = acceptor.with_tls(listeners.tls);
    let accepting = tokio::spawn(acceptor.run(listeners.calls));
    let reporting = AbortOnDropHandle::new(tokio::spawn(access_log::report_each_second()));
    let reloading = reloading.map(|keeping| AbortOnDropHandle::new(tokio::spawn(keeping)));

    shutdown.begun().await;
    tracing::info!(lame_duck = ?settings.lame_duck, "shutdown requested: health is NOT_SERVING, calls are served until the lame duck's time is over");
    health.drain();
    // Nobody sends calls to a server that was never SERVING.
    if health.has_served() {
        shutdown.sleep(settings.lame_duck).await;
    }
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

    drop((probing, reporting, reloading, watched));
    access_log::report_unlogged();
    for hook in parts.closing {
        let started = Instant::now();
        hook.close.await;
        tracing::info!(hook = hook.name, duration = ?started.elapsed(), "closing hook done");
    }
    Ok(())
}

/// Serves health alone, until `cut` is cancelled: probes are still answered while the server drains. The drain does not
/// wait for these connections.
fn serve_health(
    listener: TcpListener,
    health: &HealthReporter,
    verifier: Arc<TokenVerifier>,
    settings: &ServerSettings,
    cut: &CancellationToken,
) -> Result<AbortOnDropHandle<()>, ServeError> {
    let settings = settings.of_health_port();
    let layers = Layers {
        routes: Routes::new(health.service()).prepare(),
        admission: Admission::new(verifier, &settings)?,
        call_max: settings.call_max,
        health: health.clone(),
        closing: cut.clone(),
        only_health: true,
    };
    let tasks = TaskTracker::new();
    let acceptor = Acceptor::new(ServedPort::Health, layers, &settings, cut, &tasks);
    Ok(AbortOnDropHandle::new(tokio::spawn(acceptor.run(listener))))
}
