//! Tests several planes, mapping and exporting, poll, streaming, file I/O.

use super::*;

#[test]
fn several_planes() {
    fn two(b: &mut Bench) {
        b.driver.sizes = vec![SIZE, SIZE / 2];
        ready(b);
    }
    run(&[
        ("planes.create.none", LISTED, |b| {
            two(b);
            count(create(b, Memory::Mmap, 1, &[]))
        }),
        ("planes.create.nine", LISTED, |b| {
            two(b);
            count(create(b, Memory::Mmap, 1, &[SIZE; 9]))
        }),
        ("planes.create.one", LISTED, |b| {
            two(b);
            count(create(b, Memory::Mmap, 1, &[SIZE]))
        }),
        ("planes.create.two", LISTED, |b| {
            two(b);
            count(create(b, Memory::Mmap, 1, &[SIZE, SIZE]))
        }),
        ("planes.prepare.one", LISTED, |b| {
            two(b);
            seen(b.prepare_as(mmap_buffer(0, 1)))
        }),
        ("planes.qbuf.one", both(EINVAL), |b| {
            two(b);
            seen(b.qbuf_as(mmap_buffer(0, 1)))
        }),
        ("planes.querybuf.eight", LISTED, |b| {
            two(b);
            seen(b.qbuf_as(mmap_buffer(0, 8)))
        }),
        ("planes.qbuf.too-much", LISTED, |b| {
            two(b);
            let mut request = mmap_buffer(0, 1);
            request.push_plane(PlaneRequest::mmap(SIZE)).ok().unwrap();
            seen(b.qbuf_as(request))
        }),
        ("planes.qbuf.all-offset", LISTED, |b| {
            two(b);
            let mut request = mmap_buffer(0, 1);
            let plane = PlaneRequest {
                data_offset: 10,
                ..PlaneRequest::mmap(10)
            };
            request.push_plane(plane).ok().unwrap();
            seen(b.qbuf_as(request))
        }),
        ("planes.expbuf.third", LISTED, |b| {
            two(b);
            seen(b.session().expbuf(0, 2).map(|_| ()))
        }),
        ("planes.expbuf.second", LISTED, |b| {
            two(b);
            let buf = b.session().expbuf(0, 1).unwrap();
            crate::MemOps::put_dmabuf(&b.mem, buf);
            0
        }),
        ("planes.dqbuf.one", LISTED, |b| {
            two(b);
            b.qbuf(0).unwrap();
            b.streamon().unwrap();
            b.frame();
            seen(b.dqbuf_room(1))
        }),
        ("planes.dqbuf.then-good", LISTED, |b| {
            two(b);
            b.qbuf(0).unwrap();
            b.streamon().unwrap();
            b.frame();
            assert_eq!(seen(b.dqbuf_room(1)), EINVAL);
            seen(b.dqbuf_room(2))
        }),
        ("planes.dqbuf.none-done", LISTED, |b| {
            two(b);
            b.streamon().unwrap();
            seen(b.dqbuf_room(1))
        }),
    ]);
}

