//! No circle of imports between the files of one folder.
//!
//! For each folder a graph: its nodes are the folder's children, where `x.rs` and `x/` are one node, and the file that
//! the folder belongs to (`a.rs` for `a/`, `lib.rs` for `src/`). Its edges are the paths that a node's files name, in
//! `use` and elsewhere, beginning with `crate`, `super`, `self` or a child module's name. `mod child;` and
//! `pub use child::X` in the folder's own file are no edges; who imports such an `X` from there depends on the child.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{Source, all_sources};

/// The node of the file that a folder belongs to.
const PARENT: &str = "(parent)";

/// Module paths, from the crate's root on.
type ModulePath = Vec<String>;

/// A file of a crate as a module.
struct Module {
    file: String,
    /// The folder of the crate's sources: `src`, `crates/client/src`.
    crate_folder: String,
    path: ModulePath,
    /// What it depends on, as written, from the crate's root on.
    used: BTreeSet<ModulePath>,
    /// Names that `use` takes from child modules: the name, and the child.
    taken: BTreeMap<String, String>,
}

/// Edges between the nodes of one folder, each with the file and the path that make it.
type Graph = BTreeMap<String, BTreeMap<String, String>>;

#[test]
fn files_of_one_folder_do_not_import_each_other_in_a_circle() {
    let modules: Vec<Module> = all_sources().iter().filter_map(Module::read).collect();
    let mut found = BTreeMap::new();
    for (folder, graph) in graphs(&modules) {
        for circle in circles(&graph) {
            let edges = edges_within(&graph, &circle);
            found.insert(format!("{folder}: {}", circle.join(", ")), edges);
        }
    }
    let circles: Vec<_> = found
        .iter()
        .map(|(circle, edges)| format!("{circle:?},\n{edges}"))
        .collect();
    assert!(
        circles.is_empty(),
        "circles of imports; move what is shared into a file of its own:\n{}",
        circles.join("\n")
    );
}

impl Module {
    /// `None` for a binary's root beside a library: it imports the library by its name.
    fn read(source: &Source) -> Option<Self> {
        let (crate_folder, file) = if source.path.starts_with("src/") {
            source.path.split_at("src".len())
        } else {
            let end = source.path.find("/src/")? + "/src".len();
            source.path.split_at(end)
        };
        let name = file.trim_start_matches('/').strip_suffix(".rs")?;
        let mut path: ModulePath = name.split('/').map(String::from).collect();
        if name == "main" && crate_folder == "src" {
            return None;
        }
        if matches!(name, "lib" | "main") {
            path.clear();
        } else if path.last().is_some_and(|last| last == "mod") {
            path.pop();
        }
        let mut module = Self {
            file: source.path.clone(),
            crate_folder: crate_folder.into(),
            path,
            used: BTreeSet::new(),
            taken: BTreeMap::new(),
        };
        module.find_paths(&source.code());
        Some(module)
    }

    fn find_paths(&mut self, code: &str) {
        let children = child_modules(code);
        let (uses, rest) = split_uses(code);
        for (public, tree) in uses {
            for used in expand(&tree) {
                let Some(path) = self.absolute(&used, &children) else {
                    continue;
                };
                let child = path.strip_prefix(self.path.as_slice());
                if let Some([child, .., name]) =
                    child.filter(|_| children.contains(&path[self.path.len()]))
                {
                    self.taken.insert(name.clone(), child.clone());
                    if public {
                        continue;
                    }
                }
                self.used.insert(path);
            }
        }
        for path in inline_paths(&rest) {
            if let Some(path) = self.absolute(&path, &children) {
                self.used.insert(path);
            }
        }
    }

