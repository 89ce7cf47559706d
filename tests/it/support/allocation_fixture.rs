//! A server with a client and a partner on one connection, and short methods for their calls.

use std::collections::BTreeMap;

use earmark::proto::allocation::v1::allocation_service_client::AllocationServiceClient;
use earmark::proto::allocation::v1::{
    Allocation, AllocationType, CancelAllocationRequest, CancelAllocationResponse,
    ClearAllocationRequest, ClearAllocationResponse, CreateAllocationRequest,
    CreateDeallocationRequest, GetAllocationRequest, ReleaseAllocationRequest,
    ReleaseAllocationResponse, SubmitAllocationsRequest, SubmitItem,
};
use earmark::proto::balance::v1::ListClientBalancesRequest;
use earmark::proto::common::v1::Balance;
use earmark::proto::network::v1::{ConnectionMode, UpdateConnectionRequest};
use prost_types::Timestamp;
use tonic::Response;

use super::earmark::{Authorized, Earmark, Parties, balance};

/// A server, a client with a deposit of 100 BTC, and its partner.
pub(crate) struct AllocationFixture {
    pub(crate) earmark: Earmark,
    pub(crate) parties: Parties,
    pub(crate) client: AllocationServiceClient<Authorized>,
    pub(crate) partner: AllocationServiceClient<Authorized>,
}

impl AllocationFixture {
    pub(crate) async fn open(mode: ConnectionMode) -> Self {
        Self::on(Earmark::start().await, mode).await
    }

    /// The same on a running server.
    pub(crate) async fn on(earmark: Earmark, mode: ConnectionMode) -> Self {
        let parties = earmark.parties(mode).await;
        earmark.deposit(&parties.enterprise, "BTC", "100").await;
        Self {
            client: earmark.member(&[&parties.enterprise]).allocation,
            partner: earmark.member(&[&parties.partner_enterprise]).allocation,
            earmark,
            parties,
        }
    }

    /// The same with a reservation of 10 BTC in this direction. Custody and connection before and after it:
    ///
    /// | | custody | connection |
    /// |---|---|---|
    /// | before | 40, 0 held, version 3 | 60, 0 held, version 1 |
    /// | allocation | 30, 10 held, version 4 | as before |
    /// | deallocation | as before | 50, 10 held, version 2 |
    pub(crate) async fn with_hold(direction: AllocationType) -> (Self, Allocation) {
        let fixture = Self::open(ConnectionMode::Confirmed).await;
        let moved = fixture.allocate("60", "moved").await;
        fixture.clear(&moved.id).await;
        let hold = fixture.hold(direction, "10", "hold").await;
        (fixture, hold)
    }

    /// Creates an allocation or a deallocation, which an instant connection moves at once.
    pub(crate) async fn hold(
        &self,
        direction: AllocationType,
        quantity: &str,
        key: &str,
    ) -> Allocation {
        match direction {
            AllocationType::Deallocation => self.deallocate(quantity, key).await,
            _ => self.allocate(quantity, key).await,
        }
    }

    pub(crate) async fn allocate(&self, quantity: &str, key: &str) -> Allocation {
        let request = self.parties.allocation("BTC", quantity, key);
        let answer = self.client.clone().create_allocation(request).await;
        let answer = answer.expect("allocated").into_inner();
        answer.allocation.expect("set")
    }

    pub(crate) async fn deallocate(&self, quantity: &str, key: &str) -> Allocation {
        let request = self.parties.deallocation("BTC", quantity, key);
        let answer = self.client.clone().create_deallocation(request).await;
        let answer = answer.expect("deallocated").into_inner();
        answer.allocation.expect("set")
    }

    pub(crate) async fn clear(&self, id: &str) -> Response<ClearAllocationResponse> {
        let request = self.parties.clear(id);
        let answer = self.partner.clone().clear_allocation(request).await;
        answer.expect("cleared")
    }

    pub(crate) async fn release(&self, id: &str) -> Response<ReleaseAllocationResponse> {
        let request = self.parties.release(id);
        let answer = self.partner.clone().release_allocation(request).await;
        answer.expect("released")
    }

    pub(crate) async fn cancel(&self, id: &str) -> Response<CancelAllocationResponse> {
        let request = self.parties.cancel(id);
        let answer = self.client.clone().cancel_allocation(request).await;
        answer.expect("cancelled")
    }

    /// The record as the client's side sees it.
    pub(crate) async fn get(&self, id: &str) -> Allocation {
        let request = GetAllocationRequest {
            enterprise_id: self.parties.enterprise.clone(),
            allocation_id: id.into(),
        };
        let answer = self.client.clone().get_allocation(request).await;
        answer.expect("there").into_inner().allocation.expect("set")
    }

