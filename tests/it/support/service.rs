//! Calls of services without a server: the test supplies the caller that the authorisation layer would have
//! found in the token.

use std::sync::Arc;

use earmark::auth::caller::Caller;
use earmark::auth::scope::{self, Scope};
use earmark::db::connect::Connector;
use earmark::db::pool::{self, Pool, PoolSettings};
use earmark::db::pools::Pools;
use earmark::ledger::claim::Claim;
use earmark::ledger::engine::{Writer, WriterSettings};
use earmark::network::NetworkService;
use earmark::proto::network::v1 as pb;
use earmark::proto::network::v1::network_service_server::NetworkService as _;
use earmark::rpc::call::Call;
use earmark::types::ids::EnterpriseId;
use earmark::types::principal::Principal;
use tokio_postgres::Client;
use tonic::{Request, Response, Status};
use tonic_types::StatusExt as _;

use crate::support::cluster::{TestDatabase, as_server, database};

/// Services on a database of the test's own.
pub(crate) struct Services {
    pub(crate) db: TestDatabase,
    pub(crate) pool: Pool,
    network: NetworkService,
}

impl Services {
    pub(crate) async fn start() -> Self {
        Self::with_pool(&PoolSettings::default()).await
    }

    pub(crate) async fn with_pool(settings: &PoolSettings) -> Self {
        let db = database().await;
        let connector = Connector::new(&as_server(&db.url)).expect("a URL");
        let pool = pool::open(connector, settings);
        let network = NetworkService::new(Pools::sharing(&pool));
        Self { db, pool, network }
    }

    /// NetworkService as this caller.
    pub(crate) fn network(&self, caller: Caller) -> NetworkClient {
        NetworkClient {
            service: self.network.clone(),
            caller: Arc::new(caller),
            claim: None,
        }
    }

    /// NetworkService as an administrator.
    pub(crate) fn admin(&self) -> NetworkClient {
        self.network(admin())
    }

    /// A database connection to look at what is stored.
    pub(crate) async fn sql(&self) -> Client {
        let connector = Connector::new(&self.db.url).expect("a URL");
        connector.connect().await.expect("a connection").0
    }

    /// The single number that a query returns.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let row = self.sql().await.query_one(sql, &[]).await;
        row.expect(sql).get(0)
    }
}

/// A pool of one connection, so that a test can look at the statements that a service prepares on it.
pub(crate) fn on_one_connection(url: &str) -> (Connector, Pool, Writer) {
    let connector = Connector::new(&as_server(url)).expect("a URL");
    let one = PoolSettings {
        max_size: 1,
        ..PoolSettings::default()
    };
    let pool = pool::open(connector.clone(), &one);
    let (writer, _writing) =
        Writer::start(&connector, &WriterSettings::default()).expect("started");
    (connector, pool, writer)
}

/// A caller with the scope `network-admin`.
pub(crate) fn admin() -> Caller {
    Caller::with_scopes("admin", &[Scope::NetworkAdmin])
}

/// A caller with the scope `settlement_network_read` and these memberships.
pub(crate) fn member(enterprises: &[&str]) -> Caller {
    let enterprises = enterprises
        .iter()
        .map(|id| EnterpriseId(id.parse().expect("a UUID")));
    Caller {
        enterprises: Ok(enterprises.collect()),
        ..Caller::with_scopes("member", &[Scope::NetworkRead])
    }
}

/// Calls NetworkService as one caller. Its methods are those of the generated client.
#[derive(Clone)]
pub(crate) struct NetworkClient {
    service: NetworkService,
    caller: Arc<Caller>,
    claim: Option<Claim>,
}

impl NetworkClient {
    /// The same with a claim that the test controls.
    pub(crate) fn with_claim(self, claim: Claim) -> Self {
        Self {
            claim: Some(claim),
            ..self
        }
    }

    fn request<M>(&self, method: &str, message: M) -> Request<M> {
        let path = format!("/earmark.network.v1.NetworkService/{method}");
        let mut request = Request::new(message);
        request.extensions_mut().insert(Call {
            rpc: scope::rpc(&path).expect("an RPC of the table"),
            caller: Arc::clone(&self.caller),
            principal: Principal::Server,
            request_id: "test".into(),
            claim: self.claim.clone().unwrap_or_default(),
        });
        request
    }
}

macro_rules! methods {
    ($($method:ident($name:literal): $request:ident -> $response:ident;)*) => {
        impl NetworkClient {
            $(pub(crate) async fn $method(
                &self,
                message: pb::$request,
            ) -> Result<Response<pb::$response>, Status> {
                self.service.$method(self.request($name, message)).await
            })*
        }
    };
}

methods! {
    create_enterprise("CreateEnterprise"): CreateEnterpriseRequest -> CreateEnterpriseResponse;
    get_enterprise("GetEnterprise"): GetEnterpriseRequest -> GetEnterpriseResponse;
    update_enterprise("UpdateEnterprise"): UpdateEnterpriseRequest -> UpdateEnterpriseResponse;
    list_enterprises("ListEnterprises"): ListEnterprisesRequest -> ListEnterprisesResponse;
    create_client("CreateClient"): CreateClientRequest -> CreateClientResponse;
    update_client("UpdateClient"): UpdateClientRequest -> UpdateClientResponse;
    get_client("GetClient"): GetClientRequest -> GetClientResponse;
    create_partner("CreatePartner"): CreatePartnerRequest -> CreatePartnerResponse;
    update_partner("UpdatePartner"): UpdatePartnerRequest -> UpdatePartnerResponse;
    get_partner("GetPartner"): GetPartnerRequest -> GetPartnerResponse;
    list_partners("ListPartners"): ListPartnersRequest -> ListPartnersResponse;
    create_connection("CreateConnection"): CreateConnectionRequest -> CreateConnectionResponse;
    get_connection("GetConnection"): GetConnectionRequest -> GetConnectionResponse;
    update_connection("UpdateConnection"): UpdateConnectionRequest -> UpdateConnectionResponse;
    list_connections("ListConnections"): ListConnectionsRequest -> ListConnectionsResponse;
}

/// Whether an answer says that it repeats an earlier one.
pub(crate) fn is_replayed<T>(response: &Response<T>) -> bool {
    response.metadata().get("earmark-replayed").is_some()
}

/// The reason in an error's details.
#[track_caller]
pub(crate) fn reason<T>(result: Result<T, Status>) -> String {
    let Err(status) = result else {
        panic!("an error was expected");
    };
    let info = status.get_details_error_info().expect("an ErrorInfo");
    assert_eq!(info.domain, "earmark");
    info.reason
}

/// A value in the metadata of an error's details.
#[track_caller]
pub(crate) fn detail(status: &Status, key: &str) -> Option<String> {
    let info = status.get_details_error_info().expect("an ErrorInfo");
    info.metadata.get(key).cloned()
}

/// The fields that an error of arguments names.
#[track_caller]
pub(crate) fn fields<T>(result: Result<T, Status>) -> Vec<String> {
    let Err(status) = result else {
        panic!("an error was expected");
    };
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
    let bad_request = status.get_details_bad_request().expect("a BadRequest");
    let violations = bad_request.field_violations;
    violations.into_iter().map(|v| v.field).collect()
}
