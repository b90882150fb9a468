//! Interface between a queue and the memory of its planes: vb2's `mem_ops`.

use bitflags::bitflags;
use core::fmt;
use vb3_dma::{Coherency, Direction, Reason};

bitflags! {
    /// Cache maintenance that the user asked to omit, for one QBUF only.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct HintSkip: u8 {
        /// `V4L2_BUF_FLAG_NO_CACHE_CLEAN`: no maintenance before the device's access.
        const PREPARE = 1 << 0;
        /// `V4L2_BUF_FLAG_NO_CACHE_INVALIDATE`: no maintenance after the device's access.
        const FINISH = 1 << 1;
    }
}

/// The allocator that serves a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Allocator {
    /// dma-contig: one run of addresses for the device.
    Contig,
    /// dma-sg: scattered pages, as a list of segments for the device. Ignores the requested coherency: caches
    /// are always synced, unless a hint omits the sync.
    ///
    /// Source: Linux 7.2 `vb2_dma_sg_alloc`, differs: `gfp_flags` follow from the device's address mask.
    Sg,
    /// vmalloc: memory for a driver that uses the CPU. Ignores the requested coherency.
    Vmalloc,
}

/// Error of an operation on a plane's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlaneError {
    /// EINVAL: bad argument, wrong kind of plane, or a dma-buf that cannot be mapped.
    Invalid(Option<Reason>),
    /// ENOMEM: out of memory.
    NoMemory(Option<Reason>),
    /// EFAULT: user memory is missing or read-only, or the memory is too small or scattered.
    Fault(Option<Reason>),
    /// EIO: the DMA layer cannot map the memory.
    Io(Option<Reason>),
    /// EBUSY: another use of the memory excludes this one, or the host gives the CPU no view of the memory.
    Busy,
    /// ENODEV: the exporter has revoked the memory.
    Revoked,
    /// The host's errno when it failed to pin user memory.
    Pin(i32),
}

impl PlaneError {
    /// Returns the Linux errno, positive.
    #[must_use]
    pub const fn errno(self) -> i32 {
        match self {
            Self::Invalid(_) => 22,
            Self::NoMemory(_) => 12,
            Self::Fault(_) => 14,
            Self::Io(_) => 5,
            Self::Busy => 16,
            Self::Revoked => vb3_dmabuf::Error::Revoked.errno(),
            Self::Pin(errno) => errno,
        }
    }

    /// Returns the constraint that caused the refusal, if known.
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Invalid(r) | Self::NoMemory(r) | Self::Fault(r) | Self::Io(r) => r,
            Self::Revoked => vb3_dmabuf::Error::Revoked.reason(),
            Self::Busy | Self::Pin(_) => None,
        }
    }
}

impl From<vb3_dmabuf::Error> for PlaneError {
    /// Converts the error of a shared buffer: EINVAL with its reason, ENODEV for revoked memory, or EIO for memory
    /// that a device may still reach after a failed unmap.
    fn from(error: vb3_dmabuf::Error) -> Self {
        match error {
            vb3_dmabuf::Error::Revoked => Self::Revoked,
            vb3_dmabuf::Error::Quarantined => Self::Io(error.reason()),
            _ => Self::Invalid(error.reason()),
        }
    }
}

impl fmt::Display for PlaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Invalid(_) => "plane memory cannot be used this way",
            Self::NoMemory(_) => "no memory for the plane",
            Self::Fault(Some(_)) => "plane memory does not suit the device",
            Self::Fault(None) => "plane memory is missing, read-only, too small or scattered",
            Self::Io(_) => "plane memory cannot be mapped for the device",
            Self::Busy => "plane memory is in use",
            Self::Revoked => "the exporter has taken the plane's memory back",
            Self::Pin(_) => "user memory cannot be pinned",
        };
        match self.reason() {
            Some(reason) => write!(f, "{what} ({reason})"),
            None => f.write_str(what),
        }
    }
}

impl core::error::Error for PlaneError {}

