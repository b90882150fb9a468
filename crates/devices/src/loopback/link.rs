//! State shared by the nodes of a loopback: the format, the newest frames, and the readers that still
//! wait for them.

use super::placeholder::{Placeholder, Still};
use crate::streaming::Stamp;
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vb3_queue::{Active, DoneState};
use vb3_v4l2::{Format, Fraction, Peer, Span};

/// Most frames kept for readers.
const FRAMES_MAX: usize = 4;

/// A buffer of the writer with a frame, which the loopback keeps temporarily.
pub(super) struct Loan<C> {
    pub(super) token: Active<C>,
    /// The writer's node, as the readers' nodes name it.
    pub(super) peer: Peer,
    /// Offset of the frame in the buffer, in bytes.
    pub(super) offset: u64,
    pub(super) len: u64,
    /// The result for the writer when it gets the buffer back.
    pub(super) stamp: Stamp,
}

impl<C> Loan<C> {
    /// Returns the frame's bytes; `None` once the device has lost the buffer.
    pub(super) fn span(&self) -> Option<Span<'_, C>> {
        let plane = self.token.plane(0).ok()??;
        Some(Span {
            cookie: &plane.cookie,
            offset: self.offset,
            len: self.len,
        })
    }
}

/// A [`Loan`] for any cookie type, which is the same for all nodes of a loopback.
type AnyLoan = Box<dyn Any + Send>;

/// The location of a frame.
#[derive(Debug)]
pub(super) enum Body {
    /// In the loopback's own memory.
    Own(Vec<u8>),
    /// The placeholder's picture.
    Still(Arc<[u8]>),
    /// In the writer's buffer.
    Lent(AnyLoan),
}

/// A frame as it was written.
#[derive(Debug)]
pub(super) struct Frame {
    /// Counts from 0, over all writers.
    pub(super) number: u64,
    /// As the writer gave it, or the time of writing if it gave no timestamp.
    pub(super) stamp: Stamp,
    pub(super) body: Body,
}

impl Frame {
    pub(super) fn loan<C: 'static>(&self) -> Option<&Loan<C>> {
        match &self.body {
            Body::Own(_) | Body::Still(_) => None,
            Body::Lent(loan) => loan.downcast_ref(),
        }
    }

    /// Returns the bytes of a frame in the loopback's own memory.
    pub(super) fn own(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Own(bytes) => Some(bytes),
            Body::Still(bytes) => Some(bytes),
            Body::Lent(_) => None,
        }
    }
}

/// Returns whether two formats differ in their colours alone.
pub(super) fn has_same_layout(a: &Format, b: &Format) -> bool {
    Format {
        color: a.color,
        ..*b
    } == *a
}

/// A buffer of the writer that a reader has got, since it is also the reader's.
#[derive(Debug)]
struct Given {
    loan: AnyLoan,
    /// The reader that has it; `None` once it has finished with it.
    reader: Option<u32>,
}

/// The shared state.
#[derive(Debug)]
pub(super) struct Shared {
    /// The current format of frames.
    pub(super) format: Format,
    /// Seconds per frame, set by the writer.
    pub(super) interval: Fraction,
    /// The placeholder, if there is one.
    still: Option<Still>,
    /// Whether a writer streams.
    pub(super) is_written: bool,
    /// For each reader with buffers, their number, and the format that they were made for.
    held: BTreeMap<u32, (u32, Format)>,
    /// Oldest first.
    frames: VecDeque<Frame>,
    /// Number of the next frame.
    next: u64,
    /// For each streaming reader, the number of the frame to get next.
    readers: BTreeMap<u32, u64>,
    /// For each reader that copies in pieces, the number of its frame.
    copying: BTreeMap<u32, u64>,
    /// Number of reader nodes so far.
    reader_nodes: u32,
    /// Oldest first.
    given: VecDeque<Given>,
    /// Buffers to return to the writer, with their states.
    back: Vec<(AnyLoan, DoneState)>,
    /// Memory of earlier frames, for reuse.
    spare: Vec<u8>,
}

impl Shared {
    /// Counts a new buffer of a reader. Its first one fixes the reader's format.
    pub(super) fn hold(&mut self, reader: u32) -> Option<()> {
        let (count, _) = self.held.entry(reader).or_insert((0, self.format));
        *count = count.checked_add(1)?;
        Some(())
    }

    /// Uncounts a buffer of a reader.
    pub(super) fn unhold(&mut self, reader: u32) {
        if let Some((count, _)) = self.held.get_mut(&reader) {
            *count = count.saturating_sub(1);
        }
        self.held.retain(|_, (count, _)| *count > 0);
    }

