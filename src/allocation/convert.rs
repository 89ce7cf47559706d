//! Between proto and model.

use crate::allocation::model::{ClientList, Cursor, Order, Record, SortField, SortKey};
use crate::auth::caller::Caller;
use crate::error::{Error, Result};
use crate::ledger::command::{Action, AllocationReply, Command, Create, Origin};
use crate::ledger::model::{Balance, Direction, Status};
use crate::limits::ID_CHARS_MAX;
use crate::proto::allocation::v1 as pb;
use crate::proto::common::v1 as common;
use crate::rpc::page_token::Binding;
use crate::rpc::read::{Reader, timestamp};
use crate::types::amount::Amount;
use crate::types::content::{Content, ContentHash};
use crate::types::ids::{AllocationId, EnterpriseId};
use crate::types::page::{Page, Start};
use crate::types::unit::Unit;

/// Reads a new allocation: whose, and the command.
pub(super) fn create(
    request: pb::CreateAllocationRequest,
    caller: &Caller,
) -> Result<(EnterpriseId, Command)> {
    let mut read = Reader::new();
    let enterprise: EnterpriseId = read.id("enterprise_id", &request.enterprise_id);
    let connection = read.id("connection_id", &request.connection_id);
    let (unit, quantity) = read.amount("amount", request.amount.as_ref());
    let client_external_id = read.external_id("client_external_id", &request.client_external_id);
    let notes = read.optional_note("notes", request.notes.as_deref());
    read.finish()?;
    let mut create = Create {
        direction: Direction::Allocation,
        connection,
        unit,
        quantity,
        client_external_id,
        notes,
        expire_time: None,
        initiated_by: caller.subject.clone(),
        content: ContentHash([0; 32]),
    };
    create.content = content(&create);
    let command = Command::new(enterprise, request.validate_only, Action::Create(create));
    Ok((enterprise, command))
}

/// What makes two requests with one key the same. The type is part of the key, and who asks is not content. Tags are for
/// ever.
fn content(create: &Create) -> ContentHash {
    Content::new()
        .field(1, create.connection.0.as_bytes())
        .field(2, create.unit.as_str())
        .field(3, create.quantity.to_string())
        .optional(4, create.notes.as_ref())
        .optional(
            5,
            create.expire_time.map(|time| time.micros().to_be_bytes()),
        )
        .hash()
}

/// Reads which record of whose.
pub(super) fn get(request: &pb::GetAllocationRequest) -> Result<(EnterpriseId, AllocationId)> {
    let mut read = Reader::new();
    let enterprise = read.id("enterprise_id", &request.enterprise_id);
    let allocation = read.id("allocation_id", &request.allocation_id);
    read.finish()?;
    Ok((enterprise, allocation))
}

/// Reads a client's list, and what its page tokens are bound to.
pub(super) fn list(
    rpc: &str,
    request: pb::ListClientAllocationsRequest,
) -> Result<(ClientList, Binding)> {
    let mut read = Reader::new();
    let enterprise = read.id("enterprise_id", &request.enterprise_id);
    let ids = read.ids("allocation_ids", &request.allocation_ids);
    let types = read.enums("types", &request.types);
    let statuses = read.enums("statuses", &request.statuses);
    let units = read.units("currencies", &request.currencies);
    let connections = read.ids("connection_ids", &request.connection_ids);
    let partners = read.ids("partner_ids", &request.partner_ids);
    let (created_from, created_to) = read.time_range(
        ("created_on_or_after", request.created_on_or_after.as_ref()),
        ("created_before", request.created_before.as_ref()),
    );
    let client_external_ids = read.texts(
        "client_external_ids",
        &request.client_external_ids,
        ID_CHARS_MAX,
    );
    let order = order(&mut read, request.sort_field, request.sort_direction);
    let (number, size, token) = (
        request.page_number,
        request.page_size,
        request.page_token.clone(),
    );
    let binding = Binding::new(
        rpc,
        &pb::ListClientAllocationsRequest {
            page_number: 0,
            page_size: 0,
            page_token: String::new(),
            ..request
        },
    );
    let page = read.page(number, size, &token, binding);
    read.finish()?;
    require_cursor_of(order, &page)?;
    let list = ClientList {
        enterprise,
        ids,
        directions: types.into_iter().filter_map(direction).collect(),
        statuses: statuses.into_iter().filter_map(status).collect(),
        units,
        connections,
        partners,
        created_from,
        created_to,
        client_external_ids,
        order,
        page,
    };
    Ok((list, binding))
}

