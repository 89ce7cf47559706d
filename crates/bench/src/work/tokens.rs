//! The tokens that calls bear.

use std::time::Duration;

use anyhow::Result;
use earmark::auth::dev_key::{DevClaims, DevKey};

use crate::ids::{self, BenchNetwork};

/// Longer than any run.
pub(crate) const TOKEN_TTL: Duration = Duration::from_secs(4 * 3_600);
/// The enterprises of one token.
const ENTERPRISES_PER_TOKEN: u32 = 50;

/// The tokens of a network, one for each 50 enterprises; each connection bears one.
#[derive(Clone)]
pub(crate) struct Tokens {
    pub(crate) network: BenchNetwork,
    tokens: Vec<String>,
}

impl Tokens {
    pub(crate) fn mint(key: &DevKey, network: BenchNetwork) -> Result<Self> {
        let many = network.enterprises.div_ceil(ENTERPRISES_PER_TOKEN);
        let mint = |token| {
            let claims = DevClaims {
                sub: "bench".into(),
                scope: "settlement_network_read settlement_network_write".into(),
                enterprises: enterprises_of(network, token)
                    .map(ids::enterprise)
                    .collect(),
                ..DevClaims::default()
            };
            key.mint(&claims, TOKEN_TTL)
        };
        let tokens: Result<_, _> = (0..many).map(mint).collect();
        Ok(Self {
            network,
            tokens: tokens?,
        })
    }

    /// One token, of the partner of this network.
    pub(crate) fn mint_for_partner(key: &DevKey, network: BenchNetwork) -> Result<Self> {
        let claims = DevClaims {
            sub: "bench".into(),
            scope: "settlement_network_read settlement_network_write".into(),
            enterprises: vec![ids::enterprise(ids::PARTNER_ENTERPRISE)],
            ..DevClaims::default()
        };
        Ok(Self {
            network,
            tokens: vec![key.mint(&claims, TOKEN_TTL)?],
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) fn of(&self, connection: usize) -> &str {
        &self.tokens[connection % self.tokens.len()]
    }

    /// The number of one that the connection's token is a member of.
    pub(crate) fn random_enterprise(&self, connection: usize, random: &mut fastrand::Rng) -> u32 {
        let token = u32::try_from(connection % self.tokens.len()).unwrap_or_default();
        random.u32(enterprises_of(self.network, token))
    }
}

/// The numbers of a token's enterprises.
fn enterprises_of(network: BenchNetwork, token: u32) -> std::ops::RangeInclusive<u32> {
    let first = network.first + token * ENTERPRISES_PER_TOKEN;
    first..=(first + ENTERPRISES_PER_TOKEN - 1).min(network.last())
}
