//! Conversion between the messages of `earmark.cas.v1` and the types of this service.

mod record;
mod search;

use crate::cas::model::RecordFields;
use crate::cas::patch::{Patch, PatchOperationText};
use crate::cas::validate::FieldNaming;
use crate::cas::write::{
    CasChange, CasTarget, CasWriteRequest, ChangeCasAllocation, CreateCasAllocation,
};
use crate::error::{Error, Result, Violations};
use crate::proto::cas::v1 as pb;
use crate::rpc::read::Reader;
use crate::types::content::{Content, ContentHash};
use crate::types::ids::CasAllocationId;

pub(super) use record::to_message;
pub(super) use search::search;

// Tags of the content of a call. Smaller ones are those of the record, see `RecordFields::content`; none may change.
const ID_TAG: u16 = 100;
const SOURCE_ID_TAG: u16 = 101;
const PATCH_TAG: u16 = 102;
const ALLOW_MISSING_TAG: u16 = 103;

pub(super) fn get(message: &pb::GetAllocationRequest) -> Result<CasAllocationId> {
    let mut reader = Reader::new();
    let id = reader.id("id", &message.id);
    reader.finish()?;
    Ok(id)
}

/// Reads the fields that a caller sets; those that the server sets are ignored.
fn record_fields(reader: &mut Reader, message: Option<pb::CasAllocation>) -> RecordFields {
    let Some(message) = message else {
        reader.violation("allocation", "is required");
        return RecordFields::default();
    };
    let fields = record::read_fields(reader, message);
    let mut violations = Violations::default();
    fields.validate(FieldNaming::Proto, &mut violations);
    reader.add(violations);
    fields
}

/// What the request of any write has beside its command.
struct WriteOptions {
    rpc: &'static str,
    request_id: String,
    validate_only: bool,
}

impl WriteOptions {
    /// Ends the reading of a write, whose repetitions must have the same content.
    fn finish<C>(
        self,
        mut reader: Reader,
        command: C,
        content: ContentHash,
    ) -> Result<CasWriteRequest<C>> {
        let request_id = reader.optional_external_id("request_id", &self.request_id);
        reader.finish()?;
        Ok(CasWriteRequest {
            command,
            rpc: self.rpc,
            request_id,
            content,
            validate_only: self.validate_only,
        })
    }
}

pub(super) fn create(
    rpc: &'static str,
    message: pb::CreateAllocationRequest,
) -> Result<CasWriteRequest<CreateCasAllocation>> {
    let mut reader = Reader::new();
    let fields = record_fields(&mut reader, message.allocation);
    if fields.source_id.is_some() && !message.request_id.is_empty() {
        reader.violation(
            "request_id",
            "must not be set together with allocation.source_id, which is the idempotency key of the call",
        );
    }
    let options = WriteOptions {
        rpc,
        request_id: message.request_id,
        validate_only: message.validate_only,
    };
    let content = fields.content().hash();
    options.finish(reader, CreateCasAllocation { fields }, content)
}

pub(super) fn update(
    rpc: &'static str,
    message: pb::UpdateAllocationRequest,
) -> Result<CasWriteRequest<ChangeCasAllocation>> {
    let mut reader = Reader::new();
    let id = (!message.id.is_empty()).then(|| reader.id("id", &message.id));
    let has_record = message.allocation.is_some();
    let fields = record_fields(&mut reader, message.allocation);
    let target = match (id, &fields.source_id) {
        (Some(id), _) => CasTarget::Id(id),
        (None, Some(source_id)) => CasTarget::SourceId(source_id.clone()),
        (None, None) => {
            if has_record {
                reader.violation("id", "is required unless allocation.source_id is set");
            }
            CasTarget::SourceId(String::new())
        }
    };
    if message.allow_missing && !message.id.is_empty() {
        let rule = "must not be set together with id: only a record with allocation.source_id can be created";
        reader.violation("allow_missing", rule);
    }
    let content = match &target {
        CasTarget::Id(id) => fields.content().field(ID_TAG, id.0),
        CasTarget::SourceId(_) => fields.content(),
    };
    let content = content.optional(ALLOW_MISSING_TAG, message.allow_missing.then_some([1]));
    let command = ChangeCasAllocation {
        target,
        expected_version: message.expected_version,
        change: CasChange::Replace {
            fields: fields.into(),
            allow_missing: message.allow_missing,
        },
    };
    let options = WriteOptions {
        rpc,
        request_id: message.request_id,
        validate_only: message.validate_only,
    };
    options.finish(reader, command, content.hash())
}

pub(super) fn patch(
    rpc: &'static str,
    message: pb::PatchAllocationRequest,
) -> Result<CasWriteRequest<ChangeCasAllocation>> {
    let mut reader = Reader::new();
    let id: CasAllocationId = reader.id("id", &message.id);
    if message.operations.is_empty() {
        reader.violation("operations", "is required");
    }
    let operations = message
        .operations
        .iter()
        .map(|operation| PatchOperationText {
            op: &operation.op,
            path: &operation.path,
            from: operation.from.as_deref(),
            value_json: operation.value_json.as_deref(),
        });
    let patch = match Patch::read(operations) {
        Ok(patch) => patch,
        Err(Error::InvalidRequest(violations)) => {
            reader.add(violations);
            Patch::default()
        }
        Err(other) => return Err(other),
    };
    let content = Content::new()
        .field(ID_TAG, id.0)
        .field(PATCH_TAG, patch.content().hash().0);
    let command = ChangeCasAllocation {
        target: CasTarget::Id(id),
        expected_version: message.expected_version,
        change: CasChange::Patch(patch),
    };
    let options = WriteOptions {
        rpc,
        request_id: message.request_id,
        validate_only: message.validate_only,
    };
    options.finish(reader, command, content.hash())
}

pub(super) fn delete(
    rpc: &'static str,
    message: pb::DeleteAllocationRequest,
) -> Result<CasWriteRequest<ChangeCasAllocation>> {
    let mut reader = Reader::new();
    let id: CasAllocationId = reader.id("id", &message.id);
    let content = Content::new().field(ID_TAG, id.0).hash();
    let command = ChangeCasAllocation {
        target: CasTarget::Id(id),
        expected_version: message.expected_version,
        change: CasChange::Delete,
    };
    let options = WriteOptions {
        rpc,
        request_id: message.request_id,
        validate_only: message.validate_only,
    };
    options.finish(reader, command, content)
}

pub(super) fn delete_by_source_id(
    rpc: &'static str,
    message: pb::DeleteAllocationBySourceIdRequest,
) -> Result<CasWriteRequest<ChangeCasAllocation>> {
    let mut reader = Reader::new();
    let source_id = reader.external_id("source_id", &message.source_id);
    let content = Content::new().field(SOURCE_ID_TAG, &source_id).hash();
    let command = ChangeCasAllocation {
        target: CasTarget::SourceId(source_id),
        expected_version: message.expected_version,
        change: CasChange::Delete,
    };
    let options = WriteOptions {
        rpc,
        request_id: message.request_id,
        validate_only: message.validate_only,
    };
    options.finish(reader, command, content)
}
