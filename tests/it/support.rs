pub(crate) mod cluster;
