//! RFC 6902 (JSON Patch): reads operations, then applies all of them or none.

mod pointer;

pub(crate) use pointer::escape;

use crate::cas::json::Json;
use crate::error::{Error, Result, Violations};
use crate::limits::{JSON_DEPTH_MAX, PATCH_BYTES_MAX, PATCH_OPERATIONS_MAX};
use crate::types::content::{Content, ContentHash};
use pointer::{Fault, Pointer};

/// An operation as its caller wrote it. What the operation has no use for is ignored, whatever it is.
#[derive(Clone, Copy, Debug)]
pub struct Written<'a> {
    /// `add`, `remove`, `replace`, `move`, `copy` or `test`.
    pub op: &'a str,
    /// The location it is about.
    pub path: &'a str,
    /// The location to move or copy from.
    pub from: Option<&'a str>,
    /// The value to add, to put in place or to test for, as a JSON text.
    pub value_json: Option<&'a str>,
}

/// What to do with a document.
#[derive(Clone, Debug)]
pub struct Patch {
    operations: Vec<Operation>,
    /// What the values take in memory.
    bytes: usize,
}

#[derive(Clone, Debug)]
enum Operation {
    Add { path: Pointer, value: Json },
    Remove { path: Pointer },
    Replace { path: Pointer, value: Json },
    Move { from: Pointer, path: Pointer },
    Copy { from: Pointer, path: Pointer },
    Test { path: Pointer, value: Json },
}

