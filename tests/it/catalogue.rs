//! CatalogueService, RPC by RPC and rule by rule.

mod arguments;
mod example;
mod languages;
mod list;
mod puts;
mod readers;
