//! The commands that change the network, and what their idempotency keys are compared by.

use uuid::{Uuid, uuid};

use super::record::{NetworkDirection, NetworkMode};
use crate::types::content::{Content, ContentHash};
use crate::types::ids::{ClientId, ConnectionId, EnterpriseId, OwnerId, PartnerId};

/// The namespace of the owners of keys. It must never change: stored keys are found by it.
const ISSUERS: Uuid = uuid!("6f1d3c52-5a0e-4d0f-9b6c-1c2f7a8e9d43");

/// The owner within which the keys of callers with tokens of this issuer are unique.
pub(crate) fn key_owner(issuer: &str) -> OwnerId {
    OwnerId(Uuid::new_v5(&ISSUERS, issuer.as_bytes()))
}

/// The content that an idempotency key stands for. Hashes are stored, so a field keeps its tag
/// for ever, see [`Content`].
pub(crate) trait NetworkCommandContent {
    /// The hash over all fields of the command but its expected version.
    fn content_hash(&self) -> ContentHash;
}

/// Creates an enterprise without a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CreateEnterprise {
    pub(crate) name: String,
    pub(crate) oes_licensed: bool,
}

impl NetworkCommandContent for CreateEnterprise {
    fn content_hash(&self) -> ContentHash {
        Content::new()
            .field(1, &self.name)
            .field(2, [u8::from(self.oes_licensed)])
            .hash()
    }
}

/// Changes those fields of an enterprise that are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpdateEnterprise {
    pub(crate) id: EnterpriseId,
    pub(crate) name: Option<String>,
    pub(crate) oes_licensed: Option<bool>,
    pub(crate) expected_version: Option<i64>,
}

impl NetworkCommandContent for UpdateEnterprise {
    fn content_hash(&self) -> ContentHash {
        Content::new()
            .field(1, self.id.0)
            .optional(2, self.name.as_ref())
            .optional(3, self.oes_licensed.map(|licensed| [u8::from(licensed)]))
            .hash()
    }
}

/// Creates the client of an enterprise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CreateClient {
    pub(crate) enterprise_id: EnterpriseId,
    pub(crate) name: String,
}

impl NetworkCommandContent for CreateClient {
    fn content_hash(&self) -> ContentHash {
        Content::new()
            .field(1, self.enterprise_id.0)
            .field(2, &self.name)
            .hash()
    }
}

/// Changes those fields of a client that are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpdateClient {
    pub(crate) id: ClientId,
    pub(crate) name: Option<String>,
    pub(crate) expected_version: Option<i64>,
}

impl NetworkCommandContent for UpdateClient {
    fn content_hash(&self) -> ContentHash {
        Content::new()
            .field(1, self.id.0)
            .optional(2, self.name.as_ref())
            .hash()
    }
}

/// Creates a partner of an enterprise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CreatePartner {
    pub(crate) enterprise_id: EnterpriseId,
    pub(crate) name: String,
    pub(crate) institution_identifier: String,
}

impl NetworkCommandContent for CreatePartner {
    fn content_hash(&self) -> ContentHash {
        Content::new()
            .field(1, self.enterprise_id.0)
            .field(2, &self.name)
            .field(3, &self.institution_identifier)
            .hash()
    }
}

/// Changes those fields of a partner that are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpdatePartner {
    pub(crate) id: PartnerId,
    pub(crate) name: Option<String>,
    pub(crate) institution_identifier: Option<String>,
    pub(crate) expected_version: Option<i64>,
}

impl NetworkCommandContent for UpdatePartner {
    fn content_hash(&self) -> ContentHash {
        Content::new()
            .field(1, self.id.0)
            .optional(2, self.name.as_ref())
            .optional(3, self.institution_identifier.as_ref())
            .hash()
    }
}

/// Creates a connection between a client and a partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CreateConnection {
    pub(crate) client_id: ClientId,
    pub(crate) partner_id: PartnerId,
    pub(crate) name: String,
    pub(crate) partners_connection_id: Option<String>,
    pub(crate) mode: NetworkMode,
}

impl NetworkCommandContent for CreateConnection {
    fn content_hash(&self) -> ContentHash {
        Content::new()
            .field(1, self.client_id.0)
            .field(2, self.partner_id.0)
            .field(3, &self.name)
            .optional(4, self.partners_connection_id.as_ref())
            .field(5, self.mode.as_str())
            .hash()
    }
}

/// Changes those fields of a connection that are set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpdateConnection {
    pub(crate) id: ConnectionId,
    pub(crate) name: Option<String>,
    pub(crate) allocations: Option<NetworkDirection>,
    pub(crate) deallocations: Option<NetworkDirection>,
    /// The partner's own id of the connection; the empty text removes it.
    pub(crate) partners_connection_id: Option<String>,
    pub(crate) expected_version: Option<i64>,
}

