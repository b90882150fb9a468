//! Tests state transitions, and the effects of start, stop and errors on buffers.

use super::calls::{EAGAIN, EINVAL, ENXIO, seen};
use super::fake::done;
use super::std::vec::Vec;
use super::{BOTH, Bench};
use crate::{BufferState, Completion, DriverError, MAX_PLANES, Memory, QueueType, Statistics};

fn min3(queue_type: QueueType) -> Bench {
    Bench::with(queue_type, |c| c.min_queued_buffers = 3)
}

#[test]
fn a_buffer_goes_through_its_states() {
    for queue_type in BOTH {
        let mut b = Bench::new(queue_type);
        b.reqbufs(Memory::Mmap, 2).unwrap();
        let state = |b: &mut Bench| b.query(0).unwrap().state;
        assert_eq!(state(&mut b), BufferState::Dequeued);
        b.prepare(0).unwrap();
        assert_eq!(state(&mut b), BufferState::Dequeued);
        b.qbuf(0).unwrap();
        assert_eq!(state(&mut b), BufferState::Queued);
        b.streamon().unwrap();
        assert_eq!(state(&mut b), BufferState::Active);
        b.frame();
        assert_eq!(state(&mut b), BufferState::Done);
        b.dqbuf().unwrap();
        assert_eq!(state(&mut b), BufferState::Dequeued);
        b.qbuf(0).unwrap();
        assert_eq!(
            state(&mut b),
            BufferState::Active,
            "given at once while started"
        );
        b.complete(Completion {
            outcome: Err(DriverError::EIO),
            ..done()
        })
        .unwrap();
        assert_eq!(state(&mut b), BufferState::Error);
        let info = b.query(0).unwrap();
        assert!(info.error);
        assert!(b.dqbuf().unwrap().error);
        let expected = Statistics {
            queued: 2,
            done: 1,
            errors: 1,
            ..Statistics::default()
        };
        assert_eq!(b.queue.statistics(), expected);
        b.finish();
    }
}

#[test]
fn streamoff_takes_buffers_back_from_every_state() {
    for queue_type in BOTH {
        let mut b = Bench::new(queue_type);
        b.reqbufs(Memory::Mmap, 6).unwrap();
        for index in 0..4 {
            b.qbuf(index).unwrap();
        }
        b.prepare(4).unwrap();
        b.streamon().unwrap();
        b.frame();
        b.complete(Completion {
            outcome: Err(DriverError::EIO),
            ..done()
        })
        .unwrap();
        b.streamoff().unwrap();
        for index in 0..6 {
            let info = b.query(index).unwrap();
            assert_eq!(info.state, BufferState::Dequeued);
            assert!(!info.prepared && !info.error, "{index}");
        }
        assert_eq!(
            b.driver.called("buf_finish"),
            5,
            "also the one only prepared"
        );
        assert_eq!(b.driver.called("stop_streaming"), 1);
        assert_eq!(b.driver.called("unprepare_streaming"), 1);
        assert_eq!(b.queue.queued_count(), 0);
        let counts = b.queue.statistics();
        assert_eq!((counts.taken_back, counts.done, counts.errors), (2, 1, 1));
        b.finish();
    }
}

#[test]
fn streamoff_cancels_without_streaming() {
    let mut b = Bench::new(QueueType::Capture);
    b.reqbufs(Memory::Mmap, 2).unwrap();
    b.qbuf(0).unwrap();
    b.streamoff().unwrap();
    assert_eq!(b.query(0).unwrap().state, BufferState::Dequeued);
    assert_eq!(b.driver.called("stop_streaming"), 0);
    b.finish();
}