fn order(read: &mut Reader, field: i32, direction: i32) -> Order {
    let field = read.optional_enum("sort_field", field);
    let direction = read.optional_enum("sort_direction", direction);
    if field.is_none() && direction.is_some() {
        read.violation("sort_direction", "must not be set without sort_field");
    }
    let field = match field {
        None | Some(pb::AllocationSortField::Unspecified | pb::AllocationSortField::Id) => {
            SortField::Id
        }
        Some(pb::AllocationSortField::UpdatedAt) => SortField::UpdatedAt,
        Some(pb::AllocationSortField::Quantity) => SortField::Quantity,
        Some(pb::AllocationSortField::Currency) => SortField::Currency,
    };
    Order {
        field,
        descending: direction == Some(common::SortDirection::Desc),
    }
}

/// A token bound to this very sort has this sort's key, and a value that a record could have, unless somebody made it up.
fn require_cursor_of(order: Order, page: &Page<Cursor>) -> Result<()> {
    let Start::After(cursor) = &page.start else {
        return Ok(());
    };
    let fits = match (order.field, &cursor.key) {
        (SortField::Id, None) => true,
        (SortField::UpdatedAt, Some(SortKey::UpdatedAt(time))) => time.is_storable(),
        (SortField::Quantity, Some(SortKey::Quantity(text))) => {
            Amount::parse_quantity(text).is_some()
        }
        (SortField::Currency, Some(SortKey::Currency(text))) => Unit::parse(text).is_some(),
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(Error::PageTokenInvalid)
    }
}

fn direction(kind: pb::AllocationType) -> Option<Direction> {
    match kind {
        pb::AllocationType::Unspecified => None,
        pb::AllocationType::Allocation => Some(Direction::Allocation),
        pb::AllocationType::Deallocation => Some(Direction::Deallocation),
    }
}

fn status(status: pb::AllocationStatus) -> Option<Status> {
    match status {
        pb::AllocationStatus::Unspecified => None,
        pb::AllocationStatus::Reserved => Some(Status::Reserved),
        pb::AllocationStatus::Cleared => Some(Status::Cleared),
        pb::AllocationStatus::Released => Some(Status::Released),
    }
}

/// A record as answers have it.
impl From<Record> for pb::Allocation {
    fn from(record: Record) -> Self {
        let kind = match record.direction {
            Direction::Allocation => pb::AllocationType::Allocation,
            Direction::Deallocation => pb::AllocationType::Deallocation,
        };
        let status = match record.status {
            Status::Reserved => pb::AllocationStatus::Reserved,
            Status::Cleared => pb::AllocationStatus::Cleared,
            Status::Released => pb::AllocationStatus::Released,
        };
        Self {
            id: record.id.to_string(),
            r#type: kind.into(),
            status: status.into(),
            amount: Some(common::Amount {
                currency: record.unit.to_string(),
                quantity: record.quantity.to_string(),
            }),
            connection_id: record.connection.to_string(),
            client_id: record.client.to_string(),
            partner_id: record.partner.to_string(),
            client_external_id: record.client_external_id,
            partner_external_id: record.partner_external_id,
            initiated_by: record.initiated_by,
            notes: record.notes,
            reason: record.reason,
            retriable: false,
            created_at: Some(timestamp(record.created_at)),
            updated_at: Some(timestamp(record.updated_at)),
        }
    }
}

/// A balance as answers have it.
impl From<Balance> for common::Balance {
    fn from(balance: Balance) -> Self {
        Self {
            available: balance.available.to_string(),
            held: balance.held.to_string(),
            version: balance.version,
        }
    }
}

/// The record of an answer; one that was only validated has neither id nor times.
pub(super) fn created(reply: AllocationReply) -> pb::CreateAllocationResponse {
    let validated = reply.origin == Origin::Validated;
    let mut allocation = pb::Allocation::from(Record::from(reply.allocation));
    if validated {
        allocation.id.clear();
        allocation.created_at = None;
        allocation.updated_at = None;
    }
    pb::CreateAllocationResponse {
        allocation: Some(allocation),
        custody_balance: Some(reply.custody.into()),
        connection_balance: Some(reply.connection.into()),
    }
}
