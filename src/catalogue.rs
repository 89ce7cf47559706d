//! CatalogueService: the allocations that companies offer, with prices and texts in many languages.

mod convert;
mod model;
mod service;
mod store;

pub use service::CatalogueService;
