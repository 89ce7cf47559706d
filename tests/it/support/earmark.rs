//! A whole server in this process, on a database of its own, behind a real channel.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use earmark::app::{App, AppSettings};
use earmark::auth::dev_key::{AUDIENCE, DevClaims, DevKey, ISSUER};
use earmark::auth::jwks::{Jwks, JwksSource};
use earmark::auth::token::{TokenRules, TokenVerifier};
use earmark::db::connect::{Connector, Session};
use earmark::ledger::engine::WriterSettings;
use earmark::proto::allocation::v1::allocation_service_client::AllocationServiceClient;
use earmark::proto::balance::v1::balance_service_client::BalanceServiceClient;
use earmark::proto::bucket::v1::bucket_service_client::BucketServiceClient;
use earmark::proto::cas::v1::cas_allocation_service_client::CasAllocationServiceClient;
use earmark::proto::catalogue::v1::catalogue_service_client::CatalogueServiceClient;
use earmark::proto::network::v1::network_service_client::NetworkServiceClient;
use earmark::proto::{
    allocation::v1 as allocation, balance::v1 as balance, common::v1 as common,
    network::v1 as network,
};
use earmark::server::drain::Shutdown;
use earmark::server::{ServerParts, ServerSettings, serve};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::codegen::InterceptedService;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use super::cluster::{TestDatabase, as_server, database};
use super::process::{OwnAddress, Started};
use super::{locks, process};
use crate::support::raw::Raw;

/// A channel that sends a token.
pub(crate) type Authorized = InterceptedService<Channel, Bearer>;

/// Puts a token into every call.
#[derive(Clone)]
pub(crate) struct Bearer(String);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = MetadataValue::try_from(format!("Bearer {}", self.0)).expect("ASCII");
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

/// A running server with the database and the key that it uses.
pub(crate) struct Earmark {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    channel: Channel,
    key: DevKey,
    process: Option<Started>,
    jwks: tempfile::NamedTempFile,
    /// Keeps the process's port reserved while it is killed and another process starts on it.
    _own_address: Option<OwnAddress>,
    _db: Option<TestDatabase>,
}

/// How a server is set up.
pub(crate) struct Setup {
    pub(crate) settings: ServerSettings,
    pub(crate) app: AppSettings,
    /// Limits of its database sessions.
    pub(crate) session: Session,
    /// Where it reads the keys of tokens; `None`: where it finds the key of those that tests make.
    pub(crate) keys: Option<JwksSource>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            settings: ServerSettings {
                lame_duck: Duration::ZERO,
                ..ServerSettings::default()
            },
            app: AppSettings::default(),
            session: Session::default(),
            keys: None,
        }
    }
}

/// Every service, with one token.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) network: NetworkServiceClient<Authorized>,
    pub(crate) balance: BalanceServiceClient<Authorized>,
    pub(crate) allocation: AllocationServiceClient<Authorized>,
    pub(crate) bucket: BucketServiceClient<Authorized>,
    pub(crate) cas: CasAllocationServiceClient<Authorized>,
    pub(crate) catalogue: CatalogueServiceClient<Authorized>,
}

/// Writer settings that wait this long for an owner's lock and refuse its commands after ten times as long.
pub(crate) fn impatient(lock_wait: Duration) -> WriterSettings {
    WriterSettings {
        lock_wait,
        patience: 10 * lock_wait,
        ..WriterSettings::default()
    }
}

impl Earmark {
    /// Starts a server; it ends with the test.
    pub(crate) async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    /// Starts a server with these settings.
    pub(crate) async fn start_with(setup: Setup) -> Self {
        let db = database().await;
        let earmark = Self::start_on(&db.url, setup).await;
        Self {
            _db: Some(db),
            ..earmark
        }
    }

