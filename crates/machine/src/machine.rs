//! A machine's parts, devices and clock.

use crate::backing::Backing;
use crate::device::{BusStats, Device};
use crate::dram::Dram;
use crate::faults::{Faults, Injector};
use crate::iommu::{Iommu, Staleness, TableFrames, Tables};
use crate::memory::{MachineMemory, Object};
use crate::profile::Profile;
use crate::proven::Proven;
use crate::ram::{FRAME, Ram};
use crate::store::Shared;
use crate::trace::{Event, Trace};
use crate::waste::Disposal;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use vb3_dma::{
    BouncePool, Caching, Coherency, Constraint, DeviceInfo, DmaAddr, Error, IommuInfo, Iova,
    Limits, PhysAddr, Protected, Reason, Segment, SegmentKind,
};

/// Largest number of devices of a machine.
const MAX_DEVICES: usize = 1024;

/// A device's properties that differ from the profile. `None` takes the profile's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceLimits {
    /// Highest bus address, of any value.
    pub mask: Option<u64>,
    /// Longest segment in bytes.
    pub max_segment: Option<u64>,
    /// Boundary mask.
    pub boundary: Option<u64>,
    /// Maximum number of segments in a table.
    pub max_segments: Option<u32>,
    /// Alignment of its addresses in bytes, a power of two.
    pub align: Option<u64>,
    /// Whether it sees the CPU's caches.
    pub coherency: Option<Coherency>,
    /// Whether it is behind the machine's IOMMU, if there is one.
    pub iommu: Option<bool>,
    /// Index in [`Profile::iommus`] of the IOMMU that it is behind instead.
    pub further_iommu: Option<usize>,
    /// Its view of memory; `None` for all of it at unchanged addresses. Not for a device behind an
    /// IOMMU.
    pub window: Option<BusWindow>,
    /// Further demands on its memory.
    pub demands: Demands,
}

/// Demands of a device and its driver on memory at any address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Pages behind it.
    pub pages: bool,
    /// The CPU and the device must see the same bytes without a sync.
    pub coherent: bool,
    /// Whether it is protected.
    pub protected: Protected,
}

/// The memory that a device without an IOMMU sees through its bus, at other addresses (`dma-ranges` of
/// a device tree).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusWindow {
    /// First byte of the visible memory.
    pub memory: PhysAddr,
    /// Its bus address.
    pub bus: DmaAddr,
    /// Bytes.
    pub len: u64,
}

impl BusWindow {
    /// Returns the last byte of the memory, and its bus address; `None` if there is no such address.
    #[must_use]
    pub fn last(&self) -> Option<(PhysAddr, DmaAddr)> {
        let len = self.len.checked_sub(1)?;
        let memory = self.memory.get().checked_add(len).map(PhysAddr::new)?;
        Some((memory, self.bus.checked_add(len)?))
    }

    /// Returns the bus address of a physical address.
    pub(crate) fn bus_addr(&self, addr: PhysAddr) -> Option<DmaAddr> {
        let offset = addr.get().checked_sub(self.memory.get())?;
        self.bus.checked_add(offset).filter(|_| offset < self.len)
    }

    /// Returns the physical address of a bus address, and how many bytes follow there.
    pub(crate) fn physical(&self, addr: DmaAddr) -> Option<(PhysAddr, u64)> {
        let offset = addr.get().checked_sub(self.bus.get())?;
        let left = self.len.checked_sub(offset).filter(|left| *left > 0)?;
        Some((PhysAddr::new(self.memory.get().checked_add(offset)?), left))
    }
}

/// A device and its state.
#[derive(Debug)]
pub(crate) struct DeviceState {
    pub(crate) name: String,
    pub(crate) info: DeviceInfo,
    pub(crate) align: u64,
    pub(crate) iommu: Option<Iommu>,
    /// Addresses that its IOMMU never assigns.
    pub(crate) reserved: Vec<(u64, u64)>,
    /// Its view of memory.
    pub(crate) window: Option<BusWindow>,
    pub(crate) demands: Demands,
    pub(crate) stats: BusStats,
    /// Whether its next access faults, mapped or not.
    pub(crate) faults_next: bool,
}

/// Pages the machine gave out.
#[derive(Debug, PartialEq, Eq)]
pub struct Pages {
    pub(crate) id: u64,
}

/// User memory the machine pinned.
#[derive(Debug)]
pub struct Pinned {
    pub(crate) id: u64,
}

