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
    /// This member of the operation at this index names a location that is not there.
    Missing(usize, String),
    /// The operation at this index is refused, and this member of it is invalid.
    Wrong(usize, String),
}

/// Reads a patch of documents that may have any location.
fn any_document(operations: &[PatchOperationText<'_>]) -> Result<Patch> {
    Patch::read_checked(operations.iter().copied(), |_, _| Ok(()))
}

fn outcome(document: &Json, operations: &[PatchOperationText<'_>], read_only: &[&str]) -> Outcome {
    let patched = any_document(operations);
    match patched.and_then(|patch| patch.apply(document.clone(), read_only)) {
        Ok(document) => Outcome::Document(document),
        Err(Error::PatchTestFailed { index, .. }) => Outcome::TestFailed(index),
        Err(Error::PatchPathMissing { index, member, .. }) => {
            Outcome::Missing(index, member.into())
        }
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
    match any_document(operations) {
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
        let patch = any_document(operations).expect("a patch");
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
    let rule = more[0].description.as_str();
    assert_eq!(rule, "must have at most 1000 operations, got 1001");
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
fn locations_that_no_record_can_have_are_refused_with_all_that_is_wrong() {
    let found = Patch::read([
        test("/dealId", "1"),
        add("/dealID", "1"),
        relocate("/id", "/version"),
        copy("/id", "/dealId"),
        replace("/statusMessages/-", "{}"),
        remove("/version"),
        copy("/dealId", "/createdBy/x"),
        add("", "{}"),
    ]);
    let Err(Error::InvalidRequest(found)) = found else {
        panic!("{found:?}")
    };
    let fields: Vec<_> = found.all().iter().map(|each| each.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "operations[1].path",
            "operations[2].path",
            "operations[2].from",
            "operations[4].path",
            "operations[5].path",
            "operations[6].path",
        ]
    );
    let first = &found.all()[0];
    assert_eq!(
        first.description,
        "no member `dealID`: did you mean `dealId`?"
    );
    let known = first.known_names.as_deref().expect("a list");
    assert!(known.starts_with("Every member: id, version, "), "{known}");
}

#[test]
fn a_value_that_is_no_json_gets_a_hint() {
    for (text, hint) in [
        ("pending", r#": a text needs double quotes, `"pending"`"#),
        ("'a \"b\"'", r#": a text needs double quotes, `"a \"b\""`"#),
        (
            "2020-04-09",
            r#": a text needs double quotes, `"2020-04-09"`"#,
        ),
        ("1.5 EUR", r#": a text needs double quotes, `"1.5 EUR"`"#),
        ("True", ": did you mean `true`?"),
        ("NULL", ": did you mean `null`?"),
        ("[1,]", ""),
        ("\"a", ""),
        ("", ""),
    ] {
        let found = violations(&[add("/a", text)]);
        let rule = &found[0].description;
        assert!(rule.starts_with("must be JSON: expected "), "{rule}");
        let end = rule.split_once(" at byte ").expect(rule).1;
        assert_eq!(
            end.trim_start_matches(|c: char| c.is_ascii_digit()),
            hint,
            "{text}"
        );
    }
}

#[test]
fn what_is_found_in_place_of_the_expected_is_said() {
    let document = json(r#"{"a":1,"b":[{"c":"x"}],"d":{},"e":null,"f":[]}"#);
    let found = |operation| {
        let patch = any_document(&[operation]).expect("a patch");
        match patch.apply(document.clone(), &[]) {
            Err(Error::PatchTestFailed { found, .. }) => found,
            Err(Error::PatchPathMissing { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    };
    for (operation, said) in [
        (test("/a", "2"), "`/a` is 1, not 2"),
        (test("/g", "2"), "`/g` is null, not 2"),
        (test("/b", "[]"), "`/b` is an array of 1, not an array of 0"),
        (
            test("/b/0", r#"{"c":"y"}"#),
            "`/b/0` is another value than the one in `value_json`: an object of 1",
        ),
        (
            test("/b/1/c", "1"),
            "`/b/1` is not there, the array has 1 element",
        ),
        (
            test("/f/0", "null"),
            "`/f/0` is not there, the array is empty",
        ),
        (test("/g/0", "null"), "`/g` is unset"),
        (test("/a/x", "1"), "`/a` is neither an object nor an array"),
        (
            remove("/g"),
            "`/g` is unset: leave this operation out, or test the member before it",
        ),
        (
            replace("/d/x", "1"),
            "`/d/x` is unset: `add` sets a member whether it is set or not",
        ),
        (
            relocate("/g", "/d"),
            "`/g` is unset: there is nothing to move; `add` sets a member to a value",
        ),
        (
            copy("/e/x", "/d"),
            "`/e` is unset: there is nothing to copy; `add` sets a member to a value",
        ),
        (add("/g/x/y", "1"), "`/g` is unset: `add` it first"),
        (
            add("/b/2", "1"),
            "`/b/2` is not there, the array has 1 element: use a position of at most 1, or `-` for the end",
        ),
        (
            add("/b/1/x", "1"),
            "`/b/1` is not there, the array has 1 element",
        ),
        (
            remove("/b/1"),
            "`/b/1` is not there, the array has 1 element",
        ),
    ] {
        assert_eq!(found(operation), said, "{operation:?}");
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
