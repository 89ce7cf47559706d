//! Every test that needs the whole of Earmark: one binary, this file is its table of contents.

mod support;

/// Allocations: create, get, list.
mod allocation;
/// Balances: lists of both sides, single ones now and then, the journal.
mod balance;
/// The binary: settings, exit codes, signals.
mod cli;
/// What the services rely on: sessions, faults, retries, migrations.
mod db;
/// The development cluster: started, adopted, kept alive.
mod embedded;
/// NetworkService: who may hold balances.
mod network;
/// What stands around every service: layers, health, the way down.
mod server;
