//! The RPCs: convert in, authorise, call, convert out.

use tonic::{Request, Response, Status};

use crate::allocation::model::Record;
use crate::allocation::{convert, store};
use crate::db::pool::Pool;
use crate::db::standing::{require_client, require_licensed};
use crate::error::Error;
use crate::ledger::command::{Origin, Reply};
use crate::ledger::writer::Writer;
use crate::proto::allocation::v1 as pb;
use crate::proto::allocation::v1::allocation_service_server::AllocationService as Rpcs;
use crate::rpc::call::{Answer, answer};
use crate::rpc::paging;

/// The service.
#[derive(Clone, Debug)]
pub struct AllocationService {
    pool: Pool,
    writer: Writer,
}

impl AllocationService {
    /// Reads from the pool, writes through the writer.
    pub fn new(pool: Pool, writer: Writer) -> Self {
        Self { pool, writer }
    }
}

#[tonic::async_trait]
impl Rpcs for AllocationService {
    async fn create_allocation(
        &self,
        request: Request<pb::CreateAllocationRequest>,
    ) -> Result<Response<pb::CreateAllocationResponse>, Status> {
        answer(request, async |call, message| {
            let (enterprise, command) = convert::create(message, &call.caller)?;
            call.caller.require_member(enterprise)?;
            let Reply::Allocation(reply) = self.writer.submit(command, call.claim).await? else {
                return Err(Error::internal("a create was answered as something else"));
            };
            let replayed = reply.origin == Origin::Replayed;
            Ok(Answer::new(convert::created(*reply), replayed))
        })
        .await
    }

    async fn get_allocation(
        &self,
        request: Request<pb::GetAllocationRequest>,
    ) -> Result<Response<pb::GetAllocationResponse>, Status> {
        answer(request, async |call, message| {
            let (enterprise, id) = convert::get(&message)?;
            call.caller.require_member(enterprise)?;
            let (standing, record) = store::get(&self.pool, enterprise, id).await?;
            require_licensed(standing, enterprise)?;
            let record = record.ok_or(Error::AllocationNotFound(id))?;
            Ok(Answer::fresh(pb::GetAllocationResponse {
                allocation: Some(record.into()),
            }))
        })
        .await
    }

    async fn list_client_allocations(
        &self,
        request: Request<pb::ListClientAllocationsRequest>,
    ) -> Result<Response<pb::ListClientAllocationsResponse>, Status> {
        answer(request, async |call, message| {
            let (list, binding) = convert::list(call.rpc.path, message)?;
            call.caller.require_member(list.enterprise)?;
            let (standing, records) = store::list(&self.pool, &list).await?;
            require_client(standing, list.enterprise)?;
            let cursor = |record: &Record| list.order.cursor(record);
            let (allocations, next_page_token) =
                paging::finish(records, list.page.size, binding, 0, cursor, Into::into);
            Ok(Answer::fresh(pb::ListClientAllocationsResponse {
                allocations,
                next_page_token,
            }))
        })
        .await
    }
}
