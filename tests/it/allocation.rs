//! AllocationService over a real channel.

mod create;
mod expiry;
mod get;
mod licenses;
mod list;
mod messages;
mod partner_list;
mod plans;
mod submit;
mod update_window;
mod verdicts;
