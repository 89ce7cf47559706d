mod faults;
mod lanes;
mod migrations;
mod migrations_in_use;
mod roles;
mod session;
mod tls;
