//! A ledger whose beginning is archived: sealed by the program, and taken out of the tables as `earmark archive` does.

use std::time::Duration;

use chrono::{DateTime, Utc};
use earmark::db::connect::Connector;
use earmark::ledger::seal::run::{SealOptions, seal};
use earmark::types::period::CalendarPeriod;
use earmark::types::time::Time;

use super::earmark::Earmark;

/// What becomes of the rows that are archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArchivedRows {
    /// They leave in the transaction that archives them.
    Removed,
    /// They are still there, as those of DEFAULT partitions are for a while.
    Left,
}

/// Archives everything that was final before this moment, and returns the time of the boundary.
pub(crate) async fn archive(earmark: &Earmark) -> Time {
    archive_with(earmark, ArchivedRows::Removed).await
}

/// The same, with or without removing what is archived.
pub(crate) async fn archive_with(earmark: &Earmark, rows: ArchivedRows) -> Time {
    let sql = earmark.sql().await;
    let clock = "SELECT clock_timestamp()";
    let now: DateTime<Utc> = sql.query_one(clock, &[]).await.expect(clock).get(0);
    let boundary = Time::from(now);
    // The clock has whole microseconds, so no later entry has the time of the boundary.
    tokio::time::sleep(Duration::from_millis(1)).await;
    let options = SealOptions {
        length: CalendarPeriod::Month,
        grace: Duration::ZERO,
        until: Some(boundary),
    };
    let connector = Connector::new(&earmark.url).expect("a URL");
    seal(&connector, &options, |_| ()).await.expect("sealed");
    let remove = match rows {
        ArchivedRows::Removed => {
            "DELETE FROM entry e WHERE e.time < (SELECT max(end_time) FROM sealed_period);
             DELETE FROM closed_allocation a WHERE a.updated_at < (SELECT max(end_time) FROM sealed_period);"
        }
        ArchivedRows::Left => "",
    };
    let archive = format!(
        "BEGIN; {remove}
         INSERT INTO archived_period (end_time, entries, records, manifest_digest, archived_at)
         SELECT end_time, entries, 0, sha256('manifest'), clock_timestamp() FROM sealed_period
         WHERE end_time NOT IN (SELECT end_time FROM archived_period);
         COMMIT"
    );
    sql.batch_execute(&archive).await.expect(&archive);
    boundary
}
