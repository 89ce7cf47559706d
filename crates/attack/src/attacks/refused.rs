//! Calls that are refused, for the lines that they leave in the log.

use std::time::Duration;

use anyhow::Result;
use earmark::proto::allocation::v1::GetAllocationRequest;
use futures_util::future::LocalBoxFuture;

use crate::attack::{Attack, AttackTarget};
use crate::flood::{CallerFlood, WINDOW_SMALL};
use crate::wire;

/// At most 8,000 calls a second without a token.
pub(crate) struct RefusedAttack;

impl Attack for RefusedAttack {
    fn name(&self) -> &'static str {
        "refused"
    }

    fn has_token(&self) -> bool {
        false
    }

    fn run<'t>(&'t self, target: &'t AttackTarget) -> LocalBoxFuture<'t, Result<()>> {
        let flood = CallerFlood {
            connections: 4,
            callers: 64,
            window: WINDOW_SMALL,
            pause: Duration::from_millis(32),
        };
        let request = wire::frame(&GetAllocationRequest::default());
        Box::pin(flood.run(target, async move |mut sender, _caller| {
            let path = "/earmark.allocation.v1.AllocationService/GetAllocation";
            let head = wire::head(target, path, None)?;
            wire::call(&mut sender, head, request.clone()).await?;
            Ok(())
        }))
    }
}
