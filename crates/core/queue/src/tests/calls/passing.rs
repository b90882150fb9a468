//! Tests PREPARE_BUF, QBUF, DQBUF, with every memory model.

use super::*;

#[test]
fn prepare_buf() {
    run(&[
        ("prepare.request", LISTED, |b| {
            ready(b);
            let mut request = b.request(0);
            request.with_request = true;
            seen(b.prepare_as(request))
        }),
        ("prepare.bad-index", LISTED, |b| {
            ready(b);
            seen(b.prepare(4))
        }),
        ("prepare", LISTED, |b| {
            ready(b);
            let info = b.prepare(0).unwrap();
            assert!(info.prepared && info.state == BufferState::Dequeued);
            0
        }),
        ("prepare.again", LISTED, |b| {
            ready(b);
            b.prepare(0).unwrap();
            seen(b.prepare(0))
        }),
        ("prepare.queued", both(EINVAL), |b| {
            ready(b);
            b.qbuf(0).unwrap();
            seen(b.prepare(0))
        }),
        ("qbuf.prepared", LISTED, |b| {
            ready(b);
            b.prepare(0).unwrap();
            b.qbuf(0).unwrap();
            assert_eq!(b.driver.called("buf_prepare"), 1);
            assert_eq!(b.mem.called("prepare"), 1);
            0
        }),
        ("prepare.other-memory", both(EINVAL), |b| {
            ready(b);
            let request = b.dmabuf(0, None, 0, 0);
            seen(b.prepare_as(request))
        }),
        ("remove.prepared", LISTED, |b| {
            ready(b);
            b.prepare(0).unwrap();
            seen(b.remove(0, 1))
        }),
        ("querybuf.removed", LISTED, |b| {
            ready(b);
            b.remove(1, 1).unwrap();
            seen(b.query(1))
        }),
        ("create.fills-a-hole", LISTED, |b| {
            ready(b);
            b.remove(1, 1).unwrap();
            let made = count(create(b, Memory::Mmap, 1, &[SIZE]));
            b.query(1).unwrap();
            made
        }),
        ("error.prepare", LISTED, |b| {
            streaming(b);
            b.queue.set_error();
            seen(b.prepare(3))
        }),
    ]);
}

