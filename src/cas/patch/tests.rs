//! Tests the rules of RFC 6902 and RFC 6901 case by case (`rules`), and by comparison with a second implementation on
//! flat maps (`reference`). A failure there prints its smallest input and adds its seed to `proptest-regressions/`.

use super::*;
use crate::error::Violation;

mod reference;
mod rules;

fn json(text: &str) -> Json {
    Json::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

fn write<'a>(
    op: &'a str,
    path: &'a str,
    from: Option<&'a str>,
    value_json: Option<&'a str>,
) -> PatchOperationText<'a> {
    PatchOperationText {
        op,
        path,
        from,
        value_json,
    }
}

fn add<'a>(path: &'a str, value: &'a str) -> PatchOperationText<'a> {
    write("add", path, None, Some(value))
}

fn remove(path: &str) -> PatchOperationText<'_> {
    write("remove", path, None, None)
}

fn replace<'a>(path: &'a str, value: &'a str) -> PatchOperationText<'a> {
    write("replace", path, None, Some(value))
}

fn relocate<'a>(from: &'a str, path: &'a str) -> PatchOperationText<'a> {
    write("move", path, Some(from), None)
}

fn copy<'a>(from: &'a str, path: &'a str) -> PatchOperationText<'a> {
    write("copy", path, Some(from), None)
}

fn test<'a>(path: &'a str, value: &'a str) -> PatchOperationText<'a> {
    write("test", path, None, Some(value))
}

/// The result of applying a patch.
#[derive(Debug, PartialEq)]
enum Outcome {
    Document(Json),
    TestFailed(usize),
    /// The operation at this index is refused, and this member of it is invalid.
    Wrong(usize, String),
}

