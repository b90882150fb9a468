//! Mappings of shared memory for attached devices. Memory is placed before its first mapping, and mapped again
//! after it has moved.

use super::{Kind, Plane, Planes, View, Viewed};
use crate::{Allocator, PlaneError, contig};
use vb3_dma::{Constraint, DmaAddr, DmaOps, DmaSegment, Locks, SyncFor};
use vb3_dmabuf::{AttachRef, Error, MemoryId, Observer, Shared, SlabKey};

/// A device's attachment to memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) memory: MemoryId,
    key: SlabKey,
}

impl From<&AttachRef> for Attached {
    fn from(attachment: &AttachRef) -> Self {
        Self {
            memory: attachment.memory(),
            key: attachment.key(),
        }
    }
}

impl<O: DmaOps, H: Observer<O>, L: Locks> Planes<O, H, L> {
    /// Makes sure that the device has the plane mapped at its memory's current place.
    pub(super) fn map_in_place(&self, plane: &mut Plane<O::Device>) -> Result<(), PlaneError> {
        let at = match &plane.kind {
            Kind::Allocated { own: Some(own), .. } if plane.dev.lazy => own.into(),
            Kind::Imported {
                import,
                mapped: Some(_),
                ..
            } => import.into(),
            _ => return Ok(()),
        };
        let known = self.attached_segment(at, 0).map(|first| first.addr);
        self.map_plane(plane, at, known)
    }

    /// Maps a plane for its attached device, unless `known` has the device's address of the plane.
    pub(super) fn map_plane(
        &self,
        plane: &mut Plane<O::Device>,
        at: Attached,
        known: Option<DmaAddr>,
    ) -> Result<(), PlaneError> {
        let addr = match known {
            Some(known) => Ok(known),
            None => match self.map_or_move(plane, at) {
                Err(refused) if self.reclaim(plane.dev.dma, refused) => self.map_or_move(plane, at),
                mapped => mapped,
            },
        };
        if let Kind::Imported { mapped, .. } = &mut plane.kind {
            if addr.is_err() {
                self.host()
                    .refused_import(plane.dev.dma, at.memory, plane.len_bytes);
            }
            *mapped = Some(addr?);
        }
        addr.map(drop)
    }

    /// Maps memory for an attached device. If the mapping fails and another place may help, moves the memory
    /// to a place for all attached devices and maps it again. Returns the first address.
    fn map_or_move(&self, plane: &Plane<O::Device>, at: Attached) -> Result<DmaAddr, PlaneError> {
        self.ensure_placed(at.memory).map_err(memory_error)?;
        match self.map(plane, at) {
            Err(refused) if may_move_help(refused) => {
                // The reason why the devices cannot share the current place is more useful to the
                // caller than the reason why the memory cannot move.
                self.buffers.place(at.memory).map_err(|_| refused)?;
                self.map(plane, at)
            }
            done => done,
        }
    }

    /// Maps memory for an attached device: for dma-sg at any addresses, otherwise at one run of addresses.
    /// Other planes may share the mapping. Returns the first address.
    ///
    /// Source: Linux 7.2 `vb2_dc_map_dmabuf`, `vb2_dma_sg_map_dmabuf`.
    fn map(&self, plane: &Plane<O::Device>, at: Attached) -> Result<DmaAddr, PlaneError> {
        let mapped = self.buffers.with_memory(at.memory, |shared, cx| {
            let is_new = shared.mapping(at.key).is_none();
            if is_new {
                shared.map(cx, at.key, plane.direction)?;
            }
            let segment = |index| shared.segment(cx.ops, at.key, index);
            let addr = match plane.dev.allocator {
                Allocator::Sg => match segment(0) {
                    Some(first) => Ok(first.addr),
                    None => Err(PlaneError::Invalid(None)),
                },
                Allocator::Contig | Allocator::Vmalloc => contig::one_run(segment, plane.len_bytes),
            };
            if addr.is_err() && is_new {
                shared.unmap(cx, at.key);
            }
            Ok(addr)
        });
        mapped.map_err(|e| match plane.kind {
            Kind::Allocated { .. } => memory_error(e),
            _ => e.into(),
        })?
    }

    /// Places memory, unless it has been placed.
    pub(super) fn ensure_placed(&self, memory: MemoryId) -> Result<(), Error> {
        let is_placed = || self.buffers.inspect(memory, Shared::is_placed);
        if is_placed() != Some(false) {
            return Ok(());
        }
        match self.buffers.place(memory) {
            // Another thread has placed it since.
            Err(_) if is_placed() == Some(true) => Ok(()),
            placed => placed.map(drop),
        }
    }