/// How a program maps memory.
#[derive(Debug)]
pub struct Mmap {
    /// The memfd, duplicated for the caller.
    pub fd: OwnedFd,
    /// Offset in it, bytes.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
}

/// Memory of the machine in use. All but the bounce pool's part returns to zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Bytes of RAM in use, without page tables.
    pub ram_bytes: u64,
    /// Bytes of the contiguous area in use.
    pub cma_bytes: u64,
    /// Live allocations, physical ranges and pins.
    pub objects: u64,
    /// Pinned ranges.
    pub pins: u64,
    /// CPU mappings.
    pub vmaps: u64,
    /// Page-table entries of all devices.
    pub iommu_pages: u64,
}

/// A machine's parts with their contents.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) profile: Profile,
    pub(crate) ram: Ram,
    pub(crate) memory: MachineMemory,
    /// Claimed parts of devices' own memory: address and object.
    pub(crate) claimed: BTreeMap<u64, u64>,
    /// Objects that may hold more than one allocation.
    pub(crate) common: BTreeSet<u64>,
    /// Objects that are memory of other drivers.
    pub(crate) imported: BTreeSet<u64>,
    /// Frames of the contiguous area that simulated other users occupy.
    occupied: Vec<(u64, u64)>,
    /// Objects that were reserved before placement, and may be moved.
    pub(crate) movable: BTreeSet<u64>,
    /// Bytes of those that have not been placed yet.
    pub(crate) promised: u64,
    pub(crate) tables: TableFrames,
    pub(crate) devices: Vec<DeviceState>,
    pub(crate) faults: Injector,
    pub(crate) bounce: Option<BouncePool>,
    /// Number of changes of translations.
    pub(crate) remapped: u64,
    pub(crate) proven: Proven,
    pub(crate) pins: u64,
    pub(crate) vmaps: u64,
    /// Number of cache syncs and copies that found a program's memory gone.
    pub(crate) lost: u64,
    pub(crate) trace: Trace,
    pub(crate) now_ns: u64,
    boot_free: u64,
    pub(crate) waste: Disposal,
}

impl State {
    /// Makes a machine from a profile. The seed decides the positions of scattered pages.
    pub(crate) fn new(profile: &Profile, seed: u64) -> io::Result<Self> {
        let (ram, bounce_at) = Ram::new(profile, seed);
        let bounce = bounce_at.map(|base| BouncePool {
            base,
            len: profile.bounce_pool,
        });
        let boot_free = ram.free_bytes();
        let mut machine = Self {
            profile: profile.clone(),
            ram,
            memory: MachineMemory::default(),
            claimed: BTreeMap::new(),
            common: BTreeSet::new(),
            imported: BTreeSet::new(),
            occupied: Vec::new(),
            movable: BTreeSet::new(),
            promised: 0,
            tables: TableFrames::default(),
            devices: Vec::new(),
            faults: Injector::new(Faults::Off),
            bounce,
            remapped: 0,
            proven: Proven::default(),
            pins: 0,
            vmaps: 0,
            lost: 0,
            trace: Trace::default(),
            now_ns: 0,
            boot_free,
            waste: Disposal::default(),
        };
        if let Some(pool) = bounce {
            let backing = Backing::Shared(Shared::new(pool.len)?);
            let dram = machine.dram_for(Caching::Cached, pool.len)?;
            let frames = vec![(pool.base.get() / FRAME, pool.len / FRAME)];
            let kind = SegmentKind::Pages;
            let object = Object::new(backing, dram, frames, kind, (0, pool.len), true);
            machine.common.insert(machine.memory.insert(object));
        }
        Ok(machine)
    }

