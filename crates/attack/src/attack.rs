//! What an attack is, and what it is aimed at.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One way to use more of a server than is due to one caller.
pub(crate) trait Attack {
    /// The name on the command line and in tables.
    fn name(&self) -> &'static str;

    /// Whether its calls have a token that is accepted. The server then logs each of them, for whoever audits them, and
    /// the size of its log is not judged.
    fn has_token(&self) -> bool {
        true
    }

    /// Attacks until the future is dropped. It returns only if the attack cannot be carried out at all; refusals
    /// and closed connections are no errors.
    fn run<'t>(&'t self, target: &'t AttackTarget) -> LocalBoxFuture<'t, Result<()>>;
}

/// The server that is attacked, and what an attacker has there.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct AttackTarget {
    pub(crate) address: SocketAddr,
    /// The loopback address that the attacker's connections come from.
    pub(crate) source: Ipv4Addr,
    /// The server's database, for attacks that need an outage of a part of it.
    pub(crate) database_url: String,
    /// A token with all scopes of services on the attacker's own enterprise, tenant and firm.
    pub(crate) token: String,
    pub(crate) enterprise: Uuid,
    pub(crate) connection: Uuid,
}
