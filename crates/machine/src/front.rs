//! The machine, as others see it.

use crate::device::{BusFault, BusLines, BusSpan, BusStats, Device, HostSpan};
use crate::faults::{Faults, Injector};
use crate::foreign::Foreign;
use crate::iommu::Staleness;
use crate::machine::{BusWindow, DeviceLimits, Held, Mmap, Pages, Pinned, State};
use crate::memory::InPlace;
use crate::platform::Vmap;
use crate::profile::Profile;
use crate::ram::FreeMemory;
use crate::trace::Trace;
use crate::user::User;
use std::cell::{Ref, RefCell};
use std::io;
use vb3_dma::{
    Bounce, BouncePool, Caches, Caching, DeviceInfo, DmaAddr, Error, Iommu, Iova, KernelViews,
    PageRequest, PageSource, PhysAddr, Prot, Reason, Segment, UserPages,
};

/// A machine of RAM, caches, an IOMMU and devices, in this process.
///
/// Everything it does is a function of its profile, its seed and the calls made. It is `Send` and
/// not `Sync`: one thread at a time calls it.
#[derive(Debug)]
pub struct Machine {
    profile: Profile,
    bounce: Option<BouncePool>,
    pub(crate) state: RefCell<State>,
}

impl Machine {
    /// A machine after a profile. The seed decides where scattered pages lie.
    ///
    /// # Errors
    /// Whatever kept the process from getting memory for the bounce pool.
    pub fn new(profile: &Profile, seed: u64) -> io::Result<Self> {
        let state = State::new(profile, seed)?;
        Ok(Self {
            profile: profile.clone(),
            bounce: state.bounce,
            state: RefCell::new(state),
        })
    }

    /// The profile it was made after.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Adds a device.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) for [limits](vb3_dma::Limits::is_valid) that no memory meets, an alignment
    /// that is not `2^n`, or after 1024 devices; `NoMemory` for the root of its page table.
    pub fn add_device(&mut self, name: &str, limits: DeviceLimits) -> Result<Device, Error> {
        self.state.get_mut().add_device(name, limits)
    }

    /// What a device sees of memory; `None` where that is all, or it is behind an IOMMU.
    #[must_use]
    pub fn bus_window(&self, dev: Device) -> Option<BusWindow> {
        self.state.borrow().device(dev)?.window
    }

    /// The device with a number ([`Device::index`]).
    #[must_use]
    pub fn device_at(&self, index: u32) -> Option<Device> {
        let dev = Device(index);
        self.state.borrow().device(dev).map(|_| dev)
    }

    /// The name a device was added under.
    #[must_use]
    pub fn device_name(&self, dev: Device) -> Option<String> {
        self.state.borrow().device_name(dev).map(str::to_owned)
    }

    /// Sets the clock, nanoseconds. It never goes back.
    pub fn set_now_ns(&mut self, now_ns: u64) {
        self.state.get_mut().set_now_ns(now_ns)
    }