    /// Adds a device.
    pub(crate) fn add_device(&mut self, name: &str, limits: DeviceLimits) -> Result<Device, Error> {
        let profile = &self.profile;
        let all = Limits {
            mask: limits.mask.unwrap_or(profile.mask()),
            max_segment: limits.max_segment.unwrap_or(profile.max_segment),
            boundary: limits.boundary.unwrap_or(profile.boundary),
            max_segments: limits.max_segments.unwrap_or(u32::MAX),
        };
        if !all.is_valid() {
            return Err(Error::Invalid);
        }
        let align = limits.align.unwrap_or(1);
        if self.devices.len() >= MAX_DEVICES || !align.is_power_of_two() {
            return Err(Error::Invalid);
        }
        let iommu = match limits.further_iommu {
            Some(at) => Some(&profile.iommus.get(at).ok_or(Error::Invalid)?.1),
            None => {
                let shared = profile.iommu.as_ref();
                shared.filter(|_| limits.iommu != Some(false))
            }
        };
        let sees = |window: BusWindow| window.last().is_some_and(|(_, bus)| bus.get() <= all.mask);
        if limits
            .window
            .is_some_and(|window| iommu.is_some() || !sees(window))
        {
            return Err(Error::Invalid);
        }
        let reserved = iommu.map_or_else(Vec::new, |iommu| iommu.reserved.clone());
        let coherency = limits.coherency.unwrap_or(profile.coherency());
        let mut info = DeviceInfo::new(all)
            .with_bounce(profile.bounce)
            .with_iommu(iommu.map(|iommu| IommuInfo {
                page_sizes: iommu.page_sizes,
                first: Iova::new(0),
                last: Iova::new(iommu.last()),
            }));
        if coherency == Coherency::NonCoherent {
            info = info.non_coherent(profile.cache_line);
        }
        let mut mem = Tables {
            ram: &mut self.ram,
            frames: &mut self.tables,
        };
        let iommu = iommu.map(|iommu| Iommu::new(&mut mem, iommu)).transpose()?;
        // CAST: bounded by MAX_DEVICES.
        let dev = Device(self.devices.len() as u32);
        let stats = BusStats::default();
        self.devices.push(DeviceState {
            name: name.to_owned(),
            info,
            align,
            iommu,
            reserved,
            window: limits.window,
            demands: limits.demands,
            stats,
            faults_next: false,
        });
        Ok(dev)
    }

    /// Returns the name of a device.
    pub(crate) fn device_name(&self, dev: Device) -> Option<&str> {
        self.device(dev).map(|device| device.name.as_str())
    }

    /// Sets the clock (ns). It never runs backwards.
    pub(crate) fn set_now_ns(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
    }

    /// Returns the event trace.
    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Returns the amounts of memory in use now.
    pub(crate) fn held(&self) -> Held {
        let pages = self
            .devices
            .iter()
            .filter_map(|d| d.iommu.as_ref())
            .map(Iommu::pages);
        Held {
            ram_bytes: self.boot_free
                - self.ram.free_bytes()
                - self.tables.bytes()
                - self.occupied_bytes(),
            cma_bytes: self.ram.cma_used() - self.occupied_bytes(),
            objects: (self.memory.objects() - usize::from(self.bounce.is_some())) as u64,
            pins: self.pins,
            vmaps: self.vmaps,
            iommu_pages: pages.sum(),
        }
    }

    /// Overwrites a word of a page table, as a bug or an attacker would; `false` outside the tables.
    pub(crate) fn set_iommu_word(&mut self, addr: PhysAddr, word: u64) -> bool {
        self.remapped += 1;
        self.tables.set_word(addr.get(), word)
    }

    /// Sets which translations `dev` may use between a removal and the flush, and flushes.
    pub(crate) fn set_staleness(&mut self, dev: Device, staleness: Staleness) {
        self.remapped += 1;
        if let Some(iommu) = self.device_mut(dev).and_then(|d| d.iommu.as_mut()) {
            iommu.set_staleness(staleness);
        }
    }

    /// Returns `dev`'s translation-buffer hits, and page-table walks.
    pub(crate) fn iotlb_counts(&self, dev: Device) -> (u64, u64) {
        let iommu = self.device(dev).and_then(|d| d.iommu.as_ref());
        iommu.map_or((0, 0), Iommu::tlb_counts)
    }

    /// Returns the bytes of devices' own memory in use.
    pub(crate) fn claimed_bytes(&self) -> u64 {
        let objects = self.claimed.values().filter_map(|id| self.memory.get(*id));
        objects.map(|object| object.len).sum()
    }

    /// Takes frames of the contiguous area until no free run exceeds `longest` bytes. Returns the bytes
    /// taken.
    pub(crate) fn occupy_cma(&mut self, longest: u64) -> u64 {
        let taken = self.ram.occupy_cma(longest / FRAME);
        let bytes = taken.iter().map(|(_, frames)| frames * FRAME).sum();
        self.occupied.extend(taken);
        bytes
    }

    /// Frees the frames that [`occupy_cma`](Self::occupy_cma) took. Returns their bytes.
    pub(crate) fn vacate_cma(&mut self) -> u64 {
        let bytes = self.occupied_bytes();
        self.ram.give(&std::mem::take(&mut self.occupied));
        bytes
    }

    fn occupied_bytes(&self) -> u64 {
        self.occupied.iter().map(|(_, frames)| frames * FRAME).sum()
    }

