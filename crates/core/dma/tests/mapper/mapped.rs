//! Mappings that unmap themselves when dropped, and the accesses that each owner may make.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use vb3_dma::mapped::{Bidirectional, DmaDevice, FromDevice, MapperRef, ToDevice};
use vb3_dma::{
    Caching, DeviceInfo, DmaOps as _, Error, FlushPolicy, Limits, Mapper, NoLocks, PageRequest,
    PhysAddr, Platform, Segment, SegmentKind,
};
use vb3_dma_test::fake::{Fake, FakeUser, Mutexes, PAGE, Setup, ram, sram};

/// With any flush policy, the device no longer reaches the caller's memory after the drop.
#[test]
fn dropping_a_mapping_ends_the_devices_view() {
    for policy in [FlushPolicy::Strict, FlushPolicy::Lazy] {
        let dma = Setup::iommu(32).mapper();
        dma.set_flush_policy(0, policy).unwrap();
        let device = dma.device(0).unwrap();
        let mapped = device.map_raw(ram(0x80, 2 * PAGE), Bidirectional).unwrap();
        let at = mapped.addr();
        assert!(dma.platform().reach(at).is_some());
        drop(mapped);
        assert_eq!(dma.platform().reach(at), None, "{policy:?}");
        let mapped = device.map_raw(ram(0, PAGE), ToDevice).unwrap();
        assert!(mapped.unmap().is_ok());
        assert!(dma.live().is_empty() && dma.platform().is_clean());
    }
}

#[test]
fn a_hand_over_that_fails_gives_the_mapping_back() {
    let dma = Setup::narrow(16 * PAGE).mapper();
    let memory = ram(0, PAGE);
    let mapped = dma.device(0).unwrap().map_raw(memory, FromDevice).unwrap();
    let at = mapped.addr();
    dma.platform().dev_write(at, b"a frame").unwrap();
    dma.platform().fail(Some(0));
    let refused = mapped.into_cpu().unwrap_err();
    assert_eq!(refused.error.errno(), 12);
    let mapped = refused.mapping;
    assert_eq!(mapped.addr(), at, "as it was");
    dma.platform().fail(None);
    let mapped = mapped.into_cpu().unwrap();
    let mut seen = [0; 7];
    mapped.view().unwrap().read(0, &mut seen).unwrap();
    assert_eq!(&seen, b"a frame");
    drop(mapped);
    assert!(dma.live().is_empty() && dma.platform().is_clean());
}

/// After a hand-over to the CPU, an unmap does not copy the device's bytes over what the CPU wrote since.
#[test]
fn what_the_cpu_wrote_last_stays() {
    for setup in [
        Setup::narrow(16 * PAGE),
        Setup::direct().non_coherent(),
        Setup::untrusted().non_coherent(),
    ] {
        let dma = setup.mapper();
        let memory = ram(64, 2 * 64);
        let mapped = dma
            .device(0)
            .unwrap()
            .map_raw(memory, Bidirectional)
            .unwrap();
        dma.platform().dev_write(mapped.addr(), &[1; 128]).unwrap();
        let mapped = mapped.into_cpu().unwrap();
        mapped.view().unwrap().write(0, &[2; 64]).unwrap();
        let mapped = mapped.into_device().unwrap();
        let seen = dma.platform().dev_read(mapped.addr(), 128).unwrap();
        assert_eq!((seen[0], seen[127]), (2, 1));
        let mapped = mapped.into_cpu().unwrap();
        mapped.view().unwrap().write(64, &[3; 64]).unwrap();
        drop(mapped);
        let seen = dma.platform().peek(memory.addr.get(), 128);
        assert_eq!((seen[0], seen[127]), (2, 3));
        assert!(dma.live().is_empty());
    }
}

/// Guards that own a reference to the mapper can leave the scope in which they were made.
#[test]
fn guards_of_a_shared_mapper_live_anywhere() {
    let fake = Fake::new(Setup::iommu(32));
    let dma = Arc::new(Mapper::<Fake, Mutexes>::with_locks(fake, 1).unwrap());
    let (mapped, ring) = {
        let device = DmaDevice::new(Arc::clone(&dma), 0).unwrap();
        let memory = device.alloc(2 * PAGE).unwrap();
        let mapped = device.map(memory, Bidirectional).unwrap();
        (mapped, device.alloc_coherent(64).unwrap())
    };
    let (at, first) = (mapped.addr(), dma.live());
    assert_eq!((first.allocs, first.mappings), (2, 1));
    let memory = mapped.unmap().unwrap();
    assert_eq!(dma.platform().reach(at), None);
    assert_eq!(dma.live().allocs, 2, "it is given back");
    drop((memory, ring));
    assert!(dma.live().is_empty() && dma.platform().is_clean());
}

