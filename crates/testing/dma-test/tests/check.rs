//! Each misuse is reported once, with its kind and place. Correct use causes no report.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use vb3_dma::{
    Attrs, Caching, Coherency, Constraint, Direction, DmaAddr, DmaOps, DmaSegment, Error, Limits,
    Reason, SyncFor,
};
use vb3_dma_test::check::{Checked, Report, Tracked, Violation};
use vb3_dma_test::fake::{FakeUser, PAGE, Setup};

type Dev = u8;
type Log = Rc<RefCell<Vec<Report<Dev>>>>;

/// A layer whose handles can be copied, as those of a C interface can, so that a test can make every mistake.
#[derive(Debug, Default)]
struct Toy {
    next: Cell<u64>,
}

/// Memory or a mapping: the device addresses of its segments.
#[derive(Clone, Debug)]
struct Shown(Rc<RefCell<Vec<DmaSegment>>>);

fn shown(pieces: &[(u64, u64)]) -> Shown {
    let segment = |&(addr, len): &(u64, u64)| DmaSegment {
        addr: DmaAddr::new(addr),
        len,
    };
    Shown(Rc::new(RefCell::new(pieces.iter().map(segment).collect())))
}

impl DmaOps for Toy {
    type Device = Dev;
    type User = Shown;
    type Memory = Shown;
    type Mapping = Shown;
    type Vmap = ();
    type Mmap = ();

    fn page_size(&self) -> u64 {
        4096
    }
    fn cache_alignment(&self, _dev: Dev) -> u64 {
        64
    }
    fn coherency(&self, _dev: Dev) -> Coherency {
        Coherency::NonCoherent
    }
    fn alloc_coherent(&self, _: Dev, len: u64, _: Attrs) -> Result<Shown, Error> {
        self.alloc_virtual(len)
    }
    fn alloc_noncontiguous(
        &self,
        _: Dev,
        len: u64,
        _: Direction,
        _: Attrs,
    ) -> Result<Shown, Error> {
        self.alloc_virtual(len)
    }
    fn alloc_virtual(&self, len: u64) -> Result<Shown, Error> {
        self.next.set(self.next.get() + 0x10_0000);
        Ok(shown(&[(self.next.get(), len)]))
    }
    fn free(&self, _: Shown) {}
    fn alloc_dma_addr(&self, memory: &Shown) -> Option<DmaAddr> {
        Some(memory.0.borrow().first()?.addr)
    }
    fn sync_alloc(&self, _: &Shown, _: Direction, _: SyncFor) -> bool {
        true
    }
    fn alloc_caching(&self, _: &Shown) -> Caching {
        Caching::Cached
    }
    fn pin_user(&self, user: &Shown, _: u64, _: u64, _: Direction) -> Result<Shown, Error> {
        Ok(user.clone())
    }
    fn is_current(&self, _: &Shown, _: &Shown, _: u64) -> bool {
        true
    }
    fn memory_len(&self, handle: &Shown) -> u64 {
        handle.0.borrow().iter().map(|segment| segment.len).sum()
    }
    fn map(&self, _: Dev, handle: &Shown, _: Direction, _: Attrs) -> Result<Shown, Error> {
        Ok(Shown(Rc::new(RefCell::new(handle.0.borrow().clone()))))
    }
    fn unmap(&self, _: Shown, _: Attrs) {}
    fn sync(&self, _: &Shown, _: Direction, _: SyncFor) -> Result<bool, Error> {
        Ok(true)
    }
    fn segment(&self, mapping: &Shown, index: usize) -> Option<DmaSegment> {
        mapping.0.borrow().get(index).copied()
    }
    fn vmap(&self, _: &Shown) -> Result<(), Error> {
        Ok(())
    }
    fn vunmap(&self, (): ()) {}
    fn mmap(&self, _: &Shown, _: u64, _: u64) -> Result<(), Error> {
        Ok(())
    }
}

fn checked(capacity: usize) -> (impl DmaOpsChecked, Log) {
    let log = Log::default();
    let sink = {
        let log = Rc::clone(&log);
        move |report: Report<Dev>| log.borrow_mut().push(report)
    };
    let ops = Checked::new(Toy::default(), sink, capacity);
    ops.set_tag("test");
    (ops, log)
}

/// The wrapper's functions that the tests need, for any sink.
trait DmaOpsChecked:
    DmaOps<Device = Dev, User = Shown, Memory = Tracked<Shown>, Mapping = Tracked<Shown>>
{
    fn limits(&self, dev: Dev, limits: Limits);
    fn gone(&self, dev: Dev);
    fn live(&self) -> usize;
}