    /// The clock, nanoseconds.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.state.borrow().now_ns
    }

    /// Sets the plan of faults and starts counting anew.
    pub fn set_faults(&mut self, plan: Faults) {
        self.state.get_mut().faults = Injector::new(plan);
    }

    /// Lets the next access of `dev` to memory fault, as behind an IOMMU that has nothing mapped
    /// there. `false`, and nothing is done, for a device without one.
    pub fn fault_next_access(&mut self, dev: Device) -> bool {
        self.state.get_mut().fault_next_access(dev)
    }

    /// Takes frames of the contiguous area, as others on the machine do, until no free run is longer
    /// than `longest` bytes. What is taken is not counted as held. Answers how many bytes it is.
    pub fn occupy_cma(&mut self, longest: u64) -> u64 {
        self.state.get_mut().occupy_cma(longest)
    }

    /// Gives back what [`occupy_cma`](Self::occupy_cma) took. Answers how many bytes that was.
    pub fn vacate_cma(&mut self) -> u64 {
        self.state.get_mut().vacate_cma()
    }

    /// Calls that could have failed since the plan of faults was set.
    #[must_use]
    pub fn fallible_calls(&self) -> u64 {
        self.state.borrow().faults.calls()
    }

    /// Calls that were made to fail since then.
    #[must_use]
    pub fn injected_faults(&self) -> u64 {
        self.state.borrow().faults.hits()
    }

    /// The record of events.
    #[must_use]
    pub fn trace(&self) -> Ref<'_, Trace> {
        Ref::map(self.state.borrow(), State::trace)
    }

    /// The record of events, to start or end it.
    pub fn trace_mut(&mut self) -> &mut Trace {
        &mut self.state.get_mut().trace
    }

    /// What is given out now.
    #[must_use]
    pub fn held(&self) -> Held {
        self.state.borrow().held()
    }

    /// Waits until the system has back what was freed. Large memory is given back by a thread of the
    /// machine's, its descriptor closed a little later than the call that freed it.
    pub fn settle_freed(&self) {
        self.state.borrow_mut().waste.settle();
    }

    /// Bytes of RAM that hold page tables.
    #[must_use]
    pub fn iommu_table_bytes(&self) -> u64 {
        self.state.borrow().tables.bytes()
    }

    /// Where the page table of `dev` starts; `None` without an IOMMU.
    #[must_use]
    pub fn iommu_root(&self, dev: Device) -> Option<PhysAddr> {
        Some(
            self.state
                .borrow()
                .device(dev)?
                .iommu
                .as_ref()?
                .table()
                .root(),
        )
    }

    /// The aligned 64-bit word of a page table at a physical address; `None` outside the tables.
    #[must_use]
    pub fn iommu_word(&self, addr: PhysAddr) -> Option<u64> {
        self.state.borrow().tables.word(addr.get())
    }

    /// Overwrites such a word, as a bug or an attacker would; `false` outside the tables.
    pub fn set_iommu_word(&mut self, addr: PhysAddr, word: u64) -> bool {
        self.state.get_mut().set_iommu_word(addr, word)
    }

    /// Sets what `dev` goes on using between a removal and the flush, and flushes.
    pub fn set_staleness(&mut self, dev: Device, staleness: Staleness) {
        self.state.get_mut().set_staleness(dev, staleness)
    }

    /// Translations of `dev` that were found in its translation buffer, and walks.
    #[must_use]
    pub fn iotlb_counts(&self, dev: Device) -> (u64, u64) {
        self.state.borrow().iotlb_counts(dev)
    }

    /// Bytes of devices' own memory that are in use.
    #[must_use]
    pub fn claimed_bytes(&self) -> u64 {
        self.state.borrow().claimed_bytes()
    }

    /// The memory that is free.
    #[must_use]
    pub fn free_memory(&self) -> FreeMemory {
        self.state.borrow().ram.free()
    }

    /// Whether the CPU is kept from the memory at an address.
    #[must_use]
    pub fn is_protected(&self, addr: PhysAddr) -> bool {
        self.state.borrow().ram.is_protected(addr.get())
    }

    /// Most bytes of the contiguous area that were in use at one time.
    #[must_use]
    pub fn cma_peak(&self) -> u64 {
        self.state.borrow().ram.cma_peak()
    }

    /// Hand-overs that did not reach a program's memory because it was gone.
    #[must_use]
    pub fn lost_syncs(&self) -> u64 {
        self.state.borrow().lost
    }

    /// Device and inode number of that memfd.
    #[must_use]
    pub fn pages_identity(&self, pages: &Pages) -> Option<(u64, u64)> {
        self.state.borrow().pages_identity(pages)
    }

    /// Bytes of a physical range in which the CPU and devices see different things.
    #[must_use]
    pub fn stale_bytes(&self, addr: PhysAddr, len: u64) -> u64 {
        self.state.borrow().memory.stale(addr, len)
    }

    /// The same over several ranges.
    #[must_use]
    pub fn stale_bytes_in(&self, segments: &[Segment]) -> u64 {
        self.state.borrow().stale_bytes_in(segments)
    }

    /// The same over an allocation.
    #[must_use]
    pub fn stale_bytes_of(&self, pages: &Pages) -> u64 {
        self.state.borrow().stale_bytes_of(pages)
    }

    /// Adds `len` bytes of device memory that no page stands behind, for the machine's life.
    ///
    /// # Errors
    /// `NoMemory` when the device hole is full or the process has none; `Invalid` for a length
    /// that is zero or no multiple of the page size.
    pub fn add_physical(&mut self, len: u64) -> Result<Segment, Error> {
        self.state.get_mut().add_physical(len)
    }

    /// Sets `len` bytes of addresses aside for a device's own memory, for the machine's life. Bytes
    /// are there only for what is claimed of it, each part in a memfd of its own.
    ///
    /// # Errors
    /// As [`add_physical`](Self::add_physical).
    pub fn reserve_physical(&mut self, len: u64) -> Result<Segment, Error> {
        self.state.get_mut().reserve_physical(len)
    }

    /// Reads memory as `dev` does.
    ///
    /// # Errors
    /// [`BusFault`]; `out` may be partly written.
    pub fn bus_read(&mut self, dev: Device, addr: DmaAddr, out: &mut [u8]) -> Result<(), BusFault> {
        self.state.get_mut().bus_read(dev, addr, out)
    }

    /// What `dev` would find at an address if its mapping allowed reading: a look through its eyes
    /// that is no access of its own, so nothing is counted or traced.
    ///
    /// # Errors
    /// [`BusFault`] where it reaches no memory, either way; `out` may be partly written.
    pub fn bus_inspect(&self, dev: Device, addr: DmaAddr, out: &mut [u8]) -> Result<(), BusFault> {
        self.state.borrow().bus_inspect(dev, addr, out)
    }

    /// Counts bytes as read, as [`bus_read`](Self::bus_read) does, without bringing them.
    ///
    /// # Errors
    /// [`BusFault`] where `dev` could not have read them.
    pub fn bus_note_read(&mut self, dev: Device, span: BusSpan) -> Result<(), BusFault> {
        self.state.get_mut().bus_note_read(dev, span)
    }

    /// Writes memory as `dev` does.
    ///
    /// # Errors
    /// [`BusFault`]; part of `data` may have arrived.
    pub fn bus_write(&mut self, dev: Device, addr: DmaAddr, data: &[u8]) -> Result<(), BusFault> {
        self.state.get_mut().bus_write(dev, addr, data)
    }

    /// Lets `act` work on memory where it is, as `dev` sees it: on the lines of `from`, and to
    /// write on those of `to`; it gets what lies between lines, too, and leaves it as it is. If it
    /// says true, all that is as if `dev` had read the ones and written the others. Answers what it
    /// says.
    ///
    /// `None`, and nothing was done, if an access to the lines or between them would fault, if
    /// their bytes do not lie together, if a program can reach them too (memory with one view, or
    /// of a program), or if what is to be written overlaps others or lies in memory that is also
    /// to be read.
    pub fn bus_in_place(
        &mut self,
        dev: Device,
        from: &[BusLines],
        to: &[BusLines],
        act: &mut InPlace<'_>,
    ) -> Option<bool> {
        self.state.get_mut().bus_in_place(dev, from, to, act)
    }

    /// Where spans that `dev` may write lie for other processes; who writes there says so by
    /// [`bus_note_written`](Self::bus_note_written).
    ///
    /// `None` if an access would fault, if a span's bytes do not lie together, if what is written
    /// there is not what the CPU sees, or if the memory is a program's, another driver's or the
    /// bounce pool's.
    pub fn bus_host_spans(&mut self, dev: Device, spans: &[BusSpan]) -> Option<Vec<HostSpan<'_>>> {
        self.state.get_mut().bus_host_spans(dev, spans)
    }

    /// Counts bytes that were written where [`bus_host_spans`](Self::bus_host_spans) said, as
    /// [`bus_write`](Self::bus_write) does.
    ///
    /// # Errors
    /// [`BusFault`] where `dev` could not have written them now.
    pub fn bus_note_written(&mut self, dev: Device, span: BusSpan) -> Result<(), BusFault> {
        self.state.get_mut().bus_note_written(dev, span)
    }

    /// Copies what one device has at addresses of its own to what another has at its: as if the
    /// other wrote what the one has read and noted ([`bus_note_read`](Self::bus_note_read)), so
    /// that the write alone is counted. Answers how many bytes were moved in memory: each once where
    /// both spans lie together, else twice.
    ///
    /// # Errors
    /// [`BusFault`], which says whose address it was; part of the bytes may have arrived.
    pub fn bus_copy(
        &mut self,
        from: (Device, BusSpan),
        to: (Device, DmaAddr),
    ) -> Result<u64, BusFault> {
        self.state.get_mut().bus_copy(from, to)
    }

    /// Whether one device has at its addresses, to be written, the very memory that another has at
    /// its own, to be read, and sees it alike. No access: nothing is counted.
    #[must_use]
    pub fn bus_is_same(&self, from: (Device, BusSpan), to: (Device, DmaAddr)) -> bool {
        self.state.borrow().bus_is_same(from, to)
    }

    /// Where an access of `dev` at `addr` would go, and how many bytes go on from there.
    ///
    /// # Errors
    /// [`BusFault`] if it would go nowhere.
    pub fn bus_translate(
        &self,
        dev: Device,
        addr: DmaAddr,
        write: bool,
    ) -> Result<(PhysAddr, u64), BusFault> {
        self.state.borrow().bus_translate(dev, addr, write)
    }

    /// What `dev` did on the bus so far.
    #[must_use]
    pub fn bus_stats(&self, dev: Device) -> BusStats {
        self.state.borrow().bus_stats(dev)
    }

    /// Reads memory as the CPU does, through a mapping.
    ///
    /// # Errors
    /// `NoSuchMemory` outside the mapping or after its memory has gone; `BadUserMemory` where a
    /// program's memory is gone.
    pub fn cpu_read(&self, vmap: &Vmap, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.state.borrow().cpu_read(vmap, offset, out)
    }

    /// Writes memory as the CPU does, through a mapping.
    ///
    /// # Errors
    /// As [`cpu_read`](Self::cpu_read).
    pub fn cpu_write(&mut self, vmap: &Vmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.state.get_mut().cpu_write(vmap, offset, data)
    }

    /// Takes the memory of another driver in, as pages of this machine: they lie scattered, where
    /// the profile scatters pages, since nothing is known of the real ones. They go back through
    /// `free_pages`, as others do; the exporter's mapping then ends.
    ///
    /// # Errors
    /// `Invalid` for a length that is no multiple of pages; `NoMemory` where the machine has less
    /// RAM, or the process none; `NoSuchMemory` where the exporter has no pages behind it.
    pub fn import(&mut self, foreign: Foreign) -> Result<Pages, Error> {
        self.state.get_mut().import(foreign)
    }

    /// Tells the exporters of imported memory that the accesses since the last call are over. To
    /// be called after each step of the devices' work.
    pub fn end_foreign_accesses(&self) {
        self.state.borrow().end_foreign_accesses()
    }
}

