//! One plane's memory: contiguous or vmalloc; allocated, taken from a program, or imported.
//!
//! [`MemOps`] is the seam to the queue above (vb2's `mem_ops`).
#![no_std]
#![forbid(unsafe_code)]

mod memops;

pub use memops::{AllocArgs, ExportAccess, HintSkip, MemOps, PlaneError};
pub use vb3_dma::{Caching, Coherency, Constraint, Direction, Reason};
