//! A whole server in this process, on a database of its own, behind a real channel.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use earmark::app::App;
use earmark::auth::dev_key::{AUDIENCE, DevClaims, DevKey, ISSUER};
use earmark::auth::jwks::{Jwks, Source};
use earmark::auth::token::Verifier;
use earmark::db::pool::PoolSettings;
use earmark::proto::allocation::v1::allocation_service_client::AllocationServiceClient;
use earmark::proto::balance::v1::balance_service_client::BalanceServiceClient;
use earmark::proto::network::v1::network_service_client::NetworkServiceClient;
use earmark::proto::{
    allocation::v1 as allocation, balance::v1 as balance, common::v1 as common,
    network::v1 as network,
};
use earmark::server::drain::Shutdown;
use earmark::server::{ServerParts, Settings, serve};
use tokio::net::TcpListener;
use tonic::codegen::InterceptedService;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

use super::cluster::{TestDatabase, database};

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

/// A running server.
pub(crate) struct Earmark {
    pub(crate) db: TestDatabase,
    pub(crate) address: SocketAddr,
    channel: Channel,
    key: DevKey,
    _jwks: tempfile::NamedTempFile,
}

/// Every service, with one token.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) network: NetworkServiceClient<Authorized>,
    pub(crate) balance: BalanceServiceClient<Authorized>,
    pub(crate) allocation: AllocationServiceClient<Authorized>,
}

impl Earmark {
    /// Starts a server; it ends with the test.
    pub(crate) async fn start() -> Self {
        let db = database().await;
        let key = DevKey::generate().expect("a key");
        let jwks = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(jwks.path(), key.jwks().to_string()).expect("written");
        let keys = Jwks::open(Source::File(jwks.path().into()))
            .await
            .expect("a JWKS");
        let app = App::start(&db.url, &PoolSettings::default()).expect("a URL");
        let parts = ServerParts {
            routes: app.routes(),
            verifier: Arc::new(Verifier::new(ISSUER, AUDIENCE, keys)),
            probe: app.probe(),
            settings: Settings {
                lame_duck: Duration::ZERO,
                ..Settings::default()
            },
            closing: app.closing(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(serve(listener, parts, Shutdown::new()));
        let channel = Channel::from_shared(format!("http://{address}"))
            .expect("a URI")
            .connect()
            .await
            .expect("connected");
        Self {
            db,
            address,
            channel,
            key,
            _jwks: jwks,
        }
    }

    /// A good token.
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

    /// Clients with this very token.
    pub(crate) fn with_token(&self, token: String) -> Clients {
        let channel = InterceptedService::new(self.channel.clone(), Bearer(token));
        Clients {
            network: NetworkServiceClient::new(channel.clone()),
            balance: BalanceServiceClient::new(channel.clone()),
            allocation: AllocationServiceClient::new(channel),
        }
    }

    /// The network's administrator.
    pub(crate) fn admin(&self) -> Clients {
        self.with_token(self.token("network-admin", &[]))
    }

    /// A member of enterprises who may read and write.
    pub(crate) fn member(&self, enterprises: &[&str]) -> Clients {
        self.with_token(self.token(
            "settlement_network_read settlement_network_write",
            enterprises,
        ))
    }

    /// A licensed enterprise.
    pub(crate) async fn enterprise(&self, name: &str) -> network::Enterprise {
        let request = network::CreateEnterpriseRequest {
            name: name.into(),
            oes_licensed: true,
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

    /// Two licensed enterprises, a client and a partner, and a connection between them.
    pub(crate) async fn parties(&self, mode: network::ConnectionMode) -> Parties {
        let (client_side, partner_side) = (
            self.enterprise("Client side").await,
            self.enterprise("Partner side").await,
        );
        let mut admin = self.admin().network;
        let request = network::CreateClientRequest {
            enterprise_id: client_side.id.clone(),
            name: "Client".into(),
            ..Default::default()
        };
        let client = admin
            .create_client(request)
            .await
            .expect("created")
            .into_inner()
            .client
            .expect("set");
        let mut parties = Parties {
            enterprise: client_side.id,
            client: client.id,
            partner_enterprise: partner_side.id,
            partner: String::new(),
            connection: String::new(),
        };
        parties.partner = self.partner(&parties.partner_enterprise, "Partner").await;
        parties.connection = self.connection(&parties, mode).await;
        parties
    }

    /// Another partner.
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

    /// Another connection between the parties.
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

    /// Deposits custody.
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

/// A client and a partner with a connection; all by id.
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

/// What a caller sees of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) metadata: BTreeMap<String, String>,
    /// Field and description of each violation.
    pub(crate) violations: Vec<(String, String)>,
}

impl Refusal {
    /// The fields of the violations.
    pub(crate) fn fields(&self) -> Vec<&str> {
        self.violations
            .iter()
            .map(|(field, _)| field.as_str())
            .collect()
    }
}

/// The error of a call that must fail; every error has an ErrorInfo of ours.
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
        metadata: info.metadata.clone().into_iter().collect(),
        violations: violations
            .into_iter()
            .map(|violation| (violation.field, violation.description))
            .collect(),
    }
}
