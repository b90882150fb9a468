//! The importer's interface: how a queue uses a buffer of another driver.

use crate::Error;
use vb3_dma::{Direction, DmaSegment};

/// How an importing queue reaches dma-bufs.
///
/// [`Buffers`](crate::Buffers) implements it over [`Shared`](crate::Shared) memory; a kernel home
/// with `dma_buf_attach` and its like. The importer ends each attachment with
/// [`detach`](Self::detach).
pub trait Importer {
    /// A device.
    type Device: Copy + Eq + core::fmt::Debug;
    /// A reference to a dma-buf, as the caller has it.
    type Buf;
    /// A device attached to a dma-buf.
    type Attachment;

    /// Bytes of the buffer.
    fn size(&self, buf: &Self::Buf) -> u64;

    /// Attaches a device. The caller keeps its reference to `buf` until after the detach.
    ///
    /// # Errors
    /// ENOMEM, ENODEV after revocation, and what the exporter says.
    fn attach(&self, buf: &Self::Buf, dev: Self::Device) -> Result<Self::Attachment, Error>;

    /// Maps for the attached device, with the necessary syncs. Counted: each map needs its
    /// [`unmap`](Self::unmap).
    ///
    /// # Errors
    /// EBUSY while mapped in a direction that excludes this one; ENODEV after revocation; what
    /// the DMA layer says.
    fn map(&self, attachment: &mut Self::Attachment, direction: Direction) -> Result<(), Error>;

    /// Segment `index` of the mapping; `None` past the last, and for what is not mapped.
    fn segment(&self, attachment: &Self::Attachment, index: usize) -> Option<DmaSegment>;

    /// Undoes one [`map`](Self::map).
    fn unmap(&self, attachment: &mut Self::Attachment);

    /// Detaches, unmapping what is still mapped.
    fn detach(&self, attachment: Self::Attachment);

    /// The attached device is about to use the mapped buffer once more.
    ///
    /// Does the work between devices, which is only the copy of a bounced mapping. A host whose
    /// exporters offer no such call has nothing to do here.
    ///
    /// # Errors
    /// ENODEV after revocation.
    fn hand_to_device(&self, attachment: &Self::Attachment) -> Result<(), Error> {
        let _ = attachment;
        Ok(())
    }

    /// The attached device has finished this use of the buffer.
    fn take_from_device(&self, attachment: &Self::Attachment) {
        let _ = attachment;
    }

    /// Begins an access by the CPU. `FromDevice` is a CPU that reads, `ToDevice` one that writes.
    ///
    /// # Errors
    /// As the exporter says.
    fn begin_cpu_access(&self, buf: &Self::Buf, direction: Direction) -> Result<(), Error>;

    /// Ends an access by the CPU.
    ///
    /// # Errors
    /// As the exporter says.
    fn end_cpu_access(&self, buf: &Self::Buf, direction: Direction) -> Result<(), Error>;

    /// Maps for the CPU. Counted.
    ///
    /// # Errors
    /// As the exporter says.
    fn vmap(&self, buf: &Self::Buf) -> Result<(), Error>;

    /// Undoes one [`vmap`](Self::vmap).
    fn vunmap(&self, buf: &Self::Buf);
}
