//! The handlers: convert in, authorise, call, convert out.

use std::sync::Arc;

use futures_util::StreamExt;
use prost::Message;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::balance::model::{
    BalanceAccount, BalanceEntry, BalanceQuery, BalanceSide, Cursor, EntryAccounts, Moment,
    NetworkBalance, PartnerNetworkBalance, PastBalance,
};
use crate::balance::store::BalanceSnapshot;
use crate::balance::{convert, store};
use crate::db::connect::Connector;
use crate::db::enterprise_status::{
    EnterpriseStatus, require_client, require_licensed, require_partner,
};
use crate::db::pools::Pools;
use crate::error::{Error, Result};
use crate::ledger::account::OwnerKind;
use crate::ledger::engine::Writer;
use crate::ledger::expiry::release_due;
use crate::ledger::kind::Origin;
use crate::ledger::verify::{self, VerifyError};
use crate::limits::VERIFY_AT_ONCE_MAX;
use crate::proto::balance::v1 as pb;
use crate::proto::balance::v1::balance_service_server::BalanceService as Rpcs;
use crate::rpc::call::{Answer, Answers, answer, answer_stream};
use crate::rpc::paging;
use crate::types::ids::AccountId;

/// Adjusts balances, reads them now and in the past, and verifies the ledger.
#[derive(Clone, Debug)]
pub struct BalanceService {
    pools: Pools,
    writer: Writer,
    connector: Connector,
    verifying: Arc<Semaphore>,
}

