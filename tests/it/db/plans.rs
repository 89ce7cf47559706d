//! Statements that are planned once for all parameters: what they cost on a large table must not depend on how much was in it
//! when they were planned.

use earmark::proto::allocation::v1::GetAllocationRequest;
use earmark::proto::bucket::v1::bucket_service_client::BucketServiceClient;
use earmark::proto::bucket::v1::{DeductBalanceRequest, GetBucketRequest, UpdateBucketRequest};
use earmark::proto::network::v1::ConnectionMode;
use futures_util::future::join_all;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::support::allocation_fixture::AllocationFixture;
use crate::support::bucket_fixture::{
    BucketFixture, adjust, creation, deduct, eur, reserve, topup, transfer, unreserve,
};
use crate::support::cluster::{TestDatabase, database};
use crate::support::earmark::{Authorized, Earmark, Setup};
use crate::support::locks;

/// How many rows the tables have in the end.
const ROWS: i64 = 40_000;
const ROUNDS: i64 = 10;

/// Fills a table up to a number of rows with copies of one of its rows, each with keys of its own.
async fn fill(sql: &Client, table: &str, seed: &str, keys: &str, rows: i64) {
    let text = format!(
        "INSERT INTO {table} SELECT copy.* FROM {table} seed,
             generate_series((SELECT count(*) FROM {table}) + 1, {rows}) n,
             LATERAL jsonb_populate_record(seed, jsonb_build_object({keys})) copy
         WHERE seed.ctid = (SELECT ctid FROM {table} WHERE {seed} LIMIT 1)"
    );
    sql.batch_execute(&text).await.expect(&text);
}

/// The same for every table of the ledger of which an owner may have many rows. What is open expires tomorrow.
async fn fill_ledger(sql: &Client, rows: i64) {
    const ID: &str = "'id', gen_random_uuid()";
    const TOMORROW: &str = "'expire_time', now() + interval '1 day'";
    let few = rows.min(3_000);
    for (table, rows, seed, keys) in [
        (
            "open_allocation",
            rows,
            "true",
            &format!("{ID}, {TOMORROW}, 'client_external_id', 'copy ' || n"),
        ),
        (
            "closed_allocation",
            rows,
            "true",
            &format!("{ID}, 'client_external_id', 'copy ' || n"),
        ),
        (
            "allocation_key",
            rows,
            "true",
            &"'id', md5('id ' || n), 'key', md5('key ' || n)".into(),
        ),
        (
            "adjustment",
            few,
            "true",
            &format!("{ID}, 'external_id', 'copy ' || n"),
        ),
        (
            "open_bucket_action",
            rows,
            "true",
            &format!("{ID}, {TOMORROW}, 'request_id', 'copy ' || n"),
        ),
        (
            "closed_bucket_action",
            rows,
            "type = 'DEDUCT'",
            &format!("{ID}, 'request_id', 'copy ' || n"),
        ),
        (
            "bucket_action_key",
            rows,
            "true",
            &"'id', md5('id ' || n), 'key', md5('key ' || n)".into(),
        ),
        (
            "bucket_update",
            few,
            "true",
            &"'version', 1000000 + n, 'request_id', 'copy ' || n".into(),
        ),
        (
            "entry",
            rows,
            "account_id = '00000000-0000-0000-0000-000000000001' AND available_delta < 0",
            &"'version', 1000000 + n".into(),
        ),
    ] {
        fill(sql, table, seed, keys, rows).await;
    }
}

/// Blocks of tables and indexes that were touched so far. A session reports its own when it ends, or is told to.
async fn blocks(sql: &Client) -> i64 {
    sql.batch_execute("SELECT pg_stat_force_next_flush()")
        .await
        .expect("flushed");
    let count = "SELECT sum(heap_blks_hit + heap_blks_read + coalesce(idx_blks_hit + idx_blks_read, 0))::bigint
                 FROM pg_statio_user_tables";
    sql.query_one(count, &[]).await.expect(count).get(0)
}

/// Ends all other sessions of the database.
async fn end_sessions(sql: &Client) {
    let end = "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    sql.execute(end, &[]).await.expect(end);
}

/// A server with a client and a partner on one connection, and a tenant with two buckets.
struct Calls {
    allocations: AllocationFixture,
    tenant: Uuid,
    buckets: BucketServiceClient<Authorized>,
}

impl Calls {
    /// Makes the parties and the buckets, and one record of each kind.
    async fn new(url: &str) -> Self {
        let earmark = Earmark::start_on(url, Setup::default()).await;
        let allocations = AllocationFixture::on(earmark, ConnectionMode::Confirmed).await;
        let tenant = Uuid::new_v4();
        let mut buckets = BucketFixture::client(&allocations.earmark, tenant);
        for id in ["one", "other"] {
            let created = buckets.create_bucket(creation(eur(id, "100000"))).await;
            created.expect("created");
        }
        let calls = Self {
            allocations,
            tenant,
            buckets,
        };
        calls.make("seed").await;
        calls
    }

