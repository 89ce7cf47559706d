//! Counts now and then how many partitions are ahead of the time, for the metrics, and warns while they are few.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use diesel::QueryResult;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::db::partitions::counts::{PARTITIONED_TABLES, PartitionCounts, counts_sql};
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::statement::{SqlText, Statement};
use crate::limits::{
    PARTITION_COUNT_INTERVAL, PARTITION_COUNT_MAX, PARTITION_WARNING_PAUSE, PARTITIONS_AHEAD_MIN,
};
use crate::metrics::partitions::{PartitionSample, SampledPartitions};

/// Counts until `closing`. Each process does so by itself, since each is asked for its metrics alone.
pub fn watch(pool: Pool, closing: CancellationToken) {
    let served = PARTITIONED_TABLES.map(|table| (table, SampledPartitions::served_as(table)));
    let served = BTreeMap::from(served);
    tokio::spawn(closing.run_until_cancelled_owned(async move {
        let mut warnings = PartitionWarnings::default();
        let mut ticks = interval(PARTITION_COUNT_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let found = read::one(&pool, async |connection: &mut AsyncPgConnection| {
                counts(connection).await
            });
            let found = match timeout(PARTITION_COUNT_MAX, found).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => {
                    tracing::debug!(?error, "partitions could not be counted");
                    continue;
                }
                Err(_) => {
                    tracing::debug!("partitions could not be counted: it took too long");
                    continue;
                }
            };
            for counts in &found {
                if let Some(samples) = served.get(counts.table.as_str()) {
                    samples.set(PartitionSample {
                        ahead: counts.ahead as f64,
                        default_bytes: counts.default_bytes as f64,
                    });
                }
                warnings.warn_of(counts);
            }
        }
    }));
}

async fn counts(db: &mut AsyncPgConnection) -> QueryResult<Vec<PartitionCounts>> {
    static TEXT: LazyLock<SqlText> = LazyLock::new(|| SqlText::new(&counts_sql()));
    let statement: Statement<(Text, BigInt, BigInt, Bool)> = Statement::new(&TEXT);
    let rows: Vec<(String, i64, i64, bool)> = statement.load(db).await?;
    let each = rows
        .into_iter()
        .map(|(table, ahead, default_bytes, has_check)| PartitionCounts {
            table,
            ahead,
            default_bytes,
            has_check,
        });
    Ok(each.collect())
}

/// What was warned of: each table's partitions ahead, and when.
#[derive(Debug, Default)]
struct PartitionWarnings(BTreeMap<String, (i64, Instant)>);

impl PartitionWarnings {
    fn warn_of(&mut self, counts: &PartitionCounts) {
        let PartitionCounts { table, ahead, .. } = counts;
        if self.is_due(table, *ahead, Instant::now()) {
            tracing::warn!(
                table,
                ahead,
                "few partitions are ahead: run `earmark maintain` every day; rows without a partition of their time go to \
                 the DEFAULT partition, and no call fails"
            );
        }
    }

    /// Whether this is to be said: if it differs from what was said last, or some time after that.
    fn is_due(&mut self, table: &str, ahead: i64, now: Instant) -> bool {
        if ahead >= i64::from(PARTITIONS_AHEAD_MIN) {
            self.0.remove(table);
            return false;
        }
        let is_said = self.0.get(table).is_some_and(|(said, when)| {
            *said == ahead && now.duration_since(*when) < PARTITION_WARNING_PAUSE
        });
        if !is_said {
            self.0.insert(table.into(), (ahead, now));
        }
        !is_said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_repeated_when_it_changes_or_after_a_pause() {
        let mut warnings = PartitionWarnings::default();
        let begin = Instant::now();
        let later = begin + PARTITION_COUNT_INTERVAL;
        assert!(!warnings.is_due("entry", 2, begin));
        assert!(warnings.is_due("entry", 1, begin));
        assert!(!warnings.is_due("entry", 1, later));
        assert!(warnings.is_due("closed_allocation", 1, later));
        assert!(warnings.is_due("entry", 0, later));
        assert!(!warnings.is_due("entry", 3, later));
        assert!(warnings.is_due("entry", 0, later));
        assert!(warnings.is_due("entry", 0, later + PARTITION_WARNING_PAUSE));
    }
}
