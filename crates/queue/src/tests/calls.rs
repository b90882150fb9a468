//! Every call with every errno, in the order of the calls. The names of rows are those of the
//! table measured on stock kernels (capture, output; negative is an errno, otherwise a count);
//! rows with a `+` are not in that table. Rows that are about ioctl numbers, file handles or
//! descriptors belong to the layers above.

use super::check::mmap_buffer;
use super::fake::{SIZE, done};
use super::std::vec;
use super::{BOTH, Bench};
use crate::{
    BufferState, Coherency, Completion, Error, ExportAccess, Interest, IoModes, MapAccess, Memory,
    PlaneLocation, PlaneRequest, PlaneSource, QueueBuffer, QueueType, Readiness,
};

pub(super) const EIO: i32 = -5;
pub(super) const EAGAIN: i32 = -11;
pub(super) const ENOMEM: i32 = -12;
pub(super) const EFAULT: i32 = -14;
pub(super) const EBUSY: i32 = -16;
pub(super) const EINVAL: i32 = -22;
pub(super) const EPIPE: i32 = -32;
pub(super) const EBADR: i32 = -53;
pub(super) const ENOBUFS: i32 = -105;
pub(super) const ENXIO: i32 = -6;

pub(super) type Row = (&'static str, (i32, i32), fn(&mut Bench) -> i32);

/// What a program sees.
pub(super) fn seen<T>(result: Result<T, Error>) -> i32 {
    result.map_or_else(|e| -e.errno(), |_| 0)
}

fn count(result: Result<u32, Error>) -> i32 {
    result.map_or_else(|e| -e.errno(), |n| i32::try_from(n).unwrap())
}

/// Runs each row on a fresh queue of each type, like vivid's: at least two buffers, at most 64
/// for capture and 32 for output.
pub(super) fn run(rows: &[Row]) {
    for (id, expected, row) in rows {
        for queue_type in BOTH {
            let mut bench = Bench::with(queue_type, |c| {
                c.min_reqbufs_allocation = 2;
                c.max_num_buffers = if queue_type == QueueType::Capture {
                    64
                } else {
                    32
                };
            });
            let found = row(&mut bench);
            let wanted = if queue_type == QueueType::Capture {
                expected.0
            } else {
                expected.1
            };
            assert_eq!(found, wanted, "row {id} on {queue_type:?}");
            bench.check();
            bench.finish();
        }
    }
}

fn both(n: i32) -> (i32, i32) {
    (n, n)
}

fn ready(b: &mut Bench) {
    assert_eq!(count(b.reqbufs(Memory::Mmap, 4)), 4);
}

fn streaming(b: &mut Bench) {
    ready(b);
    for index in 0..3 {
        b.qbuf(index).unwrap();
    }
    b.streamon().unwrap();
}

fn create(b: &mut Bench, memory: Memory, count: u32, sizes: &[u64]) -> Result<u32, Error> {
    b.queue
        .create_bufs(
            &mut b.mem,
            &mut b.driver,
            memory,
            count,
            Coherency::Coherent,
            sizes,
        )
        .map(|c| c.count)
}

#[test]
fn reqbufs() {
    run(&[
        ("R3", both(0), |b| count(b.reqbufs(Memory::Mmap, 0))),
        ("R4", both(2), |b| count(b.reqbufs(Memory::UserPtr, 2))),
        ("R4 contig", both(EINVAL), |b| {
            b.mem.no_userptr = true;
            count(b.reqbufs(Memory::UserPtr, 2))
        }),
        ("R5", both(2), |b| count(b.reqbufs(Memory::Mmap, 1))),
        ("R6", (64, 32), |b| count(b.reqbufs(Memory::Mmap, 100_000))),
        ("R6+ largest", (64, 32), |b| {
            count(b.reqbufs(Memory::DmaBuf, u32::MAX))
        }),
        ("R7", both(0), |b| {
            let (mem, driver) = (&mut b.mem, &mut b.driver);
            let made = b
                .queue
                .reqbufs(mem, driver, Memory::Mmap, 2, Coherency::NonCoherent);
            assert_eq!(
                made.unwrap().coherency,
                Coherency::Coherent,
                "the flag is cleared"
            );
            0
        }),
        ("S6", both(EBUSY), |b| {
            streaming(b);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("S7", both(EBUSY), |b| {
            streaming(b);
            count(b.reqbufs(Memory::Mmap, 0))
        }),
        ("D8", both(EBUSY), |b| {
            streaming(b);
            b.queue.begin_wait().unwrap();
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("D8+ not streaming", both(EBUSY), |b| {
            ready(b);
            b.queue.begin_wait().unwrap();
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("D8+ to zero", both(0), |b| {
            ready(b);
            b.queue.begin_wait().unwrap();
            count(b.reqbufs(Memory::Mmap, 0))
        }),
        ("R+ another model", both(3), |b| {
            ready(b);
            b.qbuf(0).unwrap();
            count(b.reqbufs(Memory::DmaBuf, 3))
        }),
        ("I7", both(EINVAL), |b| {
            b.driver.fail.insert("queue_setup", 22);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("I7+ errno passed", both(ENXIO), |b| {
            b.driver.fail.insert("queue_setup", 6);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("I9", both(2), |b| {
            b.driver.fail.insert("queue_setup", 22);
            assert_eq!(count(b.reqbufs(Memory::Mmap, 2)), EINVAL);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("R+ zero planes", both(EINVAL), |b| {
            b.driver.sizes.clear();
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("R+ size zero", both(EINVAL), |b| {
            b.driver.sizes = vec![0];
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("R+ no memory", both(ENOMEM), |b| {
            b.mem.max_alloc = Some(0);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("R+ below the minimum", both(ENOMEM), |b| {
            b.mem.max_alloc = Some(1);
            count(b.reqbufs(Memory::Mmap, 8))
        }),
        ("R+ fewer", both(5), |b| {
            b.mem.max_alloc = Some(5);
            count(b.reqbufs(Memory::Mmap, 8))
        }),
        ("R+ fewer than the driver needs", both(ENOMEM), |b| {
            b.mem.max_alloc = Some(5);
            b.driver.least_buffers = 6;
            count(b.reqbufs(Memory::Mmap, 8))
        }),
        ("R+ driver wants more", both(6), |b| {
            b.driver.least_buffers = 6;
            count(b.reqbufs(Memory::Mmap, 2))
        }),
        ("R+ buf_init fails", both(ENOMEM), |b| {
            b.driver.fail.insert("buf_init", 6);
            count(b.reqbufs(Memory::Mmap, 2))
        }),
    ]);
}

#[test]
fn querybuf() {
    run(&[
        ("Q15", both(EINVAL), |b| {
            ready(b);
            seen(b.query(4))
        }),
        ("Q15b", both(EINVAL), |b| {
            ready(b);
            seen(b.query(u32::MAX))
        }),
        ("Q18", both(EINVAL), |b| seen(b.query(0))),
        ("Q+ fresh", both(0), |b| {
            ready(b);
            let info = b.query(3).unwrap();
            assert_eq!(info.state, BufferState::Dequeued);
            assert!(!info.queued && !info.prepared && !info.done && !info.mapped);
            let plane = info.planes[0].unwrap();
            assert_eq!(plane.length_bytes, SIZE, "not rounded to pages");
            assert_eq!(plane.location, PlaneLocation::Cookie(3 << 15));
            assert_eq!(info.num_planes(), 1);
            0
        }),
        ("Q+ mapped", both(0), |b| {
            ready(b);
            let access = MapAccess {
                shared: true,
                read: true,
                write: true,
            };
            b.queue.mmap(&mut b.mem, 1 << 15, SIZE, access).unwrap();
            assert!(b.query(1).unwrap().mapped);
            assert!(!b.query(0).unwrap().mapped);
            0
        }),
    ]);
}

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
            assert!(info.prepared && !info.queued);
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
            assert!(info.queued && !info.prepared);
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
            b.mem.fail_in = Some(0);
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
            b.queue.begin_wait().unwrap();
            seen(b.dqbuf())
        }),
        ("D7+ a second sleeper", both(EBUSY), |b| {
            streaming(b);
            b.queue.begin_wait().unwrap();
            seen(b.queue.begin_wait())
        }),
        ("D7+ woken", both(0), |b| {
            streaming(b);
            b.queue.begin_wait().unwrap();
            b.frame();
            assert!(b.queue.take_wake());
            b.queue.end_wait();
            seen(b.dqbuf())
        }),
        ("D12", both(EIO), |b| {
            streaming(b);
            b.queue.begin_wait().unwrap();
            b.queue.set_error();
            assert!(b.queue.take_wake());
            b.queue.end_wait();
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
            assert!(info.done && !info.queued && !info.error);
            let info = b.dqbuf().unwrap();
            assert!(!info.done && !info.queued && !info.error);
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
            seen(
                b.queue
                    .expbuf(&mut b.mem, 0, 2, ExportAccess::ReadOnly)
                    .map(|_| ()),
            )
        }),
        ("MP16", both(0), |b| {
            two(b);
            let buf = b
                .queue
                .expbuf(&mut b.mem, 0, 1, ExportAccess::ReadWrite)
                .unwrap();
            crate::MemOps::put_dmabuf(&mut b.mem, buf);
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
        match b
            .queue
            .expbuf(&mut b.mem, index, plane, ExportAccess::ReadWrite)
        {
            Ok(buf) => {
                crate::MemOps::put_dmabuf(&mut b.mem, buf);
                0
            }
            Err(e) => -e.errno(),
        }
    }
    fn map(b: &mut Bench, cookie: u64, len: u64, access: MapAccess) -> i32 {
        seen(b.queue.mmap(&mut b.mem, cookie, len, access))
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
            b.mem.fail_in = Some(0);
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
fn remove_bufs() {
    run(&[
        ("B7", both(EBUSY), |b| {
            ready(b);
            b.qbuf(0).unwrap();
            seen(b.remove(0, 1))
        }),
        ("B8", both(EBUSY), |b| {
            ready(b);
            b.qbuf(2).unwrap();
            let refused = seen(b.remove(0, 4));
            assert_eq!(b.queue.num_buffers(), 4, "all or nothing");
            refused
        }),
        ("X2", both(0), |b| seen(b.remove(77, 0))),
        ("X3", both(EINVAL), |b| {
            ready(b);
            seen(b.remove(0, 5))
        }),
        ("X3+ overflow", both(EINVAL), |b| {
            ready(b);
            seen(b.remove(u32::MAX, 2))
        }),
        ("X3+ past the table", both(EINVAL), |b| {
            ready(b);
            seen(b.remove(100, 2))
        }),
        ("X5", both(0), |b| {
            ready(b);
            seen(b.remove(1, 1))
        }),
        ("X6", both(EINVAL), |b| {
            ready(b);
            b.remove(1, 1).unwrap();
            seen(b.remove(0, 3))
        }),
        ("X7", both(EINVAL), |b| {
            ready(b);
            b.remove(1, 1).unwrap();
            seen(b.remove(1, 1))
        }),
        ("X9", both(0), |b| {
            ready(b);
            seen(b.remove(0, 4))
        }),
        ("S9", both(0), |b| {
            streaming(b);
            seen(b.remove(3, 1))
        }),
        ("F11", both(EBUSY), |b| {
            b.reqbufs(Memory::DmaBuf, 2).unwrap();
            b.qbuf(0).unwrap();
            seen(b.remove(0, 1))
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
        match b.queue.poll(&mut b.mem, &mut b.driver, interest) {
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
        ("L1+ without the quirk", both(NOTHING), |b| {
            let queue_type = b.queue.config().queue_type;
            *b = Bench::with(queue_type, |c| {
                c.quirk_poll_must_check_waiting_for_buffers = false
            });
            ready(b);
            b.streamon().unwrap();
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
        b.queue.poll(
            &mut b.mem,
            &mut b.driver,
            Interest {
                readable: true,
                writable: true,
            },
        );
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
            seen(
                b.queue
                    .expbuf(&mut b.mem, 0, 0, ExportAccess::ReadOnly)
                    .map(|_| ()),
            )
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
            seen(b.queue.mmap(&mut b.mem, 0, 4096, access))
        }),
    ]);
}

#[test]
fn full() {
    run(&[("C10", both(ENOBUFS), |b| {
        let max = b.queue.config().max_num_buffers;
        assert_eq!(
            count(create(b, Memory::Mmap, max - 1, &[SIZE])),
            max as i32 - 1
        );
        assert_eq!(
            count(create(b, Memory::Mmap, 5, &[SIZE])),
            1,
            "as many as there is room"
        );
        count(create(b, Memory::Mmap, 1, &[SIZE]))
    })]);
}

#[test]
fn create_bufs() {
    run(&[
        ("C1", both(0), |b| count(create(b, Memory::Mmap, 0, &[]))),
        ("C2+ not offered", both(EINVAL), |b| {
            b.mem.no_userptr = true;
            count(create(b, Memory::UserPtr, 0, &[]))
        }),
        ("C3", both(EINVAL), |b| {
            count(create(b, Memory::Mmap, 1, &[0]))
        }),
        ("C5b", both(ENOMEM), |b| {
            count(create(b, Memory::Mmap, 1, &[0xffff_ffff]))
        }),
        ("C+ huge", both(ENOMEM), |b| {
            count(create(b, Memory::Mmap, 1, &[u64::MAX]))
        }),
        ("C+ below the format", both(EINVAL), |b| {
            count(create(b, Memory::Mmap, 1, &[SIZE - 1]))
        }),
        ("C7", both(0), |b| {
            let (mem, driver) = (&mut b.mem, &mut b.driver);
            let made = b
                .queue
                .create_bufs(mem, driver, Memory::Mmap, 0, Coherency::Coherent, &[])
                .unwrap();
            assert_eq!((made.first_index, made.count), (0, 0));
            0
        }),
        ("C8", both(2), |b| {
            count(create(b, Memory::Mmap, 2, &[SIZE]))
        }),
        ("C+ another model", both(EINVAL), |b| {
            ready(b);
            count(create(b, Memory::DmaBuf, 1, &[SIZE]))
        }),
        ("C+ first while one sleeps", both(EBUSY), |b| {
            b.queue.begin_wait().unwrap();
            count(create(b, Memory::Mmap, 1, &[SIZE]))
        }),
        ("C+ more while one sleeps", both(1), |b| {
            streaming(b);
            b.queue.begin_wait().unwrap();
            count(create(b, Memory::Mmap, 1, &[SIZE]))
        }),
        ("C+ fewer, and that is enough", both(3), |b| {
            b.mem.max_alloc = Some(3);
            count(create(b, Memory::Mmap, 5, &[SIZE]))
        }),
        ("C+ fewer, and that is not enough", both(ENOMEM), |b| {
            b.mem.max_alloc = Some(3);
            b.driver.least_buffers = 4;
            count(create(b, Memory::Mmap, 5, &[SIZE]))
        }),
        ("C+ the second question fails", both(ENOMEM), |b| {
            ready(b);
            b.mem.max_alloc = Some(4);
            count(create(b, Memory::Mmap, 5, &[SIZE]))
        }),
        ("I8", both(EINVAL), |b| {
            b.driver.fail.insert("queue_setup", 22);
            count(create(b, Memory::Mmap, 1, &[SIZE]))
        }),
        ("Z5b", both(1), |b| {
            streaming(b);
            b.queue.set_error();
            count(create(b, Memory::Mmap, 1, &[SIZE]))
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
            b.mem.bad_address = Some(0x5000);
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
        let object = bytes.map(|bytes| b.mem.new_object(bytes));
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
            b.mem.fail_in = Some(1);
            b.reqbufs(Memory::DmaBuf, 2).unwrap();
            queue_object(b, Some(SIZE), 0, 0)
        }),
        ("OD1", both(0), |b| queue_object(b, Some(SIZE), SIZE, SIZE)),
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
            b.queue.begin_wait().unwrap();
            seen(b.streamoff())
        }),
        ("Z6", both(0), |b| {
            streaming(b);
            b.queue.set_error();
            let result = seen(b.streamoff());
            assert!(!b.queue.has_error());
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
            assert!(info.queued && info.state == BufferState::Queued);
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
