//! Statements are planned once for all parameters: a plan that was made on a small table must not be used on a large one.

use std::time::Duration;

use earmark::proto::allocation::v1::{SubmitAllocationsRequest, SubmitItem};
use earmark::proto::network::v1::ConnectionMode;
use tokio_postgres::Client;

use crate::support::allocation_fixture::AllocationFixture;

/// Blocks of tables and indexes that were touched so far, by the statistics of Postgres. Sessions report theirs at most
/// once a second, at the end of a transaction.
async fn blocks(fixture: &AllocationFixture, sql: &Client, key: &str) -> i64 {
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    fixture.allocate("1", key).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let count =
        "SELECT (sum(heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read))::bigint
                   FROM pg_statio_user_tables WHERE relname = 'allocation'";
    sql.query_one(count, &[]).await.expect(count).get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_start_does_not_make_later_creates_expensive() {
    const CREATES: i64 = 20;
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let enterprise = fixture.parties.enterprise.clone();
    fixture.earmark.deposit(&enterprise, "BTC", "10000").await;
    for number in 0..300 {
        fixture.allocate("1", &format!("slow-{number}")).await;
    }
    for batch in 0..4 {
        let items = (0..1_000).map(|number| {
            let key = format!("fast-{batch}-{number}");
            let create = fixture.parties.allocation("BTC", "1", &key);
            SubmitItem {
                r#type: 1,
                connection_id: create.connection_id,
                amount: create.amount,
                client_external_id: key,
                ..SubmitItem::default()
            }
        });
        let request = SubmitAllocationsRequest {
            enterprise_id: enterprise.clone(),
            items: items.collect(),
            ..SubmitAllocationsRequest::default()
        };
        let submitted = fixture.client.clone().submit_allocations(request).await;
        submitted.expect("submitted");
    }
    let sql = fixture.earmark.sql().await;
    let before = blocks(&fixture, &sql, "before").await;
    for number in 0..CREATES {
        fixture.allocate("1", &format!("late-{number}")).await;
    }
    let each = (blocks(&fixture, &sql, "after").await - before) / (CREATES + 1);
    // A plan that reads all records of the enterprise touches more than 4,000.
    assert!(each < 400, "{each} blocks for each create");
}
