//! While one thread's allocation sleeps in the host, no call of another thread waits for a lock of the first thread.
//!
//! The test counts locks, and measures no time.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, mpsc};
use std::thread;
use vb3_dma::{
    DeviceInfo, Error, Limits, Mapper, PageRequest, PhysAddr, Platform, Segment, SegmentKind,
};
use vb3_dma_test::fake::CountedLocks;
use vb3_plane::{Coherency, Device, Direction, HintSkip, MemOps as _, Plane, Planes};

const PAGE: u64 = 4096;
const CAMERA: u8 = 0;
const DISPLAY: u8 = 1;
const SLOW: u8 = 2;

/// A host that allocates pages. For the slow device, it waits until the test lets it continue.
struct Host {
    next: AtomicU64,
    asleep: mpsc::SyncSender<()>,
    wake: Mutex<mpsc::Receiver<()>>,
}

impl Platform for Host {
    type Device = u8;
    type Pages = Segment;

    fn page_size(&self) -> u64 {
        PAGE
    }

    fn device_info(&self, _: u8) -> Option<DeviceInfo> {
        Some(DeviceInfo::new(Limits::default()))
    }

    fn alloc_pages(&self, request: PageRequest<u8>) -> Result<Segment, Error> {
        if request.device == Some(SLOW) {
            self.asleep.send(()).unwrap();
            self.wake.lock().unwrap().recv().unwrap();
        }
        Ok(Segment {
            addr: PhysAddr::new(self.next.fetch_add(request.len, SeqCst)),
            len: request.len,
            kind: SegmentKind::Pages,
        })
    }

    fn free_pages(&self, _: Segment) {}

    fn pages_segment(&self, pages: &Segment, index: usize) -> Option<Segment> {
        (index == 0).then_some(*pages)
    }

    vb3_dma::without!(caches, iommu, bounce, users, views);
}

type Shared = Planes<Mapper<Host, CountedLocks>, (), CountedLocks>;

fn alloc(planes: &Shared, dev: u8) -> Plane<u8> {
    let (direction, coherency) = (Direction::FromDevice, Coherency::Coherent);
    let plane = planes.alloc(Device::contig(dev), PAGE, direction, coherency);
    plane.unwrap()
}

/// Allocates a plane, exports it, uses it on another device, and releases it.
fn live_and_end(planes: &Shared) {
    let mut frame = alloc(planes, CAMERA);
    let buf = planes.export(&frame).unwrap();
    let display = Device::contig(DISPLAY);
    let mut shown = planes
        .attach_dmabuf(display, &buf, PAGE, Direction::ToDevice)
        .unwrap();
    planes.map_dmabuf(&mut shown).unwrap();
    assert_eq!(planes.cookie(&frame), planes.cookie(&shown));
    for plane in [&mut frame, &mut shown] {
        planes.prepare(plane, HintSkip::empty()).unwrap();
        planes.begin_access(plane);
        planes.end_access(plane, Ok(()));
        planes.finish(plane, HintSkip::empty()).unwrap();
    }
    planes.unmap_dmabuf(&mut shown);
    planes.put(shown);
    planes.put_dmabuf(buf);
    planes.put(frame);
}

#[test]
fn sleeping_allocation_holds_no_lock() {
    let (asleep, is_asleep) = mpsc::sync_channel(0);
    let (wake, woken) = mpsc::channel();
    let mut wake = Some(wake);
    let host = Host {
        next: AtomicU64::new(0x10_0000),
        asleep,
        wake: Mutex::new(woken),
    };
    let layer = Mapper::<_, CountedLocks>::with_locks(host, 3).unwrap();
    let planes = Shared::with_locks(layer, ());
    thread::scope(|scope| {
        // If this thread fails, `wake` is dropped, so the other thread ends, too.
        let wake = wake.take().unwrap();
        let slow = scope.spawn(|| alloc(&planes, SLOW));
        is_asleep.recv().unwrap();
        assert_eq!(CountedLocks::held(), 0, "nothing is locked while it sleeps");
        // Makes more planes than the first chunk of a table has slots.
        let held: Vec<_> = (0..40).map(|_| alloc(&planes, CAMERA)).collect();
        live_and_end(&planes);
        held.into_iter().for_each(|plane| planes.put(plane));
        assert_eq!(CountedLocks::contended(), 0, "none that the other holds");
        wake.send(()).unwrap();
        planes.put(slow.join().unwrap());
    });
    assert!(planes.live().is_empty());
    assert!(planes.ops().live().is_empty());
}
