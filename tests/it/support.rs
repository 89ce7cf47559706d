pub(crate) mod chance;
pub(crate) mod cluster;
pub(crate) mod earmark;
pub(crate) mod ledger;
pub(crate) mod locks;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod service;
