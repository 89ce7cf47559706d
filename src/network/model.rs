//! The records of the network, the commands that change them, and the filters that find them.

use uuid::{Uuid, uuid};

use crate::auth::caller::Caller;
use crate::auth::scope::Scope;
use crate::db::request_key::Key;
use crate::error::{Error, Result};
use crate::types::content::{Content, ContentHash};
use crate::types::ids::{ClientId, ConnectionId, EnterpriseId, OwnerId, PartnerId};
use crate::types::time::Time;

/// When a record was created and last changed. Unset where a write was only validated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    pub created_at: Option<Time>,
    pub updated_at: Option<Time>,
}

/// A legal person that uses the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enterprise {
    /// Unset where a creation was only validated; so are the ids of the other records.
    pub id: Option<EnterpriseId>,
    pub name: String,
    pub oes_licensed: bool,
    pub client_id: Option<ClientId>,
    /// Counts the writes, from 1.
    pub version: i64,
    pub times: Times,
}

/// The side of an enterprise whose custody is allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub id: Option<ClientId>,
    pub enterprise_id: EnterpriseId,
    pub name: String,
    pub times: Times,
}

/// A trading venue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partner {
    pub id: Option<PartnerId>,
    pub enterprise_id: EnterpriseId,
    pub name: String,
    pub institution_identifier: String,
    pub times: Times,
}

/// What joins a client and a partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub id: Option<ConnectionId>,
    pub client_id: ClientId,
    pub partner_id: PartnerId,
    pub name: String,
    /// Empty if the partner has no id of its own for it.
    pub partners_connection_id: String,
    pub mode: Mode,
    pub allocations: Direction,
    pub deallocations: Direction,
    /// Counts the writes, from 1.
    pub version: i64,
    pub times: Times,
}

impl Connection {
    /// Whether either direction is enabled.
    pub fn is_active(&self) -> bool {
        [&self.allocations, &self.deallocations].contains(&&Direction::Enabled)
    }
}

/// Whether a partner confirms what a client allocates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Instant,
    Confirmed,
}

impl Mode {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instant => "INSTANT",
            Self::Confirmed => "CONFIRMED",
        }
    }

    /// Reads it back.
    pub fn stored(text: &str) -> Option<Self> {
        [Self::Instant, Self::Confirmed]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }
}

/// Whether value may be set aside in one direction of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Direction {
    Enabled,
    Disabled { reason: String },
}

impl Direction {
    /// Why it is disabled.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Enabled => None,
            Self::Disabled { reason } => Some(reason),
        }
    }
}

/// Whose records a read may show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// Everybody's.
    Admin,
    /// Those with a side in these enterprises.
    Member(Vec<EnterpriseId>),
}

impl Viewer {
    /// What the bearer of a token may see.
    ///
    /// # Errors
    /// [`Error::NotAMember`] if the token says nothing of enterprises.
    pub fn of(caller: &Caller) -> Result<Self> {
        if caller.has(Scope::NetworkAdmin) {
            return Ok(Self::Admin);
        }
        let enterprises = caller.enterprises.clone().ok_or(Error::NotAMember)?;
        Ok(Self::Member(enterprises))
    }
}

/// What `ListPartners` and `ListConnections` look for. An empty list is no filter. Those about connections hold for one
/// connection together: a partner fits if one of its connections fits them all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub connection_ids: Vec<ConnectionId>,
    pub client_ids: Vec<ClientId>,
    pub partner_ids: Vec<PartnerId>,
    pub partners_connection_ids: Vec<String>,
    /// Names of the records listed.
    pub names: Vec<String>,
    pub active: Option<bool>,
}

/// A command with what every write takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write<C> {
    pub command: C,
    /// Set if the caller gave a `request_id`.
    pub key: Option<Key>,
    /// Judge and answer, but write nothing.
    pub validate_only: bool,
}

