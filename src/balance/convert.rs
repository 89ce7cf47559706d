//! Converts requests of the service to the model, and the model to its answers.

use crate::auth::caller::Caller;
use crate::balance::model::{
    BalanceClientList, BalanceEntry, BalancePartnerList, BalanceQuery, Balances, EntryAccounts,
    EntryList, Moment, NetworkBalance, OpenReservation, PartnerNetworkBalance, PastBalance,
    ReservationCursor,
};
use crate::error::Result;
use crate::ledger::account::Cause;
use crate::ledger::adjustment::request::AdjustCustody;
use crate::ledger::breach::Breach;
use crate::ledger::kind::Command;
use crate::ledger::verify::Event;
use crate::limits::{ID_CHARS_MAX, PAGE_SIZE_DEFAULT, RESERVATIONS_PAGE_MAX};
use crate::proto::balance::v1 as pb;
use crate::proto::common::v1 as common;
use crate::rpc::page_token::Binding;
use crate::rpc::read::{Reader, Rounding, timestamp};
use crate::types::content::Content;
use crate::types::ids::{AccountId, EnterpriseId};
use crate::types::page::Page;
use crate::types::unit::Unit;

/// Reads a deposit or withdrawal.
pub(super) fn adjust(
    request: pb::AdjustBalanceRequest,
    caller: &Caller,
) -> Result<(EnterpriseId, Command<AdjustCustody>)> {
    let mut read = Reader::new();
    let enterprise: EnterpriseId = read.id("enterprise_id", &request.enterprise_id);
    let unit = read.unit("currency", &request.currency);
    let quantity = read.signed_quantity("quantity", &request.quantity);
    let external_id = read.external_id("external_id", &request.external_id);
    let reason = read.note("reason", &request.reason);
    read.finish()?;
    // The tags are stored as part of the hash: they never change.
    let content = Content::new()
        .field(1, unit.as_str())
        .field(2, quantity.to_string())
        .field(3, &reason)
        .hash();
    let adjust = AdjustCustody {
        unit,
        quantity,
        external_id,
        reason,
        initiated_by: caller.subject.clone(),
        content,
    };
    let command = Command::new(enterprise, request.validate_only, adjust);
    Ok((enterprise, command))
}

/// Reads a client's list, and what its page tokens are bound to.
pub(super) fn client_list(
    rpc: &str,
    request: &pb::ListClientBalancesRequest,
) -> Result<(BalanceClientList, Binding)> {
    let mut read = Reader::new();
    let enterprise = read.id("enterprise_id", &request.enterprise_id);
    let connections = read.ids("connection_ids", &request.connection_ids);
    let partners = read.ids("partner_ids", &request.partner_ids);
    let units = read.units("currencies", &request.currencies);
    let binding = Binding::new(rpc, request);
    let page = read.page_from_0(
        request.page_number,
        request.page_size,
        &request.page_token,
        binding,
    );
    read.finish()?;
    Ok((
        BalanceClientList {
            enterprise,
            connections,
            partners,
            units,
            page,
        },
        binding,
    ))
}

/// Converts the balances of an account, by currency.
pub(super) fn balances(balances: Balances) -> impl Iterator<Item = (String, common::Balance)> {
    balances
        .into_iter()
        .map(|(unit, balance)| (unit.to_string(), balance.into()))
}

impl From<NetworkBalance> for pb::ClientNetworkBalance {
    fn from(network: NetworkBalance) -> Self {
        Self {
            connection_id: network.connection.to_string(),
            partner_id: network.partner.to_string(),
            partners_connection_id: network.partners_connection_id,
            name: network.name,
            partner_institution_identifier: network.institution_identifier,
            balances: balances(network.balances).collect(),
        }
    }
}

