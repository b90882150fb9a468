//! Scattered planes: pages mapped for the device they were allocated for, and the segments drivers get.

use super::lazy::own_error;
use super::{Planes, Segments, SgView};
use crate::{Direction, PlaneError};
use vb3_dma::{DmaAddr, DmaOps, DmaSegment, Locks, SyncFor};
use vb3_dmabuf::{AttachKind, Error, MemoryId, Observer, SharedMemory, SlabKey};

impl<O: DmaOps, H: Observer<O>, L: Locks> Planes<O, H, L> {
    /// Attaches the device that memory was allocated for, and maps the memory.
    pub(super) fn map_own(
        &self,
        memory: MemoryId,
        dev: O::Device,
        direction: Direction,
    ) -> Result<SlabKey, Error> {
        self.buffers.with_memory(memory, |shared, cx| {
            let key = shared.attach(cx, dev, AttachKind::Announced)?;
            shared.map(cx, key, direction)?;
            Ok(key)
        })
    }

    /// Unmaps and detaches memory from the device that it was allocated for.
    pub(super) fn unmap_own(&self, memory: MemoryId, key: SlabKey) {
        // The plane uses the memory, so the memory exists.
        let _there = self.buffers.with_memory(memory, |shared, cx| {
            shared.detach(cx, key);
            Ok(())
        });
    }

    /// Passes scattered memory to the device that it was allocated for, or back to the CPU.
    pub(super) fn hand_own(
        &self,
        (memory, key): (MemoryId, SlabKey),
        sync_for: SyncFor,
        sync: bool,
    ) -> Result<(), PlaneError> {
        let handed = self
            .buffers
            .with_memory(memory, |shared, cx| match sync_for {
                SyncFor::Device => shared.hand_to_device(cx, key, sync),
                SyncFor::Cpu => {
                    shared.take_from_device(cx, key, sync);
                    Ok(())
                }
            });
        handed.map_err(|e| match e {
            // The device uses bounce buffers, and the memory could not be copied to or from them.
            Error::Dma(vb3_dma::Error::NoSuchMemory(_)) => PlaneError::Io(e.reason()),
            _ => own_error(e),
        })
    }

    /// Returns segment `index` of a scattered plane, as its device sees it. `None` past the last
    /// segment, or if the plane is not mapped.
    pub fn sg_segment(&self, view: SgView, index: usize) -> Option<DmaSegment> {
        match view.0 {
            Segments::Own(memory, key) => {
                let segment = |shared: &SharedMemory<O>| shared.segment(self.ops(), key, index);
                self.buffers.inspect(memory, segment)?
            }
            Segments::User(key) => self.with_user(key, |user| user.segment(self.ops(), index))?,
            Segments::Import(key) => self.import_segment(key, index),
        }
    }

    /// Returns a byte's device address, and the number of bytes from there to its segment's end.
    /// `None` past the plane's end. Takes time proportional to the segments before the byte.
    pub fn sg_find(&self, view: SgView, offset: u64) -> Option<(DmaAddr, u64)> {
        let mut before = 0_u64;
        for index in 0.. {
            let segment = self.sg_segment(view, index)?;
            let end = before.checked_add(segment.len)?;
            if offset < end {
                let into = offset.saturating_sub(before);
                return Some((segment.addr.checked_add(into)?, end.saturating_sub(offset)));
            }
            before = end;
        }
        None
    }
}
