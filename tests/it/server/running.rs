//! A server in this process, with a fake service behind it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use earmark::auth::dev_key::{AUDIENCE, DevClaims, DevKey, ISSUER};
use earmark::auth::jwks::{Jwks, JwksSettings, JwksSource};
use earmark::auth::token::{TokenRules, TokenVerifier};
use earmark::error::Error;
use earmark::limits::{REQUEST_BYTES_MAX, RESPONSE_BYTES_MAX};
use earmark::proto::balance::v1::balance_service_server::{BalanceService, BalanceServiceServer};
use earmark::proto::balance::v1::{
    AdjustBalanceRequest, AdjustBalanceResponse, GetBalanceRequest, GetBalanceResponse,
    ListClientBalancesRequest, ListClientBalancesResponse, ListEntriesRequest, ListEntriesResponse,
    ListPartnerBalancesRequest, ListPartnerBalancesResponse, VerifyLedgerRequest,
    VerifyLedgerResponse,
};
use earmark::rpc::call::{Answer, Answers, Call, answer};
use earmark::server::drain::Shutdown;
use earmark::server::{
    ClosingHook, Listeners, ServeError, ServerParts, ServerSettings, health, serve,
};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::support::raw::Raw;

/// A write of the fake service; `external_id` selects what it does.
pub(crate) const ADJUST: &str = "/earmark.balance.v1.BalanceService/AdjustBalance";
/// A read of the fake service; `client_id` selects what it does.
pub(crate) const LIST: &str = "/earmark.balance.v1.BalanceService/ListClientBalances";

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) served: JoinHandle<Result<(), ServeError>>,
    /// The result of the database probe.
    pub(crate) ready: Arc<AtomicBool>,
    /// What happened: calls that handlers began and ended, hooks that ran.
    pub(crate) seen: Seen,
    key: DevKey,
    _jwks: Option<tempfile::NamedTempFile>,
}

#[derive(Clone, Default)]
pub(crate) struct Seen {
    events: Arc<Mutex<Vec<String>>>,
    calls: Arc<Mutex<Vec<(Call, MetadataMap)>>>,
}

impl Seen {
    pub(crate) fn add(&self, event: impl Into<String>) {
        self.events.lock().expect("no panic").push(event.into());
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.events.lock().expect("no panic").clone()
    }

    pub(crate) fn calls(&self) -> Vec<(Call, MetadataMap)> {
        self.calls.lock().expect("no panic").clone()
    }

    /// Waits for an event.
    pub(crate) async fn wait_for(&self, event: &str) {
        let there = async {
            while !self.events().iter().any(|seen| seen == event) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), there)
            .await
            .unwrap_or_else(|_| panic!("no {event} in {:?}", self.events()));
    }
}

/// Settings that do not keep tests waiting.
pub(crate) fn settings() -> ServerSettings {
    ServerSettings {
        lame_duck: Duration::ZERO,
        ..ServerSettings::default()
    }
}

impl Running {
    pub(crate) async fn start() -> Self {
        Self::start_with(settings()).await
    }

    pub(crate) async fn start_with(settings: ServerSettings) -> Self {
        Self::start_listening(settings, Listeners::from).await
    }

    /// Starts one whose listeners, of the socket for calls, the test chooses.
    pub(crate) async fn start_listening(
        settings: ServerSettings,
        listeners: impl FnOnce(TcpListener) -> Listeners,
    ) -> Self {
        let key = DevKey::generate().expect("a key");
        let jwks = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(jwks.path(), key.jwks().to_string()).expect("written");
        let source = JwksSource::File(jwks.path().into());
        let running = Self::start_on(settings, source, JwksSettings::default(), listeners).await;
        Self {
            key,
            _jwks: Some(jwks),
            ..running
        }
    }

    /// Starts a server with keys from elsewhere. It does not accept the tokens that this can make.
    pub(crate) async fn start_with_keys(
        settings: ServerSettings,
        source: JwksSource,
        key_settings: JwksSettings,
    ) -> Self {
        Self::start_on(settings, source, key_settings, Listeners::from).await
    }

