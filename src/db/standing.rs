//! What an enterprise may do: the one look-up that every read of the OES services begins with.

use chrono::{DateTime, Utc};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::db::due::statement_timestamp;
use crate::db::schema::{client, enterprise, partner};
use crate::error::{Error, Result};
use crate::types::ids::{ClientId, EnterpriseId};
use crate::types::time::Time;

/// An enterprise as its own calls see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it may use the OES services.
    pub licensed: bool,
    /// Its client, if it has one.
    pub client: Option<ClientId>,
    /// Whether it holds any partner.
    pub has_partner: bool,
    /// The database's clock when the read began: what was due then is released before it is shown.
    pub clock: Time,
}

/// Looks an enterprise up; takes a shared connection, so that it can be sent together with the read itself.
pub async fn find(
    mut connection: &AsyncPgConnection,
    id: EnterpriseId,
) -> QueryResult<Option<Standing>> {
    let row: Option<(bool, Option<Uuid>, bool, DateTime<Utc>)> = enterprise::table
        .left_join(client::table.on(client::enterprise_id.eq(enterprise::id)))
        .filter(enterprise::id.eq(id.0))
        .select((
            enterprise::oes_licensed,
            client::id.nullable(),
            exists(partner::table.filter(partner::enterprise_id.eq(enterprise::id))),
            statement_timestamp(),
        ))
        .first(&mut connection)
        .await
        .optional()?;
    Ok(row.map(|(licensed, client, has_partner, clock)| Standing {
        licensed,
        client: client.map(ClientId),
        has_partner,
        clock: clock.into(),
    }))
}

/// Refuses an enterprise that does not exist, and one without licence.
///
/// # Errors
/// [`Error::EnterpriseNotFound`], [`Error::NoOesLicense`].
pub fn require_license(licensed: Option<bool>, id: EnterpriseId) -> Result<()> {
    match licensed {
        Some(true) => Ok(()),
        Some(false) => Err(Error::NoOesLicense),
        None => Err(Error::EnterpriseNotFound(id)),
    }
}

/// The same for one whose standing is known.
///
/// # Errors
/// [`Error::EnterpriseNotFound`], [`Error::NoOesLicense`].
pub fn require_licensed(standing: Option<Standing>, id: EnterpriseId) -> Result<Standing> {
    require_license(standing.map(|standing| standing.licensed), id)?;
    standing.ok_or(Error::EnterpriseNotFound(id))
}

/// The same, and refuses an enterprise without a client.
///
/// # Errors
/// [`Error::EnterpriseNotFound`], [`Error::NoOesLicense`], [`Error::ClientNotFound`].
pub fn require_client(standing: Option<Standing>, id: EnterpriseId) -> Result<ClientId> {
    require_licensed(standing, id)?
        .client
        .ok_or(Error::ClientNotFound(None))
}

/// The same, and refuses an enterprise without a partner.
///
/// # Errors
/// [`Error::EnterpriseNotFound`], [`Error::NoOesLicense`], [`Error::PartnerAccessDenied`].
pub fn require_partner(standing: Option<Standing>, id: EnterpriseId) -> Result<Standing> {
    let standing = require_licensed(standing, id)?;
    if standing.has_partner {
        Ok(standing)
    } else {
        Err(Error::PartnerAccessDenied)
    }
}