#[test]
fn qbuf() {
    run(&[
        ("qbuf.other-memory", LISTED, |b| {
            ready(b);
            let request = b.dmabuf(0, None, 0, 0);
            seen(b.qbuf_as(request))
        }),
        ("qbuf.bad-index", LISTED, |b| {
            ready(b);
            seen(b.qbuf(4))
        }),
        ("qbuf", LISTED, |b| {
            ready(b);
            let info = b.qbuf(0).unwrap();
            assert!(info.state == BufferState::Queued && !info.prepared);
            0
        }),
        ("qbuf.again", LISTED, |b| {
            ready(b);
            b.qbuf(0).unwrap();
            seen(b.qbuf(0))
        }),
        ("qbuf.active", both(EINVAL), |b| {
            streaming(b);
            seen(b.qbuf(0))
        }),
        ("qbuf.done", both(EINVAL), |b| {
            streaming(b);
            b.frame();
            seen(b.qbuf(0))
        }),
        ("qbuf.too-much", LISTED, |b| {
            ready(b);
            let mut request = mmap_buffer(0, 0);
            request
                .push_plane(PlaneRequest::mmap(118_785))
                .ok()
                .unwrap();
            seen(b.qbuf_as(request))
        }),
        ("qbuf.one-byte-too-much", (0, EINVAL), |b| {
            ready(b);
            let mut request = mmap_buffer(0, 0);
            request
                .push_plane(PlaneRequest::mmap(SIZE + 1))
                .ok()
                .unwrap();
            seen(b.qbuf_as(request))
        }),
        ("qbuf.means-all.bytes", (0, 115_200), |b| {
            ready(b);
            let info = b.qbuf(0).unwrap();
            i32::try_from(info.planes[0].unwrap().payload_bytes).unwrap()
        }),
        ("qbuf.data-offset", (0, EINVAL), |b| {
            ready(b);
            let mut request = mmap_buffer(0, 0);
            let plane = PlaneRequest {
                data_offset: 64,
                ..PlaneRequest::mmap(64)
            };
            request.push_plane(plane).ok().unwrap();
            seen(b.qbuf_as(request))
        }),
        ("qbuf.field-alternate", (0, EINVAL), |b| {
            ready(b);
            let mut request = b.request(0);
            request.field = 7;
            seen(b.qbuf_as(request))
        }),
        ("qbuf.other-source", both(EINVAL), |b| {
            ready(b);
            let mut request = QueueBuffer::new(0, Memory::Mmap);
            let source = PlaneSource::UserPtr {
                user: 0,
                addr: 4096,
            };
            let plane = PlaneRequest {
                payload_bytes: 0,
                length_bytes: SIZE,
                data_offset: 0,
                source,
            };
            request.push_plane(plane).ok().unwrap();
            seen(b.qbuf_as(request))
        }),
        ("qbuf.request-unsupported", LISTED, |b| {
            ready(b);
            let mut request = b.request(0);
            request.with_request = true;
            seen(b.qbuf_as(request))
        }),
        ("qbuf.removed", LISTED, |b| {
            ready(b);
            b.remove(1, 1).unwrap();
            seen(b.qbuf(1))
        }),
        ("error.qbuf", LISTED, |b| {
            streaming(b);
            b.queue.set_error();
            seen(b.qbuf(3))
        }),
        ("error.qbuf-after-streamoff", LISTED, |b| {
            streaming(b);
            b.queue.set_error();
            b.streamoff().unwrap();
            seen(b.qbuf(3))
        }),
        ("fault.prepare", LISTED, |b| {
            ready(b);
            b.driver.fail.insert("buf_prepare", 22);
            seen(b.qbuf(0))
        }),
        ("fault.prepare-again", LISTED, |b| {
            ready(b);
            b.driver.fail.insert("buf_prepare", 22);
            assert_eq!(seen(b.qbuf(0)), EINVAL);
            seen(b.qbuf(0))
        }),
        ("qbuf.cache-fault", both(ENOMEM), |b| {
            ready(b);
            b.mem.get().fail_in = Some(0);
            let result = seen(b.qbuf(0));
            assert_eq!(b.driver.called("buf_finish"), 1, "buf_prepare is undone");
            result
        }),
    ]);
}

#[test]
fn dqbuf() {
    run(&[
        ("dqbuf.not-streaming", LISTED, |b| {
            ready(b);
            seen(b.dqbuf())
        }),
        ("dqbuf.no-buffers", LISTED, |b| seen(b.dqbuf())),
        ("dqbuf.none-queued", LISTED, |b| {
            ready(b);
            b.streamon().unwrap();
            seen(b.dqbuf())
        }),
        ("sleeper.dqbuf", LISTED, |b| {
            streaming(b);
            b.begin_wait().unwrap();
            seen(b.dqbuf())
        }),
        ("sleeper.second", both(EBUSY), |b| {
            streaming(b);
            b.begin_wait().unwrap();
            seen(b.begin_wait())
        }),
        ("sleeper.woken", both(0), |b| {
            streaming(b);
            b.begin_wait().unwrap();
            let _ = b.take_wake();
            assert!(!b.take_wake());
            b.frame();
            assert!(b.take_wake());
            b.end_wait();
            seen(b.dqbuf())
        }),
        ("sleeper.queue-error", LISTED, |b| {
            streaming(b);
            b.begin_wait().unwrap();
            b.queue.set_error();
            assert!(b.take_wake());
            b.end_wait();
            seen(b.dqbuf())
        }),
        ("error.dqbuf", LISTED, |b| {
            streaming(b);
            b.frame();
            b.queue.set_error();
            seen(b.dqbuf())
        }),
        ("dqbuf.done", both(0), |b| {
            streaming(b);
            b.complete(Completion {
                sequence: 9,
                ..done()
            })
            .unwrap();
            let info = b.query(0).unwrap();
            assert!(info.state == BufferState::Done && !info.error);
            let info = b.dqbuf().unwrap();
            assert!(info.state == BufferState::Dequeued && !info.error);
            assert_eq!((info.sequence, info.timestamp_ns), (9, 1_000));
            assert_eq!(info.state, BufferState::Dequeued);
            0
        }),
        ("dqbuf.in-order", both(0), |b| {
            streaming(b);
            b.driver.tokens.rotate_left(1);
            for _ in 0..3 {
                b.frame();
            }
            for index in [1, 2, 0] {
                assert_eq!(b.dqbuf().unwrap().index, index);
            }
            0
        }),
        ("dqbuf.last", (EPIPE, 1), |b| {
            streaming(b);
            b.complete(Completion {
                last: true,
                ..done()
            })
            .unwrap();
            b.frame();
            assert!(b.dqbuf().unwrap().last);
            b.dqbuf()
                .map_or_else(|e| -e.errno(), |i| i32::try_from(i.index).unwrap())
        }),
        ("dqbuf.last-cleared", both(0), |b| {
            streaming(b);
            b.complete(Completion {
                last: true,
                ..done()
            })
            .unwrap();
            b.frame();
            b.dqbuf().unwrap();
            b.queue.clear_last_buffer();
            seen(b.dqbuf())
        }),
    ]);
}

