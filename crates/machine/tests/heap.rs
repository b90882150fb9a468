//! The heap: what must not need it, and where it must not be asked.

mod common;

use common::{COHERENT, PAGE, mapper, with_iommu};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use vb3_dma::{Caching, PageSource as _, PhysAddr};
use vb3_machine::Spot;

/// The heap of this test: it can be out of memory for a thread.
struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

thread_local! {
    static IS_EMPTY: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: all calls go to the system's allocator, or fail.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if IS_EMPTY.get() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise; it came from there.
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
        let pages = mapper.pages_of(&alloc).unwrap();
        assert_eq!(alloc.segments()[0].addr, at);
        assert_eq!(machine.pages_segment(pages, 0), Some(alloc.segments()[0]));
    }
    mapper.free(alloc);
    assert!(mapper.live().is_empty());
}
