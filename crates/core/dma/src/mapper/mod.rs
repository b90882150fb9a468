//! The mapping layer over a platform.
//!
//! A scatter table is mapped in two steps. First, each part that the device cannot reach gets a bounce slot.
//! Then the resulting physical runs get addresses for the device. Behind an IOMMU, these are one range of I/O
//! virtual addresses. Otherwise each run keeps the bus address that its memory has.

mod alloc;
mod bounce;
mod coherent;
mod direct;
mod flush;
mod iommu;
mod layout;
mod mapping;
mod memory;
mod ops;
mod placed;
mod runs;
mod single;
mod spares;
mod stuck;
mod sync;

pub use mapping::Mapping;
use mapping::{OneRun, Parts, Runs};
use runs::{
    List, append, boxed, collect, copy_segments, join_segment, push_segment, reserve, room,
    total_len, with_room,
};
pub(crate) use single::{Facts, Wanted};

use crate::error::heap_exhausted;
use crate::ranges::RangeAllocator;
use crate::{
    Caching, Coherency, Constraint, Counters, DeviceInfo, Direction, DmaAddr, Error, FlushPolicy,
    Live, Locks, NoLocks, Platform, Reason, Segment, SegmentMode,
};
use ::alloc::vec::Vec;
use core::fmt;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use portable_atomic::AtomicU64;

/// Maps memory for devices, over any [`Platform`].
///
/// All calls take `&self`. Each device has a lock for its addresses, counters and waiting flushes. The
/// bounce pool and the list of devices have one lock each. [`Locks`] says what the layer does under a lock.
///
/// [`sync`](crate::DmaOps::sync) and [`sync_alloc`](crate::DmaOps::sync_alloc) call only platform functions
/// that do not sleep. They may run in interrupt context if `L`'s locks disable interrupts.
///
/// The mapper is `Send` if the platform and its values are, and `Sync` if the platform and `L`'s locks are;
/// [`NoLocks`], the default, makes it not `Sync`. `&Mapper` also implements [`DmaOps`](crate::DmaOps), so that
/// each context can use a reference of its own.
pub struct Mapper<P: Platform, L: Locks = NoLocks> {
    platform: P,
    /// The device at each index, for platforms that do not number their devices.
    known: L::Lock<Vec<P::Device>>,
    slots: Vec<Apart<SlotCell<P::Device, L>>>,
    /// One more than the highest device index used so far.
    used: AtomicUsize,
    /// Allocator of the bounce pool's slots.
    bounce: Option<L::Lock<RangeAllocator>>,
    live: L::Lock<Live>,
    memories: memory::Memories<P, L>,
    /// Memory of callers that devices may still reach because unmapping failed.
    stuck: L::Lock<stuck::Stuck>,
    /// The time that the host reported last, in nanoseconds.
    now_ns: AtomicU64,
    /// Identifies the mapper, so that it refuses objects of other mappers.
    id: usize,
}

/// Number of mappers made so far, which provides their ids.
static MAPPERS: AtomicUsize = AtomicUsize::new(0);

/// Padded to 128 bytes against false sharing: many processors fetch two cache lines at once.
#[repr(align(128))]
struct Apart<T>(T);

/// A device's state behind its lock, and what is read without the lock.
struct SlotCell<D, L: Locks> {
    state: L::Lock<Slot<D>>,
    /// Whether removed translations may wait for a flush. May be out of date: the policy in the state decides.
    may_wait: AtomicBool,
}

/// State of a device.
#[derive(Debug)]
struct Slot<D> {
    dev: Option<D>,
    /// Number of times that this slot was given to a device or became vacant. An [`At`] stores this number. If the
    /// numbers differ, the device of the `At` was removed, even if it has the slot again.
    claims: u64,
    counters: Counters,
    mode: SegmentMode,
    region: Option<coherent::Region>,
    /// Index of the slot with the device's I/O address space: its own slot, or that of its group's
    /// representative.
    space: usize,
    /// Number of other devices that use this device's address space.
    members: u32,
    untrusted: bool,
    /// Number of `members` that are untrusted.
    untrusted_members: u32,
    /// Number of mappings in this address space in which the devices see bytes around the mapped memory.
    exposing: u64,
    iova: Option<RangeAllocator>,
    spares: spares::Spares,
    queue: flush::Queue,
    live: SlotLive,
}