#[test]
fn expbuf_and_mmap() {
    const RW: Option<Direction> = Some(Direction::Bidirectional);
    fn export(b: &mut Bench, index: u32, plane: u32) -> i32 {
        match b.session().expbuf(index, plane) {
            Ok(buf) => {
                crate::MemOps::put_dmabuf(&b.mem, buf);
                0
            }
            Err(e) => -e.errno(),
        }
    }
    fn map(b: &mut Bench, cookie: u64, len: u64, access: Option<Direction>) -> i32 {
        seen(b.session().mmap(cookie, len, access))
    }
    run(&[
        ("expbuf.bad-index", LISTED, |b| {
            ready(b);
            export(b, 4, 0)
        }),
        ("expbuf.bad-plane", LISTED, |b| {
            ready(b);
            export(b, 0, 1)
        }),
        ("expbuf", LISTED, |b| {
            ready(b);
            export(b, 0, 0)
        }),
        ("expbuf.fails", both(ENOMEM), |b| {
            ready(b);
            b.mem.get().fail_in = Some(0);
            export(b, 0, 0)
        }),
        ("expbuf.no-buffers", LISTED, |b| export(b, 0, 0)),
        ("userptr.expbuf", LISTED, |b| {
            b.reqbufs(Memory::UserPtr, 2).unwrap();
            export(b, 0, 0)
        }),
        ("import.expbuf", LISTED, |b| {
            b.reqbufs(Memory::DmaBuf, 2).unwrap();
            export(b, 0, 0)
        }),
        ("mmap.private", LISTED, |b| {
            ready(b);
            map(b, 0, SIZE, None)
        }),
        ("mmap.read", LISTED, |b| {
            ready(b);
            map(b, 0, SIZE, Some(Direction::FromDevice))
        }),
        ("mmap.write", LISTED, |b| {
            ready(b);
            map(b, 0, SIZE, Some(Direction::ToDevice))
        }),
        ("mmap.unknown-offset", LISTED, |b| {
            ready(b);
            map(b, 4 << 15, SIZE, RW)
        }),
        ("mmap.far-out", both(EINVAL), |b| {
            ready(b);
            map(b, u64::MAX, SIZE, RW)
        }),
        ("mmap.second-plane", LISTED, |b| {
            ready(b);
            map(b, 1 << 12, SIZE, RW)
        }),
        ("mmap.longer", LISTED, |b| {
            ready(b);
            map(b, 0, 118_785, RW)
        }),
        ("mmap.whole-pages", both(0), |b| {
            ready(b);
            map(b, 0, 118_784, RW)
        }),
        ("mmap.inside-a-page", both(EINVAL), |b| {
            ready(b);
            map(b, 1, SIZE, RW)
        }),
        ("mmap.no-length", both(EINVAL), |b| {
            ready(b);
            map(b, 0, 0, RW)
        }),
        ("mmap.shorter", LISTED, |b| {
            ready(b);
            map(b, 0, 4096, RW)
        }),
        ("mmap.none", LISTED, |b| {
            ready(b);
            map(b, 0, SIZE, None)
        }),
        ("orphan.reqbufs-0", LISTED, |b| {
            ready(b);
            map(b, 0, SIZE, RW);
            count(b.reqbufs(Memory::Mmap, 0))
        }),
        ("orphan.old-offset", LISTED, |b| {
            ready(b);
            b.reqbufs(Memory::Mmap, 0).unwrap();
            map(b, 0, SIZE, RW)
        }),
        ("mmap.no-buffers", LISTED, |b| map(b, 0, SIZE, RW)),
        ("userptr.mmap", LISTED, |b| {
            b.reqbufs(Memory::UserPtr, 2).unwrap();
            map(b, 0, SIZE, RW)
        }),
        ("import.mmap", LISTED, |b| {
            b.reqbufs(Memory::DmaBuf, 2).unwrap();
            map(b, 0, SIZE, RW)
        }),
        ("querybuf.offset-of-mem2mem", both(0x4000_0000), |b| {
            let queue_type = b.queue.config().queue_type;
            *b = Bench::with(queue_type, |c| c.m2m_capture = true);
            ready(b);
            assert_eq!(map(b, 0, SIZE, RW), EINVAL, "the other queue's cookie");
            assert_eq!(map(b, 1 << 30, SIZE, RW), 0);
            match b.query(0).unwrap().planes[0].unwrap().cookie {
                PlaneLocation::Cookie(cookie) => i32::try_from(cookie).unwrap(),
                _ => 0,
            }
        }),
    ]);
}

