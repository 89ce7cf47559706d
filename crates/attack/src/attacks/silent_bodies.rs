//! Calls whose body never comes.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::LocalBoxFuture;

use crate::attack::{Attack, AttackTarget};
use crate::flood::{CallerFlood, WINDOW_SMALL};
use crate::wire;

/// As many calls without a body as the server takes calls: each keeps its place until its deadline.
pub(crate) struct SilentBodiesAttack;

impl Attack for SilentBodiesAttack {
    fn name(&self) -> &'static str {
        "silent-bodies"
    }

    fn run<'t>(&'t self, target: &'t AttackTarget) -> LocalBoxFuture<'t, Result<()>> {
        let flood = CallerFlood {
            connections: 4,
            callers: 1_024,
            window: WINDOW_SMALL,
            pause: Duration::from_secs(1),
        };
        Box::pin(flood.run(target, async |mut sender, _caller| {
            let path = "/earmark.allocation.v1.AllocationService/GetAllocation";
            let head = wire::head(target, path, Some(&target.token))?;
            let (response, _open) = sender.send_request(head, false)?;
            wire::read(response).await?;
            Ok(())
        }))
    }
}
