//! Reserves and deductions of prepaid buckets.

mod store;

use bb8::Pool;
use chrono::{DateTime, Utc};
use earmark::auth::caller::Caller;
use earmark::error::{Error, Result};
use earmark::proto::bucket::v1 as pb;
use earmark::proto::bucket::v1::bucket_service_server::BucketService;
use earmark::rpc::call::{Answer, answer};
use earmark::types::content::Content;
use earmark::types::ids::{OwnerId, TenantId};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::textbook::shared::not_measured;
use crate::textbook::store::{TextbookSessions, timestamp};

/// BucketService as a textbook would write it.
pub(super) struct TextbookBuckets {
    pub(super) pool: Pool<TextbookSessions>,
}

/// What is done with so much of what is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextbookAction {
    Reserve,
    Deduct,
}

impl TextbookAction {
    fn name(self) -> &'static str {
        match self {
            Self::Reserve => "RESERVE",
            Self::Deduct => "DEDUCT",
        }
    }

    /// How its action stands.
    fn status(self) -> &'static str {
        match self {
            Self::Reserve => "CREATED",
            Self::Deduct => "COMPLETED",
        }
    }
}

/// A `ReserveBalance` or `DeductBalance`, read.
struct TextbookRequest {
    action: TextbookAction,
    tenant: TenantId,
    owner: OwnerId,
    bucket: String,
    key: String,
    amount: Decimal,
    unit: String,
    details: StoredActionDetails,
    subject: String,
}

/// What only answers need, as it is stored.
#[derive(Serialize)]
struct StoredActionDetails {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requestor: Option<String>,
}

impl StoredActionDetails {
    fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

macro_rules! act {
    ($action:expr, $message:ident, $caller:expr) => {{
        let details = StoredActionDetails {
            reason: $message.reason,
            channel: $message.channel,
            requestor: $message.requestor,
        };
        let named = ($message.bucket_id, $message.request_id);
        TextbookRequest::read($action, named, $message.amount, details, $caller)
    }};
}

impl TextbookRequest {
    fn read(
        action: TextbookAction,
        (bucket, key): (String, String),
        amount: Option<pb::ActionAmount>,
        details: StoredActionDetails,
        caller: &Caller,
    ) -> Result<Self> {
        let tenant = caller.require_tenant()?;
        let given = amount.unwrap_or_default();
        let amount = Decimal::from_str_exact(&given.amount).ok();
        let amount = amount.filter(|amount| *amount > Decimal::ZERO);
        Ok(Self {
            action,
            tenant,
            owner: OwnerId::of_bucket(tenant, &bucket),
            bucket,
            key,
            amount: amount.ok_or_else(|| Error::invalid("amount", "must be above zero"))?,
            unit: given.units,
            details,
            subject: caller.subject.clone(),
        })
    }

    /// What a repeat of the key would be compared by.
    fn content(&self, details: &str) -> [u8; 32] {
        let content = Content::new()
            .field(1, details)
            .field(2, self.amount.to_string())
            .field(3, &self.unit);
        content.hash().0
    }
}

/// A bucket, and what is in it.
struct TextbookBucket {
    name: Option<String>,
    usage_type: Option<String>,
    party_account: Option<String>,
    details: String,
    updates: i64,
    available: Decimal,
    held: Decimal,
    version: i64,
    reservation_count: i64,
    world: Decimal,
    world_version: i64,
    clock: DateTime<Utc>,
}

/// What was done: the bucket after it, and the action's id. Its time is the bucket's clock.
struct TextbookDone {
    act: TextbookRequest,
    id: Uuid,
    bucket: TextbookBucket,
}

#[tonic::async_trait]
impl BucketService for TextbookBuckets {
    async fn reserve_balance(
        &self,
        request: Request<pb::ReserveBalanceRequest>,
    ) -> Result<Response<pb::ReserveBalanceResponse>, Status> {
        answer(request, async |call, message| {
            let act = act!(TextbookAction::Reserve, message, &call.caller)?;
            let mut session = self.pool.get().await.map_err(|_| Error::Overloaded)?;
            let done = session.act(act).await?;
            Ok(Answer::fresh(pb::ReserveBalanceResponse {
                bucket: Some(done.bucket()?),
                balance_action: Some(done.action()),
            }))
        })
        .await
    }

