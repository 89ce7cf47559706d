//! Balance actions: the requests of writes, and the actions as answers show them.

use crate::auth::caller::Caller;
use crate::bucket::convert::values::{cost_owner_of, quantity_that, time_bytes, type_of};
use crate::bucket::model::{ActionDetails, BucketActionRecord, BucketDelta, RecurringPeriod};
use crate::error::Result;
use crate::ledger::bucket::model::{ActionStatus, CostOwner};
use crate::ledger::bucket::request::{
    ActionRequest, BucketOperation, BucketRequest, PerformAction, Quantity, ReserveDraw,
    TransferRequest,
};
use crate::ledger::kind::Command;
use crate::limits::NAME_CHARS_MAX;
use crate::proto::bucket::v1 as pb;
use crate::rpc::read::{Reader, Rounding, timestamp};
use crate::types::amount::Amount;
use crate::types::content::{Content, ContentHash};
use crate::types::ids::{ActionId, OwnerId, TenantId};
use crate::types::unit::Unit;

/// What the requests of all actions have in common; the messages themselves share no type.
struct ActionInput {
    read: Reader,
    bucket: String,
    request_id: String,
    details: ActionDetails,
    validate_only: bool,
}

macro_rules! action_input {
    ($request:ident) => {{
        let mut read = Reader::new();
        let mut text = |field: &str, text: &Option<String>| {
            read.optional_text(field, text.as_deref(), NAME_CHARS_MAX)
        };
        let details = ActionDetails {
            channel: text("channel", &$request.channel),
            requestor: text("requestor", &$request.requestor),
            reason: read.optional_note("reason", $request.reason.as_deref()),
            ..ActionDetails::default()
        };
        ActionInput {
            bucket: read.external_id("bucket_id", &$request.bucket_id),
            request_id: read.external_id("request_id", &$request.request_id),
            validate_only: $request.validate_only,
            details,
            read,
        }
    }};
}

impl ActionInput {
    /// Reads a required amount above zero.
    fn amount(&mut self, field: &str, given: Option<&pb::ActionAmount>) -> Quantity {
        let is_above_zero = |amount: Amount| !amount.is_negative() && !amount.is_zero();
        quantity_that(
            &mut self.read,
            field,
            given,
            is_above_zero,
            "must be above zero",
        )
    }

    /// What makes the command, given the tenant; an error if anything that was read is wrong.
    fn command(
        self,
        caller: &Caller,
        action: impl FnOnce(TenantId) -> ActionRequest,
    ) -> Result<impl FnOnce(TenantId) -> Command<BucketRequest>> {
        self.read.finish()?;
        let initiated_by = caller.subject.clone();
        Ok(move |tenant| {
            let action = action(tenant);
            let act = PerformAction {
                content: content(&action, &self.details),
                request_id: self.request_id,
                action,
                details: self.details.json(),
                initiated_by,
            };
            let operation = BucketOperation::Act(act);
            BucketRequest::command(tenant, self.bucket, self.validate_only, operation)
        })
    }
}

/// The hash by which a repeat of a key is compared: two requests with one key must agree in it. The kind is part of the key.
/// The tags never change, since hashes are stored.
fn content(action: &ActionRequest, details: &ActionDetails) -> ContentHash {
    let content = Content::new().field(1, details.json());
    let of = |content: Content, quantity: &Quantity| {
        content
            .field(2, quantity.amount.to_string())
            .field(3, quantity.unit.as_str())
    };
    match action {
        ActionRequest::Topup {
            quantity,
            valid_for_end,
        } => of(content, quantity).optional(10, valid_for_end.map(time_bytes)),
        ActionRequest::Adjust(quantity) => of(content, quantity),
        // The expected version is no content.
        ActionRequest::Close { write_off, .. } => content.field(11, [u8::from(*write_off)]),
        ActionRequest::Transfer(give) => {
            let content = of(content, &give.quantity).field(4, &give.receiver_bucket);
            match &give.cost {
                None => content,
                Some((cost, owner)) => content
                    .field(5, cost.amount.to_string())
                    .field(6, cost.unit.as_str())
                    .field(7, owner.as_str()),
            }
        }
        ActionRequest::Reserve {
            quantity,
            expire_time,
        } => of(content, quantity).optional(8, expire_time.map(time_bytes)),
        ActionRequest::Unreserve { reserve } => content.field(9, reserve.0.as_bytes()),
        // Whether the rest stays is among the details.
        ActionRequest::Deduct { quantity, from } => {
            let reserve = from.map(|from| from.reserve);
            of(content, quantity).optional(9, reserve.map(|reserve| *reserve.0.as_bytes()))
        }
    }
    .hash()
}

