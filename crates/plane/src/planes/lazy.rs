//! Planes that are placed when they are first used, and mappings that follow moved memory.

use super::imports::ImportKey;
use super::{Kind, Plane, Planes};
use crate::{PlaneError, contig};
use vb3_dma::{Constraint, Direction, DmaAddr, DmaOps, Locks};
use vb3_dmabuf::{Error, MemoryId, Observer, Shared, SharedMemory, SlabKey};

impl<O: DmaOps, H: Observer<O>, L: Locks> Planes<O, H, L> {
    /// Makes sure that the device has the plane mapped at its memory's current place.
    pub(super) fn map_in_place(&self, plane: &mut Plane<O::Device>) -> Result<(), PlaneError> {
        match &mut plane.kind {
            Kind::Allocated {
                memory,
                own: Some(key),
                ..
            } if plane.dev.lazy => {
                let (memory, own) = (*memory, (*key, plane.direction));
                self.map_lazy(memory, own, plane.len_bytes).map(|_| ())
            }
            Kind::Imported {
                import,
                mapped: mapped @ Some(_),
                ..
            } => {
                let (key, allocator) = (*import, plane.dev.allocator);
                let addr = self.follow_import(key, allocator, plane.len_bytes);
                if addr.is_err() {
                    self.note_refused_import(key, plane.dev.dma, plane.len_bytes);
                }
                *mapped = Some(addr?);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Returns the address of lazily placed memory for the device that it was allocated for. Maps the
    /// memory if necessary.
    fn map_lazy(
        &self,
        memory: MemoryId,
        own: (SlabKey, Direction),
        len_bytes: u64,
    ) -> Result<DmaAddr, PlaneError> {
        if let Some(addr) = self.own_addr(memory, own.0) {
            return Ok(addr);
        }
        self.map_or_place(memory, |this| this.map_own_run(memory, own, len_bytes))
    }

    /// Returns the address of memory for the device it was made for; `None` while it is not mapped.
    pub(super) fn own_addr(&self, memory: MemoryId, key: SlabKey) -> Option<DmaAddr> {
        let first = |shared: &SharedMemory<O>| shared.segment(self.ops(), key, 0);
        Some(self.buffers.inspect(memory, first)??.addr)
    }

    /// Maps memory at contiguous DMA addresses for the device that it was allocated for.
    fn map_own_run(
        &self,
        memory: MemoryId,
        (key, direction): (SlabKey, Direction),
        len_bytes: u64,
    ) -> Result<DmaAddr, PlaneError> {
        let mapped = self.buffers.with_memory(memory, |shared, cx| {
            shared.map(cx, key, direction)?;
            let run = contig::one_run(|index| shared.segment(cx.ops, key, index), len_bytes);
            if run.is_err() {
                shared.unmap(cx, key);
            }
            Ok(run)
        });
        mapped.map_err(own_error)?
    }

    /// Maps memory. If it has no place yet, places it for all attached devices first. If the mapping fails
    /// and another place may help, moves it to a place for all attached devices and maps it again.
    pub(super) fn map_or_place<T>(
        &self,
        memory: MemoryId,
        mut map: impl FnMut(&Self) -> Result<T, PlaneError>,
    ) -> Result<T, PlaneError> {
        if self.buffers.inspect(memory, Shared::is_placed) == Some(false) {
            self.place_once(memory).map_err(own_error)?;
            return map(self);
        }
        match map(self) {
            Err(refused) if may_move_help(refused) => {
                // The reason why the devices cannot share the current place is more useful to the
                // caller than the reason why the memory cannot move.
                self.buffers.place(memory).map_err(|_| refused)?;
                map(self)
            }
            done => done,
        }
    }

    /// Places memory for an access by the CPU, unless it has been placed.
    pub(super) fn ensure_placed(&self, memory: MemoryId) -> Result<(), Error> {
        match self.buffers.inspect(memory, Shared::is_placed) {
            Some(false) => self.place_once(memory),
            _ => Ok(()),
        }
    }

    /// Places memory, unless another thread has done so since the caller looked.
    fn place_once(&self, memory: MemoryId) -> Result<(), Error> {
        match self.buffers.place(memory) {
            Err(_) if self.buffers.inspect(memory, Shared::is_placed) == Some(true) => Ok(()),
            placed => placed.map(drop),
        }
    }

    /// Returns an import's address for its device. Maps the import again if its memory was moved.
    fn follow_import(
        &self,
        key: ImportKey,
        allocator: super::Allocator,
        len_bytes: u64,
    ) -> Result<DmaAddr, PlaneError> {
        match self.import_segment(key, 0).map(|first| first.addr) {
            Some(addr) => Ok(addr),
            None => self.map_import(key, allocator, len_bytes),
        }
    }
}

/// Returns whether the device might accept the memory at another place.
fn may_move_help(refused: PlaneError) -> bool {
    let constraint = refused.reason().map(|reason| reason.constraint);
    !matches!(
        constraint,
        Some(Constraint::IovaSpace | Constraint::BufferSize)
    )
}

/// Converts the error of memory that the queue allocated. A shortage becomes ENOMEM, as at allocation.
///
/// Source: Linux 7.2 `vb2_dc_alloc`, `vb2_dc_mmap`.
pub(super) fn own_error(e: Error) -> PlaneError {
    match e {
        Error::Dma(vb3_dma::Error::NoMemory(_)) => PlaneError::NoMemory(e.reason()),
        _ => PlaneError::from(e),
    }
}
