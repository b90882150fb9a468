//! Memory that is placed when it is first mapped, and moved where another device needs it.

use crate::solve::Placement;
use crate::{Attachment, Backing, Cx, Error, Observer, Shared, Spec, Store};
use vb3_dma::DmaOps;

/// Chooses the place of a lazy exporter's memory: the host's part.
///
/// Source: Linux 7.2 `dma_buf_ops.pin` and its drivers, differs: it gets the devices.
pub trait Placer<O: DmaOps> {
    /// Allocates zeroed memory without a place.
    ///
    /// # Errors
    /// `NoMemory` (ENOMEM) where the owner's device alone could not be given as much now, with what
    /// is short.
    fn allocate(&self, ops: &O, spec: &Spec<O::Device>) -> Result<O::Alloc, vb3_dma::Error>;

    /// A place that suits all of some devices, for `len_bytes`; and programs, if they have the
    /// memory mapped. Changes nothing.
    ///
    /// # Errors
    /// The shortage, or `Invalid` (EINVAL) if the devices' demands exclude each other.
    fn find(
        &self,
        ops: &O,
        len_bytes: u64,
        devices: &mut dyn Iterator<Item = O::Device>,
        is_mapped: bool,
    ) -> Result<Placement, vb3_dma::Error>;

    /// Lets memory lie where [`find`](Self::find) said, mapped for no device. Gives the bytes that
    /// were copied for that: none if it lay nowhere before.
    ///
    /// # Errors
    /// `Dma`, as the DMA layer says. The memory then stays where it was.
    fn place(
        &self,
        ops: &O,
        alloc: &mut O::Alloc,
        placement: &Placement,
    ) -> Result<u64, vb3_dma::Error>;
}

/// Whether memory is placed, and whether another place could be better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not placed yet.
    Nowhere,
    /// For the devices attached now.
    Settled,
    /// For those that were attached before others came.
    Outgrown,
}

impl Place {
    pub(crate) fn attached(&mut self) {
        if *self == Self::Settled {
            *self = Self::Outgrown;
        }
    }
}

impl<O: DmaOps, L: Store<Attachment<O>>> Shared<O, L> {
    /// Memory of a [lazy](Backing::Lazy) backing. It has no users yet, and lies nowhere until
    /// [`place`](Self::place).
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for another backing or length zero; what the placer says.
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
        let alloc = placer.allocate(cx.ops, &spec)?;
        cx.observer.allocated(device, spec.len_bytes);
        let mut shared = Self::new(alloc, spec, list);
        shared.place = Place::Nowhere;
        Ok(shared)
    }

    /// Whether the memory lies somewhere. Only lazily placed memory may not.
    pub fn is_placed(&self) -> bool {
        self.place != Place::Nowhere
    }

    /// Whether the memory must stay where it is: a device uses it now, or has it mapped and does
    /// not follow, or the CPU has it mapped for a driver.
    pub fn is_pinned(&self) -> bool {
        let mut at = self.list.next(None);
        while let Some(key) = at {
            if self.list.get(key).is_some_and(Attachment::is_pinned) {
                return true;
            }
            at = self.list.next(Some(key));
        }
        self.vmapped().is_some()
    }

    /// Places lazily placed memory where all attached devices can use it: for the first time, or,
    /// once for all those that attached since, elsewhere. Mappings of devices that follow are gone
    /// afterwards. Returns the bytes that were moved.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for memory that is not placed lazily, or lies already where the placer
    /// would put it; `Revoked` (ENODEV); `Pinned` (EBUSY); `Quarantined` (EIO) where a device may
    /// still reach where it lies now, because an unmap failed; what the placer says. The memory
    /// then lies where it lay.
    pub fn place<W: Observer<O>>(
        &mut self,
        cx: &Cx<'_, O, W>,
        placer: &(impl Placer<O> + ?Sized),
    ) -> Result<u64, Error> {
        let Backing::Lazy { device, .. } = self.spec.backing else {
            return Err(Error::Invalid);
        };
        self.check_usable()?;
        if self.place == Place::Settled {
            return Err(Error::Invalid);
        }
        if self.is_pinned() {
            return Err(Error::Pinned);
        }
        let placement = self.find(cx.ops, placer)?;
        let mut at = self.list.next(None);
        while let Some(key) = at {
            self.drop_mapping(cx, key);
            at = self.list.next(Some(key));
        }
        if self.quarantined {
            return Err(Error::Quarantined);
        }
        if let Some(table) = self.table.take() {
            cx.ops.free_table(table, false);
        }
        let placed = placer.place(cx.ops, &mut self.alloc, &placement);
        if let Ok(moved) = placed {
            self.place = Place::Settled;
            if moved > 0 {
                cx.observer.moved(device, moved);
            }
        }
        // It lies where it lies now. Without room for the new table, the next map makes it.
        let _no_room = self.prepare_export(cx);
        Ok(placed?)
    }

    fn find(&mut self, ops: &O, placer: &(impl Placer<O> + ?Sized)) -> Result<Placement, Error> {
        let list = &self.list;
        let keys = core::iter::successors(list.next(None), |key| list.next(Some(*key)));
        let mut devices = keys.filter_map(|key| Some(list.get(key)?.device()));
        let is_mapped = self.user_count(crate::UserKind::Mapping).count > 0;
        let found = placer.find(ops, self.spec.len_bytes, &mut devices, is_mapped);
        if found.is_err() {
            // Asked again when another device attaches.
            if self.place == Place::Outgrown {
                self.place = Place::Settled;
            }
        }
        Ok(found?)
    }
}
