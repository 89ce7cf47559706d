//! Query plans of the lists: always by an index, and the last page costs what the first does.
//!
//! The service has a pool of one connection here, so that a test can look at the statements that it prepares.

use std::sync::Arc;

use diesel::QueryableByName;
use diesel::sql_types::BigInt;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use earmark::auth::caller::Caller;
use earmark::auth::scope;
use earmark::bucket::BucketService;
use earmark::db::pool::{self, Pool};
use earmark::db::pools::Pools;
use earmark::ledger::bucket::model::ActionKind;
use earmark::ledger::claim::Claim;
use earmark::proto::bucket::v1::bucket_service_server::BucketService as _;
use earmark::proto::bucket::v1::{
    BucketStatus, ListBalanceActionsRequest, ListBucketsRequest, UsageType,
};
use earmark::rpc::call::Call;
use earmark::types::ids::TenantId;
use earmark::types::principal::Principal;
use prost_types::Timestamp;
use tokio_postgres::Client;
use tonic::Request;
use uuid::Uuid;

use crate::support::cluster::{TestDatabase, database};
use crate::support::locks;
use crate::support::plan::{Cost, Prepared};
use crate::support::service::{member, on_one_connection};

const TENANT: Uuid = Uuid::from_u128(1);
/// So many that no plan reads all of them for a page.
const BUCKETS: usize = 20_000;

/// Partitions of actions that begin in 2020, in the place of those of the months to come, which would be read without an index
/// since they are empty: three, which have three quarters of the time of so many buckets of each tenant.
fn partitions(buckets: usize) -> String {
    format!(
        r"
        CREATE FUNCTION pg_temp.first_id(second bigint) RETURNS uuid LANGUAGE sql AS
            $$SELECT (lpad(to_hex((extract(epoch FROM timestamptz '2020-01-01') + second)::bigint * 1000), 12, '0')
                      || repeat('0', 20))::uuid$$;
        DO $$
        DECLARE
            part integer := {buckets} / 2;
            made regclass;
        BEGIN
            FOR made IN
                SELECT inhrelid::regclass FROM pg_inherits
                WHERE inhparent = 'closed_bucket_action'::regclass AND inhrelid <> 'closed_bucket_action_default'::regclass
            LOOP
                EXECUTE format('DROP TABLE %s', made);
            END LOOP;
            FOR place IN 0..2 LOOP
                EXECUTE format('CREATE TABLE closed_bucket_action_part_%s PARTITION OF closed_bucket_action '
                    'FOR VALUES FROM (%L) TO (%L)', place, pg_temp.first_id(place * part),
                    pg_temp.first_id((place + 1) * part));
            END LOOP;
        END $$;
        "
    )
}

/// Buckets of two tenants, one second apart, each with an account, a product of all and one of few, and an action, which are
/// in three partitions and the default one. One of ten has an opening value, and one of twenty an open reserve.
async fn fill(url: &str, buckets: usize) {
    let sql = format!(
        r"
        CREATE TEMP TABLE n AS
            SELECT n, gen_random_uuid() AS owner, ('00000000-0000-0000-0000-00000000000' || 1 + n % 2)::uuid AS tenant,
                   timestamptz '2020-01-01' + n * interval '1 second' AS at
              FROM generate_series(1, {buckets} * 2) n;
        INSERT INTO owner SELECT owner FROM n;
        INSERT INTO bucket (owner_id, tenant, id, status, usage_type, party_account_id, unit, valid_to, details,
                            initiated_by, content_hash, opened_amount, opened_version, version, created_at, updated_at)
            SELECT owner, tenant, 'bucket+' || n,
                   CASE n / 2 % 20 WHEN 1 THEN 'SUSPENDED' WHEN 2 THEN 'EXPIRED' ELSE 'ACTIVE' END,
                   CASE WHEN n / 2 % 3 = 0 THEN 'VOICE' ELSE 'DATA' END, 'party+' || n / 2 % 1000, 'EUR',
                   CASE WHEN n / 2 % 7 = 0 THEN timestamptz '2021-01-01' END, '{{}}', 'x', '\x00', (n / 2 % 10 = 0)::int, (n / 2 % 10 = 0)::int,
                   1, at, at
              FROM n;
        INSERT INTO bucket_product
            SELECT owner, p, tenant, 'bucket+' || n, at
              FROM n, LATERAL (VALUES ('all'), ('product+' || n / 2 % 1000)) v(p);
        INSERT INTO account
            SELECT owner, '00000000-0000-0000-0000-000000000001', 'EUR', 1, 0, 1 FROM n;
        INSERT INTO closed_bucket_action (owner_id, id, tenant, bucket_id, party_account_id, type, status, request_id,
                                   content_hash, unit, amount, own_version, details, initiated_by, created_at, updated_at)
            SELECT owner, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '70008000'
                           || lpad(to_hex(n), 12, '0'))::uuid,
                   tenant, 'bucket+' || n, 'party+' || n / 2 % 1000, 'TOPUP', 'COMPLETED', 'k', '\x00', 'EUR', 1, 1, '{{}}',
                   'x', at, at
              FROM n;
        INSERT INTO bucket_action_key
            SELECT owner_id, bucket_action_key_of(type, request_id), id FROM closed_bucket_action;
        INSERT INTO open_bucket_action (owner_id, id, tenant, bucket_id, type, status, request_id, content_hash, unit,
                                        amount, remaining_amount, own_version, details, initiated_by, created_at,
                                        updated_at)
            SELECT owner, (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '70008001'
                           || lpad(to_hex(n), 12, '0'))::uuid,
                   tenant, 'bucket+' || n, 'RESERVE', 'CREATED', 'r', '\x00', 'EUR', 1, 1, 1, '{{}}', 'x', at, at
              FROM n WHERE n / 2 % 20 = 0;
        "
    );
    let session = locks::session(url).await;
    session
        .batch_execute("SET statement_timeout = 0")
        .await
        .expect("set");
    for sql in [partitions(buckets), sql] {
        session.batch_execute(&sql).await.expect("filled");
    }
    session
        .batch_execute("VACUUM ANALYZE")
        .await
        .expect("analysed");
}

