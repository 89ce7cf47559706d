//! BalanceService through a real channel.

mod get;
mod list_partner;
mod past;
mod world;
