//! AllocationService through a real channel.

mod create;
mod get;
mod list;
mod submit;
mod verdicts;
