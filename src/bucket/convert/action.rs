//! Balance actions: as callers ask for them, and as answers have them.

use crate::auth::caller::Caller;
use crate::bucket::convert::bucket::time_bytes;
use crate::bucket::convert::{cost_owner_of, quantity_that};
use crate::bucket::model::{Action, ActionDetails, RecurringPeriod};
use crate::error::Result;
use crate::ledger::command::Command;
use crate::ledger::command::bucket::{Act, BucketRequest, Deed, DrawFrom, GiveTo, Quantity};
use crate::ledger::model::bucket::{ActionKind, ActionStatus, CostOwner};
use crate::limits::NAME_CHARS_MAX;
use crate::proto::bucket::v1 as pb;
use crate::rpc::read::{Reader, Rounding, timestamp};
use crate::types::amount::Amount;
use crate::types::content::{Content, ContentHash};
use crate::types::ids::{ActionId, OwnerId};
use crate::types::unit::Unit;

/// What the requests of all actions have; the messages themselves share no type.
struct Asked {
    read: Reader,
    bucket: String,
    request_id: String,
    details: ActionDetails,
    validate_only: bool,
}

macro_rules! asked {
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
        Asked {
            bucket: read.external_id("bucket_id", &$request.bucket_id),
            request_id: read.external_id("request_id", &$request.request_id),
            validate_only: $request.validate_only,
            details,
            read,
        }
    }};
}

impl Asked {
    /// A required amount above zero.
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

    fn command(self, deed: Deed, caller: &Caller) -> Result<Command> {
        self.command_of(caller, |_| deed)
    }

    /// The command, once nothing is wrong and the tenant is known.
    fn command_of(
        self,
        caller: &Caller,
        deed: impl FnOnce(&dyn Fn(&str) -> OwnerId) -> Deed,
    ) -> Result<Command> {
        self.read.finish()?;
        let tenant = caller.require_tenant()?;
        let deed = deed(&|bucket| OwnerId::of_bucket(tenant, bucket));
        let act = Act {
            content: content(&deed, &self.details),
            request_id: self.request_id,
            deed,
            details: self.details.json(),
            initiated_by: caller.subject.clone(),
        };
        let request = BucketRequest::Act(act);
        Ok(Command::on_bucket(
            tenant,
            self.bucket,
            self.validate_only,
            request,
        ))
    }
}

/// What makes two requests with one key the same. The kind is part of the key. Tags are for ever.
fn content(deed: &Deed, details: &ActionDetails) -> ContentHash {
    let content = Content::new().field(1, details.json());
    let of = |content: Content, quantity: &Quantity| {
        content
            .field(2, quantity.amount.to_string())
            .field(3, quantity.unit.as_str())
    };
    match deed {
        Deed::Topup(quantity) | Deed::Adjust(quantity) => of(content, quantity),
        Deed::Transfer(give) => {
            let content = of(content, &give.quantity).field(4, &give.receiver_bucket);
            match &give.cost {
                None => content,
                Some((cost, owner)) => content
                    .field(5, cost.amount.to_string())
                    .field(6, cost.unit.as_str())
                    .field(7, owner.as_str()),
            }
        }
        Deed::Reserve {
            quantity,
            expire_time,
        } => of(content, quantity).optional(8, expire_time.map(time_bytes)),
        Deed::Unreserve { reserve } => content.field(9, reserve.0.as_bytes()),
        // Whether the rest stays is among the details.
        Deed::Deduct { quantity, from } => {
            let reserve = from.map(|from| from.reserve);
            of(content, quantity).optional(9, reserve.map(|reserve| *reserve.0.as_bytes()))
        }
    }
    .hash()
}

/// Reads a top-up.
pub(in crate::bucket) fn topup(
    request: &pb::TopupBalanceRequest,
    caller: &Caller,
) -> Result<Command> {
    let mut asked = asked!(request);
    let quantity = asked.amount("amount", request.amount.as_ref());
    let period = asked
        .read
        .optional_enum("recurring_period", request.recurring_period);
    let period = period.and_then(period_of);
    match request.number_of_periods {
        Some(number) if number < 1 => {
            asked
                .read
                .violation("number_of_periods", "must be at least 1");
        }
        Some(_) if period.is_none() => {
            let why = "must not be set without recurring_period";
            asked.read.violation("number_of_periods", why);
        }
        _ => {}
    }
    asked.details.is_auto_topup = request.is_auto_topup;
    asked.details.recurring_period = period;
    asked.details.number_of_periods = request.number_of_periods;
    asked.command(Deed::Topup(quantity), caller)
}

/// Reads a correction.
pub(in crate::bucket) fn adjust(
    request: &pb::AdjustBalanceRequest,
    caller: &Caller,
) -> Result<Command> {
    let mut asked = asked!(request);
    let given = request.amount.as_ref();
    let is_any = |amount: Amount| !amount.is_zero();
    let quantity = quantity_that(&mut asked.read, "amount", given, is_any, "must not be zero");
    let kind = asked.read.optional_enum("adjust_type", request.adjust_type);
    asked.details.is_recurring = Some(kind == Some(pb::AdjustType::Recurring));
    asked.command(Deed::Adjust(quantity), caller)
}

