//! The RPCs: convert in, authorise, call, convert out.

use std::sync::Arc;

use futures_util::StreamExt;
use prost::Message;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::balance::model::{
    Account, Accounts, Cursor, Entry, Get, Moment, NetworkBalance, PartnerNetworkBalance, Side,
};
use crate::balance::store::{Past, Snapshot};
use crate::balance::{convert, store};
use crate::db::connect::Connector;
use crate::db::pool::Pool;
use crate::db::standing::{Standing, require_client, require_licensed, require_partner};
use crate::error::{Error, Result};
use crate::ledger::command::{Origin, OwnerKind, Reply};
use crate::ledger::expiry::release_due;
use crate::ledger::verify::{self, VerifyError};
use crate::ledger::writer::Writer;
use crate::limits::VERIFY_AT_ONCE_MAX;
use crate::proto::balance::v1 as pb;
use crate::proto::balance::v1::balance_service_server::BalanceService as Rpcs;
use crate::rpc::call::{Answer, Answers, answer, answer_stream};
use crate::rpc::paging;
use crate::types::ids::AccountId;

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
            let mut read = store::client_balances(&self.pool, &list, None).await?;
            let client = require_client(read.standing, list.enterprise)?;
            let clock = read.standing.map(|standing| standing.clock);
            while release_due(&self.writer, OwnerKind::Enterprise, &read.due).await? {
                read = store::client_balances(&self.pool, &list, clock).await?;
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
            let (standing, connections) = store::connections(&self.pool, &list).await?;
            let clock = require_partner(standing, list.enterprise)?.clock;
            let balances = || {
                store::balances(
                    &self.pool,
                    list.enterprise,
                    &connections,
                    &list.units,
                    clock,
                )
            };
            let (mut due, mut network) = balances().await?;
            while release_due(&self.writer, OwnerKind::Enterprise, &due).await? {
                (due, network) = balances().await?;
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
            let get = convert::get(&message)?;
            call.caller.require_member(get.enterprise)?;
            let (standing, connection) = store::account(&self.pool, &get).await?;
            let standing = require_licensed(standing, get.enterprise)?;
            let account = account(standing, &get, connection)?;
            let (unit, clock) = (&get.unit, standing.clock);
            let snapshot = || store::snapshot(&self.pool, &account, unit, get.moment, clock);
            let mut seen = snapshot().await?;
            while release_due(&self.writer, OwnerKind::Enterprise, &seen.due).await? {
                seen = snapshot().await?;
            }
            let past = judge(get.moment, seen)?;
            Ok(Answer::fresh(convert::balance(past, &get.unit)))
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
            let read = store::visible(&self.pool, &list).await?;
            let standing = require_licensed(read.standing, list.enterprise)?;
            require_side(standing)?;
            if list.accounts == Accounts::Custody && standing.client.is_none() {
                return Err(Error::ClientNotFound(None));
            }
            release_due(&self.writer, OwnerKind::Enterprise, &read.due).await?;
            let entries = store::entries(&self.pool, &list, &read.found).await?;
            let (entries, next_page_token) = paging::finish(
                entries,
                list.page.size,
                binding,
                0,
                Entry::cursor,
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

/// Refuses an enterprise that is nobody's client and nobody's partner.
fn require_side(standing: Standing) -> Result<()> {
    if standing.client.is_some() || standing.has_partner {
        Ok(())
    } else {
        Err(Error::ClientNotFound(None))
    }
}

/// The account that is asked for; `connection` is the one that was named, if it has a side in the enterprise.
fn account(standing: Standing, get: &Get, connection: Option<Account>) -> Result<Account> {
    require_side(standing)?;
    match get.connection {
        Some(id) => connection.ok_or(Error::ConnectionNotFound(id)),
        None if standing.client.is_some() => Ok(Account {
            owner: get.enterprise.into(),
            id: AccountId::OWN,
            side: Side::Client,
        }),
        None => Err(Error::invalid(
            "connection_id",
            "is required of a partner, which has no custody",
        )),
    }
}

/// What was asked for, unless it lies in the future.
fn judge(moment: Moment, snapshot: Snapshot) -> Result<Past> {
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
