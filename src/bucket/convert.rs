//! Between proto and model.

mod action;
mod bucket;
mod fields;
mod reference;

pub(super) use action::{adjust, deduct, reserve, topup, transfer, unreserve};
pub(super) use bucket::{View, base, create, update};

use crate::bucket::convert::fields::Fields;
use crate::bucket::model::{
    Accumulate, Accumulated, ActionCursor, ActionList, Cursor, Filter, List,
};
use crate::error::{Error, Result};
use crate::ledger::command::bucket::Quantity;
use crate::ledger::model::bucket::{ActionKind, BucketStatus, CostOwner, UsageType, Validity};
use crate::limits::{BUCKETS_PAGE_MAX, FIELDS_CHARS_MAX, ID_CHARS_MAX};
use crate::proto::bucket::v1 as pb;
use crate::rpc::page_token::Binding;
use crate::rpc::read::{Reader, Rounding};
use crate::types::amount::Amount;
use crate::types::ids::{ActionId, TenantId};
use crate::types::page::Page;
use crate::types::unit::Unit;

/// Reads what a read shows of each bucket.
fn view(read: &mut Reader, kind: &str, fields: &str) -> View {
    let is_extended = match kind {
        "" | "Bucket" => false,
        "BucketOracle" => true,
        _ => {
            read.violation("type", "must be Bucket or BucketOracle");
            false
        }
    };
    let text = read.optional_text("fields", Some(fields), FIELDS_CHARS_MAX);
    let fields = match Fields::parse(&text.unwrap_or_default()) {
        Ok(fields) => fields,
        Err(unknown) => {
            let why = format!("a bucket has no member `{unknown}`");
            read.violation("fields", why);
            Fields::all()
        }
    };
    View {
        is_extended,
        fields,
    }
}

