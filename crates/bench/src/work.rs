//! What the load client asks for.

mod allocation;
mod bucket;
mod lists;
mod tokens;

pub(crate) use self::allocation::{BenchClear, BenchCreate, BenchGet, BenchList, BenchSubmit};
pub(crate) use self::bucket::{BenchDeduct, BenchReserve};
pub(crate) use self::lists::{ListBuckets, ListCatalogue, SearchDeal};
pub(crate) use self::tokens::{TOKEN_TTL, Tokens};
