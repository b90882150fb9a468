//! The machine: its parts in one `RefCell`, and the calls that report about them.

use crate::device::Device;
use crate::faults::{Faults, Injector};
use crate::iommu::{Iommu, Staleness};
use crate::machine::{BusWindow, DeviceLimits, DeviceState, Held, MAX_DEVICES, Pages, State};
use crate::memory::Object;
use crate::profile::{CACHE_LINE, Profile, RESERVED};
use crate::ram::{FRAME, FreeMemory};
use crate::trace::Trace;
use std::cell::{Ref, RefCell};
use std::io;
use vb3_dma::{
    Coherency, DeviceInfo, DmaAddr, Error, IommuInfo, Limits, PhysAddr, Segment, SegmentKind,
};

/// A machine of RAM, caches, an IOMMU and devices, in this process.
///
/// Its behaviour depends only on its profile, its seed and the calls made. It is `Send` but not `Sync`:
/// one thread at a time calls it.
#[derive(Debug)]
pub struct Machine {
    pub(crate) profile: Profile,
    pub(crate) state: RefCell<State>,
}

impl Machine {
    /// Makes a machine from a profile. The seed decides the positions of scattered pages.
    ///
    /// # Errors
    /// The system's error if it has no memory for the bounce pool.
    pub fn new(profile: &Profile, seed: u64) -> io::Result<Self> {
        Ok(Self {
            profile: profile.clone(),
            state: RefCell::new(State::new(profile, seed)?),
        })
    }

    /// Returns the profile that the machine was made from.
    #[must_use]
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Returns a device's window of memory; `None` if it reaches all memory, or is behind an IOMMU.
    #[must_use]
    pub fn bus_window(&self, dev: Device) -> Option<BusWindow> {
        self.state.borrow().device(dev)?.window
    }

    /// Returns the device with a number ([`Device::index`]); `None` if there is no such device.
    #[must_use]
    pub fn device_at(&self, index: u32) -> Option<Device> {
        let dev = Device(index);
        self.state.borrow().device(dev).map(|_| dev)
    }