    /// Starts a server on a migrated database that the caller keeps.
    pub(crate) async fn start_on(url: &str, setup: Setup) -> Self {
        let (key, jwks) = new_key();
        let own_keys = || JwksSource::File(jwks.path().into());
        let keys = Jwks::open(setup.keys.unwrap_or_else(own_keys)).await;
        let keys = keys.expect("a JWKS");
        let connector = Connector::with_session(&as_server(url), &setup.session).expect("a URL");
        let app = App::start(connector, &setup.app).expect("started");
        let parts = ServerParts {
            routes: app.routes(),
            verifier: Arc::new(TokenVerifier::new(TokenRules::new(ISSUER, AUDIENCE), keys)),
            probe: app.probe(),
            settings: setup.settings,
            closing: app.closing(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let shutdown = Shutdown::new();
        tokio::spawn(serve(listener, parts, shutdown.clone()));
        let channel = Channel::from_shared(format!("http://{address}"))
            .expect("a URI")
            .connect()
            .await
            .expect("connected");
        Self {
            url: url.into(),
            address,
            shutdown,
            channel,
            key,
            process: None,
            jwks,
            _own_address: None,
            _db: None,
        }
    }

    /// Starts the built binary on a migrated database that the caller keeps: a server in another process.
    pub(crate) async fn start_process_on(url: &str) -> Self {
        Self::start_process_with_log(url, "off", Stdio::null()).await
    }

    /// The same with a JSON log.
    pub(crate) async fn start_process_with_log(
        url: &str,
        filter: &str,
        log: impl Into<Stdio>,
    ) -> Self {
        Self::start_process_with_env(url, &[("EARMARK_LOG", filter)], log).await
    }

    /// The same with these environment variables.
    pub(crate) async fn start_process_with_env(
        url: &str,
        settings: &[(&str, &str)],
        log: impl Into<Stdio>,
    ) -> Self {
        let set = |serve: &mut Command| {
            serve.envs(settings.iter().copied());
        };
        Self::start_process_by(url, "info", log, set).await
    }

    /// The same with more settings.
    pub(crate) async fn start_process_by(
        url: &str,
        filter: &str,
        log: impl Into<Stdio>,
        set: impl FnOnce(&mut Command),
    ) -> Self {
        let (key, jwks) = new_key();
        let own_address = OwnAddress::new();
        let address = own_address.address;
        let mut serve = command(url, address, jwks.path(), filter);
        set(&mut serve);
        let process = Started::spawn_with_log(&mut serve, log);
        let channel = connected(address).await;
        Self {
            url: url.into(),
            address,
            shutdown: Shutdown::new(),
            channel,
            key,
            process: Some(process),
            jwks,
            _own_address: Some(own_address),
            _db: None,
        }
    }

    /// Asks the process that this server is to end, and waits for that; returns how long it took.
    pub(crate) fn end(&mut self) -> Duration {
        let process = self.process.as_mut().expect("a process");
        let begun = Instant::now();
        process.send(Signal::SIGTERM);
        assert_eq!(process.ended_within(Duration::from_secs(20)), Some(0));
        begun.elapsed()
    }

    /// The process that this server is.
    pub(crate) fn process(&mut self) -> &mut Started {
        self.process.as_mut().expect("a process")
    }

    /// Kills the process that this server is.
    pub(crate) fn kill(&mut self) {
        self.process.as_mut().expect("a process").kill();
    }

    /// Kills the process with SIGKILL and starts another one on its port. Clients stay usable.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.kill();
        let mut serve = command(&self.url, self.address, self.jwks.path(), "off");
        self.process = Some(Started::spawn(&mut serve));
        connected(self.address).await;
    }

    /// A client that can send arbitrary frames and metadata.
    pub(crate) async fn raw(&self) -> Raw {
        Raw::connect(self.address).await
    }

    /// A database session of its own, as another process would have.
    pub(crate) async fn sql(&self) -> tokio_postgres::Client {
        locks::session(&self.url).await
    }

    /// The single number that a query returns.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let row = self.sql().await.query_one(sql, &[]).await;
        row.expect(sql).get(0)
    }

