//! Serves the RPCs: connections, the layers that every call passes, health, reflection, and the way out.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use crate::auth::token::Verifier;
use crate::limits::CALL_MAX;
use crate::server::connections::Connections;
use crate::server::drain::Shutdown;
use crate::server::health::{Health, Probe};
use crate::server::layers::Layers;
use crate::server::shed::Shed;

pub mod access_log;
pub mod authorise;
mod body;
mod connections;
pub mod deadline;
pub mod drain;
pub mod health;
pub mod layers;
mod panic;
mod reflection;
pub mod request_id;
mod rewrite;
mod shed;

/// How the server behaves; `config` says what goes wrong when one is too high or too low.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Calls at work at the same time; one above is refused at once.
    pub calls_max: usize,
    /// The longest a call may last.
    pub call_max: Duration,
    /// Open connections; one above waits to be accepted.
    pub connections_max: usize,
    /// Calls at the same time on one connection; HTTP/2 makes the client wait above.
    pub streams_max: u32,
    /// How long the server goes on serving after it has said that it will stop.
    pub lame_duck: Duration,
    /// How long calls may go on after that.
    pub drain_max: Duration,
    /// Whether reflection is served.
    pub reflection: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            calls_max: 4_096,
            call_max: CALL_MAX,
            connections_max: 10_000,
            streams_max: 1_024,
            lame_duck: Duration::from_secs(5),
            drain_max: Duration::from_secs(25),
            reflection: true,
        }
    }
}

/// What has to be closed once the last call has ended, in this order: writer, pools, the embedded Postgres last.
pub struct ClosingHook {
    name: &'static str,
    close: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl ClosingHook {
    /// A hook by the name that it has in the log. Nothing is done before it is its turn.
    pub fn new(name: &'static str, close: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            name,
            close: Box::pin(close),
        }
    }
}

/// What a server is made of.
pub struct ServerParts {
    /// The services, each with its own limits of message sizes.
    pub routes: Routes,
    /// Verifies tokens.
    pub verifier: Arc<Verifier>,
    /// Whether the database answers and its migrations are current.
    pub probe: Probe,
    /// How the server behaves.
    pub settings: Settings,
    /// What is closed at the end.
    pub closing: Vec<ClosingHook>,
}

/// Why a server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The embedded descriptors cannot be served.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves until `shutdown` begins and the last call has ended, then closes what there is to close.
///
/// The way out: NOT_SERVING → lame duck → no new connections, Watch streams end, new calls are SHUTTING_DOWN → calls end,
/// for at most `drain_max` → connections are cut → hooks. `Shutdown::hurry` skips the waiting, not the hooks.
pub async fn serve(
    listener: TcpListener,
    parts: ServerParts,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let settings = parts.settings;
    let (health, probing) = Health::start(parts.probe);
    let mut routes = parts.routes.add_service(health.service());
    if settings.reflection {
        routes = reflection::add_to(routes)?;
    }

    let closing = CancellationToken::new();
    let cut = CancellationToken::new();
    // However this future ends, no connection outlives it.
    let _cut_on_drop = cut.clone().drop_guard();
    let tasks = TaskTracker::new();
    let connections = Connections {
        layers: Arc::new(Layers {
            routes: routes.prepare(),
            verifier: parts.verifier,
            shed: Shed::new(settings.calls_max),
            call_max: settings.call_max,
            closing: closing.clone(),
        }),
        connections_max: settings.connections_max,
        streams_max: settings.streams_max,
        closing: closing.clone(),
        cut: cut.clone(),
        tasks: tasks.clone(),
    };
    let accepting = tokio::spawn(connections.accept(listener));

    shutdown.begun().await;
    tracing::info!(lame_duck = ?settings.lame_duck, "shutting down: not serving any more");
    health.drain();
    shutdown.sleep(settings.lame_duck).await;
    closing.cancel();
    // Ended by `closing`: from here on nothing adds to the tasks but calls of open connections.
    let _ = accepting.await;
    tasks.close();
    tokio::select! {
        () = tasks.wait() => tracing::info!("every call has ended"),
        () = shutdown.sleep(settings.drain_max) => {
            tracing::warn!(tasks = tasks.len(), "cutting the connections that are left");
        }
    }
    cut.cancel();
    // Cut tasks end as soon as they are polled; a handler that blocks its thread must not hold the hooks back.
    let _ = tokio::time::timeout(Duration::from_secs(1), tasks.wait()).await;

    drop(probing);
    for hook in parts.closing {
        let started = Instant::now();
        hook.close.await;
        tracing::info!(what = hook.name, duration = ?started.elapsed(), "closed");
    }
    Ok(())
}
