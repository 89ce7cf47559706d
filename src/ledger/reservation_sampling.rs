//! Looks now and then how many reservations are open and overdue, for the metrics.

use diesel_async::AsyncPgConnection;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::db::pool::Pool;
use crate::db::{read, reservation_counts};
use crate::limits::{RESERVATIONS_SAMPLE_INTERVAL, RESERVATIONS_SAMPLE_MAX};
use crate::metrics::reservations::SampledReservations;

/// Samples until `closing`. Each process does so by itself, since each is asked for its metrics alone.
pub fn sample(pool: Pool, closing: CancellationToken) {
    let allocations = SampledReservations::served_as("allocation");
    let bucket_actions = SampledReservations::served_as("bucket_action");
    tokio::spawn(closing.run_until_cancelled_owned(async move {
        let mut ticks = interval(RESERVATIONS_SAMPLE_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let found = read::snapshot(&pool, async |connection: &mut AsyncPgConnection| {
                reservation_counts::sample(connection).await
            });
            match timeout(RESERVATIONS_SAMPLE_MAX, found).await {
                Ok(Ok((of_allocations, of_bucket_actions))) => {
                    allocations.set(of_allocations);
                    bucket_actions.set(of_bucket_actions);
                }
                Ok(Err(error)) => tracing::debug!(?error, "reservations could not be sampled"),
                Err(_) => {
                    tracing::debug!("reservations could not be sampled: it took too long");
                }
            }
        }
    }));
}