/// The service itself, with one connection for its reads.
struct Asking {
    _db: TestDatabase,
    pool: Pool,
    service: BucketService,
    caller: Arc<Caller>,
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Parameters of the lists of buckets, as SQL.
struct Bound<'a> {
    after: &'a str,
    limit: i64,
    offset: i64,
    product: Option<&'a str>,
    party: Option<&'a str>,
    status: Option<&'a str>,
    usage_type: Option<&'a str>,
}

impl Bound<'_> {
    /// In the order in which the list's text names its parameters: the clock, the tenant, the filter that leads and, if any
    /// other is set, all filters; then the page.
    fn sql(&self) -> String {
        let text = |text: &str| format!("'{text}'");
        let or_null = |text: Option<&str>| text.map_or("NULL".into(), |text| format!("'{text}'"));
        let set = [self.product, self.party, self.status, self.usage_type];
        let is_alone = set.iter().flatten().count() <= 1;
        let mut parameters = vec!["NULL".to_owned(), text(&TENANT.to_string())];
        match (self.party, self.product, self.status, self.usage_type) {
            (Some(party), ..) => parameters.push(text(party)),
            (_, Some(product), ..) => parameters.push(text(product)),
            (_, _, Some(status), _) if is_alone && status != "EXPIRED" => {
                parameters.push(text(status));
            }
            (_, _, _, Some(usage_type)) if is_alone => parameters.push(text(usage_type)),
            _ => {}
        }
        if !is_alone {
            parameters.extend([or_null(self.status), or_null(self.usage_type)]);
            parameters.extend(self.party.map(|_| or_null(self.product)));
        }
        let (after, limit, offset) = (self.after, self.limit, self.offset);
        let all = limit + offset;
        format!(
            "{}, '{after}', '', {all}, {limit}, {offset}",
            parameters.join(", ")
        )
    }
}

impl Asking {
    async fn on(db: TestDatabase) -> Self {
        let (_, pool, writer) = on_one_connection(&db.url);
        let caller = Caller {
            tenant: Ok(TenantId(TENANT)),
            ..member(&[])
        };
        Self {
            service: BucketService::new(Pools::sharing(&pool), writer),
            caller: Arc::new(caller),
            pool,
            _db: db,
        }
    }

    fn request<M>(&self, method: &str, message: M) -> Request<M> {
        let path = format!("/earmark.bucket.v1.BucketService/{method}");
        let mut request = Request::new(message);
        request.extensions_mut().insert(Call {
            rpc: scope::rpc(&path).expect("an RPC"),
            caller: Arc::clone(&self.caller),
            principal: Principal::Server,
            request_id: "test".into(),
            claim: Claim::new(),
        });
        request
    }

    async fn buckets(&self, request: ListBucketsRequest) -> Prepared {
        let request = self.request("ListBuckets", request);
        let answer = self.service.list_buckets(request).await.expect("listed");
        assert!(answer.into_inner().total_count > 0);
        Prepared::last(&self.pool, "SELECT c.total%").await
    }

