use earmark::proto::bucket::v1::{
    Bucket, BucketStatus, ListBalanceActionsRequest, ListBucketsRequest, ProductRef, TimePeriod,
    UsageType,
};
use prost_types::Timestamp;
use tonic::Code;

use crate::support::bucket_fixture::{BucketFixture, eur, ids, topup};
use crate::support::earmark::refusal;

/// Buckets 0 to 24 in the order of creation, all with a product; every fifth has ended.
async fn many(fixture: &BucketFixture) -> Vec<String> {
    let ended = TimePeriod {
        start_date_time: None,
        end_date_time: Some(Timestamp::default()),
    };
    let mut ids = Vec::new();
    for number in 0..25 {
        // In no order of ids.
        let id = format!("{}/{number}", number * 7 % 25);
        let bucket = Bucket {
            product: vec![ProductRef {
                id: "p".into(),
                ..Default::default()
            }],
            usage_type: UsageType::Voice.into(),
            status: match number % 5 {
                1 => BucketStatus::Expired,
                _ => BucketStatus::Active,
            }
            .into(),
            valid_for: (number % 5 == 0).then_some(ended),
            ..eur(&id, "0")
        };
        fixture.create(bucket).await;
        ids.push(id);
    }
    ids
}

/// Follows the tokens to the end.
async fn follow(fixture: &BucketFixture, mut request: ListBucketsRequest) -> (Vec<String>, usize) {
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let listed = fixture.list(request.clone()).await;
        found.extend(ids(&listed));
        pages += 1;
        if listed.next_page_token.is_empty() {
            return (found, pages);
        }
        assert_eq!(Some(listed.result_count), request.limit.into());
        request.offset = None;
        request.page_token = listed.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn page_tokens_walk_every_list_in_its_order() {
    let fixture = BucketFixture::open().await;
    let all = many(&fixture).await;
    let of_status = |expired: bool| {
        let numbered = all.iter().enumerate();
        let fitting = numbered.filter(move |(number, _)| (number % 5 < 2) == expired);
        fitting.map(|(_, id)| id.clone()).collect::<Vec<_>>()
    };
    let by = |change: fn(&mut ListBucketsRequest)| {
        let mut request = ListBucketsRequest {
            limit: 4,
            ..Default::default()
        };
        change(&mut request);
        request
    };
    for (request, expected) in [
        (by(|_| {}), all.clone()),
        (by(|list| list.product_id = "p".into()), all.clone()),
        (
            by(|list| list.usage_type = UsageType::Voice.into()),
            all.clone(),
        ),
        (
            by(|list| list.status = BucketStatus::Active.into()),
            of_status(false),
        ),
        (
            by(|list| list.status = BucketStatus::Expired.into()),
            of_status(true),
        ),
        (
            by(|list| {
                list.status = BucketStatus::Expired.into();
                list.product_id = "p".into();
            }),
            of_status(true),
        ),
    ] {
        let (found, pages) = follow(&fixture, request.clone()).await;
        assert_eq!(found, expected, "{request:?}");
        assert_eq!(pages, expected.len().div_ceil(4));
        // An offset may start it.
        let request = ListBucketsRequest {
            offset: Some(3),
            ..request
        };
        assert_eq!(follow(&fixture, request).await.0, expected[3..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_skips_buckets_and_past_the_end_the_page_is_empty() {
    let fixture = BucketFixture::open().await;
    let all = many(&fixture).await;
    for (offset, limit) in [(0, 10), (20, 10), (24, 1), (25, 10), (1_000_000, 1_000)] {
        for status in [BucketStatus::Unspecified, BucketStatus::Expired] {
            let listed = fixture
                .list(ListBucketsRequest {
                    limit,
                    offset: Some(offset),
                    status: status.into(),
                    ..Default::default()
                })
                .await;
            let expected: Vec<_> = match status {
                BucketStatus::Expired => (0..25).filter(|number| number % 5 < 2).collect(),
                _ => (0..25).collect(),
            };
            let page = expected.iter().skip(offset as usize).take(limit as usize);
            let page: Vec<_> = page.map(|number| all[*number].clone()).collect();
            assert_eq!(ids(&listed), page, "{offset} {status:?}");
            assert_eq!(listed.total_count, expected.len() as i64);
            let is_last = offset as usize + page.len() >= expected.len();
            assert_eq!(listed.next_page_token.is_empty(), is_last);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_100_buckets_by_default_and_at_most_1000() {
    let fixture = BucketFixture::open().await;
    let tenant = fixture.tenant;
    let sql = format!(
        "INSERT INTO bucket (owner_id, tenant, id, status, unit, details, initiated_by, content_hash, opened_amount,
             opened_version, version, created_at, updated_at)
         SELECT gen_random_uuid(), '{tenant}', n::text, 'ACTIVE', 'EUR', '{{}}', 'x', '\\x00', 0, 0, 1, now(), now()
           FROM generate_series(1, 1001) n"
    );
    fixture
        .earmark
        .sql()
        .await
        .batch_execute(&sql)
        .await
        .expect(&sql);
    for (limit, shown) in [
        (0, 100),
        (7, 7),
        (1_000, 1_000),
        (1_001, 1_000),
        (i32::MAX, 1_000),
    ] {
        let listed = fixture
            .list(ListBucketsRequest {
                limit,
                ..Default::default()
            })
            .await;
        assert_eq!((listed.result_count, listed.total_count), (shown, 1_001));
        assert_ne!(listed.next_page_token, "");
    }
    // Buckets of one time are ordered by the bytes of their ids.
    let (found, pages) = follow(
        &fixture,
        ListBucketsRequest {
            limit: 400,
            ..Default::default()
        },
    )
    .await;
    assert_eq!((found.len(), pages), (1_001, 3));
    assert!(found.is_sorted_by(|one, next| one < next));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_and_a_page_token_together_are_refused() {
    let fixture = BucketFixture::open().await;
    many(&fixture).await;
    let listed = fixture
        .list(ListBucketsRequest {
            limit: 1,
            ..Default::default()
        })
        .await;
    let token = listed.next_page_token;
    for (limit, offset, token, fields) in [
        (-1, Some(-1), "", &["limit", "offset"][..]),
        (1_001, Some(0), "", &["limit"]),
        (1_001, Some(1), "", &["limit"]),
        (0, Some(1_000_001), "", &["offset"]),
        (0, Some(0), token.as_str(), &["page_token"]),
        (0, Some(1), token.as_str(), &["page_token"]),
    ] {
        let request = ListBucketsRequest {
            limit,
            offset,
            page_token: token.into(),
            ..Default::default()
        };
        let refused = fixture.client.clone().list_buckets(request).await;
        refusal(refused).expect_invalid(fields);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_is_refused_by_any_other_list() {
    let fixture = BucketFixture::open().await;
    many(&fixture).await;
    let first = ListBucketsRequest {
        limit: 2,
        product_id: "p".into(),
        ..Default::default()
    };
    let token = fixture.list(first.clone()).await.next_page_token;
    let with_token = |page_token| ListBucketsRequest {
        page_token,
        ..first.clone()
    };
    let next = with_token(token.clone());
    // A token is independent of the page size, the type and the fields.
    let shown = ListBucketsRequest {
        limit: 3,
        r#type: "BucketOracle".into(),
        fields: "name".into(),
        ..next.clone()
    };
    assert_eq!(
        fixture.ids(shown).await[..2],
        fixture.ids(next.clone()).await
    );

    let mut altered = token.clone();
    altered.replace_range(20..21, if &token[20..21] == "A" { "B" } else { "A" });
    let other = BucketFixture::client(&fixture.earmark, uuid::Uuid::new_v4());
    let mine = &fixture.client;
    for (client, request) in [
        (mine, with_token(altered)),
        (mine, with_token("x".into())),
        (
            mine,
            ListBucketsRequest {
                product_id: "q".into(),
                ..next.clone()
            },
        ),
        (
            mine,
            ListBucketsRequest {
                party_account_id: "q".into(),
                ..next.clone()
            },
        ),
        (
            mine,
            ListBucketsRequest {
                status: BucketStatus::Active.into(),
                ..next.clone()
            },
        ),
        (
            mine,
            ListBucketsRequest {
                usage_type: UsageType::Sms.into(),
                ..next.clone()
            },
        ),
        (&other, next.clone()),
    ] {
        let refused = refusal(client.clone().list_buckets(request).await);
        let refused = refused.expect(Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        assert_eq!(refused.fields(), ["page_token"]);
    }
    let request = ListBalanceActionsRequest {
        page_token: token,
        ..Default::default()
    };
    let refused = fixture.client.clone().list_balance_actions(request).await;
    refusal(refused).expect(Code::InvalidArgument, "PAGE_TOKEN_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_created_while_paging_are_on_the_last_pages() {
    let fixture = BucketFixture::open().await;
    let mut all = many(&fixture).await;
    let request = ListBucketsRequest {
        limit: 10,
        ..Default::default()
    };
    let listed = fixture.list(request.clone()).await;
    fixture.topup(topup(&all[2], "1", "t")).await;
    fixture.bucket("late", "0").await;
    all.push("late".into());
    let request = ListBucketsRequest {
        page_token: listed.next_page_token.clone(),
        ..request
    };
    let (found, _) = follow(&fixture, request).await;
    assert_eq!(found, all[10..]);
}
