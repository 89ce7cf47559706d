use uuid::Uuid;

use super::*;
use crate::cas::field::SERVER_MEMBERS;
use crate::cas::json::Json;
use crate::cas::model::{
    Affirmation, CasAllocation, CasValue, Comment, RecordFields, StatusMessage,
};
use crate::cas::patch::{Patch, PatchOperationText};
use crate::cas::string_enum::{CasValueType, DistributionType, OrderStatus};
use crate::error::{Error, Result};
use crate::types::amount::Amount;
use crate::types::time::Time;

mod records;

/// The «Example JSON» of the source document, to the letter.
const EXAMPLE: &str = include_str!("../../../tests/it/cas/example.json");

const ID: &str = "0198a7b2-0000-7000-8000-000000000001";

fn json(text: &str) -> Json {
    Json::parse(text).unwrap_or_else(|fault| panic!("{text}: {fault}"))
}

fn at(micros: i64) -> Time {
    Time::from_micros(micros).expect("in range")
}

/// The time 2020-04-09T04:36:37.423Z in microseconds since 1970.
const THEN: i64 = 1_586_406_997_423_000;

fn record(fields: RecordFields) -> CasAllocation {
    CasAllocation {
        id: Some(Uuid::parse_str(ID).expect("a UUID").into()),
        created_by: "string".into(),
        created_at: Some(at(THEN)),
        last_modified_by: "string".into(),
        last_modified_at: Some(at(THEN)),
        version: 1,
        fields,
    }
}

fn fields(text: &str) -> RecordFields {
    read(&json(text)).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

/// The JSON pointers of all violations.
fn wrong(document: &Json) -> Vec<String> {
    match read(document) {
        Err(Error::InvalidRequest(violations)) => {
            let all = violations.all().iter();
            all.map(|violation| violation.field.clone()).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn patch(document: &CasAllocation, operations: &[PatchOperationText<'_>]) -> Result<RecordFields> {
    let patch = Patch::read(operations.iter().copied())?;
    read(&patch.apply(write(document), &SERVER_MEMBERS)?)
}

fn add<'a>(path: &'a str, value_json: &'a str) -> PatchOperationText<'a> {
    PatchOperationText {
        op: "add",
        path,
        from: None,
        value_json: Some(value_json),
    }
}

#[test]
fn the_sources_example_comes_back_member_for_member() {
    let example = json(EXAMPLE);
    let Json::Object(mut expected) = example.clone() else {
        panic!("an object")
    };
    // The two members that the source's example does not have.
    expected.insert("id".into(), Json::Text(ID.into()));
    expected.insert("version".into(), json("1"));
    let written = write(&record(read(&example).expect("a record")));
    assert_eq!(written, Json::Object(expected.clone()));
    // Compared as text too, because equal numbers may be written differently.
    assert_eq!(
        format!("{written:?}"),
        format!("{:?}", Json::Object(expected))
    );
}

#[test]
fn the_sources_example_says_what_the_source_says() {
    let string = || Some("string".to_owned());
    let value = CasValue {
        value_type: Some(CasValueType::Cash),
        amount: Some(Amount::ZERO),
    };
    let expected = RecordFields {
        deal_id: string(),
        tranche_id: string(),
        source_id: string(),
        investor_account_id: string(),
        indication_id: string(),
        company_id: Some(0),
        source_row_version: string(),
        order_status: Some(OrderStatus::Pending),
        indication_group_id: string(),
        status_messages: vec![StatusMessage {
            code: string(),
            message: string(),
        }],
        value,
        override_value: value,
        distribution_type: Some(DistributionType::Manual),
        comments: vec![Comment {
            comment_type: Some("public".into()),
            comment: string(),
            last_modified_by: string(),
            last_modified_at: Some(at(THEN)),
        }],
        affirmation: Affirmation {
            is_affirmed: Some(true),
            modified_by: string(),
            modified_at: Some(at(THEN)),
        },
    };
    assert_eq!(fields(EXAMPLE), expected);
}

#[test]
fn what_is_unset_is_absent_but_arrays_are_there() {
    let expected = format!(
        r#"{{"id":"{ID}","version":1,"createdBy":"string","createdDateTime":"2020-04-09T04:36:37.423Z",
            "lastModifiedBy":"string","lastModifiedDateTime":"2020-04-09T04:36:37.423Z",
            "statusMessages":[],"comment":{{"comments":[]}}}}"#
    );
    assert_eq!(write(&record(RecordFields::default())), json(&expected));
    assert_eq!(fields(&expected), RecordFields::default());
    assert_eq!(fields("{}"), RecordFields::default());
}

#[test]
fn what_has_something_in_it_is_there_without_the_rest() {
    let text = r#"{"allocationValue":{"overrideAllocation":{"data":{"amount":-0.5}}},
        "detail":{"order":{"affirmation":{"isAffirmed":false}}},"statusMessages":[{},{"code":""}],
        "comment":{"comments":[{"lastModifiedDateTime":"2020-04-09T04:36:37.423001Z"}]}}"#;
    let written = write(&record(fields(text)));
    let Json::Object(expected) = json(text) else {
        panic!("an object")
    };
    for (name, value) in expected {
        assert_eq!(written.member(&name), Some(&value), "{name}");
    }
}

#[test]
fn null_is_unset_wherever_a_member_is() {
    for nothing in [
        r#"{"dealId":null,"companyId":null,"orderStatus":null,"statusMessages":null,"allocationValue":null,
            "distributionType":null,"comment":null,"detail":null}"#,
        r#"{"allocationValue":{"type":null,"data":null,"overrideAllocation":null},"comment":{"comments":null},
            "detail":{"order":null}}"#,
        r#"{"allocationValue":{"data":{"amount":null},"overrideAllocation":{"data":{"amount":null}}},
            "detail":{"order":{"affirmation":{"isAffirmed":null,"modifiedBy":null,"modifiedDateTime":null}}}}"#,
        r#"{"allocationValue":{},"comment":{},"detail":{"order":{"affirmation":{}}}}"#,
    ] {
        assert_eq!(fields(nothing), RecordFields::default(), "{nothing}");
    }
}

