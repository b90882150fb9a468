//! Types of the state that tokens share with their queue. `tests/loom.rs` compiles the crate with
//! loom's types instead, to check the possible orders of threads.

pub(crate) use alloc::sync::Arc;
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
