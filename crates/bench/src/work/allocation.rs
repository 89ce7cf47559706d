//! Calls of AllocationService.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};
use bytes::Bytes;
use earmark::proto::allocation::v1::allocation_service_client::AllocationServiceClient;
use earmark::proto::allocation::v1::{
    AllocationType, ClearAllocationRequest, CreateAllocationRequest, GetAllocationRequest,
    ListClientAllocationsRequest, SubmitAllocationsRequest, SubmitItem,
};
use earmark::proto::common::v1::Amount;
use tonic::Request;
use uuid::Uuid;

use super::tokens::Tokens;
use crate::client::{LoadWork, frame};
use crate::ids;

/// Items of a submission: as many as one call takes.
const ITEMS: u32 = 1_000;

/// `CreateAllocation` of 1 in a random account, with a new key.
pub(crate) struct BenchCreate(pub(crate) Tokens);

impl LoadWork for BenchCreate {
    fn path(&self) -> &'static str {
        "/earmark.allocation.v1.AllocationService/CreateAllocation"
    }

    fn token(&self, connection: usize) -> &str {
        self.0.of(connection)
    }

    fn request(&self, connection: usize, random: &mut fastrand::Rng) -> Bytes {
        let enterprise = self.0.random_enterprise(connection, random);
        frame(&CreateAllocationRequest {
            enterprise_id: text(ids::enterprise(enterprise)),
            connection_id: text(ids::connection(enterprise)),
            amount: one(&self.0, random),
            client_external_id: new_key(random),
            ..Default::default()
        })
    }
}

/// `SubmitAllocations` of 1,000 times 1 in accounts of one owner, with new keys.
pub(crate) struct BenchSubmit(pub(crate) Tokens);

impl LoadWork for BenchSubmit {
    fn path(&self) -> &'static str {
        "/earmark.allocation.v1.AllocationService/SubmitAllocations"
    }

    fn items(&self) -> u32 {
        ITEMS
    }

    fn token(&self, connection: usize) -> &str {
        self.0.of(connection)
    }

    fn request(&self, connection: usize, random: &mut fastrand::Rng) -> Bytes {
        let enterprise = self.0.random_enterprise(connection, random);
        let connection_id = text(ids::connection(enterprise));
        let items = (0..ITEMS).map(|_| SubmitItem {
            r#type: AllocationType::Allocation.into(),
            connection_id: connection_id.clone(),
            amount: one(&self.0, random),
            client_external_id: new_key(random),
            ..Default::default()
        });
        frame(&SubmitAllocationsRequest {
            enterprise_id: text(ids::enterprise(enterprise)),
            items: items.collect(),
            ..Default::default()
        })
    }
}

/// `GetAllocation` of a random seeded record.
pub(crate) struct BenchGet(pub(crate) Tokens);

impl LoadWork for BenchGet {
    fn path(&self) -> &'static str {
        "/earmark.allocation.v1.AllocationService/GetAllocation"
    }

    fn token(&self, connection: usize) -> &str {
        self.0.of(connection)
    }

    fn request(&self, connection: usize, random: &mut fastrand::Rng) -> Bytes {
        let enterprise = self.0.random_enterprise(connection, random);
        let record = random.u32(0..self.0.network.records);
        frame(&GetAllocationRequest {
            enterprise_id: text(ids::enterprise(enterprise)),
            allocation_id: text(ids::allocation(enterprise, record)),
        })
    }
}

/// `ClearAllocation` of the seeded records, each once: the enterprises in turns, the oldest records first.
pub(crate) struct BenchClear {
    tokens: Tokens,
    /// How many were asked for.
    asked: AtomicU32,
}

impl BenchClear {
    /// With tokens of the partner.
    pub(crate) fn new(tokens: Tokens) -> Self {
        Self {
            tokens,
            asked: AtomicU32::new(0),
        }
    }
}

impl LoadWork for BenchClear {
    fn path(&self) -> &'static str {
        "/earmark.allocation.v1.AllocationService/ClearAllocation"
    }

    fn token(&self, connection: usize) -> &str {
        self.tokens.of(connection)
    }

    fn request(&self, _: usize, _: &mut fastrand::Rng) -> Bytes {
        let network = self.tokens.network;
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        // Behind the last one the record does not exist, and the call fails.
        let record = number / network.enterprises;
        let enterprise = network.first + number % network.enterprises;
        frame(&ClearAllocationRequest {
            enterprise_id: text(ids::enterprise(ids::PARTNER_ENTERPRISE)),
            connection_id: text(ids::connection(enterprise)),
            allocation_id: text(ids::allocation(enterprise, record)),
            ..Default::default()
        })
    }
}

/// `ListClientAllocations`, a page of 100 of a random enterprise.
#[derive(Clone)]
pub(crate) struct BenchList {
    pub(crate) tokens: Tokens,
    /// Which page; the first if it is empty. Only a network of one enterprise has one for all requests.
    pub(crate) page_token: String,
}

impl BenchList {
    /// Records of a page.
    pub(crate) const PAGE: u32 = 100;

    pub(crate) fn first_page(tokens: Tokens) -> Self {
        Self {
            tokens,
            page_token: String::new(),
        }
    }

    /// The page with this number, counted from 0, of the network's one enterprise. It is asked for by the token that the
    /// server at this address gives with the page before.
    pub(crate) async fn at_page(self, page: u32, address: SocketAddr) -> Result<Self> {
        let Some(before) = page.checked_sub(1) else {
            return Ok(self);
        };
        let mut request = Request::new(self.ask(self.tokens.network.first, before));
        let token = format!("Bearer {}", self.tokens.of(0)).parse()?;
        request.metadata_mut().insert("authorization", token);
        let mut client = AllocationServiceClient::connect(format!("http://{address}")).await?;
        let answer = client.list_client_allocations(request).await?.into_inner();
        if answer.next_page_token.is_empty() {
            bail!("page {before} is the last one");
        }
        Ok(Self {
            page_token: answer.next_page_token,
            ..self
        })
    }

    /// A request of the page by its token, or else by its number.
    pub(crate) fn ask(&self, enterprise: u32, page_number: u32) -> ListClientAllocationsRequest {
        ListClientAllocationsRequest {
            enterprise_id: text(ids::enterprise(enterprise)),
            page_size: i32::try_from(Self::PAGE).unwrap_or_default(),
            page_number: self
                .page_token
                .is_empty()
                .then(|| i32::try_from(page_number).unwrap_or_default()),
            page_token: self.page_token.clone(),
            ..Default::default()
        }
    }
}

impl LoadWork for BenchList {
    fn path(&self) -> &'static str {
        "/earmark.allocation.v1.AllocationService/ListClientAllocations"
    }

    fn token(&self, connection: usize) -> &str {
        self.tokens.of(connection)
    }

    fn request(&self, connection: usize, random: &mut fastrand::Rng) -> Bytes {
        let enterprise = self.tokens.random_enterprise(connection, random);
        frame(&self.ask(enterprise, 0))
    }
}

/// 1 of a random currency of the network's.
fn one(tokens: &Tokens, random: &mut fastrand::Rng) -> Option<Amount> {
    Some(Amount {
        currency: ids::currency(random.u32(1..=tokens.network.currencies)),
        quantity: "1".into(),
    })
}

fn new_key(random: &mut fastrand::Rng) -> String {
    random.u64(1..=i64::MAX.unsigned_abs()).to_string()
}

fn text(id: Uuid) -> String {
    id.as_hyphenated().to_string()
}
