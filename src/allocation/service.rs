//! The handlers: convert in, authorise, call, convert out.

use tonic::{Request, Response, Status};

use crate::allocation::convert;
use crate::allocation::model::List;
use crate::allocation::store::{self, AllocationKey, AllocationsById, FoundAllocation};
use crate::db::archive_end;
use crate::db::coalesce::Coalescer;
use crate::db::enterprise_status::{
    EnterpriseStatus, require_client, require_license, require_partner, require_partner_side,
};
use crate::db::pool::Pool;
use crate::db::pools::Pools;
use crate::error::{Error, RecordName, Result};
use crate::ledger::account::OwnerKind;
use crate::ledger::engine::Writer;
use crate::ledger::expiry::release_due;
use crate::ledger::kind::{Command, Origin};
use crate::ledger::oes::model::AllocationRecord;
use crate::ledger::oes::request::{AllocationReply, CloseAllocation, PartnerSide};
use crate::proto::allocation::v1 as pb;
use crate::proto::allocation::v1::allocation_service_server::AllocationService as Rpcs;
use crate::rpc::call::{Answer, Call, answer};
use crate::rpc::page_token::Binding;
use crate::rpc::paging;
use crate::types::ids::{AllocationId, EnterpriseId};
use crate::types::principal::Principal;

/// Reserves value for partners, takes their verdicts, and lists the records of both sides.
#[derive(Clone, Debug)]
pub struct AllocationService {
    pools: Pools,
    records: Coalescer<AllocationKey, FoundAllocation>,
    writer: Writer,
}

impl AllocationService {
    /// Reads from the pools, writes through the writer.
    pub fn new(pools: Pools, writer: Writer) -> Self {
        Self {
            records: Coalescer::start(AllocationsById(pools.by_id.clone())),
            pools,
            writer,
        }
    }

    /// The client's enterprise, which owns the value of a partner's verdict: the connection leads to it. Refuses an
    /// enterprise that is no side of the connection.
    async fn owner_of(&self, principal: Principal, partner: &PartnerSide) -> Result<EnterpriseId> {
        let (enterprise, connection) = (partner.enterprise, partner.connection);
        let pool = self.pools.by_key.on_behalf_of(principal);
        let (status, client) = store::route(&pool, enterprise, connection).await?;
        let Some(client) = client else {
            require_partner_side(status, enterprise)?;
            return Err(Error::ConnectionNotFound(connection));
        };
        Ok(client)
    }

    /// Carries out a verdict. Where there is no such record for the caller, and there may have been one that is archived by
    /// now, that is the error, whether or not there was one.
    async fn carry_out(
        &self,
        command: Command<CloseAllocation>,
        call: Call,
    ) -> Result<AllocationReply> {
        let result = self.writer.submit(command, call.claim).await;
        let (Err(Error::AllocationNotFound(id))
        | Err(Error::AllocationNotOnConnection {
            allocation: id,
            found_on: None,
            ..
        })) = result
        else {
            return result;
        };
        let pool = self.pools.by_key.on_behalf_of(call.principal);
        match archive_end::covering(&pool, id).await? {
            Some(since) => Err(Error::Archived {
                record: Some(RecordName::Id(id.to_string())),
                since,
            }),
            None => result,
        }
    }

    /// The error for a record that the enterprise does not have on line.
    async fn missing(&self, principal: Principal, id: AllocationId) -> Error {
        let pool = self.pools.by_key.on_behalf_of(principal);
        match archive_end::covering(&pool, id).await {
            Ok(Some(since)) => Error::HistoryArchived {
                field: "allocation_id",
                id: Some(id),
                since,
            },
            Ok(None) => Error::AllocationNotFound(id),
            Err(error) => error,
        }
    }

    /// A page of a list, after the reservations of it that had expired have been released.
    async fn page(
        &self,
        pool: &Pool,
        list: &List,
        binding: Binding,
        authorise: impl Fn(Option<EnterpriseStatus>) -> Result<()>,
    ) -> Result<(Vec<pb::Allocation>, String)> {
        let mut read = store::list(pool, list, None).await?;
        authorise(read.enterprise)?;
        let clock = read.enterprise.map(|status| status.clock);
        while release_due(&self.writer, OwnerKind::Enterprise, &read.expired).await? {
            read = store::list(pool, list, clock).await?;
        }
        if let Some((field, first)) = list.window_begin() {
            // After the records: what was archived since they were read is missing among them at most.
            let since = archive_end::read(pool).await?;
            if let Some(since) = since.filter(|since| first < *since) {
                let id = None;
                return Err(Error::HistoryArchived { field, id, since });
            }
        }
        let cursor = |record: &AllocationRecord| list.order.cursor(record);
        paging::finish(read.records, &list.page, binding, 0, cursor, Into::into)
    }
}

#[tonic::async_trait]
impl Rpcs for AllocationService {
    async fn create_allocation(
        &self,
        request: Request<pb::CreateAllocationRequest>,
    ) -> Result<Response<pb::CreateAllocationResponse>, Status> {
        answer(request, async |call, message| {
            let (enterprise, command) = convert::create_allocation(message, &call.caller)?;
            call.caller.require_member(enterprise)?;
            let reply = self.writer.submit(command, call.claim).await?;
            let message = pb::CreateAllocationResponse {
                allocation: Some(convert::record(reply.allocation)),
                custody_balance: Some(reply.custody.into()),
                connection_balance: Some(reply.connection.into()),
            };
            Ok(Answer::new(message, reply.origin == Origin::Replayed))
        })
        .await
    }

