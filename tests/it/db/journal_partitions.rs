//! The journal in partitions by time: the migration that makes them of a table with rows while servers of the version before
//! go on, and calls whose entries lie in several partitions.

use std::time::{Duration, Instant};

use earmark::db::migrate;
use earmark::limits::DB_LOOK_MAX;
use earmark::proto::allocation::v1::AllocationType;
use earmark::proto::balance::v1::GetBalanceRequest;
use earmark::proto::bucket::v1::{Bucket, CostOwner, TransferBalanceRequest};
use earmark::proto::network::v1::ConnectionMode;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::support::allocation_fixture::AllocationFixture;
use crate::support::allocation_sql::make_allocations_writable;
use crate::support::bucket_fixture::{BucketFixture, amount, eur, topup, transfer, values};
use crate::support::cluster::{as_server, database};
use crate::support::earmark::Earmark;
use crate::support::journal::{split, unpartition};
use crate::support::ledger_dump::assert_sound;
use crate::support::locks::session;
use crate::support::service::reason;

/// The longest time that a statement may wait on a machine that does other things too.
const WAIT_MAX: Duration = Duration::from_millis(500);

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.expect(sql);
}

async fn texts(client: &Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).await.expect(sql);
    rows.iter().map(|row| row.get(0)).collect()
}

/// Takes the migrations back that partition the journal; its rows stay.
async fn take_back(client: &Client) {
    unpartition(client).await;
    run(client, "DROP INDEX entry_by_time").await;
    run(client, "DROP INDEX entry_key").await;
    let forget = "DELETE FROM __diesel_schema_migrations WHERE version LIKE '20261130000016_'";
    assert_eq!(client.execute(forget, &[]).await.expect(forget), 3);
}

/// Waits until the server knows that the schema is current again: a server that looks while migrations are missing refuses
/// calls until it looks again.
async fn until_noticed(fixture: &AllocationFixture) {
    // A look that began before the last migration ends by then.
    tokio::time::sleep(DB_LOOK_MAX).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let request = GetBalanceRequest {
        enterprise_id: fixture.parties.enterprise.clone(),
        currency: "BTC".into(),
        ..Default::default()
    };
    let mut member = fixture
        .earmark
        .member(&[&fixture.parties.enterprise])
        .balance;
    while let Err(refused) = member.get_balance(request.clone()).await {
        assert!(Instant::now() < deadline, "{refused:?}");
        assert_eq!(reason(Err::<(), _>(refused)), "SCHEMA_OUTDATED");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const PARTITIONS: &str = "SELECT inhrelid::regclass::text FROM pg_inherits
    WHERE inhparent = 'entry'::regclass ORDER BY 1";

/// What the server's role may do with the journal and its partitions.
const PRIVILEGES: &str = "SELECT format('%s %s', c.relname, a.privilege_type)
    FROM pg_class c CROSS JOIN aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
    WHERE c.relname LIKE 'entry%' AND c.relkind IN ('r', 'p') AND r.rolname = 'earmark_server' ORDER BY 1";

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_journal_is_made_anew_with_the_same_privileges() {
    let db = database().await;
    let client = session(&db.url).await;
    let partitions = texts(&client, PARTITIONS).await;
    assert_eq!(partitions.last().expect("partitions"), "entry_default");
    take_back(&client).await;
    assert_eq!(texts(&client, PARTITIONS).await, [""; 0]);
    let privileges = texts(&client, PRIVILEGES).await;
    assert_eq!(privileges, ["entry INSERT", "entry SELECT"]);
    assert_eq!(migrate::run(&db.url).await.expect("migrated").len(), 3);
    assert_eq!(texts(&client, PARTITIONS).await, ["entry_default"]);
    assert_eq!(texts(&client, PRIVILEGES).await, privileges);
}

// The statements of the version before, as it prepared them: once, for all parameters.
const SETTINGS: &str = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;
    SET enable_mergejoin = off; SET enable_sort = off; SET enable_incremental_sort = off; SET lock_timeout = '2s'";
const LOCK: &str =
    "SELECT owner_id FROM owner WHERE owner_id = ANY($1) ORDER BY owner_id FOR NO KEY UPDATE";
const CLOCK: &str = "SELECT clock.now, ARRAY(
        SELECT (SELECT t.time FROM entry t WHERE t.owner_id = o.owner_id ORDER BY t.time DESC LIMIT 1)
        FROM unnest($1::uuid[]) o(owner_id))
    FROM (SELECT clock_timestamp() AS now OFFSET 0) clock";
const MOVE: &str = "UPDATE account SET available = available + CASE WHEN account_id::text LIKE '%1' THEN 1 ELSE -1 END,
        version = version + 1
    WHERE owner_id = $1 AND unit = 'BTC' AND account_id::text LIKE '00000000-%' RETURNING account_id, version";
const INSERT: &str = "
    INSERT INTO entry (owner_id, account_id, unit, available_delta, held_delta, available, held, version, reservation_count,
                       cause, cause_id, time)
    SELECT a.owner_id, a.account_id, a.unit, CASE WHEN a.account_id::text LIKE '%1' THEN 1 ELSE -1 END, 0, a.available,
           a.held, a.version, a.reservation_count, 'ADJUST', $2, $3
    FROM account a WHERE a.owner_id = $1 AND a.unit = 'BTC' AND a.account_id::text LIKE '00000000-%'";
const RECORD: &str = "INSERT INTO adjustment (owner_id, id, external_id, currency, quantity, reason, initiated_by, content_hash,
                            custody_version, created_at)
    SELECT $1::uuid, $2::uuid, ($2::uuid)::text, 'BTC', 1, 'old', 'x', sha256(''), a.version, $3::timestamptz
    FROM account a WHERE a.owner_id = $1 AND a.unit = 'BTC' AND a.account_id = '00000000-0000-0000-0000-000000000001'";
