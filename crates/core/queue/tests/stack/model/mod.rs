//! A model of the rules: who holds each buffer and memory, and which bytes CPU and devices see.
//!
//! Cached memory has two views if caches are not coherent: the CPU's and the devices'. A bounced mapping has
//! a view of its own. A view is one number (a stamp), because each write fills the whole memory.

mod calls;
mod compare;
mod memory;

use crate::lab::{SLOTS, Setup};
use std::collections::{BTreeMap, VecDeque};
use vb3_dma::BounceMode;
use vb3_machine::Profile;
use vb3_machine::profile::PAGE_SIZE;
use vb3_queue::{HintSkip, Memory};

const READS: u8 = 1;
const WRITES: u8 = 2;
const MAX: u32 = 32;

/// Returns the access of the device at a side: a camera writes, a display reads.
fn device(side: usize) -> u8 {
    [WRITES, READS][side]
}

/// Returns the direction for a driver's CPU access, as if it were a device's: the opposite of `device`.
fn by_cpu(side: usize) -> u8 {
    [READS, WRITES][side]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Coherent,
    NonCoherent,
    Virtual,
}

#[derive(Debug)]
struct Mem {
    side: usize,
    kind: Kind,
    cpu: u32,
    /// The CPU's stamp at the last sync.
    synced: u32,
    dev: u32,
    /// Whether a device wrote, and no sync for the CPU followed.
    unread: bool,
    queue: bool,
    bufs: usize,
    maps: usize,
    /// Number of places in the list of attachments. `free` lists those that are vacant again.
    places: usize,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Buf {
    mem: u32,
    refs: usize,
}

/// A dma-buf attached to the device at a side.
#[derive(Debug, Default)]
struct Import {
    planes: usize,
    /// Place in the memory's list of attachments. Syncs renew bounced copies in this order.
    place: usize,
    mapped: bool,
    /// The stamp of the bounced copy, which the device sees.
    slot: u32,
    maybe_written: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BufferHolder {
    Program,
    Queue,
    Device,
    Done { error: bool, last: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Nothing,
    Own(u32),
    /// A slot of the program, and the stamp that the device sees.
    User(usize, u32),
    Buf(u32),
}

#[derive(Debug)]
struct Buffer {
    place: BufferHolder,
    prepared: bool,
    synced: bool,
    hints: HintSkip,
    holds: Holds,
}

#[derive(Debug, Default)]
struct Stream {
    memory: Option<Memory>,
    noncoherent: bool,
    buffers: BTreeMap<u32, Buffer>,
    waiting: Vec<u32>,
    done: VecDeque<u32>,
    streaming: bool,
    started: bool,
    error: bool,
    /// Whether the program has dequeued the last buffer of CAPTURE.
    ended: bool,
    sleeper: bool,
    idle: bool,
}

impl Stream {
    fn reset_memory_if_idle(&mut self) {
        if self.buffers.is_empty() && !self.streaming {
            self.memory = None;
            self.noncoherent = false;
        }
    }

    fn out(&self) -> usize {
        let out = |b: &&Buffer| b.place != BufferHolder::Program;
        self.buffers.values().filter(out).count()
    }
}

#[derive(Debug)]
pub(crate) struct Model {
    setup: Setup,
    coherent: bool,
    private: bool,
    iommu: bool,
    /// Whether the IOMMU can map single pages, of which a program's memory consists.
    shows_pages: bool,
    least: [usize; 2],
    streams: [Stream; 2],
    mems: BTreeMap<u32, Mem>,
    bufs: BTreeMap<u32, Buf>,
    imports: BTreeMap<(usize, u32), Import>,
    slots: [u32; SLOTS],
    /// The dma-bufs that the program holds, in the lab's order. `maps` lists its mappings of memory or
    /// dma-bufs.
    held: Vec<u32>,
    maps: Vec<(u32, Option<u32>)>,
    next: u32,
}

impl Model {
    pub(crate) fn new(setup: Setup) -> Self {
        let profile = Profile::builtin(setup.machine).expect("built in");
        assert_ne!(profile.bounce.mode, BounceMode::Always);
        Self {
            setup,
            coherent: profile.coherent,
            private: profile.private_memory,
            iommu: profile.iommu.is_some(),
            shows_pages: profile
                .iommu
                .is_some_and(|iommu| iommu.granule() == PAGE_SIZE),
            least: [2, 0],
            streams: Default::default(),
            mems: BTreeMap::new(),
            bufs: BTreeMap::new(),
            imports: BTreeMap::new(),
            slots: [0; SLOTS],
            held: Vec::new(),
            maps: Vec::new(),
            next: 1,
        }
    }
}