    async fn actions(&self, request: ListBalanceActionsRequest) -> Prepared {
        let request = self.request("ListBalanceActions", request);
        let listed = self.service.list_balance_actions(request).await;
        listed.expect("listed");
        Prepared::last(&self.pool, "% a ORDER BY a.id LIMIT $%").await
    }
}

const NONE: Bound = Bound {
    after: "-infinity",
    limit: 101,
    offset: 0,
    product: None,
    party: None,
    status: None,
    usage_type: None,
};

/// Each filter, as a request and as parameters.
fn filters() -> Vec<(ListBucketsRequest, Bound<'static>)> {
    let list = |product: &str, party: &str, status: BucketStatus, usage_type: UsageType| {
        ListBucketsRequest {
            product_id: product.into(),
            party_account_id: party.into(),
            status: status.into(),
            usage_type: usage_type.into(),
            ..Default::default()
        }
    };
    let (any, either) = (BucketStatus::Unspecified, UsageType::Unspecified);
    let by_status = |status: BucketStatus, name: &'static str| {
        let bound = Bound {
            status: Some(name),
            ..NONE
        };
        (list("", "", status, either), bound)
    };
    let by_product = |product: &'static str| {
        let bound = Bound {
            product: Some(product),
            ..NONE
        };
        (list(product, "", any, either), bound)
    };
    vec![
        (list("", "", any, either), NONE),
        by_product("all"),
        by_product("product+7"),
        (
            list("", "party+7", any, either),
            Bound {
                party: Some("party+7"),
                ..NONE
            },
        ),
        by_status(BucketStatus::Active, "ACTIVE"),
        by_status(BucketStatus::Suspended, "SUSPENDED"),
        by_status(BucketStatus::Expired, "EXPIRED"),
        (
            list("", "", any, UsageType::Voice),
            Bound {
                usage_type: Some("VOICE"),
                ..NONE
            },
        ),
        (
            list("all", "", BucketStatus::Expired, UsageType::Voice),
            Bound {
                product: Some("all"),
                status: Some("EXPIRED"),
                usage_type: Some("VOICE"),
                ..NONE
            },
        ),
        (
            list("all", "party+7", BucketStatus::Active, either),
            Bound {
                product: Some("all"),
                party: Some("party+7"),
                status: Some("ACTIVE"),
                ..NONE
            },
        ),
    ]
}

/// A server's database with so many buckets a tenant, a session on it, and a service.
async fn filled(buckets: usize) -> (Client, Asking) {
    let db = database().await;
    fill(&db.url, buckets).await;
    let session = locks::session(&db.url).await;
    let no_limit = session.batch_execute("SET statement_timeout = 0").await;
    no_limit.expect("set");
    (session, Asking::on(db).await)
}

/// The time of the bucket behind which one of a hundred lies.
fn late(buckets: usize) -> i64 {
    let begun = 1_577_836_800;
    begun + i64::try_from(buckets * 2 / 100 * 99).expect("small")
}

