//! Tests what a token allows, and when it is stale.

use super::check::mmap_buffer;
use super::fake::done;
use super::std::thread;
use super::{BOTH, Bench};
use crate::active::Ownership;
use crate::{Active, BufferState, Invalid, MemOps as _, Memory, QueueType, Statistics};

fn streaming(queue_type: QueueType) -> Bench {
    let mut b = Bench::new(queue_type);
    b.reqbufs(Memory::Mmap, 3).unwrap();
    for index in 0..3 {
        b.qbuf(index).unwrap();
    }
    b.streamon().unwrap();
    b
}

#[test]
fn a_token_shows_its_planes() {
    let mut b = Bench::new(QueueType::Output);
    b.driver.sizes = super::std::vec![4096, 2048];
    b.reqbufs(Memory::Mmap, 2).unwrap();
    let mut request = mmap_buffer(1, 0);
    for (payload_bytes, data_offset) in [(4000, 16), (0, 0)] {
        let plane = crate::PlaneRequest {
            data_offset,
            ..crate::PlaneRequest::mmap(payload_bytes)
        };
        request.push_plane(plane).ok().unwrap();
    }
    request.field = 3;
    b.qbuf_as(request).unwrap();
    b.streamon().unwrap();
    let token = &b.driver.tokens[0];
    assert_eq!((token.index(), token.field()), (1, 3));
    let shown: super::std::vec::Vec<_> = token
        .planes()
        .unwrap()
        .map(|p| (p.length_bytes, p.payload_bytes, p.data_offset))
        .collect();
    assert_eq!(shown, [(4096, 4000, 16), (2048, 2048, 0)]);
    let cookie = token.plane(1).unwrap().unwrap().cookie;
    assert!(b.mem.get().planes.contains_key(&cookie));
    assert_eq!(token.plane(2), Ok(None));
    b.finish();
}

#[test]
fn a_dropped_token_returns_its_buffer_as_an_error() {
    for queue_type in BOTH {
        let mut b = streaming(queue_type);
        b.frame();
        assert_eq!(b.dqbuf().unwrap().index, 0);
        b.driver.capture_payload = (queue_type == QueueType::Capture).then_some(7);
        let mut request = b.request(0);
        request.field = 3;
        b.qbuf_as(request).unwrap();
        let _ = b.take_wake();
        assert!(!b.take_wake(), "nothing has happened since");
        drop(b.driver.tokens.pop());
        assert!(b.take_wake(), "waiters are notified");
        let info = b.dqbuf().unwrap();
        assert_eq!((info.index, info.error, info.field), (0, true, 3));
        let plane = info.planes[0].unwrap();
        let left = match queue_type {
            QueueType::Capture => 0,
            QueueType::Output => plane.length_bytes,
        };
        assert_eq!(plane.payload_bytes, left, "only a program's data stays");
        let expected = Statistics {
            queued: 4,
            done: 1,
            errors: 1,
            dropped_tokens: 1,
            ..Statistics::default()
        };
        assert_eq!(b.queue.statistics(), expected);
        b.qbuf(0).unwrap();
        b.finish();
    }
}

#[test]
fn withdrawn_memory_returns_its_buffer_as_an_error() {
    for queue_type in BOTH {
        let mut b = streaming(queue_type);
        let lost = b.driver.tokens[1].plane(0).unwrap().unwrap().cookie;
        b.session()
            .withdraw(|mem, plane| mem.cookie(plane) == Some(lost));
        let stale: super::std::vec::Vec<bool> =
            b.driver.tokens.iter().map(Active::is_stale).collect();
        assert_eq!(stale, [false, true, false]);
        let info = b.dqbuf().unwrap();
        assert_eq!((info.index, info.error), (1, true));
        assert!(b.dqbuf().is_err(), "the others are with the device");
        b.finish();
    }
}

#[test]
fn tokens_dropped_before_the_end_are_counted() {
    for queue_type in BOTH {
        for releases in [false, true] {
            let mut b = streaming(queue_type);
            drop(b.driver.tokens.remove(1));
            match releases {
                false => b.streamoff().unwrap(),
                true => b.session().release(),
            }
            let statistics = b.queue.statistics();
            assert_eq!((statistics.dropped_tokens, statistics.errors), (1, 1));
            b.finish();
        }
    }
}

#[test]
fn a_driver_may_drop_tokens_at_once() {
    for queue_type in BOTH {
        let mut b = Bench::new(queue_type);
        b.driver.drops_tokens = true;
        b.reqbufs(Memory::Mmap, 4).unwrap();
        for index in 0..4 {
            b.qbuf(index).unwrap();
        }
        b.streamon().unwrap();
        for _ in 0..4 {
            assert!(b.dqbuf().unwrap().error);
        }
        assert_eq!(b.dqbuf().unwrap_err().errno(), 11);
        assert_eq!(b.queue.statistics().dropped_tokens, 4);
        b.finish();
    }
}