    async fn create_deallocation(
        &self,
        request: Request<pb::CreateDeallocationRequest>,
    ) -> Result<Response<pb::CreateDeallocationResponse>, Status> {
        answer(request, async |call, message| {
            let (enterprise, command) = convert::create_deallocation(message, &call.caller)?;
            call.caller.require_member(enterprise)?;
            let reply = self.writer.submit(command, call.claim).await?;
            let message = pb::CreateDeallocationResponse {
                allocation: Some(convert::record(reply.allocation)),
                custody_balance: Some(reply.custody.into()),
                connection_balance: Some(reply.connection.into()),
            };
            Ok(Answer::new(message, reply.origin == Origin::Replayed))
        })
        .await
    }

    async fn submit_allocations(
        &self,
        request: Request<pb::SubmitAllocationsRequest>,
    ) -> Result<Response<pb::SubmitAllocationsResponse>, Status> {
        answer(request, async |call, message| {
            let submission = convert::submit(message, &call.caller)?;
            call.caller.require_member(submission.enterprise)?;
            let judged = self.writer.submit(submission.command, call.claim).await?;
            Ok(Answer::fresh(convert::submitted(submission.errors, judged)))
        })
        .await
    }

    async fn clear_allocation(
        &self,
        request: Request<pb::ClearAllocationRequest>,
    ) -> Result<Response<pb::ClearAllocationResponse>, Status> {
        answer(request, async |call, message| {
            let verdict = convert::clear(message)?;
            call.caller.require_member(verdict.partner.enterprise)?;
            let owner = self.owner_of(call.principal, &verdict.partner).await?;
            let reply = self.carry_out(verdict.command(owner), call).await?;
            // A partner's answer has no balance of the client's custody.
            let message = pb::ClearAllocationResponse {
                allocation: Some(convert::record(reply.allocation)),
                connection_balance: Some(reply.connection.into()),
            };
            Ok(Answer::new(message, reply.origin == Origin::Replayed))
        })
        .await
    }

    async fn release_allocation(
        &self,
        request: Request<pb::ReleaseAllocationRequest>,
    ) -> Result<Response<pb::ReleaseAllocationResponse>, Status> {
        answer(request, async |call, message| {
            let verdict = convert::release(message)?;
            call.caller.require_member(verdict.partner.enterprise)?;
            let owner = self.owner_of(call.principal, &verdict.partner).await?;
            let reply = self.carry_out(verdict.command(owner), call).await?;
            // A partner's answer has no balance of the client's custody.
            let message = pb::ReleaseAllocationResponse {
                allocation: Some(convert::record(reply.allocation)),
                connection_balance: Some(reply.connection.into()),
            };
            Ok(Answer::new(message, reply.origin == Origin::Replayed))
        })
        .await
    }

    async fn cancel_allocation(
        &self,
        request: Request<pb::CancelAllocationRequest>,
    ) -> Result<Response<pb::CancelAllocationResponse>, Status> {
        answer(request, async |call, message| {
            let (enterprise, command) = convert::cancel(message)?;
            call.caller.require_member(enterprise)?;
            let reply = self.carry_out(command, call).await?;
            let message = pb::CancelAllocationResponse {
                allocation: Some(convert::record(reply.allocation)),
                custody_balance: Some(reply.custody.into()),
                connection_balance: Some(reply.connection.into()),
            };
            Ok(Answer::new(message, reply.origin == Origin::Replayed))
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
            let key = AllocationKey { enterprise, id };
            let mut found = self.records.read(call.principal, key).await?;
            require_license(found.licensed, enterprise)?;
            if release_due(&self.writer, OwnerKind::Enterprise, &found.expired).await? {
                found = self.records.read(call.principal, key).await?;
            }
            let Some(record) = found.record else {
                return Err(self.missing(call.principal, id).await);
            };
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
            let (list, binding) = convert::client_list(call.rpc.path, message)?;
            call.caller.require_member(list.enterprise)?;
            let authorise = |status| require_client(status, list.enterprise).map(|_| ());
            let pool = self.pools.list.on_behalf_of(call.principal);
            let (allocations, next_page_token) =
                self.page(&pool, &list, binding, authorise).await?;
            Ok(Answer::fresh(pb::ListClientAllocationsResponse {
                allocations,
                next_page_token,
            }))
        })
        .await
    }

    async fn list_partner_allocations(
        &self,
        request: Request<pb::ListPartnerAllocationsRequest>,
    ) -> Result<Response<pb::ListPartnerAllocationsResponse>, Status> {
        answer(request, async |call, message| {
            let (list, binding) = convert::partner_list(call.rpc.path, message)?;
            call.caller.require_member(list.enterprise)?;
            let authorise = |status| require_partner(status, list.enterprise).map(|_| ());
            let pool = self.pools.list.on_behalf_of(call.principal);
            let (allocations, next_page_token) =
                self.page(&pool, &list, binding, authorise).await?;
            Ok(Answer::fresh(pb::ListPartnerAllocationsResponse {
                allocations,
                next_page_token,
            }))
        })
        .await
    }
}
