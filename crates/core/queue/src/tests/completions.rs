//! Buffers finished in another context than the queue's, and callers that wait for them.

use super::check::mmap_buffer;
use super::fake::{FakeMem, done};
use super::std::sync::{Arc, Condvar, Mutex};
use super::std::thread;
use super::std::vec::Vec;
use super::{BOTH, Bench};
use crate::{
    Active, Completion, Completions, DriverError, Error, Invalid, Memory, Queue, QueueType, Wait,
};

fn streaming(queue_type: QueueType, buffers: u32) -> Bench {
    let mut b = Bench::new(queue_type);
    b.reqbufs(Memory::Mmap, buffers).unwrap();
    for index in 0..buffers {
        b.qbuf(index).unwrap();
    }
    b.streamon().unwrap();
    b
}

#[test]
fn types_say_which_threads_they_may_visit() {
    fn any_thread<T: Send + Sync>() {}
    any_thread::<Active<u64>>();
    any_thread::<Completions<u64>>();
    any_thread::<Wait>();
    any_thread::<Queue<FakeMem>>();
    any_thread::<crate::QueueBuffer<FakeMem>>();
    any_thread::<crate::PlaneRequest<FakeMem>>();
    any_thread::<crate::PlaneSource<FakeMem>>();
    any_thread::<crate::PlaneView<u64>>();
    any_thread::<crate::Request>();
    any_thread::<crate::Prepare<'_>>();
    any_thread::<(
        crate::Config<u32>,
        crate::PlaneSizes,
        Completion,
        Result<(), DriverError>,
    )>();
    any_thread::<(crate::BufferInfo, crate::PlaneView<crate::PlaneLocation>)>();
    any_thread::<(Error, crate::DriverError, crate::Statistics)>();
    any_thread::<(
        crate::BufferState,
        crate::Busy,
        crate::Invalid,
        Memory,
        crate::PlaneLocation,
        crate::QueueType,
        crate::RequestState,
        crate::Requests,
    )>();
    // A `Session` borrows a driver for one call, and stays with the thread of the call.
    any_thread::<(crate::BoundBuffer, crate::Pieces, crate::RequestId)>();
}

#[test]
fn a_token_is_as_large_as_the_readme_says() {
    assert!(size_of::<Active<u64>>() <= 400);
}

#[test]
fn pushed_completions_arrive_in_order_when_collected() {
    for queue_type in BOTH {
        let mut b = streaming(queue_type, 3);
        let mut finished = Completions::new(32).unwrap();
        let tokens = core::mem::take(&mut b.driver.tokens);
        for (sequence, token) in (7_u32..).zip(tokens.into_iter().rev()) {
            let completion = Completion::done(sequence);
            assert_eq!(finished.push(token, completion), Ok(()));
        }
        let early = b.session().dqbuf().unwrap_err();
        assert_eq!(early, Error::WouldBlock, "not collected yet");
        assert_eq!(b.session().collect(|| finished.pop()), 3);
        assert!(finished.pop().is_none());
        for (index, sequence) in [(2, 7), (1, 8), (0, 9)] {
            let info = b.dqbuf().unwrap();
            assert_eq!((info.index, info.sequence), (index, sequence));
        }
        b.finish();
    }
}

