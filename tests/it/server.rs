//! The server around the services: layers, health, reflection, drain. The services are fakes.

mod access_log;
mod connections;
mod drain;
mod errors;
mod health;
mod health_port;
mod keys;
mod order;
mod reflection;
mod running;
mod scopes;
mod sharing;
mod tls;
mod tls_reload;
