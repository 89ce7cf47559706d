//! Open and final bucket actions in tables of their own: the migrations that make them of a table with rows while servers of
//! the version before go on.

use std::time::{Duration, Instant};

use earmark::db::migrate;
use earmark::limits::DB_LOOK_MAX;
use earmark::proto::bucket::v1::{
    BalanceAction, DeductBalanceRequest, GetBucketRequest, ListBalanceActionsRequest,
    ReserveBalanceRequest,
};
use earmark::types::ids::{OwnerId, TenantId};
use prost_types::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::support::bucket_fixture::{
    BucketFixture, deduct, left, reserve, topup, transfer, unreserve,
};
use crate::support::cluster::{as_server, database};
use crate::support::earmark::{Earmark, Setup};
use crate::support::ledger_dump::assert_sound;
use crate::support::locks::session;
use crate::support::service::reason;
use crate::verify::verify;

/// The longest time that a statement may wait on a machine that does other things too.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// The way back of each migration, the last one first.
const DOWN: [&str; 7] = [
    include_str!(
        "../../../migrations/2026-12-01-000020-7_bucket_action_view_without_a_condition/down.sql"
    ),
    include_str!("../../../migrations/2026-12-01-000020-6_closed_bucket_actions_checked/down.sql"),
    include_str!("../../../migrations/2026-12-01-000020-5_closed_bucket_actions_for_good/down.sql"),
    include_str!("../../../migrations/2026-12-01-000020-4_without_open_in_closed/down.sql"),
    include_str!("../../../migrations/2026-12-01-000020-3_bucket_action_view/down.sql"),
    include_str!("../../../migrations/2026-12-01-000020-2_copy_open_bucket_actions/down.sql"),
    include_str!("../../../migrations/2026-12-01-000020-1_open_and_closed_bucket_actions/down.sql"),
];

const COLUMNS: &str = "owner_id, id, tenant, created_at, updated_at, expire_time, own_version, receiver_version, reserve_id,
    receiver_owner_id, closed_by, amount, remaining_amount, returned_amount, cost_amount, type, status, unit, bucket_id,
    party_account_id, request_id, receiver_bucket_id, cost_owner, closed_cause, initiated_by, details, content_hash";

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.expect(sql);
}

/// Makes one table of it, with its rows, as it was before: three of its constraints were never validated.
async fn take_back(client: &Client) {
    run(client, "CREATE TABLE kept AS TABLE bucket_action").await;
    for sql in DOWN {
        run(client, sql).await;
    }
    let filled = format!(
        "INSERT INTO bucket_action ({COLUMNS}) SELECT {COLUMNS} FROM kept;
         DROP TABLE kept;
         GRANT SELECT, INSERT, UPDATE ON bucket_action TO earmark_server;
         UPDATE pg_constraint SET convalidated = false WHERE conrelid = 'bucket_action'::regclass
            AND conname IN ('bucket_action_type', 'bucket_action_amount', 'bucket_action_reserve')"
    );
    run(client, &filled).await;
    let forget = "DELETE FROM __diesel_schema_migrations WHERE version LIKE '20261201000020_'";
    assert_eq!(client.execute(forget, &[]).await.expect(forget), 7);
}