    /// Returns the format of a reader's buffers, if the writer's frames do not fit it any more.
    pub(super) fn outdated(&self, reader: u32) -> Option<Format> {
        let (_, format) = self.held.get(&reader)?;
        (!has_same_layout(format, &self.format)).then_some(*format)
    }

    /// Keeps a frame for readers, and drops the oldest that no reader copies. If the writer is faster
    /// than copying, readers still get some frames.
    pub(super) fn push(&mut self, body: Body, stamp: Stamp) {
        while self.frames.len() >= FRAMES_MAX {
            let is_idle =
                |frame: &Frame| self.copying.values().all(|copied| *copied != frame.number);
            let oldest = self.frames.iter().position(is_idle);
            self.remove(oldest.unwrap_or(0), DoneState::Done);
        }
        self.frames.push_back(Frame {
            number: self.next,
            stamp,
            body,
        });
        self.next = self.next.saturating_add(1);
    }

    /// Forgets a frame.
    pub(super) fn remove(&mut self, at: usize, outcome: DoneState) {
        match self.frames.remove(at).map(|frame| frame.body) {
            Some(Body::Own(bytes)) => self.spare = bytes,
            Some(Body::Lent(loan)) => self.back.push((loan, outcome)),
            Some(Body::Still(_)) | None => {}
        }
    }

