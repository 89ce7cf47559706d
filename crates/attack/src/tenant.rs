//! A tenant of the server under attack, and what each tenant has.

use earmark::proto::allocation::v1::CreateAllocationRequest;
use earmark::proto::common::v1::Amount;
use tonic::metadata::{Ascii, MetadataValue};
use uuid::Uuid;

/// The currency of all allocations and deposits.
pub(crate) const CURRENCY: &str = "BTC";
/// The bucket of a tenant, and what is in it.
pub(crate) const BUCKET: &str = "bucket-1";
pub(crate) const UNIT: &str = "MB";
/// A deal of 20 records in each book.
pub(crate) const DEAL: &str = "DEAL-1";

/// A caller with everything of its own.
pub(crate) struct Tenant {
    pub(crate) token: String,
    pub(crate) bearer: MetadataValue<Ascii>,
    pub(crate) enterprise: Uuid,
    pub(crate) connection: Uuid,
    /// One of its allocations.
    pub(crate) allocation: String,
}

/// A new allocation of the smallest unit.
pub(crate) fn one_allocation(tenant: &Tenant) -> CreateAllocationRequest {
    CreateAllocationRequest {
        enterprise_id: tenant.enterprise.to_string(),
        connection_id: tenant.connection.to_string(),
        amount: Some(Amount {
            currency: CURRENCY.into(),
            quantity: "1".into(),
        }),
        client_external_id: Uuid::new_v4().to_string(),
        ..Default::default()
    }
}
