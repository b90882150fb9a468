//! Who has held which buffer over the run.

use serde::{Deserialize, Serialize};

/// Most buffers kept one by one; further ones are counted in
/// [`Report::buffers_left_out`](super::Report::buffers_left_out).
pub const MAX_BUFFERS: usize = 1024;

/// One memory that devices and programs share, under whatever handles they have of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BufferReport {
    /// Its number, as in `vb3 ctl buffers`; that of a program's own memory begins with `u`.
    pub number: String,
    /// The device node whose queue allocated it; empty for memory of a heap or of another driver.
    pub device: String,
    /// That queue.
    pub queue: String,
    /// Buffer index there.
    pub buffer: u32,
    /// Plane index there.
    pub plane: u32,
    /// Bytes.
    pub bytes: u64,
    /// Where it begins in the process that gave its own memory; else zero, as where the devices' time is
    /// not the system's.
    pub address: u64,
    /// It lived on after its queue had let go of it, because somebody else held it.
    pub orphaned: bool,
    /// It was taken back while it was held.
    pub revoked: bool,
    /// Who held it, in the order in which they came.
    pub holders: Vec<HolderReport>,
    /// Holders beyond those that are kept.
    pub holders_left_out: u64,
}

/// One holder of a buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HolderReport {
    /// `queue`, `descriptor`, `mapping`, `attachment`, `cpu-mapping` of a driver, `fence`, or
    /// `user-pages` of a process that gave its own memory.
    pub kind: String,
    /// The device node, of an attachment, of a fence, and of a device that pinned pages of a dma-buf.
    pub device: String,
    /// The process that was given a descriptor, made a mapping, or whose pages these are; else zero.
    pub process: u32,
    /// That process's name.
    pub name: String,
    /// Longest time that it held the buffer without a break, in nanoseconds of the devices' clock.
    pub longest_ns: u64,
    /// Whether it held it when the run ended.
    pub at_end: bool,
}