    /// The BTC balances of custody and connection, read in one snapshot.
    pub(crate) async fn balances(&self) -> (Option<Balance>, Option<Balance>) {
        let request = ListClientBalancesRequest {
            enterprise_id: self.parties.enterprise.clone(),
            connection_ids: vec![self.parties.connection.clone()],
            ..Default::default()
        };
        let member = self.earmark.member(&[&self.parties.enterprise]);
        let answer = member.balance.clone().list_client_balances(request).await;
        let mut answer = answer.expect("listed").into_inner();
        let connection = answer.network_balances.pop().expect("the connection");
        let of =
            |mut balances: BTreeMap<_, _>| balances.remove("BTC").or_else(|| balance("0", "0", 0));
        (of(answer.balances), of(connection.balances))
    }

    /// Disables allocations and deallocations of the connection.
    pub(crate) async fn disable_connection(&self) {
        let request = UpdateConnectionRequest {
            connection_id: self.parties.connection.clone(),
            allocations_enabled: Some(false),
            deallocations_enabled: Some(false),
            disabled_reason: Some("under review".into()),
            ..Default::default()
        };
        let admin = self.earmark.admin();
        let updated = admin.network.clone().update_connection(request).await;
        updated.expect("updated");
    }

    /// The database's clock plus this many milliseconds.
    pub(crate) async fn in_millis(&self, millis: i64) -> Timestamp {
        in_micros(&self.earmark, millis * 1_000).await
    }
}

/// The database's clock plus this many microseconds.
pub(crate) async fn in_micros(earmark: &Earmark, micros: i64) -> Timestamp {
    let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let time = earmark.count(now).await + micros;
    Timestamp {
        seconds: time.div_euclid(1_000_000),
        nanos: i32::try_from(time.rem_euclid(1_000_000)).expect("below a million") * 1_000,
    }
}

/// The request of its own for an item of a submission, whatever the item's type.
pub(crate) fn create_request(
    enterprise_id: String,
    item: SubmitItem,
    validate_only: bool,
) -> CreateAllocationRequest {
    let required = CreateAllocationRequest {
        enterprise_id,
        connection_id: item.connection_id,
        amount: item.amount,
        client_external_id: item.client_external_id,
        ..Default::default()
    };
    CreateAllocationRequest {
        notes: item.notes,
        expire_time: item.expire_time,
        validate_only,
        ..required
    }
}

/// The same request for a deallocation.
pub(crate) fn as_deallocation(request: CreateAllocationRequest) -> CreateDeallocationRequest {
    let required = CreateDeallocationRequest {
        enterprise_id: request.enterprise_id,
        connection_id: request.connection_id,
        amount: request.amount,
        client_external_id: request.client_external_id,
        ..Default::default()
    };
    CreateDeallocationRequest {
        notes: request.notes,
        expire_time: request.expire_time,
        validate_only: request.validate_only,
        ..required
    }
}

impl Parties {
    /// A request that succeeds if there is enough on the connection; its key is `external_id`.
    pub(crate) fn deallocation(
        &self,
        currency: &str,
        quantity: &str,
        external_id: &str,
    ) -> CreateDeallocationRequest {
        let allocation = self.allocation(currency, quantity, external_id);
        CreateDeallocationRequest {
            enterprise_id: allocation.enterprise_id,
            connection_id: allocation.connection_id,
            amount: allocation.amount,
            client_external_id: allocation.client_external_id,
            ..Default::default()
        }
    }

    /// A request by which the partner clears a reservation.
    pub(crate) fn clear(&self, id: &str) -> ClearAllocationRequest {
        ClearAllocationRequest {
            enterprise_id: self.partner_enterprise.clone(),
            connection_id: self.connection.clone(),
            allocation_id: id.into(),
            partner_external_id: Some("their own id".into()),
            ..Default::default()
        }
    }

    /// A request by which the partner releases a reservation.
    pub(crate) fn release(&self, id: &str) -> ReleaseAllocationRequest {
        ReleaseAllocationRequest {
            enterprise_id: self.partner_enterprise.clone(),
            connection_id: self.connection.clone(),
            allocation_id: id.into(),
            partner_external_id: Some("their own id".into()),
            reason: "not wanted".into(),
            ..Default::default()
        }
    }

    /// A request by which the client cancels a reservation.
    pub(crate) fn cancel(&self, id: &str) -> CancelAllocationRequest {
        CancelAllocationRequest {
            enterprise_id: self.enterprise.clone(),
            allocation_id: id.into(),
            reason: Some("changed our mind".into()),
            ..Default::default()
        }
    }

    /// An item of a submission in this direction.
    pub(crate) fn item(
        &self,
        direction: AllocationType,
        quantity: &str,
        external_id: &str,
    ) -> SubmitItem {
        let allocation = self.allocation("BTC", quantity, external_id);
        SubmitItem {
            r#type: direction.into(),
            connection_id: allocation.connection_id,
            amount: allocation.amount,
            client_external_id: allocation.client_external_id,
            ..Default::default()
        }
    }

    /// A submission of these items.
    pub(crate) fn submission(&self, items: Vec<SubmitItem>) -> SubmitAllocationsRequest {
        SubmitAllocationsRequest {
            enterprise_id: self.enterprise.clone(),
            items,
            validate_only: false,
        }
    }
}