impl PageSource for Machine {
    type Device = Device;
    type Pages = Pages;

    fn page_size(&self) -> u64 {
        self.profile.page_size
    }

    fn device_info(&self, dev: Device) -> Option<DeviceInfo> {
        self.state.borrow().device(dev).map(|device| device.info)
    }

    fn alloc_pages(&self, request: PageRequest<Device>) -> Result<Pages, Error> {
        self.state.borrow_mut().alloc_pages(request)
    }

    fn free_pages(&self, pages: Pages) {
        self.state.borrow_mut().free_pages(pages)
    }

    fn pages_segment(&self, pages: &Pages, index: usize) -> Option<Segment> {
        self.state
            .borrow()
            .memory
            .get(pages.id)?
            .segments
            .get(index)
            .copied()
    }

    fn ram_bytes(&self) -> u64 {
        self.state.borrow().ram.bytes()
    }

    fn unmapped_granule(&self) -> u64 {
        self.profile.granule()
    }

    fn bus_addr(&self, dev: Device, addr: PhysAddr) -> Option<DmaAddr> {
        self.state.borrow().bus_addr(dev, addr)
    }

    fn min_address_align(&self, dev: Device) -> u64 {
        self.state
            .borrow()
            .device(dev)
            .map_or(1, |device| device.align)
    }

