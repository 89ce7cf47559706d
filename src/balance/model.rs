//! Balances and entries as the service reads them, and what a read can ask for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ledger::account::{Balance, Cause};
use crate::types::amount::Amount;
use crate::types::ids::{
    AccountId, AllocationId, ClientId, ConnectionId, EnterpriseId, OwnerId, PartnerId,
};
use crate::types::page::Page;
use crate::types::time::Time;
use crate::types::unit::Unit;

/// The balances of one account, by currency.
pub(super) type Balances = BTreeMap<Unit, Balance>;

/// A client's list: AND between filters, OR between the values of one, an empty one lets everything pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BalanceClientList {
    /// The enterprise whose client's balances are listed.
    pub enterprise: EnterpriseId,
    pub connections: Vec<ConnectionId>,
    pub partners: Vec<PartnerId>,
    /// Only these currencies, in custody too.
    pub units: Vec<Unit>,
    /// The page of the connections; custody is on every page.
    pub page: Page<Cursor>,
}

/// The last connection of the page before. Ids sort by creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor(pub ConnectionId);

/// The balances of one connection, as its client sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NetworkBalance {
    pub connection: ConnectionId,
    pub partner: PartnerId,
    /// The partner's own id of the connection; empty if it has none.
    pub partners_connection_id: String,
    pub name: String,
    pub institution_identifier: String,
    pub balances: Balances,
}

/// A partner's list: AND between filters, OR between the values of one, an empty one lets everything pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BalancePartnerList {
    /// The enterprise whose partners' balances are listed.
    pub enterprise: EnterpriseId,
    pub partners: Vec<PartnerId>,
    pub clients: Vec<ClientId>,
    pub connections: Vec<ConnectionId>,
    /// The partner's own ids of the connections.
    pub partners_connection_ids: Vec<String>,
    pub units: Vec<Unit>,
    /// The page of the connections, in the order of their creation.
    pub page: Page<Cursor>,
}

/// A connection as its partner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartnerConnection {
    /// The client's enterprise, which owns the account.
    pub owner: OwnerId,
    /// The connection, whose account has the same id.
    pub id: ConnectionId,
    pub client: ClientId,
    /// The name that the client has now.
    pub client_name: String,
    pub partner: PartnerId,
    /// The partner's own id of the connection; empty if it has none.
    pub partners_connection_id: String,
    pub name: String,
}

/// The balances of one connection, as its partner sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartnerNetworkBalance {
    pub connection: PartnerConnection,
    pub balances: Balances,
}

/// The balance that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BalanceQuery {
    /// The enterprise that asks.
    pub enterprise: EnterpriseId,
    /// The connection whose account is meant; `None` stands for custody.
    pub connection: Option<ConnectionId>,
    pub unit: Unit,
    pub moment: Moment,
}

/// The moment at which an account is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// The moment of the read itself.
    Now,
    /// After all entries of this time or before.
    At(Time),
    /// After the entry that made this version; 0 is the account before its first entry.
    Version(i64),
}

/// An account, and the side of it that reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BalanceAccount {
    pub owner: OwnerId,
    pub id: AccountId,
    pub side: BalanceSide,
}

/// The two sides of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BalanceSide {
    /// The client, which owns the accounts and sees all of them.
    Client,
    /// The partner, which sees its connections' accounts and nothing else of their owners.
    Partner,
}

/// An open reservation: a part of what an account holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenReservation {
    pub allocation: AllocationId,
    pub quantity: Amount,
    /// The time of the movement that opened it.
    pub created_at: Time,
    /// The time at which it is released unless it is closed before; `None` is never.
    pub expire_time: Option<Time>,
}

/// An account at one of its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PastBalance {
    /// The amounts, and the version that they belong to.
    pub balance: Balance,
    /// A time that, asked for as `as_of`, leads to the same answer for ever.
    pub as_of: Time,
    /// The oldest of the reservations that were open, at most [`crate::limits::RESERVATIONS_SHOWN_MAX`].
    pub reservations: Vec<OpenReservation>,
    /// The number of reservations that were open.
    pub count: i64,
    /// The sum of all that were open, as a decimal that may have more digits than an amount.
    pub total: String,
}

/// A list of the journal: AND between filters, OR between the values of one, an empty one lets everything pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryList {
    /// The enterprise that asks.
    pub enterprise: EnterpriseId,
    pub accounts: EntryAccounts,
    pub unit: Option<Unit>,
    /// The first time that is listed.
    pub from: Option<Time>,
    /// The last time that is listed.
    pub to: Option<Time>,
    pub causes: Vec<Cause>,
    /// Only of these allocations (their ids) or adjustments (their external ids).
    pub cause_ids: Vec<String>,
    /// Whether the newest entry comes first.
    pub descending: bool,
    pub page: Page<EntryCursor>,
}

/// The accounts whose entries are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryAccounts {
    /// Every account that the enterprise may see.
    All,
    /// The account of its client.
    Custody,
    /// The account of this connection.
    Connection(ConnectionId),
}

/// The last entry of the page before: the key that the journal is sorted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EntryCursor {
    pub time: Time,
    pub account: AccountId,
    pub unit: String,
}

/// A line of the journal as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BalanceEntry {
    pub account: AccountId,
    pub unit: Unit,
    /// What the entry added to `available`.
    pub available_delta: Amount,
    /// What the entry added to `held`.
    pub held_delta: Amount,
    /// The balance that the entry left; its version is the entry's.
    pub after: Balance,
    /// The kind of movement that the entry is part of.
    pub cause: Cause,
    /// The record behind it: an allocation's id or an adjustment's external id.
    pub cause_id: String,
    /// The movement's time, which all its entries have.
    pub time: Time,
}

impl BalanceEntry {
    /// The cursor of the page that follows this entry.
    pub(super) fn cursor(&self) -> EntryCursor {
        EntryCursor {
            time: self.time,
            account: self.account,
            unit: self.unit.to_string(),
        }
    }
}
