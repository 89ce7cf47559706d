//! What lies in the databases before anything is measured: large tables are filled by COPY, and their indexes are built
//! afterwards.

pub(crate) mod bucket;
pub(crate) mod lists;
mod loader;
mod network;

pub(crate) use self::network::seed as network;
