//! The errno of each failing call, as observed on running kernels. Where a kernel is wrong, the table has the correct
//! errno.

use super::*;
use crate::bytes::field;
use crate::sys;

const SHARED: Option<Direction> = Some(Direction::Bidirectional);

fn both(test: impl Fn(Bench)) {
    test(Bench::capture());
    test(Bench::output());
}

#[track_caller]
fn rows(rows: &[(&str, i32, i32)]) {
    for (id, got, wanted) in rows {
        assert_eq!(got, wanted, "{id}");
    }
}

fn reqbufs_of(bench: &mut Bench, count: u32, ty: u32, memory: u32) -> i32 {
    let mut arg: [u8; 20] = record(&[(0, count), (4, ty), (8, memory)]);
    bench.call(sys::VIDIOC_REQBUFS, &mut arg)
}

#[test]
fn reqbufs() {
    both(|mut b| {
        let (ty, other) = (b.ty(), 3 - b.ty());
        rows(&[
            ("R1 other type", reqbufs_of(&mut b, 2, other, MMAP), EINVAL),
            ("R2 memory 0", reqbufs_of(&mut b, 2, ty, 0), EINVAL),
            ("R2b memory 99", reqbufs_of(&mut b, 2, ty, 99), EINVAL),
            ("R3 count 0", reqbufs_of(&mut b, 0, ty, MMAP), 0),
            ("R4 userptr", b.reqbufs(2, USERPTR), 2),
            ("R5 count 1", b.reqbufs(1, MMAP), 2),
            ("R6 count 100000", b.reqbufs(100_000, MMAP), 32),
        ]);
        b.close();
    });
}

#[test]
fn unsupported_userptr_is_refused() {
    let mut driver = TestDriver::new(Flow::Capture, Planarity::Single);
    driver.policy.userptr = false;
    let mut b = Bench::with(driver);
    assert_eq!(b.reqbufs(2, USERPTR), -EINVAL);
    assert_eq!(b.create(1, USERPTR), EINVAL);
    b.close();
}

#[test]
fn only_the_owner_may() {
    both(|mut b| {
        let (one, two) = (b.file, b.open());
        assert_eq!(b.reqbufs(2, MMAP), 2);
        let ty = b.ty();
        let (mut q, mut p, mut d, mut y) = (
            b.buf(0, MMAP),
            b.buf(0, MMAP),
            b.buf(0, MMAP),
            b.buf(0, MMAP),
        );
        let mut exp: [u8; 64] = record(&[(0, ty)]);
        b.file = two;
        // The type is checked before the owner.
        for call in [sys::VIDIOC_QBUF, sys::VIDIOC_DQBUF, sys::VIDIOC_PREPARE_BUF] {
            let mut other = b.buf(0, MMAP);
            other[4..8].copy_from_slice(&sys::V4L2_BUF_TYPE_VBI_CAPTURE.to_ne_bytes());
            assert_eq!(b.call(call, &mut other), EINVAL);
        }
        rows(&[
            ("R8b REQBUFS(0)", b.reqbufs(0, MMAP), -EBUSY),
            ("Q1 QUERYBUF", b.call(sys::VIDIOC_QUERYBUF, &mut y), 0),
            ("Q2 QBUF", b.call(sys::VIDIOC_QBUF, &mut q), EBUSY),
            ("Q3 DQBUF", b.call(sys::VIDIOC_DQBUF, &mut d), EBUSY),
            ("Q4 STREAMON", b.stream(true), EBUSY),
            ("Q4 STREAMOFF", b.stream(false), EBUSY),
            ("Q6 EXPBUF", b.call(sys::VIDIOC_EXPBUF, &mut exp), EBUSY),
            (
                "Q7 PREPARE_BUF",
                b.call(sys::VIDIOC_PREPARE_BUF, &mut p),
                EBUSY,
            ),
            ("Q8 CREATE_BUFS", b.create(1, MMAP), EBUSY),
            ("Q9 CREATE_BUFS count 0", b.create(0, MMAP), 0),
            ("Q10 REMOVE_BUFS", b.remove(0, 1), EBUSY),
            ("Q10 REMOVE_BUFS count 0", b.remove(0, 0), 0),
            ("Q12 mmap", b.mmap(0, 4096, SHARED), 0),
            ("Q13 S_FMT", set_same_format(&mut b), EBUSY),
            ("Q17 QUERYBUF wrong memory", query_with(&mut b, DMABUF), 0),
            ("Q15 QUERYBUF bad index", b.query(2), EINVAL),
            ("Q15b QUERYBUF huge index", b.query(u32::MAX), EINVAL),
        ]);
        b.file = one;
        assert_eq!(b.reqbufs(0, MMAP), 0, "the owner frees");
        assert_eq!(b.reqbufs_by(two, 2, MMAP), 2, "and another may have it");
        assert_eq!(b.reqbufs(2, MMAP), -EBUSY);
        b.device.release(&mut b.mem, two);
        assert_eq!(b.reqbufs(2, MMAP), 2, "also after close");
        b.close();
    });
}