/// What servers of the version before do, with the statements that they have: reserve 2 of a bucket, use 1 of that, and give
/// the rest back. Each step is a transaction of its own; the number says which reserve it is about.
const OLD_SERVER: &str = "
    CREATE FUNCTION old_id(at timestamptz) RETURNS uuid LANGUAGE sql AS $$
        SELECT (lpad(to_hex((extract(epoch FROM at) * 1000000)::bigint / 1000), 12, '0')
            || to_hex(28672 + (extract(epoch FROM at) * 1000000)::bigint % 1000 * 4)
            || '8' || right(replace(gen_random_uuid()::text, '-', ''), 15))::uuid
    $$;
    CREATE FUNCTION old_find(owner uuid, kind text, key text) RETURNS uuid LANGUAGE sql AS $$
        SELECT t.id FROM unnest(ARRAY[owner], ARRAY[kind], ARRAY[key]) k(owner_id, type, request_id)
        CROSS JOIN LATERAL (
            SELECT * FROM bucket_action t
            WHERE t.owner_id = k.owner_id AND t.type = k.type AND t.request_id >= k.request_id
                AND t.request_id <= k.request_id
            ORDER BY t.request_id LIMIT 1
        ) t
    $$;
    CREATE FUNCTION old_insert(owner uuid, made uuid, kind text, key text, own bigint, value numeric, of_reserve uuid,
                               returned numeric, at timestamptz)
    RETURNS void LANGUAGE sql AS $$
        INSERT INTO bucket_action (owner_id, id, tenant, bucket_id, party_account_id, type, status, request_id, content_hash,
                                   unit, amount, remaining_amount, expire_time, closed_cause, closed_by, reserve_id,
                                   returned_amount, own_version, details, initiated_by, created_at, updated_at)
        SELECT owner, made, b.tenant, b.id, b.party_account_id, kind,
               CASE kind WHEN 'RESERVE' THEN 'CREATED' ELSE 'COMPLETED' END, key, sha256(key::bytea), b.unit, value,
               CASE kind WHEN 'RESERVE' THEN value END, CASE kind WHEN 'RESERVE' THEN at + interval '1 day' END, NULL, NULL,
               of_reserve, returned, own, '{}', 'old', at, at
        FROM bucket b WHERE b.owner_id = owner
    $$;
    CREATE FUNCTION old_change(owner uuid, reserve uuid, left_over numeric, now_status text, cause text, by uuid,
                               at timestamptz)
    RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        changed bigint;
    BEGIN
        UPDATE bucket_action t SET status = n.status, remaining_amount = n.remaining_amount,
            returned_amount = n.returned_amount, closed_cause = n.closed_cause, closed_by = n.closed_by,
            updated_at = n.updated_at
        FROM unnest(ARRAY[owner], ARRAY[reserve], ARRAY[now_status], ARRAY[left_over], ARRAY[NULL::numeric], ARRAY[cause],
                    ARRAY[by], ARRAY[at])
            n(owner_id, id, status, remaining_amount, returned_amount, closed_cause, closed_by, updated_at)
        CROSS JOIN LATERAL (
            SELECT t.ctid FROM bucket_action t WHERE t.owner_id = n.owner_id AND t.id >= n.id AND t.id <= n.id
            ORDER BY t.id LIMIT 1
        ) stored
        WHERE t.ctid = stored.ctid AND t.status = 'CREATED';
        GET DIAGNOSTICS changed = ROW_COUNT;
        IF changed <> 1 THEN
            RAISE EXCEPTION '% rows changed', changed;
        END IF;
    END
    $$;
    CREATE FUNCTION old_move(owner uuid, of_account uuid, to_available numeric, to_held numeric, counted bigint, kind text,
                             made uuid, at timestamptz)
    RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE
        a account;
    BEGIN
        UPDATE account SET available = available + to_available, held = held + to_held, version = version + 1,
            reservation_count = reservation_count + counted
        WHERE owner_id = owner AND account_id = of_account RETURNING * INTO a;
        INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause,
                           cause_id, time, reservation_count)
        VALUES (owner, of_account, a.unit, a.version, to_available, to_held, a.available, a.held, kind, made, at,
                a.reservation_count);
        RETURN a.version;
    END
    $$;
    CREATE FUNCTION old_step(owner uuid, number integer, step integer) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
        own constant uuid := '00000000-0000-0000-0000-000000000001';
        world constant uuid := '00000000-0000-0000-0000-000000000002';
        at timestamptz;
        made uuid;
        reserve uuid;
        version bigint;
    BEGIN
        PERFORM FROM owner o WHERE o.owner_id = owner FOR NO KEY UPDATE;
        at := greatest(clock_timestamp(), (SELECT max(time) FROM entry WHERE owner_id = owner) + interval '1 us');
        made := old_id(at);
        reserve := old_find(owner, 'RESERVE', 'old ' || number);
        IF (reserve IS NULL) <> (step = 0) THEN
            RAISE EXCEPTION 'step % of % finds %', step, number, reserve;
        END IF;
        IF step = 0 THEN
            version := old_move(owner, own, -2, 2, 1, 'RESERVE', made, at);
            PERFORM old_insert(owner, made, 'RESERVE', 'old ' || number, version, 2, NULL, NULL, at);
        ELSIF step = 1 THEN
            version := old_move(owner, own, 0, -1, 0, 'DEDUCT', made, at);
            PERFORM old_move(owner, world, 1, 0, 0, 'DEDUCT', made, at);
            PERFORM old_insert(owner, made, 'DEDUCT', 'part ' || number, version, 1, reserve, 0, at);
            PERFORM old_change(owner, reserve, 1, 'CREATED', NULL, NULL, at);
        ELSE
            version := old_move(owner, own, 1, -1, -1, 'UNRESERVE', made, at);
            PERFORM old_insert(owner, made, 'UNRESERVE', 'rest ' || number, version, 1, reserve, NULL, at);
            PERFORM old_change(owner, reserve, 0, 'COMPLETED', 'UNRESERVE', made, at);
        END IF;
    END
    $$";

