//! Defects of stock kernels that this queue must not have.

use super::calls::{EBUSY, EFAULT, EINVAL, seen};
use super::check::mmap_buffer;
use super::fake::{FakeMem, SIZE, done};
use super::std::vec;
use super::{BOTH, Bench};
use crate::{
    BufferState, Busy, Coherency, Completion, Error, HintSkip, Memory, PlaneRequest, PlaneSource,
    QueueBuffer, QueueType,
};

/// Makes three planes in three dma-bufs; those of `small` are too small for their lengths.
fn three(b: &mut Bench, index: u32, small: &[usize]) -> QueueBuffer<FakeMem> {
    let mut request = QueueBuffer::new(index, Memory::DmaBuf);
    for plane in 0..3 {
        let bytes = if small.contains(&plane) { 4096 } else { SIZE };
        let object = b.mem.get().new_object(bytes);
        let source = PlaneSource::DmaBuf {
            buf: Some(b.mem.get().reference(object)),
            fd: 9,
        };
        let plane = PlaneRequest {
            payload_bytes: 0,
            length_bytes: SIZE,
            data_offset: 0,
            source,
        };
        request.push_plane(plane).ok().unwrap();
    }
    request
}

#[test]
fn defect_01_a_failing_plane_leaks_no_dmabuf() {
    for queue_type in BOTH {
        for small in [&[0][..], &[1], &[2], &[0, 1, 2]] {
            let mut b = Bench::new(queue_type);
            b.driver.sizes = vec![SIZE; 3];
            b.reqbufs(Memory::DmaBuf, 2).unwrap();
            for _ in 0..10 {
                let request = three(&mut b, 0, small);
                assert_eq!(seen(b.qbuf_as(request)), EFAULT);
                assert_eq!((b.mem.live_references(), b.mem.live_planes()), (0, 0));
            }
            let request = three(&mut b, 0, &[]);
            assert_eq!(seen(b.qbuf_as(request)), 0, "and the buffer can be used");
            b.finish();
        }
    }
}

#[test]
fn defect_01_no_refusal_keeps_a_reference() {
    // Attach or map fails at each of the planes.
    for nth in 0..6 {
        let mut b = Bench::new(QueueType::Capture);
        b.driver.sizes = vec![SIZE; 3];
        b.reqbufs(Memory::DmaBuf, 2).unwrap();
        let request = three(&mut b, 0, &[]);
        b.mem.get().fail_in = Some(nth);
        assert_eq!(seen(b.qbuf_as(request)), -12, "fault {nth}");
        assert_eq!((b.mem.live_references(), b.mem.live_planes()), (0, 0));
        b.finish();
    }
    // QBUF fails before any plane is attached.
    let mut b = Bench::new(QueueType::Output);
    b.driver.sizes = vec![SIZE; 3];
    b.reqbufs(Memory::DmaBuf, 2).unwrap();
    let bad: [fn(&mut QueueBuffer<FakeMem>); 6] = [
        |r| r.index = 99,
        |r| r.memory = Memory::Mmap,
        |r| r.with_request = true,
        |r| r.planes[1].as_mut().unwrap().length_bytes = 1,
        |r| r.planes[2].as_mut().unwrap().payload_bytes = SIZE + 1,
        |r| r.field = 7,
    ];
    for change in bad {
        let mut request = three(&mut b, 0, &[]);
        change(&mut request);
        b.qbuf_as(request).unwrap_err();
        let mut request = three(&mut b, 0, &[]);
        change(&mut request);
        b.prepare_as(request).unwrap_err();
        assert_eq!(b.mem.live_references(), 0);
    }
    // QBUF of a buffer that is already queued, and of one that is prepared.
    let request = three(&mut b, 0, &[]);
    b.prepare_as(request).unwrap();
    let request = three(&mut b, 0, &[]);
    b.qbuf_as(request).unwrap();
    let request = three(&mut b, 0, &[]);
    assert_eq!(seen(b.qbuf_as(request)), EINVAL);
    assert_eq!(b.mem.live_references(), 3, "those of the buffer");
    b.finish();
}

