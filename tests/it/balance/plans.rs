//! What a balance costs, by the blocks that its statements read: the same whatever the account holds, and at any moment.

use std::sync::Arc;

use earmark::auth::scope;
use earmark::balance::BalanceService;
use earmark::db::pool::Pool;
use earmark::db::pools::Pools;
use earmark::ledger::claim::Claim;
use earmark::proto::balance::v1::balance_service_server::BalanceService as _;
use earmark::proto::balance::v1::get_balance_request::Moment;
use earmark::proto::balance::v1::{BalanceView, GetBalanceRequest, GetBalanceResponse};
use earmark::rpc::call::Call;
use earmark::types::principal::Principal;
use tokio_postgres::Client;
use tonic::Request;

use crate::support::cluster::{TestDatabase, database};
use crate::support::locks;
use crate::support::plan::Prepared;
use crate::support::service::{member, on_one_connection};

/// The client's enterprise, and its connection.
const ONE: &str = "00000000-0000-0000-0000-00000000000a";
const CUSTODY: &str = "00000000-0000-0000-0000-000000000001";

const NETWORK: &str = "
    INSERT INTO owner VALUES ('00000000-0000-0000-0000-00000000000a'), ('00000000-0000-0000-0000-00000000000b');
    INSERT INTO enterprise SELECT owner_id, 'x', true, 1, now(), now() FROM owner;
    INSERT INTO client SELECT owner_id, owner_id, 'x', now(), now() FROM owner ORDER BY 1 LIMIT 1;
    INSERT INTO partner SELECT owner_id, owner_id, 'x', 'x', now(), now() FROM owner ORDER BY 1 DESC LIMIT 1;
    INSERT INTO connection (id, client_id, partner_id, client_enterprise_id, partner_enterprise_id, name,
                            partners_connection_id, mode, allocations_enabled, deallocations_enabled, version,
                            created_at, updated_at)
        SELECT c.id, c.id, p.id, c.id, p.id, 'x', '', 'CONFIRMED', true, true, 1, now(), now() FROM client c, partner p";

