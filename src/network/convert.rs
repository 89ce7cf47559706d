//! Converts the messages of `earmark.network.v1` to the types of `model`, and records to messages.

use uuid::Uuid;

use crate::auth::caller::Caller;
use crate::db::record_write::RecordWrite;
use crate::db::request_key::RequestKey;
use crate::error::Result;
use crate::limits::{ID_CHARS_MAX, NAME_CHARS_MAX, NOTE_CHARS_MAX};
use crate::network::model::{
    CreateClient, CreateConnection, CreateEnterprise, CreatePartner, NetworkClient,
    NetworkCommandContent, NetworkConnection, NetworkDirection, NetworkEnterprise, NetworkFilter,
    NetworkMode, NetworkPartner, NetworkViewer, UpdateClient, UpdateConnection, UpdateEnterprise,
    UpdatePartner, key_owner,
};
use crate::proto::network::v1 as pb;
use crate::rpc::call::Call;
use crate::rpc::page_token::Binding;
use crate::rpc::read::{Reader, timestamp};
use crate::types::ids::EnterpriseId;
use crate::types::page::Page;

/// A position in a list: the id of the last record before it. Ids sort by the microsecond of their creation, so their
/// order is that of (`created_at`, `id`).
pub(super) type Cursor = Uuid;

/// Reads the id in the only field of a request.
pub(super) fn id<T: From<Uuid>>(field: &str, value: &str) -> Result<T> {
    let mut reader = Reader::new();
    let id = reader.id(field, value);
    reader.finish()?;
    Ok(id)
}

/// Adds the arguments that every write has to a command.
fn write<C: NetworkCommandContent>(
    mut reader: Reader,
    call: &Call,
    command: C,
    request_id: &str,
    validate_only: bool,
) -> Result<RecordWrite<C>> {
    let request_id = reader.optional_external_id("request_id", request_id);
    reader.finish()?;
    let key = request_id.map(|request_id| RequestKey {
        owner: key_owner(&call.caller.issuer),
        rpc: call.rpc.path,
        request_id,
        content: command.content_hash(),
    });
    Ok(RecordWrite {
        command,
        key,
        validate_only,
    })
}

pub(super) fn create_enterprise(
    call: &Call,
    message: pb::CreateEnterpriseRequest,
) -> Result<RecordWrite<CreateEnterprise>> {
    let mut reader = Reader::new();
    let command = CreateEnterprise {
        name: reader.name("name", &message.name),
        oes_licensed: message.oes_licensed,
    };
    let (request_id, validate_only) = (&message.request_id, message.validate_only);
    write(reader, call, command, request_id, validate_only)
}

pub(super) fn update_enterprise(
    call: &Call,
    message: pb::UpdateEnterpriseRequest,
) -> Result<RecordWrite<UpdateEnterprise>> {
    let mut reader = Reader::new();
    let command = UpdateEnterprise {
        id: reader.id("enterprise_id", &message.enterprise_id),
        name: message.name.map(|name| reader.name("name", &name)),
        oes_licensed: message.oes_licensed,
        expected_version: message.expected_version,
    };
    let (request_id, validate_only) = (&message.request_id, message.validate_only);
    write(reader, call, command, request_id, validate_only)
}

pub(super) fn create_client(
    call: &Call,
    message: pb::CreateClientRequest,
) -> Result<RecordWrite<CreateClient>> {
    let mut reader = Reader::new();
    let command = CreateClient {
        enterprise_id: reader.id("enterprise_id", &message.enterprise_id),
        name: reader.name("name", &message.name),
    };
    let (request_id, validate_only) = (&message.request_id, message.validate_only);
    write(reader, call, command, request_id, validate_only)
}

pub(super) fn update_client(
    call: &Call,
    message: pb::UpdateClientRequest,
) -> Result<RecordWrite<UpdateClient>> {
    let mut reader = Reader::new();
    let command = UpdateClient {
        id: reader.id("client_id", &message.client_id),
        name: message.name.map(|name| reader.name("name", &name)),
        expected_version: message.expected_version,
    };
    let (request_id, validate_only) = (&message.request_id, message.validate_only);
    write(reader, call, command, request_id, validate_only)
}

pub(super) fn create_partner(
    call: &Call,
    message: pb::CreatePartnerRequest,
) -> Result<RecordWrite<CreatePartner>> {
    let mut reader = Reader::new();
    let command = CreatePartner {
        enterprise_id: reader.id("enterprise_id", &message.enterprise_id),
        name: reader.name("name", &message.name),
        institution_identifier: reader
            .new_id("institution_identifier", &message.institution_identifier),
    };
    let (request_id, validate_only) = (&message.request_id, message.validate_only);
    write(reader, call, command, request_id, validate_only)
}

