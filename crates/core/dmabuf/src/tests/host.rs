//! The mapping layer over the host of [`vb3_dma_test::fake`], with devices of several kinds. The tests of
//! `vb3-plane` use this file, too.

use super::{Placer, Spec};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use vb3_dma::{Attrs, BounceMode, Direction, DmaAddr, DmaOps as _, Error, Live, Mapper, Memory};
use vb3_dma_test::fake::{Fake, Mutexes, Setup};

pub(crate) use vb3_dma_test::fake::PAGE;

/// The DMA layer of all tests.
pub(crate) type Ops = Mapper<Fake, Mutexes>;

// Devices that do not see the CPU's caches. The first three are behind an IOMMU.
pub(crate) const CAMERA: u32 = 1;
pub(crate) const DISPLAY: u32 = 2;
pub(crate) const OTHER: u32 = 9;
/// A device whose streaming mappings all bounce.
pub(crate) const BOUNCER: u32 = 3;
/// A device without an IOMMU.
pub(crate) const DIRECT: u32 = 5;
/// A device like the display, but with coherent caches and without an alignment.
pub(crate) const PC: u32 = 6;

pub(crate) fn setup() -> Setup {
    let behind = Setup {
        cache_alignment: 64,
        ..Setup::iommu(32).non_coherent()
    };
    let bouncer = Setup {
        bounce: BounceMode::Always,
        ..behind.clone()
    };
    let direct = Setup {
        cache_alignment: 64,
        ..Setup::direct().non_coherent()
    };
    let all = Setup {
        devices: 0,
        pool_bytes: 256 * PAGE,
        ..Setup::direct()
    };
    all.with_device(CAMERA, behind.clone())
        .with_device(DISPLAY, behind.clone())
        .with_device(OTHER, behind)
        .with_device(BOUNCER, bouncer)
        .with_device(DIRECT, direct)
        .with_device(PC, Setup::iommu(32))
}

pub(crate) fn ops(setup: Setup) -> Ops {
    Mapper::with_locks(Fake::new(setup), 16).expect("a valid setup")
}

/// Operations of tests on memory, faults and devices.
pub(crate) trait TestOps {
    /// Reads as a device does; `None` if it faults.
    fn dev_read(&self, dev: u32, addr: DmaAddr, len: u64) -> Option<Vec<u8>>;
    /// Writes as a device does; false if it faults.
    fn dev_write(&self, dev: u32, addr: DmaAddr, data: &[u8]) -> bool;
    /// Reads through a CPU mapping with the allocation's caching.
    fn cpu_read(&self, alloc: &Memory<Fake>, offset: u64, len: u64) -> Vec<u8>;
    /// Writes through a CPU mapping with the allocation's caching.
    fn cpu_write(&self, alloc: &Memory<Fake>, offset: u64, data: &[u8]);
    /// Lets `calls` calls of the host that may fail succeed; the next one fails.
    fn fail_after(&self, calls: u64);
    /// Number of the host's calls that failed since the last [`fail_after`](Self::fail_after).
    fn faults(&self) -> u64;
    /// Resources in use, without quarantined memory.
    fn held(&self) -> Live;
}

impl TestOps for Ops {
    fn dev_read(&self, dev: u32, addr: DmaAddr, len: u64) -> Option<Vec<u8>> {
        self.platform().dev_read_as(dev, addr, len)
    }

    fn dev_write(&self, dev: u32, addr: DmaAddr, data: &[u8]) -> bool {
        self.platform().dev_write_as(dev, addr, data).is_some()
    }

    fn cpu_read(&self, alloc: &Memory<Fake>, offset: u64, len: u64) -> Vec<u8> {
        let view = self.vmap(alloc).expect("a CPU mapping");
        let mut out = vec![0; usize::try_from(len).expect("a length")];
        self.vmap_read(&view, offset, &mut out).expect("inside");
        self.vunmap(view);
        out
    }

    fn cpu_write(&self, alloc: &Memory<Fake>, offset: u64, data: &[u8]) {
        let view = self.vmap(alloc).expect("a CPU mapping");
        self.vmap_write(&view, offset, data).expect("inside");
        self.vunmap(view);
    }

    fn fail_after(&self, calls: u64) {
        self.platform().fail(Some(calls));
    }

    fn faults(&self) -> u64 {
        self.platform().calls_and_failures().1
    }

    fn held(&self) -> Live {
        let live = self.live();
        if live.quarantined_bytes == 0 {
            return live;
        }
        Live {
            quarantined_bytes: 0,
            page_bytes: 0,
            iova_bytes: 0,
            ..live
        }
    }
}

/// Places memory in one run if a device without an IOMMU shares it, else page by page.
#[derive(Debug)]
pub(crate) struct FakePlacer {
    /// Whether there are runs to place memory in.
    has_runs: bool,
    /// First addresses of the memory placed so far.
    placed: Mutex<Vec<u64>>,
    /// Whether a program had the memory mapped when a place was searched for.
    pub(crate) were_mapped: Arc<Mutex<Vec<bool>>>,
}

impl FakePlacer {
    pub(crate) fn new(has_runs: bool) -> Self {
        Self {
            has_runs,
            placed: Mutex::new(Vec::new()),
            were_mapped: Arc::default(),
        }
    }

    fn first(alloc: &Memory<Fake>) -> u64 {
        alloc.segments()[0].addr.get()
    }
}

impl Placer<Ops> for FakePlacer {
    fn allocate(&self, ops: &Ops, spec: &Spec<u32>) -> Result<Memory<Fake>, Error> {
        ops.alloc_virtual(spec.len_bytes)
    }

    fn find(
        &self,
        _: &Ops,
        len_bytes: u64,
        devices: &mut dyn Iterator<Item = u32>,
        is_mapped: bool,
    ) -> Result<(usize, RangeInclusive<u64>), Error> {
        self.were_mapped.lock().expect("no panic").push(is_mapped);
        let in_run = devices.filter(|&dev| dev == DIRECT).count() > 0;
        if in_run && !self.has_runs {
            return Err(Error::no_ram(len_bytes));
        }
        Ok((usize::from(in_run), 0..=u64::MAX))
    }

    fn place(
        &self,
        ops: &Ops,
        alloc: &mut Memory<Fake>,
        heap: usize,
        _: RangeInclusive<u64>,
    ) -> Result<u64, Error> {
        let mut placed = self.placed.lock().expect("no panic");
        let before = Self::first(alloc);
        let is_move = placed.contains(&before);
        let len = alloc.len_bytes();
        if is_move || heap == 1 {
            let new = match heap {
                0 => ops.alloc_virtual(len)?,
                _ => {
                    ops.alloc_noncontiguous(DIRECT, len, Direction::Bidirectional, Attrs::empty())?
                }
            };
            let bytes = ops.platform().peek_in(alloc.segments(), 0, len);
            ops.platform().poke_in(new.segments(), 0, &bytes);
            ops.free(core::mem::replace(alloc, new));
        }
        placed.retain(|&first| first != before);
        placed.push(Self::first(alloc));
        Ok(if is_move { len } else { 0 })
    }
}
