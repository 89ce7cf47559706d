//! The small world that the commands live in: who is licensed, who is whose partner, which connections there are.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::ledger::oes::model::{Connection, Direction, Mode};
use crate::types::ids::{ClientId, ConnectionId, EnterpriseId, OwnerId, PartnerId};

/// An enterprise's row.
#[derive(Clone, Debug)]
pub(super) struct Enterprise {
    pub(super) licensed: bool,
    pub(super) client: Option<ClientId>,
    pub(super) partner: bool,
}

/// What NetworkService would have stored.
#[derive(Clone, Debug)]
pub(super) struct Network {
    /// The rows that can be locked: every enterprise, and an owner that is none.
    pub(super) owners: Vec<OwnerId>,
    pub(super) enterprises: BTreeMap<EnterpriseId, Enterprise>,
    pub(super) connections: BTreeMap<ConnectionId, (OwnerId, Connection)>,
}

/// A change by NetworkService, between two batches.
#[derive(Clone, Debug)]
pub(super) enum Change {
    License(usize, bool),
    Enable(usize, Direction, bool),
    Mode(usize, Mode),
}

/// Two clients that do most of the work (the first is the second's partner too), one without licence, and an enterprise
/// that is neither client nor partner.
const CLIENTS: [u128; 2] = [0xe0, 0xe1];
const UNLICENSED_CLIENT: u128 = 0xe2;
const NEITHER: u128 = 0xe3;
const PARTNERS: [u128; 2] = [0xe4, 0xe5];
const UNLICENSED_PARTNER: u128 = 0xe6;
/// No row at all.
const MISSING: u128 = 0xe7;
/// A row that can be locked, but no enterprise.
const ISSUER: u128 = 0xe8;

/// The owners that commands name, the busy ones first.
pub(super) const OWNERS: [u128; 6] = [
    CLIENTS[0],
    CLIENTS[1],
    UNLICENSED_CLIENT,
    NEITHER,
    MISSING,
    ISSUER,
];
/// The enterprises that judge, rightfully or not.
pub(super) const JUDGES: [u128; 7] = [
    CLIENTS[0],
    CLIENTS[1],
    NEITHER,
    PARTNERS[0],
    PARTNERS[1],
    UNLICENSED_PARTNER,
    MISSING,
];
/// Connections by number: client, partner, mode. A number past them is a connection that does not exist.
const CONNECTIONS: [(u128, u128, Mode); 8] = [
    (CLIENTS[0], PARTNERS[0], Mode::Confirmed),
    (CLIENTS[0], PARTNERS[0], Mode::Instant),
    (CLIENTS[0], PARTNERS[1], Mode::Confirmed),
    (CLIENTS[0], UNLICENSED_PARTNER, Mode::Confirmed),
    (CLIENTS[1], PARTNERS[0], Mode::Confirmed),
    (CLIENTS[1], CLIENTS[0], Mode::Confirmed),
    (CLIENTS[1], PARTNERS[1], Mode::Instant),
    (UNLICENSED_CLIENT, PARTNERS[0], Mode::Confirmed),
];
pub(super) const CONNECTION_COUNT: usize = CONNECTIONS.len();

pub(super) fn connection_id(number: usize) -> ConnectionId {
    ConnectionId(Uuid::from_u128(0xc0 + number as u128))
}

pub(super) fn owner_id(number: usize) -> OwnerId {
    OwnerId(Uuid::from_u128(OWNERS[number]))
}

pub(super) fn judge_id(number: usize) -> EnterpriseId {
    EnterpriseId(Uuid::from_u128(JUDGES[number]))
}

impl Network {
    pub(super) fn new() -> Self {
        let mut enterprises = BTreeMap::new();
        for id in (CLIENTS[0]..=UNLICENSED_PARTNER).filter(|id| *id != MISSING) {
            let is_client = CLIENTS.contains(&id) || id == UNLICENSED_CLIENT;
            let enterprise = Enterprise {
                licensed: id != UNLICENSED_CLIENT && id != UNLICENSED_PARTNER,
                client: is_client.then(|| ClientId(Uuid::from_u128(id << 8))),
                partner: CONNECTIONS.iter().any(|(_, partner, _)| *partner == id),
            };
            enterprises.insert(EnterpriseId(Uuid::from_u128(id)), enterprise);
        }
        let mut owners: Vec<OwnerId> = enterprises.keys().map(|id| OwnerId(id.0)).collect();
        owners.push(OwnerId(Uuid::from_u128(ISSUER)));
        let connections = CONNECTIONS.iter().enumerate();
        let connections = connections.map(|(number, (client, partner, mode))| {
            let connection = Connection {
                client: ClientId(Uuid::from_u128(client << 8)),
                partner: PartnerId(Uuid::from_u128(partner << 16)),
                partner_enterprise: EnterpriseId(Uuid::from_u128(*partner)),
                mode: *mode,
                allocations_disabled: None,
                deallocations_disabled: None,
            };
            let owner = OwnerId(Uuid::from_u128(*client));
            (connection_id(number), (owner, connection))
        });
        Self {
            owners,
            connections: connections.collect(),
            enterprises,
        }
    }

    pub(super) fn enterprise(&self, owner: OwnerId) -> Option<&Enterprise> {
        self.enterprises.get(&EnterpriseId(owner.0))
    }

    /// The connections of a client, by number.
    pub(super) fn connections_of(&self, owner: OwnerId) -> Vec<ConnectionId> {
        let of_owner = self.connections.iter();
        let of_owner = of_owner.filter(|(_, (client, _))| *client == owner);
        of_owner.map(|(id, _)| *id).collect()
    }

    pub(super) fn change(&mut self, change: &Change) {
        match change {
            Change::License(number, licensed) => {
                let mut enterprises = self.enterprises.values_mut();
                let count = enterprises.len();
                if let Some(enterprise) = enterprises.nth(number % count) {
                    enterprise.licensed = *licensed;
                }
            }
            Change::Enable(number, direction, enabled) => {
                let reason = (!enabled).then(|| format!("closed for {}s", direction.name()));
                if let Some((_, connection)) = self.connections.get_mut(&connection_id(*number)) {
                    match direction {
                        Direction::Allocation => connection.allocations_disabled = reason,
                        Direction::Deallocation => connection.deallocations_disabled = reason,
                    }
                }
            }
            Change::Mode(number, mode) => {
                if let Some((_, connection)) = self.connections.get_mut(&connection_id(*number)) {
                    connection.mode = *mode;
                }
            }
        }
    }
}
