//! Every test that needs the whole of Earmark: one binary, this file is its table of contents.

mod support;

/// Allocations: create, get, list.
mod allocation;
/// Who may call what, and which check answers first.
mod authz;
/// Balances: adjust; lists of both sides, single ones now and then, the journal.
mod balance;
/// Buckets: the source's example, lists, actions, charging at the same time.
mod bucket;
/// CAS allocations: the document's endpoints, patches, searches.
mod cas;
/// Catalogues: the source's example, languages, labels, puts; readers beside writers.
mod catalogue;
/// The binary: settings, exit codes, signals.
mod cli;
/// The client library: a create, a replay, errors, a retry.
mod client;
/// Many at once, in one process and in two: verdicts that race, flags that bind, reads beside writers.
mod concurrency;
/// An owner that another session holds.
mod contention;
/// What the services rely on: sessions, faults, retries, migrations.
mod db;
/// The development cluster: started, adopted, kept alive.
mod embedded;
/// Every reason of an error, provoked.
mod errors;
/// What goes wrong around the ledger: network, database, processes. Every answer is true, and nobody else pays.
mod faults;
/// Keys, callers that leave, deadlines: each write has one effect.
mod idempotency;
/// Random commands through two processes, held against a reference.
mod model;
/// NetworkService: who may hold balances.
mod network;
/// README.md: its tour, its tables.
mod readme;
/// The rules of the schema and of the source tree.
mod schema;
/// What stands around every service: layers, health, the way down.
mod server;
/// Verification: clean ledgers, and every way of breaking one.
mod verify;
