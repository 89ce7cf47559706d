//! The statements on the tables of the network.

mod lists;
mod reads;
mod rows;
mod writes;

pub(super) use reads::{
    client, connection, connections, enterprise, enterprises, partner, partners,
};
pub(super) use writes::carry_out;
