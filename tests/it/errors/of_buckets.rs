//! Errors of BucketService.

use earmark::proto::bucket::v1::{
    Bucket, BucketStatus, GetBalanceActionRequest, GetBucketRequest, ListBucketsRequest,
};
use earmark::proto::common::v1::ErrorReason as Reason;

use tonic::Status;

use super::{Case, case};
use crate::support::bucket_fixture::{BucketFixture, creation, deduct, eur};
use crate::support::earmark::NOBODY;

const LIST: &str = "/earmark.bucket.v1.BucketService/ListBuckets";
const GET: &str = "/earmark.bucket.v1.BucketService/GetBucket";
const CREATE: &str = "/earmark.bucket.v1.BucketService/CreateBucket";
const DEDUCT: &str = "/earmark.bucket.v1.BucketService/DeductBalance";
const GET_ACTION: &str = "/earmark.bucket.v1.BucketService/GetBalanceAction";

pub(super) async fn all() -> Vec<Case> {
    let fixture = BucketFixture::open().await;
    // Texts as long as ids can be, in characters that take most bytes on the wire.
    let longest = "𝄞".repeat(128);
    fixture.bucket(&longest, "1").await;
    fixture.set_status(&longest, BucketStatus::Suspended).await;
    let mut client = fixture.client.clone();
    let token = fixture.earmark.token("buckets-read buckets-write", &[]);
    let mut nobody = fixture.earmark.with_token(token).bucket;
    let refused = "refused";

    let list = nobody.list_buckets(ListBucketsRequest::default()).await;
    let create = nobody.create_bucket(creation(eur("b", "1"))).await;
    let taken = Bucket {
        is_shared: Some(true),
        ..eur(&longest, "1")
    };
    let taken = client.create_bucket(creation(taken)).await;
    let get = GetBucketRequest {
        id: "€".repeat(128),
        ..Default::default()
    };
    let get = client.get_bucket(get).await;
    let used = client.deduct_balance(deduct(&longest, "1", "k")).await;
    let action = client.get_balance_action(GetBalanceActionRequest { id: NOBODY.into() });
    vec![
        case(Reason::PageTooLarge, LIST, too_large(&fixture).await),
        case(Reason::ClaimMissing, LIST, list.expect_err(refused)),
        case(Reason::ClaimMissing, CREATE, create.expect_err(refused)),
        case(Reason::BucketExists, CREATE, taken.expect_err(refused)),
        case(Reason::BucketNotFound, GET, get.expect_err(refused)),
        case(Reason::BucketNotUsable, DEDUCT, used.expect_err(refused)),
        case(
            Reason::ActionNotFound,
            GET_ACTION,
            action.await.expect_err(refused),
        ),
    ]
}

/// A page by offset of buckets that are together larger than an answer.
async fn too_large(fixture: &BucketFixture) -> Status {
    let tenant = fixture.tenant;
    let sql = format!(
        "INSERT INTO bucket (owner_id, tenant, id, status, unit, details, initiated_by, content_hash, opened_amount,
             opened_version, version, created_at, updated_at)
         SELECT gen_random_uuid(), '{tenant}', n::text, 'ACTIVE', 'EUR', jsonb_build_object('extension',
             jsonb_build_object('x', repeat('x', 65000))), 'x', '\\x00', 0, 0, 1, now(), now()
           FROM generate_series(1, 70) n"
    );
    let session = fixture.earmark.sql().await;
    session.batch_execute(&sql).await.expect(&sql);
    let request = ListBucketsRequest {
        r#type: "BucketOracle".into(),
        offset: Some(0),
        ..Default::default()
    };
    let listed = fixture.client.clone().list_buckets(request).await;
    listed.expect_err("refused")
}
