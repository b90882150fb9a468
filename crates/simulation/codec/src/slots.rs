//! Slots of shared memory for pictures and packets.

use crate::job::{Chroma, Field, Planes, Subsampling};
use crate::shm::Shared;
use crate::socket::Socket;
use crate::wire::{Message, Op};
use crate::{MAX_HEIGHT, MAX_WIDTH, OUTPUT_SLOTS};
use rustix::io::Errno;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum number of release messages that wait because the socket is full.
const MAX_BACKLOG: usize = 4 * OUTPUT_SLOTS;

/// Slot number in messages about pictures that the worker wrote to lent memory (see `loan`), not to a slot.
pub(crate) const NO_SLOT: u32 = u32::MAX;

/// The end of the socket in the parent process, shared by the `Worker` and its [`Ring`]s.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) socket: Socket,
    backlog: Mutex<Vec<Message>>,
}

impl Link {
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            socket,
            backlog: Mutex::default(),
        }
    }

    fn release(&self, generation: u64, slot: u32) {
        let message = Message::new(Op::Release, &[generation, u64::from(slot)]);
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        if backlog.len() < MAX_BACKLOG {
            backlog.push(message);
        }
        self.send_backlog(&mut backlog);
    }

    /// Sends the release messages that have waited because the socket was full.
    pub(crate) fn catch_up(&self) {
        let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
        self.send_backlog(&mut backlog);
    }

    fn send_backlog(&self, backlog: &mut Vec<Message>) {
        backlog.retain(|message| self.socket.send(message, None, false) == Err(Errno::AGAIN));
    }
}

/// Memory that is shared with the worker, for [`OUTPUT_SLOTS`] pictures or packets.
#[derive(Debug)]
pub(crate) struct Ring {
    pub(crate) memory: Shared,
    pub(crate) generation: u64,
    pub(crate) slot_len: usize,
    chroma: Chroma,
    used: AtomicU32,
    link: Arc<Link>,
}

impl Ring {
    pub(crate) fn new(
        link: &Arc<Link>,
        generation: u64,
        slot_len: usize,
        chroma: Chroma,
    ) -> Result<Self, Errno> {
        let slot_len = slot_len.next_multiple_of(4096);
        Ok(Self {
            memory: Shared::new(slot_len * OUTPUT_SLOTS)?,
            generation,
            slot_len,
            chroma,
            used: AtomicU32::new(0),
            link: Arc::clone(link),
        })
    }

    /// Takes a slot that the worker reports as filled. `None` if the report cannot be true.
    pub(crate) fn take(self: &Arc<Self>, slot: u64, len: u64) -> Option<UsedSlot> {
        let slot = u32::try_from(slot).ok()?;
        let len = usize::try_from(len).ok()?;
        if slot as usize >= OUTPUT_SLOTS || len > self.slot_len {
            return None;
        }
        let before = self.used.fetch_or(1 << slot, Ordering::Relaxed);
        (before & (1 << slot) == 0).then(|| UsedSlot {
            ring: Arc::clone(self),
            slot,
            len,
        })
    }
}

/// A slot of a ring. The slot is in use until this value is dropped.
#[derive(Debug)]
pub(crate) struct UsedSlot {
    ring: Arc<Ring>,
    slot: u32,
    len: usize,
}

impl UsedSlot {
    fn bytes(&self) -> &[u8] {
        let offset = self.slot as usize * self.ring.slot_len;
        // Slot and length were checked when the slot was taken.
        self.ring.memory.bytes(offset, self.len).unwrap_or_default()
    }
}

impl Drop for UsedSlot {
    fn drop(&mut self) {
        self.ring
            .used
            .fetch_and(!(1 << self.slot), Ordering::Relaxed);
        self.ring.link.release(self.ring.generation, self.slot);
    }
}

/// An encoded picture. Dropping it returns its memory to the worker.
#[derive(Debug)]
pub struct Packet(pub(crate) UsedSlot);

impl Packet {
    /// Returns the encoded bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }
}

/// A decoded picture. Dropping it returns its memory to the worker. It may outlive the
/// [`Worker`](crate::Worker).
#[derive(Debug)]
pub struct Picture {
    pub(crate) slot: UsedSlot,
    pub(crate) layout: Layout,
    pub(crate) field: Field,
}

impl Picture {
    /// Returns the order of the picture's two interleaved fields, or `Field::Progressive`.
    #[must_use]
    pub const fn field(&self) -> Field {
        self.field
    }

    /// Returns the picture's chroma layout, as requested by [`Job::Proceed`](crate::Job::Proceed).
    #[must_use]
    pub fn chroma(&self) -> Chroma {
        self.slot.ring.chroma
    }