fn query_with(b: &mut Bench, memory: u32) -> i32 {
    let mut buf = b.buf(0, memory);
    b.call(sys::VIDIOC_QUERYBUF, &mut buf)
}

fn set_same_format(b: &mut Bench) -> i32 {
    let mut arg = vec![0; size_of::<sys::v4l2_format>()];
    let ty = b.ty();
    Image(&mut arg).set_u32(0, ty);
    assert_eq!(b.call(sys::VIDIOC_G_FMT, &mut arg), 0);
    b.call(sys::VIDIOC_S_FMT, &mut arg)
}

#[test]
fn queueing_and_preparing() {
    both(|mut b| {
        assert_eq!(b.reqbufs(4, MMAP), 4);
        let mut other = b.buf(0, MMAP);
        Image(&mut other).set_u32(4, 3 - b.ty());
        let mut wrong = b.buf(0, DMABUF);
        let mut none = b.buf(0, 0);
        let mut request = b.buf(1, MMAP);
        Image(&mut request).set_u32(field!(v4l2_buffer.flags), sys::V4L2_BUF_FLAG_REQUEST_FD);
        let mut prepare_request = request;
        rows(&[
            (
                "B1 other type",
                b.call(sys::VIDIOC_QBUF, &mut other),
                EINVAL,
            ),
            (
                "B2 wrong memory",
                b.call(sys::VIDIOC_QBUF, &mut wrong),
                EINVAL,
            ),
            ("B2 no memory", b.call(sys::VIDIOC_QBUF, &mut none), EINVAL),
            ("B3 bad index", b.qbuf(4), EINVAL),
            ("B4 ok, not streaming", b.qbuf(0), 0),
            ("B5 already queued", b.qbuf(0), EINVAL),
            (
                "RQ2n request",
                b.call(sys::VIDIOC_QBUF, &mut request),
                EBADR,
            ),
            (
                "P1 prepare with request",
                b.call(sys::VIDIOC_PREPARE_BUF, &mut prepare_request),
                EINVAL,
            ),
            ("B7 remove a queued one", b.remove(0, 1), EBUSY),
            ("B8 remove all with one queued", b.remove(0, 4), EBUSY),
            ("D1 not streaming", b.dqbuf(), EINVAL),
            ("P3 bad index", b.prepare(4), EINVAL),
            ("P4 ok", b.prepare(1), 0),
            ("P5 twice", b.prepare(1), EINVAL),
            ("P6 remove a prepared one", b.remove(1, 1), 0),
            ("P7 query a removed one", b.query(1), EINVAL),
            ("X8 queue a removed one", b.qbuf(1), EINVAL),
            ("P8 fill the hole", b.create(1, MMAP), 0),
            ("P8 it is there", b.query(1), 0),
            ("B9 prepare a queued one", b.prepare(0), EINVAL),
        ]);
        b.close();
    });
}

