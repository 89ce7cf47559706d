//! Allocations as a kind of the ledger's records.

use tokio_postgres::{Client, Row};

use crate::ledger::account::OwnerKind;
use crate::ledger::books::Books;
use crate::ledger::kind::{DueQuery, Kind, KindState};
use crate::ledger::oes::model::OesRecords;
use crate::ledger::oes::records::{AllocationChanges, AllocationRecords, Partners};
use crate::ledger::oes::statements::{AllocationReads, AllocationRows, AllocationStatements};
use crate::ledger::oes::{release_due, statements, verification};
use crate::ledger::store_error::{PgResult, StoreError};
use crate::ledger::verification::Verification;

impl Kind for OesRecords {
    const OWNER: OwnerKind = OwnerKind::Enterprise;
    const DUE_OWNERS: Option<&'static str> = Some(statements::DUE_OWNERS);
    const VERIFICATION: Verification = verification::VERIFICATION;

    type Statements = AllocationStatements;
    type ReadSet = AllocationReads;
    type Rows = AllocationRows;
    type Records = AllocationRecords;
    type Context = Partners;
    type Changes<'a> = AllocationChanges<'a>;

    async fn prepare(client: &Client) -> PgResult<Self::Statements> {
        AllocationStatements::prepare(client).await
    }

    async fn read(
        statements: &Self::Statements,
        client: &Client,
        read_set: &Self::ReadSet,
    ) -> PgResult<Self::Rows> {
        statements.read(client, read_set).await
    }

    fn load(
        rows: &Self::Rows,
        books: &mut Books,
        state: &mut KindState<Self>,
    ) -> Result<(), StoreError> {
        rows.load(books, state)
    }

    async fn read_due(
        statements: &Self::Statements,
        client: &Client,
        due: &DueQuery,
    ) -> PgResult<Vec<Row>> {
        statements.read_due(client, due).await
    }

    fn load_due(
        rows: &[Row],
        share: usize,
        books: &mut Books,
        state: &mut KindState<Self>,
    ) -> Result<(), StoreError> {
        statements::load_due(rows, share, books, state)
    }

    fn release_due(books: &mut Books, state: &mut KindState<Self>) {
        release_due::release_due(books, state);
    }

    fn changes(state: &KindState<Self>) -> Self::Changes<'_> {
        AllocationChanges::of(state)
    }

    async fn write(
        statements: &Self::Statements,
        client: &Client,
        changes: &Self::Changes<'_>,
    ) -> Result<(), StoreError> {
        statements.write(client, changes).await
    }
}
