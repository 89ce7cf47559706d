//! One binary for all tests through a real channel; a folder a service.

mod server;