/// Dropping a mapping frees the memory that it owns, but not while the device still reaches it.
#[test]
fn owned_memory_in_reach_is_not_freed() {
    for is_stuck in [false, true] {
        let dma = Setup::iommu(32).mapper();
        let device = dma.device(0).unwrap();
        let mapped = device.map(device.alloc(PAGE).unwrap(), ToDevice).unwrap();
        dma.platform().fail_unmaps(is_stuck);
        drop(mapped);
        assert_eq!(dma.platform().freed_in_reach(), []);
        assert_eq!(dma.platform().pages_out(), u64::from(is_stuck));
    }
}

/// As the reference says: hand-overs of both mappings carry a frame from one device to the other.
#[test]
fn two_devices_hand_a_frame_on() {
    let narrow = Setup::narrow(16 * PAGE).non_coherent();
    for camera in [Setup::direct().non_coherent(), narrow.clone()] {
        let setup = Setup {
            devices: 2,
            ..narrow.clone()
        };
        let dma = setup.with_device(0, camera).mapper();
        let (camera, display) = (dma.device(0).unwrap(), dma.device(1).unwrap());
        let memory = dma.device(0).unwrap().alloc(PAGE).unwrap();
        let mut filled = camera.map(&memory, FromDevice).unwrap();
        let mut shown = display.map(&memory, ToDevice).unwrap();
        for frame in [b"frame 1", b"frame 2"] {
            dma.platform().dev_write(filled.addr(), frame).unwrap();
            let seen = filled.into_cpu().unwrap();
            shown = shown.into_cpu().unwrap().into_device().unwrap();
            let read = dma.platform().dev_read_as(1, shown.addr(), 7);
            assert_eq!(read.unwrap(), frame);
            filled = seen.into_device().unwrap();
        }
        drop((filled, shown));
        drop(memory);
        assert!(dma.live().is_empty() && dma.platform().is_clean());
    }
}

#[test]
fn pinned_memory_is_unpinned_and_keeps_its_direction() {
    let dma = Setup::iommu(32).mapper();
    let device = dma.device(0).unwrap();
    let user = FakeUser::default();
    let memory = device.pin(&user, 0x1000_0000, PAGE, ToDevice).unwrap();
    assert_eq!(memory.len_bytes(), PAGE);
    let lens: Vec<u64> = memory.segments().iter().map(|run| run.len).collect();
    assert_eq!(lens, [PAGE]);
    assert_eq!(
        device.map(&memory, FromDevice).unwrap_err(),
        Error::Invalid,
        "pinned only for devices that read"
    );
    drop(device.map(&memory, ToDevice).unwrap());
    assert_eq!(dma.platform().vmaps_and_pins().1, 1);
    drop(memory);
    assert_eq!(dma.platform().vmaps_and_pins().1, 0);
    assert!(dma.live().is_empty() && dma.platform().is_clean());
}

/// Checks that a device's handle maps and allocates nothing.
fn check_useless(device: &DmaDevice<&Mapper<Fake>>) {
    let errors = [
        device.map_raw(ram(0, PAGE), ToDevice).err(),
        device.alloc(PAGE).err(),
        device.alloc_coherent(PAGE).err(),
    ];
    for error in errors {
        assert_eq!(error.map(|e| (e, e.errno())), Some((Error::Removed, 19)));
    }
}

#[test]
fn handle_of_a_removed_device_maps_nothing() {
    for setup in [Setup::direct(), Setup::iommu(32)] {
        let dma = setup.mapper();
        let device = dma.device(0).unwrap();
        let mapped = device.map_raw(ram(0, PAGE), ToDevice).unwrap();
        assert_eq!(dma.remove_device(0), Err(Error::Busy), "it is mapped");
        drop(mapped);
        dma.remove_device(0).unwrap();
        check_useless(&device);
        // Another device may have the same number.
        let again = dma.device(0).unwrap();
        check_useless(&device);
        drop(again.map_raw(ram(0, PAGE), ToDevice).unwrap());
        assert!(dma.live().is_empty() && dma.platform().is_clean());
    }
}