/// Never changes: the owners of all keys given so far depend on it.
const ISSUERS: Uuid = uuid!("6f1d3c52-5a0e-4d0f-9b6c-1c2f7a8e9d43");

/// The owner of an issuer's keys.
pub fn key_owner(issuer: &str) -> OwnerId {
    OwnerId(Uuid::new_v5(&ISSUERS, issuer.as_bytes()))
}

/// What a command is compared by when its key comes again; tags are for ever, see [`Content`].
pub trait Hashed {
    /// The hash of everything that makes the command what it is; the expected version does not.
    fn content(&self) -> ContentHash;
}

/// Creates an enterprise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateEnterprise {
    pub name: String,
    pub oes_licensed: bool,
}

impl Hashed for CreateEnterprise {
    fn content(&self) -> ContentHash {
        Content::new()
            .field(1, &self.name)
            .field(2, [u8::from(self.oes_licensed)])
            .hash()
    }
}

/// Changes what is set of an enterprise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateEnterprise {
    pub id: EnterpriseId,
    pub name: Option<String>,
    pub oes_licensed: Option<bool>,
    pub expected_version: Option<i64>,
}

impl Hashed for UpdateEnterprise {
    fn content(&self) -> ContentHash {
        Content::new()
            .field(1, self.id.0)
            .optional(2, self.name.as_ref())
            .optional(3, self.oes_licensed.map(|licensed| [u8::from(licensed)]))
            .hash()
    }
}

/// Creates the client of an enterprise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateClient {
    pub enterprise_id: EnterpriseId,
    pub name: String,
}

impl Hashed for CreateClient {
    fn content(&self) -> ContentHash {
        Content::new()
            .field(1, self.enterprise_id.0)
            .field(2, &self.name)
            .hash()
    }
}

/// Creates a partner of an enterprise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatePartner {
    pub enterprise_id: EnterpriseId,
    pub name: String,
    pub institution_identifier: String,
}

impl Hashed for CreatePartner {
    fn content(&self) -> ContentHash {
        Content::new()
            .field(1, self.enterprise_id.0)
            .field(2, &self.name)
            .field(3, &self.institution_identifier)
            .hash()
    }
}

/// Joins a client and a partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateConnection {
    pub client_id: ClientId,
    pub partner_id: PartnerId,
    pub name: String,
    pub partners_connection_id: Option<String>,
    pub mode: Mode,
}

impl Hashed for CreateConnection {
    fn content(&self) -> ContentHash {
        Content::new()
            .field(1, self.client_id.0)
            .field(2, self.partner_id.0)
            .field(3, &self.name)
            .optional(4, self.partners_connection_id.as_ref())
            .field(5, self.mode.as_str())
            .hash()
    }
}

/// Changes what is set of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateConnection {
    pub id: ConnectionId,
    pub name: Option<String>,
    pub allocations: Option<Direction>,
    pub deallocations: Option<Direction>,
    pub expected_version: Option<i64>,
}

