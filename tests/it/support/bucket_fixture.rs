//! A server with a tenant of BucketService, and short methods for its calls.

use earmark::proto::bucket::v1::bucket_service_client::BucketServiceClient;
use earmark::proto::bucket::v1::{
    ActionAmount, AdjustBalanceRequest, BalanceAction, Bucket, BucketStatus, CloseBucketRequest,
    CreateBucketRequest, DeductBalanceRequest, GetBalanceActionRequest, GetBucketRequest,
    ListBalanceActionsRequest, ListBucketsRequest, ListBucketsResponse, PartyAccountRef, Quantity,
    ReserveBalanceRequest, TopupBalanceRequest, TransferBalanceRequest, UnreserveBalanceRequest,
    UpdateBucketRequest,
};
use uuid::Uuid;

use super::earmark::{Authorized, Earmark};

/// A server and one tenant with read and write scopes.
pub(crate) struct BucketFixture {
    pub(crate) earmark: Earmark,
    pub(crate) tenant: Uuid,
    pub(crate) client: BucketServiceClient<Authorized>,
}

impl BucketFixture {
    pub(crate) async fn open() -> Self {
        Self::on(Earmark::start().await)
    }

    /// The same with a new tenant on a running server.
    pub(crate) fn on(earmark: Earmark) -> Self {
        let tenant = Uuid::new_v4();
        Self {
            client: Self::client(&earmark, tenant),
            earmark,
            tenant,
        }
    }

    /// A client whose token has a tenant's read and write scopes.
    pub(crate) fn client(earmark: &Earmark, tenant: Uuid) -> BucketServiceClient<Authorized> {
        let token = earmark.tenant_token("buckets-read buckets-write", tenant);
        earmark.with_token(token).bucket
    }

    pub(crate) async fn create(&self, bucket: Bucket) -> Bucket {
        let created = self.client.clone().create_bucket(creation(bucket)).await;
        created.expect("created").into_inner().bucket.expect("set")
    }

    /// Creates a bucket with this amount of EUR.
    pub(crate) async fn bucket(&self, id: &str, amount: &str) -> Bucket {
        self.create(eur(id, amount)).await
    }

    pub(crate) async fn get(&self, id: &str) -> Bucket {
        let request = GetBucketRequest {
            id: id.into(),
            ..Default::default()
        };
        let got = self.client.clone().get_bucket(request).await;
        got.expect("there").into_inner().bucket.expect("set")
    }

    /// A bucket's remaining and reserved values.
    pub(crate) async fn values(&self, id: &str) -> (String, String) {
        values(&self.get(id).await)
    }

    pub(crate) async fn action(&self, id: &str) -> BalanceAction {
        let request = GetBalanceActionRequest { id: id.into() };
        let got = self.client.clone().get_balance_action(request).await;
        let got = got.expect("there").into_inner();
        got.balance_action.expect("set")
    }

    pub(crate) async fn set_status(&self, id: &str, status: BucketStatus) {
        let request = UpdateBucketRequest {
            bucket_id: id.into(),
            status: status.into(),
            ..Default::default()
        };
        let updated = self.client.clone().update_bucket(request).await;
        updated.expect("updated");
    }

    pub(crate) async fn list(&self, request: ListBucketsRequest) -> ListBucketsResponse {
        let listed = self.client.clone().list_buckets(request).await;
        listed.expect("listed").into_inner()
    }

    /// The ids of the listed buckets.
    pub(crate) async fn ids(&self, request: ListBucketsRequest) -> Vec<String> {
        ids(&self.list(request).await)
    }

    /// Every action that a filter lists, page by page.
    pub(crate) async fn actions(&self, filter: ListBalanceActionsRequest) -> Vec<BalanceAction> {
        let (mut found, mut page) = (Vec::new(), filter);
        loop {
            let answer = self.client.clone().list_balance_actions(page.clone()).await;
            let answer = answer.expect("listed").into_inner();
            found.extend(answer.balance_actions);
            if answer.next_page_token.is_empty() {
                return found;
            }
            page.page_token = answer.next_page_token;
        }
    }