#[test]
fn what_cannot_be_one_run_is_refused() {
    let dma = Setup::iommu(32).mapper();
    let device = dma.device(0).unwrap();
    let wraps = Segment {
        addr: PhysAddr::new(u64::MAX - 5),
        ..ram(0, 100)
    };
    for memory in [ram(0, 0), wraps] {
        assert_eq!(
            device.map_raw(memory, ToDevice).unwrap_err(),
            Error::Invalid
        );
    }
    // Memory without pages has no view for the CPU.
    let mapped = device.map_raw(sram(0, PAGE), Bidirectional).unwrap();
    let mapped = mapped.into_cpu().unwrap();
    assert_eq!(mapped.view().unwrap_err(), Error::Unsupported);
    drop(mapped);
    let handle = dma.lend(&[ram(0, PAGE), ram(9 * PAGE, 5)]).unwrap();
    let mapped = device.map(&handle, FromDevice).unwrap();
    assert_eq!(mapped.segments().len(), 1);
    drop(mapped);
    dma.free(handle);
    assert!(dma.live().is_empty() && dma.platform().is_clean());
}

/// A host whose physical addresses are offsets in this vector.
struct Flat(Vec<AtomicU8>);

impl Platform for Flat {
    type Device = ();
    type Pages = Segment;

    fn page_size(&self) -> u64 {
        PAGE
    }
    fn device_info(&self, (): ()) -> Option<DeviceInfo> {
        Some(DeviceInfo::new(Limits::default()))
    }
    fn alloc_pages(&self, _: PageRequest<()>) -> Result<Segment, Error> {
        Err(Error::Unsupported)
    }
    fn free_pages(&self, _: Segment) {}
    fn pages_segment(&self, _: &Segment, _: usize) -> Option<Segment> {
        None
    }

    type Vmap = Segment;
    type Mmap = ();

    fn vmap(&self, segments: &[Segment], _: Caching) -> Result<Segment, Error> {
        segments.first().copied().ok_or(Error::Invalid)
    }
    fn vmap_bytes<'a>(&'a self, vmap: &'a Segment) -> Option<&'a [AtomicU8]> {
        let start = usize::try_from(vmap.addr.get()).ok()?;
        self.0.get(start..)?.get(..usize::try_from(vmap.len).ok()?)
    }

    vb3_dma::without!(caches, iommu, bounce, users);
}

#[test]
fn a_host_that_can_shows_the_bytes_where_they_are() {
    let host = Flat((0..2 * PAGE).map(|_| AtomicU8::new(7)).collect());
    let dma = Mapper::new(host).unwrap();
    let memory = Segment {
        addr: PhysAddr::new(PAGE),
        len: 100,
        kind: SegmentKind::Pages,
    };
    let mapped = dma
        .device(())
        .unwrap()
        .map_raw(memory, Bidirectional)
        .unwrap();
    let mapped = mapped.into_cpu().unwrap();
    let view = mapped.view().unwrap();
    let bytes = view.bytes().unwrap();
    assert_eq!((bytes.len(), bytes[0].load(Ordering::Relaxed)), (100, 7));
    bytes[99].store(9, Ordering::Relaxed);
    assert_eq!(
        dma.platform().0[PAGE as usize + 99].load(Ordering::Relaxed),
        9
    );
    drop(view);
    drop(mapped);
    assert!(dma.live().is_empty());
    // This host cannot lend the bytes, so the view has none and can only copy.
    let dma = Setup::direct().mapper();
    let mapped = dma
        .device(0)
        .unwrap()
        .map_raw(ram(0, 8), FromDevice)
        .unwrap();
    assert!(mapped.into_cpu().unwrap().view().unwrap().bytes().is_none());
}

/// A mapping by reference shows the referenced memory, even if that is scattered.
#[test]
fn all_handles_are_viewed_when_mapped() {
    for setup in [Setup::direct(), Setup::iommu(32).non_coherent()] {
        let dma = setup.mapper();
        let device = dma.device(0).unwrap();
        let memory = dma.alloc_virtual(PAGE).unwrap();
        let handle = dma.share(&memory).unwrap();
        let mapped = device.map(&memory, Bidirectional).unwrap();
        dma.platform().dev_write(mapped.addr(), b"first").unwrap();
        let (seen, mapped) = (&mut [0; 5], mapped.into_cpu().unwrap());
        mapped.view().unwrap().read(0, seen).unwrap();
        assert_eq!(seen, b"first");
        drop(mapped);
        let mapped = device.map(&handle, FromDevice).unwrap();
        dma.platform().dev_write(mapped.addr(), b"other").unwrap();
        let mapped = mapped.into_cpu().unwrap();
        mapped.view().unwrap().read(0, seen).unwrap();
        assert_eq!(seen, b"other");
        drop(mapped);
        dma.free(handle);
        dma.free(memory);
        assert!(dma.live().is_empty() && dma.platform().is_clean());
    }
}

