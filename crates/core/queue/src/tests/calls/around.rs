//! Tests several planes, mapping and exporting, poll, streaming, file I/O.

use super::*;

#[test]
fn several_planes() {
    fn two(b: &mut Bench) {
        b.driver.sizes = vec![SIZE, SIZE / 2];
        ready(b);
    }
    run(&[
        ("MP1", both(EINVAL), |b| {
            two(b);
            count(create(b, Memory::Mmap, 1, &[]))
        }),
        ("MP2", both(EINVAL), |b| {
            two(b);
            count(create(b, Memory::Mmap, 1, &[SIZE; 9]))
        }),
        ("MP3", both(EINVAL), |b| {
            two(b);
            count(create(b, Memory::Mmap, 1, &[SIZE]))
        }),
        ("MP5", both(1), |b| {
            two(b);
            count(create(b, Memory::Mmap, 1, &[SIZE, SIZE]))
        }),
        ("MP12", both(EINVAL), |b| {
            two(b);
            seen(b.prepare_as(mmap_buffer(0, 1)))
        }),
        ("MP+ QBUF", both(EINVAL), |b| {
            two(b);
            seen(b.qbuf_as(mmap_buffer(0, 1)))
        }),
        ("MP10", both(0), |b| {
            two(b);
            seen(b.qbuf_as(mmap_buffer(0, 8)))
        }),
        ("MP13", (0, EINVAL), |b| {
            two(b);
            let mut request = mmap_buffer(0, 1);
            request.push_plane(PlaneRequest::mmap(SIZE)).ok().unwrap();
            seen(b.qbuf_as(request))
        }),
        ("MP14", (0, EINVAL), |b| {
            two(b);
            let mut request = mmap_buffer(0, 1);
            let plane = PlaneRequest {
                data_offset: 10,
                ..PlaneRequest::mmap(10)
            };
            request.push_plane(plane).ok().unwrap();
            seen(b.qbuf_as(request))
        }),
        ("MP15", both(EINVAL), |b| {
            two(b);
            seen(b.session().expbuf(0, 2, ExportAccess::ReadOnly).map(|_| ()))
        }),
        ("MP16", both(0), |b| {
            two(b);
            let buf = b.session().expbuf(0, 1, ExportAccess::ReadWrite).unwrap();
            crate::MemOps::put_dmabuf(&b.mem, buf);
            0
        }),
        ("MP17", both(EINVAL), |b| {
            two(b);
            b.qbuf(0).unwrap();
            b.streamon().unwrap();
            b.frame();
            seen(b.dqbuf_room(1))
        }),
        ("MP19", both(0), |b| {
            two(b);
            b.qbuf(0).unwrap();
            b.streamon().unwrap();
            b.frame();
            assert_eq!(seen(b.dqbuf_room(1)), EINVAL);
            seen(b.dqbuf_room(2))
        }),
        ("MP21", both(EAGAIN), |b| {
            two(b);
            b.streamon().unwrap();
            seen(b.dqbuf_room(1))
        }),
    ]);
}

