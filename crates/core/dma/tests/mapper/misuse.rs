//! Safe code in any order leaves no device with a view of memory that has another owner. `examples/misuse` tries random
//! orders.

#![allow(
    clippy::mem_forget,
    reason = "forgotten guards are what these tests are about"
)]

use vb3_dma::mapped::FromDevice;
use vb3_dma::{Attrs, Constraint, Direction, DmaOps, Error, FlushPolicy, Mapper, Reason};
use vb3_dma_test::fake::{Fake, FakeUser, PAGE, Setup, ram};

const BOTH: Direction = Direction::Bidirectional;

/// Allocates until each page that was ever freed is in use again. Returns whether a device sees any of them.
fn is_seen_by_device(mapper: &Mapper<Fake>) -> bool {
    let reached = mapper.platform().reached();
    let new: Vec<_> = (0..40)
        .map(|_| mapper.alloc_virtual(PAGE).unwrap())
        .collect();
    let pages = new.iter().flat_map(|alloc| alloc.segments().to_vec());
    let is_seen = pages
        .map(|run| run.addr.get())
        .any(|page| reached.contains(&page));
    new.into_iter().for_each(|alloc| mapper.free(alloc));
    is_seen || !mapper.platform().freed_in_reach().is_empty()
}

#[test]
fn a_handle_keeps_its_memory() {
    let mapper = Setup::iommu(32).mapper();
    let alloc = mapper.alloc_virtual(2 * PAGE).unwrap();
    let memory = mapper.share(&alloc).unwrap();
    mapper.free(alloc);
    let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
    assert!(!is_seen_by_device(&mapper));
    mapper.free(memory);
    assert!(!is_seen_by_device(&mapper));
    mapper.unmap(mapping, Attrs::empty());
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());
}

#[test]
fn a_forgotten_guard_keeps_its_memory() {
    for setup in [Setup::iommu(32), Setup::direct()] {
        let mapper = setup.mapper();
        let device = mapper.device(0).unwrap();
        let memory = device.alloc(PAGE).unwrap();
        std::mem::forget(device.map(&memory, FromDevice).unwrap());
        drop(memory);
        assert!(!is_seen_by_device(&mapper));
        assert_eq!(
            (mapper.platform().pages_out(), mapper.live().page_bytes),
            (1, PAGE)
        );
    }
}

#[test]
fn a_dropped_value_is_never_used_again() {
    let mapper = Setup::iommu(32).mapper();
    let alloc = mapper.alloc_virtual(PAGE).unwrap();
    let memory = mapper.share(&alloc).unwrap();
    drop(mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap());
    drop(memory);
    mapper.free(alloc);
    drop(mapper.alloc_coherent(0, PAGE, Attrs::empty()).unwrap());
    assert!(!is_seen_by_device(&mapper));
    assert_eq!(mapper.platform().pages_out(), 2);
}

#[test]
fn a_pin_lasts_as_long_as_its_mapping() {
    let mapper = Setup::iommu(32).mapper();
    mapper.set_flush_policy(0, FlushPolicy::Lazy).unwrap();
    let user = mapper.platform().add_user(1, false);
    let memory = mapper.pin_user(&user, FakeUser::BASE, PAGE, BOTH).unwrap();
    let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
    mapper.free(memory);
    assert_eq!(mapper.platform().vmaps_and_pins().1, 1, "mapped");
    mapper.unmap(mapping, Attrs::empty());
    assert_eq!(mapper.platform().vmaps_and_pins().1, 1, "not flushed");
    mapper.flush().unwrap();
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());
}

#[test]
fn a_view_keeps_its_memory() {
    let mapper = Setup::direct().mapper();
    let alloc = mapper.alloc_virtual(PAGE).unwrap();
    let view = mapper.vmap(&alloc).unwrap();
    mapper.free(alloc);
    assert_eq!(mapper.platform().pages_out(), 1);
    mapper.vunmap(view);
    assert!(mapper.live().is_empty() && mapper.platform().is_clean());
}

