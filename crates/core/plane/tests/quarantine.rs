//! Memory whose unmap failed, on a host whose page tables then keep their entries. A device may still reach
//! the memory, so it is not allocated again.

use std::cell::RefCell;
use std::collections::BTreeSet;
use vb3_dma::{DmaAddr, Mapper};
use vb3_dma_test::fake::{Fake, FakeUser, Setup};
use vb3_dmabuf::Observer;
use vb3_plane::{Coherency, Cookie, Device, Direction, MemOps, Plane, Planes};

const LEN: u64 = 2 * vb3_dma_test::fake::PAGE;
const CAMERA: Device<u32> = Device::contig(0);
const DISPLAY: Device<u32> = Device::contig(1);

/// Records the device and the length of memory that a device may still reach.
#[derive(Debug, Default)]
struct Log(RefCell<Vec<(u32, u64)>>);

impl Observer<Mapper<Fake>> for Log {
    fn quarantined(&self, dev: u32, len_bytes: u64) {
        self.0.borrow_mut().push((dev, len_bytes));
    }
}

type Test = Planes<Mapper<Fake>, Log>;

fn planes() -> Test {
    let setup = Setup {
        devices: 2,
        ..Setup::iommu(32)
    };
    Planes::new(setup.mapper(), Log::default())
}

fn alloc(t: &Test) -> Plane<u32> {
    let (direction, coherency) = (Direction::FromDevice, Coherency::NonCoherent);
    t.alloc(CAMERA, LEN, direction, coherency).unwrap()
}

/// Returns the physical pages of a plane's memory.
fn pages_of(t: &Test, plane: &Plane<u32>) -> BTreeSet<u64> {
    let pages = t.buffers().inspect(plane.memory().unwrap(), |memory| {
        let runs = memory.memory().segments().iter();
        runs.flat_map(|run| (run.addr.get()..run.addr.get() + run.len).step_by(4096))
            .collect()
    });
    pages.unwrap()
}

fn dma(t: &Test, plane: &Plane<u32>) -> DmaAddr {
    match t.cookie(plane) {
        Some(Cookie::Dma(addr)) => addr,
        other => panic!("no DMA address: {other:?}"),
    }
}

#[test]
fn an_imported_buffer_goes_to_nobody_else() {
    let t = planes();
    let owner = alloc(&t);
    let buf = t.export(&owner).unwrap();
    let mut import = t
        .attach_dmabuf(DISPLAY, &buf, LEN, Direction::ToDevice)
        .unwrap();
    t.map_dmabuf(&mut import).unwrap();
    let at = dma(&t, &import);
    let pages = pages_of(&t, &owner);
    t.ops().platform().fail_unmaps(true);
    t.put(import);
    t.end_imports(DISPLAY);
    t.ops().platform().fail_unmaps(false);
    assert!(t.ops().platform().dev_read_as(1, at, 1).is_some());
    assert_eq!(t.host().0.take(), [(DISPLAY.dma, LEN)]);
    let again = t.attach_dmabuf(DISPLAY, &buf, LEN, Direction::ToDevice);
    assert_eq!(again.unwrap_err().errno(), 5);
    let again = t.export(&owner);
    assert_eq!(again.unwrap_err().errno(), 5);
    assert_eq!(t.revoke(buf.memory()).unwrap_err().errno(), 5);
    t.put_dmabuf(buf);
    t.put(owner);
    assert_eq!(t.ops().platform().freed_in_reach(), []);
    // Later allocations get none of the quarantined pages.
    for _ in 0..8 {
        let other = alloc(&t);
        assert!(pages.is_disjoint(&pages_of(&t, &other)));
        t.put(other);
    }
    assert!(t.live().is_empty());
}

#[test]
fn a_programs_memory_stays_pinned() {
    let t = planes();
    let (addr, direction) = (64 * LEN, Direction::FromDevice);
    let plane = t
        .get_userptr(CAMERA, &FakeUser::default(), addr, LEN, direction)
        .unwrap();
    let at = dma(&t, &plane);
    t.ops().platform().fail_unmaps(true);
    t.put(plane);
    t.ops().platform().fail_unmaps(false);
    assert!(t.ops().platform().dev_write_as(0, at, &[1]).is_some());
    assert_eq!(t.host().0.take(), [(CAMERA.dma, LEN)]);
    assert_eq!(t.ops().platform().vmaps_and_pins(), (0, 1));
}
