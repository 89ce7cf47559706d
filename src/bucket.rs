//! BucketService: prepaid buckets and what is done with their value.

mod convert;
mod model;
mod service;
mod store;

pub use service::BucketService;
