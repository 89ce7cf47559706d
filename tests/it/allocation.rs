//! AllocationService over a real channel.

mod create;
mod expiry;
mod get;
mod list;
mod partner_list;
mod plans;
mod submit;
mod verdicts;
