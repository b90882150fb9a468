//! read() and write().

use super::*;
use crate::bytes::field;
use crate::{POLL_ERR, POLL_IN, POLL_OUT, POLL_PRI, sys};

fn read_by(
    b: &mut Bench,
    file: impl Into<Option<FileHandle>>,
    addr: u64,
    len: u64,
    retry: bool,
) -> i32 {
    let file = file.into().unwrap_or(b.file);
    let cx = b.cx(file, retry);
    let outcome = b
        .device
        .transfer(&mut b.mem, cx, Flow::Capture, (addr, len), &b.program);
    b.result_code(cx, outcome)
}

fn read(b: &mut Bench, len: u64) -> i32 {
    read_by(b, None, ARRAY, len, false)
}

fn write_by(b: &mut Bench, file: impl Into<Option<FileHandle>>, addr: u64, len: u64) -> i32 {
    let file = file.into().unwrap_or(b.file);
    let cx = b.cx(file, false);
    let outcome = b
        .device
        .transfer(&mut b.mem, cx, Flow::Output, (addr, len), &b.program);
    b.result_code(cx, outcome)
}

fn poll(b: &mut Bench, events: i16) -> i16 {
    b.device.poll(&mut b.mem, b.file, events, b.now_ns)
}

/// Source: Linux `vb2_qbuf`, `vb2_prepare_buf`, `vb2_verify_memory_type`.
#[test]
fn file_io_refuses_even_invalid_buffer_calls() {
    let mut b = Bench::capture();
    assert_eq!(read(&mut b, 1), EAGAIN);
    for request in [sys::VIDIOC_QBUF, sys::VIDIOC_PREPARE_BUF] {
        for (index, memory) in [(99, MMAP), (0, DMABUF), (0, 77)] {
            let mut buf = b.buf(index, memory);
            assert_eq!(b.call(request, &mut buf), EBUSY, "{index} of {memory}");
        }
    }
    let mut arg = b.create_by(b.file, 0, MMAP).1;
    let format = field!(v4l2_create_buffers.format) + field!(v4l2_format.fmt);
    let mut image = Image(&mut arg);
    image.set_u32(field!(v4l2_create_buffers.count), 1);
    image.set_u32(format + field!(v4l2_pix_format.sizeimage), 0);
    assert_eq!(b.call(sys::VIDIOC_CREATE_BUFS, &mut arg), EBUSY);
    b.close();
}

/// Source: Linux `__vb2_perform_fileio`.
#[test]
fn calls_for_no_bytes_start_streaming() {
    let mut b = Bench::capture();
    assert_eq!(read_by(&mut b, None, 0, 0, false), EINVAL, "a null pointer");
    assert_eq!(read(&mut b, 0), EAGAIN);
    assert_eq!(b.reqbufs(2, MMAP), -EBUSY, "read() has buffers");
    b.tick();
    assert_eq!((read(&mut b, 0), read(&mut b, 4096)), (0, 4096));
    b.close();
    let mut b = Bench::output();
    assert_eq!(write_by(&mut b, None, ARRAY, 0), 0);
    assert_eq!(b.reqbufs(2, MMAP), -EBUSY);
    b.close();
}

#[test]
fn frames_are_read_in_pieces() {
    let mut b = Bench::capture();
    assert_eq!(read(&mut b, 8), EAGAIN, "IO3");
    b.tick();
    assert_eq!(poll(&mut b, POLL_IN), POLL_IN);
    b.program.poke(ARRAY, &[0; 5000]);
    assert_eq!(read(&mut b, 1000), 1000);
    assert_eq!(read(&mut b, 5000), 3096, "to the end of the frame");
    let mut bytes = [9; 3097];
    b.program.peek(ARRAY, &mut bytes);
    assert_eq!((bytes[0], bytes[3095], bytes[3096]), (1, 1, 0));
    b.tick();
    assert_eq!(read(&mut b, 4096), 4096);
    b.program.peek(ARRAY, &mut bytes);
    assert_eq!(bytes[0], 2, "the next frame");
    b.close();
}

