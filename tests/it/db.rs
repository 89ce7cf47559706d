mod faults;
mod migrations;
mod roles;
mod session;
mod tls;
