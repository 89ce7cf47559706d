//! Converts requests of the service to commands and the model, and records to its answers.

use prost::Message;

use crate::allocation::model::{
    AllocationOrder, AllocationSide, AllocationSortField, AllocationSortKey, Cursor, List,
};
use crate::auth::caller::Caller;
use crate::error::{Error, Result};
use crate::ledger::account::Balance;
use crate::ledger::kind::{Command, Origin};
use crate::ledger::oes::model::{Allocation, AllocationRecord, AllocationTerms, Direction, Status};
use crate::ledger::oes::request::{
    AllocationReply, CloseAllocation, CreateAllocation, PartnerSide, SubmitAllocations, Verdict,
};
use crate::limits::{ID_CHARS_MAX, RESPONSE_BYTES_MAX, SUBMIT_ITEMS_MAX};
use crate::proto::allocation::v1 as pb;
use crate::proto::allocation::v1::submit_result::Outcome;
use crate::proto::common::v1 as common;
use crate::rpc::page_token::Binding;
use crate::rpc::read::{Reader, Rounding, timestamp};
use crate::rpc::status;
use crate::types::content::{Content, ContentHash};
use crate::types::ids::{AllocationId, EnterpriseId};
use crate::types::page::{Page, Start};

/// Reads a new allocation: the client's enterprise, and the command.
pub(super) fn create_allocation(
    request: pb::CreateAllocationRequest,
    caller: &Caller,
) -> Result<(EnterpriseId, Command<CreateAllocation>)> {
    let item = pb::SubmitItem {
        r#type: pb::AllocationType::Allocation.into(),
        connection_id: request.connection_id,
        amount: request.amount,
        client_external_id: request.client_external_id,
        notes: request.notes,
        expire_time: request.expire_time,
    };
    create(&request.enterprise_id, &item, request.validate_only, caller)
}

/// Reads a new deallocation: the client's enterprise, and the command.
pub(super) fn create_deallocation(
    request: pb::CreateDeallocationRequest,
    caller: &Caller,
) -> Result<(EnterpriseId, Command<CreateAllocation>)> {
    let item = pb::SubmitItem {
        r#type: pb::AllocationType::Deallocation.into(),
        connection_id: request.connection_id,
        amount: request.amount,
        client_external_id: request.client_external_id,
        notes: request.notes,
        expire_time: request.expire_time,
    };
    create(&request.enterprise_id, &item, request.validate_only, caller)
}

fn create(
    enterprise_id: &str,
    item: &pb::SubmitItem,
    validate_only: bool,
    caller: &Caller,
) -> Result<(EnterpriseId, Command<CreateAllocation>)> {
    let mut read = Reader::new();
    let enterprise: EnterpriseId = read.id("enterprise_id", enterprise_id);
    let create = create_of(&mut read, item, caller);
    read.finish()?;
    let command = Command::new(enterprise, validate_only, create);
    Ok((enterprise, command))
}

