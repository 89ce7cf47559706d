pub(crate) mod cluster;
pub(crate) mod service;
