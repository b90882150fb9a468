//! A device is removed during another context's call, before each lock that the call takes.

use std::cell::{Cell, RefCell};
use vb3_dma::{
    Attrs, Direction, DmaAddr, DmaOps as _, Error, FlushPolicy, Locks, Mapper, SegmentMode,
};
use vb3_dma_test::fake::{Fake, PAGE, Setup, ram, sram};

const BOTH: Direction = Direction::Bidirectional;

/// Locks that call a function of the test once: before the lock that the test selects is taken. A lock inside
/// another is not counted, because the other context would wait.
struct Interrupted;

thread_local! {
    static LEFT: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<u64> = const { Cell::new(0) };
    static THEN: Cell<Option<fn(&Test)>> = const { Cell::new(None) };
    static TEST: Cell<Option<&'static Test>> = const { Cell::new(None) };
}

type Test = Mapper<Fake, Interrupted>;

impl Locks for Interrupted {
    type Lock<T> = RefCell<T>;

    fn new_lock<T>(value: T) -> RefCell<T> {
        RefCell::new(value)
    }

    fn with<T, R>(lock: &RefCell<T>, act: impl FnOnce(&mut T) -> R) -> R {
        match LEFT.get() {
            _ if HELD.get() > 0 => {}
            0 => {
                if let (Some(then), Some(test)) = (THEN.take(), TEST.get()) {
                    then(test);
                }
            }
            left => LEFT.set(left - 1),
        }
        HELD.set(HELD.get() + 1);
        let result = act(&mut lock.borrow_mut());
        HELD.set(HELD.get() - 1);
        result
    }
}

thread_local! {
    static REMOVED: Cell<bool> = const { Cell::new(false) };
}

/// Removes device 0. If that succeeds, device 1 gets its index.
fn replace(test: &Test) {
    let removed = test.remove_device(0);
    assert!(
        removed == Ok(()) || removed == Err(Error::Busy),
        "{removed:?}"
    );
    let placed = test.set_segment_mode(1, SegmentMode::Contiguous);
    REMOVED.set(placed == Ok(()));
}

/// Lets an unmapped page of device 0 wait for a flush.
fn fill_queue(test: &Test) {
    test.set_flush_policy(0, FlushPolicy::Lazy).unwrap();
    let memory = test.lend(&[ram(0, PAGE)]).unwrap();
    let mapping = test.map(0, &memory, BOTH, Attrs::empty()).unwrap();
    test.unmap(mapping, Attrs::empty());
    // Not freed, because that would flush.
    let _ = core::mem::ManuallyDrop::new(memory);
}

/// Removes device 0 and adds it again, with a range that waits in its new queue.
fn refill(test: &Test) {
    test.flush().unwrap();
    if test.remove_device(0) == Ok(()) {
        REMOVED.set(true);
        fill_queue(test);
    }
}

#[test]
fn a_late_flush_leaves_the_next_devices_ranges() {
    let mut removed = 0;
    for n in 0.. {
        let fake = Fake::new(Setup::iommu(32));
        let mapper: &Test = Box::leak(Box::new(Mapper::with_locks(fake, 1).unwrap()));
        fill_queue(mapper);
        REMOVED.set(false);
        TEST.set(Some(mapper));
        LEFT.set(n);
        THEN.set(Some(refill));
        mapper.flush_lazy(0).unwrap();
        if THEN.take().is_some() || LEFT.get() > 0 {
            break;
        }
        removed += u64::from(REMOVED.get());
        let memory = mapper.lend(&[ram(PAGE, PAGE)]).unwrap();
        let mapping = mapper.map(0, &memory, BOTH, Attrs::empty()).unwrap();
        assert_eq!(mapper.platform().stale_reuse(), [], "lock {n}");
        mapper.unmap(mapping, Attrs::empty());
        mapper.free(memory);
    }
    assert!(removed > 0);
}

type Step = fn(&Test) -> Result<(), Error>;

const STEPS: [(&str, Step); 5] = [
    ("map", |m| {
        let memory = m.lend(&[ram(0, PAGE)])?;
        let mapping = m.map(0, &memory, BOTH, Attrs::empty());
        let ended = mapping.map(|mapping| {
            assert!(!REMOVED.get(), "mapped for a device that is gone");
            THEN.set(None);
            m.unmap(mapping, Attrs::empty());
        });
        m.free(memory);
        ended
    }),
    ("allocate", |m| {
        let alloc = m.alloc_coherent(0, 3 * PAGE, Attrs::empty())?;
        assert!(!REMOVED.get(), "allocated for a device that is gone");
        THEN.set(None);
        m.free(alloc);
        Ok(())
    }),
    ("own memory", |m| {
        m.declare_coherent(0, sram(0, 4 * PAGE), DmaAddr::new(0x2000_0000))?;
        let alloc = m.alloc_coherent(0, PAGE, Attrs::empty());
        let ended = alloc.map(|alloc| m.free(alloc));
        THEN.set(None);
        ended
    }),
    ("lazy", |m| m.set_flush_policy(0, FlushPolicy::Lazy)),
    ("mode", |m| m.set_segment_mode(0, SegmentMode::Compatible)),
];