#[test]
fn defect_02_planes_in_one_dmabuf_are_each_checked() {
    for queue_type in BOTH {
        let mut b = Bench::new(queue_type);
        b.driver.sizes = vec![SIZE, SIZE];
        b.reqbufs(Memory::DmaBuf, 2).unwrap();
        let object = b.mem.get().new_object(SIZE * 2);
        for (second_length, expected) in [(SIZE * 4, EFAULT), (SIZE * 2, 0)] {
            let mut request = QueueBuffer::new(0, Memory::DmaBuf);
            for length_bytes in [SIZE, second_length] {
                let source = PlaneSource::DmaBuf {
                    buf: Some(b.mem.get().reference(object)),
                    fd: 5,
                };
                let plane = PlaneRequest {
                    payload_bytes: 0,
                    length_bytes,
                    data_offset: 0,
                    source,
                };
                request.push_plane(plane).ok().unwrap();
            }
            assert_eq!(seen(b.qbuf_as(request)), expected);
        }
        b.finish();
    }
}

#[test]
fn defect_02_longer_plane_of_same_dmabuf_is_checked() {
    for queue_type in BOTH {
        let mut b = Bench::new(queue_type);
        b.reqbufs(Memory::DmaBuf, 2).unwrap();
        let object = b.mem.get().new_object(SIZE * 2);
        for (length, expected) in [(SIZE, 0), (SIZE * 2 + 1, EFAULT), (SIZE * 2, 0)] {
            let request = b.dmabuf(0, Some(object), length, 0);
            assert_eq!(seen(b.qbuf_as(request)), expected, "{length}");
            b.streamoff().unwrap();
        }
        assert_eq!(
            b.query(0).unwrap().planes[0].unwrap().length_bytes,
            SIZE * 2
        );
        b.finish();
    }
}

#[test]
fn defect_16_a_failed_dqbuf_does_not_end_the_stream() {
    let mut b = Bench::new(QueueType::Capture);
    b.reqbufs(Memory::Mmap, 2).unwrap();
    assert_eq!(seen(b.dqbuf()), EINVAL, "flags.dqbuf.not-streaming");
    assert!(!b.queue.last_buffer_dequeued);
    b.qbuf(0).unwrap();
    b.qbuf(1).unwrap();
    b.streamon().unwrap();
    b.complete(Completion {
        last: true,
        ..done()
    })
    .unwrap();
    assert_eq!(
        seen(b.dqbuf_room(0)),
        EINVAL,
        "a failure with the last buffer in front"
    );
    assert!(!b.queue.last_buffer_dequeued);
    assert_eq!(seen(b.dqbuf()), 0, "flags.dqbuf.after");
    assert!(b.queue.last_buffer_dequeued);
    b.finish();
}

#[test]
fn defect_16_end_of_stream_stays_with_its_user() {
    let ends: [fn(&mut Bench); 2] = [|b| b.streamoff().unwrap(), |b| b.session().release()];
    for end in ends {
        let mut b = Bench::new(QueueType::Capture);
        b.reqbufs(Memory::Mmap, 2).unwrap();
        b.qbuf(0).unwrap();
        b.streamon().unwrap();
        b.complete(Completion {
            last: true,
            ..done()
        })
        .unwrap();
        b.dqbuf().unwrap();
        end(&mut b);
        b.reqbufs(Memory::Mmap, 2).unwrap();
        b.qbuf(0).unwrap();
        b.streamon().unwrap();
        b.frame();
        assert_eq!(seen(b.dqbuf()), 0, "V4, V5");
        b.finish();
    }
}

#[test]
fn defect_17_removing_a_prepared_buffer_finishes_it() {
    for queue_type in BOTH {
        let mut b = Bench::new(queue_type);
        b.reqbufs(Memory::Mmap, 2).unwrap();
        b.prepare(0).unwrap();
        b.remove(0, 1).unwrap();
        assert_eq!(b.driver.called("buf_finish"), 1);
        assert_eq!(b.mem.called("finish"), 1);
        b.finish();
    }
}

#[test]
fn defect_17_removing_all_buffers_frees_the_queue() {
    for queue_type in BOTH {
        let mut b = Bench::new(queue_type);
        b.reqbufs(Memory::Mmap, 2).unwrap();
        b.remove(0, 2).unwrap();
        assert!(!b.queue.is_busy(), "X10, X11");
        assert_eq!(b.queue.memory(), None);
        assert_eq!(b.reqbufs(Memory::DmaBuf, 2).unwrap(), 2);
        b.finish();
    }
}

