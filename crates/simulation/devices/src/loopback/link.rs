//! State shared by the nodes of a loopback: the format, the newest frames, and the readers that still
//! wait for them.

use super::fill::Fill;
use super::state::Settings;
use crate::lock::lock;
use crate::streaming::Stamp;
use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use vb3_queue::{Active, DriverError};
use vb3_v4l2::{Format, FourCc, Fraction, Peer, PixelFormat, Span};

/// Maximum number of frames kept for readers.
const FRAMES_MAX: usize = 4;
/// Maximum number of open files of a node of v4l2loopback, unless a program sets another number.
const MAX_OPENERS: u32 = 10;

/// A writer's buffer with a frame, while the loopback keeps it for readers.
pub(super) struct Loan<C> {
    pub(super) token: Active<C>,
    /// The writer's node, in the form that readers' nodes use to reach its memory.
    pub(super) peer: Peer,
    /// Offset of the frame in the buffer, in bytes.
    pub(super) offset: u64,
    pub(super) len: u64,
    /// The stamp with which the buffer is returned to the writer.
    pub(super) stamp: Stamp,
}

impl<C> Loan<C> {
    /// Returns the location of the frame's bytes; `None` once the writer's device has lost the buffer.
    pub(super) fn span(&self) -> Option<Span<'_, C>> {
        let plane = self.token.plane(0).ok()??;
        Some(Span {
            cookie: &plane.cookie,
            offset: self.offset,
            len: self.len,
        })
    }
}

/// A [`Loan`] without its type parameter, the type of the cookies that name memory. This type is the same in
/// all nodes of a loopback.
type AnyLoan = Box<dyn Any + Send>;

/// The location of a frame.
#[derive(Debug)]
pub(super) enum Body {
    /// In the loopback's own memory. The frames of the placeholder (the picture that readers get without a
    /// writer) share one piece of memory.
    Own(Arc<Vec<u8>>),
    /// In the writer's buffer.
    Lent(AnyLoan),
}

#[derive(Debug)]
pub(super) struct Frame {
    /// Number of the frame, from 0 over all writers. A repeated frame gets a new number.
    pub(super) number: u64,
    /// The writer's stamp. Without a timestamp from the writer, the stamp has the time of writing.
    pub(super) stamp: Stamp,
    pub(super) body: Body,
}

impl Frame {
    pub(super) fn loan<C: 'static>(&self) -> Option<&Loan<C>> {
        match &self.body {
            Body::Own(_) => None,
            Body::Lent(loan) => loan.downcast_ref(),
        }
    }

    /// Returns whether no reader is copying the frame.
    fn is_idle(&self, parties: &BTreeMap<u32, Party>) -> bool {
        let mut all = parties.values();
        all.all(|party| party.copying != Some(self.number))
    }

    /// Returns the bytes of a frame in the loopback's own memory.
    pub(super) fn own(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Own(bytes) => Some(bytes),
            Body::Lent(_) => None,
        }
    }
}

/// Returns whether two formats are equal except for their colorimetry.
pub(super) fn has_same_layout(a: &Format, b: &Format) -> bool {
    Format {
        color: a.color,
        ..*b
    } == *a
}

/// A writer or a reader.
#[derive(Debug, Default)]
pub(super) struct Party {
    is_writer: bool,
    buffers: u32,
    /// The format for which the party's buffers were made.
    made_for: Option<Format>,
    /// Whether the party's file is open and has set a format.
    pub(super) has_set_format: bool,
    /// The number of the frame that a streaming reader gets next.
    pub(super) next: Option<u64>,
    /// The number of the frame that a reader is copying.
    pub(super) copying: Option<u64>,
    /// Number of frames that a streaming reader had not got when the writer ended.
    pub(super) missed: u64,
}

impl Party {
    /// Returns whether the party is a writer with buffers.
    pub(super) const fn is_busy_writer(&self) -> bool {
        self.is_writer && self.buffers > 0
    }
}

