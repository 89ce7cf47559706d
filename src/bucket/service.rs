//! The handlers: convert in, authorise, call, convert out.

use tonic::{Request, Response, Status};

use crate::bucket::model::{Accumulated, BucketActionRecord, BucketRead, BucketRecord};
use crate::bucket::{convert, store};
use crate::db::pools::Pools;
use crate::error::{Error, Result};
use crate::ledger::account::OwnerKind;
use crate::ledger::bucket::request::BucketRequest;
use crate::ledger::engine::Writer;
use crate::ledger::expiry::release_due;
use crate::ledger::kind::{Command, Origin};
use crate::proto::bucket::v1 as pb;
use crate::proto::bucket::v1::bucket_service_server::BucketService as Rpcs;
use crate::rpc::call::{Answer, Call, TOTAL_COUNT, answer};
use crate::rpc::paging;
use crate::types::ids::OwnerId;
use crate::types::time::Time;

/// Metadata of a list: the number of records in the answer.
const RESULT_COUNT: &str = "x-result-count";

/// What the answer of every write has.
struct BucketAnswer {
    /// None where no value was to be moved.
    action: Option<pb::BalanceAction>,
    bucket: Option<pb::Bucket>,
    replayed: bool,
}

/// Creates buckets, moves their value, and lists both.
#[derive(Clone, Debug)]
pub struct BucketService {
    pools: Pools,
    writer: Writer,
}

impl BucketService {
    /// Reads from the pools, writes through the writer.
    pub fn new(pools: Pools, writer: Writer) -> Self {
        Self { pools, writer }
    }

    /// Reads until nothing that is shown had expired when it was first read.
    async fn read<T, F>(&self, read: impl Fn(Option<Time>) -> F) -> Result<T>
    where
        F: Future<Output = Result<BucketRead<T>>>,
    {
        let mut result = read(None).await?;
        loop {
            result.expired.sort_unstable();
            result.expired.dedup();
            if !release_due(&self.writer, OwnerKind::Bucket, &result.expired).await? {
                return Ok(result.found);
            }
            result = read(result.clock).await?;
        }
    }

    /// Carries out a command on one bucket.
    async fn carry_out(&self, command: Command<BucketRequest>, call: Call) -> Result<BucketAnswer> {
        let reply = self.writer.submit(command, call.claim).await?;
        let bucket = BucketRecord::try_from(&reply)?;
        let action = reply.action.map(BucketActionRecord::try_from).transpose()?;
        Ok(BucketAnswer {
            action: action.map(Into::into),
            bucket: Some(convert::base(bucket)),
            replayed: reply.origin == Origin::Replayed,
        })
    }
}

#[tonic::async_trait]
impl Rpcs for BucketService {
    async fn list_buckets(
        &self,
        request: Request<pb::ListBucketsRequest>,
    ) -> Result<Response<pb::ListBucketsResponse>, Status> {
        answer(request, async |call, message| {
            let (list, view, binding) =
                convert::list(call.rpc.path, call.caller.require_tenant().ok(), message)?;
            let tenant = call.caller.require_tenant()?;
            let pool = self.pools.list.on_behalf_of(call.principal);
            let listed = self
                .read(|clock| store::buckets(&pool, tenant, &list, clock))
                .await?;
            let (buckets, next_page_token) = paging::finish(
                listed.records,
                &list.page,
                binding,
                0,
                BucketRecord::cursor,
                |record| view.show(record),
            )?;
            let count = buckets.len();
            let message = pb::ListBucketsResponse {
                result_count: i32::try_from(count).unwrap_or(i32::MAX),
                total_count: listed.total,
                buckets,
                next_page_token,
            };
            Ok(Answer::fresh(message)
                .with_count(RESULT_COUNT, count as u64)
                .with_count(TOTAL_COUNT, listed.total.unsigned_abs()))
        })
        .await
    }