#[test]
fn unknown_members_are_refused_by_their_pointers() {
    let unknown = r#"{"dealID":"x","deal_id":"x","a/b~c":1,"allocationValue":{"amount":1,"data":{"currency":"EUR"},
        "overrideAllocation":{"overrideAllocation":{}}},"statusMessages":[{},{"text":null}],
        "comment":{"comments":[{"id":1}],"text":1},"detail":{"order":{"affirmation":{"by":1},"id":1},"x":1}}"#;
    let mut fields = wrong(&json(unknown));
    fields.sort();
    assert_eq!(
        fields,
        [
            "/allocationValue/amount",
            "/allocationValue/data/currency",
            "/allocationValue/overrideAllocation/overrideAllocation",
            "/a~1b~0c",
            "/comment/comments/0/id",
            "/comment/text",
            "/dealID",
            "/deal_id",
            "/detail/order/affirmation/by",
            "/detail/order/id",
            "/detail/x",
            "/statusMessages/1/text",
        ]
    );
}

#[test]
fn values_of_the_wrong_type_are_refused_by_their_pointers() {
    for (field, values) in [
        ("dealId", &["1", "true", "[]", r#"{"a":1}"#][..]),
        (
            "companyId",
            &[r#""1""#, "1.5", "9223372036854775808", "1e400", "1e-1"],
        ),
        (
            "orderStatus",
            &["1", r#""Pending""#, r#""""#, r#""delete_pending""#],
        ),
        ("distributionType", &[r#""other""#, "false"]),
        ("statusMessages", &["{}", r#""x""#]),
        ("statusMessages/0", &["1", "null", "[]"]),
        ("statusMessages/0/code", &["1", "{}"]),
        ("allocationValue", &["1", "[]"]),
        ("allocationValue/type", &[r#""CASH""#, "1"]),
        ("allocationValue/data", &["1", "[]"]),
        (
            "allocationValue/data/amount",
            &[
                r#""1""#,
                "10000000000000000",
                "0.0000000000001",
                "1e16",
                "true",
            ],
        ),
        ("allocationValue/overrideAllocation/data/amount", &["1e-13"]),
        ("comment", &["[]", r#""x""#]),
        ("comment/comments", &["{}"]),
        ("comment/comments/0", &["null"]),
        (
            "comment/comments/0/lastModifiedDateTime",
            &[
                "1",
                r#""2020-04-09""#,
                r#""2020-04-09T04:36:37""#,
                r#""2020-13-09T04:36:37Z""#,
                r#""0000-01-01T00:00:00Z""#,
                r#""0001-01-01T00:00:00+00:01""#,
                r#""9999-12-31T23:59:59-00:01""#,
            ],
        ),
        ("detail/order/affirmation/isAffirmed", &["1", r#""true""#]),
    ] {
        for value in values {
            // Wraps the value into the objects around it, the innermost first.
            let names = field.rsplit('/');
            let document = names.fold((*value).to_owned(), |inner, name| match name {
                "0" => format!("[{inner}]"),
                name => format!(r#"{{"{name}":{inner}}}"#),
            });
            assert_eq!(wrong(&json(&document)), [format!("/{field}")], "{document}");
        }
    }
    assert_eq!(wrong(&json("[]")), [""]);
}

#[test]
fn what_is_too_long_or_too_many_is_refused_with_the_rest() {
    let long = "x".repeat(129);
    // Elements beyond the one that exceeds the limit are not read.
    let many = [vec!["{}"; 201], vec!["1"; 5_000]].concat().join(",");
    let document = format!(
        r#"{{"dealId":"{long}","sourceId":"","indicationId":"\u0000","statusMessages":[{many}],"more":1}}"#
    );
    assert_eq!(
        wrong(&json(&document)),
        [
            "/more",
            "/dealId",
            "/indicationId",
            "/sourceId",
            "/statusMessages"
        ]
    );
}

#[test]
fn numbers_are_taken_by_value_and_lose_no_digit() {
    for (number, amount) in [
        (
            "1234567890123456.123456789012",
            "1234567890123456.123456789012",
        ),
        (
            "-9999999999999999.999999999999",
            "-9999999999999999.999999999999",
        ),
        ("9007199254740993", "9007199254740993"),
        ("1.50", "1.5"),
        ("15e-1", "1.5"),
        ("0.1", "0.1"),
        ("-0.0", "0"),
    ] {
        let fields = fields(&format!(
            r#"{{"allocationValue":{{"data":{{"amount":{number}}}}}}}"#
        ));
        let read = fields.value.amount.expect("an amount");
        assert_eq!(read.to_string(), amount);
        let written = write(&record(fields));
        let written = written
            .member("allocationValue")
            .and_then(|value| value.member("data"))
            .and_then(|data| data.member("amount"));
        assert!(
            matches!(written, Some(Json::Number(number)) if number.as_str() == amount),
            "{written:?}"
        );
    }
    for (number, id) in [
        ("1.0", 1),
        ("12e2", 1_200),
        ("-9223372036854775808", i64::MIN),
    ] {
        assert_eq!(
            fields(&format!(r#"{{"companyId":{number}}}"#)).company_id,
            Some(id)
        );
    }
}

#[test]
fn times_are_whole_microseconds_of_any_offset() {
    let read_back = |text: &str| {
        let document = format!(
            r#"{{"detail":{{"order":{{"affirmation":{{"modifiedDateTime":"{text}"}}}}}}}}"#
        );
        let written = write(&record(fields(&document)));
        let affirmation = ["detail", "order", "affirmation", "modifiedDateTime"]
            .into_iter()
            .try_fold(&written, |value, name| value.member(name));
        match affirmation {
            Some(Json::Text(text)) => text.clone(),
            other => panic!("{other:?}"),
        }
    };
    for (text, back) in [
        ("2020-04-09T04:36:37Z", "2020-04-09T04:36:37.000Z"),
        ("2020-04-09T06:36:37.423+02:00", "2020-04-09T04:36:37.423Z"),
        ("2020-04-09T04:36:37.4230Z", "2020-04-09T04:36:37.423Z"),
        ("2020-04-09T04:36:37.423001Z", "2020-04-09T04:36:37.423001Z"),
        (
            "2020-04-09T04:36:37.423001999Z",
            "2020-04-09T04:36:37.423001Z",
        ),
        (
            "1969-12-31T23:59:59.9999999Z",
            "1969-12-31T23:59:59.999999Z",
        ),
        ("2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00.500Z"),
    ] {
        assert_eq!(read_back(text), back);
    }
}

#[test]
fn a_patch_changes_what_it_addresses_and_nothing_else() {
    let before = record(fields(EXAMPLE));
    let after = patch(
        &before,
        &[
            PatchOperationText {
                op: "test",
                ..add("/version", "1.0")
            },
            PatchOperationText {
                op: "test",
                ..add("/allocationValue/data/amount", "0.00")
            },
            PatchOperationText {
                op: "replace",
                ..add("/orderStatus", r#""deletePending""#)
            },
            add("/allocationValue/data/amount", "12345678901234.5"),
            add(
                "/comment/comments/-",
                r#"{"commentType":"private","comment":"no"}"#,
            ),
            add("/trancheId", "null"),
            PatchOperationText {
                op: "remove",
                ..add("/detail/order", "1")
            },
            PatchOperationText {
                op: "copy",
                from: Some("/createdBy"),
                ..add("/dealId", "1")
            },
        ],
    );
    let mut expected = before.fields.clone();
    expected.order_status = Some(OrderStatus::DeletePending);
    expected.value.amount = Amount::parse_decimal("12345678901234.5");
    expected.comments.push(Comment {
        comment_type: Some("private".into()),
        comment: Some("no".into()),
        ..Comment::default()
    });
    expected.tranche_id = None;
    expected.affirmation = Affirmation::default();
    expected.deal_id = Some("string".into());
    assert_eq!(after, Ok(expected));
}

#[test]
fn a_patch_changes_no_member_of_the_servers() {
    let record = record(fields(EXAMPLE));
    for name in SERVER_MEMBERS {
        let path = format!("/{name}");
        for op in ["add", "replace", "remove"] {
            let refused = patch(
                &record,
                &[
                    add("/dealId", "null"),
                    PatchOperationText {
                        op,
                        ..add(&path, "1")
                    },
                ],
            );
            let Err(Error::InvalidRequest(violations)) = refused else {
                panic!("{refused:?}")
            };
            assert_eq!(violations.all()[0].index, Some(1), "{op} {path}");
        }
        assert!(write(&record).member(name).is_some(), "{name} is there");
    }
    // Replaces the whole document by one without them, and by one with them.
    let without = patch(&record, &[add("", r#"{"dealId":"x"}"#)]);
    assert!(
        matches!(without, Err(Error::InvalidRequest(_))),
        "{without:?}"
    );
    let Json::Object(mut whole) = json(EXAMPLE) else {
        panic!("an object")
    };
    whole.retain(|name, _| SERVER_MEMBERS.contains(&name.as_str()));
    let whole = whole
        .into_iter()
        .map(|(name, value)| match value {
            Json::Text(text) => format!("{name:?}:{text:?}"),
            other => panic!("{other:?}"),
        })
        .chain([
            format!(r#""id":"{ID}""#),
            r#""version":1.0,"dealId":"x""#.into(),
        ]);
    let whole = format!("{{{}}}", whole.collect::<Vec<_>>().join(","));
    let expected = RecordFields {
        deal_id: Some("x".into()),
        ..RecordFields::default()
    };
    assert_eq!(patch(&record, &[add("", &whole)]), Ok(expected));
}
