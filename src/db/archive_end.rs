//! The time before which everything is archived: entries, and records that were final.

use diesel::dsl::max;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use chrono::{DateTime, Utc};

use crate::db::pool::Pool;
use crate::db::read;
use crate::db::schema::archived_period;
use crate::error::Result;
use crate::types::ids::{AllocationId, ordered_time};
use crate::types::time::Time;

/// The end of the latest archived period; `None` if nothing is archived. Takes a shared connection, so that it can be sent
/// together with a read.
///
/// A read that found nothing must look here after it, not before: then what was archived in between counts as archived.
///
/// # Errors
/// That of the statement.
pub(crate) async fn find(mut connection: &AsyncPgConnection) -> QueryResult<Option<Time>> {
    let end: Option<DateTime<Utc>> = archived_period::table
        .select(max(archived_period::end_time))
        .first(&mut connection)
        .await?;
    Ok(end.map(Time::from))
}

/// The same by a connection of the pool.
///
/// # Errors
/// The same as those of [`read::one`].
pub(crate) async fn read(pool: &Pool) -> Result<Option<Time>> {
    read::one(pool, async |connection: &mut AsyncPgConnection| {
        find(connection).await
    })
    .await
}

/// The time before which everything is archived, if an allocation with this id that is not on line may be archived too.
/// That depends on the time in its id alone, and so does not tell whether there ever was one.
///
/// # Errors
/// The same as those of [`read`].
pub(crate) async fn covering(pool: &Pool, id: AllocationId) -> Result<Option<Time>> {
    let Some(created_at) = ordered_time(id.0) else {
        return Ok(None);
    };
    let since = read(pool).await?;
    Ok(since.filter(|since| created_at < *since))
}