impl<S: vb3_dma_test::check::Sink<Report<Dev>>> DmaOpsChecked for Checked<Toy, S> {
    fn limits(&self, dev: Dev, limits: Limits) {
        self.set_limits(dev, limits);
    }
    fn gone(&self, dev: Dev) {
        self.remove_device(dev);
    }
    fn live(&self) -> usize {
        self.live_segments()
    }
}

/// Returns the report, and checks that there is only one.
fn only(log: &Log) -> Report<Dev> {
    let mut reports = log.borrow_mut();
    assert_eq!(reports.len(), 1, "{reports:?}");
    let report = reports.pop().unwrap();
    let text = report.to_string();
    assert!(
        text.starts_with("test at ") && text.contains("check.rs:"),
        "{text}"
    );
    report
}

const TO: Direction = Direction::ToDevice;
const FROM: Direction = Direction::FromDevice;
const BOTH: Direction = Direction::Bidirectional;
const NONE: Attrs = Attrs::empty();

fn pin<O: DmaOpsChecked>(ops: &O, pieces: &[(u64, u64)]) -> O::Memory {
    ops.pin_user(&shown(pieces), 0, 1, BOTH).unwrap()
}

#[test]
fn right_use_is_met_with_silence() {
    let (ops, log) = checked(64);
    ops.limits(1, Limits::default());
    // The allocation is longer than a segment of the device may be. That is allowed, since it is one run.
    let long = ops.alloc_coherent(1, 1 << 19, NONE).unwrap();
    let alloc = ops.alloc_coherent(1, 8192, NONE).unwrap();
    let cached = ops.alloc_noncontiguous(1, 8192, FROM, NONE).unwrap();
    let virt = ops.alloc_virtual(4096).unwrap();
    ops.sync_alloc(&cached, FROM, SyncFor::Cpu);
    let other = pin(&ops, &[(0x1000, 4096), (0x8000, 65536)]);
    let first = ops.map(1, &alloc, BOTH, NONE).unwrap();
    // Two mappings for reading may overlap, and so may mappings for different devices.
    let second = ops.map(2, &other, TO, Attrs::MMIO).unwrap();
    let third = ops.map(2, &other, TO, NONE).unwrap();
    let fourth = ops.map(1, &other, FROM, NONE).unwrap();
    ops.sync(&first, FROM, SyncFor::Cpu).unwrap();
    ops.sync(&second, TO, SyncFor::Device).unwrap();
    ops.vmap(&virt).unwrap();
    ops.vmap(&other).unwrap();
    ops.mmap(&alloc, 0, 4096).unwrap();
    ops.unmap(second, Attrs::MMIO | Attrs::SKIP_CPU_SYNC);
    for mapping in [first, third, fourth] {
        ops.unmap(mapping, NONE);
    }
    ops.free(other);
    for alloc in [alloc, cached, virt, long] {
        ops.free(alloc);
    }
    ops.gone(1);
    ops.gone(2);
    assert_eq!(log.borrow().as_slice(), []);
    assert_eq!(ops.live(), 0);
}

#[test]
fn unmapped_twice_and_used_after() {
    let (ops, log) = checked(64);
    let memory = pin(&ops, &[(0x1000, 4096)]);
    let mapping = ops.map(1, &memory, TO, NONE).unwrap();
    let again = mapping.clone();
    ops.unmap(mapping, NONE);
    ops.sync(&again, TO, SyncFor::Device).unwrap();
    let report = only(&log);
    let Violation::UsedAfterUnmap { by } = report.violation else {
        panic!("{report}");
    };
    ops.unmap(again, NONE);
    let report = only(&log);
    assert_eq!(report.violation, Violation::UnmappedTwice { by });
    let mapped = report.mapped_by.unwrap();
    assert!(mapped.location.line() < by.location.line());
    assert!(by.location.line() < report.by.location.line());
}

/// The checker remembers only the latest of many ended mappings, and names their ends.
#[test]
fn later_uses_name_only_recent_ends() {
    let (ops, log) = checked(4);
    let memory = pin(&ops, &[(0x1000, 4096)]);
    let old = ops.map(1, &memory, TO, NONE).unwrap();
    ops.unmap(old.clone(), NONE);
    for _ in 0..100 {
        let mapping = ops.map(1, &memory, TO, NONE).unwrap();
        let again = mapping.clone();
        ops.unmap(mapping, NONE);
        ops.unmap(again, NONE);
        let report = only(&log);
        assert!(matches!(report.violation, Violation::UnmappedTwice { .. }));
    }
    ops.unmap(old.clone(), NONE);
    assert_eq!(only(&log).violation, Violation::NotMapped);
    ops.sync(&old, TO, SyncFor::Device).unwrap();
    assert_eq!(only(&log).violation, Violation::NotMapped);
}