#[test]
fn streaming() {
    both(|mut b| {
        rows(&[
            ("S2 STREAMOFF without buffers", b.stream(false), 0),
            ("S3 STREAMON without buffers", b.stream(true), EINVAL),
            ("D3 DQBUF without buffers", b.dqbuf(), EINVAL),
            ("Q18 QUERYBUF without buffers", b.query(0), EINVAL),
            ("REQBUFS", b.reqbufs(3, MMAP), 3),
            ("S4 STREAMON with none queued", b.stream(true), 0),
            ("S5 again", b.stream(true), 0),
            ("D4 nothing queued", b.dqbuf(), EAGAIN),
            ("S6 REQBUFS", b.reqbufs(3, MMAP), -EBUSY),
            ("S7 REQBUFS(0)", b.reqbufs(0, MMAP), -EBUSY),
            ("S9 REMOVE_BUFS", b.remove(2, 1), 0),
        ]);
        let other = 3 - b.ty();
        rows(&[
            (
                "S10 STREAMOFF other type",
                b.number(sys::VIDIOC_STREAMOFF, other),
                EINVAL,
            ),
            (
                "S10 STREAMON other type",
                b.number(sys::VIDIOC_STREAMON, other),
                EINVAL,
            ),
            ("QBUF", b.qbuf(0), 0),
        ]);
        b.tick();
        let mut wrong = b.buf(9, USERPTR);
        rows(&[
            (
                "D6 DQBUF wrong memory",
                b.call(sys::VIDIOC_DQBUF, &mut wrong),
                0,
            ),
            ("STREAMOFF", b.stream(false), 0),
            ("again", b.stream(false), 0),
        ]);
        b.close();
    });
}

#[test]
fn waiting() {
    both(|mut b| {
        assert_eq!(b.reqbufs(2, MMAP), 2);
        assert_eq!((b.qbuf(0), b.stream(true)), (0, 0));
        b.nonblocking = false;
        assert_eq!(b.dqbuf(), WAIT);
        rows(&[
            ("D7 a second waiter", b.dqbuf(), EBUSY),
            ("D8 REQBUFS", b.reqbufs(2, MMAP), -EBUSY),
            ("D9 read or write", transfer(&mut b, 8), EBUSY),
        ]);
        assert_eq!(
            b.call_at(b.file, sys::VIDIOC_DQBUF, ARG, true),
            WAIT,
            "woken for nothing"
        );
        woken(&mut b.device);
        b.tick();
        assert_ne!(woken(&mut b.device), Default::default(), "a frame wakes");
        assert_eq!(b.call_at(b.file, sys::VIDIOC_DQBUF, ARG, true), 0);

        assert_eq!(b.dqbuf(), WAIT);
        b.abandon(b.file);
        assert_eq!(b.dqbuf(), WAIT, "a cancelled waiter blocks no other caller");
        assert_eq!(b.stream(false), 0, "S11");
        assert_eq!(
            b.call_at(b.file, sys::VIDIOC_DQBUF, ARG, true),
            EINVAL,
            "and the waiter is told"
        );
        assert_eq!(b.dqbuf(), EINVAL, "no caller waits any more");
        b.close();
    });
}

fn transfer(b: &mut Bench, len: u64) -> i32 {
    let cx = b.cx(b.file, false);
    code(if b.flow == Flow::Output {
        b.device
            .transfer(&mut b.mem, cx, Flow::Output, (ARRAY, len), &b.program)
    } else {
        b.device
            .transfer(&mut b.mem, cx, Flow::Capture, (ARRAY, len), &b.program)
    })
}

#[test]
fn closing_a_waiting_file_frees_the_queue() {
    let mut b = Bench::capture();
    b.nonblocking = false;
    let two = b.open();
    assert_eq!(b.reqbufs(2, MMAP), 2);
    assert_eq!((b.stream(true), b.dqbuf()), (0, WAIT));
    b.device.release(&mut b.mem, b.file);
    b.file = two;
    assert_eq!(b.reqbufs(2, MMAP), 2);
    assert_eq!((b.stream(true), b.dqbuf()), (0, WAIT));
    b.close();
}

/// The waiting file has freed its buffers. Once it is closed, another file can use the queue.
#[test]
fn closing_a_stopped_waiter_frees_the_queue() {
    let mut b = Bench::capture();
    b.nonblocking = false;
    let two = b.open();
    assert_eq!(b.reqbufs(2, MMAP), 2);
    assert_eq!((b.stream(true), b.dqbuf()), (0, WAIT));
    assert_eq!((b.stream(false), b.reqbufs(0, MMAP)), (0, 0));
    b.device.release(&mut b.mem, b.file);
    b.file = two;
    assert_eq!(b.reqbufs(2, MMAP), 2);
    b.close();
}

