//! Lists of actions.

use earmark::proto::bucket::v1::{
    BalanceAction, BalanceActionType, GetAccumulatedBalanceRequest, GetBalanceActionRequest,
    ListBalanceActionsRequest,
};
use prost_types::Timestamp;
use tonic::Code;

use crate::support::bucket_fixture::{
    BucketFixture, adjust, deduct, of_party, reserve, topup, transfer, unreserve,
};
use crate::support::earmark::{NOBODY, refusal};

/// Three buckets of two parties, and one action of each type, after the opening of each bucket.
async fn busy() -> (BucketFixture, Vec<BalanceAction>) {
    let fixture = BucketFixture::open().await;
    fixture.create(of_party("p+1", "a", "100", "EUR")).await;
    fixture.create(of_party("p+1", "b", "100", "EUR")).await;
    fixture.create(of_party("p%2", "c", "100", "EUR")).await;
    let mut client = fixture.client.clone();
    let mut done = vec![fixture.topup(topup("a", "1", "1")).await];
    let adjusted = client.adjust_balance(adjust("b", "-1", "2")).await;
    done.push(
        adjusted
            .expect("done")
            .into_inner()
            .balance_action
            .expect("set"),
    );
    done.push(fixture.reserve(reserve("c", "5", "3")).await);
    let moved = client.transfer_balance(transfer("a", "c", "1", "4")).await;
    done.push(
        moved
            .expect("done")
            .into_inner()
            .balance_action
            .expect("set"),
    );
    let used = client.deduct_balance(deduct("b", "1", "1")).await;
    done.push(
        used.expect("done")
            .into_inner()
            .balance_action
            .expect("set"),
    );
    let given = client
        .unreserve_balance(unreserve("c", &done[2].id, "5"))
        .await;
    done.push(
        given
            .expect("done")
            .into_inner()
            .balance_action
            .expect("set"),
    );
    // The reserve has been closed by then.
    done[2] = fixture.action(&done[2].id).await;
    let opening = ListBalanceActionsRequest {
        types: vec![BalanceActionType::Opening.into()],
        ..Default::default()
    };
    let mut all = listed(&fixture, opening).await;
    all.extend(done);
    (fixture, all)
}

async fn listed(fixture: &BucketFixture, request: ListBalanceActionsRequest) -> Vec<BalanceAction> {
    let listed = fixture.client.clone().list_balance_actions(request).await;
    listed.expect("listed").into_inner().balance_actions
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// A filter, the places of the actions that it lets pass, and the buckets whose changes are shown.
type FilterCase = (
    ListBalanceActionsRequest,
    &'static [usize],
    &'static [&'static str],
);

fn filter_cases(times: &[Timestamp]) -> Vec<FilterCase> {
    const ALL: &[&str] = &["a", "b", "c"];
    let by = |change: &dyn Fn(&mut ListBalanceActionsRequest)| {
        let mut request = ListBalanceActionsRequest::default();
        change(&mut request);
        request
    };
    let buckets = |ids: &[&str]| by(&|list| list.bucket_ids = texts(ids));
    let parties = |ids: &[&str]| by(&|list| list.party_account_ids = texts(ids));
    let types = |types: &[BalanceActionType]| {
        by(&|list| list.types = types.iter().map(|kind| (*kind).into()).collect())
    };
    let mut cases: Vec<FilterCase> = vec![
        (by(&|_| {}), &[0, 1, 2, 3, 4, 5, 6, 7, 8], ALL),
        (types(&[BalanceActionType::Opening]), &[0, 1, 2], ALL),
        (types(&[BalanceActionType::Topup]), &[3], ALL),
        (
            types(&[BalanceActionType::Deduct, BalanceActionType::Unreserve]),
            &[7, 8],
            ALL,
        ),
        (buckets(&["a"]), &[0, 3, 6], &["a"]),
        // A transfer is listed once, even if the filter has both of its buckets.
        (buckets(&["c"]), &[2, 5, 6, 8], &["c"]),
        (
            buckets(&["c", "a", "c", "unknown"]),
            &[0, 2, 3, 5, 6, 8],
            &["a", "c"],
        ),
        (parties(&["p+1"]), &[0, 1, 3, 4, 6, 7], &["a", "b"]),
        (parties(&["p%2", "p%2", "unknown"]), &[2, 5, 6, 8], &["c"]),
        (parties(&["p+1", "p%2"]), &[0, 1, 2, 3, 4, 5, 6, 7, 8], ALL),
        (
            by(&|list| {
                list.party_account_ids = texts(&["p+1"]);
                list.bucket_ids = texts(&["b", "c"]);
            }),
            &[1, 4, 7],
            &["b"],
        ),
        (buckets(&["unknown"]), &[], ALL),
    ];
    cases.extend(key_and_time_cases(times));
    cases
}