    /// A valid token with this scope and these enterprises.
    pub(crate) fn token(&self, scope: &str, enterprises: &[&str]) -> String {
        let claims = DevClaims {
            sub: "somebody".into(),
            scope: scope.into(),
            enterprises: enterprises
                .iter()
                .map(|id| Uuid::parse_str(id).expect("a UUID"))
                .collect(),
            ..DevClaims::default()
        };
        self.key
            .mint(&claims, Duration::from_secs(600))
            .expect("signed")
    }

    /// The claims of a member who may read and write.
    pub(crate) fn claims(&self, subject: &str, enterprises: &[&str]) -> Value {
        let expires = SystemTime::now() + Duration::from_secs(600);
        let expires = expires.duration_since(UNIX_EPOCH).expect("after 1970");
        json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "exp": expires.as_secs(),
            "sub": subject,
            "scope": "settlement_network_read settlement_network_write",
            "enterprises": enterprises,
        })
    }

    /// A token with these claims and no others.
    pub(crate) fn token_of(&self, claims: &Value) -> String {
        self.key.sign(claims).expect("signed")
    }

    /// Clients of every service that send this token.
    pub(crate) fn with_token(&self, token: String) -> Clients {
        let channel = InterceptedService::new(self.channel.clone(), Bearer(token));
        Clients {
            network: NetworkServiceClient::new(channel.clone()),
            balance: BalanceServiceClient::new(channel.clone()),
            allocation: AllocationServiceClient::new(channel.clone()),
            bucket: BucketServiceClient::new(channel.clone()),
            cas: CasAllocationServiceClient::new(channel.clone()),
            catalogue: CatalogueServiceClient::new(channel),
        }
    }

    /// Clients with the scope `network-admin`.
    pub(crate) fn admin(&self) -> Clients {
        self.with_token(self.token("network-admin", &[]))
    }

    /// Clients of a member of these enterprises with read and write scopes.
    pub(crate) fn member(&self, enterprises: &[&str]) -> Clients {
        self.with_token(self.token(
            "settlement_network_read settlement_network_write",
            enterprises,
        ))
    }

    /// A token with these scopes for a tenant.
    pub(crate) fn tenant_token(&self, scope: &str, tenant: Uuid) -> String {
        let claims = DevClaims {
            sub: "somebody".into(),
            scope: scope.into(),
            tenant: Some(tenant),
            ..DevClaims::default()
        };
        self.key
            .mint(&claims, Duration::from_secs(600))
            .expect("signed")
    }

    /// A token with these scopes for these companies.
    pub(crate) fn company_token(&self, scope: &str, companies: &[i64]) -> String {
        let claims = DevClaims {
            sub: "somebody".into(),
            scope: scope.into(),
            companies: companies.to_vec(),
            ..DevClaims::default()
        };
        self.key
            .mint(&claims, Duration::from_secs(600))
            .expect("signed")
    }

    /// A client with read and write scopes for a firm's CAS allocations.
    pub(crate) fn firm(&self, firm: &str) -> CasAllocationServiceClient<Authorized> {
        self.of_firm("somebody", "allocations-read allocations-write", firm)
    }

    /// A client with these scopes for a firm's CAS allocations.
    pub(crate) fn of_firm(
        &self,
        subject: &str,
        scope: &str,
        firm: &str,
    ) -> CasAllocationServiceClient<Authorized> {
        let claims = DevClaims {
            sub: subject.into(),
            scope: scope.into(),
            firm_id: Some(firm.into()),
            ..DevClaims::default()
        };
        let token = self.key.mint(&claims, Duration::from_secs(600));
        self.with_token(token.expect("signed")).cas
    }

    /// Creates an enterprise with the OES licence.
    pub(crate) async fn enterprise(&self, name: &str) -> network::Enterprise {
        self.new_enterprise(name, true).await
    }

    /// Creates an enterprise with or without the OES licence.
    pub(crate) async fn new_enterprise(
        &self,
        name: &str,
        oes_licensed: bool,
    ) -> network::Enterprise {
        let request = network::CreateEnterpriseRequest {
            name: name.into(),
            oes_licensed,
            ..Default::default()
        };
        let answer = self
            .admin()
            .network
            .create_enterprise(request)
            .await
            .expect("created");
        answer.into_inner().enterprise.expect("set")
    }

    /// Creates two licensed enterprises, a client, a partner, and a connection between them.
    pub(crate) async fn parties(&self, mode: network::ConnectionMode) -> Parties {
        let (client_side, partner_side) = (
            self.enterprise("Client side").await,
            self.enterprise("Partner side").await,
        );
        let mut parties = Parties {
            client: self.client(&client_side.id).await,
            enterprise: client_side.id,
            partner_enterprise: partner_side.id,
            partner: String::new(),
            connection: String::new(),
        };
        parties.partner = self.partner(&parties.partner_enterprise, "Partner").await;
        parties.connection = self.connection(&parties, mode).await;
        parties
    }

    /// Creates the client of an enterprise.
    pub(crate) async fn client(&self, enterprise: &str) -> String {
        let request = network::CreateClientRequest {
            enterprise_id: enterprise.into(),
            name: "Client".into(),
            ..Default::default()
        };
        let answer = self
            .admin()
            .network
            .create_client(request)
            .await
            .expect("created");
        answer.into_inner().client.expect("set").id
    }

    /// Grants or withdraws an enterprise's OES licence.
    pub(crate) async fn license(&self, enterprise: &str, oes_licensed: bool) {
        let request = network::UpdateEnterpriseRequest {
            enterprise_id: enterprise.into(),
            oes_licensed: Some(oes_licensed),
            ..Default::default()
        };
        let updated = self.admin().network.update_enterprise(request).await;
        updated.expect("updated");
    }

    /// Enables or disables allocations of a connection.
    pub(crate) async fn enable_allocations(&self, connection: &str, enabled: bool) {
        let request = network::UpdateConnectionRequest {
            connection_id: connection.into(),
            allocations_enabled: Some(enabled),
            disabled_reason: (!enabled).then(|| "under review".into()),
            ..Default::default()
        };
        let updated = self.admin().network.update_connection(request).await;
        updated.expect("updated");
    }

    /// Creates another partner of an enterprise.
    pub(crate) async fn partner(&self, enterprise: &str, name: &str) -> String {
        let request = network::CreatePartnerRequest {
            enterprise_id: enterprise.into(),
            name: name.into(),
            institution_identifier: format!("institution of {name}"),
            ..Default::default()
        };
        let answer = self
            .admin()
            .network
            .create_partner(request)
            .await
            .expect("created");
        answer.into_inner().partner.expect("set").id
    }

    /// Creates another connection between the parties.
    pub(crate) async fn connection(
        &self,
        parties: &Parties,
        mode: network::ConnectionMode,
    ) -> String {
        let request = network::CreateConnectionRequest {
            client_id: parties.client.clone(),
            partner_id: parties.partner.clone(),
            name: "Connection".into(),
            mode: mode.into(),
            ..Default::default()
        };
        let answer = self
            .admin()
            .network
            .create_connection(request)
            .await
            .expect("created");
        answer.into_inner().connection.expect("set").id
    }

    /// Deposits a quantity into an enterprise's custody account.
    pub(crate) async fn deposit(
        &self,
        enterprise: &str,
        currency: &str,
        quantity: &str,
    ) -> common::Balance {
        let request = balance::AdjustBalanceRequest {
            enterprise_id: enterprise.into(),
            currency: currency.into(),
            quantity: quantity.into(),
            external_id: Uuid::new_v4().to_string(),
            reason: "a test's deposit".into(),
            validate_only: false,
        };
        let answer = self
            .admin()
            .balance
            .adjust_balance(request)
            .await
            .expect("deposited");
        answer.into_inner().custody_balance.expect("set")
    }
}

