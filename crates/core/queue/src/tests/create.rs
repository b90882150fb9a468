//! Tests the indices of new buffers, and which states make a queue busy.

use super::fake::SIZE;
use super::std::vec;
use super::{BOTH, Bench};
use crate::{Coherency, Constraint, Error, Invalid, Memory, QueueType, Reason};
use core::ops::Range;

fn create(b: &mut Bench, count: u32) -> Result<Range<u32>, Error> {
    let made = b
        .session()
        .create_bufs(Memory::Mmap, count, Coherency::Coherent, &[SIZE]);
    b.check();
    made.map(|(indices, _)| indices)
}

#[test]
fn first_fitting_or_largest_hole_is_taken() {
    let mut b = Bench::new(QueueType::Capture);
    assert_eq!(create(&mut b, 32).unwrap(), 0..32);
    b.remove(2, 1).unwrap();
    b.remove(5, 3).unwrap();
    b.remove(10, 2).unwrap();
    b.remove(20, 3).unwrap();
    // Free indices: {2}, {5,6,7}, {10,11}, {20,21,22}
    let two = create(&mut b, 2).unwrap();
    assert_eq!(two, 5..7);
    // Free indices: {2}, {7}, {10,11}, {20,21,22}
    let many = create(&mut b, 9).unwrap();
    assert_eq!(many, 20..23);
    let one = create(&mut b, 1).unwrap();
    assert_eq!(one, 2..3);
    b.finish();
}

#[test]
fn other_sizes_make_other_buffers() {
    let mut b = Bench::new(QueueType::Output);
    b.reqbufs(Memory::Mmap, 2).unwrap();
    b.session()
        .create_bufs(Memory::Mmap, 1, Coherency::Coherent, &[SIZE * 2])
        .unwrap();
    let length = |b: &mut Bench, i| b.query(i).unwrap().planes[0].unwrap().length_bytes;
    assert_eq!((length(&mut b, 1), length(&mut b, 2)), (SIZE, SIZE * 2));
    b.finish();
}

#[test]
fn coherency_is_granted_only_to_mmap_with_hints() {
    let mut b = Bench::with(QueueType::Capture, |c| c.allow_cache_hints = true);
    for (memory, granted) in [
        (Memory::Mmap, Coherency::NonCoherent),
        (Memory::DmaBuf, Coherency::Coherent),
        (Memory::UserPtr, Coherency::Coherent),
    ] {
        let made = b.session().reqbufs(memory, 2, Coherency::NonCoherent);
        assert_eq!(made.unwrap().1, granted, "{memory:?}");
        assert_eq!(b.queue.coherency, granted);
    }
    b.session()
        .reqbufs(Memory::Mmap, 2, Coherency::NonCoherent)
        .unwrap();
    let other = b
        .session()
        .create_bufs(Memory::Mmap, 1, Coherency::Coherent, &[SIZE]);
    assert_eq!(other, Err(Error::Invalid(Invalid::CoherencyMismatch)));
    let same = b
        .session()
        .create_bufs(Memory::Mmap, 1, Coherency::NonCoherent, &[SIZE]);
    assert_eq!(same.unwrap().0.len(), 1);
    b.finish();
}

#[test]
fn a_refusal_names_its_reason() {
    let mut b = Bench::new(QueueType::Capture);
    let big = b
        .session()
        .create_bufs(Memory::Mmap, 1, Coherency::Coherent, &[0xffff_ffff])
        .unwrap_err();
    assert_eq!(big.errno(), 12);
    assert_eq!(
        big.reason(),
        Some(Reason {
            constraint: Constraint::SizeLimit,
            wanted: 0xffff_ffff,
            found: 0xffff_f000
        })
    );
    b.mem.get().max_alloc = Some(1);
    b.driver.least_buffers = 3;
    let short = b.reqbufs(Memory::Mmap, 3).unwrap_err();
    assert_eq!(short.reason().unwrap().constraint, Constraint::Ram);
    assert_eq!(
        short,
        Error::NoMemory {
            wanted: 3,
            found: 1,
            cause: short.reason()
        },
        "how many, too"
    );
    b.finish();
}

/// If a driver refuses the few buffers that memory had room for, REQBUFS returns its error, and CREATE_BUFS
/// ENOMEM.
#[test]
fn a_driver_may_refuse_too_few_buffers() {
    let mut b = Bench::new(QueueType::Capture);
    b.mem.get().max_alloc = Some(2);
    b.driver.refused_below = 3;
    assert_eq!(b.reqbufs(Memory::Mmap, 4).unwrap_err().errno(), 22);
    let made = create(&mut b, 4).map(|made| made.len());
    assert_eq!(made.unwrap_err().errno(), 12);
    assert_eq!((b.queue.num_buffers(), b.mem.get().planes.len()), (0, 0));
    b.driver.refused_below = 2;
    assert_eq!(b.reqbufs(Memory::Mmap, 4), Ok(2));
    b.finish();
}

#[test]
fn a_buffer_whose_second_plane_fails_leaves_nothing() {
    for queue_type in BOTH {
        let mut b = Bench::new(queue_type);
        b.driver.sizes = vec![SIZE; 3];
        b.mem.get().fail_in = Some(4);
        assert_eq!(
            b.reqbufs(Memory::Mmap, 4).unwrap(),
            1,
            "the second buffer's second plane"
        );
        b.check();
        b.finish();
    }
}

