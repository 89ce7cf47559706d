use proptest::prelude::*;

use std::collections::BTreeMap;

use super::parse::JsonParseError;
use super::*;
use crate::limits::JSON_VALUES_MAX;

fn json(text: &str) -> Json {
    Json::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

fn fault(text: &str) -> JsonParseError {
    Json::parse(text).expect_err(text)
}

#[test]
fn every_kind_of_value_is_read() {
    let read = json(r#" { "a" : [ null , true , false , -1.50 , "x\u00e9\n\"" ] , "" : { } } "#);
    let Json::Object(members) = read else {
        panic!("an object")
    };
    assert_eq!(members[""], Json::Object(BTreeMap::new()));
    let Json::Array(items) = &members["a"] else {
        panic!("an array")
    };
    assert_eq!(
        items[..3],
        [Json::Null, Json::Bool(true), Json::Bool(false)]
    );
    assert!(matches!(&items[3], Json::Number(number) if number.as_str() == "-1.50"));
    assert_eq!(items[4], Json::Text("xé\n\"".into()));
}

#[test]
fn the_order_of_members_means_nothing_and_that_of_elements_does() {
    assert_eq!(
        json(r#"{"a":1,"b":[1,2]}"#),
        json(r#"{"b":[1.0,2e0],"a":10e-1}"#)
    );
    assert_ne!(json("[1,2]"), json("[2,1]"));
    assert_ne!(json(r#"{"a":null}"#), json("{}"));
    assert_ne!(json("1"), json(r#""1""#));
}

#[test]
fn content_is_the_same_for_equal_values_and_for_ever() {
    let content = |text| json(text).content();
    assert_eq!(
        content(r#"{"a":1.0,"b":[true,null]}"#),
        content(r#"{"b":[true,null],"a":1}"#)
    );
    let different = [
        "null",
        "true",
        "false",
        "0",
        "1",
        r#""""#,
        r#""1""#,
        "[]",
        "{}",
        "[[]]",
        "[{}]",
        "[1]",
        r#"["1"]"#,
        "[1,1]",
        r#"{"a":1}"#,
        r#"{"a":"1"}"#,
        r#"{"b":1}"#,
        r#"["a",1]"#,
    ];
    for (index, one) in different.into_iter().enumerate() {
        for other in &different[..index] {
            assert_ne!(content(one), content(other), "{one} {other}");
        }
    }
    let hash = content(r#"{"a":[null,true,1.50,"x"]}"#).0;
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN);
}

const GOLDEN: &str = "db6b3636fac8e3c472dcb56bada6ad617d64d15a8b2e0d63cef9cafb8b176b94";

#[test]
fn a_member_named_twice_is_refused_however_it_is_written() {
    assert_eq!(
        fault(r#"{"a":1,"a":1}"#),
        JsonParseError::Duplicate("a".into())
    );
    assert_eq!(
        fault(r#"[{"a":1,"b":{},"\u0061":2}]"#),
        JsonParseError::Duplicate("a".into())
    );
    json(r#"{"a":{"a":1},"A":1}"#);
}

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    let at = |text| match fault(text) {
        JsonParseError::Syntax { at, .. } => at,
        other => panic!("{text}: {other}"),
    };
    for (text, place) in [
        ("", 0),
        ("  ", 2),
        ("nul", 0),
        ("nulls", 0),
        ("1 2", 2),
        ("[1,]", 3),
        ("[1 2]", 3),
        ("[1", 2),
        ("{1:2}", 1),
        (r#"{"a" 1}"#, 5),
        (r#"{"a":1,}"#, 7),
        ("[01]", 1),
        ("-", 0),
        ("1e99999999999999999999", 0),
        (r#""\ud800""#, 0),
        (r#""\x""#, 0),
        (r#"["é"#, 1),
        ("\"\\é\"", 0),
        ("\"\\", 0),
        ("\"a\nb\"", 0),
        ("\u{feff}1", 0),
        ("/*x*/1", 0),
        ("\u{a0}1", 0),
    ] {
        assert_eq!(at(text), place, "{text:?}");
    }
}

#[test]
fn nesting_is_bounded_and_never_overflows_the_stack() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(json(&nested(32)).depth(), 32);
    assert_eq!(fault(&nested(33)), JsonParseError::TooDeep);
    assert_eq!(fault(&nested(1_000)), JsonParseError::TooDeep);
    assert_eq!(fault(&"[".repeat(4 * 1024 * 1024)), JsonParseError::TooDeep);
    assert_eq!(fault(&r#"{"a":"#.repeat(1_000)), JsonParseError::TooDeep);
}

#[test]
fn the_number_of_values_is_bounded() {
    let items = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    json(&items(JSON_VALUES_MAX - 1));
    assert_eq!(
        fault(&items(JSON_VALUES_MAX)),
        JsonParseError::TooManyValues
    );
}

#[test]
fn memory_is_counted_for_what_a_small_text_makes_large() {
    assert_eq!(json("null").bytes(), size_of::<Json>());
    assert_eq!(json(r#""abc""#).bytes(), size_of::<Json>() + 3);
    assert_eq!(json("[1,[]]").bytes(), 3 * size_of::<Json>() + 1);
    assert!(json(r#"{"":1}"#).bytes() > 11 * size_of::<Json>());
}

/// The same value as serde_json represents it, with numbers as `f64`.
fn as_serde(value: &Json) -> serde_json::Value {
    match value {
        Json::Null => serde_json::Value::Null,
        Json::Bool(is) => (*is).into(),
        Json::Number(number) => {
            // Converted by serde_json, whose result may differ from the standard library's in the last digit.
            let number: f64 = serde_json::from_str(number.as_str()).expect("a number");
            number.into()
        }
        Json::Text(text) => text.as_str().into(),
        Json::Array(items) => items.iter().map(as_serde).collect(),
        Json::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), as_serde(value)))
            .collect(),
    }
}

/// Converts every number to an `f64`.
fn in_floats(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Number(number) => number.as_f64().into(),
        serde_json::Value::Array(items) => items.into_iter().map(in_floats).collect(),
        serde_json::Value::Object(members) => members
            .into_iter()
            .map(|(name, value)| (name, in_floats(value)))
            .collect(),
        other => other,
    }
}

/// Texts most of which are JSON, while the others have one error.
fn nearly_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,3})([.][0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
        r#""([a-z é~/]|\\[nt"\\/bfr]|\\u00[0-7][0-9a-f]|\\ud83d\\ude00){0,5}""#,
    ];
    let whole = leaf.prop_recursive(4, 30, 4, |inner| {
        let blank = "[ \t\n]{0,1}";
        prop_oneof![
            (proptest::collection::vec(inner.clone(), 0..4), blank).prop_map(
                |(items, blank)| format!("[{}{blank}]", items.join(&format!(",{blank}")))
            ),
            proptest::collection::vec(("[a-e]", inner), 0..4).prop_map(|members| {
                let written: Vec<_> = members
                    .iter()
                    .map(|(name, value)| format!("\"{name}\":{value}"))
                    .collect();
                format!("{{{}}}", written.join(" ,"))
            }),
        ]
    });
    // In three of ten texts a character is removed or inserted.
    let slip = proptest::option::weighted(
        0.3,
        (any::<prop::sample::Index>(), "[]\\[{}:,\"0-9 .e\\\\-]?"),
    );
    (whole, slip).prop_map(|(mut text, slip)| {
        if let Some((place, with)) = slip {
            let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            let at = *place.get(&places);
            match with.is_empty() {
                true => drop(text.remove(at)),
                false => text.insert_str(at, &with),
            }
        }
        text
    })
}

proptest! {
    /// serde_json accepts members of one name and keeps the last; otherwise both parsers accept the same texts.
    #[test]
    fn texts_are_read_as_serde_json_reads_them(text in nearly_json()) {
        match (Json::parse(&text), serde_json::from_str::<serde_json::Value>(&text)) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(as_serde(&ours), in_floats(theirs)),
            (Err(JsonParseError::Duplicate(_)), _) => {}
            (Err(_), Err(_)) => {}
            // A number such as 1e400 exceeds the range of `f64`.
            (Ok(_), Err(theirs)) => prop_assert!(theirs.to_string().contains("out of range"), "{}", theirs),
            (Err(ours), Ok(_)) => prop_assert!(false, "{}: {}", text, ours),
        }
    }
}
