//! The RPCs: convert in, authorise, call, convert out.

use std::sync::Arc;

use futures_util::StreamExt;
use prost::Message;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::balance::model::{Cursor, NetworkBalance};
use crate::balance::{convert, store};
use crate::db::connect::Connector;
use crate::db::pool::Pool;
use crate::db::standing::require_client;
use crate::error::Error;
use crate::ledger::command::{Origin, Reply};
use crate::ledger::verify::{self, VerifyError};
use crate::ledger::writer::Writer;
use crate::limits::VERIFY_AT_ONCE_MAX;
use crate::proto::balance::v1 as pb;
use crate::proto::balance::v1::balance_service_server::BalanceService as Rpcs;
use crate::rpc::call::{Answer, Answers, answer, answer_stream};
use crate::rpc::paging;

/// The service.
#[derive(Clone, Debug)]
pub struct BalanceService {
    pool: Pool,
    writer: Writer,
    connector: Connector,
    verifying: Arc<Semaphore>,
}

impl BalanceService {
    /// Reads from the pool, writes through the writer, and verifies on connections of its own.
    pub fn new(pool: Pool, writer: Writer, connector: Connector) -> Self {
        Self {
            pool,
            writer,
            connector,
            verifying: Arc::new(Semaphore::new(VERIFY_AT_ONCE_MAX)),
        }
    }
}

#[tonic::async_trait]
impl Rpcs for BalanceService {
    async fn adjust_balance(
        &self,
        request: Request<pb::AdjustBalanceRequest>,
    ) -> Result<Response<pb::AdjustBalanceResponse>, Status> {
        answer(request, async |call, message| {
            // The scope serves every enterprise: no membership, no licence.
            let command = convert::adjust(message, &call.caller)?;
            let Reply::Adjustment(reply) = self.writer.submit(command, call.claim).await? else {
                return Err(Error::internal(
                    "an adjustment was answered as something else",
                ));
            };
            let message = pb::AdjustBalanceResponse {
                custody_balance: Some(reply.custody.into()),
            };
            Ok(Answer::new(message, reply.origin == Origin::Replayed))
        })
        .await
    }

    async fn list_client_balances(
        &self,
        request: Request<pb::ListClientBalancesRequest>,
    ) -> Result<Response<pb::ListClientBalancesResponse>, Status> {
        answer(request, async |call, message| {
            let (list, binding) = convert::client_list(call.rpc.path, message)?;
            call.caller.require_member(list.enterprise)?;
            let found = store::client_balances(&self.pool, &list).await?;
            let client = require_client(found.standing, list.enterprise)?;
            let mut message = pb::ListClientBalancesResponse {
                client_id: client.to_string(),
                balances: convert::balances(found.custody).collect(),
                ..Default::default()
            };
            let taken = message.encoded_len();
            let cursor = |network: &NetworkBalance| Cursor(network.connection);
            (message.network_balances, message.next_page_token) = paging::finish(
                found.network,
                list.page.size,
                binding,
                taken,
                cursor,
                Into::into,
            );
            Ok(Answer::fresh(message))
        })
        .await
    }

    type VerifyLedgerStream = Answers<pb::VerifyLedgerResponse>;

    async fn verify_ledger(
        &self,
        request: Request<pb::VerifyLedgerRequest>,
    ) -> Result<Response<Self::VerifyLedgerStream>, Status> {
        answer_stream(request, async |_call, _message| {
            // The scope serves every enterprise: no membership, no licence.
            let place = Arc::clone(&self.verifying)
                .try_acquire_owned()
                .map_err(|_| Error::Overloaded)?;
            let events = verify::start(&self.connector)
                .await
                .map_err(VerifyError::into_error)?;
            Ok(events.map(move |event| {
                // Held for as long as the stream is.
                let _place = &place;
                event.map(Into::into).map_err(VerifyError::into_error)
            }))
        })
        .await
    }
}
