//! Who may read which records, and what lists look for.

use crate::auth::caller::Caller;
use crate::auth::scope::Scope;
use crate::error::Result;
use crate::types::ids::{ClientId, ConnectionId, EnterpriseId, PartnerId};

/// The records that a read may show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NetworkViewer {
    /// All records: the token has the scope `network-admin`.
    Admin,
    /// Records with a side in one of these enterprises.
    Member(Vec<EnterpriseId>),
}

impl NetworkViewer {
    /// The records that the bearer of a token may see.
    ///
    /// # Errors
    /// `NotAMember` if the token has no claim `enterprises`, `ClaimInvalid` if that is malformed.
    pub(crate) fn of(caller: &Caller) -> Result<Self> {
        if caller.has(Scope::NetworkAdmin) {
            return Ok(Self::Admin);
        }
        let enterprises = caller.require_enterprises()?;
        Ok(Self::Member(enterprises.to_vec()))
    }
}

/// The filters of `ListPartners` and `ListConnections`; an empty one matches everything.
///
/// The filters on connections must hold for one connection together: a partner matches if one of its connections
/// matches all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkFilter {
    pub(crate) connection_ids: Vec<ConnectionId>,
    pub(crate) client_ids: Vec<ClientId>,
    pub(crate) partner_ids: Vec<PartnerId>,
    pub(crate) partners_connection_ids: Vec<String>,
    /// Names of the records that are listed: of partners or of connections.
    pub(crate) names: Vec<String>,
    pub(crate) active: Option<bool>,
}
