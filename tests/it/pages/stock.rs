//! A server with records of random sizes for every list. Most are copies of one that a call has made, by SQL.

use earmark::proto::bucket::v1::bucket_service_client::BucketServiceClient;
use earmark::proto::cas::v1::CasAllocation;
use earmark::proto::cas::v1::CreateAllocationRequest;
use earmark::proto::cas::v1::cas_allocation_service_client::CasAllocationServiceClient;
use earmark::proto::catalogue::v1::catalogue_service_client::CatalogueServiceClient;
use earmark::proto::network::v1::ConnectionMode;
use tokio_postgres::Client;

use super::lists::PagedList;
use crate::support::allocation_sql::make_allocations_writable;
use crate::support::bucket_action_sql::make_bucket_actions_writable;
use crate::support::bucket_fixture::{BucketFixture, topup};
use crate::support::catalogue_fixture::{CatalogueFixture, client as catalogue_client};
use crate::support::earmark::{Authorized, Clients, Parties};
use crate::support::random::Random;

/// The party account of all buckets.
pub(super) const PARTY: &str = "party";
const FIRM: &str = "1";

pub(super) struct StockedServer {
    pub(super) parties: Parties,
    pub(super) member: Clients,
    pub(super) admin: Clients,
    pub(super) bucket: BucketServiceClient<Authorized>,
    pub(super) cas: CasAllocationServiceClient<Authorized>,
    pub(super) catalogue: CatalogueServiceClient<Authorized>,
    sql: Client,
    /// Keeps the server and its database.
    _fixture: CatalogueFixture,
}

/// The query that finds what a list must show, in its order.
fn query(list: PagedList) -> &'static str {
    match list {
        PagedList::ClientAllocations | PagedList::PartnerAllocations => {
            "SELECT id || ' ' || octet_length(notes) FROM allocation ORDER BY id"
        }
        PagedList::ClientBalances | PagedList::PartnerBalances => {
            "SELECT c.id || ' ' || count(a.unit) || ' ' || coalesce('Some(\"' ||
                 (array_agg(a.available ORDER BY a.unit DESC))[1] || '\")', 'None')
               FROM connection c LEFT JOIN account a ON a.account_id = c.id GROUP BY c.id ORDER BY c.id"
        }
        PagedList::Entries => {
            "SELECT CASE WHEN c.id IS NULL THEN 'custody' ELSE c.id::text END || ' ' || e.unit || ' ' || e.version
               FROM entry e LEFT JOIN connection c ON c.id = e.account_id
              WHERE e.owner_id = (SELECT enterprise_id FROM client)
                AND (c.id IS NOT NULL OR e.account_id = '00000000-0000-0000-0000-000000000001')
              ORDER BY e.time, e.account_id, e.unit"
        }
        PagedList::Buckets => "SELECT id FROM bucket ORDER BY created_at, id",
        PagedList::BalanceActions => "SELECT id::text FROM bucket_action t ORDER BY t.id",
        PagedList::AccumulatedBalances => {
            "SELECT unit || ' ' || count(*) FROM bucket GROUP BY unit ORDER BY unit"
        }
        PagedList::Searches => {
            "SELECT id || ' ' || jsonb_array_length(status_messages) FROM cas_allocation ORDER BY created_at, id"
        }
        PagedList::CatalogueAllocations => {
            "SELECT allocation_id::text FROM catalogue_allocation a ORDER BY a.allocation_id"
        }
        PagedList::Languages => {
            "SELECT tag FROM (SELECT DISTINCT unnest(languages) COLLATE \"C\" AS tag FROM catalogue_allocation) t
              ORDER BY tag"
        }
        PagedList::Enterprises => "SELECT id::text FROM enterprise t ORDER BY t.id",
        PagedList::Partners => "SELECT id::text FROM partner t ORDER BY t.id",
        PagedList::Connections => "SELECT id::text FROM connection t ORDER BY t.id",
    }
}

