//! `Arc` and atomics for the state that a queue shares with its `Active` tokens. `tests/loom.rs` compiles
//! the crate with loom's types instead, to check the possible orders of threads.

pub(crate) use alloc::sync::Arc;
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