#[test]
fn defect_18_early_failures_balance_init_and_cleanup() {
    for queue_type in BOTH {
        // Too short a length for a buffer that has memory.
        let mut b = Bench::new(queue_type);
        b.reqbufs(Memory::UserPtr, 2).unwrap();
        b.qbuf(0).unwrap();
        b.streamoff().unwrap();
        let mut request = b.request(0);
        request.planes[0].as_mut().unwrap().length_bytes = SIZE - 1;
        assert_eq!(seen(b.qbuf_as(request)), EINVAL);
        b.qbuf(0).unwrap();
        assert_eq!(
            (b.driver.called("buf_init"), b.driver.called("buf_cleanup")),
            (1, 0)
        );
        b.streamoff().unwrap();
        // A bad address: the old memory is released, after `buf_cleanup`.
        let mut request = b.request(0);
        request.planes[0].as_mut().unwrap().source = PlaneSource::UserPtr { user: 0, addr: 0 };
        assert_eq!(seen(b.qbuf_as(request)), EFAULT);
        assert_eq!(
            (b.driver.called("buf_init"), b.driver.called("buf_cleanup")),
            (1, 1)
        );
        b.qbuf(0).unwrap();
        assert_eq!(
            (b.driver.called("buf_init"), b.driver.called("buf_cleanup")),
            (2, 1)
        );
        b.finish();

        // A descriptor that names no dma-buf.
        let mut b = Bench::new(queue_type);
        b.reqbufs(Memory::DmaBuf, 2).unwrap();
        b.qbuf(0).unwrap();
        b.streamoff().unwrap();
        let request = b.dmabuf(0, None, 0, 0);
        assert_eq!(seen(b.qbuf_as(request)), EINVAL);
        assert_eq!(
            (b.driver.called("buf_init"), b.driver.called("buf_cleanup")),
            (1, 0)
        );
        // This time, buf_init itself fails.
        b.driver.fail.insert("buf_init", 12);
        assert_eq!(seen(b.qbuf(0)), -12);
        assert_eq!(
            (b.driver.called("buf_cleanup"), b.mem.live_planes()),
            (1, 0)
        );
        b.finish();
    }
}

#[test]
fn defect_20_a_hint_lasts_for_one_qbuf() {
    for queue_type in BOTH {
        let mut b = Bench::with(queue_type, |c| c.allow_cache_hints = true);
        b.reqbufs(Memory::Mmap, 2).unwrap();
        b.streamon().unwrap();
        for hints in [
            HintSkip::all(),
            HintSkip::empty(),
            HintSkip::PREPARE,
            HintSkip::FINISH,
        ] {
            let mut request = b.request(0);
            request.hints = hints;
            assert_eq!(b.qbuf_as(request).unwrap().hints, hints);
            b.frame();
            b.dqbuf().unwrap();
            let skips = core::mem::take(&mut b.mem.get().skips);
            assert_eq!(skips, [("prepare", hints), ("finish", hints)]);
        }
        // A QBUF without hints clears the hints that PREPARE_BUF stored for `finish`.
        let mut request = b.request(0);
        request.hints = HintSkip::all();
        b.prepare_as(request).unwrap();
        b.qbuf(0).unwrap();
        b.frame();
        let skips = core::mem::take(&mut b.mem.get().skips);
        assert_eq!(
            skips,
            [("prepare", HintSkip::all()), ("finish", HintSkip::PREPARE)]
        );
        b.finish();
    }
}

#[test]
fn defect_20_hints_count_only_where_they_are_allowed() {
    for (hints_allowed, memory) in [
        (false, Memory::Mmap),
        (true, Memory::UserPtr),
        (true, Memory::DmaBuf),
    ] {
        let mut b = Bench::with(QueueType::Capture, |c| c.allow_cache_hints = hints_allowed);
        b.reqbufs(memory, 2).unwrap();
        let mut request = b.request(0);
        request.hints = HintSkip::all();
        assert_eq!(b.qbuf_as(request).unwrap().hints, HintSkip::empty());
        b.streamoff().unwrap();
        assert!(b.mem.get().skips.iter().all(|(_, skip)| skip.is_empty()));
        b.finish();
    }
}

