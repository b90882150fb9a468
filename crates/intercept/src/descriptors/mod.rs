//! Programs' descriptors: the files that they refer to, their holders and their ends.
//!
//! Modules in other folders import only the exports of this file.

pub(crate) mod files;
mod held;
pub(crate) mod holders;
mod locks;
mod table;
mod under_way;

pub(crate) use files::{Files, Target, Watched};
pub(crate) use held::{CheckScope, Given, Held, LockTable};
pub(crate) use locks::{LockCall, Locks, Owner, Record, Refused, Wanted, is_deadlock};
pub(crate) use table::{CLOSES_NOTHING, Closed, Known, Numbers, Table};
pub(crate) use under_way::UnderWay;
