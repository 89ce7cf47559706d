//! The handlers of CasAllocationService. Each converts the request, authorises the caller, calls the store
//! and converts the result.

use tonic::{Request, Response, Status};

use crate::cas::convert;
use crate::cas::search::Cursor;
use crate::cas::store::{self, RecordLocks};
use crate::cas::write::CasAuthor;
use crate::db::pools::Pools;
use crate::error::{Error, Result};
use crate::proto::cas::v1 as pb;
use crate::proto::cas::v1::cas_allocation_service_server::CasAllocationService as Rpcs;
use crate::rpc::call::{Answer, Call, answer};
use crate::rpc::paging;
use crate::types::ids::OwnerId;

/// The service that searches and writes allocations of book building.
#[derive(Clone, Debug)]
pub struct CasAllocationService {
    pools: Pools,
    locks: RecordLocks,
}

impl CasAllocationService {
    /// Creates the service. It reads and writes through connections of these pools.
    pub fn new(pools: Pools) -> Self {
        let locks = RecordLocks::new();
        Self { pools, locks }
    }
}

/// The firm whose records the caller may read and change.
fn require_firm(call: &Call) -> Result<OwnerId> {
    call.caller.require_firm().map(OwnerId::of_firm)
}

/// The author of a write that the caller may make.
fn require_author(call: &Call) -> Result<CasAuthor> {
    Ok(CasAuthor {
        firm: require_firm(call)?,
        subject: call.caller.subject.clone(),
    })
}

#[tonic::async_trait]
impl Rpcs for CasAllocationService {
    async fn search_allocations(
        &self,
        request: Request<pb::SearchAllocationsRequest>,
    ) -> Result<Response<pb::SearchAllocationsResponse>, Status> {
        answer(request, async |call, message| {
            let request = convert::search(&call, message)?;
            let firm = require_firm(&call)?;
            let search = &request.search;
            let pool = self.pools.search.on_behalf_of(call.principal);
            let found = store::search(&pool, firm, search).await?;
            let total = found.total.or(request.total_of_token);
            let (allocations, next_page_token) = paging::finish(
                found.records,
                &search.page,
                request.binding,
                0,
                |record| Cursor::of(record, &search.order, total),
                |record| convert::to_message(record, &request.view),
            )?;
            Ok(Answer::fresh(pb::SearchAllocationsResponse {
                allocations,
                page: request.page_number,
                page_size: i32::try_from(search.page.size).unwrap_or(i32::MAX),
                total_count: total,
                next_page_token,
            }))
        })
        .await
    }

    async fn get_allocation(
        &self,
        request: Request<pb::GetAllocationRequest>,
    ) -> Result<Response<pb::GetAllocationResponse>, Status> {
        answer(request, async |call, message| {
            let id = convert::get(&message)?;
            let firm = require_firm(&call)?;
            let pool = self.pools.by_key.on_behalf_of(call.principal);
            let found = store::get(&pool, firm, id).await?;
            let record = found.ok_or_else(|| Error::CasAllocationNotFound(id.to_string()))?;
            let allocation = Some(record.into());
            Ok(Answer::fresh(pb::GetAllocationResponse { allocation }))
        })
        .await
    }

    async fn create_allocation(
        &self,
        request: Request<pb::CreateAllocationRequest>,
    ) -> Result<Response<pb::CreateAllocationResponse>, Status> {
        answer(request, async |call, message| {
            let request = convert::create(call.rpc.path, message)?;
            let write = request.authored_by(require_author(&call)?);
            let pool = self.pools.records.on_behalf_of(call.principal);
            let written = store::create(&pool, &call.claim, write).await?;
            let allocation = Some(written.record.into());
            let message = pb::CreateAllocationResponse { allocation };
            Ok(Answer::new(message, written.replayed))
        })
        .await
    }

    async fn update_allocation(
        &self,
        request: Request<pb::UpdateAllocationRequest>,
    ) -> Result<Response<pb::UpdateAllocationResponse>, Status> {
        answer(request, async |call, message| {
            let request = convert::update(call.rpc.path, message)?;
            let write = request.authored_by(require_author(&call)?);
            let pool = self.pools.records.on_behalf_of(call.principal);
            let written = store::change(&pool, &self.locks, &call.claim, write).await?;
            let message = pb::UpdateAllocationResponse {
                allocation: Some(written.record.record.into()),
                created: written.record.is_created,
            };
            Ok(Answer::new(message, written.replayed))
        })
        .await
    }

    async fn patch_allocation(
        &self,
        request: Request<pb::PatchAllocationRequest>,
    ) -> Result<Response<pb::PatchAllocationResponse>, Status> {
        answer(request, async |call, message| {
            let request = convert::patch(call.rpc.path, message)?;
            let write = request.authored_by(require_author(&call)?);
            let pool = self.pools.records.on_behalf_of(call.principal);
            let written = store::change(&pool, &self.locks, &call.claim, write).await?;
            let allocation = Some(written.record.record.into());
            let message = pb::PatchAllocationResponse { allocation };
            Ok(Answer::new(message, written.replayed))
        })
        .await
    }

    async fn delete_allocation(
        &self,
        request: Request<pb::DeleteAllocationRequest>,
    ) -> Result<Response<pb::DeleteAllocationResponse>, Status> {
        answer(request, async |call, message| {
            let request = convert::delete(call.rpc.path, message)?;
            let write = request.authored_by(require_author(&call)?);
            let pool = self.pools.records.on_behalf_of(call.principal);
            store::change(&pool, &self.locks, &call.claim, write).await?;
            Ok(Answer::fresh(pb::DeleteAllocationResponse {}))
        })
        .await
    }

    async fn delete_allocation_by_source_id(
        &self,
        request: Request<pb::DeleteAllocationBySourceIdRequest>,
    ) -> Result<Response<pb::DeleteAllocationBySourceIdResponse>, Status> {
        answer(request, async |call, message| {
            let request = convert::delete_by_source_id(call.rpc.path, message)?;
            let write = request.authored_by(require_author(&call)?);
            let pool = self.pools.records.on_behalf_of(call.principal);
            store::change(&pool, &self.locks, &call.claim, write).await?;
            Ok(Answer::fresh(pb::DeleteAllocationBySourceIdResponse {}))
        })
        .await
    }
}