/// Sizes up to the limit: half of them at random, the others at it.
fn sizes(random: &mut Random, count: usize, limit: usize) -> Vec<i32> {
    let size = |_| match random.one_in(2) {
        true => random.number(0..limit + 1),
        false => limit,
    };
    (0..count)
        .map(size)
        .map(|size| i32::try_from(size).expect("small"))
        .collect()
}

impl StockedServer {
    pub(super) async fn make(seed: u64) -> Self {
        let buckets = BucketFixture::open().await;
        let tenant = buckets.tenant;
        buckets.bucket("a", "0").await;
        buckets.topup(topup("a", "1", "t")).await;
        let catalogue = CatalogueFixture::on(buckets.earmark).await;
        let earmark = &catalogue.earmark;
        let parties = earmark.parties(ConnectionMode::Instant).await;
        earmark.deposit(&parties.enterprise, "BTC", "5").await;
        let member = earmark.member(&[&parties.enterprise, &parties.partner_enterprise]);
        let allocation = parties.allocation("BTC", "1", "key");
        let created = member
            .allocation
            .clone()
            .create_allocation(allocation)
            .await;
        created.expect("created");
        let request = CreateAllocationRequest {
            allocation: Some(CasAllocation::default()),
            ..Default::default()
        };
        let created = earmark.firm(FIRM).create_allocation(request).await;
        created.expect("created");
        let server = Self {
            parties,
            member,
            admin: earmark.admin(),
            bucket: BucketFixture::client(earmark, tenant),
            cas: earmark.firm(FIRM),
            catalogue: catalogue_client(earmark),
            sql: earmark.sql().await,
            _fixture: catalogue,
        };
        let mut random = Random::new(seed);
        server.stock(&mut random).await;
        server
    }