/// Reads one item, be it a request of its own or one of a submission.
fn create_of(read: &mut Reader, item: &pb::SubmitItem, caller: &Caller) -> CreateAllocation {
    let kind = read.required_enum("type", item.r#type);
    let connection = read.id("connection_id", &item.connection_id);
    let (unit, quantity) = read.amount("amount", item.amount.as_ref());
    let terms = AllocationTerms {
        // An unreadable type is a violation already: this value is never used.
        direction: direction(kind).unwrap_or(Direction::Allocation),
        connection,
        unit,
        quantity,
        client_external_id: read.external_id("client_external_id", &item.client_external_id),
        notes: read.note_or_none("notes", item.notes.as_deref()),
        expire_time: read.optional_time("expire_time", item.expire_time.as_ref(), Rounding::Down),
        initiated_by: caller.subject.clone(),
    };
    let content = content(&terms);
    CreateAllocation { terms, content }
}

/// Many creates as they were read: those that the ledger can judge, and what was wrong with the others.
pub(super) struct Submission {
    pub enterprise: EnterpriseId,
    /// All items that can be judged, in their order.
    pub command: Command<SubmitAllocations>,
    /// For each item: why it cannot be judged, or `None`.
    pub errors: Vec<Option<Error>>,
}

/// Reads many creates. Only the enterprise and the number of items can fail the call as a whole.
pub(super) fn submit(request: pb::SubmitAllocationsRequest, caller: &Caller) -> Result<Submission> {
    let mut read = Reader::new();
    let enterprise: EnterpriseId = read.id("enterprise_id", &request.enterprise_id);
    if request.items.is_empty() {
        read.violation("items", "is required");
    }
    if request.items.len() > SUBMIT_ITEMS_MAX {
        let count = request.items.len();
        let rule = format!("must have at most {SUBMIT_ITEMS_MAX} items, got {count}");
        read.violation("items", rule);
    }
    read.finish()?;
    let mut creates = Vec::with_capacity(request.items.len());
    let mut errors = Vec::with_capacity(request.items.len());
    for item in &request.items {
        match submit_item(item, caller) {
            Ok(create) => {
                creates.push(create);
                errors.push(None);
            }
            Err(error) => errors.push(Some(error)),
        }
    }
    let command = Command::new(
        enterprise,
        request.validate_only,
        SubmitAllocations(creates),
    );
    Ok(Submission {
        enterprise,
        command,
        errors,
    })
}

fn submit_item(item: &pb::SubmitItem, caller: &Caller) -> Result<CreateAllocation> {
    let mut read = Reader::new();
    let create = create_of(&mut read, item, caller);
    read.finish()?;
    Ok(create)
}

/// Converts the results, in the order of the items: those that were judged, and those that could not be.
pub(super) fn submitted(
    errors: Vec<Option<Error>>,
    judged: Vec<Result<AllocationReply>>,
) -> pb::SubmitAllocationsResponse {
    let mut judged = judged.into_iter();
    let results = errors.into_iter().map(|error| {
        let result = match error {
            Some(error) => Err(error),
            None => judged
                .next()
                .unwrap_or_else(|| Err(Error::internal("an item was not judged"))),
        };
        match result {
            Ok(reply) => pb::SubmitResult {
                replayed: reply.origin == Origin::Replayed,
                outcome: Some(Outcome::Allocation(record(reply.allocation))),
            },
            Err(error) => pb::SubmitResult {
                replayed: false,
                outcome: Some(Outcome::Error(status::item_error(&error))),
            },
        }
    });
    let mut results: Vec<_> = results.collect();
    clear_texts(&mut results);
    pb::SubmitAllocationsResponse { results }
}

/// Clears notes and reasons of the last records until the answer fits [`RESPONSE_BYTES_MAX`]: the command has been carried
/// out, so the call must not fail. A thousand records without these texts have less than 3 MiB.
fn clear_texts(results: &mut [pb::SubmitResult]) {
    let size = |result: &pb::SubmitResult| {
        let len = result.encoded_len();
        1 + prost::length_delimiter_len(len) + len
    };
    let mut bytes: usize = results.iter().map(size).sum();
    for result in results.iter_mut().rev() {
        if bytes <= RESPONSE_BYTES_MAX {
            return;
        }
        bytes -= size(result);
        if let Some(Outcome::Allocation(record)) = &mut result.outcome {
            (record.notes, record.reason) = (None, None);
        }
        bytes += size(result);
    }
}

/// A partner's verdict as it was read.
pub(super) struct PartnerVerdict {
    pub allocation: AllocationId,
    pub partner: PartnerSide,
    /// Why it is released; `None` if it is cleared.
    pub reason: Option<String>,
    pub validate_only: bool,
}

impl PartnerVerdict {
    /// The command to the owner of the value.
    pub(super) fn command(self, owner: EnterpriseId) -> Command<CloseAllocation> {
        let verdict = match self.reason {
            None => Verdict::Clear(self.partner),
            Some(reason) => Verdict::Release {
                partner: self.partner,
                reason,
            },
        };
        let close = CloseAllocation {
            allocation: self.allocation,
            verdict,
        };
        Command::new(owner, self.validate_only, close)
    }
}

/// Reads a partner's verdict that takes the value.
pub(super) fn clear(request: pb::ClearAllocationRequest) -> Result<PartnerVerdict> {
    verdict(&request, None)
}

/// Reads a partner's verdict that returns the value.
pub(super) fn release(request: pb::ReleaseAllocationRequest) -> Result<PartnerVerdict> {
    let common = pb::ClearAllocationRequest {
        enterprise_id: request.enterprise_id,
        connection_id: request.connection_id,
        allocation_id: request.allocation_id,
        partner_external_id: request.partner_external_id,
        validate_only: request.validate_only,
    };
    verdict(&common, Some(&request.reason))
}

/// Reads what both verdicts have, and the reason, which only a release has.
fn verdict(request: &pb::ClearAllocationRequest, reason: Option<&str>) -> Result<PartnerVerdict> {
    let mut read = Reader::new();
    let external_id = request.partner_external_id.as_deref();
    let verdict = PartnerVerdict {
        allocation: read.id("allocation_id", &request.allocation_id),
        partner: PartnerSide {
            enterprise: read.id("enterprise_id", &request.enterprise_id),
            connection: read.id("connection_id", &request.connection_id),
            external_id: external_id.map(|id| read.external_id("partner_external_id", id)),
        },
        reason: reason.map(|reason| read.note("reason", reason)),
        validate_only: request.validate_only,
    };
    read.finish()?;
    Ok(verdict)
}

/// Reads the client's cancellation: its enterprise, and the command.
pub(super) fn cancel(
    request: pb::CancelAllocationRequest,
) -> Result<(EnterpriseId, Command<CloseAllocation>)> {
    let mut read = Reader::new();
    let enterprise: EnterpriseId = read.id("enterprise_id", &request.enterprise_id);
    let close = CloseAllocation {
        allocation: read.id("allocation_id", &request.allocation_id),
        verdict: Verdict::Cancel {
            reason: read.note_or_none("reason", request.reason.as_deref()),
        },
    };
    read.finish()?;
    let command = Command::new(enterprise, request.validate_only, close);
    Ok((enterprise, command))
}

/// The hash by which a repeat of a key is compared: two requests with one key must agree in it. The type is part of the key,
/// and the caller is not compared. The tags never change, since hashes are stored.
fn content(terms: &AllocationTerms) -> ContentHash {
    Content::new()
        .field(1, terms.connection.0.as_bytes())
        .field(2, terms.unit.as_str())
        .field(3, terms.quantity.to_string())
        .optional(4, terms.notes.as_ref())
        .optional(5, terms.expire_time.map(|time| time.micros().to_be_bytes()))
        .hash()
}

/// Reads the request for one record: the enterprise that asks, and the record's id.
pub(super) fn get(request: &pb::GetAllocationRequest) -> Result<(EnterpriseId, AllocationId)> {
    let mut read = Reader::new();
    let enterprise = read.id("enterprise_id", &request.enterprise_id);
    let allocation = read.id("allocation_id", &request.allocation_id);
    read.finish()?;
    Ok((enterprise, allocation))
}

/// Reads a client's list, and what its page tokens are bound to.
pub(super) fn client_list(
    rpc: &str,
    request: pb::ListClientAllocationsRequest,
) -> Result<(List, Binding)> {
    let binding = Binding::new(rpc, &request);
    // The partner's request has all that the client's has.
    let request = pb::ListPartnerAllocationsRequest {
        enterprise_id: request.enterprise_id,
        allocation_ids: request.allocation_ids,
        types: request.types,
        statuses: request.statuses,
        currencies: request.currencies,
        connection_ids: request.connection_ids,
        partner_ids: request.partner_ids,
        created_on_or_after: request.created_on_or_after,
        created_before: request.created_before,
        partner_external_ids: request.partner_external_ids,
        client_external_ids: request.client_external_ids,
        updated_on_or_after: request.updated_on_or_after,
        updated_before: request.updated_before,
        page_number: request.page_number,
        page_size: request.page_size,
        sort_field: request.sort_field,
        sort_direction: request.sort_direction,
        page_token: request.page_token,
        client_ids: Vec::new(),
    };
    list(AllocationSide::Client, &request, binding).map(|list| (list, binding))
}

/// Reads a partner's list, and what its page tokens are bound to.
pub(super) fn partner_list(
    rpc: &str,
    request: pb::ListPartnerAllocationsRequest,
) -> Result<(List, Binding)> {
    let binding = Binding::new(rpc, &request);
    list(AllocationSide::Partner, &request, binding).map(|list| (list, binding))
}

/// Reads a list of either side.
fn list(
    side: AllocationSide,
    request: &pb::ListPartnerAllocationsRequest,
    binding: Binding,
) -> Result<List> {
    let mut read = Reader::new();
    let (created_from, created_to) = read.time_range(
        ("created_on_or_after", request.created_on_or_after.as_ref()),
        ("created_before", request.created_before.as_ref()),
    );
    let (updated_from, updated_to) = read.time_window(
        ("updated_on_or_after", request.updated_on_or_after.as_ref()),
        ("updated_before", request.updated_before.as_ref()),
    );
    let list = List {
        enterprise: read.id("enterprise_id", &request.enterprise_id),
        side,
        ids: read.ids("allocation_ids", &request.allocation_ids),
        directions: directions(&mut read, &request.types),
        statuses: statuses(&mut read, &request.statuses),
        units: read.units("currencies", &request.currencies),
        connections: read.ids("connection_ids", &request.connection_ids),
        clients: read.ids("client_ids", &request.client_ids),
        partners: read.ids("partner_ids", &request.partner_ids),
        created_from,
        created_to,
        updated_from,
        updated_to,
        client_external_ids: read.texts(
            "client_external_ids",
            &request.client_external_ids,
            ID_CHARS_MAX,
        ),
        partner_external_ids: read.texts(
            "partner_external_ids",
            &request.partner_external_ids,
            ID_CHARS_MAX,
        ),
        order: order(&mut read, request.sort_field, request.sort_direction),
        page: read.page_from_0(
            request.page_number,
            request.page_size,
            &request.page_token,
            binding,
        ),
    };
    read.finish()?;
    require_cursor_of(list.order, &list.page)?;
    Ok(list.with_window_of_open())
}

fn directions(read: &mut Reader, values: &[i32]) -> Vec<Direction> {
    let types = read.enums("types", values);
    types.into_iter().filter_map(direction).collect()
}

fn statuses(read: &mut Reader, values: &[i32]) -> Vec<Status> {
    let statuses = read.enums("statuses", values);
    statuses.into_iter().filter_map(status_of).collect()
}

fn order(read: &mut Reader, field: i32, direction: i32) -> AllocationOrder {
    let field = read.optional_enum("sort_field", field);
    let direction = read.optional_enum("sort_direction", direction);
    if field.is_none() && direction.is_some() {
        read.violation("sort_direction", "must not be set without sort_field");
    }
    let field = match field {
        None | Some(pb::AllocationSortField::Unspecified | pb::AllocationSortField::Id) => {
            AllocationSortField::Id
        }
        Some(pb::AllocationSortField::UpdatedAt) => AllocationSortField::UpdatedAt,
        Some(pb::AllocationSortField::Quantity) => AllocationSortField::Quantity,
        Some(pb::AllocationSortField::Currency) => AllocationSortField::Currency,
    };
    AllocationOrder {
        field,
        descending: direction == Some(common::SortDirection::Desc),
    }
}

/// A token that is bound to this sort has this sort's key, unless it was forged.
fn require_cursor_of(order: AllocationOrder, page: &Page<Cursor>) -> Result<()> {
    let Start::After(cursor) = &page.start else {
        return Ok(());
    };
    match (order.field, &cursor.key) {
        (AllocationSortField::Id, None)
        | (AllocationSortField::UpdatedAt, Some(AllocationSortKey::UpdatedAt(_)))
        | (AllocationSortField::Quantity, Some(AllocationSortKey::Quantity(_)))
        | (AllocationSortField::Currency, Some(AllocationSortKey::Currency(_))) => Ok(()),
        _ => Err(Error::PageTokenInvalid),
    }
}

fn direction(kind: pb::AllocationType) -> Option<Direction> {
    match kind {
        pb::AllocationType::Unspecified => None,
        pb::AllocationType::Allocation => Some(Direction::Allocation),
        pb::AllocationType::Deallocation => Some(Direction::Deallocation),
    }
}

fn status_of(status: pb::AllocationStatus) -> Option<Status> {
    match status {
        pb::AllocationStatus::Unspecified => None,
        pb::AllocationStatus::Reserved => Some(Status::Reserved),
        pb::AllocationStatus::Cleared => Some(Status::Cleared),
        pb::AllocationStatus::Released => Some(Status::Released),
    }
}

impl From<AllocationRecord> for pb::Allocation {
    fn from(record: AllocationRecord) -> Self {
        let terms = record.terms;
        let kind = match terms.direction {
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
                currency: terms.unit.to_string(),
                quantity: terms.quantity.to_string(),
            }),
            connection_id: terms.connection.to_string(),
            client_id: record.client.to_string(),
            partner_id: record.partner.to_string(),
            client_external_id: terms.client_external_id,
            partner_external_id: record.partner_external_id,
            initiated_by: terms.initiated_by,
            notes: terms.notes,
            reason: record.reason,
            retriable: false,
            expire_time: terms.expire_time.map(timestamp),
            created_at: Some(timestamp(record.created_at)),
            updated_at: Some(timestamp(record.updated_at)),
        }
    }
}

impl From<Balance> for common::Balance {
    fn from(balance: Balance) -> Self {
        Self {
            available: balance.available.to_string(),
            held: balance.held.to_string(),
            version: balance.version,
        }
    }
}

/// Converts the record of a write. A new one that was only validated has neither id nor times.
pub(super) fn record(allocation: Allocation) -> pb::Allocation {
    let validated = allocation.record.id == AllocationId::NIL;
    let mut record = pb::Allocation::from(allocation.record);
    if validated {
        record.id.clear();
        record.created_at = None;
        record.updated_at = None;
    }
    record
}