/// Covers rows MQ1 to MQ12 of the table measured on stock kernels (see `calls`).
#[test]
fn the_driver_starts_when_enough_is_queued() {
    for queue_type in BOTH {
        let mut b = min3(queue_type);
        assert_eq!(b.reqbufs(Memory::Mmap, 1).unwrap(), 4, "MQ1");
        assert_eq!(seen(b.streamon()), 0, "MQ2");
        assert!(b.queue.is_streaming() && !b.queue.is_started());
        b.qbuf(0).unwrap();
        assert_eq!(seen(b.dqbuf()), EAGAIN, "MQ4");
        b.qbuf(1).unwrap();
        b.driver.fail.insert("start_streaming", 6);
        assert_eq!(seen(b.qbuf(2)), ENXIO, "MQ5");
        let info = b.query(2).unwrap();
        assert!(info.prepared && info.state == BufferState::Dequeued, "MQ6");
        for index in [0, 1] {
            assert_eq!(b.query(index).unwrap().state, BufferState::Queued);
        }
        assert_eq!(seen(b.qbuf(2)), 0, "MQ7");
        assert_eq!(b.driver.called("buf_prepare"), 3, "it was still prepared");
        assert_eq!(b.driver.given_at_start, 3);
        let order: Vec<u32> = b.driver.tokens.iter().map(crate::Active::index).collect();
        assert_eq!(order, [0, 1, 2]);
        assert_eq!(seen(b.dqbuf()), EAGAIN, "MQ8");
        b.streamoff().unwrap();
        b.reqbufs(Memory::Mmap, 0).unwrap();
        let made = b.session().create_bufs(
            Memory::Mmap,
            2,
            crate::Coherency::Coherent,
            &[super::fake::SIZE],
        );
        assert_eq!(made.unwrap().0.len(), 2, "MQ9");
        assert_eq!(seen(b.streamon()), EINVAL, "MQ10");
        b.reqbufs(Memory::Mmap, 4).unwrap();
        for index in 0..3 {
            b.qbuf(index).unwrap();
        }
        b.driver.fail.insert("start_streaming", 6);
        assert_eq!(seen(b.streamon()), ENXIO, "MQ11");
        assert!(!b.queue.is_streaming());
        assert_eq!(seen(b.streamon()), 0, "MQ12");
        b.finish();
    }
}

#[test]
fn failed_start_keeps_order_and_makes_tokens_stale() {
    for queue_type in BOTH {
        let mut b = Bench::new(queue_type);
        b.reqbufs(Memory::Mmap, 3).unwrap();
        for index in [2, 0, 1] {
            b.qbuf(index).unwrap();
        }
        b.driver.keeps_tokens = true;
        b.driver.fail.insert("start_streaming", 5);
        b.streamon().unwrap_err();
        assert_eq!(b.driver.called("unprepare_streaming"), 1);
        let kept = core::mem::take(&mut b.driver.tokens);
        assert!(kept.iter().all(crate::Active::is_stale));
        b.check();
        b.streamon().unwrap();
        drop(kept);
        let order: Vec<u32> = b.driver.tokens.iter().map(crate::Active::index).collect();
        assert_eq!(order, [2, 0, 1]);
        b.frame();
        assert_eq!(
            b.dqbuf().unwrap().index,
            2,
            "dropping stale tokens returned nothing"
        );
        assert_eq!(b.queue.statistics().dropped_tokens, 0);
        b.driver.keeps_tokens = false;
        b.finish();
    }
}

#[test]
fn completion_sets_what_the_driver_says() {
    let mut b = Bench::new(QueueType::Capture);
    b.driver.capture_payload = Some(500);
    b.reqbufs(Memory::Mmap, 2).unwrap();
    let payload = |info: crate::BufferInfo| info.planes[0].unwrap().payload_bytes;
    assert_eq!(
        payload(b.qbuf(0).unwrap()),
        500,
        "the driver's, from preparing"
    );
    b.qbuf(1).unwrap();
    b.streamon().unwrap();
    let mut payloads = [0; MAX_PLANES];
    payloads[0] = u64::MAX;
    let completion = Completion {
        payloads: Some(payloads),
        timestamp_ns: Some(42),
        sequence: 7,
        field: 4,
        ..done()
    };
    b.complete(completion).unwrap();
    let info = b.dqbuf().unwrap();
    assert_eq!(payload(info), super::fake::SIZE, "cut to the length");
    assert_eq!((info.timestamp_ns, info.sequence, info.field), (42, 7, 4));
    b.complete(Completion {
        timestamp_ns: None,
        ..done()
    })
    .unwrap();
    let info = b.dqbuf().unwrap();
    assert_eq!((payload(info), info.timestamp_ns), (500, 0));
    b.finish();
}

#[test]
fn timestamps_are_copied_if_the_queue_says_so() {
    for (copy, expected) in [(true, 99), (false, 0)] {
        let mut b = Bench::with(QueueType::Output, |c| c.copy_timestamps = copy);
        b.reqbufs(Memory::Mmap, 2).unwrap();
        b.prepare(1).unwrap();
        for index in [0, 1] {
            let mut request = b.request(index);
            request.timestamp_ns = 99;
            request.timecode = Some([3; 16]);
            request.frame_flags = 8;
            b.qbuf_as(request).unwrap();
        }
        b.streamon().unwrap();
        for token in &b.driver.tokens {
            let flags = if token.index() == 1 { 0 } else { 8 };
            assert_eq!(
                token.frame_flags(),
                flags,
                "a prepared buffer keeps its own"
            );
            assert_eq!(token.timestamp_ns(), expected);
            assert_eq!(token.timecode(), Some([3; 16]));
        }
        b.complete(Completion {
            timestamp_ns: None,
            ..done()
        })
        .unwrap();
        assert_eq!(b.dqbuf().unwrap().timestamp_ns, expected);
        b.finish();
    }
}

