//! Devices of a machine, and the results of their accesses.

use std::fmt;
use std::os::fd::BorrowedFd;
use vb3_dma::DmaAddr;

/// A device of the machine, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device(pub(crate) u32);

impl Device {
    /// Returns the device's number: devices are numbered from zero in the order of adding.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }
}

/// The reason why an access did not reach memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// There is no such device.
    NoDevice,
    /// The IOMMU maps nothing at this address.
    Unmapped,
    /// The mapping does not allow writing.
    ReadOnly,
    /// The mapping does not allow reading.
    WriteOnly,
    /// The device cannot put this address on its bus.
    BeyondMask,
    /// The address leads to a page table, which devices must not reach.
    PageTable,
    /// There is no memory at this address.
    NoMemory,
    /// The memory is private to a confidential machine.
    Private,
    /// The memory is protected, and the device is not permitted to reach it.
    Protected,
    /// The program that owned the memory has ended, or has unmapped it.
    UserGone,
}

/// An access that did not reach memory. Bytes before `addr` may have been read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusFault {
    /// The device that made the access.
    pub dev: Device,
    /// The first address that failed.
    pub addr: DmaAddr,
    /// Whether the device wrote.
    pub write: bool,
    /// Why the access failed.
    pub kind: FaultKind,
    /// The page-table level at which the walk ended, named as in the IOMMU's manual; `None` if no walk caused
    /// the fault.
    pub level: Option<&'static str>,
}

impl fmt::Display for BusFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            FaultKind::NoDevice => "there is no such device",
            FaultKind::Unmapped => "nothing is mapped there for the device",
            FaultKind::ReadOnly => "the device may not write there",
            FaultKind::WriteOnly => "the device may not read there",
            FaultKind::BeyondMask => "the device cannot reach so high",
            FaultKind::PageTable => "a page table lies there",
            FaultKind::NoMemory => "no memory lies there",
            FaultKind::Private => "the memory is private",
            FaultKind::Protected => "the memory is protected",
            FaultKind::UserGone => "the program's memory is gone",
        };
        let access = if self.write { "write" } else { "read" };
        write!(f, "{access} at bus address {}: {what}", self.addr)?;
        match self.level {
            Some(level) => write!(f, " (the walk ended at {level})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BusFault {}

/// Consecutive addresses of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusSpan {
    /// The first address.
    pub addr: DmaAddr,
    /// Length in bytes.
    pub len: u64,
}

/// An access of a device to a span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) dev: Device,
    pub(crate) span: BusSpan,
    pub(crate) write: bool,
}

impl Access {
    pub(crate) const fn read(dev: Device, span: BusSpan) -> Self {
        let write = false;
        Self { dev, span, write }
    }

    pub(crate) const fn write(dev: Device, span: BusSpan) -> Self {
        let write = true;
        Self { dev, span, write }
    }

    /// Makes a fault that was found without a page-table walk.
    pub(crate) const fn fault(&self, kind: FaultKind) -> BusFault {
        BusFault {
            dev: self.dev,
            addr: self.span.addr,
            write: self.write,
            kind,
            level: None,
        }
    }

    /// Returns the rest of the access, after `done` bytes.
    pub(crate) fn rest(&self, done: u64) -> Result<Self, BusFault> {
        let addr = self.span.addr.checked_add(done);
        let addr = addr.ok_or(self.fault(FaultKind::BeyondMask))?;
        let len = self.span.len - done;
        let span = BusSpan { addr, len };
        Ok(Self { span, ..*self })
    }
}

/// Equally spaced lines in a device's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusLines {
    /// Address of the first line.
    pub addr: DmaAddr,
    /// Bytes of a line.
    pub line_bytes: u64,
    /// Number of lines, at least one.
    pub count: u64,
    /// Bytes from the start of one line to the start of the next.
    pub pitch: u64,
}

impl BusLines {
    /// Returns the span from the start of the first line to the end of the last; `None` beyond 64 bits.
    pub(crate) fn extent(&self) -> Option<BusSpan> {
        let before = self.count.checked_sub(1)?.checked_mul(self.pitch)?;
        Some(BusSpan {
            addr: self.addr,
            len: before.checked_add(self.line_bytes)?,
        })
    }

    /// Iterates over the accesses: one per line, or a single one for lines without gaps.
    pub(crate) fn accesses(&self) -> impl Iterator<Item = BusSpan> {
        let together = self.pitch == self.line_bytes;
        let (count, len) = match together {
            true => (1, self.line_bytes.saturating_mul(self.count)),
            false => (self.count, self.line_bytes),
        };
        let (addr, pitch) = (self.addr, self.pitch);
        (0..count).filter_map(move |line| {
            let addr = addr.checked_add(line.checked_mul(pitch)?)?;
            Some(BusSpan { addr, len })
        })
    }
}

/// The location of a span, with which another process can access it.
#[derive(Clone, Copy, Debug)]
pub struct HostSpan<'a> {
    /// A memfd of fixed size, with the memory of one allocation.
    pub fd: BorrowedFd<'a>,
    /// Unique number of the allocation, never reused.
    pub number: u64,
    /// Length of the memfd in bytes.
    pub fd_len: u64,
    /// First byte of the span in the memfd.
    pub offset: u64,
    /// Bytes of the span.
    pub len: u64,
}
