//! Tests planes that are placed at their first use.

use super::host::{FakePlacer, TestOps as _};
use super::{BufRef, Coherency, Direction, HintSkip, MemOps, PAGE, TestPlane};
use super::{
    CAMERA, DIRECT, DISPLAY, Device, Test, alloc, assert_nothing, cpu_read, dma, export, planes,
};
use alloc::boxed::Box;

fn lazy(has_runs: bool) -> (Test, TestPlane) {
    let mut t = planes();
    t.set_placer(Box::new(FakePlacer::new(has_runs)));
    let dev = Device {
        lazy: true,
        ..Device::contig(CAMERA)
    };
    let plane = alloc(&t, dev, Direction::FromDevice, Coherency::NonCoherent);
    (t, plane)
}

fn import(t: &Test, buf: &BufRef, dev: u32) -> TestPlane {
    t.attach_dmabuf(Device::contig(dev), buf, 2 * PAGE, Direction::ToDevice)
        .expect("attached")
}

/// Prepares and finishes a plane as a queue does. Between, the device writes or reads the plane.
fn cycle(t: &Test, plane: &mut TestPlane, dev: u32, write: Option<&[u8]>) -> [u8; 2] {
    t.place(plane).expect("a place");
    let at = dma(t, plane);
    t.prepare(plane, HintSkip::empty()).expect("handed over");
    if let Some(bytes) = write {
        assert!(t.ops().dev_write(dev, at, bytes));
    }
    // The camera cannot read memory, so the CPU reads for it.
    let seen = (dev != CAMERA).then(|| t.ops().dev_read(dev, at, 2).expect("mapped"));
    t.finish(plane, HintSkip::empty()).unwrap();
    let seen = seen.unwrap_or_else(|| cpu_read(t, plane, 0, 2));
    [seen[0], seen[1]]
}

#[test]
fn a_plane_follows_its_importers() {
    let (t, mut camera) = lazy(true);
    assert_eq!(t.cookie(&camera), None, "not placed yet");
    cycle(&t, &mut camera, CAMERA, Some(b"ab"));
    let buf = export(&t, &camera);
    let mut display = import(&t, &buf, DISPLAY);
    t.map_dmabuf(&mut display).expect("behind an IOMMU");
    assert_eq!(&cycle(&t, &mut display, DISPLAY, None), b"ab");
    assert_eq!(t.counters(CAMERA).moved_bytes, 0);
    // The third device needs one run: the memory moves, and all devices map it again.
    let mut direct = import(&t, &buf, DIRECT);
    t.map_dmabuf(&mut direct).expect("moved");
    assert_eq!(t.counters(CAMERA).moved_bytes, 2 * PAGE);
    assert_eq!(t.cookie(&camera), None, "no longer mapped");
    for round in [b"cd", b"ef"] {
        cycle(&t, &mut camera, CAMERA, Some(round));
        assert_eq!(&cycle(&t, &mut direct, DIRECT, None), round);
        assert_eq!(&cycle(&t, &mut display, DISPLAY, None), round);
    }
    assert_eq!(t.counters(CAMERA).moved_bytes, 2 * PAGE, "moved once");
    assert_eq!(t.counters(CAMERA).copied_bytes, 0);
    for plane in [direct, display] {
        t.put(plane);
    }
    t.put_dmabuf(buf);
    t.put(camera);
    assert_nothing(&t);
}

#[test]
fn while_a_device_has_it_an_importer_is_refused() {
    let (t, mut camera) = lazy(true);
    t.place(&mut camera).unwrap();
    t.prepare(&mut camera, HintSkip::empty()).unwrap();
    let at = dma(&t, &camera);
    let buf = export(&t, &camera);
    let mut direct = import(&t, &buf, DIRECT);
    let refused = t.map_dmabuf(&mut direct).unwrap_err();
    assert_eq!(refused.errno(), 14, "why it cannot share: {refused:?}");
    assert_eq!(dma(&t, &camera), at);
    t.finish(&mut camera, HintSkip::empty()).unwrap();
    t.map_dmabuf(&mut direct).expect("moved");
    t.put(direct);
    t.put_dmabuf(buf);
    t.put(camera);
    assert_nothing(&t);
}

