//! Two threads take the layer's locks in every order that at most two preemptions cause.
//!
//! The locks are loom's, so that loom chooses the next thread at each of them. It does not explore
//! relaxed orders of the layer's atomics (the clock and counters), which are those of `core`.

use loom::sync::{Arc, Mutex};
use std::collections::BTreeMap;
use vb3_dma::{
    Attrs, BounceMode, DeviceInfo, Direction, DmaAddr, DmaOps as _, Error, FlushPolicy, IommuInfo,
    Limits, Locks, Mapper, Mapping, Memory, PageRequest, PhysAddr, Platform, Prot, Segment,
    SegmentKind,
};

const PAGE: u64 = 4096;

#[derive(Debug)]
struct Modelled;

impl Locks for Modelled {
    type Lock<T> = Mutex<T>;

    fn new_lock<T>(value: T) -> Mutex<T> {
        Mutex::new(value)
    }

    fn with<T, R>(lock: &Mutex<T>, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut lock.lock().unwrap())
    }
}

/// Two devices with page tables, of one group or of two; each bounces if there is a pool.
struct Host {
    one_group: bool,
    pool: bool,
    /// Page-table entries. The lock is loom's, too, so the other thread may run before each call of the host.
    entries: Mutex<BTreeMap<(u8, u64), u64>>,
    /// Removed translations that were not flushed yet.
    stale: Mutex<BTreeMap<(u8, u64), u64>>,
    /// Numbers of pages allocated and freed so far.
    pages: Mutex<(u64, u64)>,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            one_group: false,
            pool: false,
            entries: Mutex::new(BTreeMap::new()),
            stale: Mutex::new(BTreeMap::new()),
            pages: Mutex::new((0, 0)),
        }
    }
}

impl Platform for Host {
    type Device = u8;
    type Pages = PhysAddr;

    fn page_size(&self) -> u64 {
        PAGE
    }
    fn device_info(&self, _: u8) -> Option<DeviceInfo> {
        let info = DeviceInfo::new(Limits::default());
        Some(match self.pool {
            true => info.with_bounce(BounceMode::Always),
            false => info.with_iommu(Some(IommuInfo {
                page_sizes: PAGE,
                first: DmaAddr::new(0),
                last: DmaAddr::new(3 * PAGE - 1),
            })),
        })
    }
    fn alloc_pages(&self, request: PageRequest<u8>) -> Result<PhysAddr, Error> {
        assert_eq!(request.len, PAGE);
        let mut pages = self.pages.lock().unwrap();
        pages.0 += 1;
        Ok(PhysAddr::new((pages.0 + 16) << 24))
    }
    fn free_pages(&self, pages: PhysAddr) {
        for translations in [&self.entries, &self.stale] {
            let translations = translations.lock().unwrap();
            let reached = translations.values().find(|at| **at == pages.get());
            assert_eq!(reached, None, "freed, although a device may reach it");
        }
        self.pages.lock().unwrap().1 += 1;
    }
    fn pages_segment(&self, pages: &PhysAddr, index: usize) -> Option<Segment> {
        (index == 0).then_some(Segment::pages(*pages, PAGE))
    }

    fn iommu_group(&self, dev: u8) -> u8 {
        if self.one_group { 0 } else { dev }
    }
    fn iommu_map(
        &self,
        dev: u8,
        iova: DmaAddr,
        phys: PhysAddr,
        _: u64,
        _: Prot,
    ) -> Result<(), Error> {
        let at = (dev, iova.get());
        let before = self.entries.lock().unwrap().insert(at, phys.get());
        assert_eq!(before, None, "mapped twice at once");
        let stale = self.stale.lock().unwrap().get(&at).copied();
        assert_eq!(stale, None, "given out before the flush");
        Ok(())
    }
    fn iommu_unmap(&self, dev: u8, iova: DmaAddr, _: u64) -> Result<(), Error> {
        let at = (dev, iova.get());
        let gone = self.entries.lock().unwrap().remove(&at);
        let phys = gone.expect("mapped");
        self.stale.lock().unwrap().insert(at, phys);
        Ok(())
    }
    fn iommu_flush(&self, dev: u8) -> Result<(), Error> {
        self.stale.lock().unwrap().retain(|at, _| at.0 != dev);
        Ok(())
    }

    fn bounce_pool(&self) -> Option<Segment> {
        self.pool
            .then_some(Segment::pages(PhysAddr::new(0x10_0000), 2 * PAGE))
    }
    fn bounce_in(&self, _: PhysAddr, _: PhysAddr, _: u64) -> Result<(), Error> {
        Ok(())
    }
    fn bounce_out(&self, _: PhysAddr, _: PhysAddr, _: u64) -> Result<(), Error> {
        Ok(())
    }
    fn bounce_zero(&self, _: PhysAddr, _: u64) {}

    vb3_dma::without!(caches, users, views);
}

