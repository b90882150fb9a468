//! Runs two threads on `Planes`, in all orders with at most two preemptions.
//!
//! All locks are loom's, also those of `Buffers` and of the mapping layer.

use loom::sync::{Arc, Mutex};
use vb3_dma::{
    DeviceInfo, Error, Limits, Locks, Mapper, PageRequest, PhysAddr, Platform, Segment, SegmentKind,
};
use vb3_dmabuf::BufRef;
use vb3_plane::{Coherency, Device, Direction, HintSkip, MemOps as _, Plane, Planes};

const PAGE: u64 = 4096;
const CAMERA: Device<u8> = Device::contig(0);
const DISPLAY: Device<u8> = Device::contig(1);

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

/// A host with one page, which every allocation gets.
struct Host;

impl Platform for Host {
    type Device = u8;
    type Pages = ();

    fn page_size(&self) -> u64 {
        PAGE
    }

    fn device_info(&self, _: u8) -> Option<DeviceInfo> {
        Some(DeviceInfo::new(Limits::default()))
    }

    fn alloc_pages(&self, _: PageRequest<u8>) -> Result<(), Error> {
        Ok(())
    }

    fn free_pages(&self, (): ()) {}

    fn pages_segment(&self, (): &(), index: usize) -> Option<Segment> {
        (index == 0).then_some(Segment {
            addr: PhysAddr::new(PAGE),
            len: PAGE,
            kind: SegmentKind::Pages,
        })
    }

    vb3_dma::without!(caches, iommu, bounce, users, views);
}

type Shared = Planes<Mapper<Host, Modelled>, (), Modelled>;

fn attach(planes: &Shared, buf: &BufRef) -> Plane<u8> {
    planes
        .attach_dmabuf(DISPLAY, buf, PAGE, Direction::ToDevice)
        .unwrap()
}

/// Runs two threads on an exported plane, in all orders. The display has already imported it; `two` gets this
/// import to release it.
fn explore(
    one: impl Fn(&Shared, &BufRef) + Send + Sync + Copy + 'static,
    two: impl Fn(&Shared, &BufRef, Plane<u8>) + Send + Sync + Copy + 'static,
) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(move || {
        let planes = Shared::with_locks(Mapper::with_locks(Host, 2).unwrap(), ());
        let (direction, coherency) = (Direction::FromDevice, Coherency::Coherent);
        let frame = planes.alloc(CAMERA, PAGE, direction, coherency).unwrap();
        let buf = planes.export(&frame).unwrap();
        let first = attach(&planes, &buf);
        let shared = Arc::new((planes, buf));
        let other = Arc::clone(&shared);
        let thread = loom::thread::spawn(move || one(&other.0, &other.1));
        two(&shared.0, &shared.1, first);
        thread.join().unwrap();
        let Ok((planes, buf)) = Arc::try_unwrap(shared) else {
            panic!("both threads have ended");
        };
        planes.put_dmabuf(buf);
        planes.put(frame);
        assert!(planes.live().is_empty(), "{:?}", planes.live());
        assert!(planes.ops().live().is_empty());
    });
}

/// Imports the plane, uses it once, and releases it.
fn show(planes: &Shared, buf: &BufRef) {
    let mut shown = attach(planes, buf);
    planes.map_dmabuf(&mut shown).unwrap();
    assert!(planes.cookie(&shown).is_some());
    planes.prepare(&mut shown, HintSkip::empty()).unwrap();
    planes.finish(&mut shown, HintSkip::empty()).unwrap();
    planes.unmap_dmabuf(&mut shown);
    planes.put(shown);
}

#[test]
fn two_planes_share_an_import() {
    explore(show, |planes, _, mut first| {
        planes.map_dmabuf(&mut first).unwrap();
        planes.unmap_dmabuf(&mut first);
        planes.put(first);
    });
}

#[test]
fn import_survives_its_last_planes_end() {
    // The other thread finds the import of `first`, or makes one.
    explore(show, |planes, _, first| planes.put(first));
}

#[test]
fn import_of_revoked_memory_ends() {
    let show_if_there = |planes: &Shared, buf: &BufRef| {
        let Ok(mut shown) = planes.attach_dmabuf(DISPLAY, buf, PAGE, Direction::ToDevice) else {
            return;
        };
        if planes.map_dmabuf(&mut shown).is_ok() {
            planes.unmap_dmabuf(&mut shown);
        }
        planes.put(shown);
    };
    explore(show_if_there, |planes, buf, first| {
        planes.revoke(buf.memory()).unwrap();
        planes.put(first);
    });
}