/// Starts or continues a read() that moves 1,000 bytes at a time.
fn read_some(b: &mut Bench, call: u64, at: Option<u64>, len: u64) -> V4l2Outcome {
    let cx = CallContext {
        call,
        piece_bytes: 1000,
        ..b.cx(b.file, false)
    };
    match at {
        None => b
            .device
            .transfer(&mut b.mem, cx, Flow::Capture, (ARRAY, len), &b.program),
        Some(at) => b.device.resume(&mut b.mem, cx, ARRAY + at, &b.program),
    }
}

#[test]
fn reads_wait_for_an_unfinished_read() {
    let mut b = Bench::capture();
    assert_eq!(read(&mut b, 8), EAGAIN);
    b.tick();
    b.tick();
    assert_eq!(read_some(&mut b, 700, None, 1500), V4l2Outcome::Part(1000));
    // Even a non-blocking call waits here: in a kernel, the first call would hold the queue's lock.
    assert_eq!(read_some(&mut b, 701, None, 1500), V4l2Outcome::Wait);
    assert_eq!(
        read_some(&mut b, 700, Some(1000), 0),
        V4l2Outcome::Part(500)
    );
    assert_eq!(read_some(&mut b, 701, None, 1500), V4l2Outcome::Wait);
    woken(&mut b.device);
    assert_eq!(read_some(&mut b, 700, Some(1500), 0), V4l2Outcome::Done(0));
    assert_eq!(woken(&mut b.device).0, [b.file].into());
    assert_eq!(read_some(&mut b, 701, None, 1000), V4l2Outcome::Done(1000));
    // After a call is cancelled, the next one continues where the cancelled one began.
    assert_eq!(read_some(&mut b, 702, None, 1500), V4l2Outcome::Part(1000));
    assert_eq!(read_some(&mut b, 703, None, 1596), V4l2Outcome::Wait);
    woken(&mut b.device);
    b.device.abandon(b.file, 702);
    assert_eq!(woken(&mut b.device).0, [b.file].into());
    assert_eq!(read_some(&mut b, 703, None, 1596), V4l2Outcome::Part(1000));
    assert!(matches!(
        read_some(&mut b, 702, Some(1000), 0),
        V4l2Outcome::Fail(e) if e.errno() == EBUSY
    ));
    assert_eq!(
        read_some(&mut b, 703, Some(1000), 0),
        V4l2Outcome::Part(596)
    );
    assert_eq!(read_some(&mut b, 703, Some(1596), 0), V4l2Outcome::Done(0));
    b.close();
}

#[test]
fn reads_wait_for_frames() {
    let mut b = Bench::capture();
    b.nonblocking = false;
    assert_eq!(read(&mut b, 8), WAIT);
    assert_eq!(read(&mut b, 8), EBUSY, "a second reader");
    woken(&mut b.device);
    assert_eq!(read_by(&mut b, None, ARRAY, 8, true), WAIT);
    let none = Default::default();
    assert_eq!(woken(&mut b.device), none, "a call that waits wakes none");
    b.tick();
    assert_ne!(woken(&mut b.device), none);
    assert_eq!(read_by(&mut b, None, ARRAY, 8, true), 8);
    b.close();
}

#[test]
fn written_frames_are_shown() {
    let mut b = Bench::output();
    assert_eq!(poll(&mut b, POLL_OUT), POLL_OUT, "L5");
    b.program.poke(ARRAY, &[7; 4096]);
    assert_eq!(write_by(&mut b, None, ARRAY, 4096), 4096);
    b.program.poke(ARRAY, &[8; 4096]);
    assert_eq!(write_by(&mut b, None, ARRAY, 96), 96);
    assert_eq!(
        write_by(&mut b, None, ARRAY, 9000),
        4000,
        "to the end of the buffer"
    );
    assert_eq!(write_by(&mut b, None, ARRAY, 10), EAGAIN);
    b.tick();
    b.tick();
    assert_eq!(
        b.device.driver().shown,
        [(4096, 7), (4096, 8)],
        "with its payload"
    );
    assert_eq!(write_by(&mut b, None, ARRAY, 10), 10);
    b.close();
}

