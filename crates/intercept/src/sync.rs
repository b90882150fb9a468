//! What threads share without a lock is made of. `tests/loom.rs` has loom's instead, to try the
//! orders in which they can meet.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
