//! Heap allocation: paths that must not need it, and contexts that must not use it.

#[path = "layer/common.rs"]
mod common;

use common::{COHERENT, PAGE, mapper, with_iommu};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use vb3_dma::mapped::ToDevice;
use vb3_dma::{
    Attrs, BounceMode, Caching, Direction, DmaAddr, DmaOps as _, Error, FlushPolicy, Locks, Mapper,
    PhysAddr, Platform as _, Segment,
};
use vb3_dma_test::fake::{Fake, FakeUser, Setup, ram, sram};
use vb3_machine::Spot;

/// The heap of this test. It can fail for one thread.
struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

thread_local! {
    static IS_EMPTY: Cell<bool> = const { Cell::new(false) };
    /// Number of [`Watched`] locks that the thread holds. `TAKEN` counts how often it took one, and `ASKED`
    /// how often it used the heap meanwhile.
    static HELD: Cell<u32> = const { Cell::new(0) };
    static TAKEN: Cell<u64> = const { Cell::new(0) };
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

fn ask() {
    if HELD.get() > 0 {
        ASKED.set(ASKED.get() + 1);
    }
}

/// Locks of a host whose heap must not be used while interrupts are off.
struct Watched;

impl Locks for Watched {
    type Lock<T> = RefCell<T>;

    fn new_lock<T>(value: T) -> RefCell<T> {
        RefCell::new(value)
    }

    fn with<T, R>(lock: &RefCell<T>, act: impl FnOnce(&mut T) -> R) -> R {
        let mut value = lock.borrow_mut();
        HELD.set(HELD.get() + 1);
        TAKEN.set(TAKEN.get() + 1);
        let answer = act(&mut value);
        HELD.set(HELD.get() - 1);
        assert_eq!(ASKED.get(), 0, "the heap was asked under a lock");
        answer
    }
}

// SAFETY: all calls go to the system's allocator, or fail.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ask();
        if IS_EMPTY.get() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller keeps the conditions of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ask();
        // SAFETY: the caller keeps the conditions of `dealloc`, and `System` allocated the memory.
        unsafe { System.dealloc(at, layout) }
    }
}

#[test]
fn pages_move_without_heap_once_they_have_moved() {
    let mapper = mapper(&with_iommu(COHERENT));
    let machine = mapper.platform();
    let pages = machine.promise_pages(64 * PAGE, Caching::Cached).unwrap();
    let mut alloc = mapper
        .adopt_unplaced(pages, 64 * PAGE, Caching::Cached)
        .unwrap();
    let free = machine.free_memory().ordinary[0];
    for at in [free.addr, PhysAddr::new(free.addr.get() + (4 << 20))] {
        let moved = mapper.place_pages(&mut alloc, Caching::Cached, |machine, pages| {
            let moved = machine.place_pages(pages, Spot::Run(at), Caching::Cached);
            IS_EMPTY.set(true);
            moved
        });
        IS_EMPTY.set(false);
        assert!(moved.is_ok(), "{moved:?}");
        let pages = alloc.pages().unwrap();
        assert_eq!(alloc.segments()[0].addr, at);
        assert_eq!(machine.pages_segment(pages, 0), Some(alloc.segments()[0]));
    }
    mapper.free(alloc);
    assert!(mapper.live().is_empty());
}

type Test = Mapper<Fake, Watched>;

const BOTH: Direction = Direction::Bidirectional;

/// Two devices of one group and a single one, with and without an IOMMU, with and without bouncing.
fn tests() -> Vec<Test> {
    let setups = [
        Setup::direct(),
        Setup {
            bounce: BounceMode::Always,
            pool_bytes: 4096 * PAGE,
            ..Setup::direct()
        },
        Setup::iommu(40),
        Setup {
            pool_bytes: 4096 * PAGE,
            ..Setup::untrusted()
        },
    ];
    let setup = |setup| Setup {
        devices: 3,
        grouped: vec![1],
        ..setup
    };
    setups
        .map(|one| Mapper::with_locks(Fake::new(setup(one)), 3).unwrap())
        .into()
}

/// Maps many pieces of memory at once, so that their bookkeeping grows.
fn map_many(m: &Test, dev: u32) {
    let list: Vec<Segment> = (0..3).map(|n| ram(n * 3 * PAGE + 8, 700)).collect();
    let tables = [1, 3, 8].map(|pages| m.lend(&[ram(0, pages * PAGE)]));
    let mut tables: Vec<_> = tables.into_iter().map(Result::unwrap).collect();
    tables.push(m.lend(&list).unwrap());
    let all = (0..60).filter_map(|n| m.map(dev, &tables[n % 4], BOTH, Attrs::empty()).ok());
    let mut held: Vec<_> = all.collect();
    assert!(held.len() > 50, "{}", held.len());
    while let Some(mapping) = (held.len() % 3 != 1).then(|| held.pop()).flatten() {
        m.unmap(mapping, Attrs::empty());
        if held.len() > 2 {
            let next = held.swap_remove(held.len() / 2);
            m.unmap(next, Attrs::empty());
        }
    }
    held.into_iter()
        .for_each(|mapping| m.unmap(mapping, Attrs::empty()));
    tables.into_iter().for_each(|t| m.free(t));
}

