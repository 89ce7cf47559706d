//! Two processes of the built binary on one database, and what they log.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use earmark::proto::allocation::v1::AllocationType;
use futures_util::future::join_all;
use serde_json::Value;

use super::{SLACK, clients, create};
use crate::support::cluster::database;
use crate::support::earmark::Earmark;
use crate::support::ledger_dump::assert_sound;

/// The longest time that a reservation may stay open past its end.
const SWEPT_WITHIN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn two_sweeping_processes_expire_each_reservation_once_and_in_time() {
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
    let due = "UPDATE open_allocation SET expire_time = clock_timestamp() + interval '1 second'";
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

#[tokio::test(flavor = "multi_thread")]
async fn the_writers_log_reports_batch_sizes_and_timings() {
    let db = database().await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let log = File::create(file.path()).expect("writable");
    let filter = "earmark::ledger::engine=debug";
    let server = Earmark::start_process_with_log(&db.url, filter, log).await;
    let parties = &clients(&server, 1).await[0];
    let calls = (0..20).map(async |index| create(&server, parties, &index.to_string()).await);
    for answer in join_all(calls).await {
        answer.expect("reserved");
    }
    let text = fs::read_to_string(file.path()).expect("a log");
    let lines = text.lines().map(serde_json::from_str::<Value>);
    let lines: Vec<Value> = lines.collect::<Result<_, _>>().expect("JSON");
    let sum = |message: &str, field: &str| {
        let lines = lines.iter().filter(|line| line["message"] == message);
        let numbers = lines.map(|line| {
            assert_eq!(line["level"], "DEBUG");
            let number = line[field].as_u64();
            number.unwrap_or_else(|| panic!("`{field}` is no number: {line}"))
        });
        let numbers: Vec<u64> = numbers.collect();
        assert!(!numbers.is_empty(), "no line says `{message}`: {text}");
        numbers.iter().sum::<u64>()
    };
    // The deposit, and what came after it.
    assert_eq!(sum("batch taken", "batch_size"), 21);
    for field in ["queue_depth", "waited_us", "writer"] {
        sum("batch taken", field);
    }
    for field in ["read_us", "judge_us", "write_us", "commit_us"] {
        let spent = sum("batch committed", field);
        assert!(spent > 0 || field == "judge_us", "{field}");
    }
    assert_eq!(sum("batch committed", "commands"), 21);
}