#[test]
fn expbuf_and_mmap() {
    const RW: MapAccess = MapAccess {
        shared: true,
        read: true,
        write: true,
    };
    fn export(b: &mut Bench, index: u32, plane: u32) -> i32 {
        match b.session().expbuf(index, plane, ExportAccess::ReadWrite) {
            Ok(buf) => {
                crate::MemOps::put_dmabuf(&b.mem, buf);
                0
            }
            Err(e) => -e.errno(),
        }
    }
    fn map(b: &mut Bench, cookie: u64, len: u64, access: MapAccess) -> i32 {
        seen(b.session().mmap(cookie, len, access))
    }
    run(&[
        ("E1", both(EINVAL), |b| {
            ready(b);
            export(b, 4, 0)
        }),
        ("E2", both(EINVAL), |b| {
            ready(b);
            export(b, 0, 1)
        }),
        ("E+", both(0), |b| {
            ready(b);
            export(b, 0, 0)
        }),
        ("E+ export fails", both(ENOMEM), |b| {
            ready(b);
            b.mem.get().fail_in = Some(0);
            export(b, 0, 0)
        }),
        ("E7", both(EINVAL), |b| export(b, 0, 0)),
        ("U7", both(EINVAL), |b| {
            b.reqbufs(Memory::UserPtr, 2).unwrap();
            export(b, 0, 0)
        }),
        ("F9", both(EINVAL), |b| {
            b.reqbufs(Memory::DmaBuf, 2).unwrap();
            export(b, 0, 0)
        }),
        ("M1", both(EINVAL), |b| {
            ready(b);
            map(
                b,
                0,
                SIZE,
                MapAccess {
                    shared: false,
                    ..RW
                },
            )
        }),
        ("M2", (0, EINVAL), |b| {
            ready(b);
            map(b, 0, SIZE, MapAccess { write: false, ..RW })
        }),
        ("M2+ write only", (EINVAL, 0), |b| {
            ready(b);
            map(b, 0, SIZE, MapAccess { read: false, ..RW })
        }),
        ("M4", both(EINVAL), |b| {
            ready(b);
            map(b, 4 << 15, SIZE, RW)
        }),
        ("M4+ far out", both(EINVAL), |b| {
            ready(b);
            map(b, u64::MAX, SIZE, RW)
        }),
        ("M5", both(EINVAL), |b| {
            ready(b);
            map(b, 1 << 12, SIZE, RW)
        }),
        ("M6", both(EINVAL), |b| {
            ready(b);
            map(b, 0, 118_785, RW)
        }),
        ("M6+ whole pages", both(0), |b| {
            ready(b);
            map(b, 0, 118_784, RW)
        }),
        ("M4+ inside a page", both(EINVAL), |b| {
            ready(b);
            map(b, 1, SIZE, RW)
        }),
        ("M7+ nothing", both(EINVAL), |b| {
            ready(b);
            map(b, 0, 0, RW)
        }),
        ("M7", both(0), |b| {
            ready(b);
            map(b, 0, 4096, RW)
        }),
        ("M8", both(EINVAL), |b| {
            ready(b);
            map(
                b,
                0,
                SIZE,
                MapAccess {
                    shared: true,
                    read: false,
                    write: false,
                },
            )
        }),
        ("M10", both(0), |b| {
            ready(b);
            map(b, 0, SIZE, RW);
            count(b.reqbufs(Memory::Mmap, 0))
        }),
        ("M12", both(EINVAL), |b| {
            ready(b);
            b.reqbufs(Memory::Mmap, 0).unwrap();
            map(b, 0, SIZE, RW)
        }),
        ("M24", both(EINVAL), |b| map(b, 0, SIZE, RW)),
        ("U8", both(EINVAL), |b| {
            b.reqbufs(Memory::UserPtr, 2).unwrap();
            map(b, 0, SIZE, RW)
        }),
        ("F10", both(EINVAL), |b| {
            b.reqbufs(Memory::DmaBuf, 2).unwrap();
            map(b, 0, SIZE, RW)
        }),
        ("MM2", both(0x4000_0000), |b| {
            let queue_type = b.queue.config().queue_type;
            *b = Bench::with(queue_type, |c| c.m2m_capture = true);
            ready(b);
            assert_eq!(map(b, 0, SIZE, RW), EINVAL, "the other queue's cookie");
            assert_eq!(map(b, 1 << 30, SIZE, RW), 0);
            match b.query(0).unwrap().planes[0].unwrap().location {
                PlaneLocation::Cookie(cookie) => i32::try_from(cookie).unwrap(),
                _ => 0,
            }
        }),
    ]);
}

