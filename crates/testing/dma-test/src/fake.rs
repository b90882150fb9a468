//! A host with hostile behaviour, for tests of this crate, of code above it and of drivers.
//!
//! * Its caches go stale. Lines are 64 bytes. The CPU's bytes reach memory when a line is cleaned
//!   or evicted; invalidating a line loses them.
//! * Its devices keep every translation until a flush, obey protection, and put no address beyond their
//!   mask on the bus.
//! * Its memory holds a pattern, not zeroes, if it was freed or never zeroed.
//! * A test can make any fallible call fail.
//!
//! The host is `Send` and `Sync`: several threads may map at the same time.
//!
//! # Examples
//! Finding a driver that forgets a hand-over, without hardware:
//! ```
//! use vb3_dma_test::fake::{Setup, ram};
//! use vb3_dma::{Attrs, Direction, DmaOps, SyncFor};
//!
//! let dma = Setup::direct().non_coherent().mapper();
//! let range = ram(0, 4096);
//! let memory = dma.lend(&[range])?;
//! let mapping = dma.map(0, &memory, Direction::FromDevice, Attrs::empty())?;
//! let at = mapping.segments()[0].addr;
//! let _ = dma.platform().peek(range.addr.get(), 8); // the CPU's cache now has a line of this memory
//! dma.platform().dev_write(at, b"a frame").ok_or(vb3_dma::Error::Invalid)?;
//! let seen = || dma.platform().peek(range.addr.get(), 7);
//! assert_ne!(seen(), b"a frame");
//! dma.sync(&mapping, Direction::FromDevice, SyncFor::Cpu)?;
//! assert_eq!(seen(), b"a frame");
//! # dma.unmap(mapping, Attrs::empty());
//! # dma.free(memory);
//! # Ok::<(), vb3_dma::Error>(())
//! ```

mod host;
mod locks;
mod memory;
mod user;

pub use host::{FakePages, FakeVmap};
pub use locks::{CountedLocks, Mutexes};
pub use memory::{DIRT, LINE, PAGE};
pub use user::{FakePinned, FakeUser};

use memory::CachedMemory;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;
use vb3_dma::{
    BounceMode, Coherency, Constraint, DmaAddr, Error, IommuInfo, Limits, Mapper, PhysAddr, Prot,
    Reason, Segment, SegmentKind,
};

/// Physical address at which RAM begins, unless a `Setup` sets another.
pub const RAM: u64 = 0x1_0000_0000;
/// Physical address of the bounce pool, unless a [`Setup`] sets another address.
pub const POOL: u64 = 0x8000_0000;
/// Physical address of memory without pages.
pub const SRAM: u64 = 0x4000_0000;

/// Configuration of a test: a host and its devices.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Addresses and segments that a device can use.
    pub limits: Limits,
    /// The devices' I/O address space; `None` without an IOMMU.
    pub iommu: Option<IommuInfo>,
    /// When the devices' memory bounces.
    pub bounce: BounceMode,
    /// Bytes of the bounce pool; 0 for none.
    pub pool_bytes: u64,
    /// Longest run of the bounce pool that a segment can take, in bytes.
    pub run_bytes: u64,
    /// Whether the devices are untrusted.
    pub untrusted: bool,
    /// Numbers of the devices that are trusted although `untrusted` is set.
    pub trusted: Vec<u32>,
    /// Reserved I/O addresses, each range by its first and last address.
    pub reserved: Vec<(u64, u64)>,
    /// Whether the devices see the CPU's cache. The fake has a cache only if some device does not see it.
    pub coherency: Coherency,
    /// Physical address of the bounce pool.
    pub pool_base: u64,
    /// Size in bytes of the pieces that the host allocates for a request that names no device.
    pub unmapped_granule: u64,
    /// Physical ranges that devices without an IOMMU do not see, each by its first and last address.
    pub bus_holes: Vec<(u64, u64)>,
    /// Whether the machine is confidential: devices see only pages that were allocated for a device.
    pub confidential: bool,
    /// Whether the host allocates single pages only, even if a request wants larger pieces.
    pub small_pieces: bool,
    /// Alignment in bytes that the devices need for addresses.
    pub align: u64,
    /// Bytes of a cache line, to which the devices' buffers must be aligned.
    pub cache_alignment: u64,
    /// Physical address at which RAM begins. With 0, the first allocation lies at address zero.
    pub ram_base: u64,
    /// Number of devices. They are numbered from 0.
    pub devices: u32,
    /// Numbers of the devices that share the page table of device 0.
    pub grouped: Vec<u32>,
    /// The devices' indices for [`PageSource::device_number`](vb3_dma::Platform::device_number). If empty,
    /// devices have no index.
    pub numbers: Vec<usize>,
    /// Setups of devices that differ from the others, by device number. Only fields that describe a device
    /// are used.
    pub others: BTreeMap<u32, Setup>,
}

