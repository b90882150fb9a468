//! A machine's parts, devices and clock.

use crate::backing::Backing;
use crate::device::Device;
use crate::dram::Dram;
use crate::faults::{Faults, Injector};
use crate::freeing::FreeingThread;
use crate::iommu::Iommu;
use crate::memory::{MachineMemory, Object};
use crate::profile::Profile;
use crate::proven::Proven;
use crate::ram::{FRAME, FrameRuns, Ram};
use crate::store::Shared;
use crate::trace::{Event, Trace};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use vb3_dma::{
    Caching, Coherency, DeviceInfo, DmaAddr, Error, PhysAddr, Protected, Segment, SegmentKind,
};

/// Largest number of devices of a machine.
pub(crate) const MAX_DEVICES: usize = 1024;

/// A device's properties that differ from the profile. `None` takes the profile's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceLimits {
    /// Highest bus address that the device reaches; need not be `2^n - 1`.
    pub mask: Option<u64>,
    /// Longest segment in bytes.
    pub max_segment: Option<u64>,
    /// Boundary that segments do not cross, as a mask.
    pub boundary: Option<u64>,
    /// Maximum number of segments in a scatter table.
    pub max_segments: Option<u32>,
    /// Required alignment of the device's addresses in bytes, a power of two.
    pub align: Option<u64>,
    /// Whether the device's accesses see the CPU's caches.
    pub coherency: Option<Coherency>,
    /// Whether the device is behind the machine's IOMMU, if there is one.
    pub iommu: Option<bool>,
    /// Index in [`Profile::iommus`] of another IOMMU that the device is behind.
    pub further_iommu: Option<usize>,
    /// The device's window of memory; `None` for all memory at unchanged addresses. A device behind an IOMMU has
    /// none.
    pub window: Option<BusWindow>,
    /// Further demands on the device's memory.
    pub demands: Demands,
}

/// Demands of a device and its driver on memory that do not depend on addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// Whether the memory must have struct pages.
    pub pages: bool,
    /// Whether the CPU and the device must see the same bytes without a sync.
    pub coherent: bool,
    /// Whether the memory must, may or must not be protected memory.
    pub protected: Protected,
}

/// The memory that a device without an IOMMU reaches, at other bus addresses (`dma-ranges` of a device tree).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusWindow {
    /// First byte of the reachable memory.
    pub memory: PhysAddr,
    /// Bus address of that byte.
    pub bus: DmaAddr,
    /// Length in bytes.
    pub len: u64,
}

impl BusWindow {
    /// Returns the window's last byte and its bus address; `None` beyond 64 bits.
    #[must_use]
    pub fn last(&self) -> Option<(PhysAddr, DmaAddr)> {
        let len = self.len.checked_sub(1)?;
        let memory = self.memory.get().checked_add(len).map(PhysAddr::new)?;
        Some((memory, self.bus.checked_add(len)?))
    }

    /// Returns the bus address of `len` bytes at a physical address; `None` if any is outside the window.
    pub(crate) fn bus_addr(&self, addr: PhysAddr, len: u64) -> Option<DmaAddr> {
        let offset = addr.get().checked_sub(self.memory.get())?;
        let is_inside = offset.checked_add(len)? <= self.len;
        self.bus.checked_add(offset).filter(|_| is_inside)
    }

    /// Returns the physical address of a bus address, and the number of bytes from there to the end.
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
    /// Ranges of I/O addresses that the device's IOMMU never assigns.
    pub(crate) reserved: Vec<(u64, u64)>,
    /// Its window of memory.
    pub(crate) window: Option<BusWindow>,
    pub(crate) demands: Demands,
    /// Whether the device's next access faults, even if the address is mapped.
    pub(crate) faults_next: bool,
}

/// A handle to pages that the machine has allocated.
#[derive(Debug, PartialEq, Eq)]
pub struct Pages {
    pub(crate) id: u64,
}

/// A handle to memory of a program that the machine has pinned.
#[derive(Debug)]
pub struct Pinned {
    pub(crate) id: u64,
}

/// The file and range for a program's mapping of memory.
#[derive(Debug)]
pub struct Mmap {
    /// The memfd, duplicated for the caller.
    pub fd: OwnedFd,
    /// Offset in the memfd, in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

/// Memory of the machine in use.
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
    /// Objects that are memory of other drivers.
    pub(crate) imported: BTreeSet<u64>,
    pub(crate) devices: Vec<DeviceState>,
    pub(crate) faults: Injector,
    pub(crate) unmap_faults: Injector,
    pub(crate) bounce: Option<Segment>,
    /// Number of changes of translations.
    pub(crate) remapped: u64,
    pub(crate) proven: Proven,
    pub(crate) vmaps: u64,
    pub(crate) trace: Trace,
    pub(crate) now_ns: u64,
    pub(crate) boot_free: u64,
    pub(crate) freeing: FreeingThread,
}