/// Covers rows OD1 to OD7 of the table measured on stock kernels (see `calls`).
#[test]
fn defect_n1_payload_is_checked_against_its_memory() {
    let mut b = Bench::new(QueueType::Output);
    b.reqbufs(Memory::DmaBuf, 2).unwrap();
    let good = b.mem.get().new_object(SIZE);
    let try_queue = |b: &mut Bench, index, object, length, payload| {
        let request = b.dmabuf(index, object, length, payload);
        let result = b.qbuf_as(request);
        b.streamoff().unwrap();
        result
    };
    assert_eq!(
        seen(try_queue(&mut b, 0, Some(good), 0, SIZE)),
        0,
        "payload.good"
    );
    assert_eq!(
        seen(try_queue(&mut b, 0, None, 0, SIZE)),
        EINVAL,
        "payload.then-no-fd"
    );
    assert_eq!(
        seen(try_queue(&mut b, 0, Some(good), 0, SIZE)),
        0,
        "payload.good-after-bad"
    );
    assert_eq!(
        seen(try_queue(&mut b, 0, Some(good), SIZE, SIZE)),
        0,
        "payload.good-with-length"
    );
    assert_eq!(
        seen(try_queue(&mut b, 0, Some(good), SIZE, 0)),
        0,
        "payload.none-with-length"
    );
    let large = b.mem.get().new_object(SIZE * 4);
    assert_eq!(
        seen(try_queue(&mut b, 1, Some(large), 0, SIZE * 4)),
        0,
        "payload.large"
    );
    assert_eq!(
        seen(try_queue(&mut b, 1, Some(good), 0, SIZE * 4)),
        EINVAL,
        "payload.beyond-a-smaller-one"
    );
    assert_eq!(seen(try_queue(&mut b, 1, Some(good), 0, SIZE)), 0);
    let info = try_queue(&mut b, 1, Some(large), 0, SIZE * 4);
    assert_eq!(
        info.unwrap().planes[0].unwrap().payload_bytes,
        SIZE * 4,
        "payload.large-after-small"
    );
    // The buffer lost its memory in a failed QBUF.
    let small = b.mem.get().new_object(4096);
    assert_eq!(seen(try_queue(&mut b, 1, Some(small), SIZE, SIZE)), EFAULT);
    assert_eq!(seen(try_queue(&mut b, 1, Some(large), 0, SIZE * 4)), 0);
    b.finish();
}

#[test]
fn defect_n3_length_zero_means_the_whole_dmabuf() {
    for planes in [1, 2] {
        let mut b = Bench::new(QueueType::Output);
        b.driver.sizes = vec![SIZE; planes];
        b.reqbufs(Memory::DmaBuf, 2).unwrap();
        for (payload_bytes, expected) in [(0, SIZE * 2), (SIZE, SIZE), (SIZE * 2, SIZE * 2)] {
            let mut request = QueueBuffer::new(0, Memory::DmaBuf);
            for _ in 0..planes {
                let object = b.mem.get().new_object(SIZE * 2);
                let source = PlaneSource::DmaBuf {
                    buf: Some(b.mem.get().reference(object)),
                    fd: 5,
                };
                let plane = PlaneRequest {
                    payload_bytes,
                    length_bytes: 0,
                    data_offset: 0,
                    source,
                };
                request.push_plane(plane).ok().unwrap();
            }
            let info = b.qbuf_as(request).unwrap();
            for plane in info.planes.iter().flatten() {
                assert_eq!(
                    (plane.length_bytes, plane.payload_bytes),
                    (SIZE * 2, expected)
                );
            }
            assert_eq!(
                b.driver.seen,
                (vec![SIZE * 2; planes], vec![expected; planes])
            );
            b.streamoff().unwrap();
        }
        b.finish();
    }
}

#[test]
fn defect_n3_zero_payload_stays_zero_if_allowed() {
    let mut b = Bench::with(QueueType::Output, |c| c.allow_zero_bytesused = true);
    b.reqbufs(Memory::Mmap, 2).unwrap();
    let info = b.qbuf_as(mmap_buffer(0, 1)).unwrap();
    assert_eq!(info.planes[0].unwrap().payload_bytes, 0);
    b.finish();
}

