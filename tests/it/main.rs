//! Every test that needs the whole of Earmark: one binary, this file is its table of contents.

mod support;

/// AllocationService: create, get, list, submit, verdicts, expiry.
mod allocation;
/// `earmark archive`: sealed periods in files instead of the database.
mod archive;
/// What calls answer for time that is archived.
mod archived;
/// Authorization: which caller may call which RPC, and the order of the checks.
mod authz;
/// BalanceService: adjustments, the lists of both sides, current and past balances, the journal.
mod balance;
/// BucketService: the TMF654 example, lists, actions, concurrent charging.
mod bucket;
/// CasAllocationService: the endpoints of the document, JSON Patch, searches.
mod cas;
/// CatalogueService: the document's example, languages, labels, puts, concurrent readers.
mod catalogue;
/// The binary: settings, exit codes, signals.
mod cli;
/// The client library: a create, a replay, errors, a retry.
mod client;
/// Concurrency in one process and in two: racing verdicts, flags, reads during writes.
mod concurrency;
/// Owners whose row another session has locked.
mod contention;
/// The database layer: sessions, errors, retries, migrations, TLS.
mod db;
/// README.md and `docs/`: their tours, tables and links.
mod docs;
/// The embedded Postgres cluster: start, adoption, supervision.
mod embedded;
/// Every error reason, provoked over a real channel.
mod errors;
/// Faults of network, database and processes: answers stay correct, and other callers are not affected.
mod faults;
/// Idempotency: keys, cancelled calls and deadlines; each write has one effect.
mod idempotency;
/// Log lines: their schema, and what the line of each write says.
mod logs;
/// Metrics: what is served and pushed, what it is called, and what alerts come of it.
mod metrics;
/// Random commands through two processes, compared with a reference model.
mod model;
/// NetworkService: enterprises, clients, partners, connections.
mod network;
/// Pages of every list: by token and by number they add up to the list, however large its records are.
mod pages;
/// The runbook: an entry for each alert and each reason.
mod runbook;
/// The rules of the database schema and of the source tree.
mod schema;
/// `earmark seal`: periods of the journal, hashed once they have ended.
mod seal;
/// The server around the services: layers, health, reflection, shutdown.
mod server;
/// Traces: spans in a collector, and collectors that do not answer.
mod traces;
/// VerifyLedger: sound ledgers, and every way to break one.
mod verify;
