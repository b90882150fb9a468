//! Imported dma-bufs: one attachment for each device, dma-buf and direction.
//!
//! All planes of the same dma-buf, device and direction share one import. An import without a plane is idle.
//! It stays attached and mapped, because the same buffer may return at another index. It ends in three cases:
//!
//! * The last plane of its device and direction is released: the queue has freed its buffers.
//! * The dma-buf no longer exists. An import has no reference to it.
//! * More than [`IDLE_LIMIT`] imports are idle, and this one was used longest ago.

use super::{Allocator, Device, Kind, Plane, Planes};
use crate::{PlaneError, contig, sg};
use vb3_dma::{Direction, DmaAddr, DmaOps, DmaSegment, Lock, Locks};
use vb3_dmabuf::{AttachRef, BufId, BufRef, Importer, MemoryId, Observer, SlabKey};

/// Largest number of idle imports.
pub(super) const IDLE_LIMIT: usize = 64;

/// Identifies an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ImportKey(SlabKey);

/// A dma-buf attached for one device and direction.
#[derive(Debug)]
pub(super) struct Import<D> {
    dev: D,
    direction: Direction,
    buf: BufId,
    memory: MemoryId,
    attachment: AttachRef,
    mapped: bool,
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
    /// Attaches a dma-buf for a plane, or uses an existing import of it. Checks the size for each plane.
    pub(super) fn import(
        &self,
        dev: Device<O::Device>,
        buf: &BufRef,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Plane<O::Device>, PlaneError> {
        contig::fits(self.buffers.size(buf), len_bytes)?;
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
                Some(key)
            })
        });
        let key = match joined {
            Some(key) => key.ok_or(PlaneError::NoMemory(None))?,
            None => {
                let attachment = contig::attach(&self.buffers, buf, dev.dma, len_bytes)?;
                let inserted = self.imports.insert(Import {
                    dev: dev.dma,
                    direction,
                    buf: buf.id(),
                    memory: buf.memory(),
                    attachment,
                    mapped: false,
                    planes: 1,
                    last_use: now,
                });
                match inserted {
                    Ok(key) => key,
                    Err(refused) => {
                        self.buffers.detach(refused.attachment);
                        return Err(PlaneError::NoMemory(None));
                    }
                }
            }
        };
        let kind = Kind::Imported {
            import: ImportKey(key),
            mapped: None,
            handed: 0,
        };
        Ok(Plane::new(dev, direction, len_bytes, kind))
    }

    /// Maps an import and returns its first address. Places lazily placed memory first.
    pub(super) fn map_import(
        &self,
        key: ImportKey,
        allocator: Allocator,
        len_bytes: u64,
    ) -> Result<DmaAddr, PlaneError> {
        let memory = self.import_memory(key).ok_or(PlaneError::Invalid(None))?;
        self.map_or_place(memory, |this| {
            let mapped = this.imports.with(key.0, |import| {
                this.try_map_import(import, allocator, len_bytes)
            });
            mapped.unwrap_or(Err(PlaneError::Invalid(None)))
        })
    }

    fn try_map_import(
        &self,
        import: &mut Import<O::Device>,
        allocator: Allocator,
        len_bytes: u64,
    ) -> Result<DmaAddr, PlaneError> {
        let buffers = &self.buffers;
        // The exporter may have taken the memory back.
        if import.mapped && buffers.segment(&import.attachment, 0).is_none() {
            buffers.unmap(&mut import.attachment);
            import.mapped = false;
        }
        let attachment = &mut import.attachment;
        let addr = match allocator {
            Allocator::Sg => {
                if !import.mapped {
                    sg::map(buffers, attachment, import.direction)?;
                }
                let first = buffers.segment(attachment, 0);
                first.ok_or(PlaneError::Invalid(None))?.addr
            }
            // Other allocators need one run of addresses.
            _ if import.mapped => contig::one_run(|i| buffers.segment(attachment, i), len_bytes)?,
            _ => contig::map(buffers, attachment, import.direction, len_bytes)?,
        };
        import.mapped = true;
        Ok(addr)
    }

    /// Ends a plane's use of an import. The mapping stays for the next plane.
    pub(super) fn put_import(&self, key: ImportKey) {
        let left = self.imports.with(key.0, |import| {
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

    /// Does the exporter's work before the device uses the import at `addr`.
    ///
    /// # Errors
    /// * `Busy` (EBUSY): another queue has moved the memory away from `addr`.
    /// * The error of [`Importer::hand_to_device`].
    pub(super) fn hand_import(&self, key: ImportKey, addr: DmaAddr) -> Result<(), PlaneError> {
        let handed = self.imports.with(key.0, |import| {
            let handed = self.buffers.hand_to_device(&import.attachment);
            handed?;
            // From here on the memory cannot move.
            let first = self.buffers.segment(&import.attachment, 0);
            if first.is_some_and(|first| first.addr == addr) {
                return Ok(());
            }
            self.buffers.take_from_device(&import.attachment);
            Err(PlaneError::Busy)
        });
        handed.unwrap_or(Err(PlaneError::Invalid(None)))
    }

    /// Does the exporter's work after the device has used the import.
    pub(super) fn take_back(&self, key: ImportKey) {
        // The import exists, since a plane uses it.
        let _there = self.imports.with(key.0, |import| {
            self.buffers.take_from_device(&import.attachment);
        });
    }

    /// Returns segment `index` of an import; `None` if it is not mapped or has fewer segments.
    pub(super) fn import_segment(&self, key: ImportKey, index: usize) -> Option<DmaSegment> {
        self.imports.with(key.0, |import| {
            self.buffers.segment(&import.attachment, index)
        })?
    }

    /// Stores a refused import for [`take_refused_import`](Self::take_refused_import).
    pub(super) fn note_refused_import(&self, key: ImportKey, device: O::Device, len_bytes: u64) {
        if let Some(memory) = self.import_memory(key) {
            self.note_refused(device, memory, len_bytes);
        }
    }

    pub(super) fn import_memory(&self, key: ImportKey) -> Option<MemoryId> {
        self.imports.with(key.0, |import| import.memory)
    }
}
