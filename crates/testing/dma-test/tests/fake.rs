//! The simulated host itself: what it counts as a leak, and how it reads scattered memory.

use vb3_dma::{Attrs, Direction, DmaOps, PhysAddr, Segment};
use vb3_dma_test::fake::{FakeUser, PAGE, RAM, Setup};

/// The host counts pages, CPU mappings, pins and page-table entries as held until they are freed or removed.
#[test]
fn whatever_is_held_makes_the_host_unclean() {
    let dma = Setup::iommu(32).mapper();
    let is_clean = || dma.platform().is_clean();
    assert!(is_clean(), "a new host");

    let alloc = dma.alloc_virtual(PAGE).unwrap();
    assert!(!is_clean(), "a page");
    dma.free(alloc);
    assert!(is_clean());

    let to = Direction::ToDevice;
    let pinned = dma.pin_user(&FakeUser::default(), 0, PAGE, to).unwrap();
    assert!(!is_clean(), "a pin");
    dma.free(pinned);
    assert!(is_clean());

    let memory = [Segment::pages(PhysAddr::new(RAM), PAGE)];
    let handle = dma.lend(&memory).unwrap();
    assert!(is_clean(), "memory that is not the host's");
    let mapping = dma.map(0, &handle, to, Attrs::empty()).unwrap();
    assert!(!is_clean(), "an entry of the page table");
    dma.unmap(mapping, Attrs::empty());
    assert!(is_clean());

    let vmap = dma.vmap(&handle).unwrap();
    assert!(!is_clean(), "a mapping for the CPU");
    dma.vunmap(vmap);
    dma.free(handle);
    assert!(is_clean());
}

/// The bytes before the offset, and those between the segments, are left out.
#[test]
fn scattered_memory_is_read_and_written_in_order() {
    let dma = Setup::direct().mapper();
    let host = dma.platform();
    let at = |addr, len| Segment::pages(PhysAddr::new(RAM + addr), len);
    let memory = [at(2 * PAGE, 3), at(PAGE, 4), at(0, 2)];
    host.poke_in(&memory, 1, b"abcdef");
    assert_eq!(host.peek(RAM + 2 * PAGE + 1, 2), b"ab");
    assert_eq!(host.peek(RAM + PAGE, 4), b"cdef");
    let untouched = host.peek(RAM + 2 * PAGE + 3, 1);
    host.poke_in(&memory, 6, b"gxyz");
    assert_eq!(host.peek_in(&memory, 1, 8), b"abcdegxy");
    assert_eq!(host.peek_in(&memory, 4, 3), b"deg");
    assert_eq!(host.peek(RAM + 2 * PAGE + 3, 1), untouched);
}
