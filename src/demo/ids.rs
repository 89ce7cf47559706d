//! The ids of the demo data.

use uuid::Uuid;

use crate::types::ids::{CompanyId, TenantId};

/// The tenant of the buckets. Like the other constants it is the same in every database, so that
/// documentation can use it.
pub(super) const TENANT: TenantId =
    TenantId(Uuid::from_u128(0x0198_a7b2_6a44_7c11_8d4e_7e4a_47de_0001));
/// The party account of the buckets, in the form of TMF654's examples.
pub(super) const PARTY_ACCOUNT: &str = "0.0.0.1+-account+102879";
/// A product of the bucket with money, in the same form.
pub(super) const PRODUCT: &str = "0.0.0.1+-service-telco-gsm-sms+102975";
/// The firm of the CAS allocations.
pub(super) const FIRM: &str = "demo";
/// The deal that the CAS allocations belong to.
pub(super) const DEAL: &str = "DEAL-7";
/// The company with the catalogue.
pub(super) const COMPANY: CompanyId = CompanyId(1);

/// Ids of demo records, for calls and tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoIds {
    /// The client's enterprise (a UUID), whose custody account has balances of BTC and USDC.
    pub enterprise: String,
    /// The partner's enterprise (a UUID), the other side of both connections.
    pub partner_enterprise: String,
    /// The UUID of the connection in mode CONFIRMED: the partner clears or releases its allocations.
    pub confirmed_connection: String,
    /// The UUID of the connection in mode INSTANT: its allocations move value at once.
    pub instant_connection: String,
    /// The tenant that has two buckets, one with money and one with data volume.
    pub tenant: TenantId,
    /// The id of a product that uses the tenant's bucket with money.
    pub product: &'static str,
    /// The firm that has three CAS allocations.
    pub firm: &'static str,
    /// The id of the deal that these allocations belong to.
    pub deal: &'static str,
    /// The company whose catalogue has two allocations.
    pub company: CompanyId,
}
