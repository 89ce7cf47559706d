//! The service itself with one connection for its reads, so that a test can look at what they do there.

use std::sync::Arc;

use earmark::auth::caller::Caller;
use earmark::auth::scope::{self, Scope};
use earmark::cas::CasAllocationService;
use earmark::db::connect::Connector;
use earmark::db::pool::{self, Pool, PoolSettings};
use earmark::db::pools::Pools;
use earmark::proto::cas::v1::cas_allocation_service_server::CasAllocationService as _;
use earmark::rpc::call::Call;
use earmark::types::ids::FirmId;
use earmark::types::principal::Principal;
use tonic::Request;

use super::pb;
use crate::support::cluster::{TestDatabase, database};

pub(super) struct Asking {
    pub(super) db: TestDatabase,
    pub(super) pool: Pool,
    service: CasAllocationService,
    call: Call,
}

impl Asking {
    /// Asks for the firm `1`.
    pub(super) async fn start() -> Self {
        let db = database().await;
        let one = PoolSettings {
            max_size: 1,
            ..PoolSettings::default()
        };
        let pool = pool::open(Connector::new(&db.url).expect("a URL"), &one);
        let service = CasAllocationService::new(Pools::sharing(&pool));
        let path = "/earmark.cas.v1.CasAllocationService/SearchAllocations";
        let call = Call {
            rpc: scope::rpc(path).expect("a row"),
            caller: Arc::new(Caller {
                firm: Ok(FirmId("1".into())),
                ..Caller::with_scopes("somebody", &[Scope::AllocationsRead])
            }),
            principal: Principal::Server,
            request_id: "test".into(),
            claim: Default::default(),
        };
        Self {
            db,
            pool,
            service,
            call,
        }
    }

    pub(super) async fn search(
        &self,
        message: pb::SearchAllocationsRequest,
    ) -> pb::SearchAllocationsResponse {
        let mut request = Request::new(message);
        request.extensions_mut().insert(self.call.clone());
        let answer = self.service.search_allocations(request).await;
        answer.expect("found").into_inner()
    }
}
