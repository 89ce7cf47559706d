//! The handlers: convert in, authorise, call, convert out.

use std::sync::Arc;

use futures_util::StreamExt;
use prost::Message;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::balance::model::{
    BalanceAccount, BalanceEntry, BalanceQuery, Balances, Cursor, EntryAccounts, Moment,
    NetworkBalance, PartnerNetworkBalance, PastBalance, ReservationList,
};
use crate::balance::store::{BalanceKey, BalanceSnapshot, BalancesByKey, FoundBalance};
use crate::balance::{convert, store};
use crate::db::archive_end;
use crate::db::coalesce::Coalescer;
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
use crate::ledger::verify::{self, VerifyError, VerifyOptions};
use crate::limits::{ENTERPRISE_CURRENCIES_MAX, FILTER_VALUES_MAX, VERIFY_AT_ONCE_MAX};
use crate::metrics::overload::{self, SharedBound};
use crate::proto::balance::v1 as pb;
use crate::proto::balance::v1::balance_service_server::BalanceService as Rpcs;
use crate::rpc::call::{Answer, Answers, answer, answer_stream};
use crate::rpc::page_token::Binding;
use crate::rpc::paging;
use crate::types::principal::Principal;
use crate::types::time::Time;

/// Adjusts balances, reads them now and in the past, and verifies the ledger.
#[derive(Clone, Debug)]
pub struct BalanceService {
    pools: Pools,
    balances: Coalescer<BalanceKey, FoundBalance>,
    writer: Writer,
    connector: Connector,
    verifying: Arc<Semaphore>,
}

impl BalanceService {
    /// Reads from the pools, writes through the writer, and verifies on connections of its own.
    pub fn new(pools: Pools, writer: Writer, connector: Connector) -> Self {
        Self {
            balances: Coalescer::start(BalancesByKey(pools.by_id.clone())),
            pools,
            writer,
            connector,
            verifying: Arc::new(Semaphore::new(VERIFY_AT_ONCE_MAX)),
        }
    }

    /// A page of the reservations of an account at one of its versions, and the token of the next one. It may have to scan:
    /// so it is read as a list is.
    async fn reservations(
        &self,
        principal: Principal,
        list: &ReservationList,
        binding: Binding,
    ) -> Result<(Vec<pb::Reservation>, String)> {
        if list.balance.reservation_count == 0 {
            return Ok((Vec::new(), String::new()));
        }
        let pool = self.pools.list.on_behalf_of(principal);
        let found = store::reservations(&pool, list).await?;
        paging::finish(
            found,
            &list.page,
            binding,
            0,
            |reservation| list.cursor(reservation),
            |reservation| convert::reservation(reservation, &list.unit),
        )
    }

