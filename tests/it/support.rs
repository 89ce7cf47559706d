pub(crate) mod chance;
pub(crate) mod cluster;
pub(crate) mod desk;
pub(crate) mod earmark;
pub(crate) mod locks;
pub(crate) mod picture;
pub(crate) mod raw;
pub(crate) mod service;