#[test]
fn a_broken_device() {
    both(|mut b| {
        assert_eq!(b.reqbufs(2, MMAP), 2);
        assert_eq!((b.qbuf(0), b.stream(true)), (0, 0));
        b.nonblocking = false;
        assert_eq!(b.dqbuf(), WAIT);
        b.device.driver_mut().broken = true;
        b.device.driver_mut().held.clear();
        b.tick();
        woken(&mut b.device);
        let events = if b.flow == Flow::Output {
            POLL_OUT
        } else {
            POLL_IN
        };
        rows(&[
            ("D12", b.call_at(b.file, sys::VIDIOC_DQBUF, ARG, true), EIO),
            ("Z1 QBUF", b.qbuf(1), EIO),
            ("Z2 DQBUF", b.dqbuf(), EIO),
            ("Z3 PREPARE_BUF", b.prepare(1), EIO),
            (
                "Z4 poll",
                b.device.poll(&mut b.mem, b.file, events, b.now_ns).into(),
                POLL_ERR.into(),
            ),
            ("Z5b CREATE_BUFS", b.create(1, MMAP), 0),
            ("Z6 STREAMOFF", b.stream(false), 0),
            ("Z7 QBUF", b.qbuf(0), 0),
        ]);
        b.close();
    });
}

use crate::{POLL_ERR, POLL_IN, POLL_OUT};

#[test]
fn driver_errors_are_passed_on() {
    both(|mut b| {
        assert_eq!((b.reqbufs(2, MMAP), b.qbuf(0)), (2, 0));
        b.device.driver_mut().start_errno = 6;
        assert_eq!(b.stream(true), 6, "I1");
        assert_eq!(b.dqbuf(), EINVAL, "I2");
        let mut buf = b.buf(0, MMAP);
        assert_eq!(b.call(sys::VIDIOC_QUERYBUF, &mut buf), 0);
        let flags = get(&buf, field!(v4l2_buffer.flags));
        assert_eq!(
            flags & sys::V4L2_BUF_FLAG_QUEUED,
            sys::V4L2_BUF_FLAG_QUEUED,
            "I3"
        );
        b.device.driver_mut().start_errno = 0;
        assert_eq!(b.stream(true), 0, "I4");
        b.device.driver_mut().prepare_errno = 71;
        assert_eq!(b.qbuf(1), 71, "I5");
        b.device.driver_mut().prepare_errno = 0;
        assert_eq!(b.qbuf(1), 0, "I6");
        b.close();
    });
}

#[test]
fn failed_dqbuf_ignores_the_programs_flags() {
    both(|mut b| {
        assert_eq!(b.reqbufs(2, MMAP), 2);
        let mut buf = b.buf(0, MMAP);
        let flags = sys::V4L2_BUF_FLAG_DONE | sys::V4L2_BUF_FLAG_LAST;
        Image(&mut buf).set_u32(field!(v4l2_buffer.flags), flags);
        assert_eq!(b.call(sys::VIDIOC_DQBUF, &mut buf), EINVAL, "V1");
        assert_eq!((b.qbuf(0), b.stream(true)), (0, 0));
        b.tick();
        assert_eq!(b.dqbuf(), 0, "V2");
        b.close();
    });
}

#[test]
fn the_last_buffer_ends_the_stream() {
    let mut b = Bench::capture();
    assert_eq!((b.reqbufs(2, MMAP), b.qbuf(0), b.stream(true)), (2, 0, 0));
    b.device.driver_mut().last = true;
    b.tick();
    let mut buf = b.buf(0, MMAP);
    assert_eq!(b.call(sys::VIDIOC_DQBUF, &mut buf), 0);
    let last = get(&buf, field!(v4l2_buffer.flags)) & sys::V4L2_BUF_FLAG_LAST;
    assert_eq!((last, b.dqbuf()), (sys::V4L2_BUF_FLAG_LAST, EPIPE));
    assert_eq!(
        (b.stream(false), b.qbuf(0), b.stream(true), b.dqbuf()),
        (0, 0, 0, EAGAIN)
    );
    b.close();
}

