//! CatalogueService: what companies offer, at which prices, in many languages.

mod convert;
pub mod model;
mod service;
mod store;

pub use service::CatalogueService;
