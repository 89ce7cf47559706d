//! The writes: each command is checked under the locks of its owners, then stored.

mod common;
mod connections;
mod enterprises;
mod sides;

use crate::db::pool::Pool;
use crate::db::record_write::{self, RecordCommand, RecordWrite, WrittenRecord};
use crate::error::Result;
use crate::ledger::claim::Claim;

/// Executes a command; with `validate_only` checks it on a read-only snapshot and stores nothing.
pub(in crate::network) async fn carry_out<C: RecordCommand>(
    pool: &Pool,
    claim: &Claim,
    write: RecordWrite<C>,
) -> Result<WrittenRecord<C::Record>> {
    let claim = claim.clone();
    record_write::execute(pool, move || claim.take(), write).await
}
