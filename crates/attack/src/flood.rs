//! Many callers at the same time, who call again and again.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use tokio::time::sleep;

use crate::attack::AttackTarget;
use crate::wire::{self, CallSender};

/// What a client lets a server send ahead by default in HTTP/2.
pub(crate) const WINDOW_SMALL: u32 = 65_535;
/// As much as large answers need in order not to wait for the reader.
pub(crate) const WINDOW_LARGE: u32 = 4 * 1024 * 1024;
/// The pause before a closed connection is opened again.
const RECONNECT_PAUSE: Duration = Duration::from_millis(200);

/// How many callers there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallerFlood {
    pub(crate) connections: usize,
    /// Callers of each connection, each with one call at a time.
    pub(crate) callers: usize,
    /// Unread bytes that the server may send.
    pub(crate) window: u32,
    /// Between two calls of a caller, so that a refusal costs the server no more than a call does.
    pub(crate) pause: Duration,
}

impl CallerFlood {
    /// Runs until it is dropped. What calls answer does not matter here; `caller` counts from 0 over all connections.
    pub(crate) async fn run<C>(self, target: &AttackTarget, call: C) -> Result<()>
    where
        C: AsyncFn(CallSender, usize) -> Result<()>,
    {
        let connections = (0..self.connections).map(|index| self.keep(target, index, &call));
        join_all(connections).await;
        Ok(())
    }

    /// Keeps one connection and its callers.
    async fn keep<C>(&self, target: &AttackTarget, index: usize, call: &C)
    where
        C: AsyncFn(CallSender, usize) -> Result<()>,
    {
        loop {
            if let Ok((sender, connection)) = wire::open(target, self.window).await {
                let first = index * self.callers;
                let callers = (first..first + self.callers)
                    .map(|caller| self.repeat(sender.clone(), caller, call));
                tokio::select! {
                    _ended = connection => {}
                    _ended = join_all(callers) => {}
                }
            }
            sleep(RECONNECT_PAUSE).await;
        }
    }

    /// Calls until the connection is closed.
    async fn repeat<C>(&self, sender: CallSender, caller: usize, call: &C)
    where
        C: AsyncFn(CallSender, usize) -> Result<()>,
    {
        while let Ok(ready) = sender.clone().ready().await {
            // Refusals and resets are what a server is to answer.
            _ = call(ready, caller).await;
            sleep(self.pause).await;
        }
    }
}