/// Source: Linux `v4l_reqbufs`, `determine_valid_ioctls`.
#[test]
fn some_drivers_remove_no_buffers() {
    let mut driver = TestDriver::new(Flow::Capture, Planarity::Single);
    driver.policy.removes_buffers = false;
    let mut b = Bench::with(driver);
    let (errno, arg) = b.create_by(b.file, 2, MMAP);
    let caps = get(&arg, field!(v4l2_create_buffers.capabilities));
    let removes = caps & sys::V4L2_BUF_CAP_SUPPORTS_REMOVE_BUFS;
    assert_eq!((errno, removes), (0, 0));
    assert_eq!(b.remove(0, 1), ENOTTY);
    b.close();
}

#[test]
fn creating() {
    both(|mut b| {
        let (errno, arg) = b.create_by(b.file, 0, MMAP);
        let at = |name: usize| get(&arg, name);
        assert_eq!(errno, 0, "C1");
        assert_eq!(at(field!(v4l2_create_buffers.index)), 0, "C7");
        assert_eq!(at(field!(v4l2_create_buffers.max_num_buffers)), 32, "C7");
        let caps = sys::V4L2_BUF_CAP_SUPPORTS_MAX_NUM_BUFFERS
            | sys::V4L2_BUF_CAP_SUPPORTS_REMOVE_BUFS
            | sys::V4L2_BUF_CAP_SUPPORTS_ORPHANED_BUFS
            | sys::V4L2_BUF_CAP_SUPPORTS_MMAP_CACHE_HINTS
            | 7;
        assert_eq!(at(field!(v4l2_create_buffers.capabilities)), caps, "C7");
        let count = field!(v4l2_create_buffers.count);
        let (errno, arg) = b.create_by(b.file, 100, MMAP);
        assert!(
            arg[field!(v4l2_create_buffers.max_num_buffers)..]
                .iter()
                .all(|&byte| byte == 0),
            "fields that old programs know as reserved"
        );
        rows(&[
            ("C2 memory 99", b.create(0, 99), EINVAL),
            ("C10 as many as fit", errno, 0),
            ("C10 count", i32::try_from(get(&arg, count)).unwrap(), 32),
            ("C10 full", b.create(1, MMAP), ENOBUFS),
            ("another model", b.create(1, DMABUF), ENOBUFS),
            ("X1 other type", remove_of_type(&mut b, 1), EINVAL),
            ("X2b count 0, other type", remove_of_type(&mut b, 0), EINVAL),
            ("X2 count 0, index junk", b.remove(0xdead, 0), 0),
            ("X3 count beyond", b.remove(0, 33), EINVAL),
            ("X4 overflow", b.remove(3, u32::MAX), EINVAL),
            ("X5 one in the middle", b.remove(5, 1), 0),
            ("X6 range over a hole", b.remove(4, 3), EINVAL),
            ("X7 the hole", b.remove(5, 1), EINVAL),
            ("another model, not full", b.create(1, DMABUF), EINVAL),
            ("X9 the rest", b.remove(0, 5) + b.remove(6, 26), 0),
            ("X11 S_FMT after removing all", set_same_format(&mut b), 0),
        ]);
        let two = b.open();
        assert_eq!(
            b.reqbufs_by(two, 2, MMAP),
            2,
            "X10 nobody owns an empty queue"
        );
        b.close();
    });
}

fn remove_of_type(b: &mut Bench, count: u32) -> i32 {
    let mut arg = vec![0; size_of::<sys::v4l2_remove_buffers>()];
    let mut image = Image(&mut arg);
    image.set_u32(4, count);
    image.set_u32(8, 3 - b.ty());
    b.call(sys::VIDIOC_REMOVE_BUFS, &mut arg)
}

fn create_with_size(b: &mut Bench, size: u32) -> i32 {
    let mut arg = vec![0; size_of::<sys::v4l2_create_buffers>()];
    let format = field!(v4l2_create_buffers.format);
    let ty = b.ty();
    let mut image = Image(&mut arg);
    image.set_u32(field!(v4l2_create_buffers.count), 1);
    image.set_u32(field!(v4l2_create_buffers.memory), MMAP);
    image.set_u32(format, ty);
    let pix = format + field!(v4l2_format.fmt);
    image.set_u32(pix + field!(v4l2_pix_format.sizeimage), size);
    b.call(sys::VIDIOC_CREATE_BUFS, &mut arg)
}

