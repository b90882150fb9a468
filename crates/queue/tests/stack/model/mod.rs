//! What must be, by the rules alone: who has each buffer, who holds each memory, and which bytes
//! the CPU and the device see in it.
//!
//! Memory has two views, the CPU's and the devices', where caches are not coherent and the memory
//! is cached; a bounced mapping has a view of its own. A view is a stamp: whoever writes, writes
//! all of it.

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

/// What the device at a side does with memory: a camera writes, a display reads.
fn device(side: usize) -> u8 {
    [WRITES, READS][side]
}

/// The CPU's access that a driver's work amounts to, as a direction of a device.
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
    /// What the CPU saw at the last sync.
    synced: u32,
    dev: u32,
    /// A device wrote, and no sync for the CPU followed.
    unread: bool,
    queue: bool,
    bufs: usize,
    maps: usize,
    /// Places in the list of attachments: how many there were, and those that are free again.
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
    /// Where it stands in the memory's list: copies are brought up to date in that order.
    place: usize,
    mapped: bool,
    /// A bounced copy: what the device sees.
    slot: u32,
    maybe_written: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BufferHolder {
    Program,
    Queue,
    Device,
    Done(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Nothing,
    Own(u32),
    /// A slot of the program, and what the device sees of it.
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
    /// Whether the IOMMU can show single pages, of which memory of programs is made.
    shows_pages: bool,
    least: [usize; 2],
    streams: [Stream; 2],
    mems: BTreeMap<u32, Mem>,
    bufs: BTreeMap<u32, Buf>,
    imports: BTreeMap<(usize, u32), Import>,
    slots: [u32; SLOTS],
    /// What the program holds, in the lab's order: dma-bufs, and mappings of memory or of bufs.
    held: Vec<u32>,
    maps: Vec<(u32, Option<u32>)>,
    next: u32,
}

impl Model {
    pub(crate) fn new(setup: Setup) -> Self {
        let profile = Profile::builtin(setup.machine).expect("built in");
        assert_ne!(profile.bounce, BounceMode::Always);
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