fn key_and_time_cases(times: &[Timestamp]) -> Vec<FilterCase> {
    const ALL: &[&str] = &["a", "b", "c"];
    let none = ListBalanceActionsRequest::default();
    vec![
        (
            ListBalanceActionsRequest {
                request_ids: texts(&["1", "3"]),
                ..none.clone()
            },
            &[3, 5, 7],
            ALL,
        ),
        (
            ListBalanceActionsRequest {
                request_ids: texts(&["1"]),
                bucket_ids: texts(&["b"]),
                ..none.clone()
            },
            &[7],
            &["b"],
        ),
        (
            ListBalanceActionsRequest {
                time_on_or_after: Some(times[6]),
                ..none.clone()
            },
            &[6, 7, 8],
            ALL,
        ),
        (
            ListBalanceActionsRequest {
                time_on_or_after: Some(times[1]),
                types: vec![BalanceActionType::Opening.into()],
                ..none.clone()
            },
            &[1, 2],
            ALL,
        ),
        (
            ListBalanceActionsRequest {
                time_on_or_after: Some(times[4]),
                time_before: Some(between(times[7], times[8])),
                party_account_ids: texts(&["p+1"]),
                ..none.clone()
            },
            &[4, 6, 7],
            &["a", "b"],
        ),
        (
            ListBalanceActionsRequest {
                time_before: Some(between(times[1], times[2])),
                ..none
            },
            &[0, 1],
            ALL,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_that_follow_each_other_share_no_action_and_lose_none() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("a", "0").await;
    let mut all = Vec::new();
    for key in ["1", "2", "3", "4"] {
        all.push(fixture.topup(topup("a", "1", key)).await.id);
    }
    let listed = listed_one_by_one(&fixture, ListBalanceActionsRequest::default()).await;
    let times: Vec<_> = listed
        .iter()
        .filter_map(|action| action.requested_date)
        .collect();
    let mut found = Vec::new();
    for (from, before) in [
        (None, Some(times[1])),
        (Some(times[1]), Some(times[1])),
        (Some(times[1]), Some(times[3])),
        (Some(times[3]), None),
    ] {
        let request = ListBalanceActionsRequest {
            time_on_or_after: from,
            time_before: before,
            ..Default::default()
        };
        found.extend(listed_one_by_one(&fixture, request).await);
    }
    let found: Vec<_> = found.into_iter().map(|action| action.id).collect();
    assert_eq!(found, all);
}

/// A time after one action and before the next one.
fn between(earlier: Timestamp, later: Timestamp) -> Timestamp {
    let nanos = |time: Timestamp| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    let middle = i128::midpoint(nanos(earlier), nanos(later));
    Timestamp {
        seconds: i64::try_from(middle / 1_000_000_000).expect("small"),
        nanos: i32::try_from(middle % 1_000_000_000).expect("small"),
    }
}

/// The action as a list shows it that these buckets are listed in.
fn shown_for(action: &BalanceAction, listed: &[&str]) -> BalanceAction {
    let mut action = action.clone();
    action
        .bucket_deltas
        .retain(|delta| listed.contains(&delta.bucket_id.as_str()));
    action
}

/// Follows pages of one action each to the end.
async fn listed_one_by_one(
    fixture: &BucketFixture,
    mut page: ListBalanceActionsRequest,
) -> Vec<BalanceAction> {
    let mut found = Vec::new();
    page.page_size = 1;
    loop {
        let answer = fixture
            .client
            .clone()
            .list_balance_actions(page.clone())
            .await;
        let answer = answer.expect("listed").into_inner();
        found.extend(answer.balance_actions);
        if answer.next_page_token.is_empty() {
            return found;
        }
        page.page_token = answer.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_lists_matching_actions_in_creation_order() {
    let (fixture, done) = busy().await;
    let times: Vec<Timestamp> = done
        .iter()
        .map(|action| action.requested_date.expect("set"))
        .collect();
    for (request, expected, buckets) in filter_cases(&times) {
        let expected: Vec<_> = expected
            .iter()
            .map(|index: &usize| shown_for(&done[*index], buckets))
            .collect();
        assert_eq!(
            listed(&fixture, request.clone()).await,
            expected,
            "{request:?}"
        );
        let found = listed_one_by_one(&fixture, request.clone()).await;
        assert_eq!(found, expected, "{request:?}");
    }
    for action in &done {
        assert_eq!(&fixture.action(&action.id).await, action);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_lists_its_own_actions_only() {
    let (fixture, done) = busy().await;
    let stranger = BucketFixture::on(fixture.earmark);
    assert_eq!(
        listed(&stranger, ListBalanceActionsRequest::default()).await,
        []
    );
    let mut client = stranger.client.clone();
    for id in [done[0].id.as_str(), NOBODY] {
        let request = GetBalanceActionRequest { id: id.into() };
        let refused = refusal(client.get_balance_action(request).await);
        refused.expect(Code::NotFound, "ACTION_NOT_FOUND");
    }
    let request = GetAccumulatedBalanceRequest {
        party_account_id: "p+1".into(),
        ..Default::default()
    };
    let sums = client.get_accumulated_balance(request).await.expect("none");
    assert_eq!(sums.into_inner().accumulated_balances, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_list_arguments_are_refused() {
    let fixture = BucketFixture::open().await;
    let mut client = fixture.client.clone();
    let request = ListBalanceActionsRequest {
        types: vec![0, 8],
        bucket_ids: vec![String::new()],
        party_account_ids: vec!["x".repeat(129)],
        request_ids: vec!["a\0".into()],
        time_on_or_after: Some(Timestamp {
            seconds: 2,
            nanos: 0,
        }),
        time_before: Some(Timestamp {
            seconds: 1,
            nanos: 0,
        }),
        page_size: -1,
        page_token: String::new(),
    };
    refusal(client.list_balance_actions(request).await).expect_invalid(&[
        "types[0]",
        "types[1]",
        "bucket_ids[0]",
        "party_account_ids[0]",
        "request_ids[0]",
        "time_before",
        "page_size",
    ]);
    let request = ListBalanceActionsRequest {
        bucket_ids: vec!["b".into(); 501],
        ..Default::default()
    };
    let refused = refusal(client.list_balance_actions(request).await);
    refused.expect_invalid(&["bucket_ids"]);
    let request = GetBalanceActionRequest { id: "x".into() };
    refusal(client.get_balance_action(request).await).expect_invalid(&["id"]);
    let request = GetAccumulatedBalanceRequest {
        party_account_id: String::new(),
        units: "a b".into(),
        page_size: -1,
        page_token: "x".into(),
    };
    let refused = refusal(client.get_accumulated_balance(request).await);
    refused.expect_invalid(&["party_account_id", "units", "page_size"]);
}
