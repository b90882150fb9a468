//! What threads share is made of. `tests/loom.rs` has loom's instead, to try the orders in which
//! they can meet, and a clock of its own.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::sync::{Condvar, Mutex};
pub(crate) use std::time::Instant;