    /// Returns the time in nanoseconds.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.state.borrow().now_ns
    }

    /// Sets the plan of faults and resets its counters.
    pub fn set_faults(&mut self, plan: Faults) {
        self.state.get_mut().faults = Injector::new(plan);
    }

    /// Sets the plan by which IOMMUs fail to remove mappings, and resets the plan's counters.
    ///
    /// These failures have a plan of their own, apart from [`set_faults`](Self::set_faults), because the memory and
    /// the addresses of such a mapping stay in quarantine: they are not used again in the machine's lifetime.
    pub fn set_unmap_faults(&mut self, plan: Faults) {
        self.state.get_mut().unmap_faults = Injector::new(plan);
    }

    /// Returns the number of injected failures since the plans of faults were set.
    #[must_use]
    pub fn injected_faults(&self) -> u64 {
        let state = self.state.borrow();
        state.faults.hits + state.unmap_faults.hits
    }

    /// Returns the event trace.
    #[must_use]
    pub fn trace(&self) -> Ref<'_, Trace> {
        Ref::map(self.state.borrow(), |state| &state.trace)
    }

    /// Returns the event trace, so that the caller can start or end it.
    pub fn trace_mut(&mut self) -> &mut Trace {
        &mut self.state.get_mut().trace
    }

    /// Waits until freed memory and its descriptors have been returned to the system. For large memory, a
    /// separate thread of the machine does that shortly after the call that freed it.
    pub fn wait_until_freed(&self) {
        self.state.borrow_mut().freeing.wait_until_freed();
    }

    /// Returns the address of `dev`'s page table; `None` without an IOMMU.
    #[must_use]
    pub fn iommu_root(&self, dev: Device) -> Option<PhysAddr> {
        let state = self.state.borrow();
        let iommu = state.device(dev)?.iommu.as_ref()?;
        Some(iommu.table.root())
    }

    /// Returns the aligned 64-bit word of a page table at a physical address; `None` outside the
    /// tables.
    #[must_use]
    pub fn iommu_word(&self, addr: PhysAddr) -> Option<u64> {
        self.state.borrow().ram.tables.word(addr.get())
    }

    /// Returns the free memory by areas.
    #[must_use]
    pub fn free_memory(&self) -> FreeMemory {
        self.state.borrow().ram.free()
    }

    /// Returns whether the CPU cannot access the memory at an address.
    #[must_use]
    pub fn is_protected(&self, addr: PhysAddr) -> bool {
        self.state.borrow().ram.is_protected(addr.get())
    }

    /// Returns the alignment in bytes that every allocation of `len` bytes in the contiguous area has.
    #[must_use]
    pub fn cma_align(&self, len: u64) -> u64 {
        // The area begins at `RESERVED`, so its start is aligned to `RESERVED` and no further.
        self.state.borrow().ram.cma_align(len).min(RESERVED)
    }

    /// Returns the largest simultaneous use of the contiguous area, in bytes. Memory that
    /// [`occupy_cma`](Self::occupy_cma) took does not count.
    #[must_use]
    pub fn cma_peak(&self) -> u64 {
        self.state.borrow().ram.cma_peak
    }

    /// Adds a device.
    ///
    /// # Errors
    /// `Invalid` (EINVAL) in these cases: no memory meets the [limits](vb3_dma::Limits::is_valid); the alignment is
    /// not `2^n`; the profile does not have the IOMMU; the window ends above the device's DMA mask, or the device is
    /// behind an IOMMU and has a window; the machine has 1024 devices already. `NoMemory` if there is no memory for
    /// the root of the device's page table.
    pub fn add_device(&mut self, name: &str, limits: DeviceLimits) -> Result<Device, Error> {
        let state = self.state.get_mut();
        let profile = &state.profile;
        let all = Limits {
            mask: limits.mask.unwrap_or(profile.mask()),
            max_segment: limits.max_segment.unwrap_or(profile.max_segment),
            boundary: limits.boundary.unwrap_or(profile.boundary),
            max_segments: limits.max_segments.unwrap_or(u32::MAX),
        };
        let align = limits.align.unwrap_or(1);
        let is_full = state.devices.len() >= MAX_DEVICES;
        if !all.is_valid() || !align.is_power_of_two() || is_full {
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
            .with_bounce(profile.bounce.mode)
            .with_iommu(iommu.map(|iommu| IommuInfo {
                page_sizes: iommu.page_sizes,
                first: DmaAddr::new(0),
                last: DmaAddr::new(iommu.last()),
            }));
        if coherency == Coherency::NonCoherent {
            info = info.non_coherent(CACHE_LINE);
        }
        let ram = &mut state.ram;
        let iommu = iommu.map(|iommu| Iommu::new(ram, iommu)).transpose()?;
        // CAST: at most MAX_DEVICES.
        let dev = Device(state.devices.len() as u32);
        state.devices.push(DeviceState {
            name: name.to_owned(),
            info,
            align,
            iommu,
            reserved,
            window: limits.window,
            demands: limits.demands,
            faults_next: false,
        });
        Ok(dev)
    }

    /// Returns the name of a device.
    #[must_use]
    pub fn device_name(&self, dev: Device) -> Option<String> {
        let state = self.state.borrow();
        state.device(dev).map(|device| device.name.clone())
    }

    /// Sets the time in nanoseconds. A time before the current one has no effect.
    pub fn set_now_ns(&mut self, now_ns: u64) {
        let state = self.state.get_mut();
        state.now_ns = state.now_ns.max(now_ns);
    }

    /// Allocates memory of the contiguous area, as if for other users of the machine, until no free run of
    /// the area exceeds `longest` bytes.
    ///
    /// `held` does not include this memory. Returns the number of bytes taken.
    pub fn occupy_cma(&mut self, longest: u64) -> u64 {
        self.state.get_mut().ram.occupy_cma(longest / FRAME)
    }

    /// Frees the memory that [`occupy_cma`](Self::occupy_cma) took. Returns the number of bytes.
    pub fn vacate_cma(&mut self) -> u64 {
        self.state.get_mut().ram.vacate_cma()
    }

    /// Returns the amounts of memory in use now.
    #[must_use]
    pub fn held(&self) -> Held {
        let state = self.state.borrow();
        let iommus = state.devices.iter().filter_map(|d| d.iommu.as_ref());
        Held {
            ram_bytes: state.boot_free
                - state.ram.free_bytes()
                - state.ram.tables.bytes()
                - state.ram.occupied_bytes(),
            cma_bytes: state.ram.cma_used(),
            objects: (state.memory.objects() - usize::from(state.bounce.is_some())) as u64,
            pins: state.memory.pins(),
            vmaps: state.vmaps,
            iommu_pages: iommus.map(|iommu| iommu.table.leaf_count()).sum(),
        }
    }

    /// Returns the number of free pages that IOMMUs still map: no allocation, range or pin owns them.
    #[must_use]
    pub fn exposed_pages(&self) -> u64 {
        let state = self.state.borrow();
        let is_free = |phys: PhysAddr| state.memory.locate(phys.get(), 1).is_err();
        let iommus = state.devices.iter().filter_map(|d| d.iommu.as_ref());
        let (first, last) = (DmaAddr::new(0), DmaAddr::new(u64::MAX));
        let pages = iommus.flat_map(|iommu| iommu.table.leaves(&state.ram, first, last));
        pages.filter(|page| is_free(page.phys)).count() as u64
    }

    /// Overwrites a word of a page table, as a bug or an attacker would; `false` outside the tables.
    pub fn set_iommu_word(&mut self, addr: PhysAddr, word: u64) -> bool {
        let state = self.state.get_mut();
        state.remapped += 1;
        state.ram.tables.set_word(addr.get(), word)
    }

    /// Sets which removed translations `dev` may use until the next flush, and flushes now.
    pub fn set_staleness(&mut self, dev: Device, staleness: Staleness) {
        if let Some((iommu, _)) = self.state.get_mut().iommu_parts(dev) {
            iommu.tlb.set_staleness(staleness);
        }
    }

    /// Returns the bytes that are claimed now from devices' own memory.
    #[must_use]
    pub fn claimed_bytes(&self) -> u64 {
        let state = self.state.borrow();
        let ids = state.claimed.values();
        let objects = ids.filter_map(|id| state.memory.get(*id));
        objects.map(|object| object.len).sum()
    }

    /// Returns how many bytes of an allocation differ between the CPU's and the devices' view.
    #[must_use]
    pub fn stale_bytes_of(&self, pages: &Pages) -> u64 {
        let state = self.state.borrow();
        let object = state.memory.get(pages.id);
        object.map_or(0, Object::stale_bytes)
    }

    /// Reserves `len` bytes of addresses for a device's own memory, for the machine's lifetime. Only
    /// [claimed](vb3_dma::Platform::claim_physical) parts have bytes, each in a separate memfd.
    ///
    /// # Errors
    /// `NoMemory` when the hole for devices' addresses is full; `Invalid` for a length that is zero or not a
    /// multiple of the page size.
    pub fn reserve_physical(&mut self, len: u64) -> Result<Segment, Error> {
        let state = self.state.get_mut();
        state.check_pages(len)?;
        let addr = PhysAddr::new(state.ram.take_hole(len)? * FRAME);
        let kind = SegmentKind::Physical;
        Ok(Segment { addr, len, kind })
    }
}
