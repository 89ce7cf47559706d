//! Invalid arguments of actions, and buckets of other tenants.

use earmark::proto::bucket::v1::bucket_service_client::BucketServiceClient;
use earmark::proto::bucket::v1::{
    ActionAmount, AdjustBalanceRequest, DeductBalanceRequest, GetBucketRequest,
    ReserveBalanceRequest, TopupBalanceRequest, UnreserveBalanceRequest,
};
use prost_types::Timestamp;
use tonic::Code;

use crate::support::bucket_fixture::{
    BucketFixture, adjust, amount, deduct, left, reserve, topup, transfer, unreserve,
};
use crate::support::earmark::{Authorized, NOBODY, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn amounts_that_are_not_positive_decimals_are_refused() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    let before = fixture.get("b").await;
    let mut client = fixture.client.clone();
    for of in ["0", "0.000", "-1", "-0", "", "x", "1e1", "1.0000000000001"] {
        let refused = [
            refusal(client.topup_balance(topup("b", of, "k")).await),
            refusal(client.reserve_balance(reserve("b", of, "k")).await),
            refusal(client.deduct_balance(deduct("b", of, "k")).await),
            refusal(client.transfer_balance(transfer("b", "c", of, "k")).await),
        ];
        for refused in refused {
            refused.expect_invalid(&["amount.amount"]);
        }
    }
    for of in ["0", "-0.0", "", "--1"] {
        let refused = refusal(client.adjust_balance(adjust("b", of, "k")).await);
        refused.expect_invalid(&["amount.amount"]);
    }
    assert_eq!(fixture.get("b").await, before);
}

async fn wrong_arguments_of_other_actions(mut client: BucketServiceClient<Authorized>) {
    let request = AdjustBalanceRequest {
        adjust_type: -1,
        amount: None,
        ..adjust("b", "1", "k")
    };
    let refused = refusal(client.adjust_balance(request).await);
    refused.expect_invalid(&["amount", "adjust_type"]);
    let request = ReserveBalanceRequest {
        expire_time: Some(Timestamp {
            seconds: 0,
            nanos: -1,
        }),
        ..reserve("b", "1", "k")
    };
    refusal(client.reserve_balance(request).await).expect_invalid(&["expire_time"]);
    let refused = client
        .unreserve_balance(UnreserveBalanceRequest::default())
        .await;
    refusal(refused).expect_invalid(&["bucket_id", "request_id", "reserve_id"]);
    let request = DeductBalanceRequest {
        keep_rest: true,
        ..deduct("b", "1", "k")
    };
    refusal(client.deduct_balance(request).await).expect_invalid(&["keep_rest"]);
    let request = DeductBalanceRequest {
        reserve_id: Some("x".into()),
        ..deduct("b", "1", "k")
    };
    refusal(client.deduct_balance(request).await).expect_invalid(&["reserve_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_report_every_invalid_field() {
    let fixture = BucketFixture::open().await;
    let mut client = fixture.client.clone();
    let long = |chars: usize| Some("x".repeat(chars));
    let request = TopupBalanceRequest {
        bucket_id: "x".repeat(129),
        amount: Some(ActionAmount {
            amount: "x".into(),
            units: "a b".into(),
        }),
        request_id: String::new(),
        reason: long(1_001),
        channel: long(201),
        requestor: Some("a\0".into()),
        recurring_period: 9,
        number_of_periods: Some(0),
        ..Default::default()
    };
    let refused = refusal(client.topup_balance(request).await);
    let mut fields = refused.fields();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "amount.amount",
            "amount.units",
            "bucket_id",
            "channel",
            "number_of_periods",
            "reason",
            "recurring_period",
            "request_id",
            "requestor"
        ]
    );
    for (request, fields) in [
        (
            TopupBalanceRequest {
                amount: None,
                ..topup("b", "1", "k")
            },
            ["amount"],
        ),
        (
            TopupBalanceRequest {
                number_of_periods: Some(1),
                ..topup("b", "1", "k")
            },
            ["number_of_periods"],
        ),
    ] {
        let refused = refusal(client.topup_balance(request).await);
        refused.expect_invalid(&fields);
    }
    wrong_arguments_of_other_actions(client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_bucket_is_not_found() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    let held = fixture.reserve(reserve("b", "1", "r")).await;
    let before = fixture.get("b").await;
    for tenant in [uuid::Uuid::new_v4(), uuid::Uuid::nil()] {
        let mut client = BucketFixture::client(&fixture.earmark, tenant);
        let get = GetBucketRequest {
            id: "b".into(),
            ..Default::default()
        };
        let refused = [
            refusal(client.get_bucket(get).await),
            refusal(client.topup_balance(topup("b", "1", "k")).await),
            refusal(client.adjust_balance(adjust("b", "-1", "k")).await),
            refusal(client.reserve_balance(reserve("b", "1", "k")).await),
            refusal(client.deduct_balance(deduct("b", "1", "k")).await),
            refusal(
                client
                    .unreserve_balance(unreserve("b", &held.id, "k"))
                    .await,
            ),
            // A used key does not reveal it either.
            refusal(client.reserve_balance(reserve("b", "1", "r")).await),
        ];
        for refused in refused {
            refused.expect(Code::NotFound, "BUCKET_NOT_FOUND");
        }
    }
    assert_eq!(fixture.get("b").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserve_of_another_bucket_is_refused() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("b", "10").await;
    fixture.bucket("c", "10").await;
    let of_other = fixture.reserve(reserve("c", "1", "r")).await.id;
    let no_reserve = fixture.topup(topup("b", "1", "t")).await.id;
    let before = fixture.get("b").await;
    let mut client = fixture.client.clone();
    for id in [of_other.as_str(), &no_reserve, NOBODY] {
        let request = DeductBalanceRequest {
            reserve_id: Some(id.into()),
            ..deduct("b", "1", "k")
        };
        let refused = [
            refusal(client.unreserve_balance(unreserve("b", id, "k")).await),
            refusal(client.deduct_balance(request).await),
        ];
        for refused in refused {
            let refused = refused.expect(Code::NotFound, "ACTION_NOT_FOUND");
            let wanted = format!("\"b\" has no reserve {id}: `reserve_id` must be");
            assert!(refused.message.contains(&wanted), "{refused:?}");
        }
    }
    assert_eq!(fixture.get("b").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn bucket_ids_may_contain_any_characters_that_show() {
    let fixture = BucketFixture::open().await;
    for id in [
        "0.0.0.1+-balance_group+106463",
        "a b",
        "a%20b",
        "a+b",
        "%00",
        "ü/☎",
        "'; --",
    ] {
        fixture.bucket(id, "10").await;
        let held = fixture.reserve(reserve(id, "1", "+%")).await;
        assert_eq!(held.bucket_id, id);
        assert_eq!(fixture.values(id).await, left("9", "1"));
        let request = DeductBalanceRequest {
            amount: amount("1", "EUR"),
            reserve_id: Some(held.id),
            ..deduct(id, "1", "%2B")
        };
        let answer = fixture.client.clone().deduct_balance(request).await;
        answer.expect("deducted");
    }
}
