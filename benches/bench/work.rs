//! What the load client asks for.

use bytes::Bytes;
use earmark::proto::allocation::v1::{CreateAllocationRequest, GetAllocationRequest};
use earmark::proto::common::v1::Amount;
use uuid::Uuid;

use crate::client::{Work, frame};
use crate::ids::{self, Network};

/// The enterprises of one token.
pub(crate) const ENTERPRISES_PER_TOKEN: u32 = 50;

/// The enterprises, counted from 1, whose token a connection bears.
pub(crate) fn enterprises_of(network: Network, token: u32) -> std::ops::RangeInclusive<u32> {
    let first = token * ENTERPRISES_PER_TOKEN + 1;
    first..=(first + ENTERPRISES_PER_TOKEN - 1).min(network.enterprises)
}

/// How many tokens it takes to be a member of every enterprise.
pub(crate) fn tokens_needed(network: Network) -> u32 {
    network.enterprises.div_ceil(ENTERPRISES_PER_TOKEN)
}

/// The tokens of a network, one for each 50 enterprises; each connection bears one.
pub(crate) struct Tokens {
    pub(crate) network: Network,
    pub(crate) tokens: Vec<String>,
}

impl Tokens {
    fn of(&self, connection: usize) -> &str {
        &self.tokens[connection % self.tokens.len()]
    }

    fn random_enterprise(&self, connection: usize, random: &mut fastrand::Rng) -> u32 {
        let token = u32::try_from(connection % self.tokens.len()).unwrap_or_default();
        random.u32(enterprises_of(self.network, token))
    }
}

/// `CreateAllocation` of 1 in a random account, with a new key.
pub(crate) struct Create(pub(crate) Tokens);

impl Work for Create {
    fn path(&self) -> &'static str {
        "/earmark.allocation.v1.AllocationService/CreateAllocation"
    }

    fn writes(&self) -> bool {
        true
    }

    fn token(&self, connection: usize) -> &str {
        self.0.of(connection)
    }

    fn request(&self, connection: usize, random: &mut fastrand::Rng) -> Bytes {
        let enterprise = self.0.random_enterprise(connection, random);
        let key = random.u64(1..=i64::MAX.unsigned_abs());
        frame(&CreateAllocationRequest {
            enterprise_id: text(ids::enterprise(enterprise)),
            connection_id: text(ids::connection(enterprise)),
            amount: Some(Amount {
                currency: ids::currency(random.u32(1..=self.0.network.currencies)),
                quantity: "1".into(),
            }),
            client_external_id: key.to_string(),
            ..Default::default()
        })
    }
}

/// `GetAllocation` of a random seeded record.
pub(crate) struct Get(pub(crate) Tokens);

impl Work for Get {
    fn path(&self) -> &'static str {
        "/earmark.allocation.v1.AllocationService/GetAllocation"
    }

    fn writes(&self) -> bool {
        false
    }

    fn token(&self, connection: usize) -> &str {
        self.0.of(connection)
    }

    fn request(&self, connection: usize, random: &mut fastrand::Rng) -> Bytes {
        let enterprise = self.0.random_enterprise(connection, random);
        let record = random.u32(0..self.0.network.records_each());
        frame(&GetAllocationRequest {
            enterprise_id: text(ids::enterprise(enterprise)),
            allocation_id: text(ids::allocation(enterprise, record)),
        })
    }
}

fn text(id: Uuid) -> String {
    id.as_hyphenated().to_string()
}
