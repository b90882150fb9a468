//! A device's access to memory.

use std::os::fd::BorrowedFd;
use thiserror::Error;

/// An access that did not reach memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BusFault {
    /// The device has no mapping at this address (an I/O page fault), or the mapping forbids the
    /// access.
    #[error("no memory is mapped for the device at {addr:#x}")]
    Unmapped {
        /// The bus address of the access.
        addr: u64,
    },
    /// The range ends beyond the plane's memory.
    #[error("{len} bytes from offset {offset} extend beyond the plane")]
    OutOfRange {
        /// First requested byte, from the start of the plane.
        offset: u64,
        /// Number of requested bytes.
        len: u64,
    },
    /// The owner of the memory has freed or revoked it.
    #[error("the memory was freed or revoked")]
    Revoked,
}

/// Consecutive bytes of a plane.
#[derive(Debug)]
pub struct Span<'a, C> {
    /// Identifies the plane.
    pub cookie: &'a C,
    /// First byte, from the start of the plane.
    pub offset: u64,
    /// Number of bytes.
    pub len: u64,
}

/// Equally spaced lines of a plane.
#[derive(Debug)]
pub struct Lines<'a, C> {
    /// Identifies the plane.
    pub cookie: &'a C,
    /// First byte of the first line, from the start of the plane.
    pub offset: u64,
    /// Bytes of a line.
    pub line_bytes: u64,
    /// Number of lines, at least one.
    pub count: u64,
    /// Bytes from the start of one line to the start of the next.
    pub pitch: u64,
}

impl<C> Lines<'_, C> {
    /// Returns the number of bytes from the start of the first line to the end of the last line.
    /// `None` if the number does not fit in 64 bits.
    #[must_use]
    pub fn extent(&self) -> Option<u64> {
        let before = self.count.checked_sub(1)?.checked_mul(self.pitch)?;
        before.checked_add(self.line_bytes)
    }
}

/// The location of a span in a file that another process can map.
///
/// A device passes the location to its codec process. The device itself reads only the offset and the length.
#[derive(Clone, Copy, Debug)]
pub struct HostSpan<'a> {
    /// The memory, as a file to map.
    pub file: BorrowedFd<'a>,
    /// Unique number of this memory, never reused.
    pub number: u64,
    /// Length of the file in bytes.
    pub file_len: u64,
    /// First byte of the span, from the start of the file.
    pub offset: u64,
    /// Bytes of the span.
    pub len: u64,
}

/// Reads a span's bytes from an offset. Returns false if the read would pass the span's end.
pub type SpanReader = Box<dyn Fn(u64, &mut [u8]) -> bool + Send>;

/// Writes bytes to a span from an offset. Returns false if the write would pass the span's end.
pub type SpanWriter = Box<dyn Fn(u64, &[u8]) -> bool + Send>;

/// Work that a device does directly on memory.
///
/// The function gets a slice of bytes to read for each element of `from` in [`Bus::in_place`], and a slice of bytes
/// to write for each element of `to`. It returns true if it has done the work.
pub type InPlace<'a> = dyn FnMut(&[&[u8]], &mut [&mut [u8]]) -> bool + 'a;

/// Identifies a device to other devices of the same machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(pub u32);

/// An error of copying from one device's plane to another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CopyFault {
    /// The other device could not read the bytes.
    #[error("the other device could not read the bytes: {0}")]
    From(BusFault),
    /// This device could not write the bytes.
    #[error("this device could not write the bytes: {0}")]
    To(BusFault),
}

/// A device's reads and writes of plane memory.
///
/// As in hardware, a device accesses memory by its own addresses. The machine translates, bounces or refuses
/// each access. A `C` identifies a plane's memory (`MemOps::Cookie`).
///
/// # Context
/// No method waits.
#[expect(unused_variables, reason = "default methods ignore their arguments")]
pub trait Bus<C> {
    /// Reads `out.len()` bytes from byte `offset` of the plane.
    ///
    /// # Errors
    /// [`BusFault`]; `out` may be partly written.
    fn read(&mut self, cookie: &C, offset: u64, out: &mut [u8]) -> Result<(), BusFault>;

    /// Counts a read of `len` bytes from byte `offset` of the plane, without reading them.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn note_read(&mut self, cookie: &C, offset: u64, len: u64) -> Result<(), BusFault>;