    /// What a list must show, in its order.
    pub(super) async fn expected(&self, list: PagedList) -> Vec<String> {
        let rows = self.sql.query(query(list), &[]).await;
        let rows = rows.unwrap_or_else(|error| panic!("{list:?}: {error:?}"));
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Inserts one record of each of these sizes; `$1` has them.
    async fn insert(&self, sql: &str, sizes: Vec<i32>) {
        let inserted = self.sql.execute(sql, &[&sizes]).await;
        let inserted = inserted.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert!(inserted > 0, "{sql}");
    }

    async fn stock(&self, random: &mut Random) {
        self.stock_network(random).await;
        self.stock_oes(random).await;
        self.stock_buckets(random).await;
        let elements = sizes(random, 30, 60);
        self.insert(
            "INSERT INTO cas_allocation SELECT (jsonb_populate_record(a, jsonb_build_object(
                 'id', gen_random_uuid(),
                 'status_messages', (SELECT coalesce(jsonb_agg(jsonb_build_object('message', repeat('𝄞', 1000))), '[]')
                                       FROM generate_series(1, size))))).*
               FROM cas_allocation a, unnest($1::int[]) size",
            elements,
        )
        .await;
        let chars = sizes(random, 70, 10_000);
        self.insert(
            "INSERT INTO catalogue_allocation
             SELECT owner_id, n, '1', 'USD', '1', 'USD', 'https://example.com/', jsonb_build_object('en', (
                    SELECT jsonb_object_agg(name, repeat('𝄞', size)) FROM unnest('{
                        allocation_name, display_name, allocation_description, allocation_long_description,
                        allocation_singular_label, allocation_plural_label}'::text[]) name)),
                    ARRAY['en', 'a' || chr(97 + n::int / 26) || chr(97 + n::int % 26)], 1, now(), now()
               FROM catalogue_company, unnest($1::int[]) WITH ORDINALITY s(size, n)",
            chars,
        )
        .await;
    }

    async fn stock_network(&self, random: &mut Random) {
        self.insert(
            "INSERT INTO enterprise SELECT gen_random_uuid(), repeat('𝄞', size), true, 1, now(), now()
               FROM unnest($1::int[]) size",
            sizes(random, 600, 200),
        )
        .await;
        self.insert(
            "INSERT INTO partner SELECT (jsonb_populate_record(p, jsonb_build_object(
                 'id', gen_random_uuid(), 'name', repeat('𝄞', size), 'institution_identifier', n || repeat('𝄞', 100)))).*
               FROM partner p, unnest($1::int[]) WITH ORDINALITY s(size, n)",
            sizes(random, 30, 200),
        )
        .await;
        self.insert(
            "INSERT INTO connection SELECT (jsonb_populate_record(c, jsonb_build_object(
                 'id', gen_random_uuid(), 'name', repeat('𝄞', size), 'partners_connection_id', n || repeat('𝄞', 120)))).*
               FROM connection c, unnest($1::int[]) WITH ORDINALITY s(size, n)",
            sizes(random, 30, 200),
        )
        .await;
    }

    async fn stock_oes(&self, random: &mut Random) {
        make_allocations_writable(&self.sql).await;
        // Custody and a third of the connections with as many currencies as there may be, the others with fewer.
        self.insert(
            "INSERT INTO account
             SELECT c.owner_id, c.id, lpad(unit::text, 32, 'U'), 9999999999999999999999999999, unit, 9000000000000000000
               FROM (SELECT client_enterprise_id AS owner_id, id, row_number() OVER (ORDER BY id) AS n FROM connection
                     UNION ALL
                     SELECT enterprise_id, '00000000-0000-0000-0000-000000000001', 10 FROM client) c,
                    LATERAL generate_series(1, ($1::int[])[1 + (c.n * 7) % 40]) unit",
            sizes(random, 26, 100)
                .into_iter()
                .chain([4_998; 14])
                .collect(),
        )
        .await;
        self.insert(
            "INSERT INTO allocation SELECT (jsonb_populate_record(a, jsonb_build_object(
                 'id', gen_random_uuid(), 'client_external_id', n || repeat('𝄞', 120), 'status', 'RELEASED',
                 'closed_cause', 'RELEASE', 'notes', repeat('𝄞', 1000), 'reason', repeat('𝄞', size),
                 'partner_external_id', repeat('𝄞', 128), 'initiated_by', repeat('𝄞', 255)))).*
               FROM allocation a, unnest($1::int[]) WITH ORDINALITY s(size, n)",
            sizes(random, 1_100, 1_000),
        )
        .await;
        let notes = "UPDATE allocation SET notes = '' WHERE notes IS NULL";
        self.sql.batch_execute(notes).await.expect(notes);
        // Behind what custody has of BTC.
        self.insert(
            "INSERT INTO entry SELECT (jsonb_populate_record(last.e, jsonb_build_object(
                 'version', (last.e).version + n, 'time', (last.e).time + n * interval '1 microsecond'))).*
               FROM (SELECT e FROM entry e WHERE account_id = '00000000-0000-0000-0000-000000000001'
                        AND owner_id = (SELECT enterprise_id FROM client)
                      ORDER BY version DESC LIMIT 1) last, unnest($1::int[]) WITH ORDINALITY s(size, n)",
            sizes(random, 700, 1),
        )
        .await;
    }

    async fn stock_buckets(&self, random: &mut Random) {
        self.insert(
            "INSERT INTO bucket SELECT (jsonb_populate_record(b, jsonb_build_object(
                 'owner_id', gen_random_uuid(), 'id', n || repeat('𝄞', 120), 'unit', lpad((n / 3)::text, 32, 'U'),
                 'details', jsonb_build_object('extension', jsonb_build_object('x', repeat('x', size)))))).*
               FROM bucket b, unnest($1::int[]) WITH ORDINALITY s(size, n)",
            sizes(random, 110, 65_000),
        )
        .await;
        let party = format!("UPDATE bucket SET party_account_id = '{PARTY}'");
        self.sql.batch_execute(&party).await.expect(&party);
        make_bucket_actions_writable(&self.sql).await;
        self.insert(
            "INSERT INTO bucket_action SELECT (jsonb_populate_record(a, jsonb_build_object(
                 'id', gen_random_uuid(), 'request_id', n || repeat('𝄞', 120), 'initiated_by', repeat('𝄞', size)))).*
               FROM bucket_action a, unnest($1::int[]) WITH ORDINALITY s(size, n)",
            sizes(random, 600, 255),
        )
        .await;
    }
}