#[test]
fn attributes_must_be_the_same_at_the_unmap() {
    let (ops, log) = checked(64);
    let memory = pin(&ops, &[(0x1000, 4096), (0x9000, 4096)]);
    let mapping = ops.map(1, &memory, TO, Attrs::MMIO).unwrap();
    ops.unmap(mapping, Attrs::NO_WARN);
    let report = only(&log);
    let attributes = Violation::WrongAttributes {
        mapped: Attrs::MMIO,
        given: NONE,
    };
    assert_eq!((report.violation, report.len), (attributes, 8192));
    assert_eq!(
        (report.dev, report.addr),
        (Some(1), Some(DmaAddr::new(0x1000)))
    );
    assert_eq!(ops.live(), 0);
}

#[test]
fn syncs_must_have_the_direction_of_the_mapping() {
    let (ops, log) = checked(64);
    let memory = pin(&ops, &[(0x1000, 4096)]);
    let mapping = ops.map(1, &memory, FROM, NONE).unwrap();
    ops.sync(&mapping, TO, SyncFor::Device).unwrap();
    let direction = Violation::SyncDirection {
        mapped: FROM,
        given: TO,
    };
    assert_eq!(only(&log).violation, direction);
    let alloc = ops.alloc_noncontiguous(1, 4096, TO, NONE).unwrap();
    ops.sync_alloc(&alloc, FROM, SyncFor::Cpu);
    let direction = Violation::SyncDirection {
        mapped: TO,
        given: FROM,
    };
    assert_eq!(only(&log).violation, direction);
}

#[test]
fn overlaps_are_reported_where_a_device_writes() {
    let (ops, log) = checked(64);
    let long = pin(&ops, &[(0x1000, 0x10000)]);
    let inside = pin(&ops, &[(0x40, 16), (0x8000, 16)]);
    let beside = pin(&ops, &[(0xfff, 1), (0x11000, 16)]);
    let first = ops.map(1, &long, TO, NONE).unwrap();
    let _quiet = ops.map(1, &inside, TO, NONE).unwrap();
    let _also = ops.map(1, &beside, FROM, NONE).unwrap();
    let _elsewhere = ops.map(2, &inside, FROM, NONE).unwrap();
    assert_eq!(log.borrow().len(), 0);
    let written = pin(&ops, &[(0x10fff, 1)]);
    let _bad = ops.map(1, &written, BOTH, NONE).unwrap();
    let report = only(&log);
    assert!(matches!(report.violation, Violation::Overlap { .. }));
    assert_eq!(report.addr, Some(DmaAddr::new(0x10fff)));
    ops.unmap(first, NONE);
    assert_eq!(log.borrow().len(), 0);
}

#[test]
fn segments_the_device_does_not_take() {
    let (ops, log) = checked(64);
    ops.limits(
        1,
        Limits {
            mask: 0xff_ffff,
            max_segment: 8192,
            boundary: 0xffff,
            max_segments: 2,
        },
    );
    let cases = [
        (
            vec![(0x1000, 8193)],
            Violation::SegmentTooLong {
                len: 8193,
                limit: 8192,
            },
        ),
        (
            vec![(0xffff, 2)],
            Violation::CrossesBoundary { boundary: 0xffff },
        ),
        (
            vec![(0xff_ffff, 2)],
            Violation::BeyondMask { mask: 0xff_ffff },
        ),
        (
            vec![(u64::MAX, 1)],
            Violation::BeyondMask { mask: 0xff_ffff },
        ),
        (
            vec![(0x1000, 1), (0x2000, 1), (0x3000, 1)],
            Violation::TooManySegments {
                segments: 3,
                limit: 2,
            },
        ),
    ];
    for (pieces, violation) in cases {
        let memory = pin(&ops, &pieces);
        let mapping = ops.map(1, &memory, TO, NONE).unwrap();
        assert_eq!(only(&log).violation, violation);
        ops.unmap(mapping, NONE);
        let elsewhere = ops.map(2, &memory, TO, NONE).unwrap();
        ops.unmap(elsewhere, NONE);
        ops.free(memory);
    }
    let memory = pin(&ops, &[(0xe000, 8192), (0xff_f000, 4096)]);
    let _good = ops.map(1, &memory, TO, NONE).unwrap();
    assert_eq!(log.borrow().len(), 0);
}

