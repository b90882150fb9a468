//! Fences of a device's accesses, and buffers that wait for the accesses of others.

use super::fake::done;
use super::std::vec::Vec;
use super::{BOTH, Bench};
use crate::{BufferState, Completion, DoneState, Memory, QueueType};
use vb3_plane::Outcome;

const FAILED: Outcome = Outcome::Failed(5);
const CANCELED: Outcome = Outcome::Failed(125);

fn streaming(queue_type: QueueType) -> Bench {
    let mut b = Bench::new(queue_type);
    b.reqbufs(Memory::Mmap, 3).unwrap();
    b.streamon().unwrap();
    b
}

/// The plane of a buffer, in the memory's books.
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
fn an_access_begins_when_the_driver_gets_the_buffer_and_ends_with_its_outcome() {
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
        let error = Completion::new(DoneState::Error, 0);
        let tokens = core::mem::take(&mut b.driver.tokens);
        let [first, second, third] = <[_; 3]>::try_from(tokens).unwrap();
        b.session().complete(first, done()).unwrap();
        b.session().complete(second, error).unwrap();
        drop(third);
        b.session().settle();
        assert_eq!(b.mem.get().outcomes, [Outcome::Done, FAILED, FAILED]);
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
fn a_device_that_fails_ends_what_it_had_though_the_buffers_stay() {
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
    // A second failure is reported again.
    b.streamon().unwrap();
    b.qbuf(1).unwrap();
    b.queue.set_error();
    b.session().settle();
    assert_eq!(b.mem.get().outcomes, [FAILED, FAILED]);
    b.finish();
}

#[test]
fn a_start_that_fails_ends_what_was_given_and_begins_anew() {
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
fn a_buffer_that_is_held_back_keeps_its_place_in_the_queue() {
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
fn the_end_of_a_stream_returns_a_buffer_that_is_held_back() {
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
fn a_driver_starts_when_enough_of_its_buffers_are_free_to_use() {
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
fn a_driver_that_cannot_start_when_fences_end_is_a_queue_in_error() {
    let mut b = Bench::with(QueueType::Capture, |c| c.min_queued_buffers = 1);
    b.reqbufs(Memory::Mmap, 3).unwrap();
    let held = plane(&b, 0);
    b.mem.get().held_back.insert(held);
    b.qbuf(0).unwrap();
    b.streamon().unwrap();
    b.mem.get().held_back.clear();
    b.driver.fail.insert("start_streaming", 28);
    b.session().settle();
    assert!(b.queue.has_error());
    b.streamoff().unwrap();
    assert_eq!(b.mem.get().outcomes, [CANCELED]);
    b.finish();
}
