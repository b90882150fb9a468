//! Tests of unusual hosts, and of what the layer guarantees to them.

use std::sync::Arc;
use vb3_dma::mapped::{FromDevice, NotHandedOver, ToDevice};
use vb3_dma::{
    Attrs, Constraint, DeviceInfo, Direction, DmaOps, Error, FlushPolicy, Mapper, PageRequest,
    Platform, Segment,
};
use vb3_dma_test::fake::{Fake, FakePages, Mutexes, PAGE, RAM, Setup, ram};

const BOTH: Direction = Direction::Bidirectional;

fn allocate_and_free<O: DmaOps<Device = u32>>(ops: &O) {
    let memory = ops.alloc_coherent(0, PAGE, Attrs::empty()).unwrap();
    ops.free(memory);
}

/// Code above the layer may keep an `Arc` of the mapper, and use that as its layer.
#[test]
fn a_counted_mapper_is_a_layer() {
    let mapper: Mapper<Fake, Mutexes> = Mapper::with_locks(Fake::new(Setup::direct()), 1).unwrap();
    let mapper = Arc::new(mapper);
    allocate_and_free(&mapper);
    allocate_and_free(&&*mapper);
    assert!(mapper.live().is_empty());
}

/// A device with larger IOMMU pages than the CPU's gets memory that fills them.
#[test]
fn own_memory_fills_the_iommus_pages() {
    for setup in [Setup::iommu(32), Setup::untrusted()] {
        let mapper = setup.granule(16 * PAGE).mapper();
        let device = mapper.device(0).unwrap();
        let mapped = device.map(device.alloc(PAGE).unwrap(), FromDevice).unwrap();
        assert_eq!(mapper.counters(0).bytes_bounced, 0);
        drop(mapped);
        assert!(mapper.live().is_empty());
    }
}

/// A confidential machine shares memory with a device only if it knows the device.
#[test]
fn own_memory_is_shared_with_its_device() {
    let setup = Setup {
        confidential: true,
        ..Setup::narrow(64 * PAGE)
    };
    let mut setup = Setup {
        ram_base: PAGE,
        ..setup
    };
    setup.limits.mask = u64::MAX;
    let mapper = setup.mapper();
    let device = mapper.device(0).unwrap();
    drop(device.map(device.alloc(PAGE).unwrap(), ToDevice).unwrap());
    assert_eq!(mapper.counters(0).bytes_bounced, 0);
}

/// A run is mapped only if the device sees all its bytes, not just its ends.
#[test]
fn a_run_over_a_hole_in_the_bus_is_refused() {
    let hole = RAM + 0x1000_0000 + 2 * PAGE;
    let setup = Setup {
        bus_holes: vec![(hole, hole + PAGE - 1)],
        ..Setup::direct()
    };
    let mapper = setup.mapper();
    let device = mapper.device(0).unwrap();
    let refused = device.map_raw(ram(0, 8 * PAGE), ToDevice).unwrap_err();
    let reason = refused.reason().unwrap();
    assert_eq!(
        (reason.constraint, reason.wanted),
        (Constraint::BusWindow, hole)
    );
    drop(device.map_raw(ram(0, 2 * PAGE), ToDevice).unwrap());
    drop(device.map_raw(ram(3 * PAGE, PAGE), ToDevice).unwrap());
}

/// Devices of a group share mappings. If one of them is untrusted, the layer hides the bytes around mapped memory.
#[test]
fn an_untrusted_neighbour_sees_no_other_bytes() {
    let setup = Setup {
        devices: 2,
        grouped: vec![1],
        trusted: vec![0],
        ..Setup::untrusted()
    };
    let (page, memory) = (ram(0, PAGE).addr.get(), ram(100, 200));
    // The neighbour is known before the trusted device maps.
    let mapper = setup.clone().mapper();
    mapper.platform().poke(page, b"secret");
    let trusted = mapper.device(0).unwrap();
    mapper.device(1).unwrap();
    let mapped = trusted.map_raw(memory, ToDevice).unwrap();
    let before = vb3_dma::DmaAddr::new(mapped.addr().get() - 100);
    assert_ne!(
        mapper.platform().dev_read_as(1, before, 6).as_deref(),
        Some(&b"secret"[..])
    );
    drop(mapped);
    mapper.remove_device(1).unwrap();
    assert!(mapper.live().is_empty());

    // The neighbour comes later, and waits until nothing else is in its sight.
    let mapped = trusted.map_raw(memory, ToDevice).unwrap();
    assert_eq!(mapped.addr().get() % PAGE, 100);
    assert_eq!(
        mapper.platform().dev_read(before, 6).as_deref(),
        Some(&b"secret"[..])
    );
    let handle = mapper.lend(&[memory, ram(PAGE, 10)]).unwrap();
    let list = mapper.map(0, &handle, BOTH, Attrs::empty()).unwrap();
    assert_eq!(mapper.device(1).unwrap_err(), Error::Busy);
    drop(mapped);
    assert_eq!(mapper.device(1).unwrap_err(), Error::Busy);
    mapper.unmap(list, Attrs::empty());
    mapper.device(1).unwrap();
    mapper.free(handle);
    // The trusted device's handle is older than its neighbour.
    let mapped = trusted.map_raw(memory, ToDevice).unwrap();
    let before = vb3_dma::DmaAddr::new(mapped.addr().get() - 100);
    assert_ne!(
        mapper.platform().dev_read_as(1, before, 6).as_deref(),
        Some(&b"secret"[..])
    );
}

