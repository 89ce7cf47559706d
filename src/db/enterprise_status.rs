//! Which OES calls an enterprise may make: the look-up that every read of the OES services begins with.

use chrono::{DateTime, Utc};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::db::schema::{client, enterprise, partner};
use crate::error::{Error, Result};
use crate::types::ids::{ClientId, EnterpriseId};
use crate::types::time::Time;

diesel::define_sql_function! {
    /// The database's clock at the start of the statement.
    fn statement_timestamp() -> Timestamptz;
}

/// What decides which OES calls an enterprise may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EnterpriseStatus {
    /// Whether it may use the OES services.
    pub(crate) licensed: bool,
    /// Its client, if it has one.
    pub(crate) client: Option<ClientId>,
    /// Whether it has at least one partner.
    pub(crate) has_partner: bool,
    /// The database's clock when the read began: reservations that had expired by then are released before they are shown.
    pub(crate) clock: Time,
}

/// Looks an enterprise up; takes a shared connection, so that it can be sent together with the read itself.
pub(crate) async fn find(
    mut connection: &AsyncPgConnection,
    id: EnterpriseId,
) -> QueryResult<Option<EnterpriseStatus>> {
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
    Ok(
        row.map(|(licensed, client, has_partner, clock)| EnterpriseStatus {
            licensed,
            client: client.map(ClientId),
            has_partner,
            clock: clock.into(),
        }),
    )
}

/// Refuses an enterprise that does not exist (`None`), and one without licence.
///
/// # Errors
/// [`Error::EnterpriseNotFound`] for the first, [`Error::NoOesLicense`] for the second.
pub(crate) fn require_license(licensed: Option<bool>, id: EnterpriseId) -> Result<()> {
    match licensed {
        Some(true) => Ok(()),
        Some(false) => Err(Error::NoOesLicense),
        None => Err(Error::EnterpriseNotFound(id)),
    }
}

/// Refuses an enterprise that was not found, and one without licence.
///
/// # Errors
/// [`Error::EnterpriseNotFound`] for the first, [`Error::NoOesLicense`] for the second.
pub(crate) fn require_licensed(
    status: Option<EnterpriseStatus>,
    id: EnterpriseId,
) -> Result<EnterpriseStatus> {
    require_license(status.map(|status| status.licensed), id)?;
    status.ok_or(Error::EnterpriseNotFound(id))
}

/// Refuses what [`require_licensed`] does, and an enterprise without a client.
///
/// # Errors
/// Those of [`require_licensed`]; [`Error::ClientNotFound`].
pub(crate) fn require_client(
    status: Option<EnterpriseStatus>,
    id: EnterpriseId,
) -> Result<ClientId> {
    require_licensed(status, id)?
        .client
        .ok_or(Error::ClientNotFound(None))
}

/// Refuses what [`require_licensed`] does, and an enterprise without a partner.
///
/// # Errors
/// Those of [`require_licensed`]; [`Error::PartnerAccessDenied`].
pub(crate) fn require_partner(
    status: Option<EnterpriseStatus>,
    id: EnterpriseId,
) -> Result<EnterpriseStatus> {
    require_licensed(status, id)?;
    require_partner_side(status, id)
}

/// Refuses an enterprise that was not found, and one without a partner. Whether it has a licence does not matter.
///
/// # Errors
/// [`Error::EnterpriseNotFound`] for the first, [`Error::PartnerAccessDenied`] for the second.
pub(crate) fn require_partner_side(
    status: Option<EnterpriseStatus>,
    id: EnterpriseId,
) -> Result<EnterpriseStatus> {
    let status = status.ok_or(Error::EnterpriseNotFound(id))?;
    if status.has_partner {
        Ok(status)
    } else {
        Err(Error::PartnerAccessDenied)
    }
}