    /// The path from the crate's root on, or `None` if it leads to another crate or names something local.
    fn absolute(&self, path: &[String], children: &BTreeSet<String>) -> Option<ModulePath> {
        let (first, mut rest) = path.split_first()?;
        let mut absolute = self.path.clone();
        match first.as_str() {
            "crate" => absolute.clear(),
            "self" if !rest.is_empty() => {}
            "super" => {
                absolute.pop();
                while rest.first().is_some_and(|next| next == "super") {
                    absolute.pop();
                    rest = &rest[1..];
                }
            }
            child if children.contains(child) && !rest.is_empty() => absolute.push(child.into()),
            _ => return None,
        }
        absolute.extend_from_slice(rest);
        Some(absolute)
    }
}

/// The graph of each folder that has more than one node, by the folder's path.
fn graphs(modules: &[Module]) -> BTreeMap<String, Graph> {
    let mut folders: BTreeMap<(&str, &[String]), BTreeSet<&str>> = BTreeMap::new();
    for module in modules {
        for depth in 0..module.path.len() {
            let folder = (module.crate_folder.as_str(), &module.path[..depth]);
            let nodes = folders.entry(folder).or_default();
            nodes.insert(&module.path[depth]);
        }
    }
    let mut graphs = BTreeMap::new();
    for ((crate_folder, folder), nodes) in folders {
        let inside = modules.iter().filter(|module| {
            module.crate_folder == crate_folder && module.path.starts_with(folder)
        });
        let parent = inside.clone().find(|module| module.path == folder);
        let mut graph = Graph::new();
        for module in inside {
            let from = module.path.get(folder.len()).map_or(PARENT, String::as_str);
            for used in module.used.iter().filter(|used| used.starts_with(folder)) {
                let name = used.get(folder.len()).map_or(PARENT, String::as_str);
                let taken = parent.and_then(|parent| parent.taken.get(name));
                let to = match taken {
                    _ if nodes.contains(name) => name,
                    Some(child) => child,
                    None => PARENT,
                };
                if from != to {
                    let edge = format!("{} uses {}", module.file, used.join("::"));
                    let edges = graph.entry(from.into()).or_default();
                    edges.entry(to.into()).or_insert(edge);
                }
            }
        }
        let name = [crate_folder.to_owned(), folder.join("/")].join("/");
        graphs.insert(name.trim_end_matches('/').to_owned(), graph);
    }
    graphs
}

/// The largest sets of nodes of which each leads to all others, sorted.
fn circles(graph: &Graph) -> BTreeSet<Vec<String>> {
    let reached_from = |start: &String| {
        let mut reached = BTreeSet::new();
        let mut next = vec![start];
        while let Some(node) = next.pop() {
            let to = graph.get(node).into_iter().flat_map(BTreeMap::keys);
            next.extend(to.filter(|to| reached.insert((*to).clone())));
        }
        reached
    };
    let reach: BTreeMap<_, _> = graph
        .keys()
        .map(|node| (node, reached_from(node)))
        .collect();
    let with_a_way_back = reach.iter().filter(|(node, to)| to.contains(**node));
    with_a_way_back
        .map(|(node, to)| {
            let back = |other: &&String| reach.get(other).is_some_and(|to| to.contains(*node));
            to.iter().filter(back).cloned().collect()
        })
        .collect()
}

fn edges_within(graph: &Graph, circle: &[String]) -> String {
    let mut lines = String::new();
    for from in circle {
        for (to, reason) in &graph[from] {
            if circle.contains(to) {
                lines += &format!("    {from} → {to}: {reason}\n");
            }
        }
    }
    lines
}

/// The modules that a file declares.
fn child_modules(code: &str) -> BTreeSet<String> {
    code.lines()
        .filter_map(|line| line.trim().strip_suffix(';'))
        .filter_map(|line| {
            let mut words = line.split_whitespace().rev();
            let name = words.next()?;
            (words.next()? == "mod").then(|| name.to_owned())
        })
        .collect()
}

