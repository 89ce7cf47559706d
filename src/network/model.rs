//! The records of the network, the commands that change them, and who may read them.

mod command;
mod record;
mod viewer;

pub(super) use command::{
    CreateClient, CreateConnection, CreateEnterprise, CreatePartner, NetworkCommandContent,
    UpdateClient, UpdateConnection, UpdateEnterprise, UpdatePartner, key_owner,
};
pub(super) use record::{
    NetworkClient, NetworkConnection, NetworkDirection, NetworkEnterprise, NetworkMode,
    NetworkPartner, NetworkTimes,
};
pub(super) use viewer::{NetworkFilter, NetworkViewer};
