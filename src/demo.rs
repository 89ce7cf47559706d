//! The demo data of `earmark dev`: a small network with balances and allocations, a tenant with prepaid buckets, a firm
//! with allocations of book building, and a company with a catalogue.
//!
//! All of it is created by calling the services in this process, as clients would. Every call has an idempotency key,
//! so that loading again changes nothing.

mod balances;
mod book_building;
mod buckets;
mod caller;
mod catalogue;
mod ids;
mod network;

use tonic::Status;
use tonic::service::Routes;

pub use crate::demo::ids::DemoIds;

/// Creates what is missing of the demo data, and returns the ids that calls on it need.
///
/// # Errors
/// The status of the first call that failed.
pub async fn load(routes: Routes) -> Result<DemoIds, Status> {
    let ids = network::load(routes.clone()).await?;
    balances::load(routes.clone(), &ids).await?;
    buckets::load(routes.clone()).await?;
    book_building::load(routes.clone()).await?;
    catalogue::load(routes).await?;
    Ok(ids)
}
