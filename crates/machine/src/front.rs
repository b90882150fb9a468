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
use crate::store::SharedBytes;
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
/// Its behaviour depends only on its profile, its seed and the calls made. It is `Send` but not `Sync`:
/// one thread at a time calls it.
#[derive(Debug)]
pub struct Machine {
    profile: Profile,
    bounce: Option<BouncePool>,
    pub(crate) state: RefCell<State>,
}

impl Machine {
    /// Makes a machine from a profile. The seed decides the positions of scattered pages.
    ///
    /// # Errors
    /// The system's error when it has no memory for the bounce pool.
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

    /// Returns a device's view of memory; `None` if it sees all of it, or is behind an IOMMU.
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

    /// Returns the name of a device.
    #[must_use]
    pub fn device_name(&self, dev: Device) -> Option<String> {
        self.state.borrow().device_name(dev).map(str::to_owned)
    }

    /// Sets the clock (ns). It never runs backwards.
    pub fn set_now_ns(&mut self, now_ns: u64) {
        self.state.get_mut().set_now_ns(now_ns)
    }

    /// The clock, nanoseconds.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.state.borrow().now_ns
    }

    /// Sets the plan of faults and resets its counters.
    pub fn set_faults(&mut self, plan: Faults) {
        self.state.get_mut().faults = Injector::new(plan);
    }

    /// Makes the next memory access of `dev` fault, as if its IOMMU had no mapping. Returns `false`,
    /// without effect, for a device without an IOMMU.
    pub fn fault_next_access(&mut self, dev: Device) -> bool {
        self.state.get_mut().fault_next_access(dev)
    }

    /// Takes memory of the contiguous area, as other users of the machine would, until no free run
    /// exceeds `longest` bytes.
    ///
    /// It does not count as held. Returns the number of bytes taken.
    pub fn occupy_cma(&mut self, longest: u64) -> u64 {
        self.state.get_mut().occupy_cma(longest)
    }

    /// Frees the memory that [`occupy_cma`](Self::occupy_cma) took. Returns its bytes.
    pub fn vacate_cma(&mut self) -> u64 {
        self.state.get_mut().vacate_cma()
    }

    /// Returns the number of fallible calls since the plan of faults was set.
    #[must_use]
    pub fn fallible_calls(&self) -> u64 {
        self.state.borrow().faults.calls()
    }

    /// Returns the number of injected failures since then.
    #[must_use]
    pub fn injected_faults(&self) -> u64 {
        self.state.borrow().faults.hits()
    }

    /// Returns the event trace.
    #[must_use]
    pub fn trace(&self) -> Ref<'_, Trace> {
        Ref::map(self.state.borrow(), State::trace)
    }

    /// Returns the event trace, to start or end it.
    pub fn trace_mut(&mut self) -> &mut Trace {
        &mut self.state.get_mut().trace
    }

    /// Returns the amounts of memory in use now.
    #[must_use]
    pub fn held(&self) -> Held {
        self.state.borrow().held()
    }

    /// Waits until freed memory has been returned to the system. The machine's thread does that for
    /// large memory, and closes its descriptor shortly after the call that freed it.
    pub fn wait_until_freed(&self) {
        self.state.borrow_mut().waste.wait_until_freed();
    }

    /// Returns the bytes of RAM that hold page tables.
    #[must_use]
    pub fn iommu_table_bytes(&self) -> u64 {
        self.state.borrow().tables.bytes()
    }

    /// Returns the address of `dev`'s page table; `None` without an IOMMU.
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

    /// Returns the aligned 64-bit word of a page table at a physical address; `None` outside the
    /// tables.
    #[must_use]
    pub fn iommu_word(&self, addr: PhysAddr) -> Option<u64> {
        self.state.borrow().tables.word(addr.get())
    }

    /// Overwrites a word of a page table, as a bug or an attacker would; `false` outside the tables.
    pub fn set_iommu_word(&mut self, addr: PhysAddr, word: u64) -> bool {
        self.state.get_mut().set_iommu_word(addr, word)
    }

    /// Sets which translations `dev` may use between a removal and the flush, and flushes.
    pub fn set_staleness(&mut self, dev: Device, staleness: Staleness) {
        self.state.get_mut().set_staleness(dev, staleness)
    }

    /// Returns `dev`'s translation-buffer hits, and page-table walks.
    #[must_use]
    pub fn iotlb_counts(&self, dev: Device) -> (u64, u64) {
        self.state.borrow().iotlb_counts(dev)
    }

    /// Returns the bytes of devices' own memory in use.
    #[must_use]
    pub fn claimed_bytes(&self) -> u64 {
        self.state.borrow().claimed_bytes()
    }

    /// The memory that is free.
    #[must_use]
    pub fn free_memory(&self) -> FreeMemory {
        self.state.borrow().ram.free()
    }

    /// Returns whether the CPU cannot access the memory at an address.
    #[must_use]
    pub fn is_protected(&self, addr: PhysAddr) -> bool {
        self.state.borrow().ram.is_protected(addr.get())
    }

    /// Returns the largest simultaneous use of the contiguous area, in bytes.
    #[must_use]
    pub fn cma_peak(&self) -> u64 {
        self.state.borrow().ram.cma_peak()
    }

    /// Returns the number of cache syncs and copies that found a program's memory gone.
    #[must_use]
    pub fn lost_syncs(&self) -> u64 {
        self.state.borrow().lost
    }

    /// Returns the device and inode number of that memfd.
    #[must_use]
    pub fn pages_identity(&self, pages: &Pages) -> Option<(u64, u64)> {
        self.state.borrow().pages_identity(pages)
    }

    /// Returns how many bytes of a physical range differ between the CPU's and the devices' view.
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

    /// Adds `len` bytes of device memory without struct pages, for the machine's lifetime.
    ///
    /// # Errors
    /// `NoMemory` when the device hole is full or the process has none; `Invalid` for a length that is
    /// zero or no multiple of the page size.
    pub fn add_physical(&mut self, len: u64) -> Result<Segment, Error> {
        self.state.get_mut().add_physical(len)
    }

    /// Reserves `len` bytes of addresses for a device's own memory, for the machine's lifetime. Only
    /// claimed parts have bytes, each in a separate memfd.
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

    /// Reads the bytes that `dev` would find if its mapping allowed reading. Nothing is counted or
    /// traced, since it is no access of the device.
    ///
    /// # Errors
    /// [`BusFault`] where the device can neither read nor write; `out` may be partly written.
    pub fn bus_inspect(&self, dev: Device, addr: DmaAddr, out: &mut [u8]) -> Result<(), BusFault> {
        self.state.borrow().bus_inspect(dev, addr, out)
    }

    /// Counts bytes as read, as [`bus_read`](Self::bus_read) does, without moving them.
    ///
    /// # Errors
    /// [`BusFault`] if `dev` could not have read them.
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

    /// Runs `act` on memory in place, as `dev` sees it: on the lines of `from` to read and the lines of
    /// `to` to write. Returns the result of `act`.
    ///
    /// `act` also gets the bytes between lines, and must not change them. If it returns true, the lines
    /// of `from` count as read and those of `to` as written.
    ///
    /// Returns `None`, without effect, if an access to the lines or between them would fault, or their
    /// bytes are not contiguous. Also if a program can reach them too (memory with one view, or of a
    /// program). Also if bytes to write overlap others, or are in memory that is also read.
    pub fn bus_in_place(
        &mut self,
        dev: Device,
        from: &[BusLines],
        to: &[BusLines],
        act: &mut InPlace<'_>,
    ) -> Option<bool> {
        self.state.get_mut().bus_in_place(dev, from, to, act)
    }

    /// Finds the location of spans that `dev` may write, for other processes. After such a write, call
    /// [`bus_note_written`](Self::bus_note_written).
    ///
    /// Returns `None` if an access would fault, a span is not contiguous, or the CPU would not see the
    /// write. Also for memory of a program, another driver or the bounce pool.
    pub fn bus_host_spans(&mut self, dev: Device, spans: &[BusSpan]) -> Option<Vec<HostSpan<'_>>> {
        self.state.get_mut().bus_host_spans(dev, spans)
    }

    /// Returns the bytes of spans that `dev` may read, for other threads. They may read them while the
    /// device owns the memory. [`bus_note_read`](Self::bus_note_read) counts the read.
    ///
    /// Returns `None` as [`bus_host_spans`](Self::bus_host_spans).
    pub fn bus_shared_bytes(&mut self, dev: Device, spans: &[BusSpan]) -> Option<Vec<SharedBytes>> {
        self.state.get_mut().bus_shared_bytes(dev, spans)
    }

    /// Counts bytes that were written to a location of [`bus_host_spans`](Self::bus_host_spans), as
    /// [`bus_write`](Self::bus_write) does.
    ///
    /// # Errors
    /// [`BusFault`] if `dev` could not have written them now.
    pub fn bus_note_written(&mut self, dev: Device, span: BusSpan) -> Result<(), BusFault> {
        self.state.get_mut().bus_note_written(dev, span)
    }

    /// Copies from one device's memory to another's, each by its own addresses.
    ///
    /// Only the write is counted; the read was counted before ([`bus_note_read`](Self::bus_note_read)).
    /// Returns how many bytes were moved in memory: each once if both spans are contiguous, else twice.
    ///
    /// # Errors
    /// [`BusFault`] with the device and its address; part of the bytes may have arrived.
    pub fn bus_copy(
        &mut self,
        from: (Device, BusSpan),
        to: (Device, DmaAddr),
    ) -> Result<u64, BusFault> {
        self.state.get_mut().bus_copy(from, to)
    }

    /// Returns whether one device's writable memory is the same that another reads, with the same view.
    /// No access is counted.
    #[must_use]
    pub fn bus_is_same(&self, from: (Device, BusSpan), to: (Device, DmaAddr)) -> bool {
        self.state.borrow().bus_is_same(from, to)
    }

    /// Returns the target of an access of `dev` at `addr`, and how many bytes follow there.
    ///
    /// # Errors
    /// [`BusFault`] if it has no target.
    pub fn bus_translate(
        &self,
        dev: Device,
        addr: DmaAddr,
        write: bool,
    ) -> Result<(PhysAddr, u64), BusFault> {
        self.state.borrow().bus_translate(dev, addr, write)
    }

    /// Returns the bus counters of `dev`.
    #[must_use]
    pub fn bus_stats(&self, dev: Device) -> BusStats {
        self.state.borrow().bus_stats(dev)
    }

    /// Reads memory as the CPU does, through a mapping.
    ///
    /// # Errors
    /// `NoSuchMemory` outside the mapping or after its memory was freed; `BadUserMemory` if the
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

    /// Imports another driver's memory as pages of this machine.
    ///
    /// The pages are scattered if the profile scatters pages, since the real addresses are unknown.
    /// Free them by `free_pages`; the exporter's mapping then ends.
    ///
    /// # Errors
    /// `Invalid` for a length that is no multiple of pages; `NoMemory` if the machine has less RAM, or
    /// the process none; `NoSuchMemory` if the exporter has no pages for it.
    pub fn import(&mut self, foreign: Foreign) -> Result<Pages, Error> {
        self.state.get_mut().import(foreign)
    }

    /// Announces to exporters of imported memory that the accesses since the last call have ended. Call
    /// it after each step of the devices' work.
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
