//! Looks at a database for `earmark doctor`: at its server, settings, tables and sessions, and at what is due. Nothing is
//! changed, and nothing is read whose cost grows with the tables.

pub(crate) mod activity;
pub(crate) mod look;
pub(crate) mod partitions;
pub(crate) mod replication;
pub(crate) mod reservations;
pub(crate) mod server;
pub(crate) mod settings;
pub(crate) mod tables;
pub(crate) mod url;
