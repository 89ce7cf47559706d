//! JSON Patch (RFC 6902): reads the operations of a patch, and applies either all of them or none.

mod pointer;
mod schema;

pub(crate) use pointer::escape;

use crate::cas::json::{Json, JsonParseError};
use crate::error::{Error, Result, ViolatedRule, Violations, rule_with_value};
use crate::limits::{JSON_DEPTH_MAX, PATCH_BYTES_MAX, PATCH_OPERATIONS_MAX};
use crate::types::content::{Content, ContentHash};
use crate::types::nearest::nearest;
use pointer::{Absence, JsonPointer, MissingPart};
use schema::Access;

/// An operation as the request has it. Members that an operation of its kind does not use are ignored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PatchOperationText<'a> {
    /// `add`, `remove`, `replace`, `move`, `copy` or `test`.
    pub(crate) op: &'a str,
    /// JSON pointer to the location that the operation reads or writes.
    pub(crate) path: &'a str,
    /// JSON pointer to the location that `move` and `copy` take their value from.
    pub(crate) from: Option<&'a str>,
    /// The value of `add`, `replace` and `test`, as a JSON text.
    pub(crate) value_json: Option<&'a str>,
}

/// A list of valid operations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patch {
    operations: Vec<PatchOperation>,
    /// Size of all values in memory, in bytes.
    bytes: usize,
}

#[derive(Clone, Debug)]
enum PatchOperation {
    Add {
        path: JsonPointer,
        value: Json,
    },
    Remove {
        path: JsonPointer,
    },
    Replace {
        path: JsonPointer,
        value: Json,
    },
    Move {
        from: JsonPointer,
        path: JsonPointer,
    },
    Copy {
        from: JsonPointer,
        path: JsonPointer,
    },
    Test {
        path: JsonPointer,
        value: Json,
    },
}

/// The name of an operation's member, and the rule that it violates.
type InvalidMember = (&'static str, ViolatedRule);

/// The rule that a location violates whatever the document holds, if it does.
type PointerCheck = fn(&JsonPointer, Access) -> Result<(), ViolatedRule>;

impl Patch {
    /// Reads the operations of a request.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] with the violations of all operations, up to the first that exceeds a bound.
    pub(crate) fn read<'a>(
        operations: impl IntoIterator<Item = PatchOperationText<'a>>,
    ) -> Result<Self> {
        Self::read_checked(operations, schema::check)
    }

    fn read_checked<'a>(
        operations: impl IntoIterator<Item = PatchOperationText<'a>>,
        check: PointerCheck,
    ) -> Result<Self> {
        let mut violations = Violations::default();
        let mut patch = Self {
            operations: Vec::new(),
            bytes: 0,
        };
        let mut operations = operations.into_iter().enumerate();
        while let Some((index, operation)) = operations.next() {
            if index == PATCH_OPERATIONS_MAX {
                let count = index + 1 + operations.count();
                let rule =
                    format!("must have at most {PATCH_OPERATIONS_MAX} operations, got {count}");
                violations.add("operations", rule);
                break;
            }
            match PatchOperation::read(operation, check) {
                Ok(operation) => {
                    patch.bytes += operation.value().map_or(0, Json::bytes);
                    patch.operations.push(operation);
                }
                Err(invalid) => {
                    for (member, rule) in invalid {
                        violations.add_in_operation(index, member, rule);
                    }
                }
            }
            if patch.bytes > PATCH_BYTES_MAX {
                violations.add_in_operation(index, "value_json", too_large());
                break;
            }
        }
        violations.finish()?;
        Ok(patch)
    }

    /// The content that a repeated call is compared by. The tags are part of stored hashes and never change.
    pub(crate) fn content(&self) -> Content {
        let operations = self.operations.iter();
        operations.fold(Content::new(), |content, operation| {
            content.field(1, operation.content().0)
        })
    }

    /// Applies the operations in order. An operation that replaces the whole document must leave the members that
    /// `read_only` names as they were; no other operation addresses them.
    ///
    /// # Errors
    /// [`Error::PatchTestFailed`], [`Error::PatchPathMissing`] or [`Error::InvalidRequest`], for the first that fails.
    pub(crate) fn apply(&self, document: Json, read_only: &[&str]) -> Result<Json> {
        let mut run = PatchRun {
            bytes: self.bytes + document.bytes(),
            read_only: read_only
                .iter()
                .map(|name| (*name, document.member(name).cloned()))
                .collect(),
            document,
        };
        for (index, operation) in self.operations.iter().enumerate() {
            run.apply(operation).map_err(|refusal| match refusal {
                PatchRefusal::TestFailed(found) => Error::PatchTestFailed { index, found },
                PatchRefusal::Missing(member, reason) => Error::PatchPathMissing {
                    index,
                    member,
                    reason,
                },
                PatchRefusal::Invalid((member, rule)) => {
                    let mut violations = Violations::default();
                    violations.add_in_operation(index, member, rule);
                    Error::InvalidRequest(violations)
                }
            })?;
        }
        Ok(run.document)
    }
}

