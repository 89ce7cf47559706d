//! How records are found where one enterprise has as many as all others together: what stands between its own is never
//! read.

use std::sync::Arc;

use earmark::allocation::AllocationService;
use earmark::auth::scope;
use earmark::db::pool::Pool;
use earmark::db::pools::Pools;
use earmark::ledger::claim::Claim;
use earmark::proto::allocation::v1::allocation_service_server::AllocationService as _;
use earmark::proto::allocation::v1::{
    AllocationSortField, AllocationStatus, GetAllocationRequest, ListClientAllocationsRequest,
    ListPartnerAllocationsRequest,
};
use earmark::rpc::call::Call;
use earmark::types::principal::Principal;
use prost_types::Timestamp;
use tokio_postgres::Client;
use tonic::Request;

use crate::support::cluster::{TestDatabase, database};
use crate::support::locks;
use crate::support::plan::Prepared;
use crate::support::service::{member, on_one_connection};

/// The enterprise whose records are the younger half, and the partner's.
const ONE: &str = "00000000-0000-0000-0000-000000000001";
const PARTNER: &str = "00000000-0000-0000-0000-000000000000";
const RECORDS: usize = 20_000;

/// Records of a hundred enterprises, then as many of one.
fn fill() -> String {
    let turns = format!("pg_temp.an_id(CASE WHEN n > {RECORDS} THEN 1 ELSE 2 + n % 100 END)");
    let records = insert(1, 2 * RECORDS, &turns);
    format!(
        r"
        CREATE FUNCTION pg_temp.an_id(n bigint) RETURNS uuid IMMUTABLE LANGUAGE sql
            RETURN ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid;
        INSERT INTO owner SELECT pg_temp.an_id(n) FROM generate_series(0, 101) n;
        INSERT INTO enterprise SELECT pg_temp.an_id(n), 'x', true, 1, now(), now() FROM generate_series(0, 101) n;
        INSERT INTO client SELECT pg_temp.an_id(n), pg_temp.an_id(n), 'x', now(), now() FROM generate_series(1, 101) n;
        INSERT INTO partner VALUES (pg_temp.an_id(0), pg_temp.an_id(0), 'x', 'x', now(), now());
        INSERT INTO connection (id, client_id, partner_id, client_enterprise_id, partner_enterprise_id, name,
                                partners_connection_id, mode, allocations_enabled, deallocations_enabled, version,
                                created_at, updated_at)
            SELECT pg_temp.an_id(n), pg_temp.an_id(n), pg_temp.an_id(0), pg_temp.an_id(n), pg_temp.an_id(0), 'x', '',
                   'CONFIRMED', true, true, 1, now(), now()
              FROM generate_series(1, 101) n;
        {records}
        "
    )
}

/// Records of these numbers, each of the enterprise that an SQL expression of its number `n` names.
fn insert(first: usize, last: usize, enterprise: &str) -> String {
    format!(
        r"
        INSERT INTO open_allocation (owner_id, id, type, status, currency, quantity, connection_id, client_id, partner_id,
                                client_external_id, initiated_by, created_at, updated_at, content_hash,
                                opened_custody_version, opened_connection_version)
            SELECT e, pg_temp.an_id(n), 'ALLOCATION', 'RESERVED', 'EUR', 1, e, e, pg_temp.an_id(0), n, 'x', now(), now(),
                   '\x00', 1, 1
              FROM generate_series({first}, {last}) n, LATERAL (SELECT {enterprise}) o(e);
        INSERT INTO allocation_key
            SELECT e, allocation_key_of('ALLOCATION', n::text), pg_temp.an_id(n)
              FROM generate_series({first}, {last}) n, LATERAL (SELECT {enterprise}) o(e)"
    )
}

/// The service, with one connection for its reads, so that a test can look at the statements that it prepares.
struct Asking {
    _db: TestDatabase,
    session: Client,
    pool: Pool,
    service: AllocationService,
}

