//! Searches that their callers give up.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::LocalBoxFuture;
use http::HeaderValue;
use tokio::time::timeout;

use super::search::{SEARCH, expensive};
use crate::attack::{Attack, AttackTarget};
use crate::flood::{CallerFlood, WINDOW_LARGE};
use crate::wire;

/// Expensive searches, half of which are reset after 0.3 s, while the others have a deadline of 0.1 s: the database
/// goes on with a statement that nobody waits for, unless it is told.
pub(crate) struct CancelledAttack;

impl Attack for CancelledAttack {
    fn name(&self) -> &'static str {
        "cancelled"
    }

    fn run<'t>(&'t self, target: &'t AttackTarget) -> LocalBoxFuture<'t, Result<()>> {
        let flood = CallerFlood {
            connections: 2,
            callers: 40,
            window: WINDOW_LARGE,
            pause: Duration::from_millis(50),
        };
        Box::pin(flood.run(target, async |mut sender, caller| {
            // Small enough that no limit of the cost of a search refuses it: it still takes longer than its caller waits.
            let search = wire::frame(&expensive(caller / 2, 4));
            let mut head = wire::head(target, SEARCH, Some(&target.token))?;
            let patience = if caller.is_multiple_of(2) {
                Duration::from_millis(300)
            } else {
                head.headers_mut()
                    .insert("grpc-timeout", HeaderValue::from_static("100m"));
                Duration::from_secs(30)
            };
            // To drop a call is to reset it.
            timeout(patience, wire::call(&mut sender, head, search)).await??;
            Ok(())
        }))
    }
}
