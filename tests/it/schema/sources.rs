//! Reads the Rust sources of the workspace for the tests of its structure.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of production code: test modules are left out, inline ones too.
pub(super) struct Source {
    /// Relative to the repository, with `/`: `src/db/pool.rs`.
    pub(super) path: String,
    /// The text without inline test modules.
    pub(super) text: String,
}

impl Source {
    /// The text with comments and the contents of literals replaced by spaces.
    pub(super) fn code(&self) -> String {
        blank_comments_and_literals(&self.text)
    }
}

/// The server's own files.
pub(super) fn server_sources() -> Vec<Source> {
    let sources = sources_below("src");
    assert!(sources.len() > 50, "only {} files in src", sources.len());
    sources
}

/// The files of the server and of every crate beside it.
pub(super) fn all_sources() -> Vec<Source> {
    let mut sources = server_sources();
    sources.extend(sources_below("crates"));
    sources
}

pub(super) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources_below(folder: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders: Vec<PathBuf> = vec![repository().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("a directory entry").path();
            let relative = path.strip_prefix(repository()).expect("in the repository");
            let relative = relative.to_string_lossy().replace('\\', "/");
            if relative.ends_with("/tests") || relative.ends_with("/target") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if relative.ends_with(".rs") && !relative.ends_with("/tests.rs") {
                let text = fs::read_to_string(&path).expect("a readable file");
                let text = without_test_modules(&text);
                sources.push(Source {
                    path: relative,
                    text,
                });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

/// Leaves out what `#[cfg(test)]` stands above: one line (`mod tests;`), or an item up to its closing brace. Relies on
/// rustfmt: an item's closing brace is indented as its head is.
fn without_test_modules(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        let head = lines.find(|line| !line.trim_start().starts_with("#["));
        if head.is_some_and(|head| head.ends_with('{')) {
            let indent = &line[..line.len() - line.trim_start().len()];
            let end = format!("{indent}}}");
            lines.find(|line| *line == end);
        }
    }
    kept
}

/// Keeps line breaks and quotes, so that what stands beside a literal is still apart from it.
fn blank_comments_and_literals(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else {
            let after_name = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            literal(rest, after_name)
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let blank = |c| if c == '\n' { '\n' } else { ' ' };
            code.extend(rest[..skipped].chars().map(blank));
            rest = &rest[skipped..];
        }
    }
    code
}

/// How many bytes of a string or character literal the text starts with; 0 if it starts with something else.
fn literal(text: &str, after_name: bool) -> usize {
    let raw = text.trim_start_matches(['b', 'c']);
    if let Some(raw) = raw.strip_prefix('r').filter(|_| !after_name) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", &raw[..hashes]);
            let start = text.len() - raw.len() + hashes + 1;
            let length = text[start..].find(&end).expect("the end of a raw string");
            return start + length + end.len();
        }
    }
    if text.starts_with('"') {
        return quoted(text, '"').expect("the end of a string");
    }
    // A quote also begins a lifetime, which has no second one right behind one character.
    let character = text.starts_with('\'')
        && (text[1..].starts_with('\\') || text[1..].chars().nth(1) == Some('\''));
    if character {
        return quoted(text, '\'').expect("the end of a character");
    }
    0
}

/// The bytes up to and with the closing quote.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return Some(at + 1);
        }
    }
    None
}

#[test]
fn comments_and_literals_are_blanked_and_code_is_kept() {
    let source = Source {
        path: String::new(),
        text: "a('x', '\\'', \"b\\\"c\", r#\"d\"e\"#) // f\n<'g> /* h */ i".into(),
    };
    let words: Vec<_> = ["a(", ",", ",", ",", ")", "<'g>", "i"].into();
    assert_eq!(source.code().split_whitespace().collect::<Vec<_>>(), words);
    assert_eq!(source.code().lines().count(), 2);
}

#[test]
fn test_modules_are_left_out() {
    let text = "a\n#[cfg(test)]\nmod tests;\nb\n#[cfg(test)]\n#[expect(x)]\nmod tests {\n    fn f() {\n    }\n}\nc\n";
    assert_eq!(without_test_modules(text), "a\nb\nc\n");
}
