//! The SQL of the service's reads: each is one statement, and so sees one moment.
//!
//! Every read takes the database's clock (`CLOCK`), or the one that it was given: by it buckets and reserves expire. With
//! what is shown, a read returns the buckets of which an open reserve had expired.

mod actions;
mod buckets;
mod columns;

pub(super) use actions::{action, actions};
pub(super) use buckets::{accumulated, bucket, buckets};