#[test]
fn an_error_of_the_device_lasts_until_streamoff() {
    for queue_type in BOTH {
        let mut b = Bench::new(queue_type);
        b.reqbufs(Memory::Mmap, 3).unwrap();
        b.qbuf(0).unwrap();
        b.streamon().unwrap();
        let _ = b.take_wake();
        b.queue.set_error();
        assert!(b.take_wake(), "waiters are woken");
        assert!(!b.take_wake(), "once");
        b.frame();
        assert_eq!(seen(b.dqbuf()), -5);
        b.streamoff().unwrap();
        b.qbuf(0).unwrap();
        b.streamon().unwrap();
        b.frame();
        assert_eq!(b.dqbuf().unwrap().index, 0);
        b.finish();
    }
}

#[test]
fn planes_are_undone_when_one_cannot_be_handed_over() {
    for queue_type in BOTH {
        let mut b = Bench::new(queue_type);
        b.driver.sizes = super::std::vec![super::fake::SIZE; 3];
        b.reqbufs(Memory::Mmap, 2).unwrap();
        b.mem.get().fail_in = Some(2);
        assert_eq!(seen(b.qbuf(0)), -12);
        assert_eq!(b.mem.called("finish"), 2, "the two that were handed over");
        assert!(b.mem.get().planes.values().all(|p| !p.device_owned));
        b.qbuf(0).unwrap();
        b.finish();
    }
}

/// A wait can end while the queue streams, its device works and a buffer is queued; and after the last one.
#[test]
fn waiting_is_worth_while_a_buffer_can_come() {
    let mut b = Bench::new(QueueType::Capture);
    b.reqbufs(Memory::Mmap, 2).unwrap();
    b.qbuf(0).unwrap();
    assert!(!b.queue.is_worth_waiting(), "not streaming");
    b.streamon().unwrap();
    assert!(b.queue.is_worth_waiting());
    b.frame();
    b.dqbuf().unwrap();
    assert!(!b.queue.is_worth_waiting(), "no buffer is queued");
    b.qbuf(0).unwrap();
    b.complete(Completion {
        last: true,
        ..done()
    })
    .unwrap();
    b.dqbuf().unwrap();
    assert!(b.queue.is_worth_waiting(), "after the last buffer");
    b.queue.set_error();
    assert!(!b.queue.is_worth_waiting());
    b.finish();
}

#[test]
fn finished_planes_are_those_of_one_frame() {
    let mut b = Bench::new(QueueType::Capture);
    b.reqbufs(Memory::Mmap, 2).unwrap();
    b.qbuf(0).unwrap();
    b.streamon().unwrap();
    let sequence = b.query(0).unwrap().sequence;
    let shown = |b: &Bench, index, sequence| {
        let planes = b.queue.finished_planes(index, sequence)?;
        Some(planes.iter().flatten().count())
    };
    assert_eq!(shown(&b, 0, sequence), None, "the device has the buffer");
    b.frame();
    let sequence = b.query(0).unwrap().sequence;
    assert!(b.queue.is_ready());
    assert_eq!(shown(&b, 0, sequence), Some(1));
    b.dqbuf().unwrap();
    assert!(!b.queue.is_ready());
    assert_eq!(shown(&b, 0, sequence), Some(1));
    assert_eq!(shown(&b, 0, sequence + 1), None, "another frame");
    assert_eq!(shown(&b, 2, sequence), None, "no such buffer");
    b.qbuf(0).unwrap();
    assert_eq!(shown(&b, 0, sequence), None, "queued again");
    b.finish();
}

/// The program must not take the buffer's old bytes for a frame.
#[test]
fn bytes_that_cannot_be_copied_back_are_an_error() {
    let mut b = Bench::new(QueueType::Capture);
    b.reqbufs(Memory::Mmap, 1).unwrap();
    b.qbuf(0).unwrap();
    b.streamon().unwrap();
    b.mem.get().finish_fails = true;
    b.frame();
    b.mem.get().finish_fails = false;
    let info = b.dqbuf().unwrap();
    assert!(info.error);
    assert_eq!(b.queue.statistics().errors, 1);
    b.finish();
}