    /// The same parties by a new server, which has planned nothing yet.
    async fn on_new_server(self) -> Self {
        let (old, parties) = (self.allocations.earmark, self.allocations.parties);
        let earmark = Earmark::start_on(&old.url, Setup::default()).await;
        Self {
            tenant: self.tenant,
            buckets: BucketFixture::client(&earmark, self.tenant),
            allocations: AllocationFixture {
                client: earmark.member(&[&parties.enterprise]).allocation,
                partner: earmark.member(&[&parties.partner_enterprise]).allocation,
                earmark,
                parties,
            },
        }
    }

    /// Every call that reads or writes by keys, once.
    async fn make(&self, name: &str) {
        let allocations = &self.allocations;
        let enterprise = &allocations.parties.enterprise;
        allocations.earmark.deposit(enterprise, "BTC", "10").await;
        allocations.allocate("1", &format!("{name} open")).await;
        let cleared = allocations.allocate("1", &format!("{name} cleared")).await;
        allocations.clear(&cleared.id).await;
        // Again, which answers with the balance that it left then.
        allocations.clear(&cleared.id).await;
        let cancelled = allocations
            .allocate("1", &format!("{name} cancelled"))
            .await;
        allocations.cancel(&cancelled.id).await;
        allocations.allocate("1", &format!("{name} open")).await;
        allocations.get(&cleared.id).await;
        let by_partner = GetAllocationRequest {
            enterprise_id: allocations.parties.partner_enterprise.clone(),
            allocation_id: cleared.id,
        };
        let got = allocations.partner.clone().get_allocation(by_partner).await;
        got.expect("the partner's");
        self.charge(name).await;
    }

    async fn charge(&self, name: &str) {
        let mut client = self.buckets.clone();
        let key = |call: &str| format!("{name} {call}");
        let added = client
            .topup_balance(topup("one", "10", &key("topup")))
            .await;
        added.expect("topped up");
        let held = client
            .reserve_balance(reserve("one", "5", &key("reserve")))
            .await;
        let held = held.expect("reserved").into_inner().balance_action;
        let held = held.expect("set").id;
        let part = DeductBalanceRequest {
            reserve_id: Some(held.clone()),
            keep_rest: true,
            ..deduct("one", "1", &key("part"))
        };
        client.deduct_balance(part).await.expect("used in part");
        let returned = unreserve("one", &held, &key("unreserve"));
        // Again, which answers what was done before.
        for request in [returned.clone(), returned] {
            client.unreserve_balance(request).await.expect("returned");
        }
        let open = client
            .reserve_balance(reserve("one", "1", &key("open")))
            .await;
        open.expect("reserved");
        let used = client
            .deduct_balance(deduct("one", "1", &key("deduct")))
            .await;
        used.expect("deducted");
        let moved = transfer("one", "other", "1", &key("transfer"));
        client.transfer_balance(moved).await.expect("transferred");
        let adjusted = client
            .adjust_balance(adjust("one", "-1", &key("adjust")))
            .await;
        adjusted.expect("adjusted");
        let update = UpdateBucketRequest {
            bucket_id: "one".into(),
            request_id: key("update"),
            name: Some(name.into()),
            ..Default::default()
        };
        client.update_bucket(update).await.expect("updated");
        let get = GetBucketRequest {
            id: "one".into(),
            ..Default::default()
        };
        client.get_bucket(get).await.expect("there");
    }
}

/// How many blocks a round of calls touches once the tables have [`ROWS`] rows, by plans that were made when they had so
/// many.
async fn blocks_of_a_round(rows_when_planned: i64) -> (TestDatabase, i64) {
    let db = database().await;
    let sql = locks::session(&db.url).await;
    sql.batch_execute("SET statement_timeout = 0")
        .await
        .expect("set");
    let calls = Calls::new(&db.url).await;
    fill_ledger(&sql, rows_when_planned).await;
    if rows_when_planned == ROWS {
        sql.batch_execute("ANALYZE").await.expect("analyzed");
    }
    let calls = calls.on_new_server().await;
    calls.make("planned").await;
    fill_ledger(&sql, ROWS).await;
    let before = blocks(&sql).await;
    for round in 0..ROUNDS {
        calls.make(&format!("round {round}")).await;
    }
    end_sessions(&sql).await;
    (db, (blocks(&sql).await - before) / ROUNDS)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_was_made_on_a_small_table_costs_no_more_on_a_large_one() {
    let ((_large, best), small) = tokio::join!(
        blocks_of_a_round(ROWS),
        join_all([0, 300, 3_000].map(async |rows| (rows, blocks_of_a_round(rows).await)))
    );
    for (rows, (_db, blocks)) in small {
        assert!(
            blocks < best + best / 5,
            "{blocks} blocks in each round by plans made at {rows} rows, {best} at {ROWS}"
        );
    }
}