#[test]
fn a_removed_device_leaves_its_place_to_the_next() {
    let setups = [Setup::direct(), Setup::iommu(32), Setup::untrusted()];
    let mut replaced = 0;
    for (setup, (what, step)) in setups.iter().flat_map(|s| STEPS.map(|o| (s, o))) {
        for known in [false, true] {
            for n in 0.. {
                let is_iommu = setup.iommu.is_some();
                let setup = Setup {
                    devices: 2,
                    ..setup.clone()
                };
                // Leaked, because the locks find the mapper by a static reference. It has room for one
                // device.
                let mapper: &Test =
                    Box::leak(Box::new(Mapper::with_locks(Fake::new(setup), 1).unwrap()));
                if known {
                    mapper.set_segment_mode(0, SegmentMode::Contiguous).unwrap();
                }
                REMOVED.set(false);
                TEST.set(Some(mapper));
                LEFT.set(n);
                THEN.set(Some(replace));
                let _ = step(mapper);
                let is_over = THEN.take().is_some() || LEFT.get() > 0;
                let removed = REMOVED.get();
                let next = if removed { 1 } else { 0 };
                if removed {
                    replaced += 1;
                    // Settings of a removed device do not apply to its successor.
                    let memory = mapper.lend(&[ram(0, PAGE)]).unwrap();
                    let mapping = mapper.map(1, &memory, BOTH, Attrs::empty()).unwrap();
                    let at = mapping.segments()[0].addr;
                    mapper.unmap(mapping, Attrs::empty());
                    let seen = mapper.platform().dev_read_as(1, at, 1);
                    assert!(!is_iommu || seen.is_none(), "{what}, lock {n}: lazy");
                    assert_eq!(mapper.live().iova_bytes, 0, "{what}, lock {n}");
                    mapper.free(memory);
                    let own = mapper.alloc_coherent(1, PAGE, Attrs::empty()).unwrap();
                    assert!(
                        own.pages().is_some(),
                        "{what}, lock {n}: memory of another's"
                    );
                    mapper.free(own);
                }
                assert_eq!(mapper.remove_device(next), Ok(()), "{what}, lock {n}");
                assert!(
                    mapper.live().is_empty(),
                    "{what}, lock {n}: {:?}",
                    mapper.live()
                );
                assert!(mapper.platform().is_clean(), "{what}, lock {n}");
                if is_over {
                    break;
                }
            }
        }
    }
    assert!(replaced > 20, "{replaced}");
}

/// The representative of a device's group is removed while the device joins the group, and a third device gets
/// its index.
#[test]
fn joining_device_counts_only_for_its_group() {
    for n in 0.. {
        let setup = Setup {
            devices: 3,
            grouped: vec![1],
            ..Setup::untrusted()
        };
        let mapper: &Test = Box::leak(Box::new(Mapper::with_locks(Fake::new(setup), 2).unwrap()));
        TEST.set(Some(mapper));
        LEFT.set(n);
        THEN.set(Some(|test| {
            let _ = test.remove_device(0);
            let _ = test.set_segment_mode(2, SegmentMode::Compatible);
        }));
        let joined = mapper.set_segment_mode(1, SegmentMode::Compatible);
        let is_over = THEN.take().is_some();
        assert!(
            [Ok(()), Err(Error::Removed), Err(Error::Busy)].contains(&joined),
            "lock {n}: {joined:?}"
        );
        for dev in [2, 1, 0] {
            assert_eq!(mapper.remove_device(dev), Ok(()), "lock {n}: {dev}");
        }
        if is_over {
            break;
        }
    }
}

#[test]
fn two_contexts_give_a_device_one_place() {
    for n in 0.. {
        let setup = Setup {
            devices: 4,
            ..Setup::direct()
        };
        let mapper: &Test = Box::leak(Box::new(Mapper::with_locks(Fake::new(setup), 2).unwrap()));
        for dev in [0, 1] {
            mapper
                .set_segment_mode(dev, SegmentMode::Compatible)
                .unwrap();
            mapper.remove_device(dev).unwrap();
        }
        TEST.set(Some(mapper));
        LEFT.set(n);
        THEN.set(Some(|test| {
            test.set_segment_mode(2, SegmentMode::Compatible).unwrap();
        }));
        mapper.set_segment_mode(2, SegmentMode::Compatible).unwrap();
        let is_over = THEN.take().is_some();
        let third = mapper.set_segment_mode(3, SegmentMode::Compatible);
        assert_eq!(third, Ok(()), "lock {n}: room for two devices");
        if is_over {
            break;
        }
    }
}