    async fn get_bucket(
        &self,
        request: Request<pb::GetBucketRequest>,
    ) -> Result<Response<pb::GetBucketResponse>, Status> {
        answer(request, async |call, message| {
            let (id, view) = convert::get(&message)?;
            let tenant = call.caller.require_tenant()?;
            let owner = OwnerId::of_bucket(tenant, &id);
            let pool = self.pools.by_key.on_behalf_of(call.principal);
            let found = self
                .read(|clock| store::bucket(&pool, owner, clock))
                .await?;
            let record = found.ok_or(Error::BucketNotFound(id))?;
            Ok(Answer::fresh(pb::GetBucketResponse {
                bucket: Some(view.show(record)),
            }))
        })
        .await
    }

    async fn create_bucket(
        &self,
        request: Request<pb::CreateBucketRequest>,
    ) -> Result<Response<pb::CreateBucketResponse>, Status> {
        answer(request, async |call, message| {
            let command = convert::create(message, &call.caller)?;
            let tenant = call.caller.require_tenant()?;
            let reply = self.carry_out(command(tenant), call).await?;
            let bucket = reply.bucket;
            let message = pb::CreateBucketResponse { bucket };
            Ok(Answer::new(message, reply.replayed))
        })
        .await
    }

    async fn update_bucket(
        &self,
        request: Request<pb::UpdateBucketRequest>,
    ) -> Result<Response<pb::UpdateBucketResponse>, Status> {
        answer(request, async |call, message| {
            let command = convert::update(message, &call.caller)?;
            let tenant = call.caller.require_tenant()?;
            let reply = self.carry_out(command(tenant), call).await?;
            let bucket = reply.bucket;
            let message = pb::UpdateBucketResponse { bucket };
            Ok(Answer::new(message, reply.replayed))
        })
        .await
    }

    async fn close_bucket(
        &self,
        request: Request<pb::CloseBucketRequest>,
    ) -> Result<Response<pb::CloseBucketResponse>, Status> {
        answer(request, async |call, message| {
            let command = convert::close(&message, &call.caller)?;
            let tenant = call.caller.require_tenant()?;
            let reply = self.carry_out(command(tenant), call).await?;
            let message = pb::CloseBucketResponse {
                balance_action: reply.action,
                bucket: reply.bucket,
            };
            Ok(Answer::new(message, reply.replayed))
        })
        .await
    }

    async fn topup_balance(
        &self,
        request: Request<pb::TopupBalanceRequest>,
    ) -> Result<Response<pb::TopupBalanceResponse>, Status> {
        answer(request, async |call, message| {
            let command = convert::topup(&message, &call.caller)?;
            let tenant = call.caller.require_tenant()?;
            let reply = self.carry_out(command(tenant), call).await?;
            let message = pb::TopupBalanceResponse {
                balance_action: reply.action,
                bucket: reply.bucket,
            };
            Ok(Answer::new(message, reply.replayed))
        })
        .await
    }

    async fn adjust_balance(
        &self,
        request: Request<pb::AdjustBalanceRequest>,
    ) -> Result<Response<pb::AdjustBalanceResponse>, Status> {
        answer(request, async |call, message| {
            let command = convert::adjust(&message, &call.caller)?;
            let tenant = call.caller.require_tenant()?;
            let reply = self.carry_out(command(tenant), call).await?;
            let message = pb::AdjustBalanceResponse {
                balance_action: reply.action,
                bucket: reply.bucket,
            };
            Ok(Answer::new(message, reply.replayed))
        })
        .await
    }

    async fn transfer_balance(
        &self,
        request: Request<pb::TransferBalanceRequest>,
    ) -> Result<Response<pb::TransferBalanceResponse>, Status> {
        answer(request, async |call, message| {
            let command = convert::transfer(&message, &call.caller)?;
            let tenant = call.caller.require_tenant()?;
            let reply = self.carry_out(command(tenant), call).await?;
            let message = pb::TransferBalanceResponse {
                balance_action: reply.action,
                bucket: reply.bucket,
            };
            Ok(Answer::new(message, reply.replayed))
        })
        .await
    }