/// A writer's buffer that was passed to a reader, which has a buffer of the same memory.
#[derive(Debug)]
struct Given {
    loan: AnyLoan,
    /// The reader that uses the buffer; `None` once this reader has finished with it.
    reader: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Shared {
    /// The format of the current frames.
    pub(super) format: Format,
    /// Seconds per frame, as the writer set it.
    pub(super) interval: Fraction,
    /// Frames that do not come from a writer.
    pub(super) fill: Fill,
    /// Whether a writer streams.
    pub(super) is_written: bool,
    pub(super) parties: BTreeMap<u32, Party>,
    /// Number of writers and readers so far, which is also the id of the newest one.
    made: u32,
    /// Whether a writer has set the format since the first open.
    pub(super) has_format: bool,
    /// The controls' values of the identity v4l2loopback; `None` for separate OUTPUT and CAPTURE nodes.
    pub(super) settings: Option<Settings>,
    /// Number of open files of the identity v4l2loopback, and its limit.
    pub(super) openers: (u32, u32),
    /// The frames kept for readers, oldest first.
    pub(super) frames: VecDeque<Frame>,
    /// Number that the next frame gets.
    next: u64,
    /// Number of frames that writers have written, modulo 2^32. Sequence numbers continue over all writers.
    pub(super) written: u32,
    /// Writer's buffers that readers use directly, oldest first.
    given: VecDeque<Given>,
    /// Buffers that the writer gets back, with their states.
    back: Vec<(AnyLoan, Result<(), DriverError>)>,
    /// Memory of earlier frames, for reuse.
    spare: Vec<u8>,
}

impl Shared {
    /// Returns the id of a new writer or reader.
    pub(super) fn new_party(&mut self, is_writer: bool) -> u32 {
        self.made = self.made.saturating_add(1);
        self.party(self.made).is_writer = is_writer;
        self.made
    }

    pub(super) fn party(&mut self, id: u32) -> &mut Party {
        self.parties.entry(id).or_default()
    }

    /// Counts a new buffer of a writer or reader. The first buffer fixes a reader's format.
    pub(super) fn hold(&mut self, id: u32) -> Option<()> {
        let format = self.format;
        let party = self.party(id);
        party.buffers = party.buffers.checked_add(1)?;
        party.made_for.get_or_insert(format);
        Some(())
    }

    /// Counts a buffer of a writer or reader as freed.
    pub(super) fn unhold(&mut self, id: u32) {
        let party = self.party(id);
        party.buffers = party.buffers.saturating_sub(1);
        party.made_for.take_if(|_| party.buffers == 0);
    }

    pub(super) fn has_buffers(&self, id: u32) -> bool {
        self.parties.get(&id).is_some_and(|party| party.buffers > 0)
    }

    /// Returns whether any reader has buffers.
    pub(super) fn is_read(&self) -> bool {
        let mut readers = self.parties.values().filter(|party| !party.is_writer);
        readers.any(|reader| reader.buffers > 0)
    }

    /// Returns whether another writer than this one has buffers.
    pub(super) fn is_taken(&self, writer: u32) -> bool {
        let mut others = self.parties.iter().filter(|(id, _)| **id != writer);
        others.any(|(_, party)| party.is_busy_writer())
    }

    /// Returns the format of a reader's buffers if the current frames no longer have its layout.
    pub(super) fn outdated(&self, reader: u32) -> Option<Format> {
        let format = self.parties.get(&reader)?.made_for;
        format.filter(|format| !has_same_layout(format, &self.format))
    }

    /// Repeats the newest frame under a new number, unless a reader is copying it.
    pub(super) fn repeat(&mut self) {
        let frame = self.frames.back_mut();
        if let Some(frame) = frame.filter(|frame| frame.is_idle(&self.parties)) {
            frame.number = self.next;
            self.next = self.next.saturating_add(1);
        }
    }

    /// Keeps a frame for readers. Beyond the limit, drops the oldest frame that no reader is copying, so that
    /// readers get some frames even if the writer is faster than copying.
    pub(super) fn push(&mut self, body: Body, stamp: Stamp) {
        while self.frames.len() >= FRAMES_MAX {
            let mut frames = self.frames.iter();
            let oldest = frames.position(|frame| frame.is_idle(&self.parties));
            self.remove(oldest.unwrap_or(0), Ok(()));
        }
        self.frames.push_back(Frame {
            number: self.next,
            stamp,
            body,
        });
        self.next = self.next.saturating_add(1);
    }

