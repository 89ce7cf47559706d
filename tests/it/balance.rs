//! BalanceService through a real channel.

mod adjust;
mod get;
mod list_client;
mod list_partner;
mod past;
mod world;
