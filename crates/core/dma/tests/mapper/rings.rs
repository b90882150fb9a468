//! Rings, and memory in one run or in several.

use std::cell::RefCell;
use vb3_dma::mapped::FromDevice;
use vb3_dma::{
    Caching, Constraint, DeviceInfo, Error, Limits, Mapper, PageRequest, PhysAddr, Platform,
    Segment,
};
use vb3_dma_test::fake::{PAGE, Setup};

/// What the layer does with the memory of a view.
#[derive(Debug, PartialEq)]
enum Step {
    /// An access to this many bytes at this offset.
    Access(u64, usize),
    Barrier,
}

/// A host with one page of RAM, which records what the layer does with it.
struct Recorder {
    ram: RefCell<[u8; PAGE as usize]>,
    steps: RefCell<Vec<Step>>,
}

impl Platform for Recorder {
    type Device = ();
    type Pages = Segment;

    fn page_size(&self) -> u64 {
        PAGE
    }
    fn device_info(&self, (): ()) -> Option<DeviceInfo> {
        Some(DeviceInfo::new(Limits::default()))
    }
    fn alloc_pages(&self, request: PageRequest<()>) -> Result<Segment, Error> {
        match request.len {
            PAGE => Ok(Segment::pages(PhysAddr::new(0), PAGE)),
            more => Err(Error::no_ram(more)),
        }
    }
    fn free_pages(&self, _: Segment) {}
    fn pages_segment(&self, pages: &Segment, index: usize) -> Option<Segment> {
        (index == 0).then_some(*pages)
    }

    type Vmap = ();
    type Mmap = ();

    fn vmap(&self, _: &[Segment], _: Caching) -> Result<(), Error> {
        Ok(())
    }
    fn vmap_read(&self, (): &(), offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.steps
            .borrow_mut()
            .push(Step::Access(offset, out.len()));
        out.copy_from_slice(&self.ram.borrow()[offset as usize..][..out.len()]);
        Ok(())
    }
    fn vmap_write(&self, (): &(), offset: u64, data: &[u8]) -> Result<(), Error> {
        self.steps
            .borrow_mut()
            .push(Step::Access(offset, data.len()));
        self.ram.borrow_mut()[offset as usize..][..data.len()].copy_from_slice(data);
        Ok(())
    }
    fn barrier(&self) {
        self.steps.borrow_mut().push(Step::Barrier);
    }

    vb3_dma::without!(caches, iommu, bounce, users);
}

/// Each integer is one access, and lies on the right side of the barrier.
#[test]
fn rings_order_accesses_by_barriers() {
    let host = Recorder {
        ram: RefCell::new([0; PAGE as usize]),
        steps: RefCell::default(),
    };
    let dma = Mapper::new(host).unwrap();
    let ring = dma.device(()).unwrap().alloc_ring::<[u16; 2]>(3).unwrap();
    let steps = || dma.platform().steps.take();
    let accesses = || [Step::Access(4, 2), Step::Access(6, 2)];
    let _ = steps();
    ring.set(1, [1, 2]).unwrap();
    assert_eq!(steps(), accesses());
    assert_eq!(ring.get(1), Ok([1, 2]));
    assert_eq!(steps(), accesses());
    ring.publish(1, [3, 4]).unwrap();
    let [first, second] = accesses();
    assert_eq!(steps(), [Step::Barrier, first, second]);
    assert_eq!(ring.observe(1), Ok([3, 4]));
    let [first, second] = accesses();
    assert_eq!(steps(), [first, second, Step::Barrier]);
}

#[test]
fn rings_refuse_what_lies_outside() {
    let dma = Setup::direct().mapper();
    let device = dma.device(0).unwrap();
    let ring = device.alloc_ring::<u64>(3).unwrap();
    assert_eq!((ring.get(2), ring.len()), (Ok(0), 3));
    assert_eq!(ring.get(3).unwrap_err().errno(), 6);
    assert_eq!(ring.set(usize::MAX, 1).unwrap_err().errno(), 6);
    for len in [0, usize::MAX] {
        assert_eq!(device.alloc_ring::<u64>(len).unwrap_err(), Error::Invalid);
    }
    drop(ring);
    assert!(dma.live().is_empty() && dma.platform().is_clean());
}

/// Only `map_runs` maps memory that the device sees in several runs; `alloc` makes one run.
#[test]
fn several_runs_are_mapped_only_on_request() {
    let dma = Setup {
        small_pieces: true,
        ..Setup::direct()
    }
    .mapper();
    let device = dma.device(0).unwrap();
    let pieces = device.alloc_runs(4 * PAGE).unwrap();
    let count = pieces.segments().len();
    assert!(count > 1, "{pieces:?}");
    let refused = device.map(&pieces, FromDevice).unwrap_err();
    let constraint = refused.reason().unwrap().constraint;
    assert_eq!((refused.errno(), constraint), (5, Constraint::Contiguous));
    let mapped = device.map_runs(&pieces, FromDevice).unwrap();
    assert_eq!(mapped.segments().len(), count);
    drop(mapped);
    let whole = device.map(device.alloc(4 * PAGE).unwrap(), FromDevice);
    assert_eq!(whole.unwrap().segments().len(), 1);
    drop(pieces);
    assert!(dma.live().is_empty() && dma.platform().is_clean());
}
