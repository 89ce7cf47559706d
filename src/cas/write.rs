//! The commands that create and change allocations.

use std::fmt;

use crate::audit::{Named, RecordId};
use crate::cas::model::{CasAllocation, RecordFields};
use crate::cas::patch::Patch;
use crate::db::record_write::RecordWrite;
use crate::db::request_key::RequestKey;
use crate::types::content::ContentHash;
use crate::types::ids::{CasAllocationId, OwnerId};

/// Creates a record. Its source id, if it has one, is the idempotency key of the call.
#[derive(Clone, Debug)]
pub(crate) struct CreateCasAllocation {
    pub(crate) fields: RecordFields,
}

/// Changes or deletes a stored record.
#[derive(Clone, Debug)]
pub(crate) struct ChangeCasAllocation {
    pub(crate) target: CasTarget,
    /// Refuses the change if the stored record has another version.
    pub(crate) expected_version: Option<i64>,
    pub(crate) change: CasChange,
}

/// The ways to change a record.
#[derive(Clone, Debug)]
pub(crate) enum CasChange {
    /// Sets all fields to these; those that are unset here become unset.
    Replace {
        fields: Box<RecordFields>,
        /// Creates the record if there is none with the source id that is the target.
        allow_missing: bool,
    },
    /// Applies a JSON Patch to the document form.
    Patch(Patch),
    Delete,
}

/// The result of a change.
#[derive(Clone, Debug)]
pub(crate) struct ChangedCasAllocation {
    /// The record as it is after the change; of a deletion, as it was before.
    pub(crate) record: CasAllocation,
    /// Whether there was no such record before.
    pub(crate) is_created: bool,
}

impl Named for ChangedCasAllocation {
    const KIND: &'static str = CasAllocation::KIND;

    fn record_id(&self) -> Option<RecordId> {
        self.record.record_id()
    }
}

impl ChangedCasAllocation {
    /// The result of a change of a record that existed before.
    pub(crate) fn of(record: CasAllocation) -> Self {
        let is_created = false;
        Self { record, is_created }
    }
}

/// Identifies a record within its firm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CasTarget {
    Id(CasAllocationId),
    SourceId(String),
}

impl fmt::Display for CasTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::SourceId(id) => f.write_str(id),
        }
    }
}

/// The firm that a command is executed for, and who issued it.
#[derive(Clone, Debug)]
pub(crate) struct CasAuthor {
    /// Owner of the records that the command may read and change.
    pub(crate) firm: OwnerId,
    /// The subject of the caller's token.
    pub(crate) subject: String,
}

/// A command with its author.
#[derive(Clone, Debug)]
pub(crate) struct AuthoredCommand<C> {
    pub(crate) author: CasAuthor,
    pub(crate) command: C,
}

/// A write as its request states it, before the caller is authorised.
#[derive(Clone, Debug)]
pub(crate) struct CasWriteRequest<C> {
    pub(crate) command: C,
    /// The path of the method that was called.
    pub(crate) rpc: &'static str,
    /// The idempotency key, if the request has one.
    pub(crate) request_id: Option<String>,
    /// What a later call with the same `request_id` is compared by.
    pub(crate) content: ContentHash,
    /// Validates the command and returns its result, but writes nothing.
    pub(crate) validate_only: bool,
}

impl<C> CasWriteRequest<C> {
    /// The write to execute for this author, whose firm also owns the idempotency key.
    pub(crate) fn authored_by(self, author: CasAuthor) -> RecordWrite<AuthoredCommand<C>> {
        let key = self.request_id.map(|request_id| RequestKey {
            owner: author.firm,
            rpc: self.rpc,
            request_id,
            content: self.content,
        });
        RecordWrite {
            command: AuthoredCommand {
                author,
                command: self.command,
            },
            key,
            validate_only: self.validate_only,
        }
    }
}
