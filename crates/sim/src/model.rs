//! The reference model: expected files, queues and buffers.

use crate::api::{Kind, Model};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use vb3_host::{CallId, FileId, NodeId, Tag};

/// A node, as the simulation found it at the start.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) present: bool,
    /// Checksums of what was written to it; a loopback's reader delivers only these.
    pub(crate) written: BTreeSet<u32>,
    /// Something was written whose bytes the model does not know.
    pub(crate) unknown: bool,
    /// The node whose writes this one delivers.
    pub(crate) writer: Option<usize>,
    /// Its media device, for requests.
    pub(crate) media: Option<NodeId>,
}

impl Node {
    /// Whether each of its files has queues of both directions.
    pub(crate) fn is_mem2mem(&self) -> bool {
        let has = |output| self.kinds.iter().any(|kind| kind.output == output);
        has(false) && has(true)
    }

    /// Whether it may refuse what a program gives it.
    pub(crate) fn is_decoder(&self) -> bool {
        self.name.contains("dec")
    }

    /// Whether its OUTPUT buffers need media requests.
    pub(crate) fn is_stateless(&self) -> bool {
        self.name.ends_with("stateless")
    }
}

/// The holder of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BufferHolder {
    Program,
    Prepared,
    Queue,
}

/// A buffer of a queue.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    pub(crate) place: BufferHolder,
    /// The model's number of its memory; zero if it has none yet.
    pub(crate) memory: u64,
    /// The memory's generation when it was queued.
    pub(crate) generation: u64,
    /// Bytes that the program said it had written when it handed the buffer over.
    pub(crate) used: u32,
    /// The queued dma-buf's descriptor; -1 for none.
    pub(crate) fd: i32,
    /// The slot of the queued user memory; zero for none.
    pub(crate) slot: u32,
    /// Its timestamp, by which a memory-to-memory device's result names its input.
    pub(crate) time_us: i64,
    /// Descriptor of the request that it was queued by; zero for none.
    pub(crate) request: i32,
}

/// The known bytes at the beginning of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) sum: u32,
    pub(crate) len: u32,
    /// The pixel format that it was written in.
    pub(crate) pixel: u32,
}

/// An OUTPUT buffer of a memory-to-memory file, until its CAPTURE buffer is dequeued.
#[derive(Debug)]
pub(crate) struct Input {
    /// The memory that the device may still read; zero once the program has it back.
    pub(crate) memory: u64,
    /// Its bytes, where the model knows them.
    pub(crate) content: Option<Content>,
}

/// A picture's width, height, pixel format, and length in bytes.
pub(crate) type Picture = (u32, u32, u32, u32);

/// A queue of a file.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) kind: Kind,
    pub(crate) model: Option<Model>,
    pub(crate) cached: bool,
    pub(crate) buffers: BTreeMap<u32, Buffer>,
    pub(crate) streaming: bool,
    /// When it began to stream.
    pub(crate) began_ns: u64,
    pub(crate) last: Option<(u32, i64)>,
    pub(crate) picture: Picture,
    /// A program found nothing there, and has not been woken since.
    pub(crate) waits: bool,
    /// A thread waits in DQBUF.
    pub(crate) blocked: Option<CallId>,
    /// Number of buffers that DQBUF has returned.
    pub(crate) taken: u32,
}

impl Queue {
    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            model: None,
            cached: false,
            buffers: BTreeMap::new(),
            streaming: false,
            began_ns: 0,
            last: None,
            picture: (0, 0, 0, 0),
            waits: false,
            blocked: None,
            taken: 0,
        }
    }

    pub(crate) fn queued(&self) -> usize {
        let all = self.buffers.values();
        all.filter(|buffer| buffer.place == BufferHolder::Queue)
            .count()
    }

    /// The stream has stopped: the program has all buffers.
    pub(crate) fn stop(&mut self) {
        for buffer in self.buffers.values_mut() {
            buffer.place = BufferHolder::Program;
        }
        self.streaming = false;
        self.last = None;
    }

    pub(crate) fn at(&self, place: BufferHolder) -> Vec<u32> {
        let all = self.buffers.iter();
        let all = all.filter(|(_, buffer)| buffer.place == place);
        all.map(|(index, _)| *index).collect()
    }
}

/// An open file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) id: FileId,
    pub(crate) node: usize,
    pub(crate) program: u32,
    /// Its device has gone since.
    pub(crate) dead: bool,
    pub(crate) queues: Vec<Queue>,
    /// Inputs of a memory-to-memory device without a result yet, by their time.
    pub(crate) inputs: BTreeMap<i64, Input>,
}

/// A mapping of a buffer by a program.
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) fd: OwnedFd,
    pub(crate) offset: u64,
    pub(crate) tag: Tag,
    pub(crate) memory: u64,
    pub(crate) program: u32,
}

/// The expected state of a memory.
#[derive(Debug, Default)]
pub(crate) struct ModelMemory {
    /// Grows with each writer.
    pub(crate) generation: u64,
    /// Its first bytes, where the model knows them.
    pub(crate) content: Option<Content>,
    /// Queues that may write to it now.
    pub(crate) writers: u32,
    /// Whether a device ever wrote to it. If a program then writes the same bytes as before, its cache
    /// lines look clean: a simulated machine finds dirty lines by their bytes.
    pub(crate) is_device_written: bool,
    /// Output nodes that have it queued.
    pub(crate) readers: BTreeSet<usize>,
}
