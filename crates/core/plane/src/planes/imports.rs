//! Imported dma-bufs: one attachment for each device, dma-buf and direction.
//!
//! All planes of the same dma-buf, device and direction share one import. An import without a plane is idle.
//! It stays attached and mapped, because the same buffer may return at another index. It ends in three cases:
//!
//! * The last plane of its device and direction is released: the queue has freed its buffers.
//! * The dma-buf no longer exists. An import has no reference to it.
//! * More than [`IDLE_LIMIT`] imports are idle, and this one was used longest ago.

use super::mapping::{Attached, memory_error};
use super::{Allocator, Device, Kind, Planes};
use crate::{MemOps, PlaneError, contig};
use vb3_dma::{Direction, DmaOps, Lock, Locks};
use vb3_dmabuf::{AttachKind, AttachRef, BufId, BufRef, Observer, SlabKey};

/// Largest number of idle imports.
pub(super) const IDLE_LIMIT: usize = 64;

/// A dma-buf attached for one device and direction.
#[derive(Debug)]
pub(super) struct Import<D> {
    dev: D,
    direction: Direction,
    buf: BufId,
    attachment: AttachRef,
    /// Number of planes that use the import.
    planes: u32,
    last_use: u64,
}

impl<D: Copy + Eq> Import<D> {
    fn is_of(&self, dev: D, direction: Direction) -> bool {
        self.dev == dev && self.direction == direction
    }
}

impl<O: DmaOps, H: Observer<O>, L: Locks> Planes<O, H, L> {
    /// Attaches a dma-buf for a plane, or uses an existing import of it. Checks the size for each plane. A
    /// vmalloc plane needs no attachment, but only a CPU mapping.
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
        let now = self.facts.with(|facts| {
            facts.import_uses = facts.import_uses.saturating_add(1);
            facts.import_uses
        });
        // Two threads may both find no import and both make one. That only costs an attachment.
        let joined = self.imports.find_map(|key, import| {
            let is_it = import.is_of(dev.dma, direction) && import.buf == buf.id();
            is_it.then(|| {
                import.planes = import.planes.checked_add(1)?;
                import.last_use = now;
                Some((key, Attached::from(&import.attachment)))
            })
        });
        let (import, at) = match joined {
            Some(joined) => joined.ok_or(PlaneError::NoMemory(None))?,
            None => {
                let attached = (self.buffers).attach(buf.memory(), dev.dma, AttachKind::Dynamic);
                let attachment = attached.map_err(memory_error)?;
                let at = Attached::from(&attachment);
                let inserted = self.imports.insert(Import {
                    dev: dev.dma,
                    direction,
                    buf: buf.id(),
                    attachment,
                    planes: 1,
                    last_use: now,
                });
                match inserted {
                    Ok(key) => (key, at),
                    Err(refused) => {
                        self.buffers.detach(refused.attachment);
                        return Err(PlaneError::NoMemory(None));
                    }
                }
            }
        };
        Ok(Kind::Imported {
            import,
            at,
            mapped: None,
            handed: 0,
        })
    }

    /// Ends a plane's use of an import. The mapping stays for the next plane.
    pub(super) fn put_import(&self, key: SlabKey) {
        let left = self.imports.with(key, |import| {
            import.planes = import.planes.saturating_sub(1);
            (import.planes, import.dev, import.direction)
        });
        let Some((0, dev, direction)) = left else {
            return;
        };
        let is_used = |import: &Import<_>| import.is_of(dev, direction) && import.planes > 0;
        let in_use = self
            .imports
            .find_map(|_, import| is_used(import).then_some(()));
        if in_use.is_some() {
            self.trim_idle();
        } else {
            self.drop_imports(|import| import.is_of(dev, direction));
        }
        self.forget_gone();
    }

    /// Drops all idle imports that `which` selects.
    fn drop_imports(&self, which: impl Fn(&Import<O::Device>) -> bool) {
        self.imports
            .keys()
            .for_each(|key| self.drop_if(key, &which));
    }

    /// Drops one import if it is idle and `which` selects it.
    fn drop_if(&self, key: SlabKey, which: impl Fn(&Import<O::Device>) -> bool) {
        let picked = (self.imports).remove_if(key, |import| import.planes == 0 && which(import));
        if let Some(import) = picked {
            self.buffers.detach(import.attachment);
        }
    }

    /// Drops the idle import that was used longest ago, if more than [`IDLE_LIMIT`] are idle.
    fn trim_idle(&self) {
        let mut idle = 0_usize;
        let mut oldest: Option<(u64, SlabKey)> = None;
        for key in self.imports.keys() {
            let last_use = self.imports.with(key, |import| {
                (import.planes == 0).then_some(import.last_use)
            });
            if let Some(last_use) = last_use.flatten() {
                idle = idle.saturating_add(1);
                let older = oldest.filter(|(other, _)| *other <= last_use);
                oldest = older.or(Some((last_use, key)));
            }
        }
        if let Some((_, key)) = oldest.filter(|_| idle > IDLE_LIMIT) {
            self.drop_if(key, |_| true);
        }
    }

    /// Drops idle imports of dma-bufs that no longer exist.
    pub(super) fn forget_gone(&self) {
        self.drop_imports(|import| self.buffers.buf(import.buf).is_none());
    }
}
