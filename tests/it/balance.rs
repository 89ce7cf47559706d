//! BalanceService through a real channel.

mod adjust;
mod list_client;
