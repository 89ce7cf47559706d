pub(crate) mod cluster;
pub(crate) mod earmark;
pub(crate) mod process;
pub(crate) mod service;
