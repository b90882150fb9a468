//! The synchronisation types of shared data. `tests/loom.rs` replaces these types with loom's, and the
//! clock with a simulated one, to try all interleavings.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::sync::{Condvar, Mutex};
pub(crate) use std::time::Instant;