/// Planes of one queue share the import. A plane that is released during its device's access no longer
/// pins the memory.
#[test]
fn memory_stays_while_any_plane_of_an_import_is_used() {
    let (t, mut camera) = lazy(true);
    cycle(&t, &mut camera, CAMERA, Some(b"ab"));
    let buf = export(&t, &camera);
    let mut planes = [0; 3].map(|_| {
        let mut plane = import(&t, &buf, DISPLAY);
        t.map_dmabuf(&mut plane).expect("behind an IOMMU");
        t.prepare(&mut plane, HintSkip::empty())
            .expect("handed over");
        plane
    });
    let at = dma(&t, &planes[0]);
    t.finish(&mut planes[0], HintSkip::empty()).unwrap();
    let mut direct = import(&t, &buf, DIRECT);
    assert_eq!(t.map_dmabuf(&mut direct).unwrap_err().errno(), 14);
    assert_eq!(
        t.ops().dev_read(DISPLAY, at, 2).as_deref(),
        Some(&b"ab"[..])
    );
    let [first, mut second, third] = planes;
    t.finish(&mut second, HintSkip::empty()).unwrap();
    assert_eq!(t.map_dmabuf(&mut direct).unwrap_err().errno(), 14);
    t.put(third);
    t.map_dmabuf(&mut direct).expect("moved");
    for plane in [first, second, direct] {
        t.put(plane);
    }
    t.put_dmabuf(buf);
    t.put(camera);
    assert_nothing(&t);
}

#[test]
fn memory_stays_if_no_place_suits_all() {
    let (t, mut camera) = lazy(false);
    cycle(&t, &mut camera, CAMERA, Some(b"ab"));
    let buf = export(&t, &camera);
    let mut direct = import(&t, &buf, DIRECT);
    assert_eq!(t.map_dmabuf(&mut direct).unwrap_err().errno(), 14);
    assert!(t.cookie(&camera).is_some(), "still mapped");
    t.put(direct);
    assert_eq!(&cycle(&t, &mut camera, CAMERA, None), b"ab");
    t.put_dmabuf(buf);
    t.put(camera);
    assert_nothing(&t);
}

#[test]
fn plane_moved_since_its_place_is_refused() {
    let (t, mut camera) = lazy(true);
    cycle(&t, &mut camera, CAMERA, Some(b"ab"));
    let buf = export(&t, &camera);
    let [mut one, mut two] = [(); 2].map(|()| import(&t, &buf, DISPLAY));
    t.map_dmabuf(&mut one).expect("behind an IOMMU");
    t.map_dmabuf(&mut two).expect("the same import");
    t.place(&mut one).expect("a place");
    let before = dma(&t, &one);
    // Another queue moves the memory before the first queue's device gets it.
    let mut direct = import(&t, &buf, DIRECT);
    t.map_dmabuf(&mut direct).expect("moved");
    // The owner's attachment belongs to one plane, so only that plane maps it again.
    assert_eq!(
        t.prepare(&mut camera, HintSkip::empty())
            .unwrap_err()
            .errno(),
        22
    );
    // Another allocation takes the old addresses.
    let other = alloc(
        &t,
        Device::contig(DISPLAY),
        Direction::ToDevice,
        Coherency::NonCoherent,
    );
    t.place(&mut two).expect("mapped again");
    assert_ne!(dma(&t, &two), before);
    assert_eq!(
        t.prepare(&mut one, HintSkip::empty()).unwrap_err().errno(),
        16
    );
    assert_eq!(&cycle(&t, &mut one, DISPLAY, None), b"ab", "placed again");
    for plane in [one, two, direct, other] {
        t.put(plane);
    }
    t.put_dmabuf(buf);
    t.put(camera);
    assert_nothing(&t);
}

#[test]
fn the_cpu_may_come_first() {
    let (t, mut camera) = lazy(true);
    t.copy_to(&mut camera, 0, b"ab").expect("placed for that");
    let mut seen = [0; 2];
    t.copy_from(&mut camera, 0, &mut seen).unwrap();
    assert_eq!(&seen, b"ab");
    t.put(camera);
    assert_nothing(&t);
}