    /// Returns the number of bits of a sample: 8 or 10. Ten bits are the upper bits of two bytes.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        if self.layout.sample == 1 { 8 } else { 10 }
    }

    /// Returns the planes: Y, U and V, or Y, interleaved UV, and an empty plane.
    #[must_use]
    pub fn planes(&self) -> Planes<'_> {
        let bytes = self.slot.bytes();
        let (y, rest) = bytes.split_at(self.layout.luma.min(bytes.len()));
        let mut strides = self.layout.strides();
        let first = match self.chroma() {
            Chroma::Planar => self.layout.chroma,
            Chroma::Pairs => {
                strides = [strides[0], 2 * strides[1], 0];
                rest.len()
            }
        };
        let (u, v) = rest.split_at(first.min(rest.len()));
        Planes {
            width: self.layout.width,
            height: self.layout.height,
            data: [y, u, v],
            strides,
        }
    }
}

/// The layout of a picture's planes without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Number of rows of U. V has as many.
    lines: u32,
    /// Bytes of a sample.
    pub(crate) sample: usize,
    /// Bytes of Y.
    pub(crate) luma: usize,
    /// Bytes of U. V has as many.
    pub(crate) chroma: usize,
}

impl Layout {
    /// Returns the layout; `None` for an empty or too large picture.
    pub(crate) fn new(width: u32, height: u32) -> Option<Self> {
        Self::with_bits(width, height, 8)
    }

    /// As `new`, for samples of 8 or 10 bits.
    pub(crate) fn with_bits(width: u32, height: u32, bits: u8) -> Option<Self> {
        let fits = (1..=MAX_WIDTH).contains(&width) && (1..=MAX_HEIGHT).contains(&height);
        let sample = match bits {
            8 => 1,
            10 => 2,
            _ => return None,
        };
        let lines = height.div_ceil(2);
        fits.then_some(Self {
            width,
            height,
            lines,
            sample,
            luma: sample * width as usize * height as usize,
            chroma: sample * width.div_ceil(2) as usize * lines as usize,
        })
    }

    /// As `new`, with this chroma subsampling.
    pub(crate) fn sampled(width: u32, height: u32, sampling: Subsampling) -> Option<Self> {
        let half = Self::new(width, height)?;
        Some(match sampling {
            Subsampling::Yuv420 => half,
            Subsampling::Yuv422 => Self {
                lines: height,
                chroma: width.div_ceil(2) as usize * height as usize,
                ..half
            },
        })
    }

    /// Returns the picture's number of bytes.
    pub(crate) const fn len(&self) -> usize {
        self.luma + 2 * self.chroma
    }

    pub(crate) const fn strides(&self) -> [usize; 3] {
        let half = self.sample * self.width.div_ceil(2) as usize;
        [self.sample * self.width as usize, half, half]
    }

    /// Returns a plane's bytes per row, and its number of rows.
    pub(crate) const fn plane(&self, plane: usize) -> (usize, usize) {
        let (width, height) = match plane {
            0 => (self.width, self.height),
            _ => (self.width.div_ceil(2), self.lines),
        };
        (self.sample * width as usize, height as usize)
    }

    /// Returns a row in the output format: an 8-bit row unchanged, or a 10-bit row converted into `line`.
    pub(crate) fn row<'a>(&self, from: &'a [u8], line: &'a mut Vec<u8>) -> &'a [u8] {
        if self.sample == 1 {
            return from;
        }
        line.resize(from.len(), 0);
        raise(from, line);
        line
    }

    /// Interleaves a row of U and a row of V. Converts 10-bit samples to the output format.
    pub(crate) fn join(&self, u: &[u8], v: &[u8], to: &mut [u8]) {
        match self.sample {
            1 => join(u, v, to),
            _ => join_raised(u, v, to),
        }
    }

    /// Splits memory into the planes of a picture; `None` if it is too short.
    pub(crate) fn split_mut<'a>(&self, bytes: &'a mut [u8]) -> Option<[&'a mut [u8]; 3]> {
        let (y, rest) = bytes.split_at_mut_checked(self.luma)?;
        let (u, rest) = rest.split_at_mut_checked(self.chroma)?;
        Some([y, u, rest.get_mut(..self.chroma)?])
    }

    /// Splits memory into the planes of a picture; `None` if it is too short.
    pub(crate) fn split<'a>(&self, bytes: &'a [u8]) -> Option<[&'a [u8]; 3]> {
        let (y, rest) = bytes.split_at_checked(self.luma)?;
        let (u, rest) = rest.split_at_checked(self.chroma)?;
        Some([y, u, rest.get(..self.chroma)?])
    }
}

