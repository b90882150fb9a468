//! Settings of a queue, fixed when it is made.

use bitflags::bitflags;
use vb3_plane::Direction;

/// Maximum number of planes of one buffer (`VIDEO_MAX_PLANES`).
pub const MAX_PLANES: usize = 8;

bitflags! {
    /// I/O modes that a queue offers.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct IoModes: u8 {
        /// Buffers allocated by the queue.
        const MMAP = 1 << 0;
        /// Buffers in the program's memory.
        const USERPTR = 1 << 1;
        /// Buffers imported as dma-bufs.
        const DMABUF = 1 << 2;
        /// read() emulation.
        const READ = 1 << 3;
        /// write() emulation.
        const WRITE = 1 << 4;
    }
}

/// Memory model: the source of a queue's buffer memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// Memory that the queue allocates and the program maps.
    Mmap,
    /// The program's own memory.
    UserPtr,
    /// A dma-buf of another driver.
    DmaBuf,
}

impl Memory {
    /// Returns the mode that a queue must offer for this memory model.
    #[must_use]
    pub const fn io_mode(self) -> IoModes {
        match self {
            Self::Mmap => IoModes::MMAP,
            Self::UserPtr => IoModes::USERPTR,
            Self::DmaBuf => IoModes::DMABUF,
        }
    }
}

/// Direction of a queue's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueType {
    /// From the device to the program.
    Capture,
    /// From the program to the device.
    Output,
}

/// Whether media requests may queue a queue's buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Requests {
    /// Never: a QBUF with a request fails with EBADR.
    #[default]
    None,
    /// Allowed. Until streaming stops, programs queue all buffers by requests, or all directly.
    Optional,
    /// Always: a QBUF without a request fails with EBADR.
    Required,
}

/// Default and minimum of [`Config::max_num_buffers`].
pub(crate) const MIN_MAX_BUFFERS: u32 = 32;

/// The settings of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config<Dev> {
    /// The device that accesses the planes.
    pub device: Dev,
    /// Other devices that access single planes, for example the second memory port of a codec.
    pub alloc_devs: [Option<Dev>; MAX_PLANES],
    /// Whether the device also reads CAPTURE buffers, or also writes to OUTPUT buffers.
    pub bidirectional: bool,
    /// Direction of the data.
    pub queue_type: QueueType,
    /// The I/O modes that the queue offers.
    pub io_modes: IoModes,
    /// Maximum number of buffers; 0 means 32, and values below 32 are refused.
    pub max_num_buffers: u32,
    /// Buffers that must be queued before the driver is started.
    pub min_queued_buffers: u32,
    /// Minimum number of buffers that REQBUFS makes. If `min_queued_buffers` is not 0, the queue raises this
    /// minimum to `min_queued_buffers + 1`.
    pub min_reqbufs_allocation: u32,
    /// Whether programs may ask for non-coherent memory and skip cache maintenance.
    pub allow_cache_hints: bool,
    /// Whether the driver copies timestamps from OUTPUT buffers to CAPTURE buffers. Otherwise, it takes them from the
    /// monotonic clock.
    pub copy_timestamps: bool,
    /// OUTPUT: whether a payload of zero means zero instead of the full length.
    pub allow_zero_bytesused: bool,
    /// Whether this is the CAPTURE queue of a mem2mem device. Bit 30 of its mmap cookies is set.
    pub m2m_capture: bool,
    /// Whether media requests may queue buffers. Not allowed if `min_queued_buffers` is set, since
    /// queueing a request cannot fail.
    pub requests: Requests,
    /// Base-2 logarithm of the page size in bytes, 12 to 16; mmap cookies count pages.
    pub page_shift: u32,
    /// Whether a call makes all requested buffers or none (ENOMEM). If true, the call places all buffers
    /// where their devices reach them. The queue's maximum number of buffers still limits a call. If false, a
    /// call makes as many buffers as fit in memory, as vb2 does. vb2 has no such setting.
    pub admission: bool,
}

impl<Dev> Config<Dev> {
    /// Returns the settings of an MMAP and DMABUF queue with Linux's defaults.
    #[must_use]
    pub const fn new(device: Dev, queue_type: QueueType) -> Self {
        Self {
            device,
            alloc_devs: [const { None }; MAX_PLANES],
            bidirectional: false,
            queue_type,
            io_modes: IoModes::MMAP.union(IoModes::DMABUF),
            max_num_buffers: MIN_MAX_BUFFERS,
            min_queued_buffers: 0,
            min_reqbufs_allocation: 0,
            allow_cache_hints: false,
            copy_timestamps: false,
            allow_zero_bytesused: false,
            m2m_capture: false,
            requests: Requests::None,
            page_shift: 12,
            admission: false,
        }
    }

    /// Returns the settings of a CAPTURE queue: the device fills buffers.
    #[must_use]
    pub const fn capture(device: Dev) -> Self {
        Self::new(device, QueueType::Capture)
    }

    /// Returns the settings of an OUTPUT queue: the device reads buffers.
    #[must_use]
    pub const fn output(device: Dev) -> Self {
        Self::new(device, QueueType::Output)
    }

    /// Returns the mode of the emulation that a queue of this type can offer: read() or write().
    pub(crate) const fn fileio_mode(&self) -> IoModes {
        match self.queue_type {
            QueueType::Capture => IoModes::READ,
            QueueType::Output => IoModes::WRITE,
        }
    }

    pub(crate) const fn is_output(&self) -> bool {
        matches!(self.queue_type, QueueType::Output)
    }

    /// Returns the direction of the device's transfers.
    pub(crate) const fn direction(&self) -> Direction {
        match self.queue_type {
            _ if self.bidirectional => Direction::Bidirectional,
            QueueType::Capture => Direction::FromDevice,
            QueueType::Output => Direction::ToDevice,
        }
    }
}
