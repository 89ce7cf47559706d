//! Why the ledger's statements fail.

/// The result of a statement.
pub(in crate::ledger) type PgResult<T> = Result<T, tokio_postgres::Error>;

/// Why a statement of the ledger could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Postgres refused the statement, or the connection was lost.
    #[error(transparent)]
    Postgres(#[from] tokio_postgres::Error),
    /// A stored value is none that this version writes.
    #[error("{0}")]
    Corrupt(&'static str),
    /// A statement wrote another number of rows than it was sent.
    #[error("{written} rows of `{table}` were written, not {sent}")]
    RowCount {
        /// The table that the statement writes.
        table: &'static str,
        /// The number of rows that were sent.
        sent: usize,
        /// The number of rows that Postgres reports as written.
        written: u64,
    },
}