fn memory(dev: u8) -> Segment {
    Segment {
        addr: PhysAddr::new(u64::from(dev + 1) << 24),
        len: PAGE,
        kind: SegmentKind::Pages,
    }
}

/// Maps, unmaps and flushes, `rounds` times.
fn turn(dma: &Mapper<Host, Modelled>, dev: u8, rounds: u32) {
    let handle = dma.lend(&[memory(dev)]).unwrap();
    for _ in 0..rounds {
        match dma.map(dev, &handle, Direction::Bidirectional, Attrs::empty()) {
            Ok(mapping) => {
                dma.unmap(mapping, Attrs::empty());
                dma.flush_lazy(dev).unwrap();
            }
            // The other thread holds all of the addresses or slots that both share.
            Err(err) => assert_eq!(err.errno(), 12, "{err}"),
        }
    }
    dma.free(handle);
}

fn explore(host: impl Fn() -> Host + Sync + Send + 'static, lazy: bool, rounds: u32) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(move || {
        let dma = Mapper::<Host, Modelled>::with_locks(host(), 2).unwrap();
        if lazy {
            for dev in 0..2 {
                dma.set_flush_policy(dev, FlushPolicy::Lazy).unwrap();
            }
        }
        let dma = Arc::new(dma);
        let other = Arc::clone(&dma);
        let thread = loom::thread::spawn(move || turn(&other, 1, rounds));
        turn(&dma, 0, rounds);
        thread.join().unwrap();
        for dev in 0..2 {
            dma.flush_lazy(dev).unwrap();
        }
        assert!(dma.live().is_empty(), "{:?}", dma.live());
        assert!(dma.platform().entries.lock().unwrap().is_empty());
    });
}

#[test]
fn two_devices_map_at_the_same_time() {
    explore(Host::default, false, 1);
}

#[test]
fn two_devices_of_a_group_never_get_one_address() {
    let host = || Host {
        one_group: true,
        ..Host::default()
    };
    explore(host, false, 1);
}

#[test]
fn concurrent_lazy_flushes_free_no_address_early() {
    let host = || Host {
        one_group: true,
        ..Host::default()
    };
    explore(host, true, 2);
}

#[test]
fn two_devices_bounce_through_one_pool() {
    let host = || Host {
        pool: true,
        ..Host::default()
    };
    explore(host, false, 1);
}

/// Runs two threads on memory that the host frees after the last reference: both get a handle of the memory, and a
/// mapping of it for device 0, which flushes lazily. Each ends what it gets.
fn end_memory(
    one: impl Fn(&Layer, Memory<Host>) + Send + Sync + Copy + 'static,
    two: impl Fn(&Layer, Mapping<Host>) + Send + Sync + Copy + 'static,
) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(move || {
        let dma = Arc::new(Layer::with_locks(Host::default(), 2).unwrap());
        dma.set_flush_policy(0, FlushPolicy::Lazy).unwrap();
        let memory = dma.alloc_virtual(PAGE).unwrap();
        let mapping = dma.map(0, &memory, BOTH, Attrs::empty()).unwrap();
        let other = Arc::clone(&dma);
        let thread = loom::thread::spawn(move || one(&other, memory));
        two(&dma, mapping);
        thread.join().unwrap();
        dma.flush().unwrap();
        assert!(dma.live().is_empty(), "{:?}", dma.live());
        assert_eq!(*dma.platform().pages.lock().unwrap(), (1, 1), "freed once");
    });
}

const BOTH: Direction = Direction::Bidirectional;

type Layer = Mapper<Host, Modelled>;

fn unmap(dma: &Layer, mapping: Mapping<Host>) {
    dma.unmap(mapping, Attrs::empty());
}

#[test]
fn last_handle_and_last_mapping_end_at_once() {
    end_memory(|dma, memory| dma.free(memory), unmap);
}

#[test]
fn memory_is_mapped_while_its_handles_end() {
    let map = |dma: &Layer, memory: Memory<Host>| {
        let mapped = dma.map(1, &memory, BOTH, Attrs::empty()).unwrap();
        dma.free(memory);
        unmap(dma, mapped);
    };
    end_memory(map, unmap);
}

#[test]
fn flush_frees_memory_after_its_last_handle() {
    let free = |dma: &Layer, memory: Memory<Host>| {
        dma.free(memory);
        dma.flush_lazy(0).unwrap();
    };
    let flush = |dma: &Layer, mapping| {
        unmap(dma, mapping);
        dma.flush_lazy(0).unwrap();
    };
    end_memory(free, flush);
}

#[test]
fn device_is_removed_while_its_mapping_ends() {
    let remove = |dma: &Layer, memory: Memory<Host>| {
        dma.free(memory);
        if let Err(err) = dma.remove_device(0) {
            assert_eq!(err, Error::Busy);
        }
    };
    end_memory(remove, unmap);
}
