//! A second implementation of RFC 6902, which shares no code with the first. A document is a flat map from paths to
//! nodes, in which the elements of an array are children named `0`, `1` and so on.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

type Path = Vec<String>;

/// The value at a path, without the values inside it, which have longer paths.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Object,
    Array,
    /// Any other value, by its name in `LEAVES`.
    Leaf(&'static str),
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Flat(BTreeMap<Path, Node>);

/// The reason why an operation fails.
#[derive(Debug, PartialEq)]
enum Failure {
    Test,
    Location,
}

impl Flat {
    fn of(value: &Json) -> Self {
        let mut flat = Self::default();
        flat.write(&[], value);
        flat
    }

    fn write(&mut self, path: &[String], value: &Json) {
        let under = |name: String| [path, &[name]].concat();
        let node = match value {
            Json::Object(members) => {
                for (name, value) in members {
                    self.write(&under(name.clone()), value);
                }
                Node::Object
            }
            Json::Array(items) => {
                for (at, value) in items.iter().enumerate() {
                    self.write(&under(at.to_string()), value);
                }
                Node::Array
            }
            leaf => {
                let (_, name) = LEAVES
                    .into_iter()
                    .find(|(text, _)| json(text) == *leaf)
                    .expect("no other leaf is generated");
                Node::Leaf(name)
            }
        };
        self.0.insert(path.to_vec(), node);
    }

    /// The document that consists of the value at a path.
    fn part(&self, at: &[String]) -> Self {
        let below = self.0.iter().filter(|(path, _)| path.starts_with(at));
        Self(
            below
                .map(|(path, node)| (path[at.len()..].to_vec(), node.clone()))
                .collect(),
        )
    }

    /// The JSON text of the value at a path; equal numbers may be written differently.
    fn text(&self, at: &[String]) -> String {
        let inside = |name: &String| self.text(&[at, std::slice::from_ref(name)].concat());
        let names = self
            .0
            .keys()
            .filter(|path| path.len() == at.len() + 1 && path.starts_with(at));
        let names = names.filter_map(|path| path.last());
        match self.0[at] {
            Node::Array => {
                // Sorted by position: the map sorts `10` before `2`.
                let items = (0..self.length(at)).map(|position| inside(&position.to_string()));
                format!("[{}]", items.collect::<Vec<_>>().join(","))
            }
            Node::Object => {
                let members = names.map(|name| format!("{name:?}:{}", inside(name)));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
            Node::Leaf(value) => {
                let written = LEAVES.into_iter().rfind(|(_, name)| *name == value);
                written.expect("one of the leaves").0.into()
            }
        }
    }

    fn delete(&mut self, at: &[String]) {
        self.0.retain(|path, _| !path.starts_with(at));
    }

    fn length(&self, array: &[String]) -> usize {
        let is_element = |path: &&Path| path.len() == array.len() + 1 && path.starts_with(array);
        self.0.keys().filter(is_element).count()
    }

    /// Renumbers the elements of an array from a position on.
    fn shift(&mut self, array: &[String], from: usize, by: isize) {
        let level = array.len();
        let moved = std::mem::take(&mut self.0)
            .into_iter()
            .map(|(mut path, node)| {
                if path.len() > level && path.starts_with(array) {
                    let at: usize = path[level].parse().expect("an element's position");
                    if at >= from {
                        path[level] = at.checked_add_signed(by).expect("in range").to_string();
                    }
                }
                (path, node)
            });
        self.0 = moved.collect();
    }

    fn take(&mut self, at: &[String]) -> Result<Self, Failure> {
        if !self.0.contains_key(at) {
            return Err(Failure::Location);
        }
        let part = self.part(at);
        self.delete(at);
        let (last, parent) = at.split_last().expect("the whole is refused before");
        if self.0[parent] == Node::Array {
            let position: usize = last.parse().expect("an element's position");
            self.shift(parent, position, -1);
        }
        Ok(part)
    }

    fn put(&mut self, at: &[String], part: Self) -> Result<(), Failure> {
        let mut at = at.to_vec();
        if let Some((last, parent)) = at.clone().split_last() {
            match self.0.get(parent) {
                Some(Node::Object) => self.delete(&at),
                Some(Node::Array) => {
                    let length = self.length(parent);
                    let position = (0..=length)
                        .find(|position| position.to_string() == *last)
                        .or((last == "-").then_some(length))
                        .ok_or(Failure::Location)?;
                    self.shift(parent, position, 1);
                    at = [parent, &[position.to_string()]].concat();
                }
                _ => return Err(Failure::Location),
            }
        } else {
            self.0.clear();
        }
        let placed = part
            .0
            .into_iter()
            .map(|(path, node)| ([at.clone(), path].concat(), node));
        self.0.extend(placed);
        Ok(())
    }

    /// Whether what is missing at a path is a member of an object, or inside of one or of null, and no element.
    fn reads_as_null(&self, path: &[String]) -> bool {
        let lengths = (0..path.len()).rev();
        let there = lengths
            .map(|length| &path[..length])
            .find(|path| self.0.contains_key(*path))
            .expect("the whole document is there");
        let unset = match self.0[there] {
            Node::Object => there.len() + 1,
            Node::Leaf("null") => there.len(),
            Node::Array | Node::Leaf(_) => return false,
        };
        let is_position = |name: &String| {
            name == "-"
                || name
                    .parse::<u64>()
                    .is_ok_and(|number| number.to_string() == *name)
        };
        !path[unset..].iter().any(is_position)
    }

    fn apply(&mut self, operation: &Drawn) -> Result<(), Failure> {
        let Drawn {
            op,
            path,
            from,
            value,
        } = operation;
        match *op {
            "add" => self.put(path, Self::of(&json(value))),
            "remove" => self.take(path).map(drop),
            "replace" => {
                if !self.0.contains_key(path) {
                    return Err(Failure::Location);
                }
                self.delete(path);
                let placed = Self::of(&json(value)).0.into_iter();
                self.0
                    .extend(placed.map(|(below, node)| ([path.clone(), below].concat(), node)));
                Ok(())
            }
            "move" if path == from => self
                .0
                .contains_key(path)
                .then_some(())
                .ok_or(Failure::Location),
            "move" => {
                let part = self.take(from)?;
                self.put(path, part)
            }
            "copy" => {
                if !self.0.contains_key(from) {
                    return Err(Failure::Location);
                }
                let part = self.part(from);
                self.put(path, part)
            }
            _ => {
                let found = if self.0.contains_key(path) {
                    Some(self.part(path))
                } else {
                    self.reads_as_null(path).then(|| Self::of(&Json::Null))
                };
                let holds = found == Some(Self::of(&json(value)));
                holds.then_some(()).ok_or(Failure::Test)
            }
        }
    }
}

/// JSON texts, each with the name of its value; some are different texts of one value.
const LEAVES: [(&str, &str); 9] = [
    ("null", "null"),
    ("true", "true"),
    ("1", "one"),
    ("1.0", "one"),
    ("10e-1", "one"),
    ("\"1\"", "a text"),
    ("-2", "minus two"),
    ("12345678901234567890.123", "a long one"),
    ("12345678901234567890.124", "a longer one"),
];

const NAMES: [&str; 8] = ["a", "b", "", "~", "a/b", "0", "1", "-"];

/// A generated operation, whose paths are not escaped yet.
#[derive(Clone, Debug)]
struct Drawn {
    op: &'static str,
    path: Path,
    from: Path,
    value: String,
}

impl Drawn {
    /// Whether the operation is refused for any document.
    fn is_senseless(&self) -> bool {
        match self.op {
            "remove" => self.path.is_empty(),
            "move" => self.path.len() > self.from.len() && self.path.starts_with(&self.from),
            _ => false,
        }
    }
}

fn pointer(path: &Path) -> String {
    let names = path
        .iter()
        .map(|name| name.replace('~', "~0").replace('/', "~1"));
    names.map(|name| format!("/{name}")).collect()
}

fn values() -> impl Strategy<Value = String> {
    let leaf = select(&LEAVES[..]).prop_map(|(text, _)| text.to_owned());
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::btree_map(select(&NAMES[..]), inner, 0..4).prop_map(|members| {
                let members = members
                    .iter()
                    .map(|(name, value)| format!("{name:?}:{value}"));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

/// How a path is generated from one of a document: unchanged, or with a name appended or its last name replaced.
type Aim = (Index, Option<bool>, &'static str);

fn aims() -> impl Strategy<Value = Aim> {
    let names = select(&["a", "", "a/b", "~", "0", "1", "2", "-", "01"][..]);
    (any::<Index>(), any::<Option<bool>>(), names)
}

fn aimed((at, change, name): Aim, document: &Flat) -> Path {
    let paths: Vec<&Path> = document.0.keys().collect();
    let mut path = at.get(&paths).to_vec();
    if let Some(replaces_last) = change {
        if replaces_last {
            path.pop();
        }
        path.push(name.into());
    }
    path
}

proptest! {
    #[test]
    fn a_patch_does_what_the_reference_does(
        document in values(),
        drawn in vec(
            (select(&["add", "remove", "replace", "move", "copy", "test"][..]), aims(), aims(), values(), any::<bool>()),
            1..6,
        ),
    ) {
        let document = json(&document);
        let mut flat = Flat::of(&document);
        let mut operations = Vec::new();
        let mut failure = None;
        for (index, (op, path, from, value, is_fair)) in drawn.into_iter().enumerate() {
            // Generated for the document before this operation, so that most operations find their locations.
            let path = aimed(path, &flat);
            let from = aimed(from, &flat);
            let value = match op == "test" && is_fair && flat.0.contains_key(&path) {
                true => flat.text(&path),
                false => value,
            };
            let operation = Drawn { op, path, from, value };
            if operation.is_senseless() {
                let written = operation_texts(&operation);
                let alone = outcome(&document, &[as_written(&operation, &written)], &[]);
                prop_assert_eq!(alone, Outcome::Wrong(0, "path".into()));
                continue;
            }
            if failure.is_none() {
                failure = flat.apply(&operation).err().map(|failure| (index, failure));
            }
            operations.push((index, operation));
        }
        let texts: Vec<_> = operations.iter().map(|(_, drawn)| operation_texts(drawn)).collect();
        let written: Vec<_> = operations
            .iter()
            .zip(&texts)
            .map(|((_, drawn), texts)| as_written(drawn, texts))
            .collect();
        let place = |index| operations.iter().position(|(drawn, _)| *drawn == index);
        match (outcome(&document, &written, &[]), failure) {
            (Outcome::Document(patched), None) => prop_assert_eq!(Flat::of(&patched), flat),
            (Outcome::TestFailed(at), Some((index, Failure::Test))) => prop_assert_eq!(Some(at), place(index)),
            (Outcome::Missing(at, _), Some((index, Failure::Location))) => prop_assert_eq!(Some(at), place(index)),
            (found, expected) => prop_assert!(false, "{:?}, but {:?}", found, expected),
        }
    }
}

fn operation_texts(drawn: &Drawn) -> (String, String) {
    (pointer(&drawn.path), pointer(&drawn.from))
}

fn as_written<'a>(drawn: &'a Drawn, (path, from): &'a (String, String)) -> PatchOperationText<'a> {
    write(drawn.op, path, Some(from), Some(&drawn.value))
}