/// Reads a top-up; returns what makes the command, given the tenant.
pub(in crate::bucket) fn topup(
    request: &pb::TopupBalanceRequest,
    caller: &Caller,
) -> Result<impl FnOnce(TenantId) -> Command<BucketRequest>> {
    let mut input = action_input!(request);
    let quantity = input.amount("amount", request.amount.as_ref());
    let period = input
        .read
        .optional_enum("recurring_period", request.recurring_period);
    let period = period.and_then(period_of);
    match request.number_of_periods {
        Some(number) if number < 1 => {
            input
                .read
                .violation("number_of_periods", "must be at least 1");
        }
        Some(_) if period.is_none() => {
            let why = "must not be set without recurring_period";
            input.read.violation("number_of_periods", why);
        }
        _ => {}
    }
    input.details.is_auto_topup = request.is_auto_topup;
    input.details.recurring_period = period;
    input.details.number_of_periods = request.number_of_periods;
    let end = request.valid_for_end.as_ref();
    let valid_for_end = input
        .read
        .optional_time("valid_for_end", end, Rounding::Down);
    let action = ActionRequest::Topup {
        quantity,
        valid_for_end,
    };
    input.command(caller, move |_| action)
}

/// Reads a closing; returns what makes the command, given the tenant.
pub(in crate::bucket) fn close(
    request: &pb::CloseBucketRequest,
    caller: &Caller,
) -> Result<impl FnOnce(TenantId) -> Command<BucketRequest>> {
    let mut read = Reader::new();
    let input = ActionInput {
        bucket: read.external_id("bucket_id", &request.bucket_id),
        request_id: read.external_id("request_id", &request.request_id),
        validate_only: request.validate_only,
        details: ActionDetails {
            reason: read.optional_note("reason", request.reason.as_deref()),
            // What is written off is shown as an adjustment.
            is_recurring: Some(false),
            ..ActionDetails::default()
        },
        read,
    };
    let action = ActionRequest::Close {
        write_off: request.write_off,
        expected_version: request.expected_version,
    };
    input.command(caller, move |_| action)
}

/// Reads a correction; returns what makes the command, given the tenant.
pub(in crate::bucket) fn adjust(
    request: &pb::AdjustBalanceRequest,
    caller: &Caller,
) -> Result<impl FnOnce(TenantId) -> Command<BucketRequest>> {
    let mut input = action_input!(request);
    let given = request.amount.as_ref();
    let is_any = |amount: Amount| !amount.is_zero();
    let quantity = quantity_that(&mut input.read, "amount", given, is_any, "must not be zero");
    let kind = input.read.optional_enum("adjust_type", request.adjust_type);
    input.details.is_recurring = Some(kind == Some(pb::AdjustType::Recurring));
    input.command(caller, move |_| ActionRequest::Adjust(quantity))
}

/// Reads a transfer to another bucket; returns what makes the command, given the tenant.
pub(in crate::bucket) fn transfer(
    request: &pb::TransferBalanceRequest,
    caller: &Caller,
) -> Result<impl FnOnce(TenantId) -> Command<BucketRequest>> {
    let mut input = action_input!(request);
    let quantity = input.amount("amount", request.amount.as_ref());
    let receiver_bucket = input
        .read
        .external_id("receiver_bucket_id", &request.receiver_bucket_id);
    if receiver_bucket == input.bucket && !receiver_bucket.is_empty() {
        let rule = "must be another bucket than bucket_id";
        input
            .read
            .violation_by("receiver_bucket_id", rule, &receiver_bucket);
    }
    let cost = request.transfer_cost.as_ref();
    let cost = cost.map(|cost| input.amount("transfer_cost", Some(cost)));
    let owner = input.read.optional_enum("cost_owner", request.cost_owner);
    if cost.is_none() && owner.is_some() {
        let why = "must not be set without transfer_cost";
        input.read.violation("cost_owner", why);
    }
    let owner = owner
        .and_then(cost_owner_of)
        .unwrap_or(CostOwner::Originator);
    input.command(caller, move |tenant| {
        ActionRequest::Transfer(TransferRequest {
            quantity,
            receiver: OwnerId::of_bucket(tenant, &receiver_bucket),
            receiver_bucket,
            cost: cost.map(|cost| (cost, owner)),
        })
    })
}

/// Reads a reserve; returns what makes the command, given the tenant.
pub(in crate::bucket) fn reserve(
    request: &pb::ReserveBalanceRequest,
    caller: &Caller,
) -> Result<impl FnOnce(TenantId) -> Command<BucketRequest>> {
    let mut input = action_input!(request);
    let quantity = input.amount("amount", request.amount.as_ref());
    let expire_time = request.expire_time.as_ref();
    let expire_time = input
        .read
        .optional_time("expire_time", expire_time, Rounding::Down);
    let action = ActionRequest::Reserve {
        quantity,
        expire_time,
    };
    input.command(caller, move |_| action)
}

