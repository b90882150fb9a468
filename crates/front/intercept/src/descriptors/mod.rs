//! Programs' descriptors: the table of known numbers, and searches for the holders and ends of files.

pub(crate) mod files;
mod held;
pub(crate) mod holders;
mod locks;
mod members;
mod numbers;
mod ofd;
pub(crate) mod sets;
mod table;

pub(crate) use held::{CheckScope, Given, Held};
pub(crate) use locks::LockCall;
pub(crate) use members::{CONDITIONS, Cause, EDGES, ERR, HUP, Member, Members, SetId, UNASKED};
pub(crate) use numbers::{Closed, Numbers};
pub(crate) use ofd::LockTable;
pub(crate) use sets::{KnownSets, ObjectsInSets, Sought};
pub(crate) use table::{Table, Target, Watched};
