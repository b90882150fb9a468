//! Programs' descriptors: one table of them, and what only the kernel knows: their holders and ends.
//!
//! Modules in other folders import only the exports of this file.

pub(crate) mod files;
mod held;
pub(crate) mod holders;
mod locks;
mod table;

pub(crate) use held::{CheckScope, Given, Held, LockTable};
pub(crate) use locks::{LockCall, Owner, Wanted, is_deadlock};
pub(crate) use table::{CLOSES_NOTHING, Closed, Known, Numbers, Table, Target, Watched};
