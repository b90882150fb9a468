//! A display card and its program: what the screen shows, and what comes next.

use std::collections::VecDeque;
use vb3_frontend::{FileId, Map, NodeId};

/// The card, and the program that shows pictures on it. The colour of a picture is its number.
#[derive(Debug)]
pub(crate) struct Screen {
    pub(crate) node: NodeId,
    pub(crate) client: Option<Client>,
    /// Number of pictures that the screen has shown.
    pub(crate) seen: u64,
    /// Colours that the screen shows next, in this order.
    pub(crate) next: VecDeque<u32>,
    /// Whether the screen may become black, since its program is gone.
    pub(crate) may_be_black: bool,
    pub(crate) last_sequence: Option<u32>,
}

/// The program's open card.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) program: u32,
    pub(crate) file: FileId,
    pub(crate) crtc: u32,
    pub(crate) buffers: Vec<Buffer>,
    /// The buffer on the screen, and the flip that has not come yet.
    pub(crate) shown: usize,
    pub(crate) flip: Option<Flip>,
}

#[derive(Debug)]
pub(crate) struct Buffer {
    /// Zero once the program has closed the handle.
    pub(crate) handle: u32,
    pub(crate) fb: u32,
    pub(crate) map: Map,
    /// A fence that ends when the screen no longer shows the buffer: its file and descriptor.
    pub(crate) fence: Option<(FileId, i32)>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Flip {
    pub(crate) buffer: usize,
    pub(crate) color: u32,
    pub(crate) asked_ns: u64,
}

impl Screen {
    pub(crate) fn new(node: NodeId) -> Self {
        Self {
            node,
            client: None,
            seen: 0,
            next: VecDeque::new(),
            may_be_black: true,
            last_sequence: None,
        }
    }
}