/// The memory of a queue's planes.
///
/// Values of [`Plane`](Self::Plane) and [`DmaBuf`](Self::DmaBuf) own their memory. The queue returns each
/// exactly once, with [`put`](Self::put) or [`put_dmabuf`](Self::put_dmabuf). A failed call keeps no
/// resource.
///
/// Several queues share one value by reference. A call of one queue must not delay calls of others.
///
/// # Context
/// All methods may sleep. [`prepare`](Self::prepare) and [`finish`](Self::finish) sleep only if they wait for
/// one of the implementation's locks.
#[expect(unused_variables, reason = "the default methods do nothing")]
pub trait MemOps {
    /// The host's identifier of a device that planes are allocated for (`alloc_devs`).
    type Device: Copy + Eq + fmt::Debug;
    /// Identifies the memory of the program that calls the queue.
    type User: Clone;
    /// The memory of one plane, of any kind: allocated, pinned user memory, imported dma-buf.
    type Plane;
    /// One counted reference to a dma-buf.
    type DmaBuf;
    /// How the driver reaches the plane: a DMA address, or a CPU mapping.
    type Cookie: Clone + fmt::Debug;
    /// How a front end maps the plane into a program.
    type Mmap;

    /// Returns whether the allocator supports USERPTR.
    fn supports_userptr(&self) -> bool;

    /// Returns the base-2 logarithm of the page size in bytes, 12 to 16: mmap offsets count pages.
    fn page_shift(&self) -> u32 {
        12
    }

    /// Allocates zeroed memory of `len_bytes`, rounded up to pages, for transfers in this direction. `coherency` is
    /// `NonCoherent` for `V4L2_MEMORY_FLAG_NON_COHERENT`.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM) for any shortage; `Invalid` for length zero.
    fn alloc(
        &self,
        dev: Self::Device,
        len_bytes: u64,
        direction: Direction,
        coherency: Coherency,
    ) -> Result<Self::Plane, PlaneError>;

