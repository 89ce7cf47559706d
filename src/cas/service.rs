//! The handlers: convert in, authorise, call, convert out. The firm of a write is asked for as its command is made.

use tonic::{Request, Response, Status};

use crate::cas::convert;
use crate::cas::model::{Write, Written};
use crate::cas::search::Cursor;
use crate::cas::store::{self, Turns};
use crate::db::pool::Pool;
use crate::error::{Error, Result};
use crate::proto::cas::v1 as pb;
use crate::proto::cas::v1::cas_allocation_service_server::CasAllocationService as Rpcs;
use crate::rpc::call::{Answer, Call, answer};
use crate::rpc::paging;
use crate::types::ids::OwnerId;

/// Manages the allocations of book building.
#[derive(Clone, Debug)]
pub struct CasAllocationService {
    pool: Pool,
    turns: Turns,
}

impl CasAllocationService {
    /// A service on the database that the pool leads to.
    pub fn new(pool: Pool) -> Self {
        let turns = Turns::new();
        Self { pool, turns }
    }

    async fn write(&self, call: &Call, write: Write) -> Result<Written> {
        store::carry_out(&self.pool, &self.turns, &call.claim, write).await
    }
}

type Answered<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Rpcs for CasAllocationService {
    async fn search_allocations(
        &self,
        request: Request<pb::SearchAllocationsRequest>,
    ) -> Answered<pb::SearchAllocationsResponse> {
        answer(request, async |call, message| {
            let asked = convert::search(&call, message)?;
            let firm = OwnerId::of_firm(call.caller.require_firm()?);
            let search = &asked.search;
            let found = store::search(&self.pool, firm, search).await?;
            let (allocations, next_page_token) = paging::finish(
                found.records,
                search.page.size,
                asked.binding,
                0,
                |record| Cursor::of(record, &search.order),
                |record| convert::show(record, &asked.view),
            );
            Ok(Answer::fresh(pb::SearchAllocationsResponse {
                allocations,
                page: asked.number,
                page_size: i32::try_from(search.page.size).unwrap_or(i32::MAX),
                total_count: found.total,
                next_page_token,
            }))
        })
        .await
    }

    async fn get_allocation(
        &self,
        request: Request<pb::GetAllocationRequest>,
    ) -> Answered<pb::GetAllocationResponse> {
        answer(request, async |call, message| {
            let id = convert::get(&message)?;
            let firm = OwnerId::of_firm(call.caller.require_firm()?);
            let found = store::get(&self.pool, firm, id).await?;
            let record = found.ok_or_else(|| Error::CasAllocationNotFound(id.to_string()))?;
            let allocation = Some(record.into());
            Ok(Answer::fresh(pb::GetAllocationResponse { allocation }))
        })
        .await
    }

    async fn create_allocation(
        &self,
        request: Request<pb::CreateAllocationRequest>,
    ) -> Answered<pb::CreateAllocationResponse> {
        answer(request, async |call, message| {
            let written = self.write(&call, convert::create(&call, message)?).await?;
            let allocation = Some(written.record.into());
            let message = pb::CreateAllocationResponse { allocation };
            Ok(Answer::new(message, written.replayed))
        })
        .await
    }

    async fn update_allocation(
        &self,
        request: Request<pb::UpdateAllocationRequest>,
    ) -> Answered<pb::UpdateAllocationResponse> {
        answer(request, async |call, message| {
            let written = self.write(&call, convert::update(&call, message)?).await?;
            let allocation = Some(written.record.into());
            let message = pb::UpdateAllocationResponse { allocation };
            Ok(Answer::new(message, written.replayed))
        })
        .await
    }

    async fn patch_allocation(
        &self,
        request: Request<pb::PatchAllocationRequest>,
    ) -> Answered<pb::PatchAllocationResponse> {
        answer(request, async |call, message| {
            let written = self.write(&call, convert::patch(&call, message)?).await?;
            let allocation = Some(written.record.into());
            let message = pb::PatchAllocationResponse { allocation };
            Ok(Answer::new(message, written.replayed))
        })
        .await
    }

    async fn delete_allocation(
        &self,
        request: Request<pb::DeleteAllocationRequest>,
    ) -> Answered<pb::DeleteAllocationResponse> {
        answer(request, async |call, message| {
            self.write(&call, convert::delete(&call, message)?).await?;
            Ok(Answer::fresh(pb::DeleteAllocationResponse {}))
        })
        .await
    }

    async fn delete_allocation_by_source_id(
        &self,
        request: Request<pb::DeleteAllocationBySourceIdRequest>,
    ) -> Answered<pb::DeleteAllocationBySourceIdResponse> {
        answer(request, async |call, message| {
            let write = convert::delete_by_source_id(&call, message)?;
            self.write(&call, write).await?;
            Ok(Answer::fresh(pb::DeleteAllocationBySourceIdResponse {}))
        })
        .await
    }
}
