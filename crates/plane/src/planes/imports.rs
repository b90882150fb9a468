//! Imported dma-bufs, kept by identity: one attachment for each device, dma-buf and direction.
//!
//! Planes that name the same dma-buf share it, and it stays mapped while no plane uses it, in
//! case the same buffer comes back at another index. It is given up when the last plane of its
//! device and direction goes (the queue has let go of its buffers), when the dma-buf goes, or
//! when too many lie idle. It holds no reference to the dma-buf.

use super::{Allocator, Device, Kind, Plane, Planes, RefusedImport};
use crate::{PlaneError, contig, sg};
use vb3_dma::{Direction, DmaAddr, DmaOps, Locks};
use vb3_dmabuf::{AttachRef, BufId, BufRef, Importer, MemoryId, Observer, SlabKey, Store};

/// Most imports that stay mapped without a plane.
pub(super) const IDLE_LIMIT: usize = 64;

/// Names an import.
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
    /// Planes that name it.
    planes: u32,
    /// Planes that have it mapped.
    mapped_planes: u32,
    last_use: u64,
}

impl<O: DmaOps, H: Observer<O>, L: Locks> Planes<O, H, L> {
    fn find_import(&self, dev: O::Device, buf: BufId, direction: Direction) -> Option<SlabKey> {
        self.imports
            .iter()
            .find(|(_, i)| i.dev == dev && i.buf == buf && i.direction == direction)
            .map(|(key, _)| key)
    }