/// The trees of all `use` statements, with whether each is public; and the code without them.
fn split_uses(code: &str) -> (Vec<(bool, String)>, String) {
    let mut uses = Vec::new();
    let mut rest = String::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let statement = line.trim_start();
        let start = statement.find("use ").map(|at| statement.split_at(at));
        match start {
            Some((visibility, _)) if is_visibility(visibility) => {
                let mut tree = statement[visibility.len() + "use ".len()..].to_owned();
                while !tree.contains(';') {
                    tree += lines.next().expect("the end of a `use`");
                }
                uses.push((
                    !visibility.is_empty(),
                    tree.trim_end_matches(';').to_owned(),
                ));
            }
            _ => {
                rest += line;
                rest.push('\n');
            }
        }
    }
    (uses, rest)
}

/// Nothing, `pub ` or `pub(…) `.
fn is_visibility(text: &str) -> bool {
    let restriction = text.strip_prefix("pub").map(str::trim_end);
    text.is_empty()
        || restriction
            .is_some_and(|text| text.is_empty() || text.starts_with('(') && text.ends_with(')'))
}

/// The paths of a `use` tree: `a::{b, c::d as e}` is `a::b` and `a::c::d`.
fn expand(tree: &str) -> Vec<ModulePath> {
    let tree = tree.trim();
    let Some((prefix, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        let mut path: ModulePath = path.split("::").map(|part| part.trim().into()).collect();
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        return vec![path];
    };
    let group = group.trim_end().strip_suffix('}').expect("a closed group");
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts
        .flat_map(|part| expand(&format!("{prefix}{}", part.trim())))
        .collect()
}

/// Every path of two names or more that the code spells.
fn inline_paths(code: &str) -> Vec<ModulePath> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let words = code.split(|c: char| !is_name(c) && c != ':');
    words
        .filter(|word| word.contains("::") && !word.starts_with(':'))
        .map(|word| {
            let names = word.split("::").filter(|name| !name.is_empty());
            names.map(String::from).collect()
        })
        .collect()
}

#[test]
fn a_use_tree_expands_to_its_paths() {
    let paths = expand("super::{a::{self, B as C}, D,}");
    let paths: Vec<_> = paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["super::a", "super::a::B", "super::D"]);
}

/// The circles of a crate of these files.
fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    let modules = files.iter().filter_map(|(path, text)| {
        Module::read(&Source {
            path: (*path).into(),
            text: (*text).into(),
        })
    });
    let modules: Vec<_> = modules.collect();
    let named = |(folder, graph): (String, Graph)| {
        let circles = circles(&graph).into_iter();
        let named = circles.map(move |circle| format!("{folder}: {}", circle.join(", ")));
        named.collect::<Vec<_>>()
    };
    graphs(&modules).into_iter().flat_map(named).collect()
}

#[test]
fn circles_are_found_between_siblings_and_between_parent_and_child() {
    let siblings = [
        ("src/a.rs", "mod b;\nmod c;\nmod d;\n"),
        ("src/a/b.rs", "use super::c::C;\n"),
        ("src/a/c.rs", "fn f() {\n    crate::a::d::f();\n}\n"),
        ("src/a/d/e.rs", "use super::super::b::{self, B};\n"),
    ];
    assert_eq!(circles_of(&siblings), ["src/a: b, c, d"]);
    let parent_and_child = [
        ("src/lib.rs", "pub mod a;\n"),
        ("src/a.rs", "mod b;\nfn f() {\n    b::f();\n}\n"),
        ("src/a/b.rs", "use super::A;\n"),
    ];
    assert_eq!(circles_of(&parent_and_child), ["src/a: (parent), b"]);
}

#[test]
fn a_reexport_makes_no_circle_but_stands_for_the_child_it_names() {
    let reexport = [
        ("src/a.rs", "mod b;\nmod c;\npub use b::B;\n"),
        ("src/a/b.rs", "pub struct B;\n"),
        ("src/a/c.rs", "use super::B;\n"),
    ];
    assert_eq!(circles_of(&reexport), [""; 0]);
    let circle = [
        ("src/a.rs", "mod b;\nmod c;\npub use b::B;\n"),
        ("src/a/b.rs", "use super::c::C;\npub struct B;\n"),
        ("src/a/c.rs", "use super::B;\n"),
    ];
    assert_eq!(circles_of(&circle), ["src/a: b, c"]);
}
