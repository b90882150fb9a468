//! Programs' memory: copies for a call.

mod copies;
mod gather;
mod range;

pub(crate) use copies::{Copier, CopyMethod};
pub(crate) use gather::{Foreign, Gathered, Ready};
pub(crate) use range::{maps_file, user_range};
