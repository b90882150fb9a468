//! The reference model: the files, queues and buffers that are expected.

use crate::api::{Kind, Model};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use vb3_frontend::{CallId, FileId, NodeId, Tag};

/// A device node of the simulated run, with records of the pictures that were written to it.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) number: u32,
    pub(crate) name: String,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) present: bool,
    /// Checksums of the pictures that were written to the node; a loopback's reader delivers only these.
    pub(crate) written: BTreeSet<u32>,
    /// Whether a picture was written whose bytes the model does not know.
    pub(crate) unknown: bool,
    /// For a loopback's reader: the node whose pictures it delivers.
    pub(crate) writer: Option<usize>,
    /// The media device for the node's requests.
    pub(crate) media: Option<NodeId>,
}

impl Node {
    /// Returns whether each of the node's files has queues of both directions.
    pub(crate) fn is_mem2mem(&self) -> bool {
        let has = |output| self.kinds.iter().any(|kind| kind.output == output);
        has(false) && has(true)
    }

    pub(crate) fn is_camera(&self) -> bool {
        self.name == "camera"
    }

    /// Returns whether the device may refuse the contents of its OUTPUT buffers.
    pub(crate) fn is_decoder(&self) -> bool {
        self.name.contains("dec")
    }

    /// Returns whether the node's OUTPUT buffers need media requests.
    pub(crate) fn is_stateless(&self) -> bool {
        self.name.ends_with("stateless")
    }
}

/// The party that has a buffer.
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
    /// Bytes of a picture in the format with which the buffer was made.
    pub(crate) least: u32,
    /// The model's number of the buffer's memory; zero if the buffer has no memory yet.
    pub(crate) memory: u64,
    /// The memory's generation when the buffer was queued.
    pub(crate) generation: u64,
    /// `bytesused` that the program gave when it queued the buffer.
    pub(crate) used: u32,
    /// The descriptor of the queued dma-buf; -1 for none.
    pub(crate) fd: i32,
    /// The slot with the queued user memory; zero for none.
    pub(crate) slot: u32,
    /// The buffer's timestamp. A memory-to-memory device copies it, so that a result names its input.
    pub(crate) time_us: i64,
    /// The descriptor of the request with which the buffer was queued; zero for none.
    pub(crate) request: i32,
}

/// The known bytes at the beginning of a memory: their checksum and their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) sum: u32,
    pub(crate) len: u32,
    /// The pixel format in which the bytes were written.
    pub(crate) pixel: u32,
}

/// An input of a memory-to-memory device: an OUTPUT buffer, until its CAPTURE buffer is dequeued.
#[derive(Debug)]
pub(crate) struct Input {
    /// The memory that the device may still read; zero once the program has it back.
    pub(crate) memory: u64,
    /// The input's bytes, if the model knows them.
    pub(crate) content: Option<Content>,
}

/// A picture's width, height, pixel format, and length in bytes.
pub(crate) type Picture = (u32, u32, u32, u32);

/// A queue: the index of its file, and its own index in this file.
pub(crate) type At = (usize, usize);

/// A queue of a file.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) kind: Kind,
    pub(crate) model: Option<Model>,
    pub(crate) cached: bool,
    pub(crate) buffers: BTreeMap<u32, Buffer>,
    pub(crate) streaming: bool,
    /// When the queue began to stream.
    pub(crate) began_ns: u64,
    pub(crate) last: Option<(u32, i64)>,
    pub(crate) picture: Picture,
    /// Whether a program found no finished buffer in the queue, and has not been woken since.
    pub(crate) waits: bool,
    /// The call of a thread that waits in DQBUF.
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
        self.at(BufferHolder::Queue).len()
    }

    pub(crate) fn holder(&self, index: u32) -> Option<BufferHolder> {
        self.buffers.get(&index).map(|buffer| buffer.place)
    }

    /// Records that the stream has stopped, and the program has all buffers back.
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
    /// Whether the file's device was unplugged.
    pub(crate) dead: bool,
    pub(crate) queues: Vec<Queue>,
    /// Inputs of a memory-to-memory device that have no result yet, by their timestamps.
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
    /// Number of times that a writer got the memory so far.
    pub(crate) generation: u64,
    /// The memory's first bytes, if the model knows them.
    pub(crate) content: Option<Content>,
    /// Number of queues that may write to the memory now.
    pub(crate) writers: u32,
    /// Whether a device has ever written to the memory. A simulated machine finds dirty cache lines by
    /// comparing bytes. So if a program writes the bytes that are there already, their lines look clean.
    pub(crate) is_device_written: bool,
    /// OUTPUT nodes that have the memory queued.
    pub(crate) readers: BTreeSet<usize>,
}