const BALANCE_AT: &str = "SELECT e.available::text, e.held::text, e.version, e.reservation_count FROM entry e
    WHERE e.owner_id = $1 AND e.account_id = $2 AND e.unit = $3 AND e.version >= $4 AND e.version <= $4
    ORDER BY e.version LIMIT 1";
const ENTRY_EXISTS: &str = "SELECT EXISTS (SELECT FROM (
        SELECT e.cause_id, e.time FROM entry e
        WHERE e.owner_id = $1 AND e.account_id = $2 AND e.unit = $3 AND e.version >= $4 AND e.version <= $4
        ORDER BY e.version LIMIT 1
    ) e WHERE e.cause_id = $5 AND e.time = $6)";

/// Deposits 1 BTC again and again until it is stopped, as a server of the version before with the role of servers; returns the
/// longest time that a deposit took and how many there were.
fn old_server(url: &str, owner: Uuid, stop: watch::Receiver<bool>) -> JoinHandle<(Duration, u32)> {
    let url = as_server(url);
    tokio::spawn(async move {
        let mut client = session(&url).await;
        run(&client, SETTINGS).await;
        let mut prepared = Vec::new();
        for text in [LOCK, CLOCK, MOVE, INSERT, RECORD, BALANCE_AT, ENTRY_EXISTS] {
            prepared.push(client.prepare(text).await.expect(text));
        }
        let own = Uuid::from_u128(1);
        let (mut longest, mut count) = (Duration::ZERO, 0);
        while !*stop.borrow() {
            let begun = Instant::now();
            let batch = client.transaction().await.expect("begun");
            let owners = vec![owner];
            batch.query(&prepared[0], &[&owners]).await.expect("locked");
            let clock = batch.query_one(&prepared[1], &[&owners]).await;
            let clock = clock.expect("a clock");
            let now: chrono::DateTime<chrono::Utc> = clock.get(0);
            let last: Vec<Option<chrono::DateTime<chrono::Utc>>> = clock.get(1);
            assert!(last[0].expect("entries") < now);
            let id = Uuid::new_v4();
            let moved = batch.query(&prepared[2], &[&owner]).await.expect("moved");
            assert_eq!(moved.len(), 2);
            let to = moved.iter().find(|row| row.get::<_, Uuid>(0) == own);
            let version: i64 = to.expect("custody").get(1);
            let inserted = batch.execute(&prepared[3], &[&owner, &id, &now]).await;
            assert_eq!(inserted.expect("inserted"), 2);
            let recorded = batch.execute(&prepared[4], &[&owner, &id, &now]).await;
            assert_eq!(recorded.expect("recorded"), 1);
            batch.commit().await.expect("committed");
            // Each deposit adds 1 to those that were made before.
            let at = async |version: i64| {
                let parameters: [&(dyn ToSql + Sync); 4] = [&owner, &own, &"BTC", &version];
                let found = client.query_one(&prepared[5], &parameters).await;
                let available: String = found.expect("an entry").get(0);
                available.parse::<i64>().expect("whole")
            };
            assert_eq!(at(version).await - at(3).await, version - 3);
            let parameters: [&(dyn ToSql + Sync); 6] = [&owner, &own, &"BTC", &version, &id, &now];
            let proof = client.query_one(&prepared[6], &parameters).await;
            assert!(proof.expect("looked for").get::<_, bool>(0));
            longest = longest.max(begun.elapsed());
            count += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        (longest, count)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_the_version_before_go_on_while_the_journal_is_partitioned_and_afterwards() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let earmark = &fixture.earmark;
    let cleared = fixture.allocate("10", "cleared").await;
    let first = fixture.clear(&cleared.id).await.into_inner();
    let sql = earmark.sql().await;
    take_back(&sql).await;

    let owner: Uuid = fixture.parties.enterprise.parse().expect("a UUID");
    let (stopping, stop) = watch::channel(false);
    let old = [0, 1].map(|_| old_server(&earmark.url, owner, stop.clone()));
    // A report that takes long: the migration has to wait for it, and nobody waits behind it.
    let report = session(&earmark.url).await;
    run(&report, "BEGIN; SELECT count(*) FROM entry").await;
    let migrating = tokio::spawn({
        let url = earmark.url.clone();
        async move { migrate::run(&url).await }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!migrating.is_finished(), "it waits for the report");
    run(&report, "ROLLBACK").await;
    let migrated = migrating.await.expect("no panic").expect("migrated");
    assert_eq!(migrated.len(), 3);
    until_noticed(&fixture).await;
    stopping.send(true).expect("they run");
    for used in old {
        let (longest, count) = used.await.expect("no panic");
        eprintln!("{count} deposits, the longest in {longest:?}");
        assert!(longest < WAIT_MAX && count > 50, "{longest:?} of {count}");
    }

    let partitions = texts(&sql, PARTITIONS).await;
    assert_eq!(partitions, ["entry_default", "entry_legacy"]);
    let privileges = texts(&sql, PRIVILEGES).await;
    assert_eq!(privileges, ["entry INSERT", "entry SELECT"]);
    let server = session(&as_server(&earmark.url)).await;
    let beside = server.batch_execute("SELECT FROM entry_legacy").await;
    let code = beside.expect_err("refused").code().cloned();
    assert_eq!(code, Some(SqlState::INSUFFICIENT_PRIVILEGE));
    let bounds = "SELECT format('%s, %s', pg_get_expr(relpartbound, oid),
            (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months')::date)
        FROM pg_class WHERE relname = 'entry_legacy'";
    let bounds = texts(&sql, bounds).await.pop().expect("bounds");
    let (bounds, cut) = bounds.split_once("), ").expect("two parts");
    assert!(
        bounds.contains(&format!("TO ('{cut} 00:00:00+00'")),
        "{bounds}, {cut}"
    );
    let targets = "SELECT attrelid::regclass::text || '.' || attname FROM pg_attribute
        WHERE attrelid IN ('entry'::regclass, 'entry_default'::regclass, 'entry_legacy'::regclass)
          AND attnum > 0 AND attstattarget <> 20";
    assert_eq!(texts(&sql, targets).await, [""; 0]);

    // A server of this version goes on, and answers a repetition from what was there before.
    assert_eq!(fixture.clear(&cleared.id).await.into_inner(), first);
    fixture.allocate("1", "after").await;
    assert_sound(earmark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_of_a_clock_that_ran_ahead_is_partitioned_behind_it() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let sql = fixture.earmark.sql().await;
    take_back(&sql).await;
    let ahead = "UPDATE entry SET time = '2029-03-31T23:59:59Z'";
    run(&sql, ahead).await;
    migrate::run(&fixture.earmark.url).await.expect("migrated");
    let bounds =
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'entry_legacy'";
    let bounds = texts(&sql, bounds).await;
    assert_eq!(
        bounds,
        ["FOR VALUES FROM (MINVALUE) TO ('2029-05-01 00:00:00+00')"]
    );
    until_noticed(&fixture).await;
    // The next movement follows the last entry, whatever the clock says.
    fixture.allocate("1", "next").await;
    let next = "SELECT count(*) FROM entry WHERE time = '2029-03-31T23:59:59.000001Z'";
    assert_eq!(fixture.earmark.count(next).await, 1);
}

/// Moves everything that has happened so far 100 days back.
async fn age(earmark: &Earmark) {
    let sql = earmark.sql().await;
    make_allocations_writable(&sql).await;
    for (table, columns) in [
        ("entry", &["time"][..]),
        ("allocation", &["created_at", "updated_at"]),
        ("adjustment", &["created_at"]),
    ] {
        let set = columns
            .iter()
            .map(|column| format!("{column} = {column} - interval '100 days'"));
        let set: Vec<_> = set.collect();
        run(&sql, &format!("UPDATE {table} SET {}", set.join(", "))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_is_answered_from_partitions_of_any_age() {
    let fixture = AllocationFixture::open(ConnectionMode::Confirmed).await;
    let (client, partner) = (&fixture.client, &fixture.partner);
    let moved = fixture.allocate("60", "moved").await;
    let cleared = fixture.clear(&moved.id).await.into_inner();
    let cancelled = fixture.allocate("2", "cancelled").await;
    let cancelled = fixture.cancel(&cancelled.id).await.into_inner();
    age(&fixture.earmark).await;
    // These movements do not touch the connection, whose last entry is 100 days older.
    let opening = fixture.parties.allocation("BTC", "3", "open");
    let opened = client.clone().create_allocation(opening.clone()).await;
    let opened = opened.expect("allocated").into_inner();
    let released = fixture.allocate("4", "released").await;
    let released = fixture.release(&released.id).await.into_inner();
    // This one touches both accounts, so that neither has the version any more that those before have left.
    let returned = fixture
        .hold(AllocationType::Deallocation, "5", "returned")
        .await;
    fixture.clear(&returned.id).await;

    for round in 0..2 {
        let again = client.clone().create_allocation(opening.clone()).await;
        let again = again.expect("a replay");
        assert!(again.metadata().contains_key("earmark-replayed"));
        assert_eq!(again.into_inner(), opened);
        let ids = [
            &cancelled.allocation,
            &released.allocation,
            &cleared.allocation,
        ]
        .map(|record| record.as_ref().expect("set").id.clone());
        let by_client = fixture.parties.cancel(&ids[0]);
        let again = client.clone().cancel_allocation(by_client).await;
        let again = again.expect("a replay").into_inner();
        let balances = |custody, connection| (custody, connection);
        assert_eq!(
            balances(again.custody_balance, again.connection_balance),
            balances(
                cancelled.custody_balance.clone(),
                cancelled.connection_balance.clone()
            )
        );
        let by_partner = fixture.parties.release(&ids[1]);
        let again = partner.clone().release_allocation(by_partner).await;
        assert_eq!(again.expect("a replay").into_inner(), released);
        let by_partner = fixture.parties.clear(&ids[2]);
        let again = partner.clone().clear_allocation(by_partner).await;
        let again = again.expect("a replay").into_inner();
        assert_eq!(again.connection_balance, cleared.connection_balance);
        assert_sound(&fixture.earmark).await;
        if round == 0 {
            split(&fixture.earmark.sql().await).await;
        }
    }
    // What is written now lies behind all partitions.
    fixture.allocate("1", "later").await;
    let newest = "SELECT count(*) FROM entry_default WHERE time = (SELECT max(time) FROM entry)";
    assert_eq!(fixture.earmark.count(newest).await, 1);
    assert_sound(&fixture.earmark).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_transfer_shows_the_balance_behind_its_price() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("from", "100").await;
    fixture.bucket("to", "0").await;
    let costing = TransferBalanceRequest {
        transfer_cost: amount("2", "EUR"),
        cost_owner: CostOwner::Originator.into(),
        ..transfer("from", "to", "10", "costing")
    };
    let mut client = BucketFixture::client(&fixture.earmark, fixture.tenant);
    let first = client.transfer_balance(costing.clone()).await;
    let first = first.expect("transferred").into_inner();
    let topped_up = topup("from", "1", "topup");
    let before = client.topup_balance(topped_up.clone()).await;
    let before = before.expect("topped up").into_inner();
    for number in 0..10 {
        fixture
            .topup(topup("from", "1", &format!("more {number}")))
            .await;
    }
    split(&fixture.earmark.sql().await).await;
    let again = client.transfer_balance(costing).await;
    let again = again.expect("a replay").into_inner();
    let left = |bucket: Option<Bucket>| values(&bucket.expect("set"));
    assert_eq!(left(again.bucket), left(first.bucket));
    let again = client.topup_balance(topped_up).await;
    let again = again.expect("a replay").into_inner();
    assert_eq!(left(again.bucket), left(before.bucket));
    fixture.create(eur("later", "1")).await;
    assert_sound(&fixture.earmark).await;
}