    async fn deduct_balance(
        &self,
        request: Request<pb::DeductBalanceRequest>,
    ) -> Result<Response<pb::DeductBalanceResponse>, Status> {
        answer(request, async |call, message| {
            let act = act!(TextbookAction::Deduct, message, &call.caller)?;
            let mut session = self.pool.get().await.map_err(|_| Error::Overloaded)?;
            let done = session.act(act).await?;
            Ok(Answer::fresh(pb::DeductBalanceResponse {
                bucket: Some(done.bucket()?),
                balance_action: Some(done.action()),
            }))
        })
        .await
    }

    not_measured! {
        list_buckets: ListBucketsRequest -> ListBucketsResponse;
        get_bucket: GetBucketRequest -> GetBucketResponse;
        create_bucket: CreateBucketRequest -> CreateBucketResponse;
        update_bucket: UpdateBucketRequest -> UpdateBucketResponse;
        close_bucket: CloseBucketRequest -> CloseBucketResponse;
        topup_balance: TopupBalanceRequest -> TopupBalanceResponse;
        adjust_balance: AdjustBalanceRequest -> AdjustBalanceResponse;
        transfer_balance: TransferBalanceRequest -> TransferBalanceResponse;
        unreserve_balance: UnreserveBalanceRequest -> UnreserveBalanceResponse;
        get_accumulated_balance: GetAccumulatedBalanceRequest -> GetAccumulatedBalanceResponse;
        list_balance_actions: ListBalanceActionsRequest -> ListBalanceActionsResponse;
        get_balance_action: GetBalanceActionRequest -> GetBalanceActionResponse;
    }
}

/// What is stored of a bucket for answers: of those that are seeded.
#[derive(Deserialize)]
struct StoredDetails {
    party_account: Option<StoredReference>,
    #[serde(default)]
    product: Vec<StoredReference>,
}

#[derive(Deserialize)]
struct StoredReference {
    id: String,
}

impl TextbookDone {
    fn amount(&self) -> pb::ActionAmount {
        pb::ActionAmount {
            amount: self.act.amount.to_string(),
            units: self.act.unit.clone(),
        }
    }

    fn bucket(&self) -> Result<pb::Bucket> {
        let (act, bucket) = (&self.act, &self.bucket);
        let details: StoredDetails = serde_json::from_str(&bucket.details)
            .map_err(|error| Error::internal(error.to_string()))?;
        let usage_type = bucket.usage_type.as_ref().and_then(|usage_type| {
            pb::UsageType::from_str_name(&format!("USAGE_TYPE_{usage_type}"))
        });
        let quantity = |amount: Decimal| pb::Quantity {
            amount: amount.normalize().to_string(),
            units: act.unit.clone(),
            ..Default::default()
        };
        Ok(pb::Bucket {
            id: act.bucket.clone(),
            name: bucket.name.clone(),
            party_account: details.party_account.map(|party| pb::PartyAccountRef {
                id: party.id,
                ..Default::default()
            }),
            product: details
                .product
                .into_iter()
                .map(|product| pb::ProductRef {
                    id: product.id,
                    ..Default::default()
                })
                .collect(),
            remaining_value: Some(quantity(bucket.available)),
            reserved_value: Some(quantity(bucket.held)),
            status: pb::BucketStatus::Active.into(),
            usage_type: usage_type.unwrap_or_default().into(),
            version: bucket.updates + bucket.version,
            ..Default::default()
        })
    }

    fn action(self) -> pb::BalanceAction {
        let (amount, time) = (self.amount(), timestamp(self.bucket.clock));
        let (kind, status) = match self.act.action {
            TextbookAction::Reserve => (
                pb::BalanceActionType::Reserve,
                pb::BalanceActionStatus::Created,
            ),
            TextbookAction::Deduct => (
                pb::BalanceActionType::Deduct,
                pb::BalanceActionStatus::Completed,
            ),
        };
        let act = self.act;
        let reserved = match act.action {
            TextbookAction::Reserve => act.amount,
            TextbookAction::Deduct => Decimal::ZERO,
        };
        pb::BalanceAction {
            id: self.id.to_string(),
            r#type: kind.into(),
            status: status.into(),
            bucket_deltas: vec![pb::BucketDelta {
                bucket_id: act.bucket.clone(),
                remaining_delta: (-act.amount).to_string(),
                reserved_delta: reserved.to_string(),
            }],
            bucket_id: act.bucket,
            remaining_amount: (act.action == TextbookAction::Reserve).then(|| amount.clone()),
            amount: Some(amount),
            reason: act.details.reason,
            channel: act.details.channel,
            requestor: act.details.requestor,
            request_id: act.key,
            initiated_by: act.subject,
            requested_date: Some(time),
            confirmation_date: (act.action == TextbookAction::Deduct).then_some(time),
            ..Default::default()
        }
    }
}