/// The command that starts the built binary as a server process.
fn command(url: &str, address: SocketAddr, jwks: &Path, filter: &str) -> Command {
    let mut serve = process::earmark(&["serve", "--issuer", ISSUER, "--audience", AUDIENCE]);
    serve
        .env("EARMARK_JWKS", jwks)
        .env("EARMARK_LISTEN", address.to_string())
        .env("EARMARK_LAME_DUCK", "0s")
        .env("EARMARK_LOG_FORMAT", "json")
        .env("EARMARK_LOG", filter)
        .env("DATABASE_URL", as_server(url));
    serve
}

/// Connects to a server that is starting; fails after 20 seconds.
async fn connected(address: SocketAddr) -> Channel {
    let started = Instant::now();
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("a URI");
    loop {
        match endpoint.connect().await {
            Ok(channel) => return channel,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(20), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A signing key, and the JWKS file with its public key for the server.
fn new_key() -> (DevKey, tempfile::NamedTempFile) {
    let key = DevKey::generate().expect("a key");
    let jwks = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(jwks.path(), key.jwks().to_string()).expect("written");
    (key, jwks)
}

/// The ids of a client, a partner, their enterprises and their connection.
#[derive(Clone, Debug)]
pub(crate) struct Parties {
    pub(crate) enterprise: String,
    pub(crate) client: String,
    pub(crate) partner_enterprise: String,
    pub(crate) partner: String,
    pub(crate) connection: String,
}

impl Parties {
    /// A request that succeeds if there is enough; its key is `external_id`.
    pub(crate) fn allocation(
        &self,
        currency: &str,
        quantity: &str,
        external_id: &str,
    ) -> allocation::CreateAllocationRequest {
        allocation::CreateAllocationRequest {
            enterprise_id: self.enterprise.clone(),
            connection_id: self.connection.clone(),
            amount: Some(common::Amount {
                currency: currency.into(),
                quantity: quantity.into(),
            }),
            client_external_id: external_id.into(),
            ..Default::default()
        }
    }
}

/// A balance as answers have it.
pub(crate) fn balance(available: &str, held: &str, version: i64) -> Option<common::Balance> {
    Some(common::Balance {
        available: available.into(),
        held: held.into(),
        version,
    })
}

/// A well-formed id that no record has.
pub(crate) const NOBODY: &str = "0198a7b2-6a44-7c11-8d4e-00000000ffff";

/// The parts of an error that tests compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Field and description of each violation.
    pub(crate) violations: Vec<(String, String)>,
}

impl Refusal {
    /// Asserts code and reason.
    #[track_caller]
    pub(crate) fn expect(self, code: Code, reason: &str) -> Self {
        assert_eq!(
            (self.code, self.reason.as_str()),
            (code, reason),
            "{self:?}"
        );
        self
    }

    /// Asserts that these arguments, and no others, are wrong.
    #[track_caller]
    pub(crate) fn expect_invalid(self, fields: &[&str]) -> Self {
        let this = self.expect(Code::InvalidArgument, "INVALID_REQUEST");
        assert_eq!(this.fields(), fields, "{this:?}");
        this
    }

    /// The fields of the violations.
    pub(crate) fn fields(&self) -> Vec<&str> {
        self.violations
            .iter()
            .map(|(field, _)| field.as_str())
            .collect()
    }
}

/// The error of a call that must fail; every error has an ErrorInfo of ours.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> Refusal {
    let status = result.expect_err("the call must fail");
    let details = status.get_error_details();
    let info = details
        .error_info()
        .unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "earmark");
    let violations = details
        .bad_request()
        .map(|bad| bad.field_violations.clone())
        .unwrap_or_default();
    Refusal {
        code: status.code(),
        reason: info.reason.clone(),
        message: status.message().into(),
        metadata: info.metadata.clone().into_iter().collect(),
        violations: violations
            .into_iter()
            .map(|violation| (violation.field, violation.description))
            .collect(),
    }
}
