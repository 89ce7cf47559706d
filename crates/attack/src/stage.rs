//! Postgres, and two tenants in it: the attacker with a large book of CAS allocations, and the one whose calls are
//! watched. They are seeded once; each attack has a copy.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use earmark::auth::dev_key::{DevClaims, DevKey};
use earmark::proto::allocation::v1::allocation_service_client::AllocationServiceClient;
use earmark::proto::balance::v1::AdjustBalanceRequest;
use earmark::proto::balance::v1::balance_service_client::BalanceServiceClient;
use earmark::proto::bucket::v1::bucket_service_client::BucketServiceClient;
use earmark::proto::bucket::v1::{Bucket, CreateBucketRequest, Quantity};
use earmark::proto::network::v1::network_service_client::NetworkServiceClient;
use earmark::proto::network::v1::{
    ConnectionMode, CreateClientRequest, CreateConnectionRequest, CreateEnterpriseRequest,
    CreatePartnerRequest,
};
use earmark::types::ids::{FirmId, OwnerId};
use earmark_dev_postgres::{Cluster, ClusterOptions};
use tokio_postgres::{Client, NoTls};
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use crate::key_server::KeyServer;
use crate::server::{AttackedServer, ServerProgram};
use crate::tenant::{BUCKET, CURRENCY, Tenant, UNIT, one_allocation};

/// More than all calls of a run use.
const OPENING: &str = "1000000000000";
/// Longer than any run.
const TOKEN_TTL: Duration = Duration::from_secs(4 * 3_600);
/// Records of the attacker's book, each about 4 KiB in an answer.
const BOOK_ATTACKER: i32 = 20_000;
/// Records of the other tenant's book.
const BOOK_VICTIM: i32 = 1_000;
const TEMPLATE: &str = "template";

/// Everything that attacks need beside the server.
pub(crate) struct AttackStage {
    cluster: Cluster,
    pub(crate) folder: PathBuf,
    pub(crate) key_server: KeyServer,
    pub(crate) attacker: Arc<Tenant>,
    pub(crate) victim: Arc<Tenant>,
}