    /// Refuses a page that may lack reservations which have been closed since: they were archived before it was read.
    async fn require_on_line(&self, principal: Principal, list: &ReservationList) -> Result<()> {
        let pool = self.pools.list.on_behalf_of(principal);
        match archive_end::read(&pool).await? {
            Some(since) if list.as_of < since => Err(archived_page(since)),
            _ => Ok(()),
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
            let (enterprise, command) = convert::adjust(message, &call.caller)?;
            // Of the custodian, who is a member of the enterprises that it serves. No licence is required.
            call.caller.require_member_or_admin(enterprise)?;
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
            let (list, binding) = convert::client_list(call.rpc.path, &message)?;
            call.caller.require_member(list.enterprise)?;
            let pool = self.pools.list.on_behalf_of(call.principal);
            let mut read = store::client_balances(&pool, &list, None).await?;
            let client = require_client(read.enterprise, list.enterprise)?;
            let clock = read.enterprise.map(|status| status.clock);
            while release_due(&self.writer, OwnerKind::Enterprise, &read.expired).await? {
                read = store::client_balances(&pool, &list, clock).await?;
            }
            let found = read.found;
            let network = found.network.iter().map(|network| &network.balances);
            require_room([&found.custody].into_iter().chain(network))?;
            let mut message = pb::ListClientBalancesResponse {
                client_id: client.to_string(),
                balances: convert::balances(found.custody).collect(),
                ..Default::default()
            };
            let taken = message.encoded_len();
            let cursor = |network: &NetworkBalance| Cursor(network.connection);
            (message.network_balances, message.next_page_token) = paging::finish(
                found.network,
                &list.page,
                binding,
                taken,
                cursor,
                Into::into,
            )?;
            Ok(Answer::fresh(message))
        })
        .await
    }

    async fn list_partner_balances(
        &self,
        request: Request<pb::ListPartnerBalancesRequest>,
    ) -> Result<Response<pb::ListPartnerBalancesResponse>, Status> {
        answer(request, async |call, message| {
            let (list, binding) = convert::partner_list(call.rpc.path, &message)?;
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
            require_room(network.iter().map(|network| &network.balances))?;
            let cursor = |network: &PartnerNetworkBalance| Cursor(network.connection.id);
            let (network_balances, next_page_token) =
                paging::finish(network, &list.page, binding, 0, cursor, Into::into)?;
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
            let (query, list) = convert::get(call.rpc.path, message)?;
            call.caller.require_member(query.enterprise)?;
            let read = |clock| {
                let key = BalanceKey::new(&query, clock);
                self.balances.read(call.principal, key)
            };
            let mut found = read(None).await?;
            let status = require_licensed(found.enterprise, query.enterprise)?;
            let account = account(status, &query, found.account)?;
            while release_due(&self.writer, OwnerKind::Enterprise, &found.expired()).await? {
                found = read(Some(status.clock)).await?;
            }
            let first = list.as_ref().and_then(|(page, _)| page.after().copied());
            let mut past =
                require_reached(query.moment, found).map_err(|error| match (first, error) {
                    (None, error) => error,
                    (Some(_), Error::HistoryArchived { since, .. }) => archived_page(since),
                    (Some(_), _) => Error::PageTokenInvalid,
                })?;
            if let Some(first) = first {
                if past.balance.version != first.version {
                    return Err(Error::PageTokenInvalid);
                }
                past.as_of = first.as_of;
            }
            let mut message = convert::balance(&past);
            if let Some((page, binding)) = list {
                let list = ReservationList::new(account, query.unit, &past, page);
                (message.reservations, message.next_page_token) =
                    self.reservations(call.principal, &list, binding).await?;
                if query.moment != Moment::Now {
                    self.require_on_line(call.principal, &list).await?;
                }
            }
            Ok(Answer::fresh(message))
        })
        .await
    }

    async fn list_entries(
        &self,
        request: Request<pb::ListEntriesRequest>,
    ) -> Result<Response<pb::ListEntriesResponse>, Status> {
        answer(request, async |call, message| {
            let (list, binding) = convert::entry_list(call.rpc.path, &message)?;
            call.caller.require_member(list.enterprise)?;
            let pool = self.pools.list.on_behalf_of(call.principal);
            let read = store::visible(&pool, &list).await?;
            let status = require_licensed(read.enterprise, list.enterprise)?;
            require_client_or_partner(status)?;
            if list.accounts == EntryAccounts::Custody && status.client.is_none() {
                return Err(Error::ClientNotFound(None));
            }
            release_due(&self.writer, OwnerKind::Enterprise, &read.expired).await?;
            let found = store::entries(&pool, &list, &read.found).await?;
            let cursor = |entry: &BalanceEntry| entry.cursor(found.since);
            let (entries, next_page_token) =
                paging::finish(found.entries, &list.page, binding, 0, cursor, Into::into)?;
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
                .map_err(|_| {
                    overload::refused(SharedBound::Verifications);
                    Error::Overloaded
                })?;
            let connector = self.connector.clone();
            let failure = move |error: VerifyError| error.into_error(connector.address());
            let events = verify::start(&self.connector, VerifyOptions::default())
                .await
                .map_err(&failure)?;
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

/// The account that is asked for; `found` is it, if it has a side in the enterprise.
fn account(
    status: EnterpriseStatus,
    query: &BalanceQuery,
    found: Option<BalanceAccount>,
) -> Result<BalanceAccount> {
    require_client_or_partner(status)?;
    match query.connection {
        Some(id) => found.ok_or(Error::ConnectionNotFound(id)),
        None => found.ok_or_else(|| {
            let rule = "is required of a partner, which has no custody";
            Error::invalid("connection_id", rule)
        }),
    }
}

/// The error for a page that lies before the history on line, since a part of that was archived after the first page.
fn archived_page(since: Time) -> Error {
    Error::HistoryArchived {
        field: "page_token",
        id: None,
        since,
    }
}

/// The account at the moment that was asked for; refuses a moment that lies in the future.
fn require_reached(moment: Moment, found: FoundBalance) -> Result<PastBalance> {
    let snapshot = found
        .snapshot
        .ok_or_else(|| Error::internal("an account was found without a balance"))?;
    let BalanceSnapshot {
        clock,
        ahead,
        version: latest,
        archived,
        past,
    } = snapshot;
    if let Some(since) = archived {
        let field = match moment {
            Moment::Version(_) => "as_of_version",
            Moment::Now | Moment::At(_) => "as_of",
        };
        let id = None;
        return Err(Error::HistoryArchived { field, id, since });
    }
    match moment {
        Moment::At(time) if time > clock.max(ahead.unwrap_or(clock)) => Err(Error::invalid(
            "as_of",
            format!("must not be later than now, {clock}, got {time}"),
        )),
        Moment::Version(version) if version > latest => Err(Error::invalid(
            "as_of_version",
            format!("must be at most the current version, {latest}, got {version}"),
        )),
        _ => past.ok_or_else(|| Error::internal("an account's journal has a gap")),
    }
}

/// Refuses balances of which an answer may have no room for one account and custody: those of an account that got more
/// currencies than an enterprise may have before that was limited.
fn require_room<'b>(accounts: impl IntoIterator<Item = &'b Balances>) -> Result<()> {
    let is_too_large = |balances: &Balances| balances.len() > ENTERPRISE_CURRENCIES_MAX;
    if accounts.into_iter().any(is_too_large) {
        return Err(Error::PageTooLarge {
            field: "currencies",
            fits: FILTER_VALUES_MAX,
        });
    }
    Ok(())
}
