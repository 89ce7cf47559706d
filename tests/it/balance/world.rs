//! Enterprises on both sides of several connections, and random movements between them.

use earmark::proto::allocation::v1::{
    Allocation, AllocationStatus, CancelAllocationRequest, ClearAllocationRequest,
    CreateAllocationRequest, CreateDeallocationRequest, ReleaseAllocationRequest,
};
use earmark::proto::balance::v1::{
    AdjustBalanceRequest, BalanceView, GetBalanceRequest, GetBalanceResponse, ListEntriesRequest,
    ListEntriesResponse,
};
use earmark::proto::common::v1::Amount;
use earmark::proto::network::v1::{ConnectionMode, CreateConnectionRequest};
use tonic::{Code, Status};

use crate::support::earmark::{Clients, Earmark};
use crate::support::random::Random;

pub(super) const CURRENCIES: [&str; 3] = ["BTC", "ETH", "a.b:C-d_9"];

/// A connection between two enterprises.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) id: String,
    pub(super) client_enterprise: String,
    pub(super) client: String,
    pub(super) partner_enterprise: String,
    pub(super) partner: String,
    pub(super) partners_id: String,
}

/// A buyer that is also a venue, a second buyer, and a venue with two partners.
pub(super) struct World {
    pub(super) earmark: Earmark,
    pub(super) all: Clients,
    /// Client of three connections, partner of one.
    pub(super) buyer: String,
    /// Client of two connections.
    pub(super) rival: String,
    /// Partner of four connections.
    pub(super) venue: String,
    /// All connections in the order of creation.
    pub(super) connections: Vec<Connection>,
    open: Vec<(usize, String)>,
    made: usize,
}

impl World {
    pub(super) async fn make() -> Self {
        let earmark = Earmark::start().await;
        let buyer = earmark.enterprise("Buyer").await.id;
        let rival = earmark.enterprise("Rival").await.id;
        let venue = earmark.enterprise("Venue").await.id;
        let buyers = earmark.client(&buyer).await;
        let rivals = earmark.client(&rival).await;
        let spot = earmark.partner(&venue, "spot").await;
        let futures = earmark.partner(&venue, "futures").await;
        let desk = earmark.partner(&buyer, "desk").await;
        let (confirmed, instant) = (ConnectionMode::Confirmed, ConnectionMode::Instant);
        let mut connections = Vec::new();
        for (client_enterprise, client, partner_enterprise, partner, partners_id, mode) in [
            (&buyer, &buyers, &venue, &spot, "S-1", confirmed),
            (&rival, &rivals, &venue, &spot, "S-2", confirmed),
            (&buyer, &buyers, &venue, &futures, "S-1", instant),
            (&rival, &rivals, &buyer, &desk, "D-1", confirmed),
            (&buyer, &buyers, &venue, &futures, "", confirmed),
        ] {
            let request = CreateConnectionRequest {
                client_id: client.clone(),
                partner_id: partner.clone(),
                name: format!("Connection {}", connections.len()),
                partners_connection_id: partners_id.into(),
                mode: mode.into(),
                ..Default::default()
            };
            let created = earmark.admin().network.create_connection(request).await;
            connections.push(Connection {
                id: created
                    .expect("created")
                    .into_inner()
                    .connection
                    .expect("set")
                    .id,
                client_enterprise: client_enterprise.clone(),
                client: client.clone(),
                partner_enterprise: partner_enterprise.clone(),
                partner: partner.clone(),
                partners_id: partners_id.into(),
            });
        }
        let all = earmark.member(&[&buyer, &rival, &venue]);
        Self {
            earmark,
            all,
            buyer,
            rival,
            venue,
            connections,
            open: Vec::new(),
            made: 0,
        }
    }

    /// A number that no record has yet.
    fn fresh(&mut self) -> String {
        self.made += 1;
        format!("x-{}", self.made)
    }

    /// Makes one random call of a client or partner; an insufficient balance is a valid answer.
    pub(super) async fn step(&mut self, random: &mut Random) {
        let at = random.number(0..self.connections.len());
        let currency = CURRENCIES[random.number(0..CURRENCIES.len())];
        let quantity = random.number(1..60).to_string();
        match random.number(0..10) {
            0 | 1 => {
                let enterprise = self.connections[at].client_enterprise.clone();
                let sign = if random.one_in(4) { "-" } else { "" };
                self.adjust(&enterprise, currency, &format!("{sign}{quantity}"))
                    .await;
            }
            2..=4 => self.create(at, currency, &quantity, false).await,
            5 | 6 => self.create(at, currency, &quantity, true).await,
            _ => self.close(random).await,
        }
    }