#[test]
fn sizes_of_created_buffers() {
    both(|mut b| {
        let needed = b.device.driver().format_now().planes[0].sizeimage;
        rows(&[
            ("C3 zero", create_with_size(&mut b, 0), EINVAL),
            (
                "C4 below the format",
                create_with_size(&mut b, needed - 1),
                EINVAL,
            ),
            (
                "C5 4 GiB less a page",
                create_with_size(&mut b, 0xffff_f000),
                ENOMEM,
            ),
            (
                "C5b the largest",
                create_with_size(&mut b, u32::MAX),
                ENOMEM,
            ),
            ("nothing owns it", b.reqbufs(0, MMAP), 0),
            ("larger", create_with_size(&mut b, needed * 3), 0),
        ]);
        let mut buf = b.buf(0, MMAP);
        assert_eq!(b.call(sys::VIDIOC_QUERYBUF, &mut buf), 0);
        assert_eq!(get(&buf, field!(v4l2_buffer.length)), needed * 3);
        b.close();
    });
}

#[test]
fn exporting() {
    both(|mut b| {
        assert_eq!(b.export(0, 0, 0), -EINVAL, "E7 no buffers");
        assert_eq!(b.reqbufs(2, MMAP), 2);
        rows(&[
            ("E1 bad index", b.export(2, 0, 0), -EINVAL),
            ("E2 plane 1 of 1", b.export(0, 1, 0), -EINVAL),
            ("E4 O_NONBLOCK", b.export(0, 0, 0o4000), -EINVAL),
            ("E5 both access bits", b.export(0, 0, 3), 3),
            ("O_CLOEXEC and O_RDWR", b.export(0, 0, 0o2_000_002), 4),
        ]);
        b.program.fd_room.set(0);
        assert_eq!(b.export(1, 0, 0), -EMFILE, "E6");
        b.program.fd_room.set(9);
        assert_eq!(b.reqbufs(0, MMAP), 0, "M10 exported buffers are released");
        assert_eq!(b.reqbufs(2, USERPTR), 2);
        assert_eq!(b.export(0, 0, 0), -EINVAL, "U7");
        assert_eq!(b.mmap(0, 4096, SHARED), EINVAL, "U8");
        assert_eq!(b.reqbufs(2, DMABUF), 2);
        assert_eq!(b.export(0, 0, 0), -EINVAL, "F9");
        assert_eq!(b.mmap(0, 4096, SHARED), EINVAL, "F10");
        b.close();
    });
}

#[test]
fn unwritable_results_make_no_descriptor() {
    let mut b = Bench::capture();
    assert_eq!(b.reqbufs(2, MMAP), 2);
    let arg: [u8; 64] = record(&[(0, b.ty())]);
    let read_only = program::READ_ONLY + 64;
    b.program.poke(read_only, &arg);
    assert_eq!(
        b.call_at(b.file, sys::VIDIOC_EXPBUF, read_only, false),
        EFAULT
    );
    assert_eq!(b.program.open_fds(), 0);
    b.close();
}

#[test]
fn mapping() {
    both(|mut b| {
        assert_eq!(b.mmap(0, 4096, SHARED), EINVAL, "M24 no buffers");
        assert_eq!(b.reqbufs(2, MMAP), 2);
        let output = b.flow == Flow::Output;
        let (read, write) = if output { (EINVAL, 0) } else { (0, EINVAL) };
        rows(&[
            ("M1 private", b.mmap(0, 4096, None), EINVAL),
            (
                "M2 read",
                b.mmap(0, 4096, Some(Direction::FromDevice)),
                read,
            ),
            (
                "M3 write",
                b.mmap(0, 4096, Some(Direction::ToDevice)),
                write,
            ),
            ("M4 unknown", b.mmap(0xdead_b000, 4096, SHARED), EINVAL),
            ("M5 next plane", b.mmap(4096, 4096, SHARED), EINVAL),
            ("M6 longer", b.mmap(0, 8192, SHARED), EINVAL),
            ("M7 shorter", b.mmap(0, 1, SHARED), 0),
            ("M8 no access", b.mmap(0, 4096, None), EINVAL),
            ("second buffer", b.mmap(1 << 15, 4096, SHARED), 0),
            ("REQBUFS(0)", b.reqbufs(0, MMAP), 0),
            ("M12 old offset", b.mmap(0, 4096, SHARED), EINVAL),
        ]);
        b.close();
    });
}
