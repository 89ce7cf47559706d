//! The network's statements.

mod lists;
mod reads;
mod rows;
mod writes;

pub(super) use reads::{
    client, connection, connections, enterprise, enterprises, partner, partners,
};
pub(super) use writes::carry_out;