impl AttackStage {
    /// Starts a cluster, and seeds it by a server that is ended again. In a cluster that is not durable everything takes
    /// less time, so that latencies measured in it mean nothing.
    pub(crate) async fn start(
        folder: &Path,
        program: &ServerProgram,
        durable: bool,
    ) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let options = ClusterOptions {
            settings: vec![
                ("max_connections".into(), "200".into()),
                ("shared_buffers".into(), "512MB".into()),
                ("max_wal_size".into(), "8GB".into()),
            ],
            binaries: std::env::var_os("EARMARK_POSTGRES_BIN").map(PathBuf::from),
            fresh: true,
            durable,
            ..ClusterOptions::new(folder.join("cluster"))
        };
        let cluster = Cluster::start(options).await?;
        let key = DevKey::generate()?;
        let key_server = KeyServer::start(key.jwks().to_string()).await?;
        cluster.create_database_if_missing(TEMPLATE).await?;
        let url = cluster.url(TEMPLATE);
        program.migrate(&url).await?;
        let log = folder.join("seed.log");
        let server = AttackedServer::start(program, &url, &key_server.url(), log).await?;
        let seeder = Seeder::connect(&server, &key).await?;
        let attacker = seeder.tenant("attacker").await.context("seeding")?;
        let victim = seeder.tenant("victim").await.context("seeding")?;
        server.end().await?;
        let client = connect(&url).await?;
        seed_book(&client, "attacker", BOOK_ATTACKER).await?;
        seed_book(&client, "victim", BOOK_VICTIM).await?;
        client.batch_execute("VACUUM ANALYZE").await?;
        Ok(Self {
            cluster,
            folder: folder.into(),
            key_server,
            attacker: Arc::new(attacker),
            victim: Arc::new(victim),
        })
    }

    /// Makes a database with the seed, and answers its URL.
    pub(crate) async fn open(&self, name: &str) -> Result<String> {
        let client = connect(&self.cluster.url("postgres")).await?;
        let sql = format!("CREATE DATABASE \"{name}\" TEMPLATE \"{TEMPLATE}\" STRATEGY FILE_COPY");
        // The session that seeded it may take a moment to end.
        let mut tries = 0;
        while let Err(error) = client.batch_execute(&sql).await {
            tries += 1;
            if tries == 20 {
                return Err(error).context("copying the seeded database");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        client.batch_execute("CHECKPOINT").await?;
        Ok(self.cluster.url(name))
    }

    /// Deletes a database, whoever uses it.
    pub(crate) async fn close(&self, name: &str) -> Result<()> {
        let client = connect(&self.cluster.url("postgres")).await?;
        let sql = format!("DROP DATABASE \"{name}\" WITH (FORCE)");
        Ok(client.batch_execute(&sql).await?)
    }

    /// Stops and deletes the cluster.
    pub(crate) async fn end(self) -> Result<()> {
        let pgdata = self.cluster.pgdata().to_owned();
        self.cluster.stop().await?;
        fs::remove_dir_all(&pgdata).with_context(|| format!("deleting {}", pgdata.display()))
    }
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Writes a firm's CAS allocations past the server. Each has four comments, which hardly any pattern matches; there are
/// 20 records of each deal.
async fn seed_book(client: &Client, firm: &str, records: i32) -> Result<()> {
    let owner = OwnerId::of_firm(&FirmId(firm.into()));
    let sql = format!(
        "INSERT INTO cas_allocation (owner_id, id, created_by, created_at, last_modified_by, last_modified_at, version, \
                                     deal_id, source_id, status_messages, comments, content_hash) \
         SELECT '{owner}', ('018f0000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'seed', time, 'seed', time, 1, \
                'DEAL-' || n % ({records} / 20), 'order-' || n, '[]', \
                (SELECT jsonb_agg(jsonb_build_object('comment', repeat('a', 900) || n || '-' || c, \
                                                     'commentType', 'public', 'lastModifiedBy', 'ada', \
                                                     'lastModifiedDateTime', '2026-01-05T09:30:00Z')) \
                 FROM generate_series(1, 4) c), \
                sha256('seed') \
         FROM generate_series(1, {records}) n \
         CROSS JOIN LATERAL (SELECT timestamptz '2026-01-01' + n * interval '1 second' AS time) t"
    );
    client.batch_execute(&sql).await.context("seeding a book")
}

/// Makes tenants by calls of an administrator.
struct Seeder<'k> {
    channel: Channel,
    key: &'k DevKey,
    admin: MetadataValue<Ascii>,
}

impl<'k> Seeder<'k> {
    async fn connect(server: &AttackedServer, key: &'k DevKey) -> Result<Self> {
        let claims = DevClaims {
            sub: "admin".into(),
            scope: "network-admin".into(),
            ..DevClaims::default()
        };
        Ok(Self {
            channel: Endpoint::from_shared(format!("http://{}", server.address))?
                .connect()
                .await?,
            key,
            admin: bearer(&key.mint(&claims, TOKEN_TTL)?)?,
        })
    }

    /// Makes a client with a deposit, a partner, a connection, a bucket and an allocation.
    async fn tenant(&self, name: &str) -> Result<Tenant> {
        let enterprise = self.enterprise(name).await?;
        let connection = self.connection(name, enterprise).await?;
        let deposit = AdjustBalanceRequest {
            enterprise_id: enterprise.to_string(),
            currency: CURRENCY.into(),
            quantity: OPENING.into(),
            external_id: "opening".into(),
            reason: "Opening deposit".into(),
            ..Default::default()
        };
        let mut balances = BalanceServiceClient::new(self.channel.clone());
        balances.adjust_balance(with(&self.admin, deposit)).await?;
        let claims = DevClaims {
            sub: name.into(),
            scope: "settlement_network_read settlement_network_write allocations-read allocations-write \
                    buckets-read buckets-write"
                .into(),
            enterprises: vec![enterprise],
            firm_id: Some(name.into()),
            tenant: Some(Uuid::new_v4()),
            ..DevClaims::default()
        };
        let token = self.key.mint(&claims, TOKEN_TTL)?;
        let mut tenant = Tenant {
            bearer: bearer(&token)?,
            token,
            enterprise,
            connection,
            allocation: String::new(),
        };
        let bucket = Bucket {
            id: BUCKET.into(),
            remaining_value: Some(Quantity {
                amount: OPENING.into(),
                units: UNIT.into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let create = CreateBucketRequest {
            bucket: Some(bucket),
            ..Default::default()
        };
        let mut buckets = BucketServiceClient::new(self.channel.clone());
        buckets.create_bucket(with(&tenant.bearer, create)).await?;
        let allocate = with(&tenant.bearer, one_allocation(&tenant));
        let mut allocations = AllocationServiceClient::new(self.channel.clone());
        let answer = allocations.create_allocation(allocate).await?.into_inner();
        tenant.allocation = answer.allocation.context("an allocation")?.id;
        Ok(tenant)
    }

    async fn enterprise(&self, name: &str) -> Result<Uuid> {
        let request = CreateEnterpriseRequest {
            name: name.into(),
            oes_licensed: true,
            ..Default::default()
        };
        let mut network = NetworkServiceClient::new(self.channel.clone());
        let answer = network
            .create_enterprise(with(&self.admin, request))
            .await?;
        let enterprise = answer.into_inner().enterprise.context("an enterprise")?;
        Ok(enterprise.id.parse()?)
    }

    /// A connection of the enterprise to a partner of its own.
    async fn connection(&self, name: &str, enterprise: Uuid) -> Result<Uuid> {
        let mut network = NetworkServiceClient::new(self.channel.clone());
        let client = CreateClientRequest {
            enterprise_id: enterprise.to_string(),
            name: name.into(),
            ..Default::default()
        };
        let client = network.create_client(with(&self.admin, client)).await?;
        let partner_name = format!("partner of {name}");
        let partner = CreatePartnerRequest {
            enterprise_id: self.enterprise(&partner_name).await?.to_string(),
            name: partner_name,
            institution_identifier: name.to_uppercase(),
            ..Default::default()
        };
        let partner = network.create_partner(with(&self.admin, partner)).await?;
        let request = CreateConnectionRequest {
            client_id: client.into_inner().client.context("a client")?.id,
            partner_id: partner.into_inner().partner.context("a partner")?.id,
            name: name.into(),
            mode: ConnectionMode::Confirmed.into(),
            ..Default::default()
        };
        let answer = network
            .create_connection(with(&self.admin, request))
            .await?;
        let connection = answer.into_inner().connection.context("a connection")?;
        Ok(connection.id.parse()?)
    }
}

fn bearer(token: &str) -> Result<MetadataValue<Ascii>> {
    Ok(format!("Bearer {token}").parse()?)
}

fn with<M>(bearer: &MetadataValue<Ascii>, message: M) -> Request<M> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("authorization", bearer.clone());
    request
}
