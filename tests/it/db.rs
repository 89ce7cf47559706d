mod faults;
mod lanes;
mod migrations;
mod roles;
mod session;
mod tls;
