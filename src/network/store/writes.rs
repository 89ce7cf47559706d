//! The writes: each command is checked under the locks of its owners, then stored and answered.

mod command;
mod connections;
mod enterprises;
mod sides;

use diesel_async::AsyncPgConnection;

use self::command::NetworkCommand;
use crate::db::keyed_write::{KeyedWrite, WriteAnswer};
use crate::db::pg_error::TransactionError;
use crate::db::pool::Pool;
use crate::db::write::{self, Transaction};
use crate::error::Result;
use crate::ledger::claim::Claim;
use crate::network::model::NetworkWrite;

/// Carries a command out; with `validate_only` checks it on a read-only snapshot and stores nothing.
pub(in crate::network) async fn carry_out<C: NetworkCommand>(
    pool: &Pool,
    claim: &Claim,
    write: NetworkWrite<C>,
) -> Result<WriteAnswer<C::Record>> {
    let (claim, validate_only) = (claim.clone(), write.validate_only);
    let transaction = NetworkTransaction(write);
    write::carry_out(pool, move || claim.take(), validate_only, transaction).await
}

struct NetworkTransaction<C>(NetworkWrite<C>);

impl<C: NetworkCommand> Transaction for NetworkTransaction<C> {
    type Output = WriteAnswer<C::Record>;

    async fn run(
        &self,
        connection: &mut AsyncPgConnection,
    ) -> Result<Self::Output, TransactionError> {
        let NetworkWrite {
            command,
            key,
            validate_only,
        } = &self.0;
        let mut write = KeyedWrite::new(connection, key.as_ref(), *validate_only);
        command.run(&mut write).await
    }
}