impl Setup {
    /// Returns a setup with one device that reaches all memory at physical addresses.
    #[must_use]
    pub fn direct() -> Self {
        Self {
            limits: Limits {
                mask: u64::MAX,
                max_segment: 1 << 30,
                ..Limits::default()
            },
            iommu: None,
            bounce: BounceMode::Never,
            pool_bytes: 0,
            run_bytes: u64::MAX,
            untrusted: false,
            trusted: Vec::new(),
            reserved: Vec::new(),
            coherency: Coherency::Coherent,
            pool_base: POOL,
            unmapped_granule: PAGE,
            bus_holes: Vec::new(),
            confidential: false,
            small_pieces: false,
            align: 1,
            cache_alignment: 1,
            ram_base: RAM,
            devices: 1,
            grouped: Vec::new(),
            numbers: Vec::new(),
            others: BTreeMap::new(),
        }
    }

    /// Returns the setup with devices that do not see the CPU's cache.
    #[must_use]
    pub fn non_coherent(mut self) -> Self {
        self.coherency = Coherency::NonCoherent;
        self
    }

    /// Returns the setup with an IOMMU that has pages of this size. No effect without an IOMMU.
    #[must_use]
    pub fn granule(mut self, granule: u64) -> Self {
        if let Some(iommu) = &mut self.iommu {
            iommu.page_sizes = granule;
        }
        self
    }

    /// Returns a setup with a device behind an IOMMU, whose I/O addresses have `bits` bits.
    #[must_use]
    pub fn iommu(bits: u32) -> Self {
        Self {
            iommu: Some(IommuInfo::new(PAGE, bits)),
            ..Self::direct()
        }
    }

    /// Returns a setup with an untrusted device behind an IOMMU, and a bounce pool of 64 pages.
    #[must_use]
    pub fn untrusted() -> Self {
        Self {
            untrusted: true,
            bounce: BounceMode::WhenNeeded,
            pool_bytes: 64 * PAGE,
            ..Self::iommu(32)
        }
    }

    /// Returns a setup with a device that reaches 32-bit addresses, and a bounce pool.
    #[must_use]
    pub fn narrow(pool_bytes: u64) -> Self {
        let mut setup = Self {
            bounce: BounceMode::WhenNeeded,
            pool_bytes,
            ..Self::direct()
        };
        setup.limits.mask = u32::MAX.into();
        setup
    }

    /// Returns the setup with device `number` as `device` describes it. The other devices do not change.
    #[must_use]
    pub fn with_device(mut self, number: u32, device: Self) -> Self {
        self.others.insert(number, device);
        self
    }

    fn has_cache(&self) -> bool {
        let mut all = self.others.values().chain([self]);
        all.any(|device| device.coherency == Coherency::NonCoherent)
    }

    /// Makes a mapper over a fake host with this setup.
    ///
    /// # Panics
    /// If the setup is invalid, such as a bounce pool that is not whole pages.
    #[must_use]
    pub fn mapper(self) -> Mapper<Fake> {
        Mapper::new(Fake::new(self)).expect("the setup is valid")
    }
}

/// An entry of the fake's page table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Physical address of the page.
    pub phys: u64,
    /// Accesses that the device may make.
    pub prot: Prot,
}

/// A fake host, made from a setup.
#[derive(Debug)]
pub struct Fake {
    setup: Setup,
    state: Mutex<State>,
}

/// Page-table entries. The key is the number of the device whose table it is, and the I/O address.
type Entries = BTreeMap<(u32, u64), Entry>;

#[derive(Debug, Default)]
struct State {
    memory: CachedMemory,
    next_page: u64,
    free_pages: BTreeMap<u64, Vec<u64>>,
    /// Pages that were allocated for a device.
    shared: BTreeSet<u64>,
    pages_out: u64,
    vmaps: u64,
    pins: u64,
    table: Entries,
    /// Entries in the devices' translation buffers, including those removed since the last flush.
    tlb: Entries,
    stale_reuse: Vec<u64>,
    freed_in_reach: Vec<u64>,
    flushes: u64,
    fail_at: Option<u64>,
    calls: u64,
    hits: u64,
    unmap_fails: bool,
    flush_fails: bool,
    users: Vec<user::ProgramMemory>,
    pin_errno: Option<i32>,
}