    fn check_use(&self, dev: Device, memory: Segment) -> Result<(), Reason> {
        self.state.borrow().check_use(dev, memory)
    }
}

impl Caches for Machine {
    fn cache_clean(&self, addr: PhysAddr, len: u64) {
        self.state.borrow_mut().cache_clean(addr, len)
    }

    fn cache_invalidate(&self, addr: PhysAddr, len: u64) {
        self.state.borrow_mut().cache_invalidate(addr, len)
    }
}

impl Iommu for Machine {
    fn iommu_map(
        &self,
        dev: Device,
        iova: Iova,
        phys: PhysAddr,
        len: u64,
        prot: Prot,
    ) -> Result<(), Error> {
        self.state
            .borrow_mut()
            .iommu_map(dev, iova, phys, len, prot)
    }

    fn iommu_unmap(&self, dev: Device, iova: Iova, len: u64) -> Result<(), Error> {
        self.state.borrow_mut().iommu_unmap(dev, iova, len)
    }

    fn iommu_flush(&self, dev: Device) {
        self.state.borrow_mut().iommu_flush(dev)
    }

    fn reserved_iova(&self, dev: Device, index: usize) -> Option<(Iova, Iova)> {
        self.state.borrow().reserved_iova(dev, index)
    }

    fn is_untrusted(&self, _dev: Device) -> bool {
        self.profile.untrusted
    }
}