pub(super) fn update_partner(
    call: &Call,
    message: pb::UpdatePartnerRequest,
) -> Result<RecordWrite<UpdatePartner>> {
    const IDENTIFIER: &str = "institution_identifier";
    let mut reader = Reader::new();
    let command = UpdatePartner {
        id: reader.id("partner_id", &message.partner_id),
        name: message.name.map(|name| reader.name("name", &name)),
        institution_identifier: message
            .institution_identifier
            .map(|identifier| reader.new_id(IDENTIFIER, &identifier)),
        expected_version: message.expected_version,
    };
    let (request_id, validate_only) = (&message.request_id, message.validate_only);
    write(reader, call, command, request_id, validate_only)
}

pub(super) fn create_connection(
    call: &Call,
    message: pb::CreateConnectionRequest,
) -> Result<RecordWrite<CreateConnection>> {
    let mut reader = Reader::new();
    let command = CreateConnection {
        client_id: reader.id("client_id", &message.client_id),
        partner_id: reader.id("partner_id", &message.partner_id),
        name: reader.name("name", &message.name),
        partners_connection_id: reader
            .optional_external_id("partners_connection_id", &message.partners_connection_id),
        mode: mode(reader.required_enum("mode", message.mode)),
    };
    let (request_id, validate_only) = (&message.request_id, message.validate_only);
    write(reader, call, command, request_id, validate_only)
}

pub(super) fn update_connection(
    call: &Call,
    message: pb::UpdateConnectionRequest,
) -> Result<RecordWrite<UpdateConnection>> {
    let mut reader = Reader::new();
    let id = reader.id("connection_id", &message.connection_id);
    let name = message.name.map(|name| reader.name("name", &name));
    let enabled = [message.allocations_enabled, message.deallocations_enabled];
    let reason = disabled_reason(&mut reader, &enabled, message.disabled_reason.as_deref());
    let [allocations, deallocations] = enabled.map(|enabled| {
        enabled.map(|enabled| match enabled {
            true => NetworkDirection::Enabled,
            false => NetworkDirection::Disabled {
                reason: reason.clone(),
            },
        })
    });
    let own_id = message.partners_connection_id.as_deref();
    let command = UpdateConnection {
        id,
        name,
        allocations,
        deallocations,
        // The empty one removes it.
        partners_connection_id: own_id.map(|id| {
            let id = reader.optional_external_id("partners_connection_id", id);
            id.unwrap_or_default()
        }),
        expected_version: message.expected_version,
    };
    let (request_id, validate_only) = (&message.request_id, message.validate_only);
    write(reader, call, command, request_id, validate_only)
}

/// Reads `disabled_reason`, which is required if a direction is disabled and must be unset otherwise.
fn disabled_reason(reader: &mut Reader, enabled: &[Option<bool>], reason: Option<&str>) -> String {
    const FIELD: &str = "disabled_reason";
    let disables = enabled.contains(&Some(false));
    match reason {
        reason if disables => reader.required_text(FIELD, reason.unwrap_or(""), NOTE_CHARS_MAX),
        Some(_) => {
            reader.violation(FIELD, "must not be set unless a direction is disabled");
            String::new()
        }
        None => String::new(),
    }
}

fn mode(mode: pb::ConnectionMode) -> NetworkMode {
    match mode {
        // The reader has recorded a violation for an unset mode, so this value is never used.
        pb::ConnectionMode::Unspecified | pb::ConnectionMode::Instant => NetworkMode::Instant,
        pb::ConnectionMode::Confirmed => NetworkMode::Confirmed,
    }
}

/// The arguments of `ListPartners` and `ListConnections`.
pub(super) struct List {
    pub(super) enterprise: EnterpriseId,
    pub(super) filter: NetworkFilter,
    pub(super) page: Page<Cursor>,
    pub(super) binding: Binding,
}

pub(super) fn list_partners(call: &Call, message: pb::ListPartnersRequest) -> Result<List> {
    let binding = Binding::new(call.rpc.path, &message);
    let fields = NetworkListFields {
        enterprise_id: &message.enterprise_id,
        connection_ids: &message.connection_ids,
        client_ids: &message.client_ids,
        partner_ids: &message.partner_ids,
        partners_connection_ids: &message.partners_connection_ids,
        names: &message.names,
        active: message.active,
        page_size: message.page_size,
        page_token: &message.page_token,
    };
    fields.read(binding)
}

pub(super) fn list_connections(call: &Call, message: pb::ListConnectionsRequest) -> Result<List> {
    let binding = Binding::new(call.rpc.path, &message);
    let fields = NetworkListFields {
        enterprise_id: &message.enterprise_id,
        connection_ids: &message.connection_ids,
        client_ids: &message.client_ids,
        partner_ids: &message.partner_ids,
        partners_connection_ids: &message.partners_connection_ids,
        names: &message.names,
        active: message.active,
        page_size: message.page_size,
        page_token: &message.page_token,
    };
    fields.read(binding)
}