    async fn reserve_balance(
        &self,
        request: Request<pb::ReserveBalanceRequest>,
    ) -> Result<Response<pb::ReserveBalanceResponse>, Status> {
        answer(request, async |call, message| {
            let command = convert::reserve(&message, &call.caller)?;
            let tenant = call.caller.require_tenant()?;
            let reply = self.carry_out(command(tenant), call).await?;
            let message = pb::ReserveBalanceResponse {
                balance_action: reply.action,
                bucket: reply.bucket,
            };
            Ok(Answer::new(message, reply.replayed))
        })
        .await
    }

    async fn unreserve_balance(
        &self,
        request: Request<pb::UnreserveBalanceRequest>,
    ) -> Result<Response<pb::UnreserveBalanceResponse>, Status> {
        answer(request, async |call, message| {
            let command = convert::unreserve(&message, &call.caller)?;
            let tenant = call.caller.require_tenant()?;
            let reply = self.carry_out(command(tenant), call).await?;
            let message = pb::UnreserveBalanceResponse {
                balance_action: reply.action,
                bucket: reply.bucket,
            };
            Ok(Answer::new(message, reply.replayed))
        })
        .await
    }

    async fn deduct_balance(
        &self,
        request: Request<pb::DeductBalanceRequest>,
    ) -> Result<Response<pb::DeductBalanceResponse>, Status> {
        answer(request, async |call, message| {
            let command = convert::deduct(&message, &call.caller)?;
            let tenant = call.caller.require_tenant()?;
            let reply = self.carry_out(command(tenant), call).await?;
            let message = pb::DeductBalanceResponse {
                balance_action: reply.action,
                bucket: reply.bucket,
            };
            Ok(Answer::new(message, reply.replayed))
        })
        .await
    }

    async fn get_accumulated_balance(
        &self,
        request: Request<pb::GetAccumulatedBalanceRequest>,
    ) -> Result<Response<pb::GetAccumulatedBalanceResponse>, Status> {
        answer(request, async |call, message| {
            let (accumulate, binding) =
                convert::accumulate(call.rpc.path, call.caller.require_tenant().ok(), &message)?;
            let tenant = call.caller.require_tenant()?;
            let pool = self.pools.list.on_behalf_of(call.principal);
            let found = self
                .read(|clock| store::accumulated(&pool, tenant, &accumulate, clock))
                .await?;
            let (accumulated_balances, next_page_token) = paging::finish(
                found,
                &accumulate.page,
                binding,
                0,
                Accumulated::cursor,
                Into::into,
            )?;
            Ok(Answer::fresh(pb::GetAccumulatedBalanceResponse {
                accumulated_balances,
                next_page_token,
            }))
        })
        .await
    }

    async fn list_balance_actions(
        &self,
        request: Request<pb::ListBalanceActionsRequest>,
    ) -> Result<Response<pb::ListBalanceActionsResponse>, Status> {
        answer(request, async |call, message| {
            let (list, binding) =
                convert::action_list(call.rpc.path, call.caller.require_tenant().ok(), &message)?;
            let tenant = call.caller.require_tenant()?;
            let pool = self.pools.list.on_behalf_of(call.principal);
            let found = self
                .read(|clock| store::actions(&pool, tenant, &list, clock))
                .await?;
            let (balance_actions, next_page_token) = paging::finish(
                found,
                &list.page,
                binding,
                0,
                BucketActionRecord::cursor,
                Into::into,
            )?;
            Ok(Answer::fresh(pb::ListBalanceActionsResponse {
                balance_actions,
                next_page_token,
            }))
        })
        .await
    }

    async fn get_balance_action(
        &self,
        request: Request<pb::GetBalanceActionRequest>,
    ) -> Result<Response<pb::GetBalanceActionResponse>, Status> {
        answer(request, async |call, message| {
            let id = convert::get_action(&message)?;
            let tenant = call.caller.require_tenant()?;
            let pool = self.pools.by_key.on_behalf_of(call.principal);
            let found = self
                .read(|clock| store::action(&pool, tenant, id, clock))
                .await?;
            let action = found.ok_or(Error::ActionNotFound(id))?;
            Ok(Answer::fresh(pb::GetBalanceActionResponse {
                balance_action: Some(action.into()),
            }))
        })
        .await
    }
}