impl BalanceService {
    /// Reads from the pools, writes through the writer, and verifies on connections of its own.
    pub fn new(pools: Pools, writer: Writer, connector: Connector) -> Self {
        Self {
            pools,
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
            // The scope covers every enterprise: neither membership nor a licence is required.
            let command = convert::adjust(message, &call.caller)?;
            let reply = self.writer.submit(command, call.claim).await?;
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
            let pool = self.pools.list.on_behalf_of(call.principal);
            let mut read = store::client_balances(&pool, &list, None).await?;
            let client = require_client(read.enterprise, list.enterprise)?;
            let clock = read.enterprise.map(|status| status.clock);
            while release_due(&self.writer, OwnerKind::Enterprise, &read.expired).await? {
                read = store::client_balances(&pool, &list, clock).await?;
            }
            let found = read.found;
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

    async fn list_partner_balances(
        &self,
        request: Request<pb::ListPartnerBalancesRequest>,
    ) -> Result<Response<pb::ListPartnerBalancesResponse>, Status> {
        answer(request, async |call, message| {
            let (list, binding) = convert::partner_list(call.rpc.path, message)?;
            call.caller.require_member(list.enterprise)?;
            let pool = self.pools.list.on_behalf_of(call.principal);
            let (status, connections) = store::connections(&pool, &list).await?;
            let clock = require_partner(status, list.enterprise)?.clock;
            let balances =
                || store::balances(&pool, list.enterprise, &connections, &list.units, clock);
            let (mut expired, mut network) = balances().await?;
            while release_due(&self.writer, OwnerKind::Enterprise, &expired).await? {
                (expired, network) = balances().await?;
            }
            let cursor = |network: &PartnerNetworkBalance| Cursor(network.connection.id);
            let (network_balances, next_page_token) =
                paging::finish(network, list.page.size, binding, 0, cursor, Into::into);
            Ok(Answer::fresh(pb::ListPartnerBalancesResponse {
                network_balances,
                next_page_token,
            }))
        })
        .await
    }

    async fn get_balance(
        &self,
        request: Request<pb::GetBalanceRequest>,
    ) -> Result<Response<pb::GetBalanceResponse>, Status> {
        answer(request, async |call, message| {
            let query = convert::get(&message)?;
            call.caller.require_member(query.enterprise)?;
            let pool = self.pools.by_key.on_behalf_of(call.principal);
            let (status, connection) = store::account(&pool, &query).await?;
            let status = require_licensed(status, query.enterprise)?;
            let account = account(status, &query, connection)?;
            let (unit, clock) = (&query.unit, status.clock);
            let snapshot = || store::snapshot(&pool, &account, unit, query.moment, clock);
            let mut read = snapshot().await?;
            while release_due(&self.writer, OwnerKind::Enterprise, &read.expired).await? {
                read = snapshot().await?;
            }
            let past = require_reached(query.moment, read)?;
            Ok(Answer::fresh(convert::balance(past, unit)))
        })
        .await
    }

    async fn list_entries(
        &self,
        request: Request<pb::ListEntriesRequest>,
    ) -> Result<Response<pb::ListEntriesResponse>, Status> {
        answer(request, async |call, message| {
            let (list, binding) = convert::entry_list(call.rpc.path, message)?;
            call.caller.require_member(list.enterprise)?;
            let pool = self.pools.list.on_behalf_of(call.principal);
            let read = store::visible(&pool, &list).await?;
            let status = require_licensed(read.enterprise, list.enterprise)?;
            require_client_or_partner(status)?;
            if list.accounts == EntryAccounts::Custody && status.client.is_none() {
                return Err(Error::ClientNotFound(None));
            }
            release_due(&self.writer, OwnerKind::Enterprise, &read.expired).await?;
            let entries = store::entries(&pool, &list, &read.found).await?;
            let (entries, next_page_token) = paging::finish(
                entries,
                list.page.size,
                binding,
                0,
                BalanceEntry::cursor,
                Into::into,
            );
            Ok(Answer::fresh(pb::ListEntriesResponse {
                entries,
                next_page_token,
            }))
        })
        .await
    }

    type VerifyLedgerStream = Answers<pb::VerifyLedgerResponse>;

    async fn verify_ledger(
        &self,
        request: Request<pb::VerifyLedgerRequest>,
    ) -> Result<Response<Self::VerifyLedgerStream>, Status> {
        answer_stream(request, async |_call, _message| {
            // The scope covers every enterprise: neither membership nor a licence is required.
            let permit = Arc::clone(&self.verifying)
                .try_acquire_owned()
                .map_err(|_| Error::Overloaded)?;
            let connector = self.connector.clone();
            let failure = move |error: VerifyError| error.into_error(connector.address());
            let events = verify::start(&self.connector).await.map_err(&failure)?;
            Ok(events.map(move |event| {
                // Released when the stream is dropped.
                let _permit = &permit;
                event.map(Into::into).map_err(&failure)
            }))
        })
        .await
    }
}

/// Refuses an enterprise that has neither a client nor a partner.
fn require_client_or_partner(status: EnterpriseStatus) -> Result<()> {
    if status.client.is_some() || status.has_partner {
        Ok(())
    } else {
        Err(Error::ClientNotFound(None))
    }
}

/// The account that is asked for; `connection` is the one that was named, if it has a side in the enterprise.
fn account(
    status: EnterpriseStatus,
    query: &BalanceQuery,
    connection: Option<BalanceAccount>,
) -> Result<BalanceAccount> {
    require_client_or_partner(status)?;
    match query.connection {
        Some(id) => connection.ok_or(Error::ConnectionNotFound(id)),
        None if status.client.is_some() => Ok(BalanceAccount {
            owner: query.enterprise.into(),
            id: AccountId::OWN,
            side: BalanceSide::Client,
        }),
        None => Err(Error::invalid(
            "connection_id",
            "is required of a partner, which has no custody",
        )),
    }
}

/// The account at the moment that was asked for; refuses a moment that lies in the future.
fn require_reached(moment: Moment, snapshot: BalanceSnapshot) -> Result<PastBalance> {
    let newest = snapshot.newest.unwrap_or(snapshot.clock);
    match moment {
        Moment::At(time) if time > snapshot.clock.max(newest) => Err(Error::invalid(
            "as_of",
            format!("must not be later than now, {}", snapshot.clock),
        )),
        Moment::Version(version) if version > snapshot.version => Err(Error::invalid(
            "as_of_version",
            format!("must be at most the current version, {}", snapshot.version),
        )),
        _ => snapshot
            .past
            .ok_or_else(|| Error::internal("an account's journal has a gap")),
    }
}
