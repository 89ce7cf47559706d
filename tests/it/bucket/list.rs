use earmark::proto::bucket::v1::{
    Bucket, BucketStatus, ListBucketsRequest, PartyAccountRef, ProductRef, TimePeriod, UsageType,
};
use prost_types::Timestamp;

use crate::support::bucket_fixture::{BucketFixture, eur, ids};
use crate::support::random::Random;

const STATUSES: [BucketStatus; 5] = [
    BucketStatus::Active,
    BucketStatus::Suspended,
    BucketStatus::Expired,
    BucketStatus::Inactive,
    BucketStatus::Closed,
];
const USAGES: [UsageType; 3] = [UsageType::Unspecified, UsageType::Voice, UsageType::Sms];
const PRODUCTS: [&str; 3] = ["0.0.0.1+-service+1", "100%", "p"];
const PARTIES: [&str; 2] = ["0.0.0.1+-account+1", "%2B"];

/// A bucket with random members.
fn any(random: &mut Random, number: usize) -> Bucket {
    let status = STATUSES[random.number(0..STATUSES.len())];
    let products = PRODUCTS.iter().filter(|_| random.one_in(2));
    let products = products.map(|id| ProductRef {
        id: (*id).into(),
        ..Default::default()
    });
    let product = products.collect();
    let ended = TimePeriod {
        start_date_time: None,
        end_date_time: Some(Timestamp::default()),
    };
    Bucket {
        status: status.into(),
        usage_type: USAGES[random.number(0..USAGES.len())].into(),
        product,
        party_account: (!random.one_in(3)).then(|| PartyAccountRef {
            id: PARTIES[random.number(0..PARTIES.len())].into(),
            ..Default::default()
        }),
        valid_for: random.one_in(3).then_some(ended),
        ..eur(&format!("bucket {number}"), "0")
    }
}

/// Whether a bucket as it was answered fits a list.
fn fits(request: &ListBucketsRequest, bucket: &Bucket) -> bool {
    let has_product = |id: &str| bucket.product.iter().any(|product| product.id == id);
    let party = bucket.party_account.as_ref().map(|party| party.id.as_str());
    (request.product_id.is_empty() || has_product(&request.product_id))
        && (request.party_account_id.is_empty() || party == Some(&request.party_account_id))
        && [0, bucket.status].contains(&request.status)
        && [0, bucket.usage_type].contains(&request.usage_type)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_combination_of_filters_lists_matching_buckets() {
    let fixture = BucketFixture::open().await;
    let mut random = Random::new(7);
    let mut buckets = Vec::new();
    for number in 0..120 {
        buckets.push(fixture.create(any(&mut random, number)).await);
    }
    let (mut listed, mut found) = (0, 0);
    for product in PRODUCTS.into_iter().chain(["", "unknown"]) {
        for party in PARTIES.into_iter().chain(["", "unknown"]) {
            for status in STATUSES.into_iter().chain([BucketStatus::Unspecified]) {
                for usage_type in USAGES {
                    let request = ListBucketsRequest {
                        product_id: product.into(),
                        party_account_id: party.into(),
                        status: status.into(),
                        usage_type: usage_type.into(),
                        limit: 1_000,
                        ..Default::default()
                    };
                    let fitting = buckets.iter().filter(|bucket| fits(&request, bucket));
                    let expected: Vec<Bucket> = fitting.cloned().collect();
                    let answer = fixture.list(request.clone()).await;
                    assert_eq!(answer.buckets, expected, "{request:?}");
                    let count = i64::try_from(expected.len()).expect("few");
                    assert_eq!(answer.total_count, count, "{request:?}");
                    assert_eq!(i64::from(answer.result_count), count);
                    assert_eq!(answer.next_page_token, "");
                    listed += 1;
                    found += expected.len();
                }
            }
        }
    }
    assert_eq!(listed, 5 * 4 * 6 * 3);
    assert!(found > 1_000, "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_lists_its_own_buckets_only() {
    let fixture = BucketFixture::open().await;
    fixture.bucket("a", "1").await;
    let other = BucketFixture::on(fixture.earmark);
    other.bucket("b", "1").await;
    let listed = other.list(ListBucketsRequest::default()).await;
    assert_eq!(
        (ids(&listed), listed.total_count),
        (vec!["b".to_owned()], 1)
    );
    let nobody = BucketFixture::on(other.earmark);
    let listed = nobody.list(ListBucketsRequest::default()).await;
    assert_eq!((listed.buckets.len(), listed.total_count), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_in_the_response_metadata_too() {
    let fixture = BucketFixture::open().await;
    for id in ["a", "b", "c"] {
        fixture.bucket(id, "1").await;
    }
    for (limit, offset, result, total) in [
        (2, Some(0), "2", "3"),
        (2, None, "2", "3"),
        (2, Some(2), "1", "3"),
        (0, Some(3), "0", "3"),
    ] {
        let request = ListBucketsRequest {
            limit,
            offset,
            ..Default::default()
        };
        let answer = fixture
            .client
            .clone()
            .list_buckets(request)
            .await
            .expect("listed");
        for (name, count) in [("x-result-count", result), ("x-total-count", total)] {
            let shown = answer.metadata().get(name).expect(name);
            assert_eq!(shown, count, "{limit} {offset:?} {name}");
        }
        let answer = answer.into_inner();
        assert_eq!(answer.result_count.to_string(), result);
        assert_eq!(answer.total_count.to_string(), total);
    }
}
