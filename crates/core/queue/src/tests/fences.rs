//! Tests fences of a device's accesses, and buffers that wait for imported fences.

use super::fake::done;
use super::std::vec::Vec;
use super::{BOTH, Bench};
use crate::{BufferState, Completion, DriverError, Memory, QueueType};

const FAILED: Result<(), i32> = Err(5);
const CANCELED: Result<(), i32> = Err(125);

fn streaming(queue_type: QueueType) -> Bench {
    let mut b = Bench::new(queue_type);
    b.reqbufs(Memory::Mmap, 3).unwrap();
    b.streamon().unwrap();
    b
}

/// Returns the memory's number of a buffer's plane.
fn plane(b: &Bench, index: usize) -> u64 {
    *b.mem.get().planes.keys().nth(index).unwrap()
}

fn given(b: &Bench) -> Vec<u32> {
    b.driver.tokens.iter().map(|t| t.index()).collect()
}

fn states(b: &mut Bench) -> Vec<BufferState> {
    (0..3)
        .map(|i| b.session().querybuf(i).unwrap().state)
        .collect()
}

#[test]
fn access_spans_driver_ownership() {
    for queue_type in BOTH {
        let mut b = Bench::new(queue_type);
        b.reqbufs(Memory::Mmap, 3).unwrap();
        b.qbuf(0).unwrap();
        assert_eq!(
            b.mem.called("begin_access"),
            0,
            "the driver has not started"
        );
        b.streamon().unwrap();
        b.qbuf(1).unwrap();
        b.qbuf(2).unwrap();
        assert_eq!(b.mem.called("begin_access"), 3);
        let error = Completion::new(Err(DriverError::EIO), 0);
        let tokens = core::mem::take(&mut b.driver.tokens);
        let [first, second, third] = <[_; 3]>::try_from(tokens).unwrap();
        b.session().complete(first, done()).unwrap();
        b.session().complete(second, error).unwrap();
        drop(third);
        b.session().settle();
        assert_eq!(b.mem.get().outcomes, [Ok(()), FAILED, FAILED]);
        b.streamoff().unwrap();
        assert_eq!(b.mem.get().outcomes.len(), 3, "each ends once");
        b.finish();
    }
}

#[test]
fn the_end_of_a_stream_ends_what_the_device_had() {
    for queue_type in BOTH {
        let mut b = streaming(queue_type);
        b.driver.keeps_tokens = true;
        b.qbuf(0).unwrap();
        b.qbuf(1).unwrap();
        b.streamoff().unwrap();
        assert_eq!(b.mem.get().outcomes, [CANCELED, CANCELED]);
        let late = b.driver.tokens.remove(0);
        assert!(b.session().complete(late, done()).is_err());
        b.driver.tokens.clear();
        b.session().settle();
        assert_eq!(b.mem.get().outcomes.len(), 2);
        b.finish();
    }
}

#[test]
fn failed_device_ends_accesses_but_keeps_buffers() {
    let mut b = streaming(QueueType::Capture);
    b.qbuf(0).unwrap();
    b.queue.set_error();
    b.session().settle();
    assert_eq!(b.mem.get().outcomes, [FAILED]);
    assert_eq!(states(&mut b)[0], BufferState::Active);
    let token = b.driver.tokens.remove(0);
    b.session().complete(token, done()).unwrap();
    b.streamoff().unwrap();
    assert_eq!(b.mem.get().outcomes.len(), 1);
    // A second failure ends fences again.
    b.streamon().unwrap();
    b.qbuf(1).unwrap();
    b.queue.set_error();
    b.session().settle();
    assert_eq!(b.mem.get().outcomes, [FAILED, FAILED]);
    b.finish();
}

#[test]
fn failed_start_ends_accesses_and_restarts() {
    let mut b = Bench::new(QueueType::Output);
    b.reqbufs(Memory::Mmap, 3).unwrap();
    b.qbuf(0).unwrap();
    b.driver.fail.insert("start_streaming", 5);
    assert!(b.streamon().is_err());
    assert_eq!(b.mem.get().outcomes, [CANCELED]);
    b.streamon().unwrap();
    assert_eq!(b.mem.called("begin_access"), 2);
    b.finish();
}

#[test]
fn held_back_buffer_keeps_its_place() {
    for queue_type in BOTH {
        let mut b = streaming(queue_type);
        let held = plane(&b, 1);
        b.mem.get().held_back.insert(held);
        for index in 0..3 {
            b.qbuf(index).unwrap();
        }
        assert_eq!(given(&b), [0]);
        assert_eq!(b.queue.active_count(), 1);
        use BufferState::{Active, Queued};
        assert_eq!(states(&mut b), [Active, Queued, Queued]);
        b.session().settle();
        assert_eq!(given(&b), [0], "nothing has changed");
        b.mem.get().held_back.clear();
        b.session().settle();
        assert_eq!(given(&b), [0, 1, 2]);
        b.finish();
    }
}

#[test]
fn streamoff_returns_held_back_buffer() {
    for queue_type in BOTH {
        let mut b = streaming(queue_type);
        let held = plane(&b, 0);
        b.mem.get().held_back.insert(held);
        b.qbuf(0).unwrap();
        b.streamoff().unwrap();
        assert_eq!(states(&mut b)[0], BufferState::Dequeued);
        b.mem.get().held_back.clear();
        b.streamon().unwrap();
        b.session().settle();
        assert_eq!(given(&b), [] as [u32; 0]);
        b.qbuf(0).unwrap();
        assert_eq!(given(&b), [0]);
        b.finish();
    }
}

#[test]
fn driver_starts_once_enough_buffers_are_free() {
    let mut b = Bench::with(QueueType::Capture, |c| c.min_queued_buffers = 2);
    b.reqbufs(Memory::Mmap, 3).unwrap();
    let held = plane(&b, 1);
    b.mem.get().held_back.insert(held);
    for index in 0..3 {
        b.qbuf(index).unwrap();
    }
    b.streamon().unwrap();
    assert!(b.queue.is_streaming() && !b.queue.is_started());
    b.mem.get().held_back.clear();
    b.session().settle();
    assert!(b.queue.is_started());
    assert_eq!(
        (given(&b), b.driver.given_at_start),
        (Vec::from([0, 1, 2]), 3)
    );
    b.finish();
}

#[test]
fn start_failing_after_fences_breaks_the_queue() {
    let mut b = Bench::with(QueueType::Capture, |c| c.min_queued_buffers = 1);
    b.reqbufs(Memory::Mmap, 3).unwrap();
    let held = plane(&b, 0);
    b.mem.get().held_back.insert(held);
    b.qbuf(0).unwrap();
    b.streamon().unwrap();
    b.mem.get().held_back.clear();
    b.driver.fail.insert("start_streaming", 28);
    b.session().settle();
    assert!(b.queue.error);
    b.streamoff().unwrap();
    assert_eq!(b.mem.get().outcomes, [CANCELED]);
    b.finish();
}

#[test]
fn the_first_held_back_buffer_is_named() {
    let mut b = Bench::new(QueueType::Capture);
    b.reqbufs(Memory::Mmap, 3).unwrap();
    let held = plane(&b, 1);
    b.mem.get().held_back.insert(held);
    for index in 0..3 {
        b.qbuf(index).unwrap();
    }
    let named = |b: &Bench| b.queue.first_held_back(&b.mem).map(|(index, _)| index);
    assert_eq!(named(&b), None, "not streaming");
    b.streamon().unwrap();
    assert_eq!(named(&b), Some(1));
    b.mem.get().held_back.clear();
    assert_eq!(named(&b), None);
    b.finish();
}
