//! The way of a device to memory.

use core::fmt;
use std::os::fd::BorrowedFd;

/// An access that did not reach memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusFault {
    /// Nothing is mapped there for the device (an I/O page fault), or the mapping forbids it.
    Unmapped {
        /// The address the device put on the bus.
        addr: u64,
    },
    /// The range leaves the memory the cookie names.
    OutOfRange {
        /// First byte asked for, from the start of the plane.
        offset: u64,
        /// Bytes asked for.
        len: u64,
    },
    /// The owner of the memory is gone or took it back.
    Revoked,
}

impl fmt::Display for BusFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unmapped { addr } => write!(f, "nothing mapped for the device at {addr:#x}"),
            Self::OutOfRange { offset, len } => {
                write!(f, "{len} bytes from {offset} leave the plane")
            }
            Self::Revoked => f.write_str("the memory was taken back"),
        }
    }
}

impl core::error::Error for BusFault {}

/// Bytes of a plane that follow each other.
#[derive(Debug)]
pub struct Span<'a, C> {
    /// What finds the plane.
    pub cookie: &'a C,
    /// First byte, from the start of the plane.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// Lines of a plane, each as far behind the one before.
#[derive(Debug)]
pub struct Lines<'a, C> {
    /// What finds the plane.
    pub cookie: &'a C,
    /// First byte of the first line, from the start of the plane.
    pub offset: u64,
    /// Bytes of a line.
    pub line_bytes: u64,
    /// How many lines, at least one.
    pub count: u64,
    /// Bytes from the start of a line to that of the next.
    pub pitch: u64,
}

impl<C> Lines<'_, C> {
    /// Bytes from the start of the first line to the end of the last; `None` past 64 bits.
    #[must_use]
    pub fn extent(&self) -> Option<u64> {
        let before = self.count.checked_sub(1)?.checked_mul(self.pitch)?;
        before.checked_add(self.line_bytes)
    }
}

/// Where a span lies for other processes. A device passes it on to one that works for it, and looks
/// at nothing but the offset and the length.
#[derive(Clone, Copy, Debug)]
pub struct HostSpan<'a> {
    /// The memory, as a file to map.
    pub file: BorrowedFd<'a>,
    /// Names this memory and no other, also after it is gone.
    pub number: u64,
    /// Bytes of the file.
    pub file_len: u64,
    /// First byte of the span, from the start of the file.
    pub offset: u64,
    /// Bytes of the span.
    pub len: u64,
}

/// What works on memory in place: on bytes to read and bytes to write, in the order in which they
/// were asked for. Whether it did.
pub type InPlace<'a> = dyn FnMut(&[&[u8]], &mut [&mut [u8]]) -> bool + 'a;

/// A device, as another one on the same machine names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(pub u32);

/// Why bytes did not come from one device's plane to another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFault {
    /// They could not be read there.
    From(BusFault),
    /// They could not be written here.
    To(BusFault),
}

impl fmt::Display for CopyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(fault) => write!(f, "nothing came from the other device: {fault}"),
            Self::To(fault) => write!(f, "nothing arrived: {fault}"),
        }
    }
}

impl core::error::Error for CopyFault {}

/// How a device reads and writes the memory of a plane: as hardware does, by the address it was
/// given, translated, bounced or refused by the machine.
///
/// `C` is what finds the plane (`MemOps::Cookie`).
///
/// # Context
/// No method waits.
pub trait Bus<C> {
    /// Reads `out.len()` bytes from byte `offset` of the plane.
    ///
    /// # Errors
    /// [`BusFault`]; `out` may be partly written.
    fn read(&mut self, cookie: &C, offset: u64, out: &mut [u8]) -> Result<(), BusFault>;

    /// Reads `len` bytes from byte `offset` of the plane, which nobody wants to have.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn note_read(&mut self, cookie: &C, offset: u64, len: u64) -> Result<(), BusFault>;

    /// What the device would find there if it were allowed to read: no access of its own, so nothing
    /// is counted.
    ///
    /// # Errors
    /// [`BusFault`] where it reaches no memory, either way; `out` may be partly written.
    fn inspect(&mut self, cookie: &C, offset: u64, out: &mut [u8]) -> Result<(), BusFault> {
        self.read(cookie, offset, out)
    }

    /// Writes `data` to byte `offset` of the plane.
    ///
    /// # Errors
    /// [`BusFault`]; part of `data` may have arrived.
    fn write(&mut self, cookie: &C, offset: u64, data: &[u8]) -> Result<(), BusFault>;

    /// Lets `act` work where the memory is, as if the lines of `from` had been read before and, if
    /// it says true, those of `to` written after. Answers what it says. `act` gets the bytes from
    /// the first line to the last, what lies between lines included: it leaves that as it is.
    ///
    /// `None`, and nothing was done, where that cannot be: memory that does not lie together or
    /// cannot be seen from here, lines to write that overlap others, an access that would fault
    /// (between lines, too).
    /// [`read`](Self::read) and [`write`](Self::write) do in any case what can be done.
    ///
    /// Bytes to read may change while `act` looks: a program may write them at any time.
    fn in_place(
        &mut self,
        from: &[Lines<'_, C>],
        to: &[Lines<'_, C>],
        act: &mut InPlace<'_>,
    ) -> Option<bool> {
        let _ = (from, to, act);
        None
    }

    /// Where spans that the device may write lie for other processes, found by the device's own
    /// addresses: one may write there what the device would.
    /// [`note_written`](Self::note_written) then says that it has been.
    ///
    /// `None` where the device's writes do not go straight to memory that is a plane's alone and
    /// that a process can map: memory that bounces, does not lie together, is a program's or
    /// another driver's, or is not what the CPU sees; and where a write would fault.
    fn host_spans(&mut self, spans: &[Span<'_, C>]) -> Option<Vec<HostSpan<'_>>> {
        let _ = spans;
        None
    }

    /// Counts bytes that were written where [`host_spans`](Self::host_spans) said, as
    /// [`write`](Self::write) does.
    ///
    /// # Errors
    /// [`BusFault`] where the device could not have written them now.
    fn note_written(&mut self, cookie: &C, offset: u64, len: u64) -> Result<(), BusFault> {
        let _ = cookie;
        Err(BusFault::OutOfRange { offset, len })
    }

    /// What other devices call this one; `None` where they cannot reach what it reaches.
    fn peer(&self) -> Option<Peer> {
        None
    }

    /// Copies bytes that another device has taken ([`note_read`](Self::note_read), by its own bus)
    /// from its plane to byte `offset` of one of ours, which counts as a write. Answers how many
    /// bytes were moved in memory for it: each once, or more often where there is no straight way.
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
        let (_, _, _) = (peer, to, offset);
        Err(CopyFault::From(BusFault::OutOfRange {
            offset: from.offset,
            len: from.len,
        }))
    }

    /// Whether the start of a plane of ours, to be written, is the very memory that another device
    /// reads there. No access.
    fn is_same_memory(&mut self, peer: Peer, from: &Span<'_, C>, to: &C) -> bool {
        let _ = (peer, from, to);
        false
    }
}
