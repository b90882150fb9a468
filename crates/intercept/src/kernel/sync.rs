//! The synchronisation types of shared data. `tests/loom.rs` replaces them with loom's, and the
//! clock with its own, to try all interleavings.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
pub(crate) use std::sync::{Condvar, Mutex};
pub(crate) use std::time::Instant;