/// A failed hand-over is an error like any other.
#[test]
fn a_failed_hand_over_explains_itself() {
    fn into_cpu(mapper: &Mapper<Fake>) -> Result<(), Error> {
        let frame = mapper.device(0)?.map_raw(ram(0, PAGE), FromDevice)?;
        mapper.platform().fail(Some(0));
        drop(frame.into_cpu()?);
        Ok(())
    }
    let mapper = Setup::narrow(64 * PAGE).mapper();
    let refused = into_cpu(&mapper).unwrap_err();
    assert_eq!(
        refused.reason().map(|r| r.constraint),
        Some(Constraint::InjectedFault)
    );
    mapper.platform().fail(None);
    assert!(mapper.live().is_empty());
    let error = Error::hardware();
    let text = NotHandedOver { error, mapping: () }.to_string();
    assert_eq!(
        text,
        "memory not handed over: not mappable for the device (hardware: wanted 1, found 0)"
    );
}

/// If the translation buffer hangs, the device may still use the old translation, so neither its address nor its
/// memory is used again.
#[test]
fn a_hung_flush_quarantines_address_and_memory() {
    let mapper = Setup::iommu(32).mapper();
    let device = mapper.device(0).unwrap();
    let memory = device.alloc(PAGE).unwrap();
    let mapped = device.map(memory, FromDevice).unwrap();
    let (old, frame) = (mapped.addr(), mapper.platform().reached());
    mapper.platform().fail_flushes(true);
    assert_eq!(mapped.unmap().unwrap_err().errno(), 5);
    mapper.platform().fail_flushes(false);
    for _ in 0..40 {
        let next = device.map(device.alloc(PAGE).unwrap(), FromDevice).unwrap();
        assert_ne!(next.addr(), old);
        let reached = mapper.platform().reach(next.addr()).unwrap();
        assert!(!frame.contains(&reached), "the frame is used again");
    }
    assert_eq!(mapper.platform().stale_reuse(), []);
    assert_eq!(mapper.platform().freed_in_reach(), []);
    assert_eq!(mapper.live().quarantined_bytes, 2 * PAGE);
}

/// Ranges whose flush fails wait for a later one, and so does the memory behind them.
#[test]
fn a_hung_flush_of_waiting_ranges_frees_nothing() {
    let mapper = Setup::iommu(32).mapper();
    mapper.set_flush_policy(0, FlushPolicy::Lazy).unwrap();
    let device = mapper.device(0).unwrap();
    let memory = device.alloc(PAGE).unwrap();
    drop(device.map(&memory, FromDevice).unwrap());
    mapper.platform().fail_flushes(true);
    assert_eq!(mapper.flush(), Err(Error::hardware()));
    assert_eq!(mapper.flush_lazy(0), Err(Error::hardware()));
    drop(memory);
    mapper.tick(20_000_000);
    assert_eq!(mapper.remove_device(0), Err(Error::Busy));
    mapper.platform().fail_flushes(false);
    let next = device.alloc(PAGE).unwrap();
    mapper.flush().unwrap();
    drop(next);
    assert_eq!(mapper.live().iova_bytes, 0);
    assert_eq!(mapper.platform().freed_in_reach(), []);
}

/// If the host cannot maintain its caches, the layer refuses devices that do not see them.
#[test]
fn hosts_without_caches_refuse_devices_without() {
    struct Host(Fake);
    impl Platform for Host {
        type Device = u32;
        type Pages = FakePages;
        fn page_size(&self) -> u64 {
            PAGE
        }
        fn device_info(&self, dev: u32) -> Option<DeviceInfo> {
            self.0.device_info(dev)
        }
        fn alloc_pages(&self, request: PageRequest<u32>) -> Result<FakePages, Error> {
            self.0.alloc_pages(request)
        }
        fn free_pages(&self, pages: FakePages) {
            self.0.free_pages(pages);
        }
        fn pages_segment(&self, pages: &FakePages, index: usize) -> Option<Segment> {
            self.0.pages_segment(pages, index)
        }

        vb3_dma::without!(caches, iommu, bounce, users, views);
    }

    for (setup, answer) in [
        (Setup::direct(), Ok(())),
        (Setup::direct().non_coherent(), Err(Error::Unsupported)),
    ] {
        let mapper = Mapper::new(Host(Fake::new(setup))).unwrap();
        assert_eq!(mapper.device(0).map(drop), answer);
    }
}
