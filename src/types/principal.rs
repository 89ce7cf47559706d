//! The principal: in whose name a call uses what all callers share.

use std::net::{IpAddr, Ipv6Addr};

use crate::types::ids::{CompanyId, EnterpriseId, OwnerId, TenantId};

/// Whose share a call uses of what is scarce: calls in progress, connections to the database, memory for messages.
///
/// It is the enterprise, firm, company or tenant that the request names, once the bearer's membership is judged, and not
/// the token: many tokens of one enterprise have one share, and a token with many enterprises one for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// The enterprise whose accounts, or whose network, the request names.
    Enterprise(EnterpriseId),
    /// The firm of the token, by the owner of its records.
    Firm(OwnerId),
    /// The company whose catalogue the request names.
    Company(CompanyId),
    /// The tenant of the token.
    Tenant(TenantId),
    /// All bearers of the scope `network-admin` together, where the request names no enterprise of theirs.
    Admin,
    /// The address of the peer, as long as nothing better is known. See [`Principal::of_peer`].
    Peer(IpAddr),
    /// The server itself, on behalf of nobody.
    Server,
}

impl Principal {
    /// The principal of a connection's peer: its IPv4 address, or the first 64 bits of its IPv6 address, since a single
    /// host has all addresses that share them.
    pub fn of_peer(address: IpAddr) -> Self {
        Self::Peer(match address.to_canonical() {
            IpAddr::V6(v6) => {
                let network = u128::from(v6) & !u128::from(u64::MAX);
                IpAddr::V6(Ipv6Addr::from(network))
            }
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_one_principal_under_all_its_addresses() {
        let of = |text: &str| Principal::of_peer(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }
}