fn too_large() -> String {
    let mib = PATCH_BYTES_MAX / (1024 * 1024);
    format!(
        "must not make the patch too large: the record, all values and all copies may take {mib} MiB together"
    )
}

impl PatchOperation {
    fn read(text: PatchOperationText<'_>, check: PointerCheck) -> Result<Self, Vec<InvalidMember>> {
        let mut members = OperationReader {
            text,
            check,
            invalid: Vec::new(),
        };
        let operation = match text.op {
            "add" => Self::Add {
                path: members.path(Access::Add),
                value: members.value(),
            },
            "remove" => Self::Remove {
                path: members.path(Access::Change),
            },
            "replace" => Self::Replace {
                path: members.path(Access::Change),
                value: members.value(),
            },
            "move" => Self::Move {
                path: members.path(Access::Add),
                from: members.from(Access::Change),
            },
            "copy" => Self::Copy {
                path: members.path(Access::Add),
                from: members.from(Access::Read),
            },
            "test" => Self::Test {
                path: members.path(Access::Read),
                value: members.value(),
            },
            "" => return Err(vec![("op", "is required".into())]),
            other => {
                let known = ["add", "remove", "replace", "move", "copy", "test"];
                let rule = ViolatedRule::unknown_name("operation", other, &known);
                return Err(vec![("op", rule)]);
            }
        };
        members.require_sense(&operation);
        match members.invalid.is_empty() {
            true => Ok(operation),
            false => Err(members.invalid),
        }
    }

    fn content(&self) -> ContentHash {
        let (op, path, from) = match self {
            Self::Add { path, .. } => ("add", path, None),
            Self::Remove { path } => ("remove", path, None),
            Self::Replace { path, .. } => ("replace", path, None),
            Self::Move { from, path } => ("move", path, Some(from)),
            Self::Copy { from, path } => ("copy", path, Some(from)),
            Self::Test { path, .. } => ("test", path, None),
        };
        Content::new()
            .field(1, op)
            .field(2, path.to_string())
            .optional(3, from.map(JsonPointer::to_string))
            .optional(4, self.value().map(|value| value.content().0))
            .hash()
    }

    fn value(&self) -> Option<&Json> {
        match self {
            Self::Add { value, .. } | Self::Replace { value, .. } | Self::Test { value, .. } => {
                Some(value)
            }
            Self::Remove { .. } | Self::Move { .. } | Self::Copy { .. } => None,
        }
    }
}

/// Reads the members of one operation. Every method returns a value, a placeholder if the member is invalid; an
/// operation with an invalid member is discarded.
struct OperationReader<'a> {
    text: PatchOperationText<'a>,
    check: PointerCheck,
    invalid: Vec<InvalidMember>,
}