/// Reads a partner's list, and what its page tokens are bound to.
pub(super) fn partner_list(
    rpc: &str,
    request: &pb::ListPartnerBalancesRequest,
) -> Result<(BalancePartnerList, Binding)> {
    let mut read = Reader::new();
    let enterprise = read.id("enterprise_id", &request.enterprise_id);
    let partners = read.ids("partner_ids", &request.partner_ids);
    let clients = read.ids("client_ids", &request.client_ids);
    let connections = read.ids("connection_ids", &request.connection_ids);
    let partners_connection_ids = read.texts(
        "partners_connection_ids",
        &request.partners_connection_ids,
        ID_CHARS_MAX,
    );
    let units = read.units("currencies", &request.currencies);
    let binding = Binding::new(rpc, request);
    let page = read.page_from_0(
        request.page_number,
        request.page_size,
        &request.page_token,
        binding,
    );
    read.finish()?;
    let list = BalancePartnerList {
        enterprise,
        partners,
        clients,
        connections,
        partners_connection_ids,
        units,
        page,
    };
    Ok((list, binding))
}

impl From<PartnerNetworkBalance> for pb::PartnerNetworkBalance {
    fn from(network: PartnerNetworkBalance) -> Self {
        let connection = network.connection;
        Self {
            connection_id: connection.id.to_string(),
            client_id: connection.client.to_string(),
            client_name: connection.client_name,
            partner_id: connection.partner.to_string(),
            partners_connection_id: connection.partners_connection_id,
            name: connection.name,
            balances: balances(network.balances).collect(),
        }
    }
}

/// The page of reservations that is asked for, and what its tokens are bound to.
type ReservationPage = (Page<ReservationCursor>, Binding);

/// Reads which balance is asked for, and with the view which page of its reservations. The token of a page leads to the
/// time that the first one answered, at which the account had its version, whatever moment that was asked for.
pub(super) fn get(
    rpc: &str,
    request: pb::GetBalanceRequest,
) -> Result<(BalanceQuery, Option<ReservationPage>)> {
    let mut read = Reader::new();
    let mut query = BalanceQuery {
        enterprise: read.id("enterprise_id", &request.enterprise_id),
        connection: read.optional_id("connection_id", request.connection_id.as_deref()),
        unit: read.unit("currency", &request.currency),
        moment: moment(&mut read, request.moment.as_ref()),
    };
    let view = read.optional_enum("view", request.view);
    if view != Some(pb::BalanceView::WithReservations) {
        if !request.page_token.is_empty() {
            let rule = "must not be set unless `view` is BALANCE_VIEW_WITH_RESERVATIONS";
            read.violation("page_token", rule);
        }
        read.finish()?;
        return Ok((query, None));
    }
    let binding = Binding::new(rpc, &request);
    let (size, sizes) = (
        request.page_size,
        (PAGE_SIZE_DEFAULT, RESERVATIONS_PAGE_MAX),
    );
    let page: Page<ReservationCursor> = read.sized_page(size, sizes, &request.page_token, binding);
    read.finish()?;
    if let Some(cursor) = page.after() {
        query.moment = Moment::At(cursor.as_of);
    }
    Ok((query, Some((page, binding))))
}

fn moment(read: &mut Reader, given: Option<&pb::get_balance_request::Moment>) -> Moment {
    use pb::get_balance_request::Moment as Given;

    match given {
        None => Moment::Now,
        Some(Given::AsOf(time)) => read
            .optional_time("as_of", Some(time), Rounding::Down)
            .map_or(Moment::Now, Moment::At),
        Some(Given::AsOfVersion(version)) => {
            if *version < 0 {
                let rule = format!("must not be negative, got {version}");
                read.violation("as_of_version", rule);
            }
            Moment::Version(*version)
        }
    }
}

/// Converts an account at a moment, without its reservations.
pub(super) fn balance(past: &PastBalance) -> pb::GetBalanceResponse {
    pb::GetBalanceResponse {
        balance: Some(past.balance.into()),
        reservation_count: past.balance.reservation_count,
        // L3.
        reservation_total: past.balance.held.to_string(),
        as_of: Some(timestamp(past.as_of)),
        ..Default::default()
    }
}

/// Converts a reservation of an account in this currency.
pub(super) fn reservation(reservation: OpenReservation, unit: &Unit) -> pb::Reservation {
    pb::Reservation {
        allocation_id: reservation.allocation.to_string(),
        amount: Some(common::Amount {
            currency: unit.to_string(),
            quantity: reservation.quantity.to_string(),
        }),
        created_at: Some(timestamp(reservation.created_at)),
        expire_time: reservation.expire_time.map(timestamp),
    }
}