    async fn start_on(
        settings: ServerSettings,
        source: JwksSource,
        key_settings: JwksSettings,
        listeners: impl FnOnce(TcpListener) -> Listeners,
    ) -> Self {
        let keys = Jwks::open_with(source, key_settings).await.expect("a JWKS");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (seen, ready) = (Seen::default(), Arc::new(AtomicBool::new(true)));
        let probed = Arc::clone(&ready);
        let hook = |name: &'static str| {
            let seen = seen.clone();
            ClosingHook::new(name, async move { seen.add(name) })
        };
        let fake = BalanceServiceServer::new(Fake { seen: seen.clone() })
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(RESPONSE_BYTES_MAX);
        let parts = ServerParts {
            routes: Routes::new(fake),
            verifier: Arc::new(TokenVerifier::new(TokenRules::new(ISSUER, AUDIENCE), keys)),
            probe: health::probe(move || {
                let probed = Arc::clone(&probed);
                async move { probed.load(Ordering::SeqCst) }
            }),
            settings,
            closing: vec![hook("closed the writer"), hook("closed the pools")],
        };
        let shutdown = Shutdown::new();
        Self {
            address,
            served: tokio::spawn(serve(listeners(listener), parts, shutdown.clone())),
            shutdown,
            ready,
            seen,
            key: DevKey::generate().expect("a key"),
            _jwks: None,
        }
    }

    /// A good token with these scopes, as the value of `authorization`.
    pub(crate) fn bearer(&self, scope: &str) -> String {
        self.bearer_for(scope, Duration::from_secs(60))
    }

    /// A good token of an administrator who is a member of this enterprise.
    pub(crate) fn bearer_of(&self, enterprise: Uuid) -> String {
        let claims = DevClaims {
            sub: "somebody".into(),
            scope: "network-admin settlement_network_read".into(),
            enterprises: vec![enterprise],
            ..DevClaims::default()
        };
        let ttl = Duration::from_secs(60);
        format!("Bearer {}", self.key.mint(&claims, ttl).expect("signed"))
    }

    pub(crate) fn bearer_for(&self, scope: &str, ttl: Duration) -> String {
        let claims = DevClaims {
            sub: "somebody".into(),
            scope: scope.into(),
            ..DevClaims::default()
        };
        format!("Bearer {}", self.key.mint(&claims, ttl).expect("signed"))
    }

    pub(crate) async fn raw(&self) -> Raw {
        Raw::connect(self.address).await
    }

    pub(crate) async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address))
            .expect("a URI")
            .connect()
            .await
            .expect("connected")
    }

    /// Calls the fake write on a connection of its own.
    pub(crate) async fn adjust(&self, what: &str) -> crate::support::raw::Answer {
        let bearer = self.bearer("network-admin");
        self.raw()
            .await
            .call(ADJUST, &[("authorization", &bearer)], adjust(what))
            .await
    }

    /// Calls the fake read on a connection of its own.
    pub(crate) async fn list(&self, what: &str) -> crate::support::raw::Answer {
        let bearer = self.bearer("settlement_network_read");
        let request = ListClientBalancesRequest {
            enterprise_id: what.into(),
            ..ListClientBalancesRequest::default()
        };
        self.raw()
            .await
            .call(
                LIST,
                &[("authorization", &bearer)],
                crate::support::raw::frame(&request),
            )
            .await
    }
}

/// The body of a fake write.
pub(crate) fn adjust(what: &str) -> bytes::Bytes {
    crate::support::raw::frame(&AdjustBalanceRequest {
        external_id: what.into(),
        ..AdjustBalanceRequest::default()
    })
}

struct Fake {
    seen: Seen,
}

impl Fake {
    /// Performs what the call selects.
    async fn act(&self, call: &Call, what: &str) -> Result<(), Status> {
        self.seen.add(format!("began {what}"));
        match what {
            "panic" => panic!("as asked, secret"),
            "bare status" => return Err(Status::data_loss("secret")),
            "bare internal" => return Err(Status::internal("secret")),
            "sleep" => tokio::time::sleep(Duration::from_secs(20)).await,
            "sleep a little" => tokio::time::sleep(Duration::from_millis(300)).await,
            held if held.starts_with("hold") => self.seen.wait_for("let go").await,
            "take and sleep" => {
                assert!(call.claim.take());
                tokio::time::sleep(Duration::from_secs(20)).await;
            }
            "take and panic" => {
                assert!(call.claim.take());
                panic!("as asked, secret");
            }
            _ => {}
        }
        self.seen.add(format!("ended {what}"));
        Ok(())
    }
}

#[tonic::async_trait]
impl BalanceService for Fake {
    async fn adjust_balance(
        &self,
        request: Request<AdjustBalanceRequest>,
    ) -> Result<Response<AdjustBalanceResponse>, Status> {
        let call = request.extensions().get::<Call>().expect("layers").clone();
        let recorded = (call.clone(), request.metadata().clone());
        self.seen.calls.lock().expect("no panic").push(recorded);
        self.act(&call, &request.get_ref().external_id).await?;
        answer(request, async |_, message: AdjustBalanceRequest| {
            if message.external_id == "refuse" {
                return Err(Error::ClientExists {
                    enterprise: Uuid::nil().into(),
                    client: Uuid::nil().into(),
                    version: 1,
                });
            }
            Ok(Answer::fresh(AdjustBalanceResponse::default()))
        })
        .await
    }

    async fn list_client_balances(
        &self,
        request: Request<ListClientBalancesRequest>,
    ) -> Result<Response<ListClientBalancesResponse>, Status> {
        let call = request.extensions().get::<Call>().expect("layers").clone();
        let what = request.get_ref().enterprise_id.clone();
        self.act(&call, &what).await?;
        answer(request, async |_, _| {
            let long = match what.as_str() {
                "answer too much" => 5,
                "answer much" => 3,
                _ => 0,
            };
            Ok(Answer::fresh(ListClientBalancesResponse {
                client_id: "x".repeat(long * 1024 * 1024),
                ..ListClientBalancesResponse::default()
            }))
        })
        .await
    }

    async fn list_partner_balances(
        &self,
        _: Request<ListPartnerBalancesRequest>,
    ) -> Result<Response<ListPartnerBalancesResponse>, Status> {
        Err(Status::unimplemented("not faked"))
    }

    async fn get_balance(
        &self,
        _: Request<GetBalanceRequest>,
    ) -> Result<Response<GetBalanceResponse>, Status> {
        Err(Status::unimplemented("not faked"))
    }

    async fn list_entries(
        &self,
        _: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesResponse>, Status> {
        Err(Status::unimplemented("not faked"))
    }

    type VerifyLedgerStream = Answers<VerifyLedgerResponse>;

    async fn verify_ledger(
        &self,
        _: Request<VerifyLedgerRequest>,
    ) -> Result<Response<Self::VerifyLedgerStream>, Status> {
        Err(Status::unimplemented("not faked"))
    }
}
