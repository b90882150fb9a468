//! Memory that is placed at its first mapping, and moves if another device needs other memory.

use super::state::PlaceState;
use crate::{Attachment, Backing, Cx, Error, Observer, Shared, Spec, Store, UserKind};
use core::ops::RangeInclusive;
use vb3_dma::DmaOps;

/// Interface through which the host chooses the place of lazily placed memory.
///
/// Source: Linux 7.2 `dma_buf_ops.pin` and its drivers, differs: the placer gets the devices.
pub trait Placer<O: DmaOps> {
    /// Allocates zeroed memory that is not placed yet.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM), with the shortage, if not even the owner's device alone could get this much
    /// memory now.
    fn allocate(&self, ops: &O, spec: &Spec<O::Device>) -> Result<O::Memory, vb3_dma::Error>;

    /// Finds a place of `len_bytes` that suits all given devices. If a program has the memory mapped
    /// (`is_mapped`), the place must suit programs, too. Changes nothing. Returns the host's number of a heap, and the
    /// addresses in that heap from which the memory may come.
    ///
    /// # Errors
    /// The shortage, or `Invalid` (EINVAL) if the devices' demands exclude each other.
    fn find(
        &self,
        ops: &O,
        len_bytes: u64,
        devices: &mut dyn Iterator<Item = O::Device>,
        is_mapped: bool,
    ) -> Result<(usize, RangeInclusive<u64>), vb3_dma::Error>;

    /// Places memory in `heap` at `addresses`, which [`find`](Self::find) returned. The caller guarantees that no device has
    /// the memory mapped. Returns the number of bytes copied: 0 if the memory was not placed before.
    ///
    /// # Errors
    /// `Dma`: the error of the DMA layer, such as ENOMEM. The memory then stays at its old place.
    fn place(
        &self,
        ops: &O,
        memory: &mut O::Memory,
        heap: usize,
        addresses: RangeInclusive<u64>,
    ) -> Result<u64, vb3_dma::Error>;
}

impl<O: DmaOps, L: Store<Attachment<O>>> Shared<O, L> {
    /// Makes memory of a [lazy](Backing::Lazy) backing. It has no users yet, and is not placed until
    /// [`place`](Self::place).
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for another backing or length zero; the placer's error.
    pub fn allocate_lazy<W: Observer<O>>(
        cx: &Cx<'_, O, W>,
        spec: Spec<O::Device>,
        list: L,
        placer: &(impl Placer<O> + ?Sized),
    ) -> Result<Self, Error> {
        let Backing::Lazy { device, .. } = spec.backing else {
            return Err(Error::Invalid);
        };
        let spec = spec.in_pages(cx.ops.page_size())?;
        let memory = placer.allocate(cx.ops, &spec)?;
        cx.observer.allocated(device, spec.len_bytes);
        let mut shared = Self::new(memory, spec, list);
        shared.state.place = PlaceState::Nowhere;
        Ok(shared)
    }

    /// Returns whether the memory is placed. Only lazily placed memory can be unplaced.
    pub fn is_placed(&self) -> bool {
        self.state.is_placed()
    }

    /// Returns whether the memory cannot be moved: a device uses it now, a device that does not follow moves
    /// has it mapped, or a driver has a CPU mapping.
    pub fn is_pinned(&self) -> bool {
        self.attached().any(Attachment::is_pinned) || self.vmapped().is_some()
    }

    /// Places lazily placed memory so that all attached devices can use it. The host calls this before the
    /// first use, or after more devices attached. Removes the mappings of devices that follow moves. Returns
    /// the number of bytes moved.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for memory that is not placed lazily, or that is placed and got no new device since
    /// the last search; `Revoked` (ENODEV); `Pinned` (EBUSY); `Quarantined` (EIO) if a device may still reach
    /// the current place because an unmap failed; the placer's error. The memory then stays at its
    /// old place.
    pub fn place<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        placer: &(impl Placer<O> + ?Sized),
    ) -> Result<u64, Error> {
        let Backing::Lazy { device, .. } = self.spec.backing else {
            return Err(Error::Invalid);
        };
        self.check_usable()?;
        if self.state.place == PlaceState::Settled {
            return Err(Error::Invalid);
        }
        if self.is_pinned() {
            return Err(Error::Pinned);
        }
        let is_mapped = self.users(UserKind::Mapping) > 0;
        let mut devices = self.attached().map(Attachment::device);
        let found = placer.find(cx.ops, self.spec.len_bytes, &mut devices, is_mapped);
        drop(devices);
        if found.is_err() && self.state.place == PlaceState::Outgrown {
            // The next attachment of a device starts a new attempt.
            self.state.place = PlaceState::Settled;
        }
        let (heap, addresses) = found?;
        let mut at = self.list.next(None);
        while let Some(key) = at {
            self.drop_mapping(cx, key);
            at = self.list.next(Some(key));
        }
        self.state.check_quarantined()?;
        let placed = placer.place(cx.ops, &mut self.memory, heap, addresses);
        if let Ok(moved) = placed {
            self.state.place = PlaceState::Settled;
            if moved > 0 {
                cx.observer.moved(device, moved);
            }
        }
        // The memory is placed even if it cannot be described now. The next map describes it.
        let _no_room = self.prepare_export(cx);
        Ok(placed?)
    }
}