    /// Returns the number of the newest frame that was ever kept.
    pub(super) const fn newest(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    /// Drops a frame. If it is in a writer's buffer, the writer gets the buffer back with this state.
    pub(super) fn remove(&mut self, at: usize, outcome: Result<(), DriverError>) {
        match self.frames.remove(at).map(|frame| frame.body) {
            Some(Body::Own(bytes)) => self.spare = Arc::into_inner(bytes).unwrap_or_default(),
            Some(Body::Lent(loan)) => self.back.push((loan, outcome)),
            None => {}
        }
    }

    pub(super) fn memory(&mut self, len: u64) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.spare);
        // CAST: no longer than an allocated buffer.
        bytes.resize(len as usize, 0);
        bytes
    }

    /// Returns the index of the oldest kept frame that has at least this number.
    pub(super) fn from(&self, number: u64) -> Option<usize> {
        self.frames.iter().position(|frame| frame.number >= number)
    }

    /// Returns whether a writer or reader that is not in `own` has buffers or has set the format.
    pub(super) fn is_used_beside<const N: usize>(&self, own: [u32; N]) -> bool {
        let mut others = self.parties.iter().filter(|(id, _)| !own.contains(id));
        others.any(|(_, party)| party.buffers > 0 || party.has_set_format)
    }

    /// Returns the number of buffers of the file that has the most.
    pub(super) fn buffer_count(&self) -> u32 {
        let all = self.parties.values().map(|party| party.buffers);
        all.max().unwrap_or(0)
    }

    /// Returns whether the format is fixed, because a program has set one and `keep_format` is on.
    ///
    /// `keep_format` alone fixes nothing, because v4l2loopback-ctl of Debian 12 sets it before the format.
    pub(super) fn keeps_format(&self) -> bool {
        self.has_format && self.settings.is_some_and(|settings| settings.keep_format)
    }

    /// Returns whether there are frames to capture, or will be: a writer streams, or the format is fixed.
    pub(super) fn is_camera(&self) -> bool {
        self.is_written || self.keeps_format()
    }

