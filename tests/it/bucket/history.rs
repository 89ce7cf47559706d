//! Lists of actions, and totals of balances.

use earmark::proto::bucket::v1::{
    AccumulatedBalance, BalanceAction, BalanceActionType, Bucket, BucketStatus,
    GetAccumulatedBalanceRequest, GetBalanceActionRequest, ListBalanceActionsRequest,
    PartyAccountRef, Quantity,
};
use prost_types::Timestamp;
use tonic::Code;

use crate::support::bucket_fixture::{
    BucketFixture, adjust, deduct, eur, reserve, topup, transfer, unreserve,
};
use crate::support::earmark::{NOBODY, refusal};

fn of_party(party: &str, id: &str, amount: &str, units: &str) -> Bucket {
    Bucket {
        party_account: Some(PartyAccountRef {
            id: party.into(),
            ..Default::default()
        }),
        remaining_value: Some(Quantity {
            amount: amount.into(),
            units: units.into(),
            ..Default::default()
        }),
        ..eur(id, amount)
    }
}

/// Three buckets of two parties, and one action of each type.
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
    (fixture, done)
}

async fn listed(fixture: &BucketFixture, request: ListBalanceActionsRequest) -> Vec<BalanceAction> {
    let listed = fixture.client.clone().list_balance_actions(request).await;
    listed.expect("listed").into_inner().balance_actions
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Filters, and the places of the actions that they let pass.
fn filter_cases(times: &[Timestamp]) -> Vec<(ListBalanceActionsRequest, &'static [usize])> {
    let by = |change: &dyn Fn(&mut ListBalanceActionsRequest)| {
        let mut request = ListBalanceActionsRequest::default();
        change(&mut request);
        request
    };
    vec![
        (by(&|_| {}), &[0, 1, 2, 3, 4, 5]),
        (
            by(&|list| list.types = vec![BalanceActionType::Topup.into()]),
            &[0],
        ),
        (
            by(&|list| {
                list.types = vec![
                    BalanceActionType::Deduct.into(),
                    BalanceActionType::Unreserve.into(),
                ];
            }),
            &[4, 5],
        ),
        (by(&|list| list.bucket_ids = texts(&["a"])), &[0, 3]),
        // A transfer is listed once, even if the filter has both of its buckets.
        (by(&|list| list.bucket_ids = texts(&["c"])), &[2, 3, 5]),
        (
            by(&|list| list.bucket_ids = texts(&["c", "a", "c", "unknown"])),
            &[0, 2, 3, 5],
        ),
        (
            by(&|list| list.party_account_ids = texts(&["p+1"])),
            &[0, 1, 3, 4],
        ),
        (
            by(&|list| list.party_account_ids = texts(&["p%2", "p%2", "unknown"])),
            &[2, 5],
        ),
        (
            by(&|list| {
                list.party_account_ids = texts(&["p+1"]);
                list.bucket_ids = texts(&["b", "c"]);
            }),
            &[1, 3, 4],
        ),
        (
            by(&|list| list.request_ids = texts(&["1", "3"])),
            &[0, 2, 4],
        ),
        (
            by(&|list| {
                list.request_ids = texts(&["1"]);
                list.bucket_ids = texts(&["b"]);
            }),
            &[4],
        ),
        (
            by(&|list| list.time_on_or_after = Some(times[3])),
            &[3, 4, 5],
        ),
        (by(&|list| list.time_before = Some(times[2])), &[0, 1]),
        (
            by(&|list| {
                list.time_on_or_after = Some(times[1]);
                list.time_before = Some(times[4]);
                list.party_account_ids = texts(&["p+1"]);
            }),
            &[1, 3],
        ),
        (by(&|list| list.bucket_ids = texts(&["unknown"])), &[]),
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
    for (request, expected) in filter_cases(&times) {
        let expected: Vec<_> = expected
            .iter()
            .map(|index: &usize| done[*index].clone())
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
async fn totals_are_per_unit_and_exclude_closed_buckets() {
    let fixture = BucketFixture::open().await;
    for (id, amount, units) in [
        ("a", "0.1", "EUR"),
        ("b", "0.20", "EUR"),
        ("k", "9999999999999999.999999999999", "kB"),
        ("l", "9999999999999999.999999999999", "kB"),
        ("empty", "0", "SMS"),
        ("closed", "0", "gone"),
    ] {
        fixture.create(of_party("p", id, amount, units)).await;
    }
    fixture.create(of_party("other", "o", "7", "EUR")).await;
    fixture.bucket("nobody's", "7").await;
    fixture.reserve(reserve("b", "0.05", "r")).await;
    fixture.set_status("a", BucketStatus::Suspended).await;
    fixture.set_status("closed", BucketStatus::Closed).await;
    let sums = async |units: &str| {
        let request = GetAccumulatedBalanceRequest {
            party_account_id: "p".into(),
            units: units.into(),
            ..Default::default()
        };
        let answer = fixture
            .client
            .clone()
            .get_accumulated_balance(request)
            .await;
        answer.expect("there").into_inner().accumulated_balances
    };
    let sum =
        |units: &str, available: &str, reserved: &str, bucket_count: i64| AccumulatedBalance {
            units: units.into(),
            available: available.into(),
            reserved: reserved.into(),
            bucket_count,
        };
    let all = [
        sum("EUR", "0.25", "0.05", 2),
        sum("SMS", "0", "0", 1),
        sum("kB", "19999999999999999.999999999998", "0", 2),
    ];
    assert_eq!(sums("").await, all);
    assert_eq!(sums("EUR").await, all[..1]);
    assert_eq!(sums("eur").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_list_arguments_are_refused() {
    let fixture = BucketFixture::open().await;
    let mut client = fixture.client.clone();
    let request = ListBalanceActionsRequest {
        types: vec![0, 7],
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
