//! The document's example round-trips through the RPCs member for member.

use serde_json::{Value, json};

use super::{create, get, patch};
use crate::support::earmark::Earmark;

/// The source's example, as it stands there.
const EXAMPLE: &str = include_str!("example.json");

/// Members that the server sets.
const AUDIT: [&str; 4] = [
    "createdBy",
    "createdDateTime",
    "lastModifiedBy",
    "lastModifiedDateTime",
];

fn rfc3339(time: Option<prost_types::Timestamp>) -> String {
    let time = time.expect("set");
    let nanos = u32::try_from(time.nanos).expect("positive");
    let time = chrono::DateTime::from_timestamp(time.seconds, nanos).expect("in range");
    let format = match nanos % 1_000_000 {
        0 => chrono::SecondsFormat::Millis,
        _ => chrono::SecondsFormat::Micros,
    };
    time.to_rfc3339_opts(format, true)
}

#[tokio::test]
async fn the_documents_example_round_trips_member_for_member() {
    let earmark = Earmark::start().await;
    let client = earmark.firm("1");
    let record = create(&client, Default::default()).await;
    let mut example: Value = serde_json::from_str(EXAMPLE).expect("JSON");

    // In: every member that a writer has.
    let members = example.as_object().expect("an object").iter();
    let adds = members
        .filter(|(name, _)| !AUDIT.contains(&name.as_str()))
        .map(|(name, value)| json!({"op": "add", "path": format!("/{name}"), "value": value}));
    let adds = Value::Array(adds.collect());
    let patched = patch(&client, &record.id, adds).await.expect("patched");

    // As the message has it.
    assert_eq!(patched.company_id, Some(0));
    assert_eq!(patched.order_status(), super::pb::OrderStatus::Pending);
    let value = patched.allocation_value.clone().expect("set");
    assert_eq!(value.r#type(), super::pb::AllocationValueType::Cash);
    assert_eq!(value.data.expect("set").amount.as_deref(), Some("0"));
    let overriding = value.override_allocation.expect("set");
    assert_eq!(overriding.data.expect("set").amount.as_deref(), Some("0"));
    let comment = &patched.comment.as_ref().expect("set").comments[0];
    assert_eq!(comment.comment_type.as_deref(), Some("public"));
    let time = rfc3339(comment.last_modified_date_time);
    assert_eq!(time, "2020-04-09T04:36:37.423Z");

    // Out: the whole document is the example, but for the server's members.
    let stored = get(&client, &record.id).await.expect("there");
    assert_eq!(stored, patched);
    example["id"] = json!(stored.id);
    example["version"] = json!(2);
    example["createdBy"] = json!("somebody");
    example["createdDateTime"] = json!(rfc3339(stored.created_date_time));
    example["lastModifiedBy"] = json!("somebody");
    example["lastModifiedDateTime"] = json!(rfc3339(stored.last_modified_date_time));
    let whole = json!([{"op": "test", "path": "", "value": example}]);
    patch(&client, &record.id, whole).await.expect("equal");

    // And nothing else would have been.
    example["version"] = json!(3);
    example["detail"]["order"]["affirmation"]["isAffirmed"] = json!(false);
    let other = json!([{"op": "test", "path": "", "value": example}]);
    let refused = patch(&client, &record.id, other).await;
    let status = refused.expect_err("not equal");
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
}
