//! Keeps the server alive until told otherwise.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::error::EmbeddedError;
use super::home::Home;
use super::postmaster::Postmaster;

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What the server does now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It accepts connections.
    Running {
        /// The postmaster's process.
        pid: u32,
        /// Whether it was found running.
        adopted: bool,
        /// How often it had to be started again.
        restarts: u32,
    },
    /// It died, and is being started again.
    Restarting {
        /// How it ended, or why the last attempt failed.
        reason: String,
    },
    /// It was stopped, or is no longer looked after.
    Ended,
}

#[derive(Debug)]
pub(super) enum Order {
    Stop,
    Detach,
}

type Started = (
    oneshot::Sender<Order>,
    JoinHandle<Result<(), EmbeddedError>>,
    watch::Receiver<State>,
);

pub(super) fn spawn(
    home: Arc<Home>,
    settings: Vec<(String, String)>,
    postmaster: Postmaster,
) -> Started {
    let (orders, inbox) = oneshot::channel();
    let (state, observed) = watch::channel(running(&postmaster, 0));
    let supervisor = Supervisor {
        home,
        settings,
        state,
    };
    (
        orders,
        tokio::spawn(supervisor.run(postmaster, inbox)),
        observed,
    )
}

fn running(postmaster: &Postmaster, restarts: u32) -> State {
    State::Running {
        pid: postmaster.pid,
        adopted: postmaster.is_adopted(),
        restarts,
    }
}

struct Supervisor {
    home: Arc<Home>,
    settings: Vec<(String, String)>,
    state: watch::Sender<State>,
}

impl Supervisor {
    async fn run(
        self,
        mut postmaster: Postmaster,
        mut inbox: oneshot::Receiver<Order>,
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
            self.state.send_replace(State::Restarting { reason: ended });
            let mut pause = PAUSE_MIN;
            postmaster = loop {
                tokio::select! {
                    order = &mut inbox => return self.obey(order, None).await,
                    () = sleep(pause) => {}
                }
                match self.start(&socket_dir, &mut inbox).await {
                    Ok(Attempt::Running(started)) => break started,
                    Ok(Attempt::Interrupted(order, started)) => {
                        return self.obey(order, started).await;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the embedded Postgres cannot be started again yet");
                        self.state.send_replace(State::Restarting {
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
        inbox: &mut oneshot::Receiver<Order>,
    ) -> Result<Attempt, EmbeddedError> {
        // Somebody may have started one by hand in between.
        if let Some(adopted) = Postmaster::adopt(&self.home).await? {
            return Ok(Attempt::Running(adopted));
        }
        let mut started = Postmaster::spawn(&self.home, &self.settings, Some(socket_dir))?;
        let ready = tokio::select! {
            order = inbox => return Ok(Attempt::Interrupted(order, Some(started))),
            ready = started.ready(&self.home) => ready,
        };
        match ready {
            Ok(()) => Ok(Attempt::Running(started)),
            Err(error) => {
                _ = started.stop().await;
                Err(error)
            }
        }
    }

    /// An order that never came is the cluster being dropped: as there, an adopted server is left alone.
    async fn obey(
        &self,
        order: Result<Order, oneshot::error::RecvError>,
        postmaster: Option<Postmaster>,
    ) -> Result<(), EmbeddedError> {
        let outcome = match (order, postmaster) {
            (Ok(Order::Stop), Some(postmaster)) => postmaster.stop().await,
            (Err(_dropped), Some(postmaster)) if !postmaster.is_adopted() => {
                postmaster.stop().await
            }
            _ => Ok(()),
        };
        self.state.send_replace(State::Ended);
        outcome
    }
}

enum Attempt {
    Running(Postmaster),
    /// Told otherwise in the middle of starting.
    Interrupted(Result<Order, oneshot::error::RecvError>, Option<Postmaster>),
}
