//! The importer's interface: how a queue uses a buffer of another driver.

use crate::Error;
use vb3_dma::{Direction, DmaSegment};

/// An importing queue's interface to dma-bufs.
///
/// [`Buffers`](crate::Buffers) implements this over [`Shared`](crate::Shared) memory. A kernel host
/// implements it with `dma_buf_attach` and the related functions. The importer ends each attachment with
/// [`detach`](Self::detach).
pub trait Importer {
    /// The host's name of a device.
    type Device: Copy + Eq + core::fmt::Debug;
    /// The caller's reference to a dma-buf.
    type Buf;
    /// A device attached to a dma-buf.
    type Attachment;

    /// Returns the buffer's length in bytes.
    fn size(&self, buf: &Self::Buf) -> u64;

    /// Attaches a device. The caller keeps its reference to `buf` until after the detach.
    ///
    /// # Errors
    /// ENOMEM, ENODEV after revocation, and the exporter's errors.
    fn attach(&self, buf: &Self::Buf, dev: Self::Device) -> Result<Self::Attachment, Error>;

    /// Maps the buffer for the attached device, with the necessary syncs. Each map needs its own
    /// [`unmap`](Self::unmap).
    ///
    /// # Errors
    /// EBUSY while mapped in a direction that excludes `direction`; ENODEV after revocation; the DMA layer's
    /// errors.
    fn map(&self, attachment: &mut Self::Attachment, direction: Direction) -> Result<(), Error>;

    /// Segment `index` of the mapping; `None` after the last segment or without a mapping.
    fn segment(&self, attachment: &Self::Attachment, index: usize) -> Option<DmaSegment>;

    /// Undoes one [`map`](Self::map).
    fn unmap(&self, attachment: &mut Self::Attachment);

    /// Detaches the device. Removes its mapping if there still is one.
    fn detach(&self, attachment: Self::Attachment);

    /// Begins one use of the mapped buffer by the attached device.
    ///
    /// When memory passes from device to device, only a bounced mapping needs work: a copy. The default does
    /// nothing, for hosts whose exporters have no such call.
    ///
    /// # Errors
    /// ENODEV after revocation.
    fn hand_to_device(&self, attachment: &Self::Attachment) -> Result<(), Error> {
        let _ = attachment;
        Ok(())
    }

    /// Ends one use of the mapped buffer by the attached device.
    fn take_from_device(&self, attachment: &Self::Attachment) {
        let _ = attachment;
    }

    /// Begins an access by the CPU: `FromDevice` if the CPU reads, `ToDevice` if it writes.
    ///
    /// # Errors
    /// The exporter's errors.
    fn begin_cpu_access(&self, buf: &Self::Buf, direction: Direction) -> Result<(), Error>;

    /// Ends an access by the CPU.
    ///
    /// # Errors
    /// The exporter's errors.
    fn end_cpu_access(&self, buf: &Self::Buf, direction: Direction) -> Result<(), Error>;

    /// Maps the buffer for the CPU. Each call needs its own `vunmap`.
    ///
    /// # Errors
    /// The exporter's errors.
    fn vmap(&self, buf: &Self::Buf) -> Result<(), Error>;

    /// Undoes one [`vmap`](Self::vmap).
    fn vunmap(&self, buf: &Self::Buf);
}