    /// Attaches a dma-buf for a plane. Its size is tested for each plane.
    pub(super) fn import(
        &mut self,
        dev: Device<O::Device>,
        buf: &BufRef,
        len_bytes: u64,
        direction: Direction,
    ) -> Result<Plane<O::Device>, PlaneError> {
        contig::fits(self.buffers.size(buf), len_bytes)?;
        self.clock = self.clock.saturating_add(1);
        let now = self.clock;
        let key = match self.find_import(dev.dma, buf.id(), direction) {
            Some(key) => key,
            None => {
                let attachment = contig::attach(&self.buffers, buf, dev.dma, len_bytes)?;
                let inserted = self.imports.insert(Import {
                    dev: dev.dma,
                    direction,
                    buf: buf.id(),
                    memory: buf.memory(),
                    attachment,
                    mapped: false,
                    planes: 0,
                    mapped_planes: 0,
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
        let import = self.imports.get_mut(key).ok_or(PlaneError::Invalid(None))?;
        import.planes = import
            .planes
            .checked_add(1)
            .ok_or(PlaneError::NoMemory(None))?;
        import.last_use = now;
        Ok(Plane {
            dev,
            access: None,
            direction,
            len_bytes,
            kind: Kind::Imported {
                import: ImportKey(key),
                mapped: None,
                handed: 0,
            },
        })
    }

    /// Maps an import for one more plane, and finds where it begins.
    pub(super) fn map_import(
        &mut self,
        key: ImportKey,
        allocator: Allocator,
        len_bytes: u64,
    ) -> Result<DmaAddr, PlaneError> {
        let addr = self.map_import_again(key, allocator, len_bytes)?;
        if let Some(import) = self.imports.get_mut(key.0) {
            import.mapped_planes = import.mapped_planes.saturating_add(1);
        }
        Ok(addr)
    }

    /// Maps an import for the planes that have it; places its memory for that, where it is placed
    /// lazily.
    pub(super) fn map_import_again(
        &mut self,
        key: ImportKey,
        allocator: Allocator,
        len_bytes: u64,
    ) -> Result<DmaAddr, PlaneError> {
        let memory = self.import_memory(key).ok_or(PlaneError::Invalid(None))?;
        self.or_placed(memory, |this| {
            this.try_map_import(key, allocator, len_bytes)
        })
    }

    /// Where an import begins for its device; `None` while that has it not mapped.
    pub(super) fn import_addr(&self, key: ImportKey) -> Option<DmaAddr> {
        let attachment = self.import_attachment(key)?;
        Some(self.buffers.segment(attachment, 0)?.addr)
    }

    fn try_map_import(
        &mut self,
        key: ImportKey,
        allocator: Allocator,
        len_bytes: u64,
    ) -> Result<DmaAddr, PlaneError> {
        let import = self
            .imports
            .get_mut(key.0)
            .ok_or(PlaneError::Invalid(None))?;
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
            // All others need one run.
            _ if import.mapped => contig::one_run(|i| buffers.segment(attachment, i), len_bytes)?,
            _ => contig::map(buffers, attachment, import.direction, len_bytes)?,
        };
        import.mapped = true;
        Ok(addr)
    }

    /// A plane no longer uses the mapping; it stays for the next one.
    pub(super) fn unmap_import(&mut self, key: ImportKey) {
        if let Some(import) = self.imports.get_mut(key.0) {
            import.mapped_planes = import.mapped_planes.saturating_sub(1);
        }
    }

    /// A plane lets go of an import.
    pub(super) fn put_import(&mut self, key: ImportKey) {
        let Some(import) = self.imports.get_mut(key.0) else {
            return;
        };
        import.planes = import.planes.saturating_sub(1);
        if import.planes > 0 {
            return;
        }
        let (dev, direction) = (import.dev, import.direction);
        let in_use = self
            .imports
            .iter()
            .any(|(_, i)| i.dev == dev && i.direction == direction && i.planes > 0);
        if in_use {
            self.trim_idle();
        } else {
            self.drop_imports(|i| i.dev == dev && i.direction == direction);
        }
        self.forget_gone();
    }

    /// Drops what no plane uses and `which` picks.
    fn drop_imports(&mut self, which: impl Fn(&Import<O::Device>) -> bool) {
        let mut at = self.imports.next(None);
        while let Some(key) = at {
            at = self.imports.next(Some(key));
            let picked = self
                .imports
                .get(key)
                .is_some_and(|i| i.planes == 0 && which(i));
            if picked {
                self.drop_import(key);
            }
        }
    }

    fn drop_import(&mut self, key: SlabKey) {
        if let Some(import) = self.imports.remove(key) {
            self.buffers.detach(import.attachment);
        }
    }

    /// Gives up the import unused longest while too many lie idle.
    fn trim_idle(&mut self) {
        let idle = || self.imports.iter().filter(|(_, i)| i.planes == 0);
        if idle().count() <= IDLE_LIMIT {
            return;
        }
        let oldest = idle().min_by_key(|(_, i)| i.last_use).map(|(key, _)| key);
        if let Some(key) = oldest {
            self.drop_import(key);
        }
    }

    /// Forgets idle imports of dma-bufs that are gone.
    pub(super) fn forget_gone(&mut self) {
        let mut at = self.imports.next(None);
        while let Some(key) = at {
            at = self.imports.next(Some(key));
            let gone = self
                .imports
                .get(key)
                .is_some_and(|i| i.planes == 0 && self.buffers.buf(i.buf).is_none());
            if gone {
                self.drop_import(key);
            }
        }
    }

    /// The exporter's part of a hand-over to the device.
    pub(super) fn hand_import(&mut self, key: ImportKey) -> Result<(), PlaneError> {
        let import = self.imports.get(key.0).ok_or(PlaneError::Invalid(None))?;
        self.buffers
            .hand_to_device(&import.attachment)
            .map_err(PlaneError::shared)
    }

    /// The exporter's part of a hand-over back.
    pub(super) fn take_back(&mut self, key: ImportKey) {
        if let Some(import) = self.imports.get(key.0) {
            self.buffers.take_from_device(&import.attachment);
        }
    }

    pub(super) fn import_attachment(&self, key: ImportKey) -> Option<&AttachRef> {
        self.imports.get(key.0).map(|i| &i.attachment)
    }

    /// Remembers that a device could not use an import.
    pub(super) fn note_refused(&mut self, key: ImportKey, device: O::Device, len_bytes: u64) {
        self.refused = self.import_memory(key).map(|memory| RefusedImport {
            device,
            memory,
            len_bytes,
        });
    }

    pub(super) fn import_memory(&self, key: ImportKey) -> Option<MemoryId> {
        self.imports.get(key.0).map(|i| i.memory)
    }
}