impl State {
    /// Makes a machine from a profile. The seed decides the positions of scattered pages.
    pub(crate) fn new(profile: &Profile, seed: u64) -> io::Result<Self> {
        let (ram, bounce_at) = Ram::new(profile, seed);
        let bounce = bounce_at.map(|base| Segment::pages(base, profile.bounce.pool));
        let boot_free = ram.free_bytes();
        let mut machine = Self {
            profile: profile.clone(),
            ram,
            memory: MachineMemory::default(),
            claimed: BTreeMap::new(),
            imported: BTreeSet::new(),
            devices: Vec::new(),
            faults: Injector::new(Faults::Off),
            unmap_faults: Injector::new(Faults::Off),
            bounce,
            remapped: 0,
            proven: Proven::default(),
            vmaps: 0,
            trace: Trace::default(),
            now_ns: 0,
            boot_free,
            freeing: FreeingThread::default(),
        };
        if let Some(pool) = bounce {
            let backing = Backing::Shared(Shared::new(pool.len)?);
            let two_stores = !profile.coherent;
            let dram = two_stores.then(|| Dram::new(pool.len)).transpose()?;
            let frames = vec![(pool.addr.get() / FRAME, pool.len / FRAME)];
            let kind = SegmentKind::Pages;
            let object = Object::new(backing, dram, frames, kind, (0, pool.len), true);
            machine.memory.insert(object);
        }
        Ok(machine)
    }

    /// Checks that a length is not zero and a multiple of pages.
    pub(crate) fn check_pages(&self, len: u64) -> Result<(), Error> {
        if len == 0 || len % self.profile.page_size != 0 {
            return Err(Error::Invalid);
        }
        Ok(())
    }

    /// Makes an object with zeroed stores at `frames`. Frees the frames if that fails.
    pub(crate) fn object_at(
        &mut self,
        frames: FrameRuns,
        (kind, caching): (SegmentKind, Caching),
        len: u64,
        shared: bool,
    ) -> Result<Object, Error> {
        let dram = self.dram_at(&frames, caching, len)?;
        let Ok(store) = Shared::new(len) else {
            self.ram.give(&frames);
            return Err(Error::no_ram(len));
        };
        let backing = Backing::Shared(store);
        Ok(Object::new(backing, dram, frames, kind, (0, len), shared))
    }

    /// Adds a new object, and traces it as an allocation.
    pub(crate) fn insert_new(&mut self, object: Object) -> Pages {
        let (addr, len, runs) = (
            object.first_addr(),
            object.len,
            object.segments.len() as u64,
        );
        let id = self.memory.insert(object);
        self.note(Event::Alloc { addr, len, runs });
        Pages { id }
    }

    pub(crate) fn device(&self, dev: Device) -> Option<&DeviceState> {
        self.devices.get(dev.0 as usize)
    }

    pub(crate) fn device_mut(&mut self, dev: Device) -> Option<&mut DeviceState> {
        self.devices.get_mut(dev.0 as usize)
    }

    /// Returns the IOMMU of a device, with the memory for its tables, to change translations.
    pub(crate) fn iommu_parts(&mut self, dev: Device) -> Option<(&mut Iommu, &mut Ram)> {
        self.remapped += 1;
        let iommu = self.devices.get_mut(dev.0 as usize)?.iommu.as_mut()?;
        Some((iommu, &mut self.ram))
    }

    pub(crate) fn note(&mut self, event: Event) {
        self.trace.add(self.now_ns, event);
    }

    /// Decides whether the plan of faults lets the current call fail. Every fallible call begins with this.
    pub(crate) fn may_fail(&mut self) -> Result<(), Error> {
        let result = self.faults.check();
        self.note_injected(result, self.faults.calls)
    }

    /// As [`may_fail`](Self::may_fail), for the calls that unmap.
    pub(crate) fn may_fail_unmap(&mut self) -> Result<(), Error> {
        let result = self.unmap_faults.check();
        self.note_injected(result, self.unmap_faults.calls)
    }

    fn note_injected(&mut self, result: Result<(), Error>, calls: u64) -> Result<(), Error> {
        if result.is_err() {
            self.note(Event::Injected { call: calls - 1 });
        }
        result
    }

    /// Makes the devices' store of memory at `frames`, if this machine needs a separate one. Frees the frames
    /// if that fails.
    pub(crate) fn dram_at(
        &mut self,
        frames: &[(u64, u64)],
        caching: Caching,
        len: u64,
    ) -> Result<Option<Dram>, Error> {
        let mut devices = self.devices.iter();
        let snoop_all = devices.all(|device| device.info.coherency == Coherency::Coherent);
        let is_coherent = self.profile.coherent && snoop_all;
        let two_stores = !is_coherent && caching == Caching::Cached;
        let dram = two_stores.then(|| Dram::new(len)).transpose();
        dram.map_err(|_| {
            self.ram.give(frames);
            Error::no_ram(len)
        })
    }
}