/// Returns the rows of a plane; `None` if the plane is too short for `layout`.
pub(crate) fn rows<'a>(
    layout: &Layout,
    from: &Planes<'a>,
    plane: usize,
) -> Option<impl Iterator<Item = &'a [u8]> + use<'a>> {
    let (columns, rows) = layout.plane(plane);
    let (data, stride) = (*from.data.get(plane)?, *from.strides.get(plane)?);
    let last = rows.saturating_sub(1).checked_mul(stride)?;
    let fits = stride >= columns && last.checked_add(columns)? <= data.len();
    let lines = data.chunks(stride.max(1)).take(rows);
    fits.then(|| lines.map(move |line| line.get(..columns).unwrap_or_default()))
}

/// Copies a plane to `to`, without gaps between rows. Returns false if `from` or `to` is too small.
fn copy_plane(layout: &Layout, from: &Planes<'_>, plane: usize, to: &mut [u8]) -> bool {
    let (columns, count) = layout.plane(plane);
    let Some(rows) = rows(layout, from, plane).filter(|_| to.len() >= columns * count) else {
        return false;
    };
    for (from, to) in rows.zip(to.chunks_exact_mut(columns.max(1))) {
        match layout.sample {
            1 => to.copy_from_slice(from),
            _ => raise(from, to),
        }
    }
    true
}

/// Copies a picture to `to`, without gaps between rows. Returns false if `from` or `to` is too small.
pub(crate) fn copy(layout: &Layout, from: &Planes<'_>, to: [&mut [u8]; 3]) -> bool {
    let mut planes = to.into_iter().enumerate();
    planes.all(|(plane, to)| copy_plane(layout, from, plane, to))
}

/// As [`copy`], but with the requested chroma layout.
pub(crate) fn pack(layout: &Layout, from: &Planes<'_>, chroma: Chroma, to: &mut [u8]) -> bool {
    if chroma == Chroma::Planar {
        return layout
            .split_mut(to)
            .is_some_and(|to| copy(layout, from, to));
    }
    let Some((y, uv)) = to.split_at_mut_checked(layout.luma) else {
        return false;
    };
    let (Some(u), Some(v)) = (rows(layout, from, 1), rows(layout, from, 2)) else {
        return false;
    };
    let (columns, _) = layout.plane(1);
    if uv.len() < 2 * layout.chroma || !copy_plane(layout, from, 0, y) {
        return false;
    }
    for (to, (u, v)) in uv.chunks_exact_mut((2 * columns).max(1)).zip(u.zip(v)) {
        layout.join(u, v, to);
    }
    true
}

/// Number of samples in a block. The compiler vectorises loops over blocks of constant length.
const BLOCK: usize = 16;

/// Moves 10-bit samples from the lower to the upper bits of two bytes.
fn raise(from: &[u8], to: &mut [u8]) {
    let (from, _) = from.as_chunks::<2>();
    let (to, _) = to.as_chunks_mut::<2>();
    for (to, from) in to.iter_mut().zip(from) {
        *to = (u16::from_le_bytes(*from) << 6).to_le_bytes();
    }
}

/// Interleaves two rows of 10-bit samples, converted as by [`raise`].
fn join_raised(u: &[u8], v: &[u8], to: &mut [u8]) {
    let (u, _) = u.as_chunks::<2>();
    let (v, _) = v.as_chunks::<2>();
    let (to, _) = to.as_chunks_mut::<4>();
    for (to, (u, v)) in to.iter_mut().zip(u.iter().zip(v)) {
        let up = |sample: &[u8; 2]| u32::from(u16::from_le_bytes(*sample) << 6);
        *to = (up(u) | up(v) << 16).to_le_bytes();
    }
}

/// Interleaves the bytes of two rows.
fn join(u: &[u8], v: &[u8], to: &mut [u8]) {
    let (blocks, rest) = to.as_chunks_mut::<{ 2 * BLOCK }>();
    let (u_blocks, u) = u.as_chunks::<BLOCK>();
    let (v_blocks, v) = v.as_chunks::<BLOCK>();
    for ((to, u), v) in blocks.iter_mut().zip(u_blocks).zip(v_blocks) {
        for i in 0..BLOCK {
            (to[2 * i], to[2 * i + 1]) = (u[i], v[i]);
        }
    }
    for ((to, u), v) in rest.as_chunks_mut().0.iter_mut().zip(u).zip(v) {
        *to = [*u, *v];
    }
}

#[cfg(test)]
mod tests;