impl OperationReader<'_> {
    fn path(&mut self, access: Access) -> JsonPointer {
        self.pointer("path", Some(self.text.path), access)
    }

    fn from(&mut self, access: Access) -> JsonPointer {
        self.pointer("from", self.text.from, access)
    }

    fn pointer(&mut self, member: &'static str, text: Option<&str>, access: Access) -> JsonPointer {
        let rule = match text.map(JsonPointer::parse) {
            Some(Ok(pointer)) => match (self.check)(&pointer, access) {
                Ok(()) => return pointer,
                Err(rule) => rule,
            },
            Some(Err(rule)) => rule.into(),
            None => "is required".into(),
        };
        self.invalid.push((member, rule));
        JsonPointer::default()
    }

    fn value(&mut self) -> Json {
        let rule = match self.text.value_json {
            None => "is required".to_owned(),
            Some(text) => match Json::parse(text) {
                Ok(value) => return value,
                Err(error @ JsonParseError::Syntax { .. }) => format!("{error}{}", hint(text)),
                Err(error) => error.to_string(),
            },
        };
        self.invalid.push(("value_json", rule.into()));
        Json::Null
    }

    /// Checks the rules that hold for any document.
    fn require_sense(&mut self, operation: &PatchOperation) {
        if !self.invalid.is_empty() {
            return;
        }
        match operation {
            PatchOperation::Remove { path } if path.is_whole() => {
                let rule = "must not be empty: the whole document cannot be removed";
                self.invalid.push(("path", rule.into()));
            }
            PatchOperation::Move { from, path } if from.contains(path) => {
                let rule = "must not be inside `from`: a value cannot be moved into itself";
                let rule = rule_with_value(rule, self.text.path);
                self.invalid.push(("path", rule.into()));
            }
            _ => {}
        }
    }
}

/// The application of a patch to a document.
struct PatchRun<'a> {
    document: Json,
    /// Size in memory of the original document and of every value and copy added since, in bytes. It never decreases,
    /// and so bounds both the document and the work done on it.
    bytes: usize,
    /// The read-only members with their values in the original document.
    read_only: Vec<(&'a str, Option<Json>)>,
}

/// Why an operation cannot be applied.
enum PatchRefusal {
    /// What a `test` found instead.
    TestFailed(String),
    /// The member that names a location which is not there, and what would work.
    Missing(&'static str, String),
    Invalid(InvalidMember),
}

type StepResult<T = ()> = Result<T, PatchRefusal>;

impl PatchRun<'_> {
    fn apply(&mut self, operation: &PatchOperation) -> StepResult {
        match operation {
            PatchOperation::Add { path, value } => self.insert(path, value.clone()),
            PatchOperation::Remove { path } => {
                let advice = "leave this operation out, or test the member before it";
                self.remove("path", path, advice).map(drop)
            }
            PatchOperation::Replace { path, value } => self.replace(path, value.clone()),
            PatchOperation::Move { from, path } => self.relocate(from, path),
            PatchOperation::Copy { from, path } => self.copy(from, path),
            PatchOperation::Test { path, value } => self.test(path, value),
        }
    }

    /// Compares a value. An unset member reads as null, and so does everything inside of it, but for elements of arrays.
    fn test(&self, path: &JsonPointer, value: &Json) -> StepResult {
        let found = match path.get(&self.document) {
            Ok(found) => found,
            Err(missing) => match missing.why {
                Absence::Unset if !path.has_position_behind(missing.names) => &Json::Null,
                _ => return Err(PatchRefusal::TestFailed(not_there(path, missing))),
            },
        };
        if found == value {
            return Ok(());
        }
        let (found, value) = (found.shown(), value.shown());
        let is = match found == value {
            true => format!("is another value than the one in `value_json`: {found}"),
            false => format!("is {found}, not {value}"),
        };
        Err(PatchRefusal::TestFailed(format!("`{path}` {is}")))
    }

    fn relocate(&mut self, from: &JsonPointer, path: &JsonPointer) -> StepResult {
        if from.is_whole() {
            // `path` is the whole document too: any other location would be inside `from`, see `require_sense`.
            return Ok(());
        }
        let advice = "there is nothing to move; `add` sets a member to a value";
        let value = self.remove("from", from, advice)?;
        self.insert(path, value)
    }

