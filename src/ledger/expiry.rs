//! Expiry: what is due is released by the command that touches its owner (`decide`), by the read that meets it, and by
//! the sweep. It is always written, never computed.

use std::panic::AssertUnwindSafe;

use diesel_async::AsyncPgConnection;
use futures_util::FutureExt;
use futures_util::future::{join_all, try_join_all};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::db::pool::Pool;
use crate::db::{expired_reservations, read};
use crate::error::Result;
use crate::ledger::claim::Claim;
use crate::ledger::command::{Action, Command, OwnerKind};
use crate::ledger::writer::Writer;
use crate::limits::{SWEEP_INTERVAL, SWEEP_OWNERS_MAX, SWEEP_ROUND_MAX};
use crate::types::ids::OwnerId;

/// Releases the due reservations of these owners of one kind; false if there are no owners. A read that found some reads again.
///
/// # Errors
/// Those of the writer; above all [`crate::error::Error::Overloaded`].
pub async fn release_due(writer: &Writer, kind: OwnerKind, owners: &[OwnerId]) -> Result<bool> {
    try_join_all(owners.iter().map(|owner| release(writer, kind, *owner))).await?;
    Ok(!owners.is_empty())
}

async fn release(writer: &Writer, kind: OwnerKind, owner: OwnerId) -> Result<()> {
    // Nobody waits for this by its own right: it is carried out whatever becomes of the read.
    let command = Command::new(owner, false, Action::Expire(kind));
    writer.submit(command, Claim::new()).await.map(|_| ())
}

/// Releases what no command and no read meets. It only proposes: `decide` finds nothing to do where another process was
/// first.
pub fn sweep(pool: Pool, writer: Writer, closing: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = interval(SWEEP_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let rounds = async {
            loop {
                ticks.tick().await;
                // What has been handed to the writer is carried out without us; an owner that another session holds must
                // not keep all others waiting.
                let round = timeout(SWEEP_ROUND_MAX, sweep_once(&pool, &writer));
                if AssertUnwindSafe(round).catch_unwind().await.is_err() {
                    tracing::error!("a sweep panicked");
                }
            }
        };
        closing.run_until_cancelled(rounds).await;
    })
}

async fn sweep_once(pool: &Pool, writer: &Writer) {
    let found = read::one(pool, async |connection: &mut AsyncPgConnection| {
        expired_reservations::oldest_owners(connection, SWEEP_OWNERS_MAX).await
    });
    let of = |kind, owners: Vec<OwnerId>| owners.into_iter().map(move |owner| (kind, owner));
    let mut owners: Vec<_> = match found.await {
        Ok((enterprises, buckets)) => of(OwnerKind::Enterprise, enterprises)
            .chain(of(OwnerKind::Bucket, buckets))
            .collect(),
        // The next tick tries again; health says what there is to say of the database.
        Err(error) => {
            tracing::debug!(?error, "the sweep could not look");
            return;
        }
    };
    // Processes that sweep together start at different owners.
    let start = usize::from(uuid::Uuid::new_v4().as_bytes()[0]) % owners.len().max(1);
    owners.rotate_left(start);
    let released = join_all(
        owners
            .iter()
            .map(|(kind, owner)| release(writer, *kind, *owner)),
    )
    .await;
    for error in released.into_iter().filter_map(Result::err) {
        tracing::debug!(?error, "the sweep could not release");
    }
}