#[test]
fn poll() {
    const NOTHING: i32 = 0;
    const READY: i32 = 1;
    const ERROR: i32 = 8;
    fn ask(b: &mut Bench, is_asked: bool) -> i32 {
        match b.session().poll(is_asked) {
            Ok(false) => NOTHING,
            Ok(true) => READY,
            Err(_) => ERROR,
        }
    }
    run(&[
        ("readiness.none-queued", (ERROR, NOTHING), |b| {
            ready(b);
            b.streamon().unwrap();
            ask(b, true)
        }),
        ("readiness.queued", both(NOTHING), |b| {
            streaming(b);
            ask(b, true)
        }),
        ("readiness.other-events", both(NOTHING), |b| {
            streaming(b);
            b.frame();
            ask(b, false)
        }),
        ("readiness.done", both(READY), |b| {
            streaming(b);
            b.frame();
            ask(b, true)
        }),
        ("readiness.failed-buffer", both(READY), |b| {
            streaming(b);
            b.driver.tokens.pop();
            ask(b, true)
        }),
        ("readiness.not-streaming", both(ERROR), |b| {
            ready(b);
            ask(b, true)
        }),
        ("readiness.no-buffers", (NOTHING, READY), |b| ask(b, true)),
        ("reqbufs.after-poll", LISTED, |b| {
            ask(b, true);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("readiness.no-buffers.other-events", both(NOTHING), |b| {
            ask(b, false)
        }),
        ("reqbufs.after-poll-of-other-events", LISTED, |b| {
            ask(b, false);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("readiness.cannot-start", both(ERROR), |b| {
            b.driver.fail.insert("queue_setup", 22);
            ask(b, true)
        }),
        ("readiness.mem2mem", both(ERROR), |b| {
            let queue_type = b.queue.config().queue_type;
            *b = Bench::with(queue_type, |c| c.io_modes = IoModes::MMAP);
            ask(b, true)
        }),
        ("readiness.error", both(ERROR), |b| {
            streaming(b);
            b.queue.set_error();
            ask(b, true)
        }),
        ("readiness.flags", both(READY), |b| {
            ready(b);
            assert_eq!(seen(b.dqbuf()), EINVAL);
            b.qbuf(0).unwrap();
            b.streamon().unwrap();
            b.frame();
            ask(b, true)
        }),
        ("readiness.after-the-last", (READY, NOTHING), |b| {
            streaming(b);
            b.complete(Completion {
                last: true,
                ..done()
            })
            .unwrap();
            b.dqbuf().unwrap();
            ask(b, true)
        }),
    ]);
}

#[test]
fn file_io_excludes_the_rest() {
    fn started(b: &mut Bench) {
        b.session().poll(true).unwrap();
        assert!(b.queue.fileio_active());
    }
    run(&[
        ("transfer.reqbufs", LISTED, |b| {
            started(b);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("transfer.reqbufs-0", LISTED, |b| {
            started(b);
            count(b.reqbufs(Memory::Mmap, 0))
        }),
        ("transfer.querybuf", LISTED, |b| {
            started(b);
            seen(b.query(0))
        }),
        ("transfer.qbuf", LISTED, |b| {
            started(b);
            seen(b.qbuf(0))
        }),
        ("transfer.dqbuf", both(EBUSY), |b| {
            started(b);
            seen(b.dqbuf())
        }),
        ("transfer.expbuf", LISTED, |b| {
            started(b);
            seen(b.session().expbuf(0, 0).map(|_| ()))
        }),
        ("transfer.streamon", LISTED, |b| {
            started(b);
            seen(b.streamon())
        }),
        ("transfer.streamoff", LISTED, |b| {
            started(b);
            seen(b.streamoff())
        }),
        ("transfer.create", LISTED, |b| {
            started(b);
            count(create(b, Memory::Mmap, 1, &[SIZE]))
        }),
        ("transfer.remove", LISTED, |b| {
            started(b);
            seen(b.remove(0, 1))
        }),
        ("transfer.prepare", LISTED, |b| {
            started(b);
            seen(b.prepare(0))
        }),
        ("second.create-0-of-transfer", LISTED, |b| {
            started(b);
            count(create(b, Memory::Mmap, 0, &[]))
        }),
        ("transfer.mmap", both(EBUSY), |b| {
            started(b);
            let access = Some(Direction::Bidirectional);
            seen(b.session().mmap(0, 4096, access))
        }),
    ]);
}

#[test]
fn streaming_calls() {
    run(&[
        ("streamoff.no-buffers", LISTED, |b| seen(b.streamoff())),
        ("streamon.none-queued", LISTED, |b| {
            ready(b);
            seen(b.streamon())
        }),
        ("streamon.again", LISTED, |b| {
            streaming(b);
            seen(b.streamon())
        }),
        ("streamon.no-buffers", LISTED, |b| seen(b.streamon())),
        ("sleeper.streamoff", LISTED, |b| {
            streaming(b);
            b.begin_wait().unwrap();
            seen(b.streamoff())
        }),
        ("error.streamoff", LISTED, |b| {
            streaming(b);
            b.queue.set_error();
            let result = seen(b.streamoff());
            assert!(!b.queue.error);
            result
        }),
        ("fault.streamon", LISTED, |b| {
            ready(b);
            b.qbuf(0).unwrap();
            b.driver.fail.insert("start_streaming", 22);
            seen(b.streamon())
        }),
        ("fault.dqbuf", LISTED, |b| {
            ready(b);
            b.qbuf(0).unwrap();
            b.driver.fail.insert("start_streaming", 22);
            assert_eq!(seen(b.streamon()), EINVAL);
            seen(b.dqbuf())
        }),
        ("fault.state", both(0), |b| {
            ready(b);
            b.qbuf(0).unwrap();
            b.driver.fail.insert("start_streaming", 22);
            assert_eq!(seen(b.streamon()), EINVAL);
            let info = b.query(0).unwrap();
            assert_eq!(info.state, BufferState::Queued);
            0
        }),
        ("fault.streamon-again", LISTED, |b| {
            ready(b);
            b.qbuf(0).unwrap();
            b.driver.fail.insert("start_streaming", 22);
            assert_eq!(seen(b.streamon()), EINVAL);
            seen(b.streamon())
        }),
        ("fault.prepare-streaming", both(ENXIO), |b| {
            ready(b);
            b.driver.fail.insert("prepare_streaming", 6);
            let result = seen(b.streamon());
            assert_eq!(b.driver.called("unprepare_streaming"), 0);
            result
        }),
    ]);
}