impl Fake {
    /// Makes a host from a setup.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let state = Mutex::new(State {
            memory: CachedMemory::new(setup.has_cache()),
            next_page: setup.ram_base,
            ..State::default()
        });
        Self { setup, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the fallible call number `n` fail, where 0 is the next one. With `None`, no call fails.
    pub fn fail(&self, n: Option<u64>) {
        let mut state = self.state();
        (state.fail_at, state.calls, state.hits) = (n, 0, 0);
    }

    /// Sets whether page tables refuse to remove translations from now on.
    pub fn fail_unmaps(&self, fails: bool) {
        self.state().unmap_fails = fails;
    }

    /// Sets whether the devices' translation buffers refuse to flush from now on.
    pub fn fail_flushes(&self, fails: bool) {
        self.state().flush_fails = fails;
    }

    /// Returns the number of fallible calls since [`fail`](Self::fail), and how many of them failed.
    #[must_use]
    pub fn calls_and_failures(&self) -> (u64, u64) {
        let state = self.state();
        (state.calls, state.hits)
    }

    /// Writes bytes to memory, as the CPU does.
    pub fn poke(&self, addr: u64, data: &[u8]) {
        self.state().memory.cpu_write(addr, data);
    }

    /// Reads `len` bytes of memory, as the CPU does.
    #[must_use]
    pub fn peek(&self, addr: u64, len: u64) -> Vec<u8> {
        self.state().memory.cpu_read(addr, len)
    }

    /// Writes to scattered memory from byte `offset` on, as the CPU does.
    pub fn poke_in(&self, memory: &[Segment], offset: u64, data: &[u8]) {
        for (at, byte) in bytes_of(memory, offset).zip(data.chunks(1)) {
            self.poke(at, byte);
        }
    }

    /// Reads `len` bytes of scattered memory from byte `offset` on, as the CPU does.
    #[must_use]
    pub fn peek_in(&self, memory: &[Segment], offset: u64, len: u64) -> Vec<u8> {
        let bytes = bytes_of(memory, offset).take(len as usize);
        bytes.flat_map(|at| self.peek(at, 1)).collect()
    }

    /// Returns the number of bytes that differ between the CPU's cache and memory.
    #[must_use]
    pub fn stale(&self, memory: &[Segment]) -> u64 {
        let mut state = self.state();
        let parts = memory
            .iter()
            .map(|s| state.memory.stale(s.addr.get(), s.len));
        parts.sum()
    }

    /// Makes the CPU's cache write back and drop all its lines, as it may at any time.
    pub fn evict(&self) {
        self.state().memory.evict();
    }

    /// Translates an address as device 0 does, even with stale entries of its translation buffer.
    #[must_use]
    pub fn reach(&self, addr: DmaAddr) -> Option<u64> {
        self.reach_for(0, addr, Prot::empty())
    }

    fn reach_for(&self, dev: u32, addr: DmaAddr, access: Prot) -> Option<u64> {
        let addr = addr.get();
        if addr > self.of(dev).limits.mask {
            return None;
        }
        if self.of(dev).iommu.is_none() {
            return Some(addr);
        }
        let page = addr & !(PAGE - 1);
        let table = self.table_of(dev);
        let entry = self.state().tlb.get(&(table, page)).copied()?;
        (entry.prot.contains(access)).then_some(entry.phys + addr % PAGE)
    }

    fn of(&self, dev: u32) -> &Setup {
        self.setup.others.get(&dev).unwrap_or(&self.setup)
    }

    /// Returns the number of the device whose page table `dev` uses.
    fn table_of(&self, dev: u32) -> u32 {
        if self.setup.grouped.contains(&dev) {
            0
        } else {
            dev
        }
    }

    /// Splits a device's access at pages. Returns each part's address and length; `None` for a fault.
    fn parts(&self, dev: u32, addr: DmaAddr, len: u64, access: Prot) -> Option<Vec<(u64, u64)>> {
        let (mut list, mut done) = (Vec::new(), 0);
        while done < len {
            let at = addr.checked_add(done)?;
            let part = (len - done).min(PAGE - at.get() % PAGE);
            list.push((self.reach_for(dev, at, access)?, part));
            done += part;
        }
        Some(list)
    }

    /// Reads `len` bytes as device 0 does; `None` means a fault.
    #[must_use]
    pub fn dev_read(&self, addr: DmaAddr, len: u64) -> Option<Vec<u8>> {
        self.dev_read_as(0, addr, len)
    }

    /// Reads `len` bytes as device `dev` does; `None` means a fault.
    #[must_use]
    pub fn dev_read_as(&self, dev: u32, addr: DmaAddr, len: u64) -> Option<Vec<u8>> {
        let parts = self.parts(dev, addr, len, Prot::READ)?;
        let memory = &mut self.state().memory;
        let read = parts
            .into_iter()
            .map(|(at, len)| match self.of(dev).coherency {
                Coherency::Coherent => memory.cpu_read(at, len),
                Coherency::NonCoherent => memory.read(at, len),
            });
        Some(read.flatten().collect())
    }

    /// Writes as device 0 does; `None` means a fault.
    #[must_use]
    pub fn dev_write(&self, addr: DmaAddr, data: &[u8]) -> Option<()> {
        self.dev_write_as(0, addr, data)
    }

    /// Writes as device `dev` does; `None` means a fault.
    #[must_use]
    pub fn dev_write_as(&self, dev: u32, addr: DmaAddr, data: &[u8]) -> Option<()> {
        let mut done = 0;
        for (at, len) in self.parts(dev, addr, data.len() as u64, Prot::WRITE)? {
            let next = done + len as usize;
            let memory = &mut self.state().memory;
            match self.of(dev).coherency {
                Coherency::Coherent => memory.cpu_write(at, &data[done..next]),
                Coherency::NonCoherent => memory.write(at, &data[done..next]),
            }
            done = next;
        }
        Some(())
    }

    /// Returns the physical pages that devices reach, even through stale entries of translation buffers.
    #[must_use]
    pub fn reached(&self) -> BTreeSet<u64> {
        self.state().tlb.values().map(|entry| entry.phys).collect()
    }

    /// Returns the page table of device 0, by I/O address.
    #[must_use]
    pub fn table(&self) -> BTreeMap<u64, Entry> {
        let state = self.state();
        let entries = state.table.iter().filter(|((dev, _), _)| *dev == 0);
        entries.map(|(&(_, at), &entry)| (at, entry)).collect()
    }

    /// Returns the addresses that were mapped again while a device held an older translation.
    #[must_use]
    pub fn stale_reuse(&self) -> Vec<u64> {
        self.state().stale_reuse.clone()
    }

    /// Returns the pages that were freed while a device could still reach them.
    #[must_use]
    pub fn freed_in_reach(&self) -> Vec<u64> {
        self.state().freed_in_reach.clone()
    }

    /// Returns the number of IOMMU flushes so far.
    #[must_use]
    pub fn flushes(&self) -> u64 {
        self.state().flushes
    }

    /// Returns the number of pages allocated now.
    #[must_use]
    pub fn pages_out(&self) -> u64 {
        self.state().pages_out
    }

    /// Returns the numbers of CPU mappings and of pins that exist now.
    #[must_use]
    pub fn vmaps_and_pins(&self) -> (u64, u64) {
        let state = self.state();
        (state.vmaps, state.pins)
    }

    /// Returns true if nothing is allocated, mapped or pinned, as at the end of a test without leaks.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let state = self.state();
        state.pages_out == 0 && state.vmaps == 0 && state.pins == 0 && state.table.is_empty()
    }
}