impl Asking {
    async fn start() -> Self {
        let db = database().await;
        let session = locks::session(&db.url).await;
        for sql in ["SET statement_timeout = 0", &fill(), "VACUUM ANALYZE"] {
            session.batch_execute(sql).await.expect(sql);
        }
        let (_, pool, writer) = on_one_connection(&db.url);
        Self {
            _db: db,
            session,
            service: AllocationService::new(Pools::sharing(&pool), writer),
            pool,
        }
    }

    /// How many blocks the statement of this form that was prepared last reads with these parameters.
    async fn blocks(&self, form: &str, parameters: &str) -> u64 {
        let prepared = Prepared::last(&self.pool, form).await;
        let cost = prepared.explain(&self.session, parameters).await;
        cost.blocks
    }
}

fn request<M>(method: &str, message: M) -> Request<M> {
    let path = format!("/earmark.allocation.v1.AllocationService/{method}");
    let mut request = Request::new(message);
    request.extensions_mut().insert(Call {
        rpc: scope::rpc(&path).expect("an RPC"),
        caller: Arc::new(member(&[ONE, PARTNER])),
        principal: Principal::Server,
        request_id: "test".into(),
        claim: Claim::new(),
    });
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_reads_no_rows_of_other_owners() {
    let asking = Asking::start().await;
    let list = async |currencies: &[&str]| {
        let list = ListClientAllocationsRequest {
            enterprise_id: ONE.into(),
            currencies: currencies.iter().map(|unit| (*unit).into()).collect(),
            page_size: 100,
            ..Default::default()
        };
        let list = request("ListClientAllocations", list);
        let listed = asking.service.list_client_allocations(list).await;
        assert_eq!(listed.expect("listed").into_inner().allocations.len(), 100);
    };
    let (first, last) = ("0".repeat(32), "f".repeat(32));
    list(&[]).await;
    let plain = format!("'{ONE}', '{first}', '{last}', 101");
    // By the plan that it soon has, whatever the parameters.
    for mode in ["force_generic_plan", "auto"] {
        let sql = format!("SET plan_cache_mode = {mode}");
        asking.session.batch_execute(&sql).await.expect(&sql);
        let blocks = asking.blocks("%LIMIT 101%", &plain).await;
        assert!(blocks < 150, "{mode}: {blocks}");
    }
    list(&["EUR"]).await;
    let filtered = format!(
        "'{ONE}', '{first}', '{last}', true, '{{}}', true, '{{}}', false, '{{EUR}}', 101, 0"
    );
    let blocks = asking.blocks("%OFFSET%", &filtered).await;
    assert!(blocks < 150, "{blocks}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_filters_has_one_plan_for_all_pages() {
    for (page_size, text) in [
        (100, "%LIMIT 101%"),
        (90, "%LIMIT 101%"),
        (400, "%LIMIT 501%"),
    ] {
        one_plan_for_all_pages(page_size, text).await;
    }
}

async fn one_plan_for_all_pages(page_size: i32, text: &str) {
    let asking = Asking::start().await;
    // Where it has them all, the enterprise seems largest; and its newest records are newer than any statistics.
    let all = format!("UPDATE open_allocation SET owner_id = '{ONE}'");
    let newer = insert(2 * RECORDS + 1, 2 * RECORDS + 1000, "pg_temp.an_id(1)");
    for sql in [&all, "VACUUM ANALYZE open_allocation", &newer] {
        asking.session.batch_execute(sql).await.expect(sql);
    }
    let mut token = String::new();
    let mut pages = 0;
    loop {
        let list = ListClientAllocationsRequest {
            enterprise_id: ONE.into(),
            page_size,
            page_token: token.clone(),
            ..Default::default()
        };
        let list = request("ListClientAllocations", list);
        let listed = asking.service.list_client_allocations(list).await;
        token = listed.expect("listed").into_inner().next_page_token;
        pages += 1;
        if token.is_empty() {
            break;
        }
    }
    assert!(pages > 100, "{pages}");
    let plain = Prepared::last(&asking.pool, text).await;
    // Postgres tries the plans for given parameters five times.
    assert_eq!(plain.generic_plans, pages - 5, "{page_size}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_is_looked_up_by_statements_that_stay_prepared_and_use_an_index() {
    let asking = Asking::start().await;
    // Open reservations of which none has expired.
    for sql in [
        "UPDATE open_allocation SET expire_time = now() + interval '1 day'",
        "VACUUM ANALYZE open_allocation",
    ] {
        asking.session.batch_execute(sql).await.expect(sql);
    }
    let statuses = vec![AllocationStatus::Released.into()];
    let of_client = ListClientAllocationsRequest {
        enterprise_id: ONE.into(),
        statuses: statuses.clone(),
        ..Default::default()
    };
    let of_partner = ListPartnerAllocationsRequest {
        enterprise_id: PARTNER.into(),
        statuses,
        ..Default::default()
    };
    let of_client = request("ListClientAllocations", of_client);
    let listed = asking.service.list_client_allocations(of_client).await;
    listed.expect("listed");
    let of_partner = request("ListPartnerAllocations", of_partner);
    let listed = asking.service.list_partner_allocations(of_partner).await;
    listed.expect("listed");
    for (form, parameters, most) in [
        ("SELECT owner_id%", format!("'{ONE}', NULL"), 10),
        // The partner has a hundred connections.
        (
            "SELECT DISTINCT c.client_enterprise_id%",
            format!("NULL, '{PARTNER}', true, '{{}}', true, '{{}}', true, '{{}}'"),
            400,
        ),
    ] {
        for mode in ["force_generic_plan", "auto"] {
            let sql = format!("SET plan_cache_mode = {mode}");
            asking.session.batch_execute(&sql).await.expect(&sql);
            let blocks = asking.blocks(form, &parameters).await;
            assert!(blocks < most, "{mode}: {blocks} for {form}");
        }
    }
}

/// The opening entries of all records, at times of their own: a second for each record.
const ENTRIES: &str = "
    UPDATE open_allocation SET updated_at = 'epoch'::timestamptz + client_external_id::int * interval '1 second';
    INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause, cause_id,
                       time, reservation_count)
        SELECT owner_id, '00000000-0000-0000-0000-000000000001', currency,
               row_number() OVER (PARTITION BY owner_id ORDER BY updated_at), -1, 1, 0, 1, 'RESERVE', id, updated_at, 1
          FROM open_allocation;
    ANALYZE open_allocation, entry";

/// A page of a window costs what it shows, however much the enterprise has moved in the window and outside of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_window_of_updates_is_read_in_the_order_of_the_journal() {
    let asking = Asking::start().await;
    for sql in ENTRIES.split(';') {
        asking.session.batch_execute(sql).await.expect(sql);
    }
    let from = RECORDS as i64 + RECORDS as i64 / 4;
    let updated_on_or_after = Some(Timestamp {
        seconds: from,
        nanos: 0,
    });
    let sort_field = AllocationSortField::UpdatedAt.into();
    let of_client = ListClientAllocationsRequest {
        enterprise_id: ONE.into(),
        updated_on_or_after,
        sort_field,
        ..Default::default()
    };
    let of_client = request("ListClientAllocations", of_client);
    let listed = asking.service.list_client_allocations(of_client).await;
    let listed = listed.expect("listed").into_inner().allocations;
    assert_eq!(listed.len(), 100);
    assert_eq!(listed[0].updated_at, updated_on_or_after);
    let of_partner = ListPartnerAllocationsRequest {
        enterprise_id: PARTNER.into(),
        updated_on_or_after,
        sort_field,
        ..Default::default()
    };
    let of_partner = request("ListPartnerAllocations", of_partner);
    let listed = asking.service.list_partner_allocations(of_partner).await;
    let listed = listed.expect("listed").into_inner().allocations;
    assert_eq!(listed.len(), 100);
    assert_eq!(listed[0].updated_at, updated_on_or_after);

    let (first, last) = ("0".repeat(32), "f".repeat(32));
    let filters = format!(
        "to_timestamp({from}), '10000-01-01', '{first}', '{last}', true, '{{}}', true, '{{}}', true, '{{}}'"
    );
    for mode in ["force_generic_plan", "auto"] {
        let sql = format!("SET plan_cache_mode = {mode}");
        asking.session.batch_execute(&sql).await.expect(&sql);
        let parameters = format!("'{ONE}', {filters}, 101, 0");
        let blocks = asking
            .blocks("%\"updated_at\" FROM \"entry\"%", &parameters)
            .await;
        assert!(blocks < 800, "{mode}: {blocks}");
        // A hundred of its owners have moved nothing in the window.
        let parameters = format!("'{PARTNER}', {filters}, 101, 101, 0");
        let blocks = asking
            .blocks("%SELECT DISTINCT \"connection\"%", &parameters)
            .await;
        assert!(blocks < 2_500, "{mode}, as partner: {blocks}");
    }
}

/// Closes every second record.
const CLOSE: &str = r#"
    WITH closed AS (DELETE FROM open_allocation o WHERE client_external_id::int % 2 = 0 RETURNING o)
    INSERT INTO closed_allocation SELECT (jsonb_populate_record(o,
        '{"status": "RELEASED", "closed_cause": "CANCEL", "closed_custody_version": 2, "closed_connection_version": 2}')).*
      FROM closed"#;

#[tokio::test(flavor = "multi_thread")]
async fn either_side_reads_little_for_a_record() {
    let asking = Asking::start().await;
    for sql in [CLOSE, "VACUUM ANALYZE open_allocation, closed_allocation"] {
        asking.session.batch_execute(sql).await.expect(sql);
    }
    let (open, closed) = (RECORDS + 1, RECORDS + 2);
    for (enterprise, number) in [
        (ONE, open),
        (PARTNER, open),
        (ONE, closed),
        (PARTNER, closed),
    ] {
        let id = format!("00000000-0000-0000-0000-{number:012x}");
        let get = GetAllocationRequest {
            enterprise_id: enterprise.into(),
            allocation_id: id.clone(),
        };
        let got = asking
            .service
            .get_allocation(request("GetAllocation", get))
            .await;
        let found = got.expect("there").into_inner().allocation;
        assert_eq!(found.expect("set").id, id);
        let parameters = format!("'{{0}}', '{{{enterprise}}}', '{{{id}}}'");
        let (form, parameters) = if (enterprise, number) == (ONE, open) {
            ("%unnest%LEFT JOIN LATERAL%", parameters)
        } else {
            (
                "%unnest%CROSS JOIN LATERAL%",
                format!("{parameters}, '{id}', '{id}'"),
            )
        };
        let blocks = asking.blocks(form, &parameters).await;
        assert!(blocks < 30, "{enterprise}: {blocks}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_of_open_reservations_stores_each_account_key_once() {
    let asking = Asking::start().await;
    // As many versions of each custody account as there are records of its enterprise.
    let numbered = "
        UPDATE open_allocation t SET opened_custody_version = n.version
          FROM (SELECT id, row_number() OVER (PARTITION BY owner_id ORDER BY id) AS version FROM open_allocation) n
         WHERE t.id = n.id;
        REINDEX INDEX open_allocation_in_custody";
    asking
        .session
        .batch_execute(numbered)
        .await
        .expect("numbered");
    let sql =
        "SELECT pg_relation_size('open_allocation_in_custody') / count(*) FROM open_allocation";
    let row = asking.session.query_one(sql, &[]).await.expect(sql);
    let bytes: i64 = row.get(0);
    assert!(bytes < 30, "{bytes} bytes for each reservation");
}
