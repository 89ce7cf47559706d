//! The largest answers.

use std::time::Duration;

use anyhow::Result;
use earmark::proto::cas::v1::SearchAllocationsRequest;
use futures_util::future::LocalBoxFuture;

use super::search::SEARCH;
use crate::attack::{Attack, AttackTarget};
use crate::flood::{CallerFlood, WINDOW_LARGE, WINDOW_SMALL};
use crate::wire;

/// Pages of some 4 MiB: 16 callers read them, and 64 more read nothing of them.
pub(crate) struct AnswersAttack;

impl Attack for AnswersAttack {
    fn name(&self) -> &'static str {
        "answers"
    }

    fn run<'t>(&'t self, target: &'t AttackTarget) -> LocalBoxFuture<'t, Result<()>> {
        let reading = CallerFlood {
            connections: 2,
            callers: 8,
            window: WINDOW_LARGE,
            pause: Duration::ZERO,
        };
        let unread = CallerFlood {
            connections: 4,
            callers: 16,
            window: WINDOW_SMALL,
            pause: Duration::from_millis(200),
        };
        let request = wire::frame(&SearchAllocationsRequest {
            page_size: 1_000,
            ..Default::default()
        });
        Box::pin(async move {
            let read = reading.run(target, async |mut sender, _caller| {
                let head = wire::head(target, SEARCH, Some(&target.token))?;
                wire::call(&mut sender, head, request.clone()).await?;
                Ok(())
            });
            let leave = unread.run(target, async |mut sender, _caller| {
                let head = wire::head(target, SEARCH, Some(&target.token))?;
                let (response, mut stream) = sender.send_request(head, false)?;
                stream.send_data(request.clone(), true)?;
                wire::hold_unread(response, &mut stream).await
            });
            tokio::try_join!(read, leave)?;
            Ok(())
        })
    }
}
