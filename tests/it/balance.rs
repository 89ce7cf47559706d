//! BalanceService over a real channel.

mod adjust;
mod archived;
mod entries;
mod get;
mod list_client;
mod list_partner;
mod past;
mod plans;
mod statements;
mod world;