/// Reads a list of the journal, and what its page tokens are bound to.
pub(super) fn entry_list(
    rpc: &str,
    request: &pb::ListEntriesRequest,
) -> Result<(EntryList, Binding)> {
    let mut read = Reader::new();
    let enterprise = read.id("enterprise_id", &request.enterprise_id);
    let accounts = match request.connection_id.as_deref() {
        None => EntryAccounts::All,
        Some("") => EntryAccounts::Custody,
        Some(id) => EntryAccounts::Connection(read.id("connection_id", id)),
    };
    let unit = Some(&request.currency)
        .filter(|currency| !currency.is_empty())
        .map(|currency| read.unit("currency", currency));
    let (from, to) = read.time_window(
        ("time_on_or_after", request.time_on_or_after.as_ref()),
        ("time_before", request.time_before.as_ref()),
    );
    let causes = read.enums("causes", &request.causes);
    let cause_ids = read.texts("cause_ids", &request.cause_ids, ID_CHARS_MAX);
    let direction = read.optional_enum("sort_direction", request.sort_direction);
    let binding = Binding::new(rpc, request);
    let page = read.page(request.page_size, &request.page_token, binding);
    read.finish()?;
    let list = EntryList {
        enterprise,
        accounts,
        unit,
        from,
        to,
        causes: causes.into_iter().filter_map(cause).collect(),
        cause_ids,
        descending: direction == Some(common::SortDirection::Desc),
        page,
    };
    Ok((list, binding))
}

/// What the proto puts in front of a cause's stored name.
const CAUSE_PREFIX: &str = "ENTRY_CAUSE_";

fn cause(cause: pb::EntryCause) -> Option<Cause> {
    match cause {
        pb::EntryCause::Unspecified => None,
        cause => Cause::parse(cause.as_str_name().strip_prefix(CAUSE_PREFIX)?),
    }
}

fn entry_cause(cause: Cause) -> pb::EntryCause {
    let name = [CAUSE_PREFIX, cause.as_str()].concat();
    pb::EntryCause::from_str_name(&name).unwrap_or_default()
}

impl From<BalanceEntry> for pb::Entry {
    fn from(entry: BalanceEntry) -> Self {
        let cause = entry_cause(entry.cause);
        Self {
            account: entry.account.name().into(),
            unit: entry.unit.to_string(),
            version: entry.after.version,
            available_delta: entry.available_delta.to_string(),
            held_delta: entry.held_delta.to_string(),
            available: entry.after.available.to_string(),
            held: entry.after.held.to_string(),
            cause: cause.into(),
            cause_id: entry.cause_id,
            time: Some(timestamp(entry.time)),
        }
    }
}

impl From<Event> for pb::VerifyLedgerResponse {
    fn from(event: Event) -> Self {
        use pb::verify_ledger_response::Event as Sent;

        let event = match event {
            Event::Progress(progress) => Sent::Progress(pb::VerifyProgress {
                accounts_done: progress.accounts_done,
                accounts_total: progress.accounts_total,
            }),
            Event::Breach(breach) => Sent::Breach(breach.into()),
            Event::Summary(summary) => Sent::Summary(pb::VerifySummary {
                accounts: summary.accounts,
                entries: summary.entries,
                breaches: summary.breaches,
            }),
        };
        Self { event: Some(event) }
    }
}

impl From<Breach> for pb::VerifyBreach {
    fn from(breach: Breach) -> Self {
        Self {
            invariant: breach.invariant.name().into(),
            owner_id: breach.owner.map_or_else(String::new, |id| id.to_string()),
            account: breach
                .account
                .map(AccountId::name)
                .unwrap_or_default()
                .into(),
            unit: breach.unit.to_string(),
            expected: breach.expected,
            actual: breach.actual,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::kinds::VERIFICATIONS;

    #[test]
    fn every_cause_of_the_ledger_has_a_value_in_the_proto() {
        for verification in VERIFICATIONS {
            let closing = verification
                .closing
                .map_or(&[][..], |closing| closing.causes);
            for stored in verification.opening_causes.iter().chain(closing) {
                assert_eq!(cause(entry_cause(*stored)), Some(*stored));
            }
        }
        assert_eq!(cause(pb::EntryCause::Unspecified), None);
    }
}