#[test]
fn streamoff_reqbufs_and_release_make_tokens_stale() {
    let ends: [fn(&mut Bench); 3] = [
        |b| b.streamoff().unwrap(),
        |b| {
            b.streamoff().unwrap();
            b.reqbufs(Memory::Mmap, 3).unwrap();
        },
        |b| b.session().release(),
    ];
    for queue_type in BOTH {
        for end in ends {
            let mut b = streaming(queue_type);
            b.driver.keeps_tokens = true;
            end(&mut b);
            b.driver.keeps_tokens = false;
            let mut kept = core::mem::take(&mut b.driver.tokens);
            assert_eq!(kept.len(), 3);
            for token in &kept {
                assert!(token.is_stale());
                assert_eq!(token.planes().err(), Some(Invalid::Stale.into()));
                assert_eq!(token.plane(0), Err(Invalid::Stale.into()));
            }
            let token = kept.remove(0);
            assert_eq!(
                b.session().complete(token, done()),
                Err(Invalid::Stale.into())
            );
            drop(kept);
            assert!(b.queue.done.is_empty(), "stale tokens return nothing");
            assert_eq!(b.queue.statistics().stale_tokens, 1);
            assert_eq!(b.queue.statistics().dropped_tokens, 0);
            b.finish();
        }
    }
}

#[test]
fn a_stale_token_cannot_touch_the_buffers_next_use() {
    for queue_type in BOTH {
        let mut b = streaming(queue_type);
        b.driver.keeps_tokens = true;
        b.streamoff().unwrap();
        let old = core::mem::take(&mut b.driver.tokens);
        b.driver.keeps_tokens = false;
        for index in 0..3 {
            b.qbuf(index).unwrap();
        }
        b.streamon().unwrap();
        for token in old {
            assert_eq!(
                b.session().complete(token, done()),
                Err(Invalid::Stale.into())
            );
        }
        for index in 0..3 {
            assert_eq!(b.query(index).unwrap().state, BufferState::Active);
        }
        b.finish();
    }
}

#[test]
fn every_end_of_ownership_raises_the_epoch() {
    let mut b = streaming(QueueType::Capture);
    let mut epochs = super::std::vec![b.driver.tokens[0].epoch];
    b.streamoff().unwrap();
    epochs.push(b.queue.ownership.epoch());
    b.reqbufs(Memory::Mmap, 2).unwrap();
    epochs.push(b.queue.ownership.epoch());
    b.driver.fail.insert("start_streaming", 5);
    b.streamon().unwrap_err();
    epochs.push(b.queue.ownership.epoch());
    b.session().release();
    epochs.push(b.queue.ownership.epoch());
    assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
    b.finish();
}

/// One thread drops a token while another takes its buffer back and queues it again. The index must be listed
/// once.
#[test]
fn repeatedly_dropped_index_is_listed_once() {
    let ownership = Ownership::new(4).unwrap();
    let token = |index, generation| {
        ownership.grant(index, generation);
        Active::<u64> {
            ownership: ownership.clone(),
            epoch: ownership.epoch(),
            planes: Default::default(),
            index,
            generation,
            timestamp_ns: 0,
            field: 0,
            timecode: None,
            frame_flags: 0,
            request: None,
            armed: true,
        }
    };
    for (generation, index) in [(1, 0), (2, 1), (3, 0), (4, 3), (5, 0)] {
        drop(token(index, generation));
    }
    let mut listed = super::std::vec::Vec::new();
    let mut next = ownership.take_dropped();
    while let Some(index) = next {
        listed.push(index);
        assert!(listed.len() <= 4, "a list without end");
        next = ownership.unlist(index);
    }
    assert_eq!(listed, [3, 1, 0]);
    assert!(ownership.was_dropped(0, 5) && !ownership.was_dropped(0, 3));
    assert_eq!(ownership.take_dropped(), None);
}

#[test]
fn token_of_another_queue_goes_back_as_dropped() {
    let mut a = streaming(QueueType::Capture);
    let mut b = streaming(QueueType::Capture);
    let token = a.driver.tokens.remove(0);
    assert_eq!(
        b.session().complete(token, done()),
        Err(Invalid::Stale.into())
    );
    assert_eq!(b.queue.statistics().stale_tokens, 1);
    assert!(a.dqbuf().unwrap().error);
    a.finish();
    b.finish();
}

#[test]
fn a_token_outlives_its_queue_harmlessly() {
    let mut b = streaming(QueueType::Capture);
    b.driver.keeps_tokens = true;
    b.session().release();
    let token = b.driver.tokens.remove(0);
    drop(b);
    assert!(token.is_stale());
}

#[test]
fn dropped_queue_makes_tokens_stale() {
    let mut b = streaming(QueueType::Capture);
    let token = b.driver.tokens.remove(0);
    drop(b);
    assert_eq!(token.plane(0), Err(Invalid::Stale.into()));
}

#[test]
fn tokens_may_be_dropped_by_other_threads() {
    fn sendable<T: Send + Sync>(_: &T) {}
    let mut b = Bench::with(QueueType::Capture, |c| c.max_num_buffers = 64);
    b.reqbufs(Memory::Mmap, 64).unwrap();
    for index in 0..64 {
        b.qbuf(index).unwrap();
    }
    b.streamon().unwrap();
    for _ in 0..50 {
        let mut tokens = core::mem::take(&mut b.driver.tokens);
        assert_eq!(tokens.len(), 64);
        sendable::<Active<u64>>(&tokens[0]);
        let half = tokens.split_off(32);
        let mut seen = 0;
        thread::scope(|s| {
            s.spawn(|| drop(tokens));
            s.spawn(|| drop(half));
            // Dequeues while the other threads drop tokens.
            while seen < 64 {
                match b.session().dqbuf() {
                    Ok(info) => {
                        assert!(info.error);
                        seen += 1;
                    }
                    Err(e) => {
                        assert_eq!(e.errno(), 11);
                        thread::yield_now();
                    }
                }
            }
        });
        b.check();
        for index in 0..64 {
            b.qbuf(index).unwrap();
        }
    }
    assert_eq!(b.queue.statistics().dropped_tokens, 50 * 64);
    b.finish();
}