#[test]
fn busy_means_buffers_or_streaming() {
    let mut b = Bench::new(QueueType::Capture);
    b.reqbufs(Memory::Mmap, 2).unwrap();
    assert!(b.queue.is_busy());
    b.streamon().unwrap();
    b.remove(0, 2).unwrap();
    assert!(b.queue.is_busy(), "it streams");
    b.streamoff().unwrap();
    assert!(!b.queue.is_busy());
    b.driver.fail.insert("queue_setup", 22);
    b.reqbufs(Memory::Mmap, 2).unwrap_err();
    assert!(!b.queue.is_busy());
    b.finish();
}

#[test]
fn ten_thousand_buffers_are_only_numbers() {
    let mut b = Bench::with(QueueType::Capture, |c| c.max_num_buffers = 10_000);
    assert_eq!(b.reqbufs(Memory::DmaBuf, 10_000).unwrap(), 10_000);
    assert_eq!(b.query(9_999).unwrap().index, 9_999);
    b.remove(5_000, 100).unwrap();
    let made = b
        .session()
        .create_bufs(Memory::DmaBuf, 100, Coherency::Coherent, &[SIZE]);
    assert_eq!(made.unwrap().0.start, 5_000);
    b.finish();
}

/// Makes a queue with admission: a call makes all buffers or none.
fn admitting(queue_type: QueueType) -> Bench {
    Bench::with(queue_type, |config| config.admission = true)
}

const SHORT_OF_RAM: Option<Reason> = Some(Reason {
    constraint: Constraint::Ram,
    wanted: SIZE,
    found: 0,
});

#[test]
fn with_admission_a_call_makes_all_buffers_or_none() {
    for queue_type in BOTH {
        let mut b = admitting(queue_type);
        b.mem.get().max_alloc = Some(5);
        let refused = Error::NoMemory {
            wanted: 8,
            found: 5,
            cause: SHORT_OF_RAM,
        };
        assert_eq!(b.reqbufs(Memory::Mmap, 8), Err(refused));
        b.check();
        assert_eq!((b.queue.num_buffers(), b.mem.get().planes.len()), (0, 0));
        assert!(!b.queue.is_busy());
        // Memory has room for exactly five buffers.
        assert_eq!(b.reqbufs(Memory::Mmap, 5), Ok(5));
        // If CREATE_BUFS fails, the existing buffers stay.
        let refused = Error::NoMemory {
            wanted: 2,
            found: 1,
            cause: SHORT_OF_RAM,
        };
        b.mem.get().max_alloc = Some(6);
        assert_eq!(create(&mut b, 2).map(|made| made.len()), Err(refused));
        assert_eq!((b.queue.num_buffers(), b.mem.get().planes.len()), (5, 5));
        assert_eq!(create(&mut b, 1).map(|made| made.len()), Ok(1));
        b.finish();
    }
}

#[test]
fn admission_places_all_buffers_before_use() {
    let mut b = admitting(QueueType::Capture);
    b.driver.sizes = vec![SIZE, SIZE];
    b.mem.get().places = Some(5);
    let refused = Error::NoMemory {
        wanted: 3,
        found: 2,
        cause: Some(Reason {
            constraint: Constraint::Mask,
            wanted: 2,
            found: 1,
        }),
    };
    assert_eq!(b.reqbufs(Memory::Mmap, 3), Err(refused));
    assert_eq!((b.queue.num_buffers(), b.mem.get().planes.len()), (0, 0));
    b.mem.get().places = Some(4);
    assert_eq!(b.reqbufs(Memory::Mmap, 2), Ok(2));
    // Memory of programs or exporters needs no admission, because the queue does not allocate it.
    assert_eq!(b.reqbufs(Memory::DmaBuf, 8), Ok(8));
    b.finish();
    // Without admission, buffers are placed as they are used.
    let mut b = Bench::new(QueueType::Capture);
    b.mem.get().places = Some(0);
    assert_eq!(b.reqbufs(Memory::Mmap, 3), Ok(3));
    b.mem.get().places = None;
    b.finish();
}

#[test]
fn queue_limit_with_admission_is_no_shortage() {
    let mut b = admitting(QueueType::Capture);
    assert_eq!(b.reqbufs(Memory::Mmap, 100), Ok(32));
    b.remove(3, 2).unwrap();
    assert_eq!(create(&mut b, 9).map(|made| made.len()), Ok(2));
    b.finish();
}

#[test]
fn planes_are_found_in_the_order_of_buffers() {
    let mut b = Bench::new(QueueType::Capture);
    b.driver.sizes = vec![4096, 4096];
    b.reqbufs(Memory::Mmap, 2).unwrap();
    // The plane that is asked for after `skipped` others.
    let find = |b: &Bench, skipped| {
        let asked = core::cell::Cell::new(0);
        b.queue
            .find_plane(|_| asked.replace(asked.get() + 1) == skipped)
    };
    let found = core::array::from_fn(|skipped| find(&b, skipped));
    let place = |buffer, plane| Some((buffer, plane));
    let wanted = [place(0, 0), place(0, 1), place(1, 0), place(1, 1), None];
    assert_eq!(found, wanted);
    b.finish();
}

#[test]
fn the_reason_for_missing_buffers_is_told_once() {
    let mut b = Bench::new(QueueType::Capture);
    b.reqbufs(Memory::Mmap, 2).unwrap();
    assert_eq!(b.queue.take_shortfall(), None);
    b.mem.get().max_alloc = Some(3);
    assert_eq!(b.reqbufs(Memory::Mmap, 5), Ok(3));
    let reason = b.queue.take_shortfall().unwrap();
    assert_eq!(reason.constraint, Constraint::Ram);
    assert_eq!(b.queue.take_shortfall(), None);
    b.finish();
}