/// What is wrong with an operation: the member that says it, and why.
type Wrong = (&'static str, String);

impl Patch {
    /// Reads operations, and collects everything that is wrong with them.
    pub fn read<'a>(written: impl IntoIterator<Item = Written<'a>>) -> Result<Self> {
        let mut violations = Violations::default();
        let mut patch = Self {
            operations: Vec::new(),
            bytes: 0,
        };
        for (index, written) in written.into_iter().enumerate() {
            if index == PATCH_OPERATIONS_MAX {
                let description = format!("takes at most {PATCH_OPERATIONS_MAX} operations");
                violations.add("operations", description);
                break;
            }
            match Operation::read(written) {
                Ok(operation) => {
                    patch.bytes += operation.value().map_or(0, Json::bytes);
                    patch.operations.push(operation);
                }
                Err(wrongs) => {
                    for (member, why) in wrongs {
                        violations.add_in_operation(index, member, why);
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

    /// What a repeat is compared by; tags are for ever, see [`Content`].
    pub fn content(&self) -> Content {
        let operations = self.operations.iter();
        operations.fold(Content::new(), |content, operation| {
            content.field(1, operation.content().0)
        })
    }

    /// Applies the operations in order. Of `read_only`, the document's members that no patch changes, none may be
    /// addressed but to test or copy it, and a document put in place of the whole must have them as they were.
    pub fn apply(&self, document: Json, read_only: &[&str]) -> Result<Json> {
        let mut applying = Applying {
            bytes: self.bytes + document.bytes(),
            kept: read_only
                .iter()
                .map(|name| (*name, document.member(name).cloned()))
                .collect(),
            document,
        };
        for (index, operation) in self.operations.iter().enumerate() {
            applying.run(operation).map_err(|refusal| match refusal {
                Refusal::TestFailed => Error::PatchTestFailed { index },
                Refusal::Wrong((member, why)) => {
                    let mut violations = Violations::default();
                    violations.add_in_operation(index, member, why);
                    Error::InvalidRequest(violations)
                }
            })?;
        }
        Ok(applying.document)
    }
}

fn too_large() -> String {
    let mib = PATCH_BYTES_MAX / (1024 * 1024);
    format!(
        "makes the patch too large: record, values and copies take more than {mib} MiB together"
    )
}

impl Operation {
    fn read(written: Written<'_>) -> Result<Self, Vec<Wrong>> {
        let mut members = Members {
            written,
            wrongs: Vec::new(),
        };
        let operation = match written.op {
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
            _ => {
                let known = "must be add, remove, replace, move, copy or test";
                return Err(vec![("op", known.into())]);
            }
        };
        members.judge(&operation);
        match members.wrongs.is_empty() {
            true => Ok(operation),
            false => Err(members.wrongs),
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
            .optional(3, from.map(Pointer::to_string))
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

/// Reads the members of one operation; a value that stands for a wrong one goes nowhere.
struct Members<'a> {
    written: Written<'a>,
    wrongs: Vec<Wrong>,
}

impl Members<'_> {
    fn path(&mut self) -> Pointer {
        self.pointer("path", Some(self.written.path))
    }

    fn from(&mut self) -> Pointer {
        self.pointer("from", self.written.from)
    }

    fn pointer(&mut self, member: &'static str, text: Option<&str>) -> Pointer {
        match text.map(Pointer::parse) {
            Some(Ok(pointer)) => return pointer,
            Some(Err(why)) => self.wrongs.push((member, why)),
            None => self.wrongs.push((member, "is required".into())),
        }
        Pointer::default()
    }

    fn value(&mut self) -> Json {
        let why = match self.written.value_json.map(Json::parse) {
            Some(Ok(value)) => return value,
            Some(Err(fault)) => fault.to_string(),
            None => "is required".into(),
        };
        self.wrongs.push(("value_json", why));
        Json::Null
    }

    /// What no document could make right.
    fn judge(&mut self, operation: &Operation) {
        if !self.wrongs.is_empty() {
            return;
        }
        match operation {
            Operation::Remove { path } if path.is_whole() => {
                let why = "must not be empty: the document as a whole cannot be removed";
                self.wrongs.push(("path", why.into()));
            }
            Operation::Move { from, path } if from.contains(path) => {
                let why = "must not lie inside of `from`: a value cannot be moved into itself";
                self.wrongs.push(("path", why.into()));
            }
            _ => {}
        }
    }
}

/// A document on its way.
struct Applying<'a> {
    document: Json,
    /// What the document took in memory at first, and every value and copy since. It never falls, and so bounds both the
    /// document and the work done on it.
    bytes: usize,
    /// The read-only members, as they must stay.
    kept: Vec<(&'a str, Option<Json>)>,
}

enum Refusal {
    TestFailed,
    Wrong(Wrong),
}

type Step<T = ()> = Result<T, Refusal>;

impl Applying<'_> {
    fn run(&mut self, operation: &Operation) -> Step {
        match operation {
            Operation::Add { path, value } => self.insert(path, value.clone()),
            Operation::Remove { path } => self.remove("path", path).map(drop),
            Operation::Replace { path, value } => self.replace(path, value.clone()),
            Operation::Move { from, path } => self.relocate(from, path),
            Operation::Copy { from, path } => self.copy(from, path),
            Operation::Test { path, value } => {
                let found = path.get(&self.document).map_err(at("path"))?;
                (found == value).then_some(()).ok_or(Refusal::TestFailed)
            }
        }
    }

    fn relocate(&mut self, from: &Pointer, path: &Pointer) -> Step {
        if from.is_whole() {
            // Only onto itself: everywhere else is inside.
            return Ok(());
        }
        let value = self.remove("from", from)?;
        self.insert(path, value)
    }

    fn copy(&mut self, from: &Pointer, path: &Pointer) -> Step {
        let found = from.get(&self.document).map_err(at("from"))?;
        self.bytes += found.bytes();
        if self.bytes > PATCH_BYTES_MAX {
            return Err(Refusal::Wrong(("from", too_large())));
        }
        let value = found.clone();
        self.insert(path, value)
    }

    fn insert(&mut self, path: &Pointer, value: Json) -> Step {
        self.may_write("path", path)?;
        may_hold(path, &value)?;
        path.insert(&mut self.document, value).map_err(at("path"))?;
        self.has_kept(path)
    }

    fn replace(&mut self, path: &Pointer, value: Json) -> Step {
        self.may_write("path", path)?;
        may_hold(path, &value)?;
        *path.get_mut(&mut self.document).map_err(at("path"))? = value;
        self.has_kept(path)
    }

    fn remove(&mut self, member: &'static str, path: &Pointer) -> Step<Json> {
        self.may_write(member, path)?;
        path.remove(&mut self.document).map_err(at(member))
    }

    /// Whether a location is not in a read-only member.
    fn may_write(&self, member: &'static str, path: &Pointer) -> Step {
        match self.kept.iter().find(|(name, _)| path.begins_with(name)) {
            None => Ok(()),
            Some((name, _)) => {
                let why = format!("must not be `/{name}`, which no patch changes");
                Err(Refusal::Wrong((member, why)))
            }
        }
    }

    /// Whether a document put in place of the whole has the read-only members as they were.
    fn has_kept(&self, path: &Pointer) -> Step {
        if !path.is_whole() {
            return Ok(());
        }
        for (name, before) in &self.kept {
            if self.document.member(name) != before.as_ref() {
                let why = format!("must not change `/{name}`, which no patch changes");
                return Err(Refusal::Wrong(("path", why)));
            }
        }
        Ok(())
    }
}

/// Whether the document stays within its depth.
fn may_hold(path: &Pointer, value: &Json) -> Step {
    if path.depth() + value.depth() <= JSON_DEPTH_MAX {
        return Ok(());
    }
    let why = format!(
        "would put more than {JSON_DEPTH_MAX} arrays and objects inside each other in the document"
    );
    Err(Refusal::Wrong(("path", why)))
}

/// What was wrong with a location, in the member that names it.
fn at(member: &'static str) -> impl Fn(Fault) -> Refusal {
    move |fault| Refusal::Wrong((member, fault.to_string()))
}

#[cfg(test)]
mod tests;