impl Bounce for Machine {
    fn bounce_pool(&self) -> Option<BouncePool> {
        self.bounce
    }

    fn is_private(&self, dev: Device, segment: Segment) -> bool {
        self.state.borrow().is_private(dev, segment)
    }

    fn bounce_in(&self, slot: PhysAddr, from: PhysAddr, len: u64) -> Result<(), Error> {
        self.state.borrow_mut().bounce_in(slot, from, len)
    }

    fn bounce_out(&self, slot: PhysAddr, to: PhysAddr, len: u64) -> Result<(), Error> {
        self.state.borrow_mut().bounce_out(slot, to, len)
    }

    fn bounce_zero(&self, slot: PhysAddr, len: u64) {
        self.state.borrow_mut().bounce_zero(slot, len)
    }
}

impl UserPages for Machine {
    type User = User;
    type Pinned = Pinned;

    fn pin_user(
        &self,
        user: &User,
        addr: u64,
        len: u64,
        device_writes: bool,
    ) -> Result<Pinned, Error> {
        self.state
            .borrow_mut()
            .pin_user(user, addr, len, device_writes)
    }

    fn unpin_user(&self, pinned: Pinned, dirty: bool) {
        self.state.borrow_mut().unpin_user(pinned, dirty)
    }

    fn pinned_segment(&self, pinned: &Pinned, index: usize) -> Option<Segment> {
        self.state
            .borrow()
            .memory
            .get(pinned.id)?
            .segments
            .get(index)
            .copied()
    }

    fn pin_is_current(&self, pinned: &Pinned, user: &User, addr: u64) -> bool {
        self.state.borrow().pin_is_current(pinned, user, addr)
    }
}

impl KernelViews for Machine {
    type Vmap = Vmap;
    type Mmap = Mmap;

    fn vmap(&self, segments: &[Segment], caching: Caching) -> Result<Vmap, Error> {
        self.state.borrow_mut().vmap(segments, caching)
    }

    fn vunmap(&self, vmap: Vmap) {
        self.state.borrow_mut().vunmap(vmap)
    }

    fn mmap(&self, pages: &Pages, offset: u64, len: u64) -> Result<Mmap, Error> {
        self.state.borrow_mut().mmap(pages, offset, len)
    }

    fn mmap_physical(&self, range: Segment) -> Result<Mmap, Error> {
        self.state.borrow_mut().mmap_physical(range)
    }

    fn release_physical(&self, range: Segment) {
        self.state.borrow_mut().release_physical(range)
    }

    fn vmap_read(&self, vmap: &Vmap, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.state.borrow().cpu_read(vmap, offset, out)
    }

    fn vmap_write(&self, vmap: &Vmap, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.state.borrow_mut().cpu_write(vmap, offset, data)
    }

    fn claim_physical(&self, range: Segment) -> Result<(), Error> {
        // Not in the condition: the borrow would last through the branch.
        let is_new = self.state.borrow_mut().claim_physical(range)?;
        if is_new {
            return Ok(());
        }
        self.zero(range, Caching::Uncached)
    }
}
