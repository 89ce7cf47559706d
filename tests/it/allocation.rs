//! AllocationService through a real channel.

mod create;