/// Freeing memory flushes no device. Memory behind a waiting range is given back by the flush, or when memory runs out.
#[test]
fn a_free_flushes_nobody() {
    let setup = Setup {
        devices: 2,
        ..Setup::iommu(32)
    };
    let mapper = setup.mapper();
    for dev in 0..2 {
        mapper.set_flush_policy(dev, FlushPolicy::Lazy).unwrap();
    }
    let memory = mapper.alloc_virtual(PAGE).unwrap();
    let handle = mapper.share(&memory).unwrap();
    for dev in 0..2 {
        let mapping = mapper.map(dev, &handle, BOTH, Attrs::empty()).unwrap();
        mapper.unmap(mapping, Attrs::empty());
    }
    mapper.free(handle);
    mapper.free(memory);
    mapper.free(mapper.alloc_virtual(PAGE).unwrap());
    assert_eq!(mapper.platform().flushes(), 0);
    assert_eq!(mapper.live().page_bytes, PAGE);
    mapper.flush_lazy(0).unwrap();
    assert_eq!(
        mapper.live().page_bytes,
        PAGE,
        "the other device may still reach it"
    );
    mapper.platform().fail(Some(0));
    mapper.free(mapper.alloc_virtual(PAGE).unwrap());
    assert_eq!(
        (mapper.platform().flushes(), mapper.live().page_bytes),
        (2, 0)
    );
}

/// The layer cannot keep memory that the caller lends. The error informs its owner, and no later allocation gets it.
#[test]
fn lent_memory_in_reach_is_named() {
    let mapper = Setup::iommu(32).mapper();
    let device = mapper.device(0).unwrap();
    let still = Error::StillReachable(Reason::new(Constraint::Hardware, 1, 0));
    mapper.platform().fail_flushes(true);
    // Neither mapped nor undone.
    mapper.platform().fail(Some(1));
    let refused = device.map_raw(ram(0, PAGE), FromDevice).unwrap_err();
    assert_eq!((refused, refused.errno()), (still, 5));
    drop(device.map_raw(ram(2 * PAGE, 100), FromDevice).unwrap());
    let refused = device
        .map_raw(ram(4 * PAGE, PAGE), FromDevice)
        .unwrap()
        .unmap()
        .unwrap_err();
    assert_eq!(refused, still);
    mapper.platform().fail_flushes(false);
    let stuck: Vec<_> = (0..).map_while(|n| mapper.stuck_memory(n)).collect();
    assert_eq!(stuck, [0, 2, 4].map(|page| ram(page * PAGE, PAGE)));
    // Undone, so the device does not reach it.
    mapper.platform().fail(Some(1));
    let refused = device.map_raw(ram(6 * PAGE, PAGE), FromDevice).unwrap_err();
    assert_eq!(
        refused.reason().map(|r| r.constraint),
        Some(Constraint::InjectedFault)
    );
    assert_eq!(mapper.stuck_memory(3), None);
}

/// A page that its owner gave to the host although a device reaches it is not allocated by the layer.
#[test]
fn a_stuck_page_is_not_allocated_again() {
    let mapper = Setup::iommu(32).mapper();
    let device = mapper.device(0).unwrap();
    let memory = device.alloc(PAGE).unwrap();
    let page = memory.segments()[0];
    let mapped = device.map_raw(page, FromDevice).unwrap();
    mapper.platform().fail_unmaps(true);
    drop(mapped);
    mapper.platform().fail_unmaps(false);
    drop(memory);
    for _ in 0..3 {
        let got = device.alloc(PAGE).map(|memory| memory.segments()[0]);
        assert_ne!(got, Ok(page));
        let ring = device.alloc_coherent(PAGE).map(|ring| ring.segments()[0]);
        assert_ne!(ring, Ok(page));
    }
}
