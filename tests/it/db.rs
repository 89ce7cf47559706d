mod faults;
mod lanes;
mod migrations;
mod session;
mod tls;
