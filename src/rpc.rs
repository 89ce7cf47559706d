//! What all services share at the edge.

pub mod call;
pub mod page_token;
pub mod paging;
pub mod read;
pub mod status;
