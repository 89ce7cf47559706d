//! The requests of reads.

use crate::bucket::convert::values::{kinds_of, status_of, usage_of};
use crate::bucket::convert::view::BucketView;
use crate::bucket::model::{Accumulate, Accumulated, ActionList, BucketFilter, BucketSums, List};
use crate::error::Result;
use crate::ledger::bucket::model::BucketStatus;
use crate::limits::{ACCUMULATED_PAGE_MAX, BUCKETS_PAGE_MAX, ID_CHARS_MAX};
use crate::proto::bucket::v1 as pb;
use crate::rpc::page_token::Binding;
use crate::rpc::read::Reader;
use crate::types::ids::{ActionId, TenantId};

/// Reads the request for one bucket: its id, and what to show of it.
pub(in crate::bucket) fn get(request: &pb::GetBucketRequest) -> Result<(String, BucketView)> {
    let mut read = Reader::new();
    let id = read.external_id("id", &request.id);
    let view = BucketView::read(&mut read, &request.r#type, &request.fields);
    read.finish()?;
    Ok((id, view))
}

/// Reads a list of buckets and what to show of each. With them comes what its page tokens are bound to; the tenant, if the
/// token names one, is part of it.
pub(in crate::bucket) fn list(
    rpc: &str,
    tenant: Option<TenantId>,
    request: pb::ListBucketsRequest,
) -> Result<(List, BucketView, Binding)> {
    let bound = pb::ListBucketsRequest {
        // How a bucket is shown does not change which buckets follow.
        r#type: String::new(),
        fields: String::new(),
        ..request.clone()
    };
    let binding = Binding::with_owner(rpc, &bound, &owner(tenant));
    let mut read = Reader::new();
    let view = BucketView::read(&mut read, &request.r#type, &request.fields);
    let status = read.optional_enum("status", request.status);
    let usage_type = read.optional_enum("usage_type", request.usage_type);
    let list = List {
        filter: BucketFilter {
            product: read.optional_external_id("product_id", &request.product_id),
            party_account: read.optional_external_id("party_account_id", &request.party_account_id),
            status: status.and_then(status_of),
            usage_type: usage_type.and_then(usage_of),
        },
        page: read.offset_page(
            request.limit,
            BUCKETS_PAGE_MAX,
            request.offset,
            &request.page_token,
            binding,
        ),
    };
    read.finish()?;
    Ok((list, view, binding))
}

/// Reads a list of balance actions. With it comes what its page tokens are bound to; the tenant, if the token names one,
/// is part of it.
pub(in crate::bucket) fn action_list(
    rpc: &str,
    tenant: Option<TenantId>,
    request: &pb::ListBalanceActionsRequest,
) -> Result<(ActionList, Binding)> {
    let mut read = Reader::new();
    let kinds = read.enums("types", &request.types);
    let buckets = read.texts("bucket_ids", &request.bucket_ids, ID_CHARS_MAX);
    let parties = &request.party_account_ids;
    let party_accounts = read.texts("party_account_ids", parties, ID_CHARS_MAX);
    let request_ids = read.texts("request_ids", &request.request_ids, ID_CHARS_MAX);
    let (from, to) = read.time_window(
        ("time_on_or_after", request.time_on_or_after.as_ref()),
        ("time_before", request.time_before.as_ref()),
    );
    let binding = Binding::with_owner(rpc, request, &owner(tenant));
    let page = read.page(request.page_size, &request.page_token, binding);
    read.finish()?;
    let list = ActionList {
        kinds: kinds
            .into_iter()
            .flat_map(|shown| kinds_of(shown).iter().copied())
            .collect(),
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

/// Reads the request for one action: its id.
pub(in crate::bucket) fn get_action(request: &pb::GetBalanceActionRequest) -> Result<ActionId> {
    let mut read = Reader::new();
    let id = read.id("id", &request.id);
    read.finish()?;
    Ok(id)
}

/// Reads the party account whose balances are added up. With it comes what its page tokens are bound to; the tenant, if the
/// token names one, is part of it.
pub(in crate::bucket) fn accumulate(
    rpc: &str,
    tenant: Option<TenantId>,
    request: &pb::GetAccumulatedBalanceRequest,
) -> Result<(Accumulate, Binding)> {
    let binding = Binding::with_owner(rpc, request, &owner(tenant));
    let mut read = Reader::new();
    let party_account = read.external_id("party_account_id", &request.party_account_id);
    let units = Some(request.units.as_str()).filter(|units| !units.is_empty());
    let unit = units.map(|units| read.unit("units", units));
    let (size, token) = (request.page_size, &request.page_token);
    let page = read.page_of_whole(size, ACCUMULATED_PAGE_MAX, token, binding);
    read.finish()?;
    let accumulate = Accumulate {
        party_account,
        unit,
        page,
    };
    Ok((accumulate, binding))
}

impl From<Accumulated> for pb::AccumulatedBalance {
    fn from(accumulated: Accumulated) -> Self {
        let sums = accumulated.sums;
        let by_status = accumulated.by_status.into_iter();
        Self {
            units: accumulated.unit.to_string(),
            available: sums.available,
            reserved: sums.held,
            bucket_count: sums.buckets,
            usable: sums.usable,
            by_status: by_status.map(Into::into).collect(),
        }
    }
}

impl From<(BucketStatus, BucketSums)> for pb::StatusBalance {
    fn from((status, sums): (BucketStatus, BucketSums)) -> Self {
        Self {
            status: pb::BucketStatus::from(status).into(),
            usable: sums.usable,
            available: sums.available,
            reserved: sums.held,
            bucket_count: sums.buckets,
        }
    }
}
