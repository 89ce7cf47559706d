//! Which partitions are taken away, and which stay.

use super::{ArchiveFixture, archived, periods};
use earmark::ledger::archive::run::ArchiveStep;

const ATTACHED: &str = "pg_inherits WHERE inhrelid = 'closed_allocation_1'::regclass";

/// Records that were closed later than the archive's end are moved while everybody waits: so not many of them.
#[tokio::test]
async fn a_partition_with_many_records_that_were_closed_later_stays() {
    let it = ArchiveFixture::open().await;
    it.seal(it.ends[0]).await;
    let many = "
        INSERT INTO closed_allocation
        SELECT owner_id, ((left(id::text, 18)) || '-8' || substr(md5(n::text), 1, 3) || '-' || substr(md5(n::text), 4, 12))::uuid,
            connection_id, client_id, partner_id, created_at, now(), expire_time, opened_custody_version,
            opened_connection_version, closed_custody_version, closed_connection_version, quantity, type, status, currency,
            'many-' || n, partner_external_id, initiated_by, notes, reason, closed_cause, content_hash
        FROM closed_allocation_1, generate_series(1, 1000) n WHERE client_external_id = 'first-cleared'";
    it.sql.batch_execute(many).await.expect(many);
    let (steps, ended) = archived(it.url(), &it.directory(), false).await;
    ended.expect("archived");
    assert!(!periods(&steps).is_empty());
    let left = steps.iter().find_map(|step| match step {
        ArchiveStep::Left(left) => Some(left.clone()),
        _ => None,
    });
    let left = left.expect("a partition that stays");
    assert_eq!(left.partition, "public.closed_allocation_1");
    // The thousand, and one that was closed in the second stretch; and one is open.
    assert_eq!(left.records, 1_002);
    assert_eq!(it.count(ATTACHED).await, 1);

    let fewer = "DELETE FROM closed_allocation WHERE client_external_id = 'many-1'";
    it.sql.batch_execute(fewer).await.expect(fewer);
    let (steps, ended) = archived(it.url(), &it.directory(), false).await;
    ended.expect("archived");
    assert_eq!(steps, []);
    assert_eq!(it.count(ATTACHED).await, 0);
    assert_eq!(it.count("closed_allocation_default").await, 1_000);
}

#[tokio::test]
async fn a_period_waits_for_those_that_share_its_partition() {
    let it = ArchiveFixture::open().await;
    it.seal(it.ends[1]).await;
    let now = it
        .sql
        .query_one("SELECT clock_timestamp()", &[])
        .await
        .expect("a clock");
    it.seal(now.get(0)).await;
    let (steps, ended) = archived(it.url(), &it.directory(), false).await;
    ended.expect("archived");
    let archived_until = periods(&steps).last().expect("a period").bounds.end;
    assert_eq!(archived_until.to_chrono(), it.ends[1]);
    let Some(ArchiveStep::Waiting {
        bounds,
        partition_end,
    }) = steps.last()
    else {
        panic!("{steps:?}");
    };
    assert_eq!(bounds.start, archived_until);
    assert!(partition_end.is_some_and(|end| end > bounds.end));
    let others =
        "pg_inherits WHERE inhrelid IN ('entry_3'::regclass, 'closed_allocation_3'::regclass)";
    assert_eq!(it.count(others).await, 2, "these stay");
}

/// Rows whose partition was never made are in the DEFAULT partition, and are deleted from it.
#[tokio::test]
async fn archived_rows_of_default_partitions_are_deleted() {
    let it = ArchiveFixture::open().await;
    let unpartition = "
        ALTER TABLE entry DETACH PARTITION entry_1;
        ALTER TABLE closed_allocation DETACH PARTITION closed_allocation_1;
        INSERT INTO entry SELECT * FROM entry_1;
        INSERT INTO closed_allocation SELECT * FROM closed_allocation_1;
        DROP TABLE entry_1, closed_allocation_1";
    it.sql.batch_execute(unpartition).await.expect(unpartition);
    let rows = it.count("entry_default").await;
    it.seal(it.ends[0]).await;
    let archived = it.archive().await;
    let entries: i64 = archived.iter().map(|period| period.entries).sum();
    assert_eq!(entries, rows);
    assert_eq!(it.count("entry_default").await, 0);
    assert_eq!(
        it.count("closed_allocation_default").await,
        1,
        "closed in the second stretch"
    );
    assert_eq!(
        crate::verify::verify(&it.fixture.earmark).await.breaches,
        []
    );
}