/// Resources that a device holds now, besides mappings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SlotLive {
    allocs: u64,
    iova_bytes: u64,
    quarantined_bytes: u64,
}

impl<D> Slot<D> {
    fn vacant() -> Self {
        Self {
            dev: None,
            claims: 0,
            counters: Counters::default(),
            mode: SegmentMode::default(),
            region: None,
            space: 0,
            members: 0,
            untrusted: false,
            untrusted_members: 0,
            exposing: 0,
            iova: None,
            spares: spares::Spares::default(),
            queue: flush::Queue::default(),
            live: SlotLive::default(),
        }
    }

    /// Returns `claims` if this slot belongs to `dev`.
    fn claims_of(&self, dev: D) -> Option<u64>
    where
        D: PartialEq,
    {
        (self.dev == Some(dev)).then_some(self.claims)
    }

    /// Gives a vacant slot to a device.
    fn claim(&mut self, dev: D, slot: usize, untrusted: bool) {
        (self.dev, self.space, self.untrusted) = (Some(dev), slot, untrusted);
        self.claims = self.claims.wrapping_add(1);
    }

    /// Makes the slot vacant, and returns its former state.
    fn vacate(&mut self) -> Self {
        let former = core::mem::replace(self, Self::vacant());
        self.claims = former.claims.wrapping_add(1);
        // The new queue continues the old one's count of ranges. Otherwise, a context that still flushes for the
        // former device would take the next device's ranges for its own, and free them without a flush.
        self.queue.flushed = former.queue.queued();
        former
    }

    /// Counts another device that uses this address space. If that device is untrusted, removed translations
    /// of this address space no longer wait for a flush. Fails with `Busy` for an untrusted device that would see
    /// bytes around memory that is mapped now.
    fn add_member(&mut self, untrusted: bool) -> Result<(), Error> {
        if untrusted && self.exposing > 0 {
            return Err(Error::Busy);
        }
        self.members += 1;
        if untrusted {
            self.untrusted_members += 1;
            self.queue.policy = FlushPolicy::Strict;
        }
        Ok(())
    }

    fn drop_member(&mut self, untrusted: bool) {
        self.members -= 1;
        self.untrusted_members -= u32::from(untrusted);
    }

    /// Returns whether all devices that use this address space are trusted. Only then may removed translations
    /// wait for a flush, and mappings expose bytes around the mapped memory.
    fn is_trusted(&self) -> bool {
        !self.untrusted && self.untrusted_members == 0
    }

    /// Counts a mapping that exposes bytes around its memory, unless an untrusted device would see these bytes.
    /// Returns whether the mapping may expose them.
    fn expose(&mut self) -> bool {
        let may = self.is_trusted();
        self.exposing = self.exposing.wrapping_add(may.into());
        may
    }
}

/// A device, and the index of its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At<D> {
    pub(crate) dev: D,
    slot: usize,
    /// [`Slot::claims`] of the device's state.
    claims: u64,
    /// The device whose page table `dev` uses, and the index of that device's state.
    group: D,
    pub(crate) space: usize,
}

/// A range of I/O virtual addresses, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct IovaRange {
    base: u64,
    len: u64,
    granule: u64,
}

/// The physical runs of memory.
#[derive(Debug)]
pub(crate) struct Extent {
    /// [`Mapper::id`] of the mapper that made it.
    owner: usize,
    pub(crate) segments: Vec<Segment>,
    pub(crate) len: u64,
    /// Alignment in bytes. Each run starts at a multiple of the alignment, and the bytes from the run's end
    /// to the next multiple have the same owner. 1 if unknown.
    granule: u64,
    caching: Caching,
    /// The memory's entry in the table of reference counts; `None` for memory that the caller lends.
    entry: Option<memory::Key>,
}

/// Memory of a [`Mapper`]: allocated, pinned or lent by the caller.
///
/// Must be given back with [`DmaOps::free`](crate::DmaOps::free). Other handles of the same memory
/// ([`Mapper::share`]), mappings, CPU views and ranges that wait for a flush keep the memory until they end.
/// Dropping this value leaks the memory.
#[must_use = "memory is freed only by `DmaOps::free`"]
pub struct Memory<P: Platform> {
    pub(crate) extent: Extent,
    kind: Kind<P>,
}

