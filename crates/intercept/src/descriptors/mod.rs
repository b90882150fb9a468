//! What programs' descriptors name, who holds them, and how their ends are learnt.
//!
//! Other rooms import what this file exports, and nothing behind it.

mod closing;
pub(crate) mod files;
mod held;
pub(crate) mod holders;
mod kept;
mod locks;
mod under_way;

pub(crate) use closing::{CLOSES_NOTHING, Closed, Closes, Closing, Closings};
pub(crate) use files::{Files, Target, Watched};
pub(crate) use held::{Given, Held, LockTable, Look};
pub(crate) use kept::{Kept, Known};
pub(crate) use locks::{LockCall, Locks, Owner, Record, Refused, Wanted, is_deadlock};
pub(crate) use under_way::UnderWay;