#[test]
fn a_wait_is_over_whatever_ends_it() {
    let finished = &mut Completions::new(32).unwrap();
    type End<'a> = &'a mut dyn FnMut(&mut Bench);
    let ends: [(&str, End<'_>); 6] = [
        ("a completion", &mut |b| {
            b.frame();
        }),
        ("a completion elsewhere", &mut |b| {
            let token = b.driver.tokens.remove(0);
            finished.push(token, done()).unwrap();
        }),
        ("a dropped token", &mut |b| drop(b.driver.tokens.remove(0))),
        ("an error", &mut |b| b.queue.set_error()),
        ("STREAMOFF", &mut |b| b.streamoff().unwrap()),
        ("the end", &mut |b| b.session().release()),
    ];
    for (what, end) in ends {
        let mut b = streaming(QueueType::Capture, 2);
        assert_eq!(b.dqbuf().unwrap_err(), Error::WouldBlock);
        let wait = b.queue.wait().unwrap();
        assert!(!wait.is_over(), "{what}: too early");
        end(&mut b);
        assert!(wait.is_over() && wait.is_over(), "{what}");
        drop(wait);
        assert!(!b.queue.is_waiting(), "{what}");
        b.finish();
    }
}

/// The wake-up comes between EAGAIN and the wait.
#[test]
fn wake_before_the_wait_is_not_missed() {
    let mut b = streaming(QueueType::Capture, 2);
    let mut finished = Completions::new(32).unwrap();
    assert_eq!(b.dqbuf().unwrap_err(), Error::WouldBlock);
    finished.push(b.driver.tokens.remove(0), done()).unwrap();
    assert!(b.queue.wait().unwrap().is_over(), "pushed");
    assert_eq!(b.session().collect(|| finished.pop()), 1);
    b.dqbuf().unwrap();
    assert_eq!(b.dqbuf().unwrap_err(), Error::WouldBlock);
    drop(b.driver.tokens.remove(0));
    assert!(b.queue.wait().unwrap().is_over(), "dropped");
    b.finish();
}

#[test]
fn dropped_token_is_one_event() {
    let mut b = streaming(QueueType::Capture, 2);
    b.take_wake();
    drop(b.driver.tokens.remove(0));
    assert!(b.take_wake());
    assert!(!b.take_wake(), "seen, though nothing has reaped it yet");
    b.finish();
}

#[test]
fn stale_wait_ends_no_later_wait() {
    let mut b = streaming(QueueType::Capture, 2);
    let old = b.queue.wait().unwrap();
    b.session().release();
    let new = b.queue.wait().unwrap();
    drop(old);
    assert!(b.queue.is_waiting(), "the later one still sleeps");
    drop(new);
    b.finish();
}

#[test]
fn stale_completions_after_streamoff_do_nothing() {
    let mut b = streaming(QueueType::Capture, 2);
    let mut finished = Completions::new(2).unwrap();
    for _ in 0..3 {
        for token in core::mem::take(&mut b.driver.tokens) {
            assert_eq!(finished.push(token, done()), Ok(()), "there is space");
        }
        b.streamoff().unwrap();
        for index in 0..2 {
            b.qbuf(index).unwrap();
        }
        b.streamon().unwrap();
    }
    assert_eq!(b.session().collect(|| finished.pop()), 2);
    assert_eq!(b.queue.statistics().stale_tokens, 2);
    assert_eq!(b.dqbuf().unwrap_err(), Error::WouldBlock);
    let mut kept = core::mem::take(&mut b.driver.tokens);
    let stale = kept.remove(0);
    b.streamoff().unwrap();
    assert_eq!(finished.push(stale, done()), Err(Invalid::Stale.into()));
    b.finish();
}

#[test]
fn dropped_completions_return_as_errors() {
    let mut b = streaming(QueueType::Capture, 2);
    let mut finished = Completions::new(32).unwrap();
    finished.push(b.driver.tokens.remove(0), done()).unwrap();
    drop(finished);
    assert!(b.dqbuf().unwrap().error);
    let wait = b.queue.wait().unwrap();
    assert!(!wait.is_over(), "nothing is pending any more");
    drop(wait);
    b.finish();
}

#[test]
fn planes_have_devices_and_a_direction_of_their_own() {
    for memory in [Memory::Mmap, Memory::UserPtr] {
        let mut b = Bench::with(QueueType::Output, |c| {
            c.alloc_devs[0] = Some(20);
            c.alloc_devs[2] = Some(30);
            c.bidirectional = true;
        });
        b.driver.sizes = super::std::vec![4096, 4096, 4096];
        b.reqbufs(memory, 1).unwrap();
        if memory == Memory::UserPtr {
            let mut request = crate::QueueBuffer::new(0, memory);
            for addr in [0x1000, 0x2000, 0x3000] {
                let plane = crate::PlaneRequest {
                    length_bytes: 4096,
                    source: crate::PlaneSource::UserPtr { user: 0, addr },
                    ..crate::PlaneRequest::mmap(4096)
                };
                request.push_plane(plane).ok().unwrap();
            }
            b.qbuf_as(request).unwrap();
        }
        let planes: Vec<_> = (b.mem.get().planes.values())
            .map(|record| (record.dev, record.direction))
            .collect();
        let both = vb3_plane::Direction::Bidirectional;
        assert_eq!(planes, [20, 7, 30].map(|dev| (dev, both)), "{memory:?}");
        b.finish();
    }
}

/// A device in another thread completes 2,000 frames for a program that sleeps in DQBUF. No wake-up is lost, and the
/// frames arrive in order.
#[test]
fn second_thread_completes_queued_buffers() {
    struct Line {
        finished: Mutex<Completions<u64>>,
        wake: Condvar,
    }
    const FRAMES: u32 = 2_000;
    let mut b = streaming(QueueType::Capture, 4);
    let line = Arc::new(Line {
        finished: Mutex::new(Completions::new(32).unwrap()),
        wake: Condvar::new(),
    });
    let (give, take) = super::std::sync::mpsc::channel::<Active<u64>>();
    let device = {
        let line = Arc::clone(&line);
        thread::spawn(move || {
            for (sequence, token) in (0..).zip(take) {
                let completion = Completion::done(sequence);
                let mut finished = line.finished.lock().unwrap();
                finished.push(token, completion).unwrap();
                line.wake.notify_all();
            }
        })
    };
    let mut seen = 0;
    while seen < FRAMES {
        for token in b.driver.tokens.drain(..) {
            give.send(token).unwrap();
        }
        b.session().collect(|| line.finished.lock().unwrap().pop());
        let next = b.session().dqbuf();
        match next {
            Ok(info) => {
                assert_eq!(info.sequence, seen);
                seen += 1;
                b.session().qbuf(mmap_buffer(info.index, 1)).unwrap();
            }
            Err(Error::WouldBlock) => {
                let wait = b.queue.wait().unwrap();
                let mut guard = line.finished.lock().unwrap();
                while !wait.is_over() {
                    guard = line.wake.wait(guard).unwrap();
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
    drop(give);
    device.join().unwrap();
    assert!(b.queue.statistics().done >= u64::from(FRAMES));
    assert_eq!(b.queue.statistics().errors, 0);
    b.finish();
}

#[test]
fn a_capture_device_says_where_its_data_begin() {
    let offset = |info: crate::BufferInfo| {
        let plane = info.planes[0].unwrap();
        (plane.data_offset, plane.payload_bytes)
    };
    let mut b = Bench::new(QueueType::Capture);
    b.driver.capture_payload = Some(1000);
    b.driver.capture_offset = Some(64);
    b.reqbufs(Memory::Mmap, 2).unwrap();
    for index in 0..2 {
        b.qbuf(index).unwrap();
    }
    b.streamon().unwrap();
    let tokens = core::mem::take(&mut b.driver.tokens);
    assert_eq!(tokens[0].plane(0).unwrap().unwrap().data_offset, 64);
    let kept = Completion::done(0);
    let given = Completion {
        payloads: Some([500; 8]),
        data_offsets: Some([600; 8]),
        ..kept
    };
    for (token, completion) in tokens.into_iter().zip([kept, given]) {
        b.session().complete(token, completion).unwrap();
    }
    assert_eq!(offset(b.dqbuf().unwrap()), (64, 1000), "as prepared");
    assert_eq!(offset(b.dqbuf().unwrap()), (500, 500), "cut to the payload");
    b.finish();
}

#[test]
fn an_output_buffer_keeps_the_programs_data_offset() {
    let mut b = Bench::new(QueueType::Output);
    b.reqbufs(Memory::Mmap, 2).unwrap();
    let mut request = crate::QueueBuffer::new(0, Memory::Mmap);
    let plane = crate::PlaneRequest {
        data_offset: 16,
        ..crate::PlaneRequest::mmap(1000)
    };
    request.push_plane(plane).ok().unwrap();
    b.qbuf_as(request).unwrap();
    b.streamon().unwrap();
    let token = b.driver.tokens.remove(0);
    let completion = Completion {
        data_offsets: Some([64; 8]),
        ..done()
    };
    b.session().complete(token, completion).unwrap();
    assert_eq!(b.dqbuf().unwrap().planes[0].unwrap().data_offset, 16);
    b.finish();
}
