//! Cases for each rule, among them the examples of the RFCs.

use super::*;

/// The expected result of a case.
#[derive(Clone, Copy)]
enum End {
    /// The patch results in this document.
    Is(&'static str),
    /// The `test` operation at this index fails.
    Fails(usize),
    /// This member of the operation at this index names a location that is not there.
    Missing(usize, &'static str),
    /// The operation at this index is refused because this member is invalid.
    Wrong(usize, &'static str),
}

use End::{Fails, Is, Missing, Wrong};

fn check(cases: &[(&str, &[PatchOperationText<'_>], End)]) {
    for (document, operations, end) in cases {
        let expected = match *end {
            Is(document) => Outcome::Document(json(document)),
            Fails(index) => Outcome::TestFailed(index),
            Missing(index, member) => Outcome::Missing(index, member.into()),
            Wrong(index, member) => Outcome::Wrong(index, member.into()),
        };
        let found = outcome(&json(document), operations, &[]);
        assert_eq!(found, expected, "{document} {operations:?}");
        // Equality ignores how numbers are written, but the text of a number must be kept.
        if let (Outcome::Document(found), Outcome::Document(expected)) = (&found, &expected) {
            assert_eq!(format!("{found:?}"), format!("{expected:?}"));
        }
    }
}

#[test]
fn the_first_nine_examples_of_rfc_6902_appendix_a() {
    check(&[
        // A.1 to A.5: add and remove a member or an element, replace a value.
        (
            r#"{"foo":"bar"}"#,
            &[add("/baz", r#""qux""#)],
            Is(r#"{"baz":"qux","foo":"bar"}"#),
        ),
        (
            r#"{"foo":["bar","baz"]}"#,
            &[add("/foo/1", r#""qux""#)],
            Is(r#"{"foo":["bar","qux","baz"]}"#),
        ),
        (
            r#"{"baz":"qux","foo":"bar"}"#,
            &[remove("/baz")],
            Is(r#"{"foo":"bar"}"#),
        ),
        (
            r#"{"foo":["bar","qux","baz"]}"#,
            &[remove("/foo/1")],
            Is(r#"{"foo":["bar","baz"]}"#),
        ),
        (
            r#"{"baz":"qux","foo":"bar"}"#,
            &[replace("/baz", r#""boo""#)],
            Is(r#"{"baz":"boo","foo":"bar"}"#),
        ),
        // A.6 and A.7: move.
        (
            r#"{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}"#,
            &[relocate("/foo/waldo", "/qux/thud")],
            Is(r#"{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}"#),
        ),
        (
            r#"{"foo":["all","grass","cows","eat"]}"#,
            &[relocate("/foo/1", "/foo/3")],
            Is(r#"{"foo":["all","cows","eat","grass"]}"#),
        ),
        // A.8 and A.9: test.
        (
            r#"{"baz":"qux","foo":["a",2,"c"]}"#,
            &[test("/baz", r#""qux""#), test("/foo/1", "2")],
            Is(r#"{"baz":"qux","foo":["a",2,"c"]}"#),
        ),
        (r#"{"baz":"qux"}"#, &[test("/baz", r#""bar""#)], Fails(0)),
    ]);
}

#[test]
fn the_examples_of_rfc_6902_appendix_a_from_the_tenth_on() {
    check(&[
        // A.10 and A.11: a nested object, and members that are ignored.
        (
            r#"{"foo":"bar"}"#,
            &[add("/child", r#"{"grandchild":{}}"#)],
            Is(r#"{"foo":"bar","child":{"grandchild":{}}}"#),
        ),
        (
            r#"{"foo":"bar"}"#,
            &[write(
                "add",
                "/baz",
                Some("not a pointer"),
                Some(r#""qux""#),
            )],
            Is(r#"{"foo":"bar","baz":"qux"}"#),
        ),
        // A.12: a target that does not exist. (A.13, `op` written twice, cannot occur in a protobuf message.)
        (
            r#"{"foo":"bar"}"#,
            &[add("/baz/bat", r#""qux""#)],
            Missing(0, "path"),
        ),
        // A.14 to A.16: escapes in order, strings and numbers, an array as one element.
        (
            r#"{"/":9,"~1":10}"#,
            &[test("/~01", "10")],
            Is(r#"{"/":9,"~1":10}"#),
        ),
        (r#"{"/":9,"~1":10}"#, &[test("/~01", r#""10""#)], Fails(0)),
        (
            r#"{"foo":["bar"]}"#,
            &[add("/foo/-", r#"["abc","def"]"#)],
            Is(r#"{"foo":["bar",["abc","def"]]}"#),
        ),
    ]);
}

#[test]
fn the_pointers_of_rfc_6901_section_5() {
    let document = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
    check(&[(
        document,
        &[
            test("", document),
            test("/foo", r#"["bar","baz"]"#),
            test("/foo/0", r#""bar""#),
            test("/", "0"),
            test("/a~1b", "1"),
            test("/c%d", "2"),
            test("/e^f", "3"),
            test("/g|h", "4"),
            test("/i\\j", "5"),
            test("/k\"l", "6"),
            test("/ ", "7"),
            test("/m~0n", "8"),
        ],
        Is(document),
    )]);
}

#[test]
fn malformed_pointers_are_refused() {
    for malformed in [
        "foo", "a/b", " /foo", "/foo~", "/~2", "/~", "/a~/b", "#/foo",
    ] {
        check(&[
            ("{}", &[test(malformed, "1")], Wrong(0, "path")),
            ("{}", &[copy(malformed, "/a")], Wrong(0, "from")),
        ]);
    }
}

#[test]
fn add_puts_a_member_in_place_of_one_that_is_there() {
    check(&[
        (r#"{"foo":null}"#, &[add("/foo", "1")], Is(r#"{"foo":1}"#)),
        (
            r#"{"foo":[1,2]}"#,
            &[add("/foo", r#"["bar"]"#)],
            Is(r#"{"foo":["bar"]}"#),
        ),
        (
            r#"{"foo":1}"#,
            &[add("/bar", "null")],
            Is(r#"{"foo":1,"bar":null}"#),
        ),
        (
            r#"{"foo":1}"#,
            &[add("/FOO", "2")],
            Is(r#"{"foo":1,"FOO":2}"#),
        ),
        ("{}", &[add("/", "1")], Is(r#"{"":1}"#)),
        (
            r#"{"foo":{}}"#,
            &[add("/foo/", "1")],
            Is(r#"{"foo":{"":1}}"#),
        ),
        // Digits are a position in an array, but a name in an object.
        (
            r#"{"foo":1}"#,
            &[add("/0", "1"), add("/-", "2"), add("/01", "3")],
            Is(r#"{"foo":1,"0":1,"-":2,"01":3}"#),
        ),
        (
            r#"{"1e0":"foo"}"#,
            &[test("/1e0", r#""foo""#)],
            Is(r#"{"1e0":"foo"}"#),
        ),
    ]);
}

#[test]
fn add_puts_an_element_before_the_one_that_is_there() {
    check(&[
        (r#"["foo"]"#, &[add("/0", "1")], Is(r#"[1,"foo"]"#)),
        (r#"["foo"]"#, &[add("/1", "1")], Is(r#"["foo",1]"#)),
        (r#"["foo"]"#, &[add("/-", "[1,2]")], Is(r#"["foo",[1,2]]"#)),
        ("[]", &[add("/0", "1")], Is("[1]")),
        (
            "[1,2,[3,[4,5]]]",
            &[add("/2/1/-", "6")],
            Is("[1,2,[3,[4,5,6]]]"),
        ),
        (
            r#"[{"foo":[]}]"#,
            &[add("/0/foo/-", "null")],
            Is(r#"[{"foo":[null]}]"#),
        ),
    ]);
}

#[test]
fn positions_are_digits_without_leading_zeros_and_not_past_the_end() {
    for none in [
        "/2",
        "/8",
        "/-1",
        "/01",
        "/00",
        "/1e0",
        "/+1",
        "/bar",
        "/",
        "/ 1",
        "/1 ",
        "/１",
        "/18446744073709551616",
    ] {
        check(&[
            ("[1]", &[add(none, "0")], Missing(0, "path")),
            ("[1]", &[replace(none, "0")], Missing(0, "path")),
            ("[1]", &[remove(none)], Missing(0, "path")),
            ("[1]", &[test(none, "null")], Fails(0)),
            ("[1]", &[copy(none, "/0")], Missing(0, "from")),
            ("[1]", &[relocate(none, "/0")], Missing(0, "from")),
        ]);
    }
}

#[test]
fn the_place_behind_the_last_is_only_for_what_adds() {
    check(&[
        ("[1]", &[copy("/0", "/-")], Is("[1,1]")),
        ("[1,2]", &[relocate("/0", "/-")], Is("[2,1]")),
        ("[1]", &[replace("/-", "2")], Missing(0, "path")),
        ("[1]", &[remove("/-")], Missing(0, "path")),
        ("[1]", &[test("/-", "1")], Fails(0)),
        ("[1]", &[copy("/-", "/0")], Missing(0, "from")),
        ("[1]", &[relocate("/-", "/0")], Missing(0, "from")),
        ("[[1]]", &[add("/-/0", "1")], Missing(0, "path")),
        // After a move out of it, the array is one shorter.
        ("[1,2]", &[relocate("/0", "/2")], Missing(0, "path")),
    ]);
}

#[test]
fn what_is_not_there_is_refused() {
    check(&[
        (r#"{"foo":1}"#, &[remove("/bar")], Missing(0, "path")),
        (r#"{"foo":1}"#, &[replace("/bar", "1")], Missing(0, "path")),
        (
            r#"{"foo":1}"#,
            &[replace("/foo/bar", "1")],
            Missing(0, "path"),
        ),
        (r#"{"foo":1}"#, &[add("/foo/bar", "1")], Missing(0, "path")),
        (r#"{"foo":"text"}"#, &[test("/foo/0", r#""t""#)], Fails(0)),
        (r#"{"foo":1}"#, &[copy("/bar", "/baz")], Missing(0, "from")),
        (
            r#"{"foo":1}"#,
            &[relocate("/bar", "/bar")],
            Missing(0, "from"),
        ),
        (
            r#"{"foo":1}"#,
            &[relocate("/foo", "/bar/baz")],
            Missing(0, "path"),
        ),
        (
            r#"{"foo":1}"#,
            &[remove("/foo"), remove("/foo")],
            Missing(1, "path"),
        ),
        ("[]", &[remove("/0")], Missing(0, "path")),
    ]);
}

#[test]
fn an_unset_member_reads_as_null_but_an_element_that_is_not_there_fails() {
    check(&[
        (r#"{"foo":1}"#, &[test("/bar", "null")], Is(r#"{"foo":1}"#)),
        ("{}", &[test("/a/b/c", "null")], Is("{}")),
        (
            r#"{"a":null}"#,
            &[test("/a/b", "null")],
            Is(r#"{"a":null}"#),
        ),
        ("[{}]", &[test("/0/a", "null")], Is("[{}]")),
        ("[null]", &[test("/0/a", "null")], Is("[null]")),
        (
            r#"{"a":{"b":1}}"#,
            &[remove("/a"), test("/a/b", "null")],
            Is("{}"),
        ),
        ("{}", &[test("/a", "{}")], Fails(0)),
        ("{}", &[test("/a", "1")], Fails(0)),
        ("{}", &[test("/a/0", "null")], Fails(0)),
        ("{}", &[test("/a/0/b", "null")], Fails(0)),
        ("{}", &[test("/a/-", "null")], Fails(0)),
        (r#"{"a":null}"#, &[test("/a/0", "null")], Fails(0)),
        ("[]", &[test("/0", "null")], Fails(0)),
        ("[]", &[test("/0/a", "null")], Fails(0)),
        (r#"{"a":1}"#, &[test("/a/b", "null")], Fails(0)),
        // No other operation takes an unset member for null.
        ("{}", &[copy("/a", "/b")], Missing(0, "from")),
        (r#"{"a":null}"#, &[add("/a/b", "1")], Missing(0, "path")),
    ]);
}

#[test]
fn the_whole_document_can_be_put_and_tested_but_not_removed() {
    check(&[
        (
            r#"{"foo":1}"#,
            &[replace("", r#"{"baz":"qux"}"#)],
            Is(r#"{"baz":"qux"}"#),
        ),
        (r#"{"foo":1}"#, &[add("", "[]"), add("/-", "1")], Is("[1]")),
        ("[]", &[add("", "{}")], Is("{}")),
        (
            r#"{"foo":{"bar":1}}"#,
            &[relocate("/foo", "")],
            Is(r#"{"bar":1}"#),
        ),
        (r#"{"foo":{"bar":1}}"#, &[copy("/foo/bar", "")], Is("1")),
        (r#"{"foo":1}"#, &[relocate("", "")], Is(r#"{"foo":1}"#)),
        (
            r#"{"foo":1}"#,
            &[test("", r#"{"foo":1}"#)],
            Is(r#"{"foo":1}"#),
        ),
        (r#"{"foo":1}"#, &[test("", "{}")], Fails(0)),
        (r#"{"foo":1}"#, &[remove("")], Wrong(0, "path")),
    ]);
}

#[test]
fn nothing_is_moved_into_itself() {
    check(&[
        (
            r#"{"a":{"b":1}}"#,
            &[relocate("/a", "/a/c")],
            Wrong(0, "path"),
        ),
        (r#"{"a":{"b":1}}"#, &[relocate("", "/a")], Wrong(0, "path")),
        ("[[1]]", &[relocate("/0", "/0/0")], Wrong(0, "path")),
        // Not inside, though its text has the same beginning; onto itself; out of itself; and a copy is independent.
        (
            r#"{"a":1,"ab":{}}"#,
            &[relocate("/a", "/ab/c")],
            Is(r#"{"ab":{"c":1}}"#),
        ),
        (
            r#"{"a":{"b":1}}"#,
            &[relocate("/a", "/a")],
            Is(r#"{"a":{"b":1}}"#),
        ),
        (
            r#"{"a":{"b":1}}"#,
            &[relocate("/a/b", "/a")],
            Is(r#"{"a":1}"#),
        ),
        (
            r#"{"a":{"b":1}}"#,
            &[copy("/a", "/a/c")],
            Is(r#"{"a":{"b":1,"c":{"b":1}}}"#),
        ),
        (
            r#"{"a":[1]}"#,
            &[copy("/a", "/b"), add("/b/-", "2")],
            Is(r#"{"a":[1],"b":[1,2]}"#),
        ),
    ]);
}

#[test]
fn null_is_a_value() {
    check(&[
        (
            r#"{"foo":null}"#,
            &[test("/foo", "null")],
            Is(r#"{"foo":null}"#),
        ),
        (
            r#"{"foo":null}"#,
            &[relocate("/foo", "/bar")],
            Is(r#"{"bar":null}"#),
        ),
        (
            r#"{"foo":null}"#,
            &[copy("/foo", "/bar")],
            Is(r#"{"foo":null,"bar":null}"#),
        ),
        (r#"{"foo":null}"#, &[remove("/foo")], Is("{}")),
        (
            r#"{"foo":"bar"}"#,
            &[replace("/foo", "null")],
            Is(r#"{"foo":null}"#),
        ),
        (r#"{"foo":false}"#, &[test("/foo", "null")], Fails(0)),
        (r#"{"foo":0}"#, &[test("/foo", "false")], Fails(0)),
        (r#"{"foo":""}"#, &[test("/foo", "null")], Fails(0)),
        (r#"{"foo":[]}"#, &[test("/foo", "{}")], Fails(0)),
    ]);
}

#[test]
fn test_compares_numbers_by_value_and_objects_without_order() {
    check(&[
        (
            r#"{"a":1}"#,
            &[test("/a", "1.0"), test("/a", "10e-1")],
            Is(r#"{"a":1}"#),
        ),
        (r#"{"a":1.10}"#, &[test("/a", "1.1")], Is(r#"{"a":1.10}"#)),
        (
            r#"{"a":9007199254740993}"#,
            &[test("/a", "9007199254740992")],
            Fails(0),
        ),
        (
            r#"{"a":{"b":1,"c":[{"d":2,"e":3}]}}"#,
            &[test("/a", r#"{"c":[{"e":3.0,"d":2}],"b":1e0}"#)],
            Is(r#"{"a":{"b":1,"c":[{"d":2,"e":3}]}}"#),
        ),
        (r#"{"a":[1,2]}"#, &[test("/a", "[2,1]")], Fails(0)),
        (r#"{"a":[1,2]}"#, &[test("/a", "[1]")], Fails(0)),
        (
            r#"{"a":{"b":1}}"#,
            &[test("/a", r#"{"b":1,"c":null}"#)],
            Fails(0),
        ),
        (
            r#"{"a":"é"}"#,
            &[test("/a", r#""\u00e9""#)],
            Is(r#"{"a":"é"}"#),
        ),
        // JSON does not normalise Unicode.
        (r#"{"a":"é"}"#, &[test("/a", r#""e\u0301""#)], Fails(0)),
    ]);
}

#[test]
fn operations_see_those_before_them_and_the_first_that_fails_answers() {
    check(&[
        ("{}", &[], Is("{}")),
        (
            "{}",
            &[
                add("/a", "1"),
                copy("/a", "/b"),
                test("/b", "1"),
                remove("/a"),
            ],
            Is(r#"{"b":1}"#),
        ),
        (
            "{}",
            &[add("/a", "1"), test("/a", "2"), remove("/none")],
            Fails(1),
        ),
        (
            "{}",
            &[add("/a", "1"), remove("/none"), test("/a", "2")],
            Missing(1, "path"),
        ),
        (
            "[1,2,3,4]",
            &[remove("/0"), remove("/0"), remove("/0")],
            Is("[4]"),
        ),
        // Operations are validated before any of them is applied.
        (
            "{}",
            &[test("/a", "2"), write("spam", "", None, None)],
            Wrong(1, "op"),
        ),
    ]);
}

#[test]
fn members_that_an_operation_needs_are_required_and_others_ignored() {
    let bad = Some("[not JSON");
    check(&[
        ("[1]", &[write("remove", "/0", Some("x"), bad)], Is("[]")),
        ("[1]", &[write("move", "/0", Some("/0"), bad)], Is("[1]")),
        ("[1]", &[write("copy", "/0", Some("/0"), bad)], Is("[1,1]")),
        (
            "[1]",
            &[write("test", "/0", Some("x"), Some("1"))],
            Is("[1]"),
        ),
        (
            "[1]",
            &[write("replace", "/0", Some("x"), Some("2"))],
            Is("[2]"),
        ),
        (
            "[1]",
            &[write("add", "/0", None, None)],
            Wrong(0, "value_json"),
        ),
        (
            "[1]",
            &[write("replace", "/0", None, Some(""))],
            Wrong(0, "value_json"),
        ),
        (
            "[1]",
            &[write("test", "/0", None, bad)],
            Wrong(0, "value_json"),
        ),
        (
            "[1]",
            &[add("/0", r#"{"a":1,"a":2}"#)],
            Wrong(0, "value_json"),
        ),
        ("[1]", &[write("move", "/0", None, None)], Wrong(0, "from")),
        ("[1]", &[write("copy", "/0", None, None)], Wrong(0, "from")),
        ("[1]", &[write("", "/0", None, None)], Wrong(0, "op")),
        ("[1]", &[write("REMOVE", "/0", None, None)], Wrong(0, "op")),
    ]);
}