#[test]
fn a_prepared_buffer_keeps_its_flags() {
    let mut b = Bench::with(QueueType::Output, |_| {});
    b.reqbufs(Memory::Mmap, 2).unwrap();
    let mut wanted = b.request(0);
    wanted.frame_flags = 8;
    assert_eq!(b.prepare_as(wanted).unwrap().frame_flags, 8);
    assert_eq!(b.query(0).unwrap().frame_flags, 8);
    assert_eq!(b.qbuf(0).unwrap().frame_flags, 8, "QBUF has none");
    let mut wanted = b.request(1);
    wanted.frame_flags = 8;
    assert_eq!(b.qbuf_as(wanted).unwrap().frame_flags, 8);
    b.finish();
}

#[test]
fn defect_n7_new_memory_at_an_old_address_is_noticed() {
    for queue_type in BOTH {
        let mut b = Bench::new(queue_type);
        b.reqbufs(Memory::UserPtr, 2).unwrap();
        let round = |b: &mut Bench| {
            b.qbuf(0).unwrap();
            b.streamoff().unwrap();
            b.mem.called("get_userptr")
        };
        assert_eq!(round(&mut b), 1);
        assert_eq!(round(&mut b), 1, "the same memory is kept");
        b.mem.get().address_space += 1;
        assert_eq!(round(&mut b), 2, "same address and length, other pages");
        assert_eq!(
            (b.driver.called("buf_init"), b.driver.called("buf_cleanup")),
            (2, 1)
        );
        b.finish();
    }
}

#[test]
fn refused_preparation_releases_foreign_memory() {
    for queue_type in BOTH {
        for (memory, kept) in [(Memory::Mmap, 2), (Memory::UserPtr, 0), (Memory::DmaBuf, 0)] {
            let mut b = Bench::new(queue_type);
            b.reqbufs(memory, 2).unwrap();
            b.driver.fail.insert("buf_prepare", 22);
            assert_eq!(seen(b.qbuf(0)), EINVAL);
            assert_eq!(b.mem.get().planes.len(), kept, "{memory:?}");
            let ends = u64::from(memory != Memory::Mmap);
            assert_eq!(b.driver.called("buf_cleanup"), ends, "{memory:?}");
            b.qbuf(0).unwrap();
            b.finish();
        }
    }
}

#[test]
fn a_dmabuf_stays_mapped_while_it_comes_back() {
    for queue_type in BOTH {
        let mut b = Bench::new(queue_type);
        b.reqbufs(Memory::DmaBuf, 2).unwrap();
        b.streamon().unwrap();
        let object = b.mem.get().new_object(SIZE);
        for _ in 0..5 {
            let request = b.dmabuf(0, Some(object), 0, 0);
            b.qbuf_as(request).unwrap();
            b.frame();
            b.dqbuf().unwrap();
        }
        assert_eq!((b.mem.called("attach"), b.mem.called("map")), (1, 1));
        let request = b.dmabuf(0, Some(object), SIZE, 0);
        b.qbuf_as(request).unwrap();
        assert_eq!(
            b.mem.called("attach"),
            1,
            "length 0 means the whole dma-buf"
        );
        b.finish();
    }
}

#[test]
fn defect_n8_a_stream_keeps_its_memory_model() {
    for queue_type in BOTH {
        let mut b = Bench::new(queue_type);
        b.reqbufs(Memory::Mmap, 2).unwrap();
        b.streamon().unwrap();
        b.remove(0, 2).unwrap();
        assert_eq!(b.queue.memory(), Some(Memory::Mmap));
        let create = |b: &mut Bench, memory| {
            b.session()
                .create_bufs(memory, 2, Coherency::Coherent, &[SIZE])
        };
        let refused = create(&mut b, Memory::DmaBuf);
        let fixed = Busy::ModelFixed {
            wanted: Memory::DmaBuf,
            found: Memory::Mmap,
        };
        assert_eq!(refused, Err(Error::Busy(fixed)));
        assert_eq!(seen(refused), EBUSY);
        assert_eq!(create(&mut b, Memory::Mmap).unwrap().0.len(), 2);
        b.remove(0, 2).unwrap();
        b.streamoff().unwrap();
        assert_eq!(create(&mut b, Memory::DmaBuf).unwrap().0.len(), 2);
        assert_eq!(b.query(0).unwrap().state, BufferState::Dequeued);
        b.finish();
    }
}
