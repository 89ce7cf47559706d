//! Reads of one record by its id.

use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::rows::Row;
use crate::cas::model::CasAllocation;
use crate::db::pg_error::TransactionError;
use crate::db::pool::Pool;
use crate::db::read;
use crate::db::schema::cas_allocation;
use crate::error::Result;
use crate::types::ids::{CasAllocationId, OwnerId};

/// The record with this id, if the firm has one.
pub(in crate::cas) async fn get(
    pool: &Pool,
    firm: OwnerId,
    id: CasAllocationId,
) -> Result<Option<CasAllocation>> {
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        find(connection, firm, id).await
    })
    .await
}

/// The record with this id, read on a connection that the caller holds.
pub(super) async fn find(
    connection: &mut AsyncPgConnection,
    firm: OwnerId,
    id: CasAllocationId,
) -> Result<Option<CasAllocation>, TransactionError> {
    let row: Option<Row> = cas_allocation::table
        .find((firm.0, id.0))
        .select(Row::as_select())
        .first(connection)
        .await
        .optional()?;
    row.map(TryInto::try_into).transpose()
}

/// The version of the record with this id, if the firm has one.
pub(super) async fn find_version(
    connection: &mut AsyncPgConnection,
    firm: OwnerId,
    id: Uuid,
) -> QueryResult<Option<i64>> {
    cas_allocation::table
        .find((firm.0, id))
        .select(cas_allocation::version)
        .first(connection)
        .await
        .optional()
}