    /// Passes memory to the device that it was allocated for, or back to the CPU. `own` is the device's attachment, if
    /// it has one.
    pub(super) fn hand_own(
        &self,
        (memory, own): (MemoryId, Option<&AttachRef>),
        sync_for: SyncFor,
        sync: bool,
    ) -> Result<(), PlaneError> {
        let key = own.map(AttachRef::key);
        let handed = self.buffers.with_memory(memory, |shared, cx| {
            match (key, sync_for) {
                (Some(key), SyncFor::Device) => shared.hand_to_device(cx, key, sync)?,
                (Some(key), SyncFor::Cpu) => shared.take_from_device(cx, key, sync)?,
                (None, SyncFor::Device) => shared.owner_to_device(cx, sync),
                (None, SyncFor::Cpu) => shared.owner_from_device(cx, sync),
            }
            Ok(())
        });
        handed.map_err(hand_over_error)
    }

    /// Passes imported memory to a device that has it mapped at `addr`.
    ///
    /// # Errors
    /// * `Busy` (EBUSY): another queue has moved the memory away from `addr`.
    /// * `Io` (EIO): the memory could not be copied for a device that uses a copy.
    /// * The error of [`Shared::hand_to_device`].
    pub(super) fn hand_import(&self, at: Attached, addr: DmaAddr) -> Result<(), PlaneError> {
        let handed = self.buffers.with_memory(at.memory, |shared, cx| {
            let first = shared.segment(cx.ops, at.key, 0);
            if first.is_some_and(|first| first.addr != addr) {
                return Err(Error::Busy);
            }
            shared.hand_to_device(cx, at.key, false)
        });
        handed.map_err(|e| match e {
            Error::Busy => PlaneError::Busy,
            Error::Dma(_) => hand_over_error(e),
            _ => e.into(),
        })
    }

    /// Takes imported memory back from a device that got it `handed` times.
    ///
    /// # Errors
    /// `Io` (EIO): the device's bytes could not be copied to the memory.
    pub(super) fn take_import(&self, at: Attached, handed: &mut u32) -> Result<(), PlaneError> {
        let uses = core::mem::take(handed);
        let taken = self.buffers.with_memory(at.memory, |shared, cx| {
            let mut result = Ok(());
            for _ in 0..uses {
                result = result.and(shared.take_from_device(cx, at.key, false));
            }
            result
        });
        taken.map_err(hand_over_error)
    }

    /// Returns segment `index` of an attachment's mapping; `None` if it is not mapped or has fewer segments.
    pub(super) fn attached_segment(&self, at: Attached, index: usize) -> Option<DmaSegment> {
        self.buffers.inspect(at.memory, |shared| {
            shared.segment(self.ops(), at.key, index)
        })?
    }

    /// Returns segment `index` of a scattered plane, as its device sees it. `None` past the last
    /// segment, or if the plane is not mapped.
    pub fn sg_segment(&self, view: View, index: usize) -> Option<DmaSegment> {
        match view.0 {
            Viewed::Memory(_) => None,
            Viewed::Attached(at) => self.attached_segment(at, index),
            Viewed::User(key) => self.with_user(key, |user| user.segment(self.ops(), index))?,
        }
    }

    /// Returns a byte's device address, and the number of bytes from there to its segment's end.
    /// `None` past the plane's end. Takes time proportional to the segments before the byte.
    pub fn sg_find(&self, view: View, offset: u64) -> Option<(DmaAddr, u64)> {
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

/// Returns whether the device might accept the memory at another place.
fn may_move_help(refused: PlaneError) -> bool {
    let constraint = refused.reason().map(|reason| reason.constraint);
    !matches!(
        constraint,
        Some(Constraint::IovaSpace | Constraint::BufferSize)
    )
}

/// Converts the error of a hand-over: EIO if the memory could not be copied, else as [`memory_error`] does.
fn hand_over_error(e: Error) -> PlaneError {
    match e {
        Error::Dma(_) => PlaneError::Io(e.reason()),
        _ => memory_error(e),
    }
}

/// Converts an error: ENOMEM for a shortage, else as `PlaneError::from` does.
///
/// Source: Linux 7.2 `vb2_dc_alloc`, `vb2_dc_mmap`, `vb2_dc_attach_dmabuf`.
pub(super) fn memory_error(e: Error) -> PlaneError {
    match e {
        Error::TableFull { .. } | Error::Dma(vb3_dma::Error::NoMemory(_)) => {
            PlaneError::NoMemory(e.reason())
        }
        _ => PlaneError::from(e),
    }
}