/// Reads the release of a reserve; returns what makes the command, given the tenant.
pub(in crate::bucket) fn unreserve(
    request: &pb::UnreserveBalanceRequest,
    caller: &Caller,
) -> Result<impl FnOnce(TenantId) -> Command<BucketRequest>> {
    let mut input = action_input!(request);
    let reserve = input.read.id("reserve_id", &request.reserve_id);
    input.command(caller, move |_| ActionRequest::Unreserve { reserve })
}

/// Reads a deduction, from a reserve or from what is available; returns what makes the command, given the tenant.
pub(in crate::bucket) fn deduct(
    request: &pb::DeductBalanceRequest,
    caller: &Caller,
) -> Result<impl FnOnce(TenantId) -> Command<BucketRequest>> {
    let mut input = action_input!(request);
    let quantity = input.amount("amount", request.amount.as_ref());
    let reserve: Option<ActionId> = request
        .reserve_id
        .as_ref()
        .map(|id| input.read.id("reserve_id", id));
    if request.keep_rest && reserve.is_none() {
        let why = "must not be set without reserve_id";
        input.read.violation("keep_rest", why);
    }
    let keep_rest = request.keep_rest;
    input.details.keep_rest = reserve.map(|_| keep_rest);
    let from = reserve.map(|reserve| ReserveDraw { reserve, keep_rest });
    input.command(caller, move |_| ActionRequest::Deduct { quantity, from })
}

fn period_of(period: pb::RecurringPeriod) -> Option<RecurringPeriod> {
    match period {
        pb::RecurringPeriod::Unspecified => None,
        pb::RecurringPeriod::Weekly => Some(RecurringPeriod::Weekly),
        pb::RecurringPeriod::Fortnightly => Some(RecurringPeriod::Fortnightly),
        pb::RecurringPeriod::Monthly => Some(RecurringPeriod::Monthly),
    }
}

impl From<BucketDelta> for pb::BucketDelta {
    fn from(delta: BucketDelta) -> Self {
        Self {
            bucket_id: delta.bucket,
            remaining_delta: delta.delta.remaining.to_string(),
            reserved_delta: delta.delta.reserved.to_string(),
        }
    }
}

/// A new action that was only validated has neither id nor dates.
impl From<BucketActionRecord> for pb::BalanceAction {
    fn from(action: BucketActionRecord) -> Self {
        let details = action.details;
        let is_stored = action.id != ActionId::NIL;
        let is_final = action.status != ActionStatus::Created;
        let of = |amount: Amount| in_units(amount, &action.unit);
        let period = details.recurring_period.map(|period| match period {
            RecurringPeriod::Weekly => pb::RecurringPeriod::Weekly,
            RecurringPeriod::Fortnightly => pb::RecurringPeriod::Fortnightly,
            RecurringPeriod::Monthly => pb::RecurringPeriod::Monthly,
        });
        let adjust_type = details.is_recurring.map(|is_recurring| match is_recurring {
            true => pb::AdjustType::Recurring,
            false => pb::AdjustType::OneTime,
        });
        let cost_owner = action.cost.map(|(_, owner)| match owner {
            CostOwner::Originator => pb::CostOwner::Originator,
            CostOwner::Receiver => pb::CostOwner::Receiver,
        });
        Self {
            id: match is_stored {
                true => action.id.to_string(),
                false => String::new(),
            },
            r#type: type_of(action.kind).into(),
            status: pb::BalanceActionStatus::from(action.status).into(),
            bucket_id: action.bucket,
            amount: Some(of(action.amount)),
            remaining_amount: action.remaining.map(of),
            expire_time: action.expire_time.map(timestamp),
            reserve_id: action.reserve.map(|id| id.to_string()),
            keep_rest: details.keep_rest,
            receiver_bucket_id: action.receiver,
            transfer_cost: action.cost.map(|(cost, _)| of(cost)),
            cost_owner: cost_owner.unwrap_or_default().into(),
            adjust_type: adjust_type.unwrap_or_default().into(),
            is_auto_topup: details.is_auto_topup,
            recurring_period: period.unwrap_or_default().into(),
            number_of_periods: details.number_of_periods,
            reason: details.reason,
            channel: details.channel,
            requestor: details.requestor,
            request_id: action.request_id,
            initiated_by: action.initiated_by,
            requested_date: is_stored.then(|| timestamp(action.created_at)),
            confirmation_date: (is_stored && is_final).then(|| timestamp(action.updated_at)),
            bucket_deltas: action.deltas.into_iter().map(Into::into).collect(),
        }
    }
}

fn in_units(amount: Amount, unit: &Unit) -> pb::ActionAmount {
    pb::ActionAmount {
        amount: amount.to_string(),
        units: unit.to_string(),
    }
}
