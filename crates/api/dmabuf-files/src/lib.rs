#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod dma_buf;
mod heap;
mod request;
mod sync_file;
pub mod sys;
#[cfg(test)]
mod tests;
mod timeline;
mod udmabuf;

pub use dma_buf::{DmaBufRequest, usage_of_access};
pub use heap::Allocate;
pub use request::{FileKind, Shown, arguments, asks, name, results};
pub use sync_file::{FenceFact, Info, Merge, NAME_BYTES, SyncFileRequest};
pub use timeline::TimelineRequest;
pub use udmabuf::{Create, Item};