/// Reads which bucket, and what to show of it.
pub(super) fn get(request: &pb::GetBucketRequest) -> Result<(String, View)> {
    let mut read = Reader::new();
    let id = read.external_id("id", &request.id);
    let view = view(&mut read, &request.r#type, &request.fields);
    read.finish()?;
    Ok((id, view))
}

/// Reads a list of buckets of the tenant (if the token names one), what to show of each, and what its page tokens are
/// bound to.
pub(super) fn list(
    rpc: &str,
    tenant: Option<TenantId>,
    request: pb::ListBucketsRequest,
) -> Result<(List, View, Binding)> {
    let bound = pb::ListBucketsRequest {
        // How a bucket is shown does not change which buckets follow.
        r#type: String::new(),
        fields: String::new(),
        limit: 0,
        offset: 0,
        page_token: String::new(),
        ..request.clone()
    };
    let binding = Binding::with_owner(rpc, &bound, &owner(tenant));
    let mut read = Reader::new();
    let view = view(&mut read, &request.r#type, &request.fields);
    let status = read.optional_enum("status", request.status);
    let usage_type = read.optional_enum("usage_type", request.usage_type);
    let list = List {
        filter: Filter {
            product: read.optional_external_id("product_id", &request.product_id),
            party_account: read.optional_external_id("party_account_id", &request.party_account_id),
            status: status.and_then(status_of),
            usage_type: usage_type.and_then(usage_of),
        },
        page: read.offset_page::<Cursor>(
            request.limit,
            BUCKETS_PAGE_MAX,
            request.offset,
            &request.page_token,
            binding,
        ),
    };
    read.finish()?;
    // A token's cursor is a bucket that the page before has shown, unless somebody made it up.
    let made_up = |cursor: &Cursor| !cursor.created_at.is_storable() || cursor.id.contains('\0');
    if list.page.after().is_some_and(made_up) {
        return Err(Error::PageTokenInvalid);
    }
    Ok((list, view, binding))
}

/// Reads a list of balance actions of the tenant (if the token names one), and what its page tokens are bound to.
pub(super) fn action_list(
    rpc: &str,
    tenant: Option<TenantId>,
    request: pb::ListBalanceActionsRequest,
) -> Result<(ActionList, Binding)> {
    let mut read = Reader::new();
    let kinds = read.enums("types", &request.types);
    let buckets = read.texts("bucket_ids", &request.bucket_ids, ID_CHARS_MAX);
    let parties = &request.party_account_ids;
    let party_accounts = read.texts("party_account_ids", parties, ID_CHARS_MAX);
    let request_ids = read.texts("request_ids", &request.request_ids, ID_CHARS_MAX);
    let (from, to) = read.time_range(
        ("time_on_or_after", request.time_on_or_after.as_ref()),
        ("time_before", request.time_before.as_ref()),
    );
    let (size, token) = (request.page_size, request.page_token.clone());
    let bound = pb::ListBalanceActionsRequest {
        page_size: 0,
        page_token: String::new(),
        ..request
    };
    let binding = Binding::with_owner(rpc, &bound, &owner(tenant));
    let page: Page<ActionCursor> = read.page(0, size, &token, binding);
    read.finish()?;
    let list = ActionList {
        kinds: kinds.into_iter().filter_map(kind_of).collect(),
        buckets,
        party_accounts,
        request_ids,
        from,
        to,
        page,
    };
    Ok((list, binding))
}

/// A token that names no tenant is refused after its arguments were judged.
fn owner(tenant: Option<TenantId>) -> Vec<u8> {
    tenant.map_or(Vec::new(), |tenant| tenant.0.into_bytes().into())
}

/// Reads which action.
pub(super) fn get_action(request: &pb::GetBalanceActionRequest) -> Result<ActionId> {
    let mut read = Reader::new();
    let id = read.id("id", &request.id);
    read.finish()?;
    Ok(id)
}

/// Reads whose balances are added up.
pub(super) fn accumulate(request: &pb::GetAccumulatedBalanceRequest) -> Result<Accumulate> {
    let mut read = Reader::new();
    let party_account = read.external_id("party_account_id", &request.party_account_id);
    let units = Some(request.units.as_str()).filter(|units| !units.is_empty());
    let unit = units.map(|units| read.unit("units", units));
    read.finish()?;
    Ok(Accumulate {
        party_account,
        unit,
    })
}

impl From<Accumulated> for pb::AccumulatedBalance {
    fn from(accumulated: Accumulated) -> Self {
        Self {
            units: accumulated.unit.to_string(),
            available: accumulated.available,
            reserved: accumulated.held,
            bucket_count: accumulated.buckets,
        }
    }
}

/// A required amount of any sign.
fn quantity(read: &mut Reader, field: &str, given: Option<&pb::Quantity>) -> Quantity {
    let given = given.map(|given| (given.amount.as_str(), given.units.as_str()));
    read_quantity(read, field, given)
}

/// The same of an action; an amount that can be read, but does not fit, is a violation as well.
fn quantity_that(
    read: &mut Reader,
    field: &str,
    given: Option<&pb::ActionAmount>,
    fits: impl Fn(Amount) -> bool,
    rule: &str,
) -> Quantity {
    let parts = given.map(|given| (given.amount.as_str(), given.units.as_str()));
    let quantity = read_quantity(read, field, parts);
    let amount = given.and_then(|given| Amount::parse_decimal(&given.amount));
    if amount.is_some_and(|amount| !fits(amount)) {
        read.violation(format!("{field}.amount"), rule);
    }
    quantity
}

fn read_quantity(read: &mut Reader, field: &str, given: Option<(&str, &str)>) -> Quantity {
    let Some((amount, units)) = given else {
        read.violation(field, "is required");
        return Quantity {
            amount: Amount::ZERO,
            unit: Unit::stored(""),
        };
    };
    Quantity {
        amount: read.decimal(&format!("{field}.amount"), amount),
        unit: read.unit(&format!("{field}.units"), units),
    }
}

/// A validity; unset is for ever.
fn period(read: &mut Reader, field: &str, given: Option<&pb::TimePeriod>) -> Validity {
    let given = given.copied().unwrap_or_default();
    let (start, end) = (given.start_date_time, given.end_date_time);
    let end_field = format!("{field}.end_date_time");
    let start_field = format!("{field}.start_date_time");
    let validity = Validity {
        from: read.optional_time(&start_field, start.as_ref(), Rounding::Down),
        to: read.optional_time(&end_field, end.as_ref(), Rounding::Down),
    };
    if validity
        .from
        .zip(validity.to)
        .is_some_and(|(from, to)| to < from)
    {
        read.violation(end_field, "must not be before start_date_time");
    }
    validity
}

fn status_of(status: pb::BucketStatus) -> Option<BucketStatus> {
    match status {
        pb::BucketStatus::Unspecified => None,
        pb::BucketStatus::Active => Some(BucketStatus::Active),
        pb::BucketStatus::Suspended => Some(BucketStatus::Suspended),
        pb::BucketStatus::Expired => Some(BucketStatus::Expired),
        pb::BucketStatus::Inactive => Some(BucketStatus::Inactive),
        pb::BucketStatus::Closed => Some(BucketStatus::Closed),
    }
}

impl From<BucketStatus> for pb::BucketStatus {
    fn from(status: BucketStatus) -> Self {
        match status {
            BucketStatus::Active => Self::Active,
            BucketStatus::Suspended => Self::Suspended,
            BucketStatus::Expired => Self::Expired,
            BucketStatus::Inactive => Self::Inactive,
            BucketStatus::Closed => Self::Closed,
        }
    }
}

fn usage_of(usage_type: pb::UsageType) -> Option<UsageType> {
    match usage_type {
        pb::UsageType::Unspecified => None,
        pb::UsageType::Monetary => Some(UsageType::Monetary),
        pb::UsageType::Voice => Some(UsageType::Voice),
        pb::UsageType::Data => Some(UsageType::Data),
        pb::UsageType::Sms => Some(UsageType::Sms),
        pb::UsageType::Other => Some(UsageType::Other),
    }
}

impl From<UsageType> for pb::UsageType {
    fn from(usage_type: UsageType) -> Self {
        match usage_type {
            UsageType::Monetary => Self::Monetary,
            UsageType::Voice => Self::Voice,
            UsageType::Data => Self::Data,
            UsageType::Sms => Self::Sms,
            UsageType::Other => Self::Other,
        }
    }
}

fn kind_of(kind: pb::BalanceActionType) -> Option<ActionKind> {
    match kind {
        pb::BalanceActionType::Unspecified => None,
        pb::BalanceActionType::Topup => Some(ActionKind::Topup),
        pb::BalanceActionType::Adjust => Some(ActionKind::Adjust),
        pb::BalanceActionType::Transfer => Some(ActionKind::Transfer),
        pb::BalanceActionType::Reserve => Some(ActionKind::Reserve),
        pb::BalanceActionType::Unreserve => Some(ActionKind::Unreserve),
        pb::BalanceActionType::Deduct => Some(ActionKind::Deduct),
    }
}

fn cost_owner_of(owner: pb::CostOwner) -> Option<CostOwner> {
    match owner {
        pb::CostOwner::Unspecified => None,
        pb::CostOwner::Originator => Some(CostOwner::Originator),
        pb::CostOwner::Receiver => Some(CostOwner::Receiver),
    }
}
