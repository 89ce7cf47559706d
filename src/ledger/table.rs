//! One description per table: each column's name and SQL type, and the value of the record that it stores.
//!
//! A description makes the texts of SELECT, `INSERT … unnest` and UPDATE, the arrays that these statements take, and the
//! decoding of rows. Positions follow from the description, so that a column may be added anywhere in it. All rows of a
//! batch go through one statement per table, whose arrays hold one element for each row.

pub(in crate::ledger) mod description;
pub(in crate::ledger) mod statements;
pub(in crate::ledger) mod values;
