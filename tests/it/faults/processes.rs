//! Two processes of the built binary on one database, and what they say of their work.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use earmark::proto::allocation::v1::AllocationType;
use futures_util::future::join_all;
use serde_json::Value;

use super::{SLACK, clients, create};
use crate::support::cluster::database;
use crate::support::earmark::Earmark;
use crate::support::picture::assert_sound;

/// The longest time that a reservation may stay open past its end.
const SWEPT_WITHIN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_sweep_release_each_reservation_once_and_in_time() {
    const OWNERS: usize = 25;
    const EACH: usize = 8;
    let db = database().await;
    let (one, _other) = tokio::join!(
        Earmark::start_process_on(&db.url),
        Earmark::start_process_on(&db.url)
    );
    for parties in clients(&one, OWNERS).await {
        let items = (0..EACH)
            .map(|index| parties.item(AllocationType::Allocation, "1", &format!("{index}")));
        let request = parties.submission(items.collect());
        let member = one.member(&[&parties.enterprise]);
        let submitted = member.allocation.clone().submit_allocations(request).await;
        submitted.expect("submitted");
    }
    let sql = one.sql().await;
    // All at once, and each some time before the next sweep of either.
    let due = "UPDATE allocation SET expire_time = clock_timestamp() + interval '1 second'";
    assert_eq!(sql.execute(due, &[]).await.expect(due), 200);
    let begun = Instant::now();
    let open = "SELECT count(*) FROM allocation WHERE status = 'RESERVED'";
    while one.count(open).await > 0 {
        assert!(begun.elapsed() < SWEPT_WITHIN + 2 * SLACK, "never swept");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let late =
        "SELECT (extract(epoch FROM max(updated_at - expire_time)) * 1000)::bigint FROM allocation";
    let late = Duration::from_millis(one.count(late).await.try_into().expect("not early"));
    assert!(late < SWEPT_WITHIN + SLACK, "late by {late:?}");
    let once = "SELECT count(*) FROM (
                    SELECT FROM entry WHERE cause = 'EXPIRE' GROUP BY cause_id HAVING count(*) = 1) once";
    assert_eq!(one.count(once).await, 200);
    let all = "SELECT count(*) FROM entry WHERE cause NOT IN ('ADJUST', 'RESERVE')";
    assert_eq!(one.count(all).await, 200);
    assert_sound(&one).await;
}
