//! Tests PREPARE_BUF, QBUF, DQBUF, with every memory model.

use super::*;

#[test]
fn prepare_buf() {
    run(&[
        ("P1", both(EINVAL), |b| {
            ready(b);
            let mut request = b.request(0);
            request.with_request = true;
            seen(b.prepare_as(request))
        }),
        ("P3", both(EINVAL), |b| {
            ready(b);
            seen(b.prepare(4))
        }),
        ("P4", both(0), |b| {
            ready(b);
            let info = b.prepare(0).unwrap();
            assert!(info.prepared && info.state == BufferState::Dequeued);
            0
        }),
        ("P5", both(EINVAL), |b| {
            ready(b);
            b.prepare(0).unwrap();
            seen(b.prepare(0))
        }),
        ("P+ queued", both(EINVAL), |b| {
            ready(b);
            b.qbuf(0).unwrap();
            seen(b.prepare(0))
        }),
        ("P+ then queued", both(0), |b| {
            ready(b);
            b.prepare(0).unwrap();
            b.qbuf(0).unwrap();
            assert_eq!(b.driver.called("buf_prepare"), 1);
            assert_eq!(b.mem.called("prepare"), 1);
            0
        }),
        ("P+ wrong memory", both(EINVAL), |b| {
            ready(b);
            let request = b.dmabuf(0, None, 0, 0);
            seen(b.prepare_as(request))
        }),
        ("P6", both(0), |b| {
            ready(b);
            b.prepare(0).unwrap();
            seen(b.remove(0, 1))
        }),
        ("P7", both(EINVAL), |b| {
            ready(b);
            b.remove(1, 1).unwrap();
            seen(b.query(1))
        }),
        ("P8", both(1), |b| {
            ready(b);
            b.remove(1, 1).unwrap();
            let made = count(create(b, Memory::Mmap, 1, &[SIZE]));
            b.query(1).unwrap();
            made
        }),
        ("Z3", both(EIO), |b| {
            streaming(b);
            b.queue.set_error();
            seen(b.prepare(3))
        }),
    ]);
}

