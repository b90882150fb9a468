//! What tokens and their queue share is made of. `tests/loom.rs` compiles the crate with loom's
//! instead, to try the orders in which threads can meet.

pub(crate) use alloc::sync::Arc;
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
