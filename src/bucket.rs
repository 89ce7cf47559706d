//! BucketService: prepaid buckets, and the actions that move their value.

mod convert;
mod model;
mod service;
mod store;

pub use service::BucketService;
