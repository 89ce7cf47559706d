//! The tables that all kinds share.

use crate::ledger::account::{Account, Entry};
use crate::ledger::books::AccountChange;
use crate::ledger::kind::AccountName;
use crate::ledger::table::description::columns;

columns!(AccountName {
    owner: ["owner_id"];
    key: ["account_id", "unit"];
});

columns!(Account {
    owner: ["owner_id"];
    key: ["account_id", "unit"];
    balance: ["available", "held", "version", "reservation_count"];
});

columns!(AccountChange {
    account: { nested };
    stored_version: ["stored_version"];
});

columns!(Entry {
    owner: ["owner_id"];
    key: ["account_id", "unit"];
    available_delta: ["available_delta"];
    held_delta: ["held_delta"];
    after: ["available", "held", "version", "reservation_count"];
    cause: ["cause"];
    cause_id: ["cause_id"];
    time: ["time"];
});
