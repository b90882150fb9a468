//! What programs' descriptors name, who holds them, and how their ends are learnt.
//!
//! Other rooms import what this file exports, and nothing behind it.

pub(crate) mod files;
mod held;
pub(crate) mod holders;
mod locks;
mod table;
mod under_way;

pub(crate) use files::{Files, Target, Watched};
pub(crate) use held::{Given, Held, LockTable, Look};
pub(crate) use locks::{LockCall, Locks, Owner, Record, Refused, Wanted, is_deadlock};
pub(crate) use table::{CLOSES_NOTHING, Closed, Known, Numbers, Table};
pub(crate) use under_way::UnderWay;
