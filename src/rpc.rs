//! What all services share between tonic and their own code: calls and answers, arguments, pages, errors.

pub mod call;
pub(crate) mod describe;
pub(crate) mod list_filter;
pub mod page_token;
pub(crate) mod paging;
pub(crate) mod read;
pub(crate) mod request_scan;
pub(crate) mod status;