impl NetworkCommandContent for UpdateConnection {
    fn content_hash(&self) -> ContentHash {
        let enabled = |direction: &Option<NetworkDirection>| {
            let direction = direction.as_ref()?;
            Some([u8::from(*direction == NetworkDirection::Enabled)])
        };
        // A request has one `disabled_reason` for all directions that it disables.
        let reason = [&self.allocations, &self.deallocations]
            .into_iter()
            .find_map(|direction| direction.as_ref()?.disabled_reason());
        Content::new()
            .field(1, self.id.0)
            .optional(2, self.name.as_ref())
            .optional(3, enabled(&self.allocations))
            .optional(4, enabled(&self.deallocations))
            .optional(5, reason)
            .optional(6, self.partners_connection_id.as_ref())
            .hash()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(hash: ContentHash) -> String {
        hash.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    const ID: Uuid = uuid!("0198a7b2-6a44-7c11-8d4e-000000000001");

    #[test]
    fn key_owners_are_for_ever() {
        let owner = key_owner("https://issuer.example");
        assert_eq!(owner.to_string(), "07d36c62-905d-5efa-b892-d398d86580ba");
    }

    #[test]
    fn hashes_of_creations_are_for_ever() {
        let enterprise = CreateEnterprise {
            name: "n".into(),
            oes_licensed: true,
        };
        let client = CreateClient {
            enterprise_id: EnterpriseId(ID),
            name: "n".into(),
        };
        let partner = CreatePartner {
            enterprise_id: EnterpriseId(ID),
            name: "n".into(),
            institution_identifier: "i".into(),
        };
        let connection = CreateConnection {
            client_id: ClientId(ID),
            partner_id: PartnerId(ID),
            name: "n".into(),
            partners_connection_id: None,
            mode: NetworkMode::Instant,
        };
        let hashes = [
            hex(enterprise.content_hash()),
            hex(client.content_hash()),
            hex(partner.content_hash()),
            hex(connection.content_hash()),
        ];
        assert_eq!(
            hashes,
            [
                "cdfedec9c572cac19dcd4c867e1ab663cb4c4851e7d7ccb7712cd2a96ead9c01",
                "d583faf78785f09d1aed37e51fc60092565d212612f6fd266a0a8a6683801998",
                "1445a8a262d6c9283a248a6cfa48c4d141106c26b8447f13a57b1c6d76adcb5f",
                "33a7d837ab871556cd999c741e896b14aeeb64a6f6900c16c114af9850682243",
            ]
        );
    }

    #[test]
    fn hashes_of_updates_are_for_ever() {
        let enterprise = UpdateEnterprise {
            id: EnterpriseId(ID),
            name: None,
            oes_licensed: Some(false),
            expected_version: Some(1),
        };
        let connection = UpdateConnection {
            id: ConnectionId(ID),
            name: None,
            allocations: Some(NetworkDirection::Enabled),
            deallocations: Some(NetworkDirection::Disabled {
                reason: "why".into(),
            }),
            partners_connection_id: None,
            expected_version: None,
        };
        let client = UpdateClient {
            id: ClientId(ID),
            name: Some("n".into()),
            expected_version: Some(1),
        };
        let partner = UpdatePartner {
            id: PartnerId(ID),
            name: None,
            institution_identifier: Some("i".into()),
            expected_version: None,
        };
        let renamed = UpdateConnection {
            partners_connection_id: Some(String::new()),
            ..connection.clone()
        };
        assert_eq!(
            [
                hex(enterprise.content_hash()),
                hex(connection.content_hash()),
                hex(client.content_hash()),
                hex(partner.content_hash()),
                hex(renamed.content_hash()),
            ],
            [
                "1641ed643dc075c3aad4363809dc26ea770eeb9a5fc93a41dd7a59f79ad1c18b",
                "a4bb4387b1696601d0b206d3aa19c45784ed3b95be93602995f707473fa15304",
                "d583faf78785f09d1aed37e51fc60092565d212612f6fd266a0a8a6683801998",
                "259474d1ee805d2f01b88d16860ca36c3e1b3b1703772be24876d6895f30eeed",
                "b6f110504b9e1a741b9f9be55dbceec9b81d2ff984497d1b3fb45e00d56ed379",
            ]
        );
    }

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
        assert_eq!(update.content_hash(), other.content_hash());
        let renamed = UpdateEnterprise {
            name: Some("m".into()),
            ..update.clone()
        };
        assert_ne!(update.content_hash(), renamed.content_hash());
    }

    #[test]
    fn each_direction_has_a_field_of_its_own() {
        let update = |allocations, deallocations| {
            let command = UpdateConnection {
                id: ConnectionId(Uuid::nil()),
                name: None,
                allocations,
                deallocations,
                partners_connection_id: None,
                expected_version: None,
            };
            command.content_hash()
        };
        let disabled = |reason: &str| {
            Some(NetworkDirection::Disabled {
                reason: reason.into(),
            })
        };
        let variants = [
            update(None, None),
            update(Some(NetworkDirection::Enabled), None),
            update(None, Some(NetworkDirection::Enabled)),
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