    /// Returns whether S_FMT fails for the pixel format `fourcc`. With the identity v4l2loopback, S_FMT fails
    /// for formats that are not in `known`, until a writer streams or the format is fixed.
    ///
    /// Source: v4l2loopback 0.13.2 `inner_try_setfmt`, `v4l2l_fill_format`.
    pub(super) fn refuses(&self, known: &[&'static PixelFormat], fourcc: FourCc) -> bool {
        let is_known = known.iter().any(|pixel| pixel.fourcc == fourcc);
        self.settings.is_some() && !self.is_camera() && !is_known
    }

    /// Adds a streaming reader. Returns the number of its first frame: the newest one kept, or the next.
    pub(super) fn join(&mut self, reader: u32) -> u64 {
        let newest = self.frames.back().map_or(self.next, |frame| frame.number);
        self.party(reader).next = Some(newest);
        newest
    }

    /// Removes a reader that has stopped streaming.
    pub(super) fn leave(&mut self, reader: u32) {
        let party = self.party(reader);
        (party.next, party.copying) = (None, None);
        for given in &mut self.given {
            given.reader.take_if(|had| *had == reader);
        }
    }

    /// Returns whether another reader than `reader` still needs the frame with this number.
    pub(super) fn is_wanted_beside(&self, reader: u32, number: u64) -> bool {
        let mut others = self.parties.iter().filter(|(id, _)| **id != reader);
        others.any(|(_, other)| other.next.is_some_and(|next| next <= number))
    }

    /// Passes the writer's buffer with the frame at index `at` to a reader. From now on, other readers get the
    /// frame from `copy`; `None` if no other reader needs the frame.
    pub(super) fn give(&mut self, at: usize, reader: u32, copy: Option<Vec<u8>>) {
        let Some(frame) = self.frames.get_mut(at) else {
            return;
        };
        let body = std::mem::replace(&mut frame.body, Body::Own(copy.unwrap_or_default().into()));
        if let Body::Lent(loan) = body {
            let reader = Some(reader);
            self.given.push_back(Given { loan, reader });
        }
    }

    /// Ends a reader's use of writer's buffers: of each buffer whose memory the reader has queued again, as
    /// `is_back` says.
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

    /// Returns whether the loopback has any buffer of the writer.
    pub(super) fn has_loans(&self) -> bool {
        let is_lent = |frame: &Frame| matches!(frame.body, Body::Lent(_));
        !self.given.is_empty() || !self.back.is_empty() || self.frames.iter().any(is_lent)
    }

    /// Releases buffers that readers have finished with, and frames that all readers have got. Keeps the
    /// newest frame.
    fn release_delivered(&mut self) {
        let next = self.parties.values().filter_map(|party| party.next).min();
        let next = next.unwrap_or(u64::MAX);
        while self.frames.len() > 1 && self.frames.front().is_some_and(|f| f.number < next) {
            self.remove(0, Ok(()));
        }
        let given = std::mem::take(&mut self.given);
        for given in given {
            match given.reader {
                Some(_) => self.given.push_back(given),
                None => self.back.push((given.loan, Ok(()))),
            }
        }
    }

    /// Returns the buffers that the writer gets back now, with their states.
    pub(super) fn take_back(&mut self) -> Vec<(AnyLoan, Result<(), DriverError>)> {
        self.release_delivered();
        std::mem::take(&mut self.back)
    }

    /// Takes a buffer back for the writer, although readers still need it. This is a buffer that a reader
    /// uses, or if there is none, the buffer with the oldest frame. In the second case, `read` copies the
    /// frame to new memory, from which readers then get it.
    pub(super) fn relieve<C: 'static>(
        &mut self,
        read: impl FnOnce(&Loan<C>, &mut [u8]) -> bool,
    ) -> Option<(AnyLoan, Result<(), DriverError>)> {
        if let Some(given) = self.given.pop_front() {
            return Some((given.loan, Ok(())));
        }
        let at = self.frames.iter().position(|f| f.loan::<C>().is_some())?;
        let len = self.frames.get(at)?.loan::<C>()?.len;
        let mut bytes = self.memory(len);
        let frame = self.frames.get_mut(at)?;
        if !read(frame.loan()?, &mut bytes) {
            self.remove(at, Err(DriverError::EIO));
            return self.back.pop();
        }
        match std::mem::replace(&mut frame.body, Body::Own(bytes.into())) {
            Body::Lent(loan) => Some((loan, Ok(()))),
            Body::Own(_) => None,
        }
    }

    /// Sets the format. Readers that come later do not see the placeholder's frames of the earlier format.
    pub(super) fn set_format(&mut self, format: &Format) {
        if !has_same_layout(&self.format, format) {
            self.frames.clear();
        }
        (self.format, self.has_format) = (*format, true);
    }

    /// Records that a writer begins. Readers that come later do not see the placeholder's frames.
    pub(super) fn begin(&mut self) {
        self.is_written = true;
        self.frames.clear();
    }

    /// Records that the writer has ended. Readers that come later do not see the writer's frames.
    pub(super) fn end(&mut self) {
        self.is_written = false;
        for party in self.parties.values_mut() {
            if let Some(next) = party.next {
                party.missed += self.next.saturating_sub(next);
                party.next = Some(self.next);
            }
        }
        let last = self.frames.pop_back();
        if let Some(Body::Own(bytes)) = last.map(|frame| frame.body) {
            self.fill.keep(self.format, bytes);
        }
        self.frames.clear();
        self.given.clear();
        self.back.clear();
        self.spare = Vec::new();
    }
}

/// A loopback's shared state. Each node has a reference to it.
#[derive(Clone, Debug)]
pub struct Link(Arc<Mutex<Shared>>);

impl Link {
    /// Makes the state of a loopback in its initial format, without frames.
    pub(super) fn new(
        format: Format,
        interval: Fraction,
        fill: Fill,
        settings: Option<Settings>,
    ) -> Self {
        Self(Arc::new(Mutex::new(Shared {
            format,
            interval,
            fill,
            is_written: false,
            parties: BTreeMap::new(),
            made: 0,
            has_format: false,
            settings,
            openers: (0, MAX_OPENERS),
            frames: VecDeque::new(),
            next: 0,
            written: 0,
            given: VecDeque::new(),
            back: Vec::new(),
            spare: Vec::new(),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.0)
    }
}

/// Compares references: links are equal if they lead to the same state.
impl PartialEq for Link {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Link {}
