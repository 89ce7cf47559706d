mod faults;
mod migrations;
mod session;
