//! What the service reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ledger::model::{Balance, Cause};
use crate::types::amount::Amount;
use crate::types::ids::{
    AccountId, AllocationId, ClientId, ConnectionId, EnterpriseId, OwnerId, PartnerId,
};
use crate::types::page::Page;
use crate::types::time::Time;
use crate::types::unit::Unit;

/// Balances by currency.
pub(super) type Balances = BTreeMap<Unit, Balance>;

/// A client's list: AND between filters, OR between the values of one, an empty one lets everything pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientList {
    /// Whose balances.
    pub enterprise: EnterpriseId,
    /// Only these connections.
    pub connections: Vec<ConnectionId>,
    /// Only connections to these partners.
    pub partners: Vec<PartnerId>,
    /// Only these currencies, in custody too.
    pub units: Vec<Unit>,
    /// Which part of the connections.
    pub page: Page<Cursor>,
}

/// The last connection of the page before; ids sort by creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor(pub ConnectionId);

/// What stands with one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkBalance {
    /// The connection.
    pub connection: ConnectionId,
    /// The partner at its other end.
    pub partner: PartnerId,
    /// The partner's own id of the connection; empty if it has none.
    pub partners_connection_id: String,
    /// The connection's name.
    pub name: String,
    /// The partner's institution identifier.
    pub institution_identifier: String,
    /// By currency.
    pub balances: Balances,
}

/// A partner's list: AND between filters, OR between the values of one, an empty one lets everything pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartnerList {
    /// Whose partners' balances.
    pub enterprise: EnterpriseId,
    /// Only connections to these partners.
    pub partners: Vec<PartnerId>,
    /// Only connections to these clients.
    pub clients: Vec<ClientId>,
    /// Only these connections.
    pub connections: Vec<ConnectionId>,
    /// Only connections with these partner's own ids.
    pub partners_connection_ids: Vec<String>,
    /// Only these currencies.
    pub units: Vec<Unit>,
    /// Which part of the connections.
    pub page: Page<Cursor>,
}

/// A connection of a partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartnerConnection {
    /// The client's enterprise, which owns the account.
    pub owner: OwnerId,
    /// The connection, and its account.
    pub id: ConnectionId,
    /// The client at its other end.
    pub client: ClientId,
    /// The partner.
    pub partner: PartnerId,
    /// The partner's own id of the connection; empty if it has none.
    pub partners_connection_id: String,
    /// The connection's name.
    pub name: String,
}

/// What stands with one connection of a partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartnerNetworkBalance {
    /// The connection.
    pub connection: PartnerConnection,
    /// By currency.
    pub balances: Balances,
}

/// Which balance is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Get {
    /// Who asks.
    pub enterprise: EnterpriseId,
    /// Which connection; none is custody.
    pub connection: Option<ConnectionId>,
    /// Of what.
    pub unit: Unit,
    /// When.
    pub moment: Moment,
}

/// Which moment of an account is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// As it stands.
    Now,
    /// After all that happened then or before.
    At(Time),
    /// At this version.
    Version(i64),
}

/// An account, and who looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// Whose.
    pub owner: OwnerId,
    /// Which.
    pub id: AccountId,
    /// Who looks.
    pub side: Side,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The owner of all the accounts.
    Client,
    /// Sees its connections' accounts and nothing else of their owners.
    Partner,
}

/// A part of what is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reservation {
    /// The record.
    pub allocation: AllocationId,
    /// How much.
    pub quantity: Amount,
    /// The opening movement's time.
    pub created_at: Time,
    /// When it is released by itself.
    pub expire_time: Option<Time>,
}

/// A list of the journal: AND between filters, OR between the values of one, an empty one lets everything pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryList {
    /// Who asks.
    pub enterprise: EnterpriseId,
    /// Of which accounts.
    pub accounts: Accounts,
    /// Only of this currency.
    pub unit: Option<Unit>,
    /// Only then or later.
    pub from: Option<Time>,
    /// Only then or before.
    pub to: Option<Time>,
    /// Only with these causes.
    pub causes: Vec<Cause>,
    /// Only of these allocations (their ids) or adjustments (their external ids).
    pub cause_ids: Vec<String>,
    /// Newest first.
    pub descending: bool,
    /// Which part.
    pub page: Page<EntryCursor>,
}

/// Whose entries are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accounts {
    /// Every account that the enterprise may see.
    All,
    /// Its custody.
    Custody,
    /// This connection.
    Connection(ConnectionId),
}

/// The last entry of the page before: the key that the journal is sorted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EntryCursor {
    /// Its time.
    pub time: Time,
    /// Its account.
    pub account: AccountId,
    /// Its currency.
    pub unit: String,
}

/// A line of the journal as callers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Which account.
    pub account: AccountId,
    /// Of what.
    pub unit: Unit,
    /// What was added to `available`.
    pub available_delta: Amount,
    /// What was added to `held`.
    pub held_delta: Amount,
    /// The account after it.
    pub after: Balance,
    /// What made the movement.
    pub cause: Cause,
    /// The record behind it: an allocation's id or an adjustment's external id.
    pub cause_id: String,
    /// When.
    pub time: Time,
}

impl Entry {
    /// The cursor that leads behind it.
    pub(super) fn cursor(&self) -> EntryCursor {
        EntryCursor {
            time: self.time,
            account: self.account,
            unit: self.unit.to_string(),
        }
    }
}