/// Source: v4l2loopback 0.13.2 `v4l2_loopback_write`.
#[test]
fn each_write_of_compressed_bytes_is_a_frame() {
    let driver = TestDriver::new(Flow::Output, Planarity::Single).with_format(crate::FourCc::MJPEG);
    let mut b = Bench::with(driver);
    for (value, len) in [(7, 96), (8, 200)] {
        b.program.poke(ARRAY, &[value; 200]);
        assert_eq!(write_by(&mut b, None, ARRAY, len), len as i32);
        b.tick();
    }
    assert_eq!(b.device.driver().shown, [(96, 7), (200, 8)]);
    b.close();
}

#[test]
fn file_io_makes_streaming_calls_busy() {
    for output in [false, true] {
        let mut b = if output {
            Bench::output()
        } else {
            Bench::capture()
        };
        if output {
            assert_eq!(write_by(&mut b, None, ARRAY, 8), 8);
        } else {
            assert_eq!(read(&mut b, 8), EAGAIN);
        }
        let ty = b.ty();
        let mut exp: [u8; 64] = record(&[(0, ty)]);
        let shared = Some(Direction::Bidirectional);
        let rows = [
            ("IO4 REQBUFS", b.reqbufs(2, MMAP), -EBUSY),
            ("IO4b REQBUFS(0)", b.reqbufs(0, MMAP), -EBUSY),
            ("IO5 QUERYBUF", b.query(0), 0),
            ("IO6 QBUF", b.qbuf(0), EBUSY),
            ("DQBUF", b.dqbuf(), EBUSY),
            ("IO8 EXPBUF", b.call(sys::VIDIOC_EXPBUF, &mut exp), EBUSY),
            ("IO9 STREAMON", b.stream(true), EBUSY),
            ("IO10 STREAMOFF", b.stream(false), EBUSY),
            ("IO11 CREATE_BUFS", b.create(1, MMAP), EBUSY),
            ("IO12 REMOVE_BUFS", b.remove(0, 1), EBUSY),
            ("IO14 PREPARE_BUF", b.prepare(0), EBUSY),
            ("IO15c CREATE_BUFS count 0", b.create(0, MMAP), 0),
            ("mmap", b.mmap(0, 4096, shared), EBUSY),
        ];
        for (id, got, wanted) in rows {
            assert_eq!(got, wanted, "{id}");
        }
        let two = b.open();
        let other = if output {
            write_by(&mut b, two, ARRAY, 8)
        } else {
            read_by(&mut b, two, ARRAY, 8, false)
        };
        assert_eq!(other, EBUSY, "IO15");
        b.device.release(&mut b.mem, b.file);
        b.file = two;
        assert_eq!(b.reqbufs(2, MMAP), 2, "the end of the file ends it");
        let other = if output {
            write_by(&mut b, two, ARRAY, 8)
        } else {
            read_by(&mut b, two, ARRAY, 8, false)
        };
        assert_eq!(other, EBUSY, "IO1");
        b.close();
    }
}

#[test]
fn bad_arguments() {
    let mut b = Bench::capture();
    assert_eq!(write_by(&mut b, None, ARRAY, 8), EINVAL, "IO2b");
    assert_eq!(read_by(&mut b, None, 0, 8, false), EINVAL, "NULL");
    assert_eq!(read(&mut b, 8), EAGAIN);
    b.tick();
    assert_eq!(read_by(&mut b, None, 0xdead_0000, 8, false), EFAULT, "IO16");
    assert_eq!(read_by(&mut b, None, u64::MAX - 3, 8, false), EFAULT);
    assert_eq!(read(&mut b, 8), 8, "the bytes are not lost");
    b.close();

    let mut b = Bench::output();
    assert_eq!(read(&mut b, 8), EINVAL, "IO2b");
    assert_eq!(write_by(&mut b, None, 0xdead_0000, 8), EFAULT, "IO16");
    b.close();

    let mut driver = TestDriver::new(Flow::Capture, Planarity::Single);
    driver.policy.file_io = false;
    let mut b = Bench::with(driver);
    assert_eq!(read(&mut b, 8), EINVAL, "not offered");
    assert_eq!(poll(&mut b, POLL_IN), POLL_ERR);
    b.close();
}