#[test]
fn leaks_name_who_mapped() {
    let (ops, log) = checked(64);
    let memory = pin(&ops, &[(0x1000, 4096), (0x3000, 4096)]);
    let mapping = ops.map(1, &memory, FROM, NONE).unwrap();
    let line = line!() - 1;
    let _other = ops.map(2, &memory, TO, NONE).unwrap();
    ops.gone(1);
    let report = only(&log);
    assert_eq!((report.violation, report.len), (Violation::Leak, 8192));
    assert_eq!(report.mapped_by.unwrap().location.line(), line);
    // An unmap after the device's removal is reported as a second one.
    ops.unmap(mapping, NONE);
    assert!(matches!(
        only(&log).violation,
        Violation::UnmappedTwice { .. }
    ));
    let _alloc = ops.alloc_coherent(3, 4096, NONE).unwrap();
    ops.gone(3);
    assert_eq!(only(&log).violation, Violation::Leak);
}

#[test]
fn memory_given_back_too_early_or_twice() {
    let (ops, log) = checked(64);
    let memory = ops.alloc_virtual(4096).unwrap();
    let mapping = ops.map(1, &memory, TO, NONE).unwrap();
    ops.free(memory.clone());
    assert_eq!(only(&log).violation, Violation::FreedInUse { users: 1 });
    let _late = ops.map(1, &memory, TO, NONE).unwrap();
    assert_eq!(only(&log).violation, Violation::UsedAfterFree);
    ops.vmap(&memory).unwrap();
    assert_eq!(only(&log).violation, Violation::UsedAfterFree);
    ops.mmap(&memory, 0, 1).unwrap();
    assert_eq!(only(&log).violation, Violation::UsedAfterFree);
    ops.free(memory);
    assert_eq!(only(&log).violation, Violation::UsedAfterFree);
    ops.unmap(mapping, NONE);
    assert_eq!(log.borrow().len(), 0);
}

#[test]
fn without_room_it_says_so_once_and_then_nothing() {
    let (ops, log) = checked(3);
    let memory = pin(&ops, &[(0x1000, 1), (0x2000, 1)]);
    let first = ops.map(1, &memory, FROM, NONE).unwrap();
    let second = ops.map(2, &memory, FROM, NONE).unwrap();
    assert_eq!(only(&log).violation, Violation::TrackingEnded);
    let again = first.clone();
    for mapping in [first, again, second] {
        ops.unmap(mapping, NONE);
    }
    ops.gone(1);
    assert_eq!(log.borrow().len(), 0, "what is unknown is not guessed at");
}

/// Pinned and virtual memory has no segments, but takes room.
#[test]
fn too_much_memory_ends_the_checks_too() {
    let (ops, log) = checked(3);
    let memories: Vec<_> = (0..1000).map(|_| pin(&ops, &[])).collect();
    let report = only(&log);
    assert_eq!(report.violation, Violation::TrackingEnded);
    assert_eq!(report.dev, None);
    for memory in memories {
        ops.free(memory.clone());
        ops.free(memory);
    }
    assert_eq!(log.borrow().len(), 0);
}

/// Segments at the very end of the addresses.
#[test]
fn segments_at_the_last_address_are_checked() {
    let (ops, log) = checked(8);
    let memory = pin(&ops, &[(u64::MAX, u64::MAX), (u64::MAX, u64::MAX)]);
    let mapping = ops.map(1, &memory, TO, NONE).unwrap();
    let written = ops
        .map(1, &pin(&ops, &[(u64::MAX, 1)]), FROM, NONE)
        .unwrap();
    assert!(matches!(only(&log).violation, Violation::Overlap { .. }));
    ops.unmap(mapping, NONE);
    ops.unmap(written, NONE);
    assert_eq!((log.borrow().len(), ops.live()), (0, 0));
}

/// The checker passes the error of a failed unmap to its caller.
#[test]
fn a_failed_unmap_is_passed_on_by_the_checker() {
    let mapper = Setup::iommu(32).mapper();
    let reports = |report: Report<u32>| panic!("{report}");
    let ops = Checked::new(&mapper, reports, 8);
    for fails in [false, true] {
        let pinned = ops
            .pin_user(&FakeUser::default(), 0, PAGE, Direction::ToDevice)
            .unwrap();
        let mapping = ops.map(0, &pinned, Direction::ToDevice, Attrs::empty());
        mapper.platform().fail_unmaps(fails);
        let expected = if fails {
            Err(Error::StillReachable(Reason::new(
                Constraint::Hardware,
                1,
                0,
            )))
        } else {
            Ok(())
        };
        assert_eq!(ops.try_unmap(mapping.unwrap(), Attrs::empty()), expected);
        ops.free(pinned);
    }
    assert_eq!(mapper.platform().vmaps_and_pins(), (0, 1));
}
