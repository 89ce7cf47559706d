//! What every command of the network implements, and the ids of the records that they create.

use std::future::Future;

use uuid::Uuid;

use crate::db::keyed_write::{KeyedWrite, WriteAnswer};
use crate::db::pg_error::TransactionError;
use crate::types::ids::ordered_id;
use crate::types::time::Time;

/// A command that creates or changes one record.
pub(in crate::network) trait NetworkCommand: Send + Sync + 'static {
    /// The record that the command creates or changes.
    type Record: Send + 'static;

    /// Checks the command in the contract's order of precedence, and then stores it unless it is only to be validated.
    fn run(
        &self,
        write: &mut KeyedWrite<'_>,
    ) -> impl Future<Output = Result<WriteAnswer<Self::Record>, TransactionError>> + Send;
}

/// A new id. Ids sort by the microsecond of their creation, so lists in the order of ids are in that of creation.
pub(super) fn new_id(now: Time) -> Uuid {
    let (_, random) = Uuid::new_v4().as_u64_pair();
    ordered_id(now, random.to_be_bytes())
}
