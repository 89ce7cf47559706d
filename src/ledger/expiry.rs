//! Expiry: a reservation whose `expire_time` has passed is released by the next command on its owner, by a read that finds
//! it, or by the sweep, whichever is first. Its release is always a movement in the journal; it is never only assumed.

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
use crate::ledger::account::OwnerKind;
use crate::ledger::bucket::model::Buckets;
use crate::ledger::claim::Claim;
use crate::ledger::engine::Writer;
use crate::ledger::kind::{Command, ReleaseDue};
use crate::ledger::oes::model::OesRecords;
use crate::limits::{SWEEP_INTERVAL, SWEEP_OWNERS_MAX, SWEEP_ROUND_MAX};
use crate::types::ids::OwnerId;

/// Releases the due reservations of these owners, all of one kind; false if there are no owners. A read that found due
/// reservations releases them and reads again.
///
/// # Errors
/// Those of the writer; above all [`crate::error::Error::Overloaded`].
pub async fn release_due(writer: &Writer, kind: OwnerKind, owners: &[OwnerId]) -> Result<bool> {
    try_join_all(owners.iter().map(|owner| release(writer, kind, *owner))).await?;
    Ok(!owners.is_empty())
}

async fn release(writer: &Writer, kind: OwnerKind, owner: OwnerId) -> Result<()> {
    // It has a claim of its own: it is carried out even if the read that asked for it is cancelled.
    let claim = Claim::new();
    match kind {
        OwnerKind::Enterprise => {
            let command = Command::new(owner, false, ReleaseDue::<OesRecords>::default());
            writer.submit(command, claim).await
        }
        OwnerKind::Bucket => {
            let command = Command::new(owner, false, ReleaseDue::<Buckets>::default());
            writer.submit(command, claim).await
        }
    }
}

/// Releases what no command and no read touches, until `closing`. Where another process was first, the judgement under
/// the owner's lock finds nothing to release.
pub fn sweep(pool: Pool, writer: Writer, closing: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut ticks = interval(SWEEP_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let rounds = async {
            loop {
                ticks.tick().await;
                // Commands that the writer has are carried out even if the round ends; an owner that another session has
                // locked must not delay all others.
                let round = timeout(SWEEP_ROUND_MAX, sweep_once(&pool, &writer));
                if AssertUnwindSafe(round).catch_unwind().await.is_err() {
                    tracing::error!("a round of the sweep panicked");
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
        // The next tick tries again; health reports the state of the database.
        Err(error) => {
            tracing::debug!(?error, "the sweep could not read what is due");
            return;
        }
    };
    // Processes that sweep at the same time start at different owners.
    let start = usize::from(uuid::Uuid::new_v4().as_bytes()[0]) % owners.len().max(1);
    owners.rotate_left(start);
    let released = join_all(
        owners
            .iter()
            .map(|(kind, owner)| release(writer, *kind, *owner)),
    )
    .await;
    for error in released.into_iter().filter_map(Result::err) {
        tracing::debug!(?error, "the sweep could not release a due reservation");
    }
}
