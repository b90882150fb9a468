//! Programs' descriptors: the table of known numbers, and searches for the holders and ends of files.

pub(crate) mod files;
mod held;
pub(crate) mod holders;
mod locks;
mod ofd;
mod table;

pub(crate) use held::{CheckScope, Given, Held};
pub(crate) use locks::LockCall;
pub(crate) use ofd::LockTable;
pub(crate) use table::{Closed, Known, Numbers, Table, Target, Watched};