    /// Returns memory for a frame of this many bytes.
    pub(super) fn memory(&mut self, len: u64) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.spare);
        // CAST: no longer than an allocated buffer.
        bytes.resize(len as usize, 0);
        bytes
    }

    /// The frames that are kept.
    pub(super) fn frames(&self) -> &VecDeque<Frame> {
        &self.frames
    }

    /// Returns the index of the oldest frame with this number or a later one.
    pub(super) fn from(&self, number: u64) -> Option<usize> {
        self.frames.iter().position(|frame| frame.number >= number)
    }

    /// A name for a reader's node.
    pub(super) fn new_reader(&mut self) -> u32 {
        self.reader_nodes = self.reader_nodes.saturating_add(1);
        self.reader_nodes
    }

    /// Adds a streaming reader. Returns the number of the newest frame kept, or of the next one.
    pub(super) fn join(&mut self, reader: u32) -> u64 {
        let newest = self.frames.back().map_or(self.next, |frame| frame.number);
        self.readers.insert(reader, newest);
        newest
    }

    /// A reader needs no frames before this number any more.
    pub(super) fn follow(&mut self, reader: u32, next: u64) {
        self.readers.insert(reader, next);
    }

    /// A reader streams no longer.
    pub(super) fn leave(&mut self, reader: u32) {
        self.readers.remove(&reader);
        self.copying.remove(&reader);
        for given in &mut self.given {
            given.reader.take_if(|had| *had == reader);
        }
    }

    /// Sets the frame that a reader copies now, or none.
    pub(super) fn note_copying(&mut self, reader: u32, number: Option<u64>) {
        match number {
            Some(number) => self.copying.insert(reader, number),
            None => self.copying.remove(&reader),
        };
    }

    /// Returns whether a reader has copied a part of a frame.
    pub(super) fn is_copied(&self) -> bool {
        !self.copying.is_empty()
    }

    /// Returns whether another reader still needs a frame.
    pub(super) fn is_wanted_beside(&self, reader: u32, number: u64) -> bool {
        let mut others = self.readers.iter().filter(|(other, _)| **other != reader);
        others.any(|(_, next)| *next <= number)
    }

    /// Gives the writer's own buffer to a reader. Other readers get the frame from `copy`, if any.
    pub(super) fn give(&mut self, at: usize, reader: u32, copy: Option<Vec<u8>>) {
        let Some(frame) = self.frames.get_mut(at) else {
            return;
        };
        let body = std::mem::replace(&mut frame.body, Body::Own(copy.unwrap_or_default()));
        if let Body::Lent(loan) = body {
            let reader = Some(reader);
            self.given.push_back(Given { loan, reader });
        }
    }

    /// Ends a reader's use of the writer's buffers that it has queued again, according to `is_back`.
    pub(super) fn reclaim<C: 'static>(
        &mut self,
        reader: u32,
        mut is_back: impl FnMut(&Loan<C>) -> bool,
    ) {
        let of = |given: &&mut Given| given.reader == Some(reader);
        for given in self.given.iter_mut().filter(of) {
            if given.loan.downcast_ref().is_none_or(&mut is_back) {
                given.reader = None;
            }
        }
    }

    /// Returns whether there are buffers of the writer here.
    pub(super) fn has_loans(&self) -> bool {
        let is_lent = |frame: &Frame| matches!(frame.body, Body::Lent(_));
        !self.given.is_empty() || !self.back.is_empty() || self.frames.iter().any(is_lent)
    }

    /// Releases frames that all readers have got and that have a newer one after them, and buffers that
    /// readers have finished with.
    fn release_delivered(&mut self) {
        let next = self.readers.values().min().copied().unwrap_or(u64::MAX);
        while self.frames.len() > 1 && self.frames.front().is_some_and(|f| f.number < next) {
            self.remove(0, DoneState::Done);
        }
        let given = std::mem::take(&mut self.given);
        for given in given {
            match given.reader {
                Some(_) => self.given.push_back(given),
                None => self.back.push((given.loan, DoneState::Done)),
            }
        }
    }

    /// Takes the buffers to return to the writer now, with their states.
    pub(super) fn take_back(&mut self) -> Vec<(AnyLoan, DoneState)> {
        self.release_delivered();
        std::mem::take(&mut self.back)
    }

    /// Returns a buffer that is still needed, since the writer has none.
    ///
    /// It is one that a reader has, or the oldest one. `read` then copies its frame to new memory.
    pub(super) fn relieve<C: 'static>(
        &mut self,
        read: impl FnOnce(&Loan<C>, &mut [u8]) -> bool,
    ) -> Option<(AnyLoan, DoneState)> {
        if let Some(given) = self.given.pop_front() {
            return Some((given.loan, DoneState::Done));
        }
        let at = self.frames.iter().position(|f| f.loan::<C>().is_some())?;
        let len = self.frames.get(at)?.loan::<C>()?.len;
        let mut bytes = self.memory(len);
        let frame = self.frames.get_mut(at)?;
        if !read(frame.loan()?, &mut bytes) {
            self.remove(at, DoneState::Error);
            return self.back.pop();
        }
        match std::mem::replace(&mut frame.body, Body::Own(bytes)) {
            Body::Lent(loan) => Some((loan, DoneState::Done)),
            Body::Own(_) | Body::Still(_) => None,
        }
    }

    /// A writer begins. Later readers do not see the placeholder's frames.
    pub(super) fn begin(&mut self) {
        self.is_written = true;
        self.frames.clear();
    }

    /// Returns whether writers' frames are copied, since the last one is repeated later.
    pub(super) fn keeps_frames(&self) -> bool {
        let still = self.still.as_ref();
        still.is_some_and(|still| still.kind == Placeholder::Hold)
    }

    /// Returns the time of the placeholder's next frame, if there is one instead of a writer.
    pub(super) fn next_still(&self) -> Option<u64> {
        let still = self.still.as_ref().filter(|_| !self.is_written)?;
        still.due(&self.format)
    }

    /// Adds the placeholder's frame if that is due.
    pub(super) fn add_still(&mut self, now_ns: u64) {
        let interval_ns = self.interval.as_nanos().unwrap_or(1).max(1);
        let still = self.still.as_mut().filter(|_| !self.is_written);
        let picture = still.and_then(|still| still.take(&self.format, now_ns, interval_ns));
        if let Some(picture) = picture {
            self.push(Body::Still(picture), Stamp::new(0, now_ns));
        }
    }

    /// The writer has ended. Later readers do not see its frames.
    pub(super) fn end(&mut self) {
        self.is_written = false;
        let last = self.frames.pop_back();
        if let (Some(still), Some(Body::Own(bytes))) = (&mut self.still, last.map(|f| f.body)) {
            still.keep(self.format, bytes);
        }
        self.frames.clear();
        self.given.clear();
        self.back.clear();
        self.spare = Vec::new();
    }
}

/// A loopback's shared state, held by each of its nodes.
#[derive(Clone, Debug)]
pub struct Link(Arc<Mutex<Shared>>);

impl Link {
    /// Makes a loopback without frames, in its initial format.
    pub(super) fn new(
        format: Format,
        interval: Fraction,
        placeholder: Option<Placeholder>,
    ) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            format,
            interval,
            still: placeholder.map(Still::new),
            is_written: false,
            held: BTreeMap::new(),
            frames: VecDeque::new(),
            next: 0,
            readers: BTreeMap::new(),
            copying: BTreeMap::new(),
            reader_nodes: 0,
            given: VecDeque::new(),
            back: Vec::new(),
            spare: Vec::new(),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        // No code panics in the middle of a change, so a poisoned lock guards consistent state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Links are equal if they are the same one.
impl PartialEq for Link {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Link {}
