//! Who has held which buffer over the run.

use serde::{Deserialize, Serialize};

/// Most buffers kept one by one; further ones are counted in
/// [`Report::buffers_left_out`](super::Report::buffers_left_out).
pub const MAX_BUFFERS: usize = 1024;

/// One memory that devices and programs share, under whatever handles they have of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BufferReport {
    /// Its number, as in `vb3 ctl buffers`.
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
    /// `queue`, `descriptor`, `mapping`, `attachment`, `cpu-mapping` of a driver, or `fence`.
    pub kind: String,
    /// The device node, of an attachment and of a fence.
    pub device: String,
    /// The process that was given a descriptor or made a mapping; else zero.
    pub process: u32,
    /// That process's name.
    pub name: String,
    /// Longest time that it held the buffer without a break, in nanoseconds of the devices' clock.
    pub longest_ns: u64,
    /// Whether it held it when the run ended.
    pub at_end: bool,
}
