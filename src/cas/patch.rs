//! JSON Patch (RFC 6902): reads the operations of a patch, and applies either all of them or none.

mod pointer;

pub(crate) use pointer::escape;

use crate::cas::json::Json;
use crate::error::{Error, Result, Violations, rule_with_value};
use crate::limits::{JSON_DEPTH_MAX, PATCH_BYTES_MAX, PATCH_OPERATIONS_MAX};
use crate::types::content::{Content, ContentHash};
use pointer::{JsonPointer, JsonPointerError};

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
type InvalidMember = (&'static str, String);

impl Patch {
    /// Reads the operations of a request.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] with the violations of all operations, up to the first that exceeds a bound.
    pub(crate) fn read<'a>(
        operations: impl IntoIterator<Item = PatchOperationText<'a>>,
    ) -> Result<Self> {
        let mut violations = Violations::default();
        let mut patch = Self {
            operations: Vec::new(),
            bytes: 0,
        };
        for (index, operation) in operations.into_iter().enumerate() {
            if index == PATCH_OPERATIONS_MAX {
                let rule = format!("must have at most {PATCH_OPERATIONS_MAX} operations");
                violations.add("operations", rule);
                break;
            }
            match PatchOperation::read(operation) {
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

    /// Applies the operations in order. The members of the document that `read_only` names may only be tested and
    /// copied; an operation that replaces the whole document must leave them as they were.
    ///
    /// # Errors
    /// [`Error::PatchTestFailed`] or [`Error::InvalidRequest`], for the first operation that fails.
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
                PatchRefusal::TestFailed => Error::PatchTestFailed { index },
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
    fn read(text: PatchOperationText<'_>) -> Result<Self, Vec<InvalidMember>> {
        let mut members = OperationReader {
            text,
            invalid: Vec::new(),
        };
        let operation = match text.op {
            "add" => Self::Add {
                path: members.path(),
                value: members.value(),
            },
            "remove" => Self::Remove {
                path: members.path(),
            },
            "replace" => Self::Replace {
                path: members.path(),
                value: members.value(),
            },
            "move" => Self::Move {
                path: members.path(),
                from: members.from(),
            },
            "copy" => Self::Copy {
                path: members.path(),
                from: members.from(),
            },
            "test" => Self::Test {
                path: members.path(),
                value: members.value(),
            },
            other => {
                let rule = "must be one of add, remove, replace, move, copy, test";
                return Err(vec![("op", rule_with_value(rule, other))]);
            }
        };
        members.check(&operation);
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
    invalid: Vec<InvalidMember>,
}

impl OperationReader<'_> {
    fn path(&mut self) -> JsonPointer {
        self.pointer("path", Some(self.text.path))
    }

    fn from(&mut self) -> JsonPointer {
        self.pointer("from", self.text.from)
    }

    fn pointer(&mut self, member: &'static str, text: Option<&str>) -> JsonPointer {
        match text.map(JsonPointer::parse) {
            Some(Ok(pointer)) => return pointer,
            Some(Err(rule)) => self.invalid.push((member, rule)),
            None => self.invalid.push((member, "is required".into())),
        }
        JsonPointer::default()
    }

    fn value(&mut self) -> Json {
        let rule = match self.text.value_json.map(Json::parse) {
            Some(Ok(value)) => return value,
            Some(Err(error)) => error.to_string(),
            None => "is required".into(),
        };
        self.invalid.push(("value_json", rule));
        Json::Null
    }

    /// Checks the rules that hold for any document.
    fn check(&mut self, operation: &PatchOperation) {
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
                self.invalid
                    .push(("path", rule_with_value(rule, self.text.path)));
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
    TestFailed,
    Invalid(InvalidMember),
}

type StepResult<T = ()> = Result<T, PatchRefusal>;

impl PatchRun<'_> {
    fn apply(&mut self, operation: &PatchOperation) -> StepResult {
        match operation {
            PatchOperation::Add { path, value } => self.insert(path, value.clone()),
            PatchOperation::Remove { path } => self.remove("path", path).map(drop),
            PatchOperation::Replace { path, value } => self.replace(path, value.clone()),
            PatchOperation::Move { from, path } => self.relocate(from, path),
            PatchOperation::Copy { from, path } => self.copy(from, path),
            PatchOperation::Test { path, value } => {
                let found = path.get(&self.document).map_err(refused("path", path))?;
                (found == value)
                    .then_some(())
                    .ok_or(PatchRefusal::TestFailed)
            }
        }
    }

    fn relocate(&mut self, from: &JsonPointer, path: &JsonPointer) -> StepResult {
        if from.is_whole() {
            // `path` is the whole document too: any other location would be inside `from`, see `check`.
            return Ok(());
        }
        let value = self.remove("from", from)?;
        self.insert(path, value)
    }

    fn copy(&mut self, from: &JsonPointer, path: &JsonPointer) -> StepResult {
        let found = from.get(&self.document).map_err(refused("from", from))?;
        self.bytes += found.bytes();
        if self.bytes > PATCH_BYTES_MAX {
            return Err(PatchRefusal::Invalid(("from", too_large())));
        }
        let value = found.clone();
        self.insert(path, value)
    }

    fn insert(&mut self, path: &JsonPointer, value: Json) -> StepResult {
        self.require_writable("path", path)?;
        require_depth(path, &value)?;
        path.insert(&mut self.document, value)
            .map_err(refused("path", path))?;
        self.require_read_only_unchanged(path)
    }

    fn replace(&mut self, path: &JsonPointer, value: Json) -> StepResult {
        self.require_writable("path", path)?;
        require_depth(path, &value)?;
        let target = path.get_mut(&mut self.document);
        *target.map_err(refused("path", path))? = value;
        self.require_read_only_unchanged(path)
    }

    fn remove(&mut self, member: &'static str, path: &JsonPointer) -> StepResult<Json> {
        self.require_writable(member, path)?;
        path.remove(&mut self.document)
            .map_err(refused(member, path))
    }

    /// Refuses a location that is a read-only member or inside one.
    fn require_writable(&self, member: &'static str, path: &JsonPointer) -> StepResult {
        match self
            .read_only
            .iter()
            .find(|(name, _)| path.begins_with(name))
        {
            None => Ok(()),
            Some((name, _)) => {
                let rule = format!("must not be in `/{name}`, which is read-only");
                Err(PatchRefusal::Invalid((member, rule)))
            }
        }
    }

    /// Refuses to have replaced the whole document by one with other read-only members.
    fn require_read_only_unchanged(&self, path: &JsonPointer) -> StepResult {
        if !path.is_whole() {
            return Ok(());
        }
        for (name, before) in &self.read_only {
            if self.document.member(name) != before.as_ref() {
                let rule = format!("must not change `/{name}`, which is read-only");
                return Err(PatchRefusal::Invalid(("path", rule)));
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
    Err(PatchRefusal::Invalid(("path", rule)))
}

/// Converts the error of a location into a refusal of the member that names the location.
fn refused(
    member: &'static str,
    location: &JsonPointer,
) -> impl Fn(JsonPointerError) -> PatchRefusal {
    move |error| {
        let rule = rule_with_value(&error.to_string(), &location.to_string());
        PatchRefusal::Invalid((member, rule))
    }
}

#[cfg(test)]
mod tests;