#[test]
fn qbuf() {
    run(&[
        ("B2", both(EINVAL), |b| {
            ready(b);
            let request = b.dmabuf(0, None, 0, 0);
            seen(b.qbuf_as(request))
        }),
        ("B3", both(EINVAL), |b| {
            ready(b);
            seen(b.qbuf(4))
        }),
        ("B4", both(0), |b| {
            ready(b);
            let info = b.qbuf(0).unwrap();
            assert!(info.state == BufferState::Queued && !info.prepared);
            0
        }),
        ("B5", both(EINVAL), |b| {
            ready(b);
            b.qbuf(0).unwrap();
            seen(b.qbuf(0))
        }),
        ("B5+ active", both(EINVAL), |b| {
            streaming(b);
            seen(b.qbuf(0))
        }),
        ("B5+ done", both(EINVAL), |b| {
            streaming(b);
            b.frame();
            seen(b.qbuf(0))
        }),
        ("B9", (0, EINVAL), |b| {
            ready(b);
            let mut request = mmap_buffer(0, 0);
            request
                .push_plane(PlaneRequest::mmap(118_785))
                .ok()
                .unwrap();
            seen(b.qbuf_as(request))
        }),
        ("B9+ one byte", (0, EINVAL), |b| {
            ready(b);
            let mut request = mmap_buffer(0, 0);
            request
                .push_plane(PlaneRequest::mmap(SIZE + 1))
                .ok()
                .unwrap();
            seen(b.qbuf_as(request))
        }),
        ("B11", (0, 115_200), |b| {
            ready(b);
            let info = b.qbuf(0).unwrap();
            i32::try_from(info.planes[0].unwrap().payload_bytes).unwrap()
        }),
        ("B+ data_offset", (0, EINVAL), |b| {
            ready(b);
            let mut request = mmap_buffer(0, 0);
            let plane = PlaneRequest {
                data_offset: 64,
                ..PlaneRequest::mmap(64)
            };
            request.push_plane(plane).ok().unwrap();
            seen(b.qbuf_as(request))
        }),
        ("B+ field ALTERNATE", (0, EINVAL), |b| {
            ready(b);
            let mut request = b.request(0);
            request.field = 7;
            seen(b.qbuf_as(request))
        }),
        ("B+ a source of another kind", both(EINVAL), |b| {
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
        ("RQ2n", both(EBADR), |b| {
            ready(b);
            let mut request = b.request(0);
            request.with_request = true;
            seen(b.qbuf_as(request))
        }),
        ("X8", both(EINVAL), |b| {
            ready(b);
            b.remove(1, 1).unwrap();
            seen(b.qbuf(1))
        }),
        ("Z1", both(EIO), |b| {
            streaming(b);
            b.queue.set_error();
            seen(b.qbuf(3))
        }),
        ("Z7", both(0), |b| {
            streaming(b);
            b.queue.set_error();
            b.streamoff().unwrap();
            seen(b.qbuf(3))
        }),
        ("I5", both(EINVAL), |b| {
            ready(b);
            b.driver.fail.insert("buf_prepare", 22);
            seen(b.qbuf(0))
        }),
        ("I6", both(0), |b| {
            ready(b);
            b.driver.fail.insert("buf_prepare", 22);
            assert_eq!(seen(b.qbuf(0)), EINVAL);
            seen(b.qbuf(0))
        }),
        ("B+ cache fault", both(ENOMEM), |b| {
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
        ("D1", both(EINVAL), |b| {
            ready(b);
            seen(b.dqbuf())
        }),
        ("D3", both(EINVAL), |b| seen(b.dqbuf())),
        ("D4", both(EAGAIN), |b| {
            ready(b);
            b.streamon().unwrap();
            seen(b.dqbuf())
        }),
        ("D7", both(EBUSY), |b| {
            streaming(b);
            b.begin_wait().unwrap();
            seen(b.dqbuf())
        }),
        ("D7+ a second sleeper", both(EBUSY), |b| {
            streaming(b);
            b.begin_wait().unwrap();
            seen(b.begin_wait())
        }),
        ("D7+ woken", both(0), |b| {
            streaming(b);
            b.begin_wait().unwrap();
            let _ = b.take_wake();
            assert!(!b.take_wake());
            b.frame();
            assert!(b.take_wake());
            b.end_wait();
            seen(b.dqbuf())
        }),
        ("D12", both(EIO), |b| {
            streaming(b);
            b.begin_wait().unwrap();
            b.queue.set_error();
            assert!(b.take_wake());
            b.end_wait();
            seen(b.dqbuf())
        }),
        ("Z2", both(EIO), |b| {
            streaming(b);
            b.frame();
            b.queue.set_error();
            seen(b.dqbuf())
        }),
        ("D+ done", both(0), |b| {
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
        ("D+ in order", both(0), |b| {
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
        ("D+ last", (EPIPE, 1), |b| {
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
        ("D+ last cleared by the driver", both(0), |b| {
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
        ("U1", both(EINVAL), |b| queue_at(b, 0x1000, SIZE - 1)),
        ("U2", both(EFAULT), |b| queue_at(b, 0, SIZE)),
        ("U3", both(EFAULT), |b| {
            b.mem.get().bad_address = Some(0x5000);
            queue_at(b, 0x5000, SIZE)
        }),
        ("U6", both(0), |b| queue_at(b, 0x1001, SIZE)),
        ("U+ longer", both(0), |b| queue_at(b, 0x1000, SIZE + 5)),
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
        ("F1", both(EINVAL), |b| queue_object(b, None, SIZE, 0)),
        ("F3", both(EINVAL), |b| queue_object(b, Some(4096), 0, 0)),
        ("F4", both(EFAULT), |b| queue_object(b, Some(4096), SIZE, 0)),
        ("F5", both(EINVAL), |b| {
            queue_object(b, Some(SIZE), SIZE - 1, 0)
        }),
        ("F6", both(EFAULT), |b| {
            queue_object(b, Some(SIZE), SIZE + 1, 0)
        }),
        ("F7", both(0), |b| queue_object(b, Some(SIZE), 0, 0)),
        ("F+ cannot be mapped", both(ENOMEM), |b| {
            b.mem.get().fail_in = Some(1);
            b.reqbufs(Memory::DmaBuf, 2).unwrap();
            queue_object(b, Some(SIZE), 0, 0)
        }),
        ("OD1", both(0), |b| queue_object(b, Some(SIZE), SIZE, SIZE)),
    ]);
}