#[test]
fn polling() {
    let mut b = Bench::capture();
    assert_eq!(poll(&mut b, 0), 0, "L7");
    assert_eq!(poll(&mut b, POLL_OUT), 0, "L7");
    assert_eq!(b.reqbufs(2, MMAP), 2, "L8");
    assert_eq!(poll(&mut b, POLL_IN), POLL_ERR, "L4");
    assert_eq!((b.stream(true), poll(&mut b, POLL_IN)), (0, POLL_ERR), "L1");
    assert_eq!(poll(&mut b, POLL_OUT), 0, "L2");
    assert_eq!((b.qbuf(0), poll(&mut b, POLL_IN)), (0, 0));
    b.tick();
    assert_eq!(poll(&mut b, 1), 1, "L3, POLLIN alone");
    let two = b.open();
    assert_eq!(
        b.device.poll(&mut b.mem, two, POLL_IN, b.now_ns),
        POLL_IN,
        "not limited to the owner"
    );
    b.close();

    let mut b = Bench::capture();
    assert_eq!(b.device.peek(&mut b.mem, b.file, POLL_IN, b.now_ns), 0);
    assert_eq!(b.reqbufs(2, MMAP), 2, "a look of the host's starts nothing");
    assert_eq!(b.reqbufs(0, MMAP), 0);
    assert_eq!(poll(&mut b, POLL_IN), 0, "L5: this starts reading");
    assert_eq!(b.reqbufs(2, MMAP), -EBUSY, "L6");
    let two = b.open();
    assert_eq!(
        read_by(&mut b, two, ARRAY, 8, false),
        EBUSY,
        "who polled owns it"
    );
    b.device.release(&mut b.mem, b.file);
    assert_eq!(b.reqbufs_by(two, 2, MMAP), 2, "and takes it along");
    b.close();
}

/// The device notifies the driver of every caller that finds no finished buffer, and of no other caller.
#[test]
fn drivers_are_notified_of_waiters() {
    let mut b = Bench::output();
    let waiters = |b: &Bench| b.device.driver().waiters;
    assert_eq!(b.reqbufs(2, MMAP), 2);
    assert_eq!(b.query(0), 0);
    assert_eq!((b.qbuf(0), b.stream(true)), (0, 0));
    assert_eq!(waiters(&b), [0, 0]);
    assert_eq!(b.dqbuf(), EAGAIN);
    assert_eq!(waiters(&b), [1, 0]);
    assert_eq!(poll(&mut b, POLL_OUT), 0);
    assert_eq!(waiters(&b), [2, 0]);
    for events in [0, POLL_IN, POLL_PRI] {
        assert_eq!(poll(&mut b, events), 0);
        b.device.poll_waits(b.file, events);
    }
    assert_eq!(b.query(1), 0, "a buffer that the program has");
    assert_eq!(waiters(&b), [2, 0]);
    assert_eq!(b.query(0), 0);
    b.device.poll_waits(b.file, POLL_OUT);
    assert_eq!(waiters(&b), [3, 1]);
    b.nonblocking = false;
    assert_eq!(b.dqbuf(), WAIT);
    assert_eq!(waiters(&b), [3, 2]);
    b.abandon(b.file);
    b.tick();
    assert_eq!(b.query(0), 0);
    b.device.poll_waits(b.file, POLL_OUT);
    assert_eq!(poll(&mut b, POLL_OUT), POLL_OUT);
    assert_eq!((b.dqbuf(), waiters(&b)), (0, [3, 2]));
    // write() fills the buffers that were never queued, and then waits.
    let mut b = Bench::output();
    b.program.poke(ARRAY, &[1; 4096]);
    for _ in 0..2 {
        assert_eq!(write_by(&mut b, None, ARRAY, 4096), 4096);
    }
    assert_eq!(waiters(&b), [0, 0]);
    assert_eq!(write_by(&mut b, None, ARRAY, 4096), EAGAIN);
    assert_eq!(waiters(&b), [1, 0]);
    b.close();
}
