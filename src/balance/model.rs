//! What the service reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ledger::model::Balance;
use crate::types::ids::{ConnectionId, EnterpriseId, PartnerId};
use crate::types::page::Page;
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