/// Kind of a handle of memory, with the values that the handle gives back.
enum Kind<P: Platform> {
    /// Pages of the host, and their mapping if a device requested them.
    Pages(ManuallyDrop<P::Pages>, Option<OwnMapping<P::Device>>),
    /// Part of a device's [own memory](coherent::Region), mapped for that device.
    Region(OwnMapping<P::Device>),
    /// A program's memory, pinned for this direction.
    Pinned(ManuallyDrop<P::Pinned>, Direction),
    /// Another handle of memory that has an entry in the table of reference counts, and whether a device may write to
    /// the memory.
    Shared(bool),
    /// Memory of the caller, who may reuse it after freeing the handle, if nothing is mapped then.
    Lent,
}

/// An allocation's mapping for the device that requested the allocation.
#[derive(Debug)]
struct OwnMapping<D> {
    at: At<D>,
    addr: DmaAddr,
    iova: Option<IovaRange>,
    needs_sync: bool,
}

impl<P: Platform> Memory<P> {
    /// Returns the platform's pages, which may be more than requested. `None` for memory without
    /// pages, and for handles that [`Mapper::share`] made.
    #[must_use]
    pub fn pages(&self) -> Option<&P::Pages> {
        match &self.kind {
            Kind::Pages(pages, _) => Some(pages),
            _ => None,
        }
    }

    /// Returns the physical runs, in order. Adjacent runs are joined.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.extent.segments
    }

    /// Returns the length in bytes; for allocated memory, a multiple of the page size.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.extent.len
    }

    /// Returns the mapping for the device that requested the memory.
    fn own(&self) -> Option<&OwnMapping<P::Device>> {
        match &self.kind {
            Kind::Pages(_, own) => own.as_ref(),
            Kind::Region(own) => Some(own),
            Kind::Pinned(..) | Kind::Shared(_) | Kind::Lent => None,
        }
    }

    /// Returns whether a device may write to the memory.
    pub(crate) fn is_writable(&self) -> bool {
        match self.kind {
            Kind::Pinned(_, direction) => direction.device_writes(),
            Kind::Shared(writable) => writable,
            Kind::Pages(..) | Kind::Region(_) | Kind::Lent => true,
        }
    }
}

impl Extent {
    /// Returns the held bytes: the length rounded up to a page of CPU or IOMMU, whichever is larger.
    fn held_bytes(&self) -> u64 {
        round_up(self.len, self.granule).unwrap_or(self.len)
    }
}

/// A mapping of memory for the CPU, made by a [`Mapper`].
///
/// Must be unmapped with [`DmaOps::vunmap`](crate::DmaOps::vunmap). Dropping this value leaves the memory
/// mapped.
#[must_use = "a CPU mapping is ended only by `DmaOps::vunmap`"]
pub struct Vmap<P: Platform> {
    owner: usize,
    host: P::Vmap,
    memory: Option<memory::Key>,
}

impl<P: Platform> Vmap<P> {
    /// Returns the platform's own mapping.
    #[must_use]
    pub fn host(&self) -> &P::Vmap {
        &self.host
    }
}

impl<P: Platform> Mapper<P> {
    /// Makes a mapper over `platform` for a single context, with up to 64 devices.
    ///
    /// # Errors
    /// As [`with_locks`](Self::with_locks).
    pub fn new(platform: P) -> Result<Self, Error> {
        Self::with_locks(platform, 64)
    }
}

