//! Buffers of the run and their holders.

use serde::{Deserialize, Serialize};

/// Maximum number of buffers kept one by one; further ones are counted in
/// [`Report::buffers_left_out`](super::Report::buffers_left_out).
pub const MAX_BUFFERS: usize = 1024;

/// Memory that devices and programs share, listed once for all its handles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct BufferReport {
    /// Number of the buffer, as in `vb3 ctl buffers`. Numbers of programs' own memory begin with
    /// `u`.
    pub number: String,
    /// The device node whose queue allocated the buffer; empty for memory of a heap or another
    /// driver.
    pub device: String,
    /// The queue that allocated the buffer.
    pub queue: String,
    /// Buffer index in that queue.
    pub buffer: u32,
    /// Plane index in that buffer.
    pub plane: u32,
    /// Size in bytes.
    pub bytes: u64,
    /// Start address in the process that passed its own memory. Zero for other memory, and if the
    /// devices' clock is not the system's.
    pub address: u64,
    /// Whether the queue released the buffer while another holder kept it.
    pub orphaned: bool,
    /// Whether the memory was revoked while it was held.
    pub revoked: bool,
    /// Holders, in the order of their first use.
    pub holders: Vec<HolderReport>,
    /// Number of holders beyond the limit of the list.
    pub holders_left_out: u64,
}

/// One holder of a buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct HolderReport {
    /// `queue`, `descriptor`, `mapping`, `attachment`, `cpu-mapping` of a driver, `fence`, or
    /// `user-pages` of a process that passed its own memory.
    pub kind: String,
    /// The device node, for an attachment, a fence, or pinned pages of a dma-buf.
    pub device: String,
    /// The process that received the descriptor, made the mapping or owns the pages; else zero.
    pub process: u32,
    /// Name of that process.
    pub name: String,
    /// Longest uninterrupted hold, in nanoseconds of the devices' clock.
    pub longest_ns: u64,
    /// Whether the holder kept the buffer until the run ended.
    pub at_end: bool,
}