    /// Reads as [`read`](Self::read) does, but also where the device may only write.
    /// The read is not counted, because a hardware device would not make this access.
    ///
    /// # Errors
    /// [`BusFault`] where the device can neither read nor write; `out` may be partly written.
    fn inspect(&mut self, cookie: &C, offset: u64, out: &mut [u8]) -> Result<(), BusFault> {
        self.read(cookie, offset, out)
    }

    /// Writes `data` to byte `offset` of the plane.
    ///
    /// # Errors
    /// [`BusFault`]; part of `data` may have arrived.
    fn write(&mut self, cookie: &C, offset: u64, data: &[u8]) -> Result<(), BusFault>;

    /// Lets `act` read lines `from` and write lines `to` directly in memory. Returns `act`'s result.
    ///
    /// The bus counts a read of the lines of `from` and, if `act` returns true, a write of those of `to`.
    /// `act` gets all bytes from the first line to the last, and must not change bytes between lines.
    ///
    /// Returns `None` and does nothing if the memory is not contiguous or not visible to this process, if lines to
    /// write overlap any other lines, or if an access to the lines or to the bytes between them would fault. The
    /// caller can then use [`read`](Self::read) and [`write`](Self::write).
    ///
    /// Bytes to read may change while `act` runs, since a program may write them at any time.
    fn in_place(
        &mut self,
        from: &[Lines<'_, C>],
        to: &[Lines<'_, C>],
        act: &mut InPlace<'_>,
    ) -> Option<bool> {
        None
    }

    /// Finds the memory of writable spans, so that another process can write them instead of the device.
    ///
    /// Spans are addressed as in `write`: by the device's own addresses. After the writes, call
    /// [`note_written`](Self::note_written).
    ///
    /// Returns `None` if a write would fault, or if no process can map the memory that the device would
    /// write. Examples are bounced or scattered memory, memory of a program or another driver, and memory
    /// that the CPU does not see coherently.
    fn host_spans(&mut self, spans: &[Span<'_, C>]) -> Option<Vec<HostSpan<'_>>> {
        None
    }

    /// Returns readers of spans, so that another thread can read them instead of the device.
    ///
    /// Spans are addressed as in `read`: by the device's own addresses. The device counts the reads by
    /// [`note_read`](Self::note_read).
    ///
    /// Returns `None` if a read would fault, or for memory that [`host_spans`](Self::host_spans) refuses.
    fn readers(&mut self, spans: &[Span<'_, C>]) -> Option<Vec<SpanReader>> {
        None
    }

    /// Returns writers of spans, so that another thread can write them instead of the device.
    ///
    /// Spans are addressed as in `write`: by the device's own addresses. The thread must have stopped writing
    /// before the device gives its buffer away. After the writes, call [`note_written`](Self::note_written).
    ///
    /// Returns `None` if a write would fault, or for memory that [`host_spans`](Self::host_spans) refuses.
    fn writers(&mut self, spans: &[Span<'_, C>]) -> Option<Vec<SpanWriter>> {
        None
    }

    /// Counts bytes that another process or thread wrote to a location of [`host_spans`](Self::host_spans), or by
    /// a writer of [`writers`](Self::writers).
    ///
    /// # Errors
    /// [`BusFault`] if the device could not write them now.
    fn note_written(&mut self, cookie: &C, offset: u64, len: u64) -> Result<(), BusFault> {
        Err(BusFault::OutOfRange { offset, len })
    }

    /// Returns this device's identity for other devices; `None` if these cannot reach this device's memory.
    fn peer(&self) -> Option<Peer> {
        None
    }

    /// Copies bytes from another device's plane to byte `offset` of plane `to`, and counts them as written.
    ///
    /// The caller has counted the other device's read ([`note_read`](Self::note_read) on that device's bus).
    /// Returns how many bytes were moved in memory. If the path between the devices needs several copies, the
    /// result is the sum of their bytes.
    ///
    /// # Errors
    /// [`CopyFault`]; part of the bytes may have arrived.
    fn copy_from(
        &mut self,
        peer: Peer,
        from: &Span<'_, C>,
        to: &C,
        offset: u64,
    ) -> Result<u64, CopyFault> {
        Err(CopyFault::From(BusFault::OutOfRange {
            offset: from.offset,
            len: from.len,
        }))
    }

    /// Returns whether the writable plane `to` starts in the same memory that another device reads at `from`.
    /// The check does not count as an access.
    fn is_same_memory(&mut self, peer: Peer, from: &Span<'_, C>, to: &C) -> bool {
        false
    }
}
