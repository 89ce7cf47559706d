//! Common searches use an index.

use std::collections::BTreeSet;

use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};
use diesel_async::RunQueryDsl;

use earmark::db::pool;
use earmark::proto::common::v1::SortDirection;
use earmark::types::ids::{FirmId, OwnerId};

use super::asking::Asking;
use super::{pb, search_for};
use crate::support::locks;

/// So many that no plan reads all of them for a page.
const RECORDS: usize = 30_000;

async fn fill(url: &str) {
    let owner = OwnerId::of_firm(&FirmId("1".into()));
    let sql = format!(
        r#"INSERT INTO cas_allocation (owner_id, id, created_by, created_at, last_modified_by, last_modified_at, version,
                deal_id, tranche_id, source_id, investor_account_id, order_status, status_messages, comments, content_hash)
            SELECT '{owner}', gen_random_uuid(), 'x', at, 'x', at + interval '1 day' * (n % 30), 1, 'deal-' || n / 100,
                   'tranche-' || n / 50, 'source-' || n, 'investor-' || n % 1000,
                   CASE WHEN n % 100 = 0 THEN 'failed' ELSE 'successful' END, '[]', '[]', '\x00'
              FROM generate_series(1, {RECORDS}) n, LATERAL (SELECT timestamptz '2020-01-01' + n * interval '1 s') t(at)"#
    );
    let session = locks::session(url).await;
    session.batch_execute(&sql).await.expect("filled");
    session
        .batch_execute("VACUUM ANALYZE cas_allocation")
        .await
        .expect("analysed");
}

/// An index that was searched; none has no name.
#[derive(QueryableByName)]
struct Scan {
    #[diesel(sql_type = Text)]
    index: String,
}

/// How the service's connection has read the table since the last look.
async fn scans(asking: &Asking) -> BTreeSet<String> {
    const SCANS: &str = "SELECT indexrelname::text AS index FROM pg_stat_user_indexes
            WHERE relname = 'cas_allocation' AND idx_scan > 0
        UNION ALL SELECT '' FROM pg_stat_user_tables WHERE relname = 'cas_allocation' AND seq_scan > 0";
    let mut connection = pool::checkout(&asking.pool).await.expect("the connection");
    let mut scans = Vec::<Scan>::new();
    for sql in [
        "SELECT pg_stat_force_next_flush()::text AS index",
        SCANS,
        "SELECT pg_stat_reset()::text AS index",
    ] {
        let rows = sql_query(sql).load(&mut *connection).await.expect(sql);
        if sql == SCANS {
            scans = rows;
        }
    }
    scans.into_iter().map(|scan| scan.index).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn common_searches_use_their_index() {
    let asking = Asking::start().await;
    fill(&asking.db.url).await;
    scans(&asking).await;
    let by_time = |descending: bool| pb::SearchAllocationsRequest {
        criteria: search_for(&[("lastModifiedDateTime", ">=", "2020-01-30T08:00:00Z")]).criteria,
        sort_fields: vec![pb::SortField {
            field: "lastModifiedDateTime".into(),
            direction: match descending {
                true => SortDirection::Desc.into(),
                false => SortDirection::Asc.into(),
            },
        }],
        page_size: 10,
        ..Default::default()
    };
    for (request, total, index) in [
        (
            search_for(&[("dealId", "=", "deal-7")]),
            100,
            "cas_allocation_deal",
        ),
        (
            search_for(&[
                ("dealId", "=", "deal-7"),
                ("orderStatus", "=", "successful"),
            ]),
            99,
            "cas_allocation_deal",
        ),
        (
            search_for(&[("dealId", "in", "deal-7,deal-8")]),
            200,
            "cas_allocation_deal",
        ),
        (
            search_for(&[("trancheId", "=", "tranche-7")]),
            50,
            "cas_allocation_tranche",
        ),
        (
            search_for(&[("investorAccountId", "=", "investor-7")]),
            30,
            "cas_allocation_investor_account",
        ),
        (
            search_for(&[("sourceId", "=", "source-7")]),
            1,
            "cas_allocation_source_id_key",
        ),
        (
            search_for(&[("orderStatus", "=", "failed")]),
            300,
            "cas_allocation_status",
        ),
        (
            search_for(&[("orderStatus", "is-unset", "")]),
            0,
            "cas_allocation_status",
        ),
        (by_time(false), 40, "cas_allocation_modified"),
        (by_time(true), 40, "cas_allocation_modified"),
    ] {
        // Of a statement that stays prepared, Postgres makes a plan for all values from the sixth time on.
        for _ in 0..7 {
            let answer = asking.search(request.clone()).await;
            let scans = scans(&asking).await;
            assert!(scans.iter().eq([index]), "{scans:?}: {request:?}");
            assert_eq!(answer.total_count, Some(total), "{request:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_does_not_count_reads_only_its_page() {
    let asking = Asking::start().await;
    fill(&asking.db.url).await;
    scans(&asking).await;
    let mut request = pb::SearchAllocationsRequest {
        count: pb::TotalCount::None.into(),
        page_size: 10,
        ..search_for(&[
            ("orderStatus", "=", "successful"),
            ("comment.comments.comment", "is-unset", ""),
        ])
    };
    for _ in 0..3 {
        let answer = asking.search(request.clone()).await;
        assert_eq!((answer.allocations.len(), answer.total_count), (10, None));
        request.page_token = answer.next_page_token;
        let read = rows_read(&asking).await;
        assert!(read < 100, "{read} rows for a page of 10");
    }
}

/// How many rows of the table the service's connection has read since the last look.
async fn rows_read(asking: &Asking) -> i64 {
    const READ: &str =
        "SELECT (seq_tup_read + idx_tup_fetch)::text AS index FROM pg_stat_user_tables
            WHERE relname = 'cas_allocation'";
    let mut connection = pool::checkout(&asking.pool).await.expect("the connection");
    let mut read = 0;
    for sql in [
        "SELECT pg_stat_force_next_flush()::text AS index",
        READ,
        "SELECT pg_stat_reset()::text AS index",
    ] {
        let rows: Vec<Scan> = sql_query(sql).load(&mut *connection).await.expect(sql);
        if sql == READ {
            read = rows[0].index.parse().expect("a number");
        }
    }
    read
}
