mod faults;
mod lanes;
mod migrations;
mod migrations_in_use;
mod pooler;
mod roles;
mod session;
mod tls;