impl<P: Platform, L: Locks> Mapper<P, L> {
    /// Makes a mapper over `platform` with up to `devices` devices, and with the host's own locks.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a page size that is not a power of two or a bounce pool that is not
    /// page aligned; `NoMemory` (ENOMEM).
    pub fn with_locks(platform: P, devices: usize) -> Result<Self, Error> {
        if !platform.page_size().is_power_of_two() {
            return Err(Error::Invalid);
        }
        let bounce = bounce::slots(&platform)?;
        let mut slots = room(devices)?;
        slots.extend((0..devices).map(|_| {
            Apart(SlotCell {
                state: L::new_lock(Slot::vacant()),
                may_wait: AtomicBool::new(false),
            })
        }));
        Ok(Self {
            platform,
            known: L::new_lock(room(devices)?),
            slots,
            used: AtomicUsize::new(0),
            bounce: bounce.map(L::new_lock),
            live: L::new_lock(Live::default()),
            memories: memory::Memories::new()?,
            stuck: L::new_lock(stuck::Stuck::default()),
            now_ns: AtomicU64::new(0),
            id: MAPPERS.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// Returns the platform that the mapper was made with.
    #[must_use]
    pub fn platform(&self) -> &P {
        &self.platform
    }

    /// Returns the platform, mutably. The caller must keep all resources valid that the layer holds.
    pub fn platform_mut(&mut self) -> &mut P {
        &mut self.platform
    }

    /// Returns the counters of work done for `dev`; all are zero for a removed device.
    #[must_use]
    pub fn counters(&self, dev: P::Device) -> Counters {
        self.find(dev)
            .and_then(|(slot, _)| self.with_slot(slot, |state| state.counters))
            .unwrap_or_default()
    }

    /// Returns the number of bytes taken in the I/O address space that `dev` uses.
    #[must_use]
    pub fn iova_bytes(&self, dev: P::Device) -> u64 {
        self.find(self.platform.iommu_group(dev))
            .and_then(|(slot, _)| self.with_slot(slot, |state| state.live.iova_bytes))
            .unwrap_or(0)
    }

    /// Returns the resources that the layer holds now, summed over all devices.
    #[must_use]
    pub fn live(&self) -> Live {
        let mut live = L::with(&self.live, |live| *live);
        for slot in &self.slots {
            let (part, mappings) = L::with(&slot.0.state, |state| (state.live, state.mappings()));
            live.mappings = live.mappings.saturating_add(mappings);
            live.allocs = live.allocs.saturating_add(part.allocs);
            live.iova_bytes = live.iova_bytes.saturating_add(part.iova_bytes);
            live.quarantined_bytes = live
                .quarantined_bytes
                .saturating_add(part.quarantined_bytes);
        }
        if let Some(pool) = &self.bounce {
            live.bounce_bytes = L::with(pool, |slots| slots.used_bytes());
        }
        live
    }

    /// Returns [`Live::page_bytes`] alone. Unlike [`live`](Self::live), this does not ask each device.
    #[must_use]
    pub fn live_page_bytes(&self) -> u64 {
        L::with(&self.live, |live| live.page_bytes)
    }

    /// Returns whether `owner` identifies this mapper. A mapper refuses objects of other mappers.
    #[inline]
    fn is_own(&self, owner: usize) -> bool {
        owner == self.id
    }

    /// Fails with `Invalid` (EINVAL) if `owner` identifies another mapper.
    #[inline]
    pub(crate) fn check_own(&self, owner: usize) -> Result<(), Error> {
        self.is_own(owner).then_some(()).ok_or(Error::Invalid)
    }

    fn extent(&self, segments: Vec<Segment>, len: u64, granule: u64, caching: Caching) -> Extent {
        Extent {
            owner: self.id,
            segments,
            len,
            granule,
            caching,
            entry: None,
        }
    }

    /// Sets how later mappings for `dev` lay out the segments of memory. Existing mappings do not change.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for a nonexistent device; `Busy` (EBUSY) if the mapper has no room for
    /// it; `Removed` (ENODEV).
    pub fn set_segment_mode(&self, dev: P::Device, mode: SegmentMode) -> Result<(), Error> {
        let at = self.at(dev)?;
        self.with_device(at, |state| state.mode = mode)
    }

    /// Removes the layer's state of a device: address space, coherent memory and counters. A later use of the
    /// same device starts with new state.
    ///
    /// # Errors
    /// `Busy` (EBUSY) while anything is mapped or allocated for the device, other devices of its group
    /// remain, or addresses are quarantined. The call then only flushes the waiting ranges.
    pub fn remove_device(&self, dev: P::Device) -> Result<(), Error> {
        let Some((slot, _)) = self.find(dev) else {
            return Ok(());
        };
        // If this fails, the device still holds addresses, and the call fails with `Busy` below.
        let _ = self.flush_slot(slot);
        let gone = self.with_slot(slot, |state| {
            let region = state.region.as_ref();
            let is_used = state.live != SlotLive::default()
                || state.mappings() > 0
                || state.members > 0
                || region.is_some_and(|region| region.space.used_bytes() > 0);
            (!is_used).then(|| state.vacate()).ok_or(Error::Busy)
        });
        let gone = gone.ok_or(Error::Invalid)??;
        if gone.space != slot {
            self.with_slot(gone.space, |state| state.drop_member(gone.untrusted));
        }
        Ok(())
    }

    /// Returns the platform's description of `dev`. Fails with `Invalid` for a nonexistent device, or for limits
    /// or page sizes that no memory could meet, and with `Unsupported` for a non-coherent device if the platform has
    /// no cache maintenance.
    fn device_info(&self, dev: P::Device) -> Result<DeviceInfo, Error> {
        let info = self.platform.device_info(dev);
        let info = info.filter(DeviceInfo::is_valid).ok_or(Error::Invalid)?;
        match info.coherency {
            Coherency::NonCoherent if !P::HAS_CACHE_MAINTENANCE => Err(Error::Unsupported),
            _ => Ok(info),
        }
    }

    #[inline]
    fn with_slot<R>(&self, slot: usize, act: impl FnOnce(&mut Slot<P::Device>) -> R) -> Option<R> {
        self.slots.get(slot).map(|cell| L::with(&cell.0.state, act))
    }

    /// Calls `act` with the locked state of a device. Fails with `Removed` (ENODEV) if the device was removed;
    /// another device may already use the slot.
    #[inline]
    fn with_device<R>(
        &self,
        at: At<P::Device>,
        act: impl FnOnce(&mut Slot<P::Device>) -> R,
    ) -> Result<R, Error> {
        self.with_slot(at.slot, |state| {
            (state.claims == at.claims).then(|| act(state))
        })
        .flatten()
        .ok_or(Error::Removed)
    }

    /// Fails with `Removed` (ENODEV) if the device was removed.
    pub(crate) fn check_present(&self, at: At<P::Device>) -> Result<(), Error> {
        self.with_device(at, |_| ())
    }

    /// Calls `act` with the locked state that has a device's address space. Fails with `Removed` (ENODEV) if the
    /// device that represents the group was removed.
    #[inline]
    fn with_space<R>(
        &self,
        at: At<P::Device>,
        act: impl FnOnce(&mut Slot<P::Device>) -> R,
    ) -> Result<R, Error> {
        self.with_slot(at.space, |state| {
            (state.dev == Some(at.group)).then(|| act(state))
        })
        .flatten()
        .ok_or(Error::Removed)
    }

    /// Returns the index and [`Slot::claims`] of the state of `dev`, if it has one.
    fn find(&self, dev: P::Device) -> Option<(usize, u64)> {
        let slot = match self.platform.device_number(dev) {
            Some(number) => number,
            None => L::with(&self.known, |known| {
                known.iter().position(|&other| other == dev)
            })?,
        };
        // The slot may be vacant or belong to another device, because removing a device frees its index.
        let claims = self.with_slot(slot, |state| state.claims_of(dev))??;
        Some((slot, claims))
    }

    /// Returns a device and the index of its state. Makes the state on first use. Fails with
    /// * `Invalid` for a nonexistent device;
    /// * `Busy` if the mapper has no room for the device, or if the device is untrusted and would see bytes around
    ///   memory that its group has mapped now;
    /// * `Removed` if another context removes the device or its group's representative meanwhile.
    pub(crate) fn at(&self, dev: P::Device) -> Result<At<P::Device>, Error> {
        let group = self.platform.iommu_group(dev);
        let (slot, claims) = self.place(dev)?;
        let space = if group == dev {
            slot
        } else {
            self.join(dev, group, slot)?
        };
        Ok(At {
            dev,
            slot,
            claims,
            group,
            space,
        })
    }

    /// Returns the index of a device and its claim, as [`find`](Self::find) does. Makes both on first use.
    fn place(&self, dev: P::Device) -> Result<(usize, u64), Error> {
        if let Some(found) = self.find(dev) {
            return Ok(found);
        }
        self.platform.device_info(dev).ok_or(Error::Invalid)?;
        let untrusted = self.platform.is_untrusted(dev);
        let Some(number) = self.platform.device_number(dev) else {
            let named = L::with(&self.known, |known| self.name(known, dev, untrusted));
            return named.ok_or(Error::Busy);
        };
        if number >= self.slots.len() {
            return Err(Error::Busy);
        }
        // If it fails, two devices have the same number.
        self.claim(number, dev, untrusted).ok_or(Error::Invalid)
    }

    /// Gives the slot to `dev` if it is vacant. Returns `None` if it belongs to another device.
    fn claim(&self, slot: usize, dev: P::Device, untrusted: bool) -> Option<(usize, u64)> {
        // First, so that no context finds the device while `used` does not count its slot.
        self.used
            .fetch_max(slot.saturating_add(1), Ordering::Relaxed);
        let claims = self.with_slot(slot, |state| {
            if state.dev.is_none() {
                state.claim(dev, slot, untrusted);
            }
            state.claims_of(dev)
        });
        Some((slot, claims??))
    }

    /// Gives an index to a device that the platform does not number: its former index, an unused one, or that
    /// of a removed device. The lock of the list keeps two contexts from giving the device two indices.
    fn name(
        &self,
        known: &mut Vec<P::Device>,
        dev: P::Device,
        untrusted: bool,
    ) -> Option<(usize, u64)> {
        if let Some(slot) = known.iter().position(|&other| other == dev) {
            return self.claim(slot, dev, untrusted);
        }
        if known.len() < self.slots.len() {
            let slot = known.len();
            // Allocates nothing: the room was reserved when the mapper was made.
            known.push(dev);
            return self.claim(slot, dev, untrusted);
        }
        let mut names = known.iter_mut().enumerate();
        names.find_map(|(slot, name)| {
            let found = self.claim(slot, dev, untrusted)?;
            *name = dev;
            Some(found)
        })
    }

    /// Makes a device use the address space of the device that represents its group.
    fn join(&self, dev: P::Device, group: P::Device, slot: usize) -> Result<usize, Error> {
        if self.platform.iommu_group(group) != group {
            return Err(Error::Invalid);
        }
        let (space, claims) = self.place(group)?;
        let stands = self.with_slot(slot, |state| (state.space == space, state.untrusted));
        let (has_joined, untrusted) = stands.ok_or(Error::Invalid)?;
        if has_joined {
            return Ok(space);
        }
        // Another context may have removed the group's device, which has no member yet.
        let counted = self.with_slot(space, |state| {
            (state.claims_of(group) == Some(claims)).then(|| state.add_member(untrusted))
        });
        counted.flatten().ok_or(Error::Removed)??;
        // If the device is untrusted, no range may wait for a flush once the device maps.
        if untrusted {
            let flushed = self.flush_slot(space);
            flushed.inspect_err(|_| {
                self.with_slot(space, |state| state.drop_member(untrusted));
            })?;
        }
        let former = self.with_slot(slot, |state| {
            (state.dev == Some(dev)).then(|| core::mem::replace(&mut state.space, space))
        });
        let former = former.flatten();
        if former.is_none_or(|former| former == space) {
            // Another context joined the device first, or removed it.
            self.with_slot(space, |state| state.drop_member(untrusted));
        }
        former.map(|_| space).ok_or(Error::Removed)
    }
}

// Derived implementations would demand that the platform and its values are `Debug`, too.
impl<P: Platform> fmt::Debug for Memory<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("extent", &self.extent)
            .field("own", &self.own())
            .finish_non_exhaustive()
    }
}

impl<P: Platform> fmt::Debug for Vmap<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vmap").finish_non_exhaustive()
    }
}

impl<P: Platform, L: Locks> fmt::Debug for Mapper<P, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapper")
            .field("id", &self.id)
            .field("live", &self.live())
            .finish_non_exhaustive()
    }
}

/// Returns the error of memory that an IOMMU cannot map, since it begins or ends `found` bytes into a granule.
const fn granule_error(granule: u64, page: u64, found: u64) -> Error {
    // If a granule is at most a page, only alignment is required.
    let constraint = match granule > page {
        true => Constraint::IommuGranule,
        false => Constraint::Alignment,
    };
    Error::Unmappable(Reason::new(constraint, granule, found))
}

/// Rounds up to a multiple of a power of two.
fn round_up(value: u64, align: u64) -> Option<u64> {
    Some(value.checked_add(align - 1)? & !(align - 1))
}
