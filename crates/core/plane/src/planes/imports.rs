//! Imported dma-bufs. Planes of the same dma-buf, device and direction share one attachment.
//!
//! An import without a plane is idle. It stays attached and mapped, because the same buffer may return at another
//! index. It ends in three cases:
//!
//! * The queue has freed its buffers ([`MemOps::end_imports`](crate::MemOps::end_imports)).
//! * The dma-buf no longer exists. An import has no reference to it.
//! * A device lacks addresses or bounce slots for another mapping.
//!
//! Linux has no idle imports: it ends an import when another dma-buf takes the plane's place. This crate ends idle
//! imports before it refuses a mapping, so it refuses exactly the calls that Linux refuses.
//!
//! Source: Linux 7.2 drivers/media/common/videobuf2/videobuf2-core.c `__prepare_dmabuf`,
//! `__vb2_plane_dmabuf_put`.

use super::{Device, Kind, Planes};
use crate::planes::mapping::memory_error;
use crate::{Allocator, MemOps, PlaneError, contig};
use vb3_dma::{Constraint, Direction, DmaOps, Locks};
use vb3_dmabuf::{BufRef, Observer};

impl<O: DmaOps, H: Observer<O>, L: Locks> Planes<O, H, L> {
    /// Imports a dma-buf for a plane. Checks the size for each plane. A vmalloc plane needs no attachment, but only
    /// a CPU mapping.
    pub(super) fn import(
        &self,
        dev: Device<O::Device>,
        buf: &BufRef,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Kind, PlaneError> {
        contig::fits(self.dmabuf_len(buf), len_bytes)?;
        if dev.allocator == Allocator::Vmalloc {
            return Ok(Kind::Virtual {
                memory: buf.memory(),
                is_own: false,
                mapped: false,
                open: false,
            });
        }
        let import = self.buffers.get_import(buf, dev.dma, direction);
        Ok(Kind::Imported {
            import: import.map_err(memory_error)?,
            mapped: None,
            handed: 0,
        })
    }

    /// Ends a device's idle imports if a mapping failed for lack of something that they hold. Returns whether any
    /// ended.
    pub(super) fn reclaim(&self, dev: O::Device, refused: PlaneError) -> bool {
        let constraint = refused.reason().map(|reason| reason.constraint);
        let lacks = matches!(
            constraint,
            Some(Constraint::IovaSpace | Constraint::BouncePool)
        );
        lacks && self.buffers.end_idle_imports(dev) > 0
    }
}
