//! Buckets as a kind of the ledger's records.

use tokio_postgres::{Client, Row};

use crate::ledger::account::OwnerKind;
use crate::ledger::books::Books;
use crate::ledger::bucket::model::Buckets;
use crate::ledger::bucket::records::{BucketChanges, BucketRecords};
use crate::ledger::bucket::statements::{BucketKey, BucketReads, BucketRows, BucketStatements};
use crate::ledger::bucket::{reserve, statements, verification};
use crate::ledger::kind::{DueQuery, Kind, KindState, RecordProof};
use crate::ledger::store_error::{PgResult, StoreError};
use crate::ledger::verification::Verification;
use crate::types::ids::OwnerId;

impl Kind for Buckets {
    const OWNER: OwnerKind = OwnerKind::Bucket;
    const DUE_OWNERS: Option<&'static str> = Some(statements::DUE_OWNERS);
    const VERIFICATION: Verification = verification::VERIFICATION;

    type Statements = BucketStatements;
    type ReadSet = BucketReads;
    type Rows = BucketRows;
    type Records = BucketRecords;
    type Context = ();
    type Changes<'a> = BucketChanges<'a>;

    async fn prepare(client: &Client) -> PgResult<Self::Statements> {
        BucketStatements::prepare(client).await
    }

    fn add_owner_reads(owner: OwnerId, read_set: &mut Self::ReadSet) {
        // The bucket and its accounts.
        read_set.buckets.insert(BucketKey { owner });
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
        reserve::release_due(books, state);
    }

    fn changes(state: &KindState<Self>) -> Self::Changes<'_> {
        BucketChanges::of(state)
    }

    async fn write(
        statements: &Self::Statements,
        client: &Client,
        changes: &Self::Changes<'_>,
    ) -> Result<(), StoreError> {
        statements.write(client, changes).await
    }

    fn proof(changes: &Self::Changes<'_>) -> Option<RecordProof> {
        changes.proof()
    }

    async fn find_proof(
        statements: &Self::Statements,
        client: &Client,
        proof: RecordProof,
    ) -> PgResult<bool> {
        statements.find_proof(client, proof).await
    }
}
