//! The task that restarts the server when it ends, until the cluster is stopped or detached.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::data_dir::DataDir;
use crate::error::EmbeddedError;
use crate::postmaster::Postmaster;
use crate::state::ClusterState;

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What the owner of a cluster asks its supervisor to do.
#[derive(Debug)]
pub(crate) enum SupervisorOrder {
    /// Stop the server, adopted or not.
    Stop,
    /// Leave the server running without a supervisor.
    Detach,
}

/// The channel for one order, the supervisor's task, and the server's state.
type SupervisorHandles = (
    oneshot::Sender<SupervisorOrder>,
    JoinHandle<Result<(), EmbeddedError>>,
    watch::Receiver<ClusterState>,
);

pub(crate) fn spawn(
    data_dir: Arc<DataDir>,
    settings: Vec<(String, String)>,
    postmaster: Postmaster,
) -> SupervisorHandles {
    let (orders, inbox) = oneshot::channel();
    let (state, observed) = watch::channel(running(&postmaster, 0));
    let supervisor = Supervisor {
        data_dir,
        settings,
        state,
    };
    (
        orders,
        tokio::spawn(supervisor.run(postmaster, inbox)),
        observed,
    )
}

fn running(postmaster: &Postmaster, restarts: u32) -> ClusterState {
    ClusterState::Running {
        pid: postmaster.pid,
        adopted: postmaster.is_adopted(),
        restarts,
    }
}

struct Supervisor {
    data_dir: Arc<DataDir>,
    settings: Vec<(String, String)>,
    state: watch::Sender<ClusterState>,
}

impl Supervisor {
    async fn run(
        self,
        mut postmaster: Postmaster,
        mut inbox: oneshot::Receiver<SupervisorOrder>,
    ) -> Result<(), EmbeddedError> {
        let mut restarts = 0;
        let socket_dir = postmaster.endpoint.socket_dir.clone();
        loop {
            let ended = tokio::select! {
                order = &mut inbox => return self.obey(order, Some(postmaster)).await,
                ended = postmaster.died() => ended,
            };
            restarts += 1;
            tracing::warn!(pid = postmaster.pid, %ended, restarts, "the embedded Postgres died; starting it again");
            self.state
                .send_replace(ClusterState::Restarting { reason: ended });
            let mut pause = PAUSE_MIN;
            postmaster = loop {
                tokio::select! {
                    order = &mut inbox => return self.obey(order, None).await,
                    () = sleep(pause) => {}
                }
                match self.start(&socket_dir, &mut inbox).await {
                    Ok(RestartAttempt::Running(started)) => break started,
                    Ok(RestartAttempt::Interrupted(order, started)) => {
                        return self.obey(order, started).await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the embedded Postgres cannot be started again yet");
                        self.state.send_replace(ClusterState::Restarting {
                            reason: error.to_string(),
                        });
                    }
                }
                pause = (pause * 2).min(PAUSE_MAX);
            };
            tracing::info!(
                pid = postmaster.pid,
                restarts,
                "the embedded Postgres runs again"
            );
            self.state.send_replace(running(&postmaster, restarts));
        }
    }

    async fn start(
        &self,
        socket_dir: &Path,
        inbox: &mut oneshot::Receiver<SupervisorOrder>,
    ) -> Result<RestartAttempt, EmbeddedError> {
        // A server may have been started by hand in the meantime.
        if let Some(adopted) = Postmaster::adopt(&self.data_dir).await? {
            return Ok(RestartAttempt::Running(adopted));
        }
        let mut started = Postmaster::spawn(&self.data_dir, &self.settings, Some(socket_dir))?;
        let ready = tokio::select! {
            order = inbox => return Ok(RestartAttempt::Interrupted(order, Some(started))),
            ready = started.ready(&self.data_dir) => ready,
        };
        match ready {
            Ok(()) => Ok(RestartAttempt::Running(started)),
            Err(error) => {
                _ = started.stop().await;
                Err(error)
            }
        }
    }

    /// Carries out an order. A closed channel means that the [`Cluster`](crate::Cluster) was dropped: a server that was
    /// started here is then stopped, and an adopted one is left running.
    async fn obey(
        &self,
        order: Result<SupervisorOrder, oneshot::error::RecvError>,
        postmaster: Option<Postmaster>,
    ) -> Result<(), EmbeddedError> {
        let outcome = match (order, postmaster) {
            (Ok(SupervisorOrder::Stop), Some(postmaster)) => postmaster.stop().await,
            (Err(_dropped), Some(postmaster)) if !postmaster.is_adopted() => {
                postmaster.stop().await
            }
            _ => Ok(()),
        };
        self.state.send_replace(ClusterState::Ended);
        outcome
    }
}

/// What came of one attempt to start the server again.
enum RestartAttempt {
    Running(Postmaster),
    /// An order arrived, or the channel was closed, before the new server was ready.
    Interrupted(
        Result<SupervisorOrder, oneshot::error::RecvError>,
        Option<Postmaster>,
    ),
}