    /// Pins `len_bytes` of a program's memory at `addr` and maps them for the device, without cache syncs.
    ///
    /// # Errors
    /// Contig: `Invalid` (EINVAL) for bad alignment or size, `Fault` (EFAULT) for missing,
    /// read-only or scattered memory, `Io` (EIO) when the DMA layer cannot map it. Vmalloc: `Fault`
    /// (EFAULT), `NoMemory` (ENOMEM).
    fn get_userptr(
        &self,
        dev: Self::Device,
        user: &Self::User,
        addr: u64,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self::Plane, PlaneError>;

    /// Returns whether the program's byte at `addr` is still in the pinned memory, so that `plane` can be kept.
    fn is_current(&self, plane: &Self::Plane, user: &Self::User, addr: u64) -> bool;

    /// Attaches a dma-buf without mapping it. The plane takes no reference: the caller keeps `buf` until
    /// after [`put`](Self::put).
    ///
    /// # Errors
    /// `Fault` (EFAULT) when the dma-buf is smaller than `len_bytes` (checked first), `NoMemory` (ENOMEM),
    /// `Io` (EIO) if a device may still reach the memory because an unmap failed.
    fn attach_dmabuf(
        &self,
        dev: Self::Device,
        buf: &Self::DmaBuf,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Self::Plane, PlaneError>;

    /// Maps an attached dma-buf for the device. Mapping twice is a no-op.
    ///
    /// # Errors
    /// Contig: `Invalid` (EINVAL) when the mapping fails, `Fault` (EFAULT) when it is not
    /// contiguous. Vmalloc: `Fault` (EFAULT).
    fn map_dmabuf(&self, plane: &mut Self::Plane) -> Result<(), PlaneError>;

    /// Unmaps an attached dma-buf. Unmapping twice is a no-op.
    fn unmap_dmabuf(&self, plane: &mut Self::Plane);

    /// Releases a plane's memory of any kind. Mappings into programs and exported
    /// dma-bufs keep allocated memory alive (it is orphaned, not freed).
    fn put(&self, plane: Self::Plane);

    /// Ends the attachments and mappings that are kept for dma-bufs which no plane of `dev` uses any more. A queue of
    /// dma-bufs calls this after it has freed its buffers.
    fn end_imports(&self, dev: Self::Device) {}

    /// Makes sure that the device has the plane mapped at its memory's current place. Memory may be placed at
    /// its first use, and moved between two uses. The queue calls this before each [`cookie`](Self::cookie)
    /// and [`prepare`](Self::prepare).
    ///
    /// # Errors
    /// As [`map_dmabuf`](Self::map_dmabuf); `NoMemory` if the memory cannot be placed.
    fn place(&self, plane: &mut Self::Plane) -> Result<(), PlaneError> {
        Ok(())
    }

    /// Passes the plane to the device, with the necessary cache maintenance unless it is skipped.
    ///
    /// # Errors
    /// The error of an imported buffer's exporter, such as EIO.
    fn prepare(&self, plane: &mut Self::Plane, skip: HintSkip) -> Result<(), PlaneError>;

    /// Returns the plane to the CPU, with the necessary cache maintenance unless it is skipped.
    ///
    /// # Errors
    /// `Io` (EIO), `Fault` (EFAULT): the CPU does not see all bytes that the device wrote. The plane belongs to the CPU
    /// nevertheless, and the queue returns the buffer with an error.
    fn finish(&self, plane: &mut Self::Plane, skip: HintSkip) -> Result<(), PlaneError>;

    /// Begins the driver's access. Until the access ends, a fence in the memory's reservation stands for it.
    /// If no fence can be made, the access continues without one.
    fn begin_access(&self, plane: &mut Self::Plane) {}

    /// Ends the driver's access. Does nothing without an earlier
    /// [`begin_access`](Self::begin_access).
    fn end_access(&self, plane: &mut Self::Plane, outcome: Result<(), i32>) {}

    /// Returns whether the driver must wait for fences that a program imported for the plane's
    /// memory.
    fn is_held_back(&self, plane: &Self::Plane) -> bool {
        false
    }

    /// Returns how the driver reaches the plane; `None` while an imported plane is not mapped.
    fn cookie(&self, plane: &Self::Plane) -> Option<Self::Cookie>;

    /// Returns the number of users of the memory: 1 for the queue, plus program mappings, plus
    /// exports.
    fn num_users(&self, plane: &Self::Plane) -> u32;

    /// Describes the plane for mapping into a program. The queue has checked `len_bytes`.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for planes that are not allocated memory.
    fn mmap(&self, plane: &Self::Plane, len_bytes: u64) -> Result<Self::Mmap, PlaneError>;

    /// Exports an allocated plane. Each call makes a new dma-buf. The host opens its file with the access mode that the
    /// program asked for.
    ///
    /// # Errors
    /// `Revoked` (ENODEV); `Io` (EIO) if a device may still reach the memory after a failed unmap; `Invalid`
    /// (EINVAL) for any other failure, with the reason.
    fn export(&self, plane: &Self::Plane) -> Result<Self::DmaBuf, PlaneError>;

    /// Returns the size of a dma-buf in bytes.
    fn dmabuf_len(&self, buf: &Self::DmaBuf) -> u64;

    /// Returns whether two references name the same dma-buf.
    fn same_dmabuf(&self, a: &Self::DmaBuf, b: &Self::DmaBuf) -> bool;

    /// Takes one more reference to a dma-buf.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM) when no more references can be counted or stored.
    fn clone_dmabuf(&self, buf: &Self::DmaBuf) -> Result<Self::DmaBuf, PlaneError>;

    /// Drops a reference to a dma-buf.
    fn put_dmabuf(&self, buf: Self::DmaBuf);

    /// Copies bytes out of a plane's CPU view, starting at `offset` (read() emulation). If the memory has other users,
    /// the call also begins and ends a CPU access. Reports the bytes as copied.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) outside the plane, `Busy` (EBUSY) when the plane has no CPU view.
    fn copy_from(
        &self,
        plane: &mut Self::Plane,
        offset: u64,
        out: &mut [u8],
    ) -> Result<(), PlaneError>;

    /// Copies bytes into a plane's CPU view, starting at `offset` (write() emulation).
    ///
    /// # Errors
    /// As [`copy_from`](Self::copy_from).
    fn copy_to(&self, plane: &mut Self::Plane, offset: u64, data: &[u8]) -> Result<(), PlaneError>;
}
