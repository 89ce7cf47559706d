//! Wherever the archive ends, the ledger is sound: between any two movements of every kind of record.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use earmark::db::connect::Connector;
use earmark::ledger::archive::verify::verify_archive;
use earmark::ledger::seal::run::{SealOptions, seal};
use earmark::proto::bucket::v1::ListBalanceActionsRequest;
use earmark::types::period::CalendarPeriod;
use earmark::types::time::Time;

use super::{archived, periods};
use crate::support::bucket_fixture::{BucketFixture, topup, transfer, unreserve};
use crate::support::cluster::own_folder;
use crate::support::earmark::Earmark;
use crate::verify::buckets::fill;
use crate::verify::{LedgerFixture, verify};

/// All rows are in the DEFAULT partitions from here on, so that no partition binds a boundary.
const WITHOUT_PARTITIONS: &str = "
    CREATE TABLE kept_entry AS TABLE entry;
    CREATE TABLE kept_closed AS TABLE closed_allocation;
    DO $$
    DECLARE made regclass;
    BEGIN
        FOR made IN
            SELECT inhrelid::regclass FROM pg_inherits
            WHERE inhparent IN ('entry'::regclass, 'closed_allocation'::regclass)
                AND inhrelid NOT IN ('entry_default'::regclass, 'closed_allocation_default'::regclass)
        LOOP
            EXECUTE format('DROP TABLE %s', made);
        END LOOP;
    END $$;
    INSERT INTO entry SELECT * FROM kept_entry ON CONFLICT DO NOTHING;
    INSERT INTO closed_allocation SELECT * FROM kept_closed ON CONFLICT DO NOTHING;
    DROP TABLE kept_entry, kept_closed";

/// Archives up to each movement, one after the other, and verifies each time. Returns how often.
async fn archive_step_by_step(earmark: &Earmark, directory: &Path) -> usize {
    let sql = earmark.sql().await;
    sql.batch_execute(WITHOUT_PARTITIONS)
        .await
        .expect("in one partition");
    let times = "SELECT DISTINCT time FROM entry ORDER BY time OFFSET 1";
    let times = sql.query(times, &[]).await.expect(times);
    let times: Vec<DateTime<Utc>> = times.iter().map(|row| row.get(0)).collect();
    let connector = Connector::new(&earmark.url).expect("a URL");
    for time in &times {
        let options = SealOptions {
            length: CalendarPeriod::Month,
            grace: Duration::ZERO,
            until: Some(Time::from(*time)),
        };
        seal(&connector, &options, |_| ()).await.expect("sealed");
        let (steps, ended) = archived(&earmark.url, directory, false).await;
        ended.expect("archived");
        assert_eq!(periods(&steps).len(), 1, "{time}");
        let told = verify(earmark).await;
        assert_eq!(told.breaches, [], "archived until {time}");
        let on_line = format!("SELECT count(*) FROM entry WHERE time < '{time}'");
        assert_eq!(earmark.count(&on_line).await, 0);
    }
    let mut faults = Vec::new();
    verify_archive(directory, Some(&connector), |fault| {
        faults.push(fault.to_string())
    })
    .await
    .expect("read");
    assert_eq!(faults, Vec::<String>::new());
    times.len()
}

#[tokio::test]
async fn allocations_are_sound_wherever_the_archive_ends() {
    let ledger = LedgerFixture::open().await;
    let folder = own_folder();
    let boundaries = archive_step_by_step(&ledger.fixture.earmark, folder.path()).await;
    assert!(boundaries > 8, "{boundaries}");
    // What is still open is closed, and keys that are archived lead to nothing new.
    let open = "SELECT id::text FROM open_allocation ORDER BY id";
    let sql = ledger.fixture.earmark.sql().await;
    for row in sql.query(open, &[]).await.expect(open) {
        ledger.fixture.cancel(row.get(0)).await;
    }
    ledger.fixture.allocate("1", "after").await;
    assert_eq!(verify(&ledger.fixture.earmark).await.breaches, []);
}

#[tokio::test]
async fn buckets_are_sound_wherever_the_archive_ends() {
    let fixture = BucketFixture::open().await;
    fill(&fixture).await;
    let folder = own_folder();
    let boundaries = archive_step_by_step(&fixture.earmark, folder.path()).await;
    assert!(boundaries > 15, "{boundaries}");
    let all = fixture.actions(ListBalanceActionsRequest::default()).await;
    let open = all
        .iter()
        .find(|action| action.request_id == "open")
        .expect("open");
    let mut client = fixture.client.clone();
    client
        .unreserve_balance(unreserve("main", &open.id, "give back, at last"))
        .await
        .expect("given back");
    client
        .transfer_balance(transfer("main", "other", "1", "again"))
        .await
        .expect("given");
    fixture.topup(topup("empty", "3", "filled")).await;
    assert_eq!(verify(&fixture.earmark).await.breaches, []);
}
