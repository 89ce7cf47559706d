mod faults;
mod lanes;
mod migrations;
mod plans;
mod roles;
mod session;
mod tls;