    pub(crate) async fn topup(&self, request: TopupBalanceRequest) -> BalanceAction {
        let answer = self.client.clone().topup_balance(request).await;
        let answer = answer.expect("topped up").into_inner();
        answer.balance_action.expect("set")
    }

    pub(crate) async fn reserve(&self, request: ReserveBalanceRequest) -> BalanceAction {
        let answer = self.client.clone().reserve_balance(request).await;
        let answer = answer.expect("reserved").into_inner();
        answer.balance_action.expect("set")
    }
}

pub(crate) fn ids(listed: &ListBucketsResponse) -> Vec<String> {
    let ids = listed.buckets.iter().map(|bucket| bucket.id.clone());
    ids.collect()
}

/// A bucket's remaining and reserved values.
pub(crate) fn values(bucket: &Bucket) -> (String, String) {
    let amount = |quantity: &Option<Quantity>| quantity.clone().expect("set").amount;
    (
        amount(&bucket.remaining_value),
        amount(&bucket.reserved_value),
    )
}

/// Remaining and reserved values to compare with [`values`].
pub(crate) fn left(remaining: &str, reserved: &str) -> (String, String) {
    (remaining.into(), reserved.into())
}

pub(crate) fn creation(bucket: Bucket) -> CreateBucketRequest {
    CreateBucketRequest {
        bucket: Some(bucket),
        ..Default::default()
    }
}

pub(crate) fn eur(id: &str, amount: &str) -> Bucket {
    Bucket {
        id: id.into(),
        remaining_value: Some(Quantity {
            amount: amount.into(),
            units: "EUR".into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A bucket of a party account.
pub(crate) fn of_party(party: &str, id: &str, amount: &str, units: &str) -> Bucket {
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

pub(crate) fn close(bucket: &str, write_off: bool, key: &str) -> CloseBucketRequest {
    CloseBucketRequest {
        bucket_id: bucket.into(),
        write_off,
        request_id: key.into(),
        ..Default::default()
    }
}

pub(crate) fn amount(amount: &str, units: &str) -> Option<ActionAmount> {
    Some(ActionAmount {
        amount: amount.into(),
        units: units.into(),
    })
}

pub(crate) fn topup(bucket: &str, of: &str, key: &str) -> TopupBalanceRequest {
    TopupBalanceRequest {
        bucket_id: bucket.into(),
        amount: amount(of, "EUR"),
        request_id: key.into(),
        ..Default::default()
    }
}

pub(crate) fn adjust(bucket: &str, of: &str, key: &str) -> AdjustBalanceRequest {
    AdjustBalanceRequest {
        bucket_id: bucket.into(),
        amount: amount(of, "EUR"),
        request_id: key.into(),
        ..Default::default()
    }
}

pub(crate) fn transfer(from: &str, to: &str, of: &str, key: &str) -> TransferBalanceRequest {
    TransferBalanceRequest {
        bucket_id: from.into(),
        receiver_bucket_id: to.into(),
        amount: amount(of, "EUR"),
        request_id: key.into(),
        ..Default::default()
    }
}

pub(crate) fn reserve(bucket: &str, of: &str, key: &str) -> ReserveBalanceRequest {
    ReserveBalanceRequest {
        bucket_id: bucket.into(),
        amount: amount(of, "EUR"),
        request_id: key.into(),
        ..Default::default()
    }
}

pub(crate) fn unreserve(bucket: &str, reserve: &str, key: &str) -> UnreserveBalanceRequest {
    UnreserveBalanceRequest {
        bucket_id: bucket.into(),
        reserve_id: reserve.into(),
        request_id: key.into(),
        ..Default::default()
    }
}

pub(crate) fn deduct(bucket: &str, of: &str, key: &str) -> DeductBalanceRequest {
    DeductBalanceRequest {
        bucket_id: bucket.into(),
        amount: amount(of, "EUR"),
        request_id: key.into(),
        ..Default::default()
    }
}