#[test]
fn poll() {
    const ALL: Interest = Interest {
        readable: true,
        writable: true,
    };
    const NOTHING: i32 = 0;
    const READY: i32 = 1;
    const ERROR: i32 = 8;
    fn ask(b: &mut Bench, interest: Interest) -> i32 {
        match b.session().poll(interest) {
            Readiness::Nothing => NOTHING,
            Readiness::Ready => READY,
            Readiness::Error => ERROR,
        }
    }
    fn other(b: &Bench) -> Interest {
        let output = b.queue.config().queue_type == QueueType::Output;
        Interest {
            readable: output,
            writable: !output,
        }
    }
    run(&[
        ("L1", (ERROR, NOTHING), |b| {
            ready(b);
            b.streamon().unwrap();
            ask(b, ALL)
        }),
        ("L1+ queued", both(NOTHING), |b| {
            streaming(b);
            ask(b, ALL)
        }),
        ("L2", both(NOTHING), |b| {
            streaming(b);
            b.frame();
            let interest = other(b);
            ask(b, interest)
        }),
        ("L3", both(READY), |b| {
            streaming(b);
            b.frame();
            ask(b, ALL)
        }),
        ("L3+ a failed buffer", both(READY), |b| {
            streaming(b);
            b.driver.tokens.pop();
            ask(b, ALL)
        }),
        ("L4", both(ERROR), |b| {
            ready(b);
            ask(b, ALL)
        }),
        ("L5", (NOTHING, READY), |b| ask(b, ALL)),
        ("L6", both(EBUSY), |b| {
            ask(b, ALL);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("L7", both(NOTHING), |b| {
            let interest = other(b);
            ask(b, interest)
        }),
        ("L8", both(2), |b| {
            let interest = other(b);
            ask(b, interest);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("L5+ cannot start", both(ERROR), |b| {
            b.driver.fail.insert("queue_setup", 22);
            ask(b, ALL)
        }),
        ("MM3", both(ERROR), |b| {
            let queue_type = b.queue.config().queue_type;
            *b = Bench::with(queue_type, |c| c.io_modes = IoModes::MMAP);
            ask(b, ALL)
        }),
        ("Z4", both(ERROR), |b| {
            streaming(b);
            b.queue.set_error();
            ask(b, ALL)
        }),
        ("V3", both(READY), |b| {
            ready(b);
            assert_eq!(seen(b.dqbuf()), EINVAL);
            b.qbuf(0).unwrap();
            b.streamon().unwrap();
            b.frame();
            ask(b, ALL)
        }),
        ("L+ after the last buffer", (READY, NOTHING), |b| {
            streaming(b);
            b.complete(Completion {
                last: true,
                ..done()
            })
            .unwrap();
            b.dqbuf().unwrap();
            ask(b, ALL)
        }),
    ]);
}

#[test]
fn file_io_excludes_the_rest() {
    fn started(b: &mut Bench) {
        b.session().poll(Interest {
            readable: true,
            writable: true,
        });
        assert!(b.queue.fileio_active());
    }
    run(&[
        ("IO4", both(EBUSY), |b| {
            started(b);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("IO4b", both(EBUSY), |b| {
            started(b);
            count(b.reqbufs(Memory::Mmap, 0))
        }),
        ("IO5", both(0), |b| {
            started(b);
            seen(b.query(0))
        }),
        ("IO6", both(EBUSY), |b| {
            started(b);
            seen(b.qbuf(0))
        }),
        ("IO+ DQBUF", both(EBUSY), |b| {
            started(b);
            seen(b.dqbuf())
        }),
        ("IO8", both(EBUSY), |b| {
            started(b);
            seen(b.session().expbuf(0, 0, ExportAccess::ReadOnly).map(|_| ()))
        }),
        ("IO9", both(EBUSY), |b| {
            started(b);
            seen(b.streamon())
        }),
        ("IO10", both(EBUSY), |b| {
            started(b);
            seen(b.streamoff())
        }),
        ("IO11", both(EBUSY), |b| {
            started(b);
            count(create(b, Memory::Mmap, 1, &[SIZE]))
        }),
        ("IO12", both(EBUSY), |b| {
            started(b);
            seen(b.remove(0, 1))
        }),
        ("IO14", both(EBUSY), |b| {
            started(b);
            seen(b.prepare(0))
        }),
        ("IO15c", both(0), |b| {
            started(b);
            count(create(b, Memory::Mmap, 0, &[]))
        }),
        ("IO+ mmap", both(EBUSY), |b| {
            started(b);
            let access = MapAccess {
                shared: true,
                read: true,
                write: true,
            };
            seen(b.session().mmap(0, 4096, access))
        }),
    ]);
}

#[test]
fn streaming_calls() {
    run(&[
        ("S2", both(0), |b| seen(b.streamoff())),
        ("S4", both(0), |b| {
            ready(b);
            seen(b.streamon())
        }),
        ("S5", both(0), |b| {
            streaming(b);
            seen(b.streamon())
        }),
        ("S+ no buffers", both(EINVAL), |b| seen(b.streamon())),
        ("S11", both(0), |b| {
            streaming(b);
            b.begin_wait().unwrap();
            seen(b.streamoff())
        }),
        ("Z6", both(0), |b| {
            streaming(b);
            b.queue.set_error();
            let result = seen(b.streamoff());
            assert!(!b.queue.error);
            result
        }),
        ("I1", both(EINVAL), |b| {
            ready(b);
            b.qbuf(0).unwrap();
            b.driver.fail.insert("start_streaming", 22);
            seen(b.streamon())
        }),
        ("I2", both(EINVAL), |b| {
            ready(b);
            b.qbuf(0).unwrap();
            b.driver.fail.insert("start_streaming", 22);
            assert_eq!(seen(b.streamon()), EINVAL);
            seen(b.dqbuf())
        }),
        ("I3", both(0), |b| {
            ready(b);
            b.qbuf(0).unwrap();
            b.driver.fail.insert("start_streaming", 22);
            assert_eq!(seen(b.streamon()), EINVAL);
            let info = b.query(0).unwrap();
            assert_eq!(info.state, BufferState::Queued);
            0
        }),
        ("I4", both(0), |b| {
            ready(b);
            b.qbuf(0).unwrap();
            b.driver.fail.insert("start_streaming", 22);
            assert_eq!(seen(b.streamon()), EINVAL);
            seen(b.streamon())
        }),
        ("S+ prepare_streaming fails", both(ENXIO), |b| {
            ready(b);
            b.driver.fail.insert("prepare_streaming", 6);
            let result = seen(b.streamon());
            assert_eq!(b.driver.called("unprepare_streaming"), 0);
            result
        }),
    ]);
}