/// What each list costs on its first page and on a late one.
async fn look(buckets: usize) -> Vec<(String, Cost, Cost)> {
    let (session, asking) = filled(buckets).await;
    let mut looked = Vec::new();
    for (request, bound) in filters() {
        let prepared = asking.buckets(request.clone()).await;
        let first = prepared.explain(&session, &bound.sql()).await;
        let after = chrono::DateTime::from_timestamp(late(buckets), 0);
        let after = after.expect("a time").to_rfc3339();
        let bound = Bound {
            after: &after,
            ..bound
        };
        let last = prepared.explain(&session, &bound.sql()).await;
        looked.push((format!("{request:?}"), first, last));
    }
    let sql = format!("SELECT owner_id::text FROM bucket WHERE tenant = '{TENANT}' LIMIT 1");
    let owner = session.query_one(&sql, &[]).await.expect(&sql);
    let owner: String = owner.get(0);
    let list = |bucket_ids: &[&str], party_account_ids: &[&str], request_ids: &[&str]| {
        let texts = |ids: &[&str]| ids.iter().map(|id| (*id).into()).collect();
        ListBalanceActionsRequest {
            bucket_ids: texts(bucket_ids),
            party_account_ids: texts(party_account_ids),
            request_ids: texts(request_ids),
            ..Default::default()
        }
    };
    let key = ActionKind::Topup.stored_key("k");
    // What stands in front of the bounds of the ids.
    for (request, lead) in [
        (list(&[], &[], &[]), format!("NULL, '{TENANT}'")),
        (
            list(&["bucket"], &[], &[]),
            format!("'{{{owner}}}', '{{}}', NULL"),
        ),
        (
            list(&[], &["party+7"], &[]),
            format!("'{TENANT}', '{{party+7}}', NULL"),
        ),
        (
            list(&["bucket"], &[], &["k"]),
            format!("'{{{owner}}}', '{{}}', NULL, '{{{key}}}'"),
        ),
    ] {
        let prepared = asking.actions(request.clone()).await;
        let mut costs = Vec::new();
        for seconds in [0, late(buckets)] {
            let (begin, end) = (format!("{:012x}", seconds * 1_000), "f".repeat(32));
            let keys = request.request_ids.join(",");
            let mut parameters = format!(
                "{lead}, '{begin}70008000000000000000', '{end}', '{{}}', '{{{keys}}}', 101"
            );
            if request.bucket_ids.is_empty() && request.party_account_ids.is_empty() {
                // Of the openings, whose index has times instead of ids.
                parameters += &format!(", to_timestamp({seconds}), '10000-01-01'");
            }
            costs.push(prepared.explain(&session, &parameters).await);
        }
        let last = costs.pop().expect("two");
        looked.push((format!("{request:?}"), costs.pop().expect("two"), last));
    }
    looked
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_prepared_statements_is_bounded() {
    let (session, asking) = filled(10).await;
    drop(session);
    let some = |text: &str, is_set: bool| if is_set { text } else { "" }.to_owned();
    for bits in 0..64 {
        for status in 0..=5 {
            let request = ListBucketsRequest {
                product_id: some("all", bits & 1 > 0),
                party_account_id: some("party+7", bits & 2 > 0),
                usage_type: i32::from(bits & 4 > 0),
                status,
                limit: i32::from(bits & 8 > 0),
                offset: (bits & 16 > 0).then_some(1),
                fields: some("name", bits & 32 > 0),
                ..Default::default()
            };
            let request = asking.request("ListBuckets", request);
            asking.service.list_buckets(request).await.expect("listed");
            let one = |is_set: bool| vec!["x".to_owned(); usize::from(is_set)];
            asking
                .actions(ListBalanceActionsRequest {
                    bucket_ids: one(bits & 1 > 0),
                    party_account_ids: one(bits & 2 > 0),
                    request_ids: one(bits & 4 > 0),
                    types: vec![1; usize::from(bits & 8 > 0)],
                    time_before: (bits & 16 > 0).then(Timestamp::default),
                    page_size: i32::from(bits & 32 > 0),
                    ..Default::default()
                })
                .await;
        }
    }
    let mut connection = pool::checkout(&asking.pool).await.expect("free");
    let db: &mut AsyncPgConnection = &mut connection;
    let counted = diesel::sql_query(
        "SELECT count(*) AS count FROM pg_prepared_statements
         WHERE (statement LIKE 'SELECT c.total%' OR statement LIKE '% a ORDER BY a.id LIMIT $%')
             AND statement NOT LIKE '%pg_prepared_statements%'",
    );
    let Counted { count } = counted.get_result(db).await.expect("counted");
    // Two for each of six ways of seeking, but for a tenant without any filter; and five of actions.
    assert_eq!(count, 2 * 6 - 1 + 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_uses_an_index_and_late_pages_cost_what_the_first_does() {
    for (request, first, last) in look(BUCKETS).await {
        for cost in [&first, &last] {
            let by_index = cost.scans.iter().all(|scan| !scan.contains("Seq Scan"));
            assert!(by_index && !cost.scans.is_empty(), "{request}: {cost:?}");
        }
        // The total is counted on every page alike; what differs is where the page lies.
        assert!(
            last.blocks <= first.blocks + 50,
            "{request}: {first:?} {last:?}"
        );
    }
}

/// A look at many: `cargo test --test it -- --ignored --nocapture a_million_buckets`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; prints what each list costs"]
async fn a_million_buckets_are_listed_by_any_filter() {
    for (request, first, last) in look(1_000_000).await {
        eprintln!("{request}");
        for (page, cost) in [("first", &first), ("last", &last)] {
            eprintln!("  {page}: {:.1} ms, {} blocks", cost.millis, cost.blocks);
        }
        eprintln!("  {:?}", first.scans);
        // A product of a million buckets may well be counted in another way than by its index.
        assert!(last.blocks <= first.blocks + 500, "{first:?} {last:?}");
    }
}
