//! Searches that cost the database as much as a search can.

use std::cell::Cell;
use std::time::Duration;

use anyhow::Result;
use earmark::proto::cas::v1::{Criterion, SearchAllocationsRequest};
use futures_util::future::LocalBoxFuture;

use crate::attack::{Attack, AttackTarget};
use crate::flood::{CallerFlood, WINDOW_LARGE};
use crate::wire;

pub(super) const SEARCH: &str = "/earmark.cas.v1.CasAllocationService/SearchAllocations";
const COMMENT: &str = "comment.comments.comment";
const CALLERS: usize = 10;
/// The gRPC code INVALID_ARGUMENT, by which a server refuses a search as too expensive.
const INVALID_ARGUMENT: u32 = 3;
/// After a refusal, so that an attacker whose every search is refused does not attack by the number of its calls.
const REFUSED_PAUSE: Duration = Duration::from_millis(50);

/// Searches by ten callers of one firm. Of a search that the server refuses as such, each tries smaller ones, down to
/// the most expensive that is accepted.
pub(crate) struct SearchAttack;

impl Attack for SearchAttack {
    fn name(&self) -> &'static str {
        "search"
    }

    fn run<'t>(&'t self, target: &'t AttackTarget) -> LocalBoxFuture<'t, Result<()>> {
        let flood = CallerFlood {
            connections: 1,
            callers: CALLERS,
            window: WINDOW_LARGE,
            pause: Duration::ZERO,
        };
        Box::pin(async move {
            // In sixteenths of the largest, and the same again for the other kind of search.
            let sizes: [Cell<usize>; CALLERS] = std::array::from_fn(|_| Cell::new(16));
            let call = async |mut sender, caller: usize| {
                let size = &sizes[caller % CALLERS];
                let search = expensive(caller, size.get());
                let head = wire::head(target, SEARCH, Some(&target.token))?;
                if wire::call(&mut sender, head, wire::frame(&search)).await? == INVALID_ARGUMENT {
                    size.set((size.get() - 1).max(1));
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
                Ok(())
            };
            flood.run(target, call).await
        })
    }
}

/// An expensive search: by an even caller one pattern of at most 400 wildcards, by an odd one at most 50 comparisons,
/// each with all comments of all records. `size` is in sixteenths.
pub(super) fn expensive(caller: usize, size: usize) -> SearchAllocationsRequest {
    let criterion = |operator: &str, value: String| Criterion {
        field: COMMENT.into(),
        operator: operator.into(),
        value,
        any: Vec::new(),
    };
    let criteria = if caller.is_multiple_of(2) {
        vec![criterion("like", "%a".repeat(400 * size / 16) + "%zzz")]
    } else {
        let comparisons = 0..(50 * size / 16).max(1);
        let differ = comparisons.map(|number| criterion("!=", format!("no such comment {number}")));
        // Nothing is found, so that the search does not end with its first page.
        let mut criteria: Vec<_> = differ.skip(1).collect();
        criteria.push(criterion("=", "no comment has this text".into()));
        criteria.rotate_right(1);
        criteria
    };
    SearchAllocationsRequest {
        criteria,
        page_size: 1_000,
        ..Default::default()
    }
}