#[test]
fn user_pointers() {
    fn queue_at(b: &mut Bench, addr: u64, length_bytes: u64) -> i32 {
        b.reqbufs(Memory::UserPtr, 2).unwrap();
        let mut request = QueueBuffer::new(0, Memory::UserPtr);
        let source = PlaneSource::UserPtr { user: 0, addr };
        let plane = PlaneRequest {
            payload_bytes: 0,
            length_bytes,
            data_offset: 0,
            source,
        };
        request.push_plane(plane).ok().unwrap();
        let result = seen(b.qbuf_as(request));
        assert!(result == 0 || b.query(0).unwrap().planes[0].unwrap().length_bytes == SIZE);
        result
    }
    run(&[
        ("userptr.qbuf.too-short", LISTED, |b| {
            queue_at(b, 0x1000, SIZE - 1)
        }),
        ("userptr.qbuf.null", LISTED, |b| queue_at(b, 0, SIZE)),
        ("userptr.qbuf.unmapped", LISTED, |b| {
            b.mem.get().bad_address = Some(0x5000);
            queue_at(b, 0x5000, SIZE)
        }),
        ("userptr.qbuf.odd-address", LISTED, |b| {
            queue_at(b, 0x1001, SIZE)
        }),
        ("userptr.qbuf.longer", both(0), |b| {
            queue_at(b, 0x1000, SIZE + 5)
        }),
    ]);
}

#[test]
fn dma_bufs() {
    fn queue_object(b: &mut Bench, bytes: Option<u64>, length: u64, payload: u64) -> i32 {
        if b.queue.memory().is_none() {
            b.reqbufs(Memory::DmaBuf, 2).unwrap();
        }
        let object = bytes.map(|bytes| b.mem.get().new_object(bytes));
        let request = b.dmabuf(0, object, length, payload);
        seen(b.qbuf_as(request))
    }
    run(&[
        ("import.no-fd", LISTED, |b| queue_object(b, None, SIZE, 0)),
        ("import.small", LISTED, |b| {
            queue_object(b, Some(4096), 0, 0)
        }),
        ("import.small-and-long", LISTED, |b| {
            queue_object(b, Some(4096), SIZE, 0)
        }),
        ("import.too-short", LISTED, |b| {
            queue_object(b, Some(SIZE), SIZE - 1, 0)
        }),
        ("import.longer-than-it-is", LISTED, |b| {
            queue_object(b, Some(SIZE), SIZE + 1, 0)
        }),
        ("import.of-a-heap", LISTED, |b| {
            queue_object(b, Some(SIZE), 0, 0)
        }),
        ("import.cannot-be-mapped", both(ENOMEM), |b| {
            b.mem.get().fail_in = Some(1);
            b.reqbufs(Memory::DmaBuf, 2).unwrap();
            queue_object(b, Some(SIZE), 0, 0)
        }),
        ("payload.good", LISTED, |b| {
            queue_object(b, Some(SIZE), SIZE, SIZE)
        }),
    ]);
}
