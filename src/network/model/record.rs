//! The records of the network.
//!
//! Ids and times are unset where a write was only validated: nothing was stored.

use crate::audit::{Named, RecordId};
use crate::db::record_write::time_of_change;
use crate::types::ids::{ClientId, ConnectionId, EnterpriseId, PartnerId};
use crate::types::time::Time;

/// The times of a record by the database's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkTimes {
    pub(crate) created_at: Option<Time>,
    /// The time of the newest write of the record; later than that of the write before it.
    pub(crate) updated_at: Option<Time>,
}

impl NetworkTimes {
    /// The times of a record that is created now.
    pub(crate) fn created(now: Time) -> Self {
        Self {
            created_at: Some(now),
            updated_at: Some(now),
        }
    }

    /// The times after a change, which is later than the change before even if the clock was set back.
    pub(crate) fn changed(self, now: Time) -> Self {
        Self {
            updated_at: Some(time_of_change(now, self.updated_at)),
            ..self
        }
    }

    /// The times that the answer to a validated change shows: the change has no time, since it was not stored.
    pub(crate) fn change_validated(self) -> Self {
        Self {
            updated_at: None,
            ..self
        }
    }
}

/// A legal person that uses the network. It has at most one client and any number of partners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkEnterprise {
    pub(crate) id: Option<EnterpriseId>,
    pub(crate) name: String,
    /// Whether the enterprise may call the RPCs of allocations and balances.
    pub(crate) oes_licensed: bool,
    pub(crate) client_id: Option<ClientId>,
    /// Number of writes of the record: 1 after its creation.
    pub(crate) version: i64,
    pub(crate) times: NetworkTimes,
}

/// The client of an enterprise: the side whose custody is allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkClient {
    pub(crate) id: Option<ClientId>,
    pub(crate) enterprise_id: EnterpriseId,
    pub(crate) name: String,
    /// Number of writes of the record: 1 after its creation.
    pub(crate) version: i64,
    pub(crate) times: NetworkTimes,
}

/// A trading venue of an enterprise, to which clients allocate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkPartner {
    pub(crate) id: Option<PartnerId>,
    pub(crate) enterprise_id: EnterpriseId,
    pub(crate) name: String,
    /// Unique among the partners of the enterprise.
    pub(crate) institution_identifier: String,
    /// Number of writes of the record: 1 after its creation.
    pub(crate) version: i64,
    pub(crate) times: NetworkTimes,
}

/// A connection between a client and a partner of different enterprises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkConnection {
    pub(crate) id: Option<ConnectionId>,
    pub(crate) client_id: ClientId,
    /// The name that the client has now.
    pub(crate) client_name: String,
    pub(crate) partner_id: PartnerId,
    /// The name that the partner has now.
    pub(crate) partner_name: String,
    pub(crate) name: String,
    /// The partner's own id of the connection; empty if it has none.
    pub(crate) partners_connection_id: String,
    pub(crate) mode: NetworkMode,
    pub(crate) allocations: NetworkDirection,
    pub(crate) deallocations: NetworkDirection,
    /// Number of writes of the record: 1 after its creation.
    pub(crate) version: i64,
    pub(crate) times: NetworkTimes,
}

impl NetworkConnection {
    /// Whether at least one direction is enabled.
    pub(crate) fn is_active(&self) -> bool {
        [&self.allocations, &self.deallocations].contains(&&NetworkDirection::Enabled)
    }
}

/// Whether the partner confirms each allocation of a connection. Never changes after creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkMode {
    /// Allocations are cleared at once, without the partner.
    Instant,
    /// Allocations stay reserved until the partner clears or releases them.
    Confirmed,
}

impl NetworkMode {
    /// The text in the column `mode`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Instant => "INSTANT",
            Self::Confirmed => "CONFIRMED",
        }
    }

    /// Reads the column `mode`; `None` for a text that its check does not allow.
    pub(crate) fn stored(text: &str) -> Option<Self> {
        [Self::Instant, Self::Confirmed]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }
}

/// Whether new allocations, or new deallocations, may be created on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NetworkDirection {
    Enabled,
    /// Refused with this reason, which callers see.
    Disabled {
        reason: String,
    },
}

impl NetworkDirection {
    /// The reason for which the direction is disabled; `None` if it is enabled.
    pub(crate) fn disabled_reason(&self) -> Option<&str> {
        match self {
            Self::Enabled => None,
            Self::Disabled { reason } => Some(reason),
        }
    }
}

macro_rules! named {
    ($($record:ident $kind:literal)*) => {$(
        impl Named for $record {
            const KIND: &'static str = $kind;

            fn record_id(&self) -> Option<RecordId> {
                self.id.map(|id| RecordId::Uuid(id.0))
            }
        }
    )*};
}

named! {
    NetworkEnterprise "enterprise"
    NetworkClient "client"
    NetworkPartner "partner"
    NetworkConnection "connection"
}