impl State {
    fn may_fail(&mut self) -> Result<(), Error> {
        let call = self.calls;
        self.calls += 1;
        if self.fail_at != Some(call) {
            return Ok(());
        }
        self.hits += 1;
        let reason = Reason::new(Constraint::InjectedFault, call, 0);
        Err(Error::NoMemory(reason))
    }

    /// Takes a piece of memory that is adjacent to no other piece.
    fn take_piece(&mut self, granule: u64) -> u64 {
        let free = self.free_pages.get_mut(&granule).and_then(Vec::pop);
        let piece = free.unwrap_or_else(|| self.take_new(granule, granule));
        self.pages_out += granule / PAGE;
        piece
    }

    fn take_new(&mut self, len: u64, granule: u64) -> u64 {
        let first = self.next_page.next_multiple_of(granule);
        self.next_page = first + len + PAGE;
        first
    }
}

/// Returns the address of each byte of scattered memory, from byte `offset` on.
fn bytes_of(memory: &[Segment], offset: u64) -> impl Iterator<Item = u64> {
    let all = memory
        .iter()
        .flat_map(|s| s.addr.get()..s.addr.get() + s.len);
    all.skip(offset as usize)
}

/// Returns `len` bytes of RAM pages that the host never allocates, `offset` bytes from the first of them.
#[must_use]
pub fn ram(offset: u64, len: u64) -> Segment {
    Segment::pages(PhysAddr::new(RAM + 0x1000_0000 + offset), len)
}

/// Returns `len` bytes of memory without pages, `offset` bytes from `SRAM`.
#[must_use]
pub fn sram(offset: u64, len: u64) -> Segment {
    Segment {
        addr: PhysAddr::new(SRAM + offset),
        len,
        kind: SegmentKind::Physical,
    }
}