fn allocate_many(m: &Test, dev: u32) -> Result<(), Error> {
    let all: Vec<_> = (1..12)
        .map_while(|n| m.alloc_coherent(dev, n * PAGE, Attrs::empty()).ok())
        .collect();
    all.into_iter().for_each(|alloc| m.free(alloc));
    m.declare_coherent(dev, sram(0, 60 * PAGE), DmaAddr::new(0x2000_0000))?;
    let own: Vec<_> = (0..60)
        .map_while(|_| m.alloc_coherent(dev, PAGE, Attrs::empty()).ok())
        .collect();
    assert_eq!(own.len(), 60);
    own.into_iter().for_each(|alloc| m.free(alloc));
    m.remove_device(dev)
}

#[test]
fn no_lock_is_held_while_the_heap_is_asked() {
    for m in tests() {
        for dev in [2, 1] {
            m.set_flush_policy(dev, FlushPolicy::Lazy).unwrap();
            map_many(&m, dev);
            allocate_many(&m, dev).unwrap();
            m.tick(1 << 40);
        }
        for dev in [1, 0, 2] {
            m.flush_lazy(dev).unwrap();
            m.remove_device(dev).unwrap();
        }
        assert!(m.live().is_empty());
    }
}

#[test]
fn reachable_rest_is_recorded_outside_the_lock() {
    for m in tests() {
        m.platform().fail_unmaps(true);
        let pieces: Vec<_> = (0..40)
            .map(|_| m.alloc_virtual(2 * PAGE).unwrap())
            .collect();
        for piece in pieces {
            let table = m.share(&piece).unwrap();
            // The bounce pool fills with quarantined slots. Once it is full, mapping fails.
            if let Ok(mapping) = m.map(0, &table, BOTH, Attrs::empty()) {
                m.unmap(mapping, Attrs::empty());
            }
            m.free(table);
            m.free(piece);
        }
        for n in 0..40 {
            let pin = m
                .pin_user(&FakeUser::default(), n * 9 * PAGE + 5, 20, BOTH)
                .unwrap();
            let mapping = m.map(0, &pin, BOTH, Attrs::empty()).unwrap();
            m.unmap(mapping, Attrs::empty());
            m.free(pin);
        }
        assert!(m.platform().freed_in_reach().is_empty());
    }
}

/// Quarantined memory is a reference that is never dropped, so recording it needs no heap.
#[test]
fn memory_is_quarantined_without_heap() {
    let m = tests().remove(2);
    let [memory, other] = [1, 2].map(|n| m.alloc_virtual(n * PAGE).unwrap());
    let table = m.share(&memory).unwrap();
    let mapping = m.map(0, &table, BOTH, Attrs::empty()).unwrap();
    m.platform().fail_unmaps(true);
    IS_EMPTY.set(true);
    let ended = m.try_unmap(mapping, Attrs::empty());
    IS_EMPTY.set(false);
    assert!(ended.is_err());
    m.free(table);
    m.free(memory);
    m.free(other);
    assert_eq!(m.platform().freed_in_reach(), []);
    let live = m.live();
    assert_eq!((live.allocs, live.page_bytes), (0, 0));
    assert_eq!(live.quarantined_bytes, PAGE + PAGE, "addresses, a page");
}

/// If the heap has no room to record a caller's memory that a device may still reach, no memory is allocated any more.
#[test]
fn without_heap_no_memory_is_allocated_again() {
    let m = tests().remove(2);
    let mapped = m
        .device(0)
        .unwrap()
        .map_raw(ram(0, PAGE), ToDevice)
        .unwrap();
    m.platform().fail_unmaps(true);
    IS_EMPTY.set(true);
    drop(mapped);
    IS_EMPTY.set(false);
    assert_eq!(m.alloc_virtual(PAGE).unwrap_err().errno(), 12);
}

/// A flush frees only a few ranges under one hold of the lock, which stands for disabled interrupts.
#[test]
fn a_flush_gives_ranges_back_in_batches() {
    let m = tests().remove(2);
    m.set_flush_policy(0, FlushPolicy::Lazy).unwrap();
    let table = m.lend(&[ram(0, PAGE)]).unwrap();
    for _ in 0..255 {
        let mapping = m.map(0, &table, BOTH, Attrs::empty()).unwrap();
        m.unmap(mapping, Attrs::empty());
    }
    let before = TAKEN.get();
    m.flush_lazy(0).unwrap();
    assert!(TAKEN.get() - before >= 255 / 16);
    assert_eq!((m.iova_bytes(0), m.platform().flushes()), (0, 1));
    m.free(table);
}