/// Works as a server of the version before until it is stopped. Each reserve is used two turns, and given back eight turns after
/// it was made; returns the longest time that a step took, and how many turns there were.
fn work_as_before(
    url: &str,
    owner: OwnerId,
    stop: watch::Receiver<bool>,
) -> JoinHandle<(Duration, i32)> {
    let url = as_server(url);
    tokio::spawn(async move {
        let client = session(&url).await;
        let (mut longest, mut turns) = (Duration::ZERO, 0);
        while !*stop.borrow() {
            for (step, behind) in [(0, 0), (1, 2), (2, 8)] {
                let number = turns - behind;
                // Every fourth one stays open, half of these with all that they were made with.
                let is_skipped =
                    number < 0 || step == 2 && number % 4 == 0 || step == 1 && number % 8 == 0;
                if !is_skipped {
                    let sql = format!("SELECT old_step('{owner}', {number}, {step})");
                    let begun = Instant::now();
                    run(&client, &sql).await;
                    longest = longest.max(begun.elapsed());
                }
            }
            turns += 1;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        (longest, turns)
    })
}

/// Waits until the server knows that the schema is current again, which it looks at time and again.
async fn until_noticed(fixture: &BucketFixture) {
    tokio::time::sleep(DB_LOOK_MAX).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let request = GetBucketRequest {
        id: "one".into(),
        ..Default::default()
    };
    let mut client = fixture.client.clone();
    while let Err(refused) = client.get_bucket(request.clone()).await {
        assert!(Instant::now() < deadline, "{refused:?}");
        assert_eq!(reason(Err::<(), _>(refused)), "SCHEMA_OUTDATED");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Buckets with an action of each kind, and reserves that are open, used in part, and final. Returns the open ones: with all,
/// and with a part.
async fn fill(fixture: &BucketFixture) -> (BalanceAction, BalanceAction) {
    for id in ["one", "other"] {
        fixture.bucket(id, "100000").await;
    }
    fixture.topup(topup("one", "10", "topup")).await;
    let mut client = fixture.client.clone();
    let used = client.deduct_balance(deduct("one", "10", "used")).await;
    used.expect("deducted");
    let moved = client
        .transfer_balance(transfer("other", "one", "5", "moved"))
        .await;
    moved.expect("moved");
    let later = Timestamp::from(std::time::SystemTime::now() + Duration::from_secs(86_400));
    let open = fixture
        .reserve(ReserveBalanceRequest {
            expire_time: Some(later),
            ..reserve("one", "30", "open")
        })
        .await;
    let part = fixture.reserve(reserve("one", "20", "in part")).await;
    let drawn = DeductBalanceRequest {
        reserve_id: Some(part.id.clone()),
        keep_rest: true,
        ..deduct("one", "5", "part")
    };
    client.deduct_balance(drawn).await.expect("deducted");
    let gone = fixture.reserve(reserve("one", "3", "gone")).await;
    let returned = unreserve("one", &gone.id, "returned");
    client.unreserve_balance(returned).await.expect("returned");
    (open, part)
}

/// What is where: every open action and nothing else in one table, the others in the other one, and a key for each.
async fn assert_apart(client: &Client) {
    let apart = "SELECT
        (SELECT count(*) FROM open_bucket_action WHERE status <> 'CREATED'),
        (SELECT count(*) FROM closed_bucket_action WHERE status = 'CREATED'),
        (SELECT count(*) FROM bucket_action) - (SELECT count(*) FROM bucket_action_key),
        (SELECT count(*) FROM bucket_action a LEFT JOIN bucket_action_key k
            ON k.owner_id = a.owner_id AND k.key = bucket_action_key_of(a.type, a.request_id)
          WHERE k.id IS DISTINCT FROM a.id)";
    let row = client.query_one(apart, &[]).await.expect(apart);
    let found: [i64; 4] = [0, 1, 2, 3].map(|column| row.get(column));
    assert_eq!(found, [0; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_the_version_before_go_on_while_actions_are_put_apart() {
    let db = database().await;
    let earmark = Earmark::start_on(&db.url, Setup::default()).await;
    let fixture = BucketFixture::on(earmark);
    let (open, part) = fill(&fixture).await;
    let sql = session(&db.url).await;
    take_back(&sql).await;
    run(&sql, OLD_SERVER).await;
    let (stopping, stop) = watch::channel(false);
    let owners = ["one", "other"].map(|id| OwnerId::of_bucket(TenantId(fixture.tenant), id));
    let workers = owners.map(|owner| work_as_before(&db.url, owner, stop.clone()));
    tokio::time::sleep(Duration::from_secs(1)).await;

    let migrated = migrate::run(&db.url).await.expect("migrated");
    assert_eq!(migrated.len(), 7, "{migrated:?}");
    // They are replaced some time later.
    tokio::time::sleep(Duration::from_secs(1)).await;
    stopping.send(true).expect("they work");
    for worker in workers {
        let (longest, turns) = worker.await.expect("no panic");
        assert!(longest < WAIT_MAX && turns > 10, "{longest:?} of {turns}");
    }
    assert_apart(&sql).await;
    let before = "SELECT count(*) FROM closed_bucket_action_before WHERE status <> 'CREATED'";
    let before: i64 = sql.query_one(before, &[]).await.expect(before).get(0);
    assert!(before > 0, "the old table is a partition");

    until_noticed(&fixture).await;
    assert_eq!(verify(&fixture.earmark).await.breaches, []);
    assert_sound(&fixture.earmark).await;
    // What was open is used and given back by this version.
    let mut client = fixture.client.clone();
    let drawn = DeductBalanceRequest {
        reserve_id: Some(part.id.clone()),
        ..deduct("one", "10", "the rest of it")
    };
    client.deduct_balance(drawn).await.expect("deducted");
    let returned = unreserve("one", &open.id, "all of it");
    let done = client.unreserve_balance(returned.clone()).await;
    let again = client.unreserve_balance(returned).await;
    let action = |answer: Result<tonic::Response<_>, tonic::Status>| {
        let answer: earmark::proto::bucket::v1::UnreserveBalanceResponse =
            answer.expect("answered").into_inner();
        answer.balance_action
    };
    assert_eq!(action(done), action(again));
    assert_eq!(verify(&fixture.earmark).await.breaches, []);
    assert_sound(&fixture.earmark).await;
    assert_apart(&sql).await;
    let listed = client
        .list_balance_actions(ListBalanceActionsRequest {
            bucket_ids: vec!["one".into()],
            request_ids: ["open", "in part", "old 0", "old 1"].map(Into::into).into(),
            ..Default::default()
        })
        .await;
    assert_eq!(
        listed.expect("listed").into_inner().balance_actions.len(),
        4
    );
}

#[tokio::test]
async fn a_key_is_used_once_whatever_partition_its_action_is_in() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("main", "100").await;
    fixture.topup(topup("main", "1", "first")).await;
    assert_eq!(fixture.values("main").await, left("101", "0"));
    let sql = fixture.earmark.sql().await;
    // Another month, and so another partition: the tables of actions themselves let it pass.
    let copy = format!(
        "INSERT INTO closed_bucket_action ({COLUMNS}) SELECT {} FROM closed_bucket_action WHERE request_id = 'first'",
        COLUMNS.replacen(" id,", " '018f0000-0000-7000-8000-000000000001'::uuid,", 1)
    );
    let key = "INSERT INTO bucket_action_key
        SELECT owner_id, bucket_action_key_of(type, request_id), '018f0000-0000-7000-8000-000000000001'
          FROM closed_bucket_action WHERE request_id = 'first'";
    run(&sql, &format!("BEGIN; {copy}; ROLLBACK")).await;
    let refused = sql.batch_execute(key).await.expect_err(key);
    assert_eq!(refused.code(), Some(&SqlState::UNIQUE_VIOLATION));
    let constraint = refused.as_db_error().and_then(|error| error.constraint());
    assert_eq!(constraint, Some("bucket_action_key_pkey"));
    // Without a key of its own, it is a breach.
    run(&sql, &copy).await;
    let told = verify(&fixture.earmark).await;
    assert!(
        told.breaches.iter().any(|breach| breach.invariant == "L6"),
        "{told:?}"
    );
}