    /// Returns the memfd of pages: the CPU's view of them, in the order of their runs. `None` for other
    /// memory.
    pub(crate) fn pages_fd(&self, pages: &Pages) -> Option<BorrowedFd<'_>> {
        match &self.memory.get(pages.id)?.backing {
            Backing::Shared(store) => Some(store.fd()),
            Backing::User { .. } | Backing::Foreign(_) => None,
        }
    }

    /// Returns the device and inode number of that memfd.
    pub(crate) fn pages_identity(&self, pages: &Pages) -> Option<(u64, u64)> {
        match &self.memory.get(pages.id)?.backing {
            Backing::Shared(store) => Some(store.identity()),
            Backing::User { .. } | Backing::Foreign(_) => None,
        }
    }

    /// The same over several ranges.
    pub(crate) fn stale_bytes_in(&self, segments: &[Segment]) -> u64 {
        segments
            .iter()
            .map(|s| self.memory.stale(s.addr, s.len))
            .sum()
    }

    /// The same over an allocation.
    pub(crate) fn stale_bytes_of(&self, pages: &Pages) -> u64 {
        self.memory
            .get(pages.id)
            .map_or(0, |object| self.stale_bytes_in(&object.segments))
    }

    /// Adds `len` bytes of device memory without struct pages, for the machine's lifetime.
    pub(crate) fn add_physical(&mut self, len: u64) -> Result<Segment, Error> {
        if len == 0 || len % self.profile.page_size != 0 {
            return Err(Error::Invalid);
        }
        let frames = self.ram.take_hole(len)?;
        let store = match Shared::new(len) {
            Ok(store) => store,
            Err(_) => {
                self.ram.give(&frames);
                return Err(host_exhausted(len));
            }
        };
        let addr = PhysAddr::new(frames.first().map_or(0, |&(first, _)| first * FRAME));
        let kind = SegmentKind::Physical;
        let object = Object::new(Backing::Shared(store), None, frames, kind, (0, len), true);
        self.common.insert(self.memory.insert(object));
        Ok(Segment { addr, len, kind })
    }

    /// Reserves `len` bytes of addresses for a device's own memory, for the machine's lifetime.
    pub(crate) fn reserve_physical(&mut self, len: u64) -> Result<Segment, Error> {
        if len == 0 || len % self.profile.page_size != 0 {
            return Err(Error::Invalid);
        }
        let frames = self.ram.take_hole(len)?;
        let addr = PhysAddr::new(frames.first().map_or(0, |&(first, _)| first * FRAME));
        let kind = SegmentKind::Physical;
        Ok(Segment { addr, len, kind })
    }

    pub(crate) fn device(&self, dev: Device) -> Option<&DeviceState> {
        self.devices.get(dev.0 as usize)
    }

    pub(crate) fn device_mut(&mut self, dev: Device) -> Option<&mut DeviceState> {
        self.devices.get_mut(dev.0 as usize)
    }

    /// Returns the IOMMU of a device, with the memory for its tables.
    pub(crate) fn iommu_parts(&mut self, dev: Device) -> Option<(&mut Iommu, Tables<'_>)> {
        self.remapped += 1;
        let iommu = self.devices.get_mut(dev.0 as usize)?.iommu.as_mut()?;
        let mem = Tables {
            ram: &mut self.ram,
            frames: &mut self.tables,
        };
        Some((iommu, mem))
    }

    pub(crate) fn note(&mut self, event: Event) {
        self.trace.add(self.now_ns, event);
    }

    /// Decides whether the current call fails by plan. Every fallible call asks this first.
    pub(crate) fn may_fail(&mut self) -> Result<(), Error> {
        let result = self.faults.check();
        if result.is_err() {
            let call = self.faults.calls() - 1;
            self.note(Event::Injected { call });
        }
        result
    }

    /// Makes the second store of memory, if this machine needs one.
    pub(crate) fn dram_for(&self, caching: Caching, len: u64) -> io::Result<Option<Dram>> {
        let mut devices = self.devices.iter();
        let snoop_all = devices.all(|device| device.info.coherency == Coherency::Coherent);
        let is_coherent = self.profile.coherent && snoop_all;
        let two_stores = !is_coherent && caching == Caching::Cached;
        two_stores.then(|| Dram::new(len)).transpose()
    }
}

/// The process itself got no memory.
pub(crate) fn host_exhausted(len: u64) -> Error {
    Error::NoMemory(Reason {
        constraint: Constraint::Ram,
        wanted: len,
        found: 0,
    })
}