    fn copy(&mut self, from: &JsonPointer, path: &JsonPointer) -> StepResult {
        let advice = "there is nothing to copy; `add` sets a member to a value";
        let found = from.get(&self.document);
        let found = found.map_err(|part| missing("from", from, part, advice))?;
        self.bytes += found.bytes();
        if self.bytes > PATCH_BYTES_MAX {
            return Err(PatchRefusal::Invalid(("from", too_large().into())));
        }
        let value = found.clone();
        self.insert(path, value)
    }

    fn insert(&mut self, path: &JsonPointer, value: Json) -> StepResult {
        require_depth(path, &value)?;
        path.insert(&mut self.document, value).map_err(|part| {
            let there = not_there(path, part);
            PatchRefusal::Missing(
                "path",
                match part.why {
                    Absence::NoElement(length) if part.names == path.depth() => {
                        format!("{there}: use a position of at most {length}, or `-` for the end")
                    }
                    Absence::NoElement(_) => there,
                    _ => format!("{there}: `add` it first"),
                },
            )
        })?;
        self.require_read_only_unchanged(path)
    }

    fn replace(&mut self, path: &JsonPointer, value: Json) -> StepResult {
        require_depth(path, &value)?;
        let target = path.get_mut(&mut self.document);
        let advice = "`add` sets a member whether it is set or not";
        *target.map_err(|part| missing("path", path, part, advice))? = value;
        self.require_read_only_unchanged(path)
    }

    fn remove(
        &mut self,
        member: &'static str,
        path: &JsonPointer,
        advice: &str,
    ) -> StepResult<Json> {
        path.remove(&mut self.document)
            .map_err(|part| missing(member, path, part, advice))
    }

    /// Refuses to have replaced the whole document by one with other read-only members.
    fn require_read_only_unchanged(&self, path: &JsonPointer) -> StepResult {
        if !path.is_whole() {
            return Ok(());
        }
        for (name, before) in &self.read_only {
            if self.document.member(name) != before.as_ref() {
                let rule = format!("must not change `/{name}`, which is read-only");
                return Err(PatchRefusal::Invalid(("path", rule.into())));
            }
        }
        Ok(())
    }
}

/// Refuses a value that would exceed the depth of the document.
fn require_depth(path: &JsonPointer, value: &Json) -> StepResult {
    if path.depth() + value.depth() <= JSON_DEPTH_MAX {
        return Ok(());
    }
    let rule = format!(
        "must not make the document deeper than {JSON_DEPTH_MAX} nested arrays and objects"
    );
    Err(PatchRefusal::Invalid(("path", rule.into())))
}

/// The refusal of an operation whose `member` names a location that is not there. `advice` says what would work for a
/// member of an object; for an element, the length of its array does.
fn missing(
    member: &'static str,
    path: &JsonPointer,
    part: MissingPart,
    advice: &str,
) -> PatchRefusal {
    let there = not_there(path, part);
    let reason = match part.why {
        Absence::NoElement(_) => there,
        Absence::Unset | Absence::NoContainer => format!("{there}: {advice}"),
    };
    PatchRefusal::Missing(member, reason)
}

/// What a location lacks, as a clause.
fn not_there(path: &JsonPointer, part: MissingPart) -> String {
    let lacking = path.first(part.names);
    match part.why {
        Absence::Unset => format!("`{lacking}` is unset"),
        Absence::NoElement(0) => format!("`{lacking}` is not there, the array is empty"),
        Absence::NoElement(1) => format!("`{lacking}` is not there, the array has 1 element"),
        Absence::NoElement(length) => {
            format!("`{lacking}` is not there, the array has {length} elements")
        }
        Absence::NoContainer => format!("`{lacking}` is neither an object nor an array"),
    }
}

/// What may have been meant by a text that is no JSON.
fn hint(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 60;
    let text = text.trim();
    let is_like_json = text.starts_with(['{', '[', '"']);
    if is_like_json || text.is_empty() || text.chars().count() > SHOWN_CHARS_MAX {
        return String::new();
    }
    match nearest(text, ["true", "false", "null"]) {
        Some(literal) => format!(": did you mean `{literal}`?"),
        None => {
            let quoted = serde_json::Value::from(text.trim_matches('\''));
            format!(": a text needs double quotes, `{quoted}`")
        }
    }
}

#[cfg(test)]
mod tests;
