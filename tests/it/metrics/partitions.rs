//! Partitions ahead, as a server counts them.

use std::time::Duration;

use earmark::db::partitions::{PartitionRules, maintain};

use super::MeasuredServer;
use crate::support::cluster::database;
use crate::support::locks::session;
use crate::support::metrics::{Scrape, scrape_until};

const COUNTED_MAX: Duration = Duration::from_secs(40);
const TABLE: &str = "
    DROP TABLE IF EXISTS closed_bucket_action CASCADE;
    CREATE TABLE closed_bucket_action (owner_id uuid NOT NULL, id uuid NOT NULL) PARTITION BY RANGE (id);
    CREATE TABLE closed_bucket_action_default PARTITION OF closed_bucket_action DEFAULT";

async fn counted(url: &str) -> (Option<f64>, Option<f64>) {
    let server = MeasuredServer::start_on(url).await;
    let of = |scrape: &Scrape, name: &str| scrape.value(name, &[("table", "closed_bucket_action")]);
    let is_counted = |scrape: &Scrape| of(scrape, "earmark_partitions_ahead").is_some();
    let found = scrape_until(server.metrics, COUNTED_MAX, is_counted).await;
    (
        of(&found, "earmark_partitions_ahead"),
        of(&found, "earmark_partitions_default_size_bytes"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_ahead_are_counted() {
    let db = database().await;
    let owner = session(&db.url).await;
    owner.batch_execute(TABLE).await.expect(TABLE);
    assert_eq!(counted(&db.url).await, (Some(0.0), Some(0.0)));
    let insert = "INSERT INTO closed_bucket_action VALUES (gen_random_uuid(), '00000000-0000-7000-8000-000000000000')";
    owner.batch_execute(insert).await.expect(insert);
    maintain(&db.url, PartitionRules::default())
        .await
        .expect("partitions");
    let insert = "INSERT INTO closed_bucket_action VALUES (gen_random_uuid(), 'ffffffff-ffff-7000-8000-000000000000')";
    owner.batch_execute(insert).await.expect(insert);
    assert_eq!(counted(&db.url).await, (Some(3.0), Some(8192.0)));
}