fn outcome(document: &Json, operations: &[PatchOperationText<'_>], read_only: &[&str]) -> Outcome {
    let patched = Patch::read(operations.iter().copied())
        .and_then(|patch| patch.apply(document.clone(), read_only));
    match patched {
        Ok(document) => Outcome::Document(document),
        Err(Error::PatchTestFailed { index }) => Outcome::TestFailed(index),
        Err(Error::InvalidRequest(violations)) => {
            let first = &violations.all()[0];
            let index = first.index.expect("it is an operation's");
            let prefix = format!("operations[{index}].");
            let member = first.field.strip_prefix(&prefix);
            Outcome::Wrong(index, member.expect("the operation's field").into())
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn violations(operations: &[PatchOperationText<'_>]) -> Vec<Violation> {
    match Patch::read(operations.iter().copied()) {
        Err(Error::InvalidRequest(violations)) => violations.all().to_vec(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let found = violations(&[
        add("/a", "1"),
        write("Add", "a", None, None),
        write("copy", "a", None, Some("ignored")),
        write("add", "/~2", Some("ignored"), Some("[1,]")),
        write("test", "/a~", None, None),
        remove(""),
        relocate("/a", "/a/b"),
    ]);
    let found: Vec<_> = found
        .iter()
        .map(|violation| (violation.index, violation.field.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (Some(1), "operations[1].op"),
            (Some(2), "operations[2].path"),
            (Some(2), "operations[2].from"),
            (Some(3), "operations[3].path"),
            (Some(3), "operations[3].value_json"),
            (Some(4), "operations[4].path"),
            (Some(4), "operations[4].value_json"),
            (Some(5), "operations[5].path"),
            (Some(6), "operations[6].path"),
        ]
    );
}

#[test]
fn content_is_what_the_operations_mean() {
    let content = |operations: &[PatchOperationText<'_>]| {
        let patch = Patch::read(operations.iter().copied()).expect("a patch");
        patch.content().hash()
    };
    let patch = content(&[test("/a", r#"{"b":1,"c":2}"#), copy("/a", "/b~1")]);
    let same = [
        write(
            "test",
            "/a",
            Some("no use"),
            Some(r#" {"c":2.0,"b":10e-1} "#),
        ),
        write("copy", "/b~1", Some("/a"), Some("no use")),
    ];
    assert_eq!(content(&same), patch);
    for other in [
        &[test("/a", r#"{"b":1,"c":2}"#)][..],
        &[test("/a", r#"{"b":1,"c":3}"#), copy("/a", "/b~1")],
        &[add("/a", r#"{"b":1,"c":2}"#), copy("/a", "/b~1")],
        &[test("/a", r#"{"b":1,"c":2}"#), relocate("/a", "/b~1")],
        &[test("/a", r#"{"b":1,"c":2}"#), copy("/a", "/b/1")],
        &[test("/a", r#"{"b":1,"c":2}"#), copy("/b~1", "/a")],
        &[copy("/a", "/b~1"), test("/a", r#"{"b":1,"c":2}"#)],
        &[],
    ] {
        assert_ne!(content(other), patch, "{other:?}");
    }
}

#[test]
fn a_patch_has_at_most_a_thousand_operations() {
    let thousand = vec![test("", "1"); PATCH_OPERATIONS_MAX];
    assert_eq!(
        outcome(&json("1"), &thousand, &[]),
        Outcome::Document(json("1"))
    );
    let more = violations(&vec![test("", "1"); PATCH_OPERATIONS_MAX + 1]);
    assert_eq!((more.len(), more[0].field.as_str()), (1, "operations"));
}

#[test]
fn copies_that_double_a_document_end_at_its_bound() {
    let paths: Vec<String> = (0..PATCH_OPERATIONS_MAX)
        .map(|at| format!("/{at}"))
        .collect();
    let doubling: Vec<_> = paths.iter().map(|path| copy("", path)).collect();
    // Each copy of the whole document also makes it one level deeper.
    let Outcome::Wrong(at, member) = outcome(&json(r#"{"a":"b"}"#), &doubling, &[]) else {
        panic!("it must be refused")
    };
    assert!(at < 20, "{at}");
    assert_eq!(member, "from");
}

#[test]
fn copies_that_go_again_count_all_the_same() {
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(1024 * 1024));
    let back_and_forth = [copy("/a", "/b"), remove("/b")].repeat(10);
    let refused = outcome(&json(&large), &back_and_forth, &[]);
    assert_eq!(refused, Outcome::Wrong(12, "from".into()));
}

#[test]
fn values_that_are_too_large_together_are_refused_as_they_are_read() {
    let large = format!("\"{}\"", "x".repeat(1024 * 1024));
    let found = violations(&vec![add("/a", &large); 100]);
    let found: Vec<_> = found.iter().map(|violation| violation.index).collect();
    assert_eq!(found, [Some(7)]);
}

#[test]
fn no_document_becomes_deeper_than_its_bound() {
    let thirty_one = format!("{}{}", "[".repeat(31), "]".repeat(31));
    let document = json("{}");
    let Outcome::Document(deepest) = outcome(&document, &[add("/a", &thirty_one)], &[]) else {
        panic!("32 are allowed")
    };
    assert_eq!(deepest.depth(), 32);
    let bottom = format!("/a{}", "/0".repeat(30));
    let inside = format!("{bottom}/-");
    for too_deep in [
        add(&inside, "[]"),
        replace(&bottom, "[[]]"),
        copy(&bottom, &inside),
        copy("", "/b"),
    ] {
        assert_eq!(
            outcome(&deepest, &[too_deep], &[]),
            Outcome::Wrong(0, "path".into()),
            "{too_deep:?}"
        );
    }
}

#[test]
fn a_pointer_has_a_bound() {
    let longest = format!("/{}", "é".repeat(999));
    let Outcome::Document(_) = outcome(&json("{}"), &[add(&longest, "1")], &[]) else {
        panic!("1,000 characters are allowed")
    };
    assert_eq!(
        outcome(&json("{}"), &[add(&format!("{longest}é"), "1")], &[]),
        Outcome::Wrong(0, "path".into())
    );
}

const READ_ONLY: &[&str] = &["id", "version"];

#[test]
fn read_only_members_can_be_tested_and_copied() {
    let document = json(r#"{"id":"x","version":7,"name":"n"}"#);
    let operations = [
        test("/id", r#""x""#),
        test("/version", "7.0"),
        test("", r#"{"version":7,"name":"n","id":"x"}"#),
        copy("/id", "/name"),
    ];
    let expected = json(r#"{"id":"x","version":7,"name":"x"}"#);
    assert_eq!(
        outcome(&document, &operations, READ_ONLY),
        Outcome::Document(expected)
    );
}

#[test]
fn read_only_members_cannot_be_addressed_by_what_writes() {
    let document = json(r#"{"id":"x","version":7,"name":"n"}"#);
    for (operation, member) in [
        (add("/id", r#""x""#), "path"),
        (replace("/id", r#""x""#), "path"),
        (remove("/version"), "path"),
        (relocate("/id", "/name"), "from"),
        (relocate("/id", "/id"), "from"),
        (relocate("/name", "/id"), "path"),
        (copy("/name", "/version"), "path"),
        (add("/id/deeper", "1"), "path"),
        (add("/~0id/~1", "1"), "path"),
    ] {
        let operations = [replace("/name", r#""m""#), operation];
        assert_eq!(
            outcome(&document, &operations, READ_ONLY),
            Outcome::Wrong(1, member.into()),
            "{operation:?}"
        );
    }
}

#[test]
fn a_document_in_place_of_the_whole_has_the_read_only_members_as_they_were() {
    let document = json(r#"{"id":"x","version":7,"name":{"id":"x","version":7.0}}"#);
    for good in [
        replace("", r#"{"id":"x","version":7.0,"other":1}"#),
        add("", r#"{"id":"x","version":7}"#),
        copy("/name", ""),
        relocate("/name", ""),
        relocate("", ""),
    ] {
        let patched = outcome(&document, &[good], READ_ONLY);
        assert!(matches!(patched, Outcome::Document(_)), "{good:?}");
    }
    for bad in [
        replace("", r#"{"id":"y","version":7}"#),
        replace("", r#"{"id":"x"}"#),
        add("", r#"[{"id":"x","version":7}]"#),
        add("", "null"),
        copy("/name/id", ""),
        relocate("/name/id", ""),
    ] {
        assert_eq!(
            outcome(&document, &[test("/version", "7"), bad], READ_ONLY),
            Outcome::Wrong(1, "path".into()),
            "{bad:?}"
        );
    }
}