/// The fields that the requests of both lists have.
struct NetworkListFields<'m> {
    enterprise_id: &'m str,
    connection_ids: &'m [String],
    client_ids: &'m [String],
    partner_ids: &'m [String],
    partners_connection_ids: &'m [String],
    names: &'m [String],
    active: Option<bool>,
    page_size: i32,
    page_token: &'m str,
}

impl NetworkListFields<'_> {
    fn read(&self, binding: Binding) -> Result<List> {
        let mut reader = Reader::new();
        let enterprise = reader.id("enterprise_id", self.enterprise_id);
        let filter = NetworkFilter {
            connection_ids: reader.ids("connection_ids", self.connection_ids),
            client_ids: reader.ids("client_ids", self.client_ids),
            partner_ids: reader.ids("partner_ids", self.partner_ids),
            partners_connection_ids: reader.texts(
                "partners_connection_ids",
                self.partners_connection_ids,
                ID_CHARS_MAX,
            ),
            names: reader.texts("names", self.names, NAME_CHARS_MAX),
            active: self.active,
        };
        let page = reader.page(self.page_size, self.page_token, binding);
        reader.finish()?;
        Ok(List {
            enterprise,
            filter,
            page,
            binding,
        })
    }
}

/// Reads the page of `ListEnterprises`. Its token is bound to the enterprises that the caller may see.
pub(super) fn list_enterprises(
    call: &Call,
    message: &pb::ListEnterprisesRequest,
) -> Result<(Page<Cursor>, Binding)> {
    let binding = Binding::with_owner(call.rpc.path, message, &visible_enterprises(&call.caller));
    let mut reader = Reader::new();
    let page = reader.page(message.page_size, &message.page_token, binding);
    reader.finish()?;
    Ok((page, binding))
}

/// The enterprises that a caller may see, as bytes; none for those who see all, or who are refused after conversion.
fn visible_enterprises(caller: &Caller) -> Vec<u8> {
    let Ok(NetworkViewer::Member(mut enterprises)) = NetworkViewer::of(caller) else {
        return Vec::new();
    };
    enterprises.sort_unstable();
    enterprises.dedup();
    enterprises
        .iter()
        .flat_map(|id| id.0.into_bytes())
        .collect()
}

impl From<NetworkEnterprise> for pb::Enterprise {
    fn from(enterprise: NetworkEnterprise) -> Self {
        Self {
            id: id_text(enterprise.id),
            name: enterprise.name,
            oes_licensed: enterprise.oes_licensed,
            client_id: enterprise.client_id.map(|id| id.to_string()),
            version: enterprise.version,
            created_at: enterprise.times.created_at.map(timestamp),
            updated_at: enterprise.times.updated_at.map(timestamp),
        }
    }
}

impl From<NetworkClient> for pb::Client {
    fn from(client: NetworkClient) -> Self {
        Self {
            id: id_text(client.id),
            enterprise_id: client.enterprise_id.to_string(),
            name: client.name,
            version: client.version,
            created_at: client.times.created_at.map(timestamp),
            updated_at: client.times.updated_at.map(timestamp),
        }
    }
}

impl From<NetworkPartner> for pb::Partner {
    fn from(partner: NetworkPartner) -> Self {
        Self {
            id: id_text(partner.id),
            enterprise_id: partner.enterprise_id.to_string(),
            name: partner.name,
            institution_identifier: partner.institution_identifier,
            version: partner.version,
            created_at: partner.times.created_at.map(timestamp),
            updated_at: partner.times.updated_at.map(timestamp),
        }
    }
}

impl From<NetworkConnection> for pb::Connection {
    fn from(connection: NetworkConnection) -> Self {
        let active = connection.is_active();
        let mode = match connection.mode {
            NetworkMode::Instant => pb::ConnectionMode::Instant,
            NetworkMode::Confirmed => pb::ConnectionMode::Confirmed,
        };
        Self {
            id: id_text(connection.id),
            client_id: connection.client_id.to_string(),
            client_name: connection.client_name,
            partner_id: connection.partner_id.to_string(),
            partner_name: connection.partner_name,
            active,
            name: connection.name,
            partners_connection_id: connection.partners_connection_id,
            mode: mode.into(),
            allocations_enabled: connection.allocations == NetworkDirection::Enabled,
            deallocations_enabled: connection.deallocations == NetworkDirection::Enabled,
            allocations_disabled_reason: connection.allocations.disabled_reason().map(Into::into),
            deallocations_disabled_reason: connection
                .deallocations
                .disabled_reason()
                .map(Into::into),
            version: connection.version,
            created_at: connection.times.created_at.map(timestamp),
            updated_at: connection.times.updated_at.map(timestamp),
        }
    }
}

/// The text of an id, which is empty if the record was only validated.
fn id_text(id: Option<impl ToString>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}