impl Hashed for UpdateConnection {
    fn content(&self) -> ContentHash {
        let enabled = |direction: &Option<Direction>| {
            let direction = direction.as_ref()?;
            Some([u8::from(*direction == Direction::Enabled)])
        };
        // One reason serves both directions.
        let reason = [&self.allocations, &self.deallocations]
            .into_iter()
            .find_map(|direction| direction.as_ref()?.reason());
        Content::new()
            .field(1, self.id.0)
            .optional(2, self.name.as_ref())
            .optional(3, enabled(&self.allocations))
            .optional(4, enabled(&self.deallocations))
            .optional(5, reason)
            .hash()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(hash: ContentHash) -> String {
        hash.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn key_owners_and_hashes_are_for_ever() {
        let id = uuid!("0198a7b2-6a44-7c11-8d4e-000000000001");
        let disabled = Direction::Disabled {
            reason: "why".into(),
        };
        let golden = [
            (
                key_owner("https://issuer.example").0.to_string(),
                "key owner",
            ),
            (
                hex(CreateEnterprise {
                    name: "n".into(),
                    oes_licensed: true,
                }
                .content()),
                "CreateEnterprise",
            ),
            (
                hex(UpdateEnterprise {
                    id: EnterpriseId(id),
                    name: None,
                    oes_licensed: Some(false),
                    expected_version: Some(1),
                }
                .content()),
                "UpdateEnterprise",
            ),
            (
                hex(CreateClient {
                    enterprise_id: EnterpriseId(id),
                    name: "n".into(),
                }
                .content()),
                "CreateClient",
            ),
            (
                hex(CreatePartner {
                    enterprise_id: EnterpriseId(id),
                    name: "n".into(),
                    institution_identifier: "i".into(),
                }
                .content()),
                "CreatePartner",
            ),
            (
                hex(CreateConnection {
                    client_id: ClientId(id),
                    partner_id: PartnerId(id),
                    name: "n".into(),
                    partners_connection_id: None,
                    mode: Mode::Instant,
                }
                .content()),
                "CreateConnection",
            ),
            (
                hex(UpdateConnection {
                    id: ConnectionId(id),
                    name: None,
                    allocations: Some(Direction::Enabled),
                    deallocations: Some(disabled),
                    expected_version: None,
                }
                .content()),
                "UpdateConnection",
            ),
        ];
        let found: Vec<String> = golden
            .into_iter()
            .map(|(value, what)| format!("{what} {value}"))
            .collect();
        assert_eq!(found, GOLDEN);
    }

    /// Computed once by other means than this code.
    const GOLDEN: [&str; 7] = [
        "key owner 07d36c62-905d-5efa-b892-d398d86580ba",
        "CreateEnterprise cdfedec9c572cac19dcd4c867e1ab663cb4c4851e7d7ccb7712cd2a96ead9c01",
        "UpdateEnterprise 1641ed643dc075c3aad4363809dc26ea770eeb9a5fc93a41dd7a59f79ad1c18b",
        "CreateClient d583faf78785f09d1aed37e51fc60092565d212612f6fd266a0a8a6683801998",
        "CreatePartner 1445a8a262d6c9283a248a6cfa48c4d141106c26b8447f13a57b1c6d76adcb5f",
        "CreateConnection 33a7d837ab871556cd999c741e896b14aeeb64a6f6900c16c114af9850682243",
        "UpdateConnection a4bb4387b1696601d0b206d3aa19c45784ed3b95be93602995f707473fa15304",
    ];

    #[test]
    fn the_expected_version_is_no_content() {
        let update = UpdateEnterprise {
            id: EnterpriseId(Uuid::nil()),
            name: Some("n".into()),
            oes_licensed: None,
            expected_version: Some(1),
        };
        let other = UpdateEnterprise {
            expected_version: None,
            ..update.clone()
        };
        assert_eq!(update.content(), other.content());
        let renamed = UpdateEnterprise {
            name: Some("m".into()),
            ..update.clone()
        };
        assert_ne!(update.content(), renamed.content());
    }

    #[test]
    fn each_direction_has_a_field_of_its_own() {
        let update = |allocations, deallocations| {
            let command = UpdateConnection {
                id: ConnectionId(Uuid::nil()),
                name: None,
                allocations,
                deallocations,
                expected_version: None,
            };
            command.content()
        };
        let disabled = |reason: &str| {
            Some(Direction::Disabled {
                reason: reason.into(),
            })
        };
        let variants = [
            update(None, None),
            update(Some(Direction::Enabled), None),
            update(None, Some(Direction::Enabled)),
            update(disabled("a"), None),
            update(disabled("b"), None),
            update(None, disabled("a")),
            update(disabled("a"), disabled("a")),
        ];
        for (index, one) in variants.iter().enumerate() {
            assert!(!variants[index + 1..].contains(one), "{index}");
        }
    }
}