/// Reads a transfer.
pub(in crate::bucket) fn transfer(
    request: &pb::TransferBalanceRequest,
    caller: &Caller,
) -> Result<Command> {
    let mut asked = asked!(request);
    let quantity = asked.amount("amount", request.amount.as_ref());
    let receiver_bucket = asked
        .read
        .external_id("receiver_bucket_id", &request.receiver_bucket_id);
    if receiver_bucket == asked.bucket && !receiver_bucket.is_empty() {
        asked
            .read
            .violation("receiver_bucket_id", "must be another bucket");
    }
    let cost = request.transfer_cost.as_ref();
    let cost = cost.map(|cost| asked.amount("transfer_cost", Some(cost)));
    let owner = asked.read.optional_enum("cost_owner", request.cost_owner);
    if cost.is_none() && owner.is_some() {
        let why = "must not be set without transfer_cost";
        asked.read.violation("cost_owner", why);
    }
    let owner = owner
        .and_then(cost_owner_of)
        .unwrap_or(CostOwner::Originator);
    asked.command_of(caller, |owner_of| {
        Deed::Transfer(GiveTo {
            quantity,
            receiver: owner_of(&receiver_bucket),
            receiver_bucket,
            cost: cost.map(|cost| (cost, owner)),
        })
    })
}

/// Reads what is to be set aside.
pub(in crate::bucket) fn reserve(
    request: &pb::ReserveBalanceRequest,
    caller: &Caller,
) -> Result<Command> {
    let mut asked = asked!(request);
    let quantity = asked.amount("amount", request.amount.as_ref());
    let expire_time = request.expire_time.as_ref();
    let expire_time = asked
        .read
        .optional_time("expire_time", expire_time, Rounding::Down);
    let deed = Deed::Reserve {
        quantity,
        expire_time,
    };
    asked.command(deed, caller)
}

/// Reads what is to be given back.
pub(in crate::bucket) fn unreserve(
    request: &pb::UnreserveBalanceRequest,
    caller: &Caller,
) -> Result<Command> {
    let mut asked = asked!(request);
    let reserve = asked.read.id("reserve_id", &request.reserve_id);
    asked.command(Deed::Unreserve { reserve }, caller)
}

/// Reads what is to be taken out.
pub(in crate::bucket) fn deduct(
    request: &pb::DeductBalanceRequest,
    caller: &Caller,
) -> Result<Command> {
    let mut asked = asked!(request);
    let quantity = asked.amount("amount", request.amount.as_ref());
    let reserve: Option<ActionId> = request
        .reserve_id
        .as_ref()
        .map(|id| asked.read.id("reserve_id", id));
    if request.keep_rest && reserve.is_none() {
        let why = "must not be set without reserve_id";
        asked.read.violation("keep_rest", why);
    }
    let keep_rest = request.keep_rest;
    asked.details.keep_rest = reserve.map(|_| keep_rest);
    let from = reserve.map(|reserve| DrawFrom { reserve, keep_rest });
    asked.command(Deed::Deduct { quantity, from }, caller)
}

fn period_of(period: pb::RecurringPeriod) -> Option<RecurringPeriod> {
    match period {
        pb::RecurringPeriod::Unspecified => None,
        pb::RecurringPeriod::Weekly => Some(RecurringPeriod::Weekly),
        pb::RecurringPeriod::Fortnightly => Some(RecurringPeriod::Fortnightly),
        pb::RecurringPeriod::Monthly => Some(RecurringPeriod::Monthly),
    }
}

/// An action as answers have it; a new one that was only validated has neither id nor dates.
impl From<Action> for pb::BalanceAction {
    fn from(action: Action) -> Self {
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
            r#type: pb::BalanceActionType::from(action.kind).into(),
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
        }
    }
}

fn in_units(amount: Amount, unit: &Unit) -> pb::ActionAmount {
    pb::ActionAmount {
        amount: amount.to_string(),
        units: unit.to_string(),
    }
}

impl From<ActionKind> for pb::BalanceActionType {
    fn from(kind: ActionKind) -> Self {
        match kind {
            ActionKind::Topup => Self::Topup,
            ActionKind::Adjust => Self::Adjust,
            ActionKind::Transfer => Self::Transfer,
            ActionKind::Reserve => Self::Reserve,
            ActionKind::Unreserve => Self::Unreserve,
            ActionKind::Deduct => Self::Deduct,
        }
    }
}

impl From<ActionStatus> for pb::BalanceActionStatus {
    fn from(status: ActionStatus) -> Self {
        match status {
            ActionStatus::Created => Self::Created,
            ActionStatus::Completed => Self::Completed,
            ActionStatus::Cancelled => Self::Cancelled,
        }
    }
}