/// Closes all that is open, and opens so many: each is an entry of the account.
fn open(first: usize, many: usize) -> String {
    let last = first + many;
    format!(
        r#"
        WITH was_open AS (DELETE FROM open_allocation RETURNING *)
        INSERT INTO closed_allocation
            SELECT (jsonb_populate_record(NULL::closed_allocation, to_jsonb(o) || '{{"status": "RELEASED", "closed_cause": "CANCEL", "reason": "x",
                "closed_custody_version": 1, "closed_connection_version": 0}}')).* FROM was_open o;
        INSERT INTO open_allocation (owner_id, id, type, status, currency, quantity, connection_id, client_id, partner_id,
                                client_external_id, initiated_by, created_at, updated_at, content_hash,
                                opened_custody_version, opened_connection_version)
            SELECT '{ONE}', ('018f0000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'ALLOCATION', 'RESERVED',
                   'BTC', 1, '{ONE}', '{ONE}', '00000000-0000-0000-0000-00000000000b', n, 'x',
                   '2026-01-01'::timestamptz + n * interval '1 ms', now(), '\x00', n, 0
              FROM generate_series({first}, {last} - 1) n;
        INSERT INTO entry (owner_id, account_id, unit, version, available_delta, held_delta, available, held, cause,
                           cause_id, time, reservation_count)
            SELECT owner_id, '{CUSTODY}', currency, opened_custody_version, -1, 1, 0,
                   opened_custody_version - {first} + 1, 'RESERVE', id, created_at, opened_custody_version - {first} + 1
              FROM open_allocation;
        INSERT INTO account (owner_id, account_id, unit, available, held, version, reservation_count)
            SELECT owner_id, account_id, unit, 0, held, version, reservation_count
              FROM entry ORDER BY version DESC LIMIT 1
            ON CONFLICT ON CONSTRAINT account_pkey
            DO UPDATE SET version = excluded.version, held = excluded.held, reservation_count = excluded.reservation_count;
        VACUUM ANALYZE"#
    )
}

struct Asking {
    _db: TestDatabase,
    session: Client,
    pool: Pool,
    service: BalanceService,
}

impl Asking {
    async fn start() -> Self {
        let db = database().await;
        let session = locks::session(&db.url).await;
        session
            .batch_execute("SET statement_timeout = 0")
            .await
            .expect("set");
        session.batch_execute(NETWORK).await.expect(NETWORK);
        let (connector, pool, writer) = on_one_connection(&db.url);
        Self {
            _db: db,
            session,
            service: BalanceService::new(Pools::sharing(&pool), writer, connector),
            pool,
        }
    }

    async fn open(&self, first: usize, many: usize) {
        for sql in open(first, many).split(';') {
            self.session.batch_execute(sql).await.expect(sql);
        }
    }

    async fn get(&self, moment: Option<Moment>, page_size: i32) -> GetBalanceResponse {
        let mut request = Request::new(GetBalanceRequest {
            enterprise_id: ONE.into(),
            currency: "BTC".into(),
            moment,
            view: BalanceView::WithReservations.into(),
            page_size,
            ..Default::default()
        });
        request.extensions_mut().insert(Call {
            rpc: scope::rpc("/earmark.balance.v1.BalanceService/GetBalance").expect("an RPC"),
            caller: Arc::new(member(&[ONE])),
            principal: Principal::Server,
            request_id: "test".into(),
            claim: Claim::new(),
        });
        let got = self.service.get_balance(request).await;
        got.expect("there").into_inner()
    }

    /// The blocks that the statement of this form reads, by the plan for these parameters and by that for all.
    async fn blocks(&self, form: &str, parameters: &str) -> [u64; 2] {
        let prepared = Prepared::last(&self.pool, form).await;
        let mut blocks = [0; 2];
        for (mode, blocks) in ["force_custom_plan", "force_generic_plan"]
            .iter()
            .zip(&mut blocks)
        {
            let sql = format!("SET plan_cache_mode = {mode}");
            self.session.batch_execute(&sql).await.expect(&sql);
            *blocks = prepared.explain(&self.session, parameters).await.blocks;
        }
        blocks
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_and_a_page_of_what_is_open_cost_the_same_however_many_reservations_are_open() {
    let asking = Asking::start().await;
    let mut first = 1;
    for many in [0, 1_000, 20_000] {
        // What was open is closed: the oldest that is open has ever more closed ones before it.
        if many > 0 {
            asking.open(first, many).await;
            first += many;
        }
        let page = asking.get(None, 100).await;
        assert_eq!(page.reservation_count, i64::try_from(many).expect("few"));
        assert_eq!(page.reservations.len(), many.min(100));
        let latest = first - 1;
        let time = "2026-01-01T00:00:00.5Z";
        let version = Moment::AsOfVersion(i64::try_from(latest / 2).expect("few"));
        asking.get(Some(version), 100).await;
        let key =
            format!("'{{0}}', '{{{ONE}}}', '{{true}}', '{{{CUSTODY}}}', '{{BTC}}', '{{NULL}}'");
        for (form, parameters, most) in [
            // Now, in the span of what is recent and in all.
            (
                "%is_custody%infinity%",
                format!("NULL, '10000-01-01', {key}, '{{NULL}}'"),
                60,
            ),
            (
                "%is_custody%infinity%",
                format!("'0001-01-01', '10000-01-01', {key}, '{{NULL}}'"),
                60,
            ),
            (
                "%is_custody%infinity%",
                format!("'{time}', '{time}', {key}, '{{{time}}}'"),
                60,
            ),
            // The search takes some probes of four blocks, and the last step reads some pages of the index.
            (
                "%is_custody%search%",
                format!("{key}, '{{{}}}'", latest / 2),
                120,
            ),
        ] {
            for blocks in asking.blocks(form, &parameters).await {
                assert!(blocks < most, "{many} open, {parameters}: {blocks}");
            }
        }
        if many == 0 {
            continue;
        }
        let page = |after: usize| {
            format!(
                "'{ONE}', 'BTC', {after}, {latest}, 101, '{CUSTODY}', '{time}', '018f0001-0000-7000-8000-000000000000'"
            )
        };
        for after in [0, latest - many / 2] {
            for blocks in asking.blocks("%o.opened%", &page(after)).await {
                assert!(blocks < 60, "{many} open, after {after}: {blocks}");
            }
        }
    }
}