#[test]
fn coherent_memory_is_seen_alike_and_freed_on_drop() {
    for setup in [Setup::direct(), Setup::iommu(32).non_coherent()] {
        let dma = setup.mapper();
        let ring = dma.device(0).unwrap().alloc_coherent(100).unwrap();
        assert_eq!(ring.len_bytes(), PAGE);
        ring.write(8, b"request").unwrap();
        let mut seen = [0; 7];
        let at = ring.addr().checked_add(8).unwrap();
        assert_eq!(dma.platform().dev_read(at, 7).unwrap(), b"request");
        dma.platform().dev_write(at, b"answers").unwrap();
        ring.read(8, &mut seen).unwrap();
        assert_eq!(&seen, b"answers");
        assert_eq!(ring.read(PAGE - 6, &mut seen).unwrap_err().errno(), 6);
        drop(ring);
        assert!(dma.live().is_empty() && dma.platform().is_clean());
    }
}

/// A driver's log shows the objects that it holds.
#[test]
fn debug_texts_say_what_an_object_is() {
    let dma = Setup::direct().mapper();
    let device = dma.device(0).unwrap();
    let ring = device.alloc_coherent(100).unwrap();
    let mapped = device.map_raw(ram(0, 8), FromDevice).unwrap();
    let text_of_mapped = format!("{mapped:?}");
    let cpu = mapped.into_cpu().unwrap();
    let view = cpu.view().unwrap();
    let memory = device.alloc(100).unwrap();
    let ring_at = ring.addr();
    for (text, says) in [
        (format!("{dma:?}"), "Mapper { id: ".to_owned()),
        (format!("{device:?}"), "DmaDevice(0)".to_owned()),
        (format!("{memory:?}"), format!("OwnedMemory {{ len: {PAGE}")),
        (
            format!("{ring:?}"),
            format!("Coherent {{ addr: {ring_at:?}, len: {PAGE}"),
        ),
        (
            text_of_mapped,
            "Mapped { device: Some(0), direction: FromDevice".to_owned(),
        ),
        (format!("{view:?}"), "CpuView".to_owned()),
    ] {
        assert!(text.starts_with(&says), "{text}, not {says}");
    }
}

/// A borrowed handle knows for which direction its memory was pinned.
#[test]
fn memory_pinned_for_reading_is_not_written() {
    let dma = Setup::iommu(32).mapper();
    let user = dma.platform().add_user(1, true);
    let memory = dma.pin_user(&user, FakeUser::BASE, PAGE, vb3_dma::Direction::ToDevice);
    let (memory, device) = (memory.unwrap(), dma.device(0).unwrap());
    assert_eq!(device.map(&memory, FromDevice).err(), Some(Error::Invalid));
    drop(device.map(&memory, ToDevice).unwrap());
    dma.free(memory);
    assert!(dma.live().is_empty() && dma.platform().is_clean());
}

/// Returns one of two mappers.
#[derive(Clone)]
struct Either<'a>(&'a [Mapper<Fake>; 2], &'a Cell<usize>);

impl MapperRef for Either<'_> {
    type Platform = Fake;
    type Locks = NoLocks;

    fn mapper(&self) -> &Mapper<Fake> {
        &self.0[self.1.get()]
    }
}

#[test]
fn another_mapper_leaves_a_mapping_alone() {
    let both = [Setup::iommu(32).mapper(), Setup::iommu(32).mapper()];
    let at = Cell::new(0);
    let either = DmaDevice::new(Either(&both, &at), 0).unwrap();
    let mapped = either.map_raw(ram(0, PAGE), ToDevice).unwrap();
    let others = both[1].device(0).unwrap();
    let others = others.map_raw(ram(0, PAGE), ToDevice).unwrap();
    assert_eq!(mapped.addr(), others.addr());
    at.set(1);
    let refused = mapped.into_cpu().unwrap_err();
    assert_eq!(refused.error, Error::Invalid);
    drop(refused);
    assert!(both[1].platform().reach(others.addr()).is_some());
}

/// Only a call of `map_raw` obliges its caller to keep the memory, so a run from an unmap cannot be mapped by `map`.
#[test]
fn an_unmapped_run_is_not_mapped_again() {
    let dma = Setup::direct().mapper();
    let device = dma.device(0).unwrap();
    let raw = device.map_raw(ram(0, PAGE), ToDevice).unwrap();
    let raw = raw.unmap().unwrap();
    assert_eq!(device.map(raw, ToDevice).err(), Some(Error::Invalid));
}