    /// Deposits or withdraws custody if there is enough.
    pub(super) async fn adjust(&mut self, enterprise: &str, currency: &str, quantity: &str) {
        let request = AdjustBalanceRequest {
            enterprise_id: enterprise.into(),
            currency: currency.into(),
            quantity: quantity.into(),
            external_id: self.fresh(),
            reason: "by chance".into(),
            validate_only: false,
        };
        let mut admin = self.earmark.admin().balance;
        let adjusted = admin.adjust_balance(request).await;
        enough(adjusted.map(|_| ()));
    }

    /// Allocates or deallocates if there is enough.
    pub(super) async fn create(&mut self, at: usize, currency: &str, quantity: &str, back: bool) {
        let connection = self.connections[at].clone();
        let request = CreateAllocationRequest {
            enterprise_id: connection.client_enterprise,
            connection_id: connection.id,
            amount: Some(Amount {
                currency: currency.into(),
                quantity: quantity.into(),
            }),
            client_external_id: self.fresh(),
            ..Default::default()
        };
        let rpc = &mut self.all.allocation;
        let created: Result<Allocation, Status> = if back {
            let request = CreateDeallocationRequest {
                enterprise_id: request.enterprise_id,
                connection_id: request.connection_id,
                amount: request.amount,
                client_external_id: request.client_external_id,
                ..Default::default()
            };
            let created = rpc.create_deallocation(request).await;
            created.map(|created| created.into_inner().allocation.expect("set"))
        } else {
            let created = rpc.create_allocation(request).await;
            created.map(|created| created.into_inner().allocation.expect("set"))
        };
        if let Some(created) = enough(created)
            && created.status() == AllocationStatus::Reserved
        {
            self.open.push((at, created.id));
        }
    }

    /// Clears, releases or cancels one that is open.
    pub(super) async fn close(&mut self, random: &mut Random) {
        if self.open.is_empty() {
            return;
        }
        let (at, id) = self.open.swap_remove(random.number(0..self.open.len()));
        let connection = self.connections[at].clone();
        let rpc = &mut self.all.allocation;
        let (enterprise_id, connection_id) = (connection.partner_enterprise, connection.id);
        match random.number(0..3) {
            0 => {
                let request = ClearAllocationRequest {
                    enterprise_id,
                    connection_id,
                    allocation_id: id,
                    ..Default::default()
                };
                rpc.clear_allocation(request).await.expect("cleared");
            }
            1 => {
                let request = ReleaseAllocationRequest {
                    enterprise_id,
                    connection_id,
                    allocation_id: id,
                    reason: "by chance".into(),
                    ..Default::default()
                };
                rpc.release_allocation(request).await.expect("released");
            }
            _ => {
                let request = CancelAllocationRequest {
                    enterprise_id: connection.client_enterprise,
                    allocation_id: id,
                    ..Default::default()
                };
                rpc.cancel_allocation(request).await.expect("cancelled");
            }
        }
    }

    /// A balance that must be there.
    pub(super) async fn get(&self, request: GetBalanceRequest) -> GetBalanceResponse {
        let mut rpc = self.all.balance.clone();
        let got = rpc.get_balance(request.clone()).await;
        got.unwrap_or_else(|status| panic!("{request:?}: {status:?}"))
            .into_inner()
    }

    /// A page of the journal.
    pub(super) async fn entries(&self, request: ListEntriesRequest) -> ListEntriesResponse {
        let mut rpc = self.all.balance.clone();
        let listed = rpc.list_entries(request.clone()).await;
        listed
            .unwrap_or_else(|status| panic!("{request:?}: {status:?}"))
            .into_inner()
    }

    /// Every view of an account: enterprise and connection.
    pub(super) fn views(&self) -> Vec<(String, Option<String>)> {
        let custody = [&self.buyer, &self.rival].map(|client| (client.clone(), None));
        let sides = self.connections.iter().flat_map(|connection| {
            [
                &connection.client_enterprise,
                &connection.partner_enterprise,
            ]
            .map(|enterprise| (enterprise.clone(), Some(connection.id.clone())))
        });
        custody.into_iter().chain(sides).collect()
    }
}

/// What was done, unless there was too little.
fn enough<T>(result: Result<T, Status>) -> Option<T> {
    match result {
        Ok(done) => Some(done),
        Err(status) => {
            assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
            None
        }
    }
}

/// A request for a balance as it stands.
/// A request for a balance with its reservations.
pub(super) fn get(enterprise: &str, connection: Option<&str>, currency: &str) -> GetBalanceRequest {
    GetBalanceRequest {
        enterprise_id: enterprise.into(),
        connection_id: connection.map(Into::into),
        currency: currency.into(),
        view: BalanceView::WithReservations.into(),
        page_size: 1_000,
        ..Default::default()
    }
}

/// A request for the whole journal.
pub(super) fn journal(enterprise: &str) -> ListEntriesRequest {
    ListEntriesRequest {
        enterprise_id: enterprise.into(),
        ..Default::default()
    }
}
