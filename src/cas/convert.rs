//! Between the messages of `earmark.cas.v1` and the words of `model`.

mod record;
mod search;

use crate::cas::model::{Change, Command, Said, Spelling, Target, Write};
use crate::cas::patch::{Patch, Written};
use crate::db::request_key::RequestKey;
use crate::error::{Error, Result, Violations};
use crate::proto::cas::v1 as pb;
use crate::rpc::call::Call;
use crate::rpc::read::Reader;
use crate::types::content::{Content, ContentHash};
use crate::types::ids::{CasAllocationId, OwnerId};

pub(super) use record::show;
pub(super) use search::search;

/// Tags of a key's content; those below are a record's, see [`Said::content`].
const ID_TAG: u16 = 100;
const SOURCE_ID_TAG: u16 = 101;
const PATCH_TAG: u16 = 102;

/// Reads which record to return.
pub(super) fn get(message: &pb::GetAllocationRequest) -> Result<CasAllocationId> {
    let mut reader = Reader::new();
    let id = reader.id("id", &message.id);
    reader.finish()?;
    Ok(id)
}

/// Reads a record as its writer gave it; its server's members are ignored.
fn allocation(reader: &mut Reader, message: Option<pb::CasAllocation>) -> Said {
    let Some(message) = message else {
        reader.violation("allocation", "is required");
        return Said::default();
    };
    let said = record::said(reader, message);
    let mut violations = Violations::default();
    said.judge(Spelling::Message, &mut violations);
    reader.add(violations);
    said
}

/// What every write has beside its command.
struct Rest {
    request_id: String,
    validate_only: bool,
}

/// Ends the reading of a write: the call's key stands for this content.
fn write(
    mut reader: Reader,
    call: &Call,
    command: Command,
    content: ContentHash,
    rest: &Rest,
) -> Result<Write> {
    let request_id = reader.optional_external_id("request_id", &rest.request_id);
    reader.finish()?;
    let firm = OwnerId::of_firm(call.caller.require_firm()?);
    let key = request_id.map(|request_id| RequestKey {
        owner: firm,
        rpc: call.rpc.path,
        request_id,
        content,
    });
    Ok(Write {
        firm,
        subject: call.caller.subject.clone(),
        key,
        validate_only: rest.validate_only,
        command,
    })
}

pub(super) fn create(call: &Call, message: pb::CreateAllocationRequest) -> Result<Write> {
    let mut reader = Reader::new();
    let said = allocation(&mut reader, message.allocation);
    if said.source_id.is_some() && !message.request_id.is_empty() {
        reader.violation(
            "request_id",
            "must not be set together with allocation.source_id, which is the key",
        );
    }
    let content = said.content().hash();
    let rest = Rest {
        request_id: message.request_id,
        validate_only: message.validate_only,
    };
    write(reader, call, Command::Create(said.into()), content, &rest)
}

pub(super) fn update(call: &Call, message: pb::UpdateAllocationRequest) -> Result<Write> {
    let mut reader = Reader::new();
    let by_id = (!message.id.is_empty()).then(|| reader.id("id", &message.id));
    let has_record = message.allocation.is_some();
    let said = allocation(&mut reader, message.allocation);
    let target = match (by_id, &said.source_id) {
        (Some(id), _) => Target::Id(id),
        (None, Some(source_id)) => Target::SourceId(source_id.clone()),
        (None, None) => {
            if has_record {
                reader.violation("id", "is required unless allocation.source_id is set");
            }
            Target::SourceId(String::new())
        }
    };
    let content = said.content();
    let content = match &target {
        Target::Id(id) => content.field(ID_TAG, id.0),
        Target::SourceId(_) => content,
    };
    let command = Command::Change {
        target,
        expected_version: message.expected_version,
        change: Change::Replace(said.into()),
    };
    let rest = Rest {
        request_id: message.request_id,
        validate_only: message.validate_only,
    };
    write(reader, call, command, content.hash(), &rest)
}

pub(super) fn patch(call: &Call, message: pb::PatchAllocationRequest) -> Result<Write> {
    let mut reader = Reader::new();
    let id: CasAllocationId = reader.id("id", &message.id);
    if message.operations.is_empty() {
        reader.violation("operations", "is required");
    }
    let operations = message.operations.iter().map(|operation| Written {
        op: &operation.op,
        path: &operation.path,
        from: operation.from.as_deref(),
        value_json: operation.value_json.as_deref(),
    });
    let patch = match Patch::read(operations) {
        Ok(patch) => Some(patch),
        Err(Error::InvalidRequest(violations)) => {
            reader.add(violations);
            None
        }
        Err(other) => return Err(other),
    };
    let mut content = Content::new().field(ID_TAG, id.0);
    if let Some(patch) = &patch {
        content = content.field(PATCH_TAG, patch.content().hash().0);
    }
    let command = Command::Change {
        target: Target::Id(id),
        expected_version: message.expected_version,
        // One that cannot be read is never carried out.
        change: patch.map_or(Change::Delete, Change::Patch),
    };
    let rest = Rest {
        request_id: message.request_id,
        validate_only: message.validate_only,
    };
    write(reader, call, command, content.hash(), &rest)
}

pub(super) fn delete(call: &Call, message: pb::DeleteAllocationRequest) -> Result<Write> {
    let mut reader = Reader::new();
    let id: CasAllocationId = reader.id("id", &message.id);
    let command = Command::Change {
        target: Target::Id(id),
        expected_version: message.expected_version,
        change: Change::Delete,
    };
    let content = Content::new().field(ID_TAG, id.0).hash();
    let rest = Rest {
        request_id: message.request_id,
        validate_only: message.validate_only,
    };
    write(reader, call, command, content, &rest)
}

pub(super) fn delete_by_source_id(
    call: &Call,
    message: pb::DeleteAllocationBySourceIdRequest,
) -> Result<Write> {
    let mut reader = Reader::new();
    let source_id = reader.external_id("source_id", &message.source_id);
    let content = Content::new().field(SOURCE_ID_TAG, &source_id).hash();
    let command = Command::Change {
        target: Target::SourceId(source_id),
        expected_version: message.expected_version,
        change: Change::Delete,
    };
    let rest = Rest {
        request_id: message.request_id,
        validate_only: message.validate_only,
    };
    write(reader, call, command, content, &rest)
}
