mod faults;
mod migrations;
mod session;
mod tls;
