//! Page tokens that a caller has forged: what stands in them is checked like any argument.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status};

use super::{Client, cash, create, pb, search};
use crate::support::earmark::Earmark;
use crate::support::service::reason;

/// Version and binding of a token, which its checksum follows.
const BOUND_BYTES: usize = 9;
const CHECKSUM_BYTES: usize = 4;

/// The token with another cursor, and the checksum of that.
fn forged(token: &str, change: impl Fn(&mut Value)) -> String {
    let bytes = URL_SAFE_NO_PAD.decode(token).expect("base64url");
    let (bound, rest) = bytes.split_at(BOUND_BYTES);
    let mut cursor = serde_json::from_slice(&rest[CHECKSUM_BYTES..]).expect("JSON");
    change(&mut cursor);
    let cursor = serde_json::to_vec(&cursor).expect("JSON");
    let checksum = Sha256::digest([bound, &cursor].concat());
    URL_SAFE_NO_PAD.encode([bound, &checksum[..CHECKSUM_BYTES], &cursor].concat())
}

fn sorted_by(fields: &[&str]) -> pb::SearchAllocationsRequest {
    let by = |field: &&str| pb::SortField {
        field: (*field).into(),
        ..Default::default()
    };
    pb::SearchAllocationsRequest {
        sort_fields: fields.iter().map(by).collect(),
        page_size: 1,
        ..Default::default()
    }
}

/// Values that no cursor of this order can have, by the field that is sorted by.
fn impossible_values() -> Vec<(&'static str, Vec<Value>)> {
    vec![
        (
            "createdDateTime",
            vec![
                json!("-262143-01-01T00:00:00Z"),
                json!("0000-01-01T00:00:00Z"),
                json!("+262142-01-01T00:00:00Z"),
                json!("2020-01-01T12:00:60Z"),
                json!("2020-01-01T12:00:00.0000001Z"),
                json!("yesterday"),
                json!(1),
                json!(null),
            ],
        ),
        ("id", vec![json!("x"), json!(""), json!(null)]),
        (
            "version",
            vec![json!("9223372036854775808"), json!("1.0"), json!(null)],
        ),
        ("companyId", vec![json!("-9223372036854775809"), json!("")]),
        ("dealId", vec![json!("a\0b"), json!("x".repeat(1_001))]),
        ("orderStatus", vec![json!("lost"), json!("")]),
        (
            "allocationValue.data.amount",
            vec![json!("NaN"), json!("1e3"), json!("10000000000000000")],
        ),
        ("detail.order.affirmation.isAffirmed", vec![json!("yes")]),
        (
            "comment.comments.lastModifiedDateTime",
            vec![
                json!("-262143-01-01T00:00:00Z"),
                json!("2020-01-01T12:00:60Z"),
            ],
        ),
    ]
}

/// What the members of any cursor cannot be.
fn impossible_members() -> Vec<(&'static str, Value)> {
    vec![
        ("created_at", json!("-262143-01-01T00:00:00Z")),
        ("created_at", json!("+262142-12-31T23:59:59Z")),
        ("created_at", json!("0000-12-31T23:59:59Z")),
        ("created_at", json!("2020-01-01T12:00:60Z")),
        ("created_at", json!("2020-01-01T12:00:00.0000001Z")),
        ("created_at", json!("")),
        ("created_at", json!(null)),
        ("id", json!("x")),
        ("id", json!(null)),
        ("values", json!([])),
        ("values", json!(["D", "D"])),
        ("values", json!("D")),
        ("total", json!(-1)),
        ("total", json!(0)),
        ("total", json!(1.5)),
        ("total", json!("2")),
    ]
}

/// A firm with two records that have a value in each field that is sorted by here.
async fn two_records(earmark: &Earmark) -> Client {
    let client = earmark.firm("1");
    for _ in 0..2 {
        let said = pb::CasAllocation {
            company_id: Some(1),
            allocation_value: Some(cash("1")),
            order_status: pb::OrderStatus::Pending.into(),
            ..super::deal("D")
        };
        create(&client, said).await;
    }
    client
}

/// The first page of a search, and the answer to a page with what is made of its token.
async fn next_page(
    client: &Client,
    request: &pb::SearchAllocationsRequest,
    change: impl Fn(&mut Value),
) -> Result<pb::SearchAllocationsResponse, Status> {
    let first = search(client, request.clone()).await.expect("found");
    let request = pb::SearchAllocationsRequest {
        page_token: forged(&first.next_page_token, change),
        ..request.clone()
    };
    search(client, request).await
}

#[tokio::test]
async fn a_forged_cursor_is_no_page_token() {
    let earmark = Earmark::start().await;
    let client = two_records(&earmark).await;
    let assert_refused = |answer: Result<_, Status>, told: &str| {
        let refused: Status = Result::<pb::SearchAllocationsResponse, _>::expect_err(answer, told);
        assert_eq!(refused.code(), Code::InvalidArgument, "{told}: {refused:?}");
        assert_eq!(reason::<()>(Err(refused)), "PAGE_TOKEN_INVALID", "{told}");
    };
    for (field, values) in impossible_values() {
        let request = sorted_by(&[field]);
        let same = next_page(&client, &request, |_| {}).await;
        assert_eq!(same.expect("the same").allocations.len(), 1, "{field}");
        for value in values {
            let put = |cursor: &mut Value| cursor["values"] = json!([value]);
            let answer = next_page(&client, &request, put).await;
            assert_refused(answer, &format!("{field} {value}"));
        }
    }
    let request = sorted_by(&["dealId"]);
    for (member, value) in impossible_members() {
        let put = |cursor: &mut Value| cursor[member] = value.clone();
        let answer = next_page(&client, &request, put).await;
        assert_refused(answer, &format!("{member} {value}"));
    }
}
