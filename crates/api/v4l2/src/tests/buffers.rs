//! The buffer structures of QBUF, DQBUF and QUERYBUF, byte by byte.

use super::*;
use crate::bytes::field;
use crate::sys;

const FLAGS: usize = field!(v4l2_buffer.flags);
const USED: usize = field!(v4l2_buffer.bytesused);
const LENGTH: usize = field!(v4l2_buffer.length);
const PLACE: usize = field!(v4l2_buffer.m);
const SECONDS: usize = field!(v4l2_buffer.timestamp);

fn set(buf: &mut [u8], at: usize, value: u32) {
    Image(buf).set_u32(at, value);
}

fn wide(buf: &[u8], at: usize) -> u64 {
    Image(&mut buf.to_vec()).u64(at)
}

#[test]
fn captured_buffers_have_all_fields() {
    let mut b = Bench::capture();
    assert_eq!((b.reqbufs(2, MMAP), b.qbuf(1), b.stream(true)), (2, 0, 0));
    let mut queued = b.buf(1, MMAP);
    assert_eq!(b.call(sys::VIDIOC_QUERYBUF, &mut queued), 0);
    let mono = sys::V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    assert_eq!(get(&queued, FLAGS), mono | sys::V4L2_BUF_FLAG_QUEUED);
    assert_eq!((get(&queued, LENGTH), get(&queued, PLACE)), (4096, 1 << 15));
    assert_eq!((wide(&queued, SECONDS), wide(&queued, SECONDS + 8)), (0, 0));

    b.device.driver_mut().sequence = 7;
    b.tick();
    let mut done = b.buf(0, MMAP);
    done.fill(0xff);
    set(&mut done, field!(v4l2_buffer.type_), 1);
    assert_eq!(b.call(sys::VIDIOC_DQBUF, &mut done), 0);
    assert_eq!(
        (get(&done, 0), get(&done, FLAGS), get(&done, USED)),
        (1, mono, 4096)
    );
    assert_eq!(get(&done, field!(v4l2_buffer.sequence)), 7);
    assert_eq!(get(&done, field!(v4l2_buffer.field)), 1);
    assert_eq!(get(&done, field!(v4l2_buffer.memory)), MMAP);
    assert_eq!(
        (wide(&done, SECONDS), wide(&done, SECONDS + 8)),
        (1, 33_000)
    );
    assert_eq!(get(&done, field!(v4l2_buffer.reserved2)), 0);
    assert_eq!(get(&done, field!(v4l2_buffer.__bindgen_anon_1)), 0);
    b.close();
}

#[test]
fn output_buffers_keep_the_programs_fields() {
    let mut b = Bench::output();
    assert_eq!((b.reqbufs(2, MMAP), b.stream(true)), (2, 0));
    let mut buf = b.buf(0, MMAP);
    let said = sys::V4L2_BUF_FLAG_TIMECODE | sys::V4L2_BUF_FLAG_PFRAME;
    set(
        &mut buf,
        FLAGS,
        said | sys::V4L2_BUF_FLAG_DONE | sys::V4L2_BUF_FLAG_TSTAMP_SRC_SOE,
    );
    set(&mut buf, USED, 100);
    let timecode = [9; 16];
    Image(&mut buf).set_bytes(field!(v4l2_buffer.timecode), timecode);
    assert_eq!(b.call(sys::VIDIOC_QBUF, &mut buf), 0);
    let mono = sys::V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    assert_eq!(get(&buf, FLAGS), said | mono | sys::V4L2_BUF_FLAG_QUEUED);
    assert_eq!(get(&buf, field!(v4l2_buffer.field)), 1, "ANY becomes NONE");
    b.tick();
    let mut done = b.buf(0, MMAP);
    assert_eq!(b.call(sys::VIDIOC_DQBUF, &mut done), 0);
    assert_eq!((get(&done, FLAGS), get(&done, USED)), (said | mono, 100));
    assert_eq!(
        Image(&mut done).bytes(field!(v4l2_buffer.timecode)),
        timecode
    );
    assert_eq!(b.device.driver().shown, [(100, 0)]);
    assert_eq!((b.stream(false), b.reqbufs(2, MMAP)), (0, 2));
    let mut fresh = b.buf(0, MMAP);
    assert_eq!(b.call(sys::VIDIOC_QUERYBUF, &mut fresh), 0);
    assert_eq!(get(&fresh, FLAGS), mono, "nothing is left in new buffers");
    b.close();
}

#[test]
fn copied_timestamps_keep_their_source() {
    let mut driver = TestDriver::new(Flow::Output, Planarity::Single);
    driver.policy.copy_timestamps = true;
    let mut b = Bench::with(driver);
    assert_eq!((b.reqbufs(2, MMAP), b.stream(true)), (2, 0));
    let mut buf = b.buf(0, MMAP);
    set(&mut buf, FLAGS, sys::V4L2_BUF_FLAG_TSTAMP_SRC_SOE);
    Image(&mut buf).set_u64(SECONDS, 12);
    Image(&mut buf).set_u64(SECONDS + 8, 345_678);
    assert_eq!(b.call(sys::VIDIOC_QBUF, &mut buf), 0);
    b.tick();
    let mut done = b.buf(0, MMAP);
    assert_eq!(b.call(sys::VIDIOC_DQBUF, &mut done), 0);
    let copy = sys::V4L2_BUF_FLAG_TIMESTAMP_COPY | sys::V4L2_BUF_FLAG_TSTAMP_SRC_SOE;
    assert_eq!(get(&done, FLAGS), copy);
    assert_eq!(
        (wide(&done, SECONDS), wide(&done, SECONDS + 8)),
        (12, 345_678)
    );
    b.close();
}

#[test]
fn copied_timestamps_are_linuxs_also_if_negative() {
    let mut driver = TestDriver::new(Flow::Output, Planarity::Single);
    driver.policy.copy_timestamps = true;
    let mut b = Bench::with(driver);
    assert_eq!((b.reqbufs(2, MMAP), b.stream(true)), (2, 0));
    // Rows: as ffmpeg -ss queues it; seconds before the epoch; negative microseconds; the largest seconds.
    for (given, expected) in [
        ((0, -200_000), (4294, 767_296)),
        ((-1, 200_000), (-1, 200_000)),
        ((-1, -1), (4293, 967_295)),
        ((i64::MAX, 0), (-1, 0)),
    ] {
        let mut buf = b.buf(0, MMAP);
        Image(&mut buf).set_u64(SECONDS, i64::cast_unsigned(given.0));
        Image(&mut buf).set_u64(SECONDS + 8, i64::cast_unsigned(given.1));
        assert_eq!(b.call(sys::VIDIOC_QBUF, &mut buf), 0);
        b.tick();
        let mut done = b.buf(0, MMAP);
        assert_eq!(b.call(sys::VIDIOC_DQBUF, &mut done), 0);
        let found = (wide(&done, SECONDS), wide(&done, SECONDS + 8));
        let (seconds, micros) = expected;
        assert_eq!(found, (i64::cast_unsigned(seconds), micros), "{given:?}");
    }
    b.close();
}

#[test]
fn payloads_of_output_buffers() {
    let mut b = Bench::output();
    assert_eq!(b.reqbufs(4, MMAP), 4);
    for (index, used, errno, kept) in [(0, 4097, EINVAL, 0), (1, 4096, 0, 4096), (2, 0, 0, 4096)] {
        let mut buf = b.buf(index, MMAP);
        set(&mut buf, USED, used);
        assert_eq!(b.call(sys::VIDIOC_QBUF, &mut buf), errno, "{used}");
        if errno == 0 {
            assert_eq!(get(&buf, USED), kept, "{used}");
        }
    }
    let mut alternate = b.buf(3, MMAP);
    set(&mut alternate, field!(v4l2_buffer.field), 7);
    assert_eq!(b.call(sys::VIDIOC_QBUF, &mut alternate), EINVAL);

    let mut prepared = b.buf(3, MMAP);
    set(&mut prepared, USED, 10);
    assert_eq!(b.call(sys::VIDIOC_PREPARE_BUF, &mut prepared), 0);
    assert_eq!(
        get(&prepared, FLAGS) & 0xfff,
        sys::V4L2_BUF_FLAG_PREPARED & 0xfff
    );
    set(&mut prepared, USED, 0xdead_beef);
    assert_eq!(b.call(sys::VIDIOC_QBUF, &mut prepared), 0);
    assert_eq!(
        get(&prepared, USED),
        10,
        "a prepared buffer keeps its payload"
    );
    b.close();
}

#[test]
fn cache_hints_hold_for_allocated_memory_only() {
    let hints = sys::V4L2_BUF_FLAG_NO_CACHE_CLEAN | sys::V4L2_BUF_FLAG_NO_CACHE_INVALIDATE;
    let mut b = Bench::capture();
    for (memory, kept) in [(MMAP, hints), (DMABUF, 0)] {
        assert_eq!(b.reqbufs(2, memory), 2);
        let mut buf = b.buf(0, memory);
        if memory == DMABUF {
            let fd = b.program.open_dmabuf(&mut b.mem, 8192);
            Image(&mut buf).set_i32(PLACE, fd);
        }
        set(&mut buf, FLAGS, hints);
        assert_eq!(b.call(sys::VIDIOC_QBUF, &mut buf), 0);
        assert_eq!(get(&buf, FLAGS) & hints, kept, "memory {memory}");
    }
    b.close();
}

#[test]
fn only_allocated_memory_may_be_non_coherent() {
    for hints in [true, false] {
        let mut driver = TestDriver::new(Flow::Capture, Planarity::Single);
        driver.policy.cache_hints = hints;
        let mut b = Bench::with(driver);
        for (memory, granted) in [(MMAP, hints), (USERPTR, false), (DMABUF, false)] {
            let mut arg: [u8; 20] = record(&[(0, 2), (4, 1), (8, memory), (16, 0xffff_ffff)]);
            assert_eq!(b.call(sys::VIDIOC_REQBUFS, &mut arg), 0);
            assert_eq!(
                get(&arg, 16),
                u32::from(granted),
                "memory {memory}, reserved bytes are 0"
            );
            let cap = sys::V4L2_BUF_CAP_SUPPORTS_MMAP_CACHE_HINTS;
            assert_eq!(get(&arg, 12) & cap != 0, hints);
        }
        assert_eq!(b.reqbufs(2, MMAP), 2, "coherent");
        let (_, mut arg) = b.create_by(b.file, 0, MMAP);
        set(&mut arg, field!(v4l2_create_buffers.flags), 1);
        set(&mut arg, field!(v4l2_create_buffers.count), 1);
        let wanted = if hints { EINVAL } else { 0 };
        assert_eq!(
            b.call(sys::VIDIOC_CREATE_BUFS, &mut arg),
            wanted,
            "another coherency"
        );
        b.close();
    }
}

#[test]
fn pictures_reach_user_memory() {
    let mut b = Bench::capture();
    assert_eq!((b.reqbufs(2, USERPTR), b.stream(true)), (2, 0));
    let rows = [
        ("U1 too short", program::BASE + 0x8000, 4095, EINVAL),
        ("U2 NULL", 0, 4096, EFAULT),
        ("U3 unmapped", 0x7fff_0000_0000, 4096, EFAULT),
        ("U4 read-only", program::READ_ONLY, 4096, EFAULT),
        ("U5 beyond the end", program::READ_ONLY - 100, 4096, EFAULT),
        ("U9 huge", program::BASE, 0xffff_f000, EFAULT),
        ("fine", program::BASE + 0x8001, 4096, 0),
    ];
    for (id, addr, length, errno) in rows {
        let mut buf = b.buf(0, USERPTR);
        Image(&mut buf).set_u64(PLACE, addr);
        set(&mut buf, LENGTH, length);
        assert_eq!(b.call(sys::VIDIOC_QBUF, &mut buf), errno, "{id}");
    }
    b.tick();
    let mut buf = b.buf(0, USERPTR);
    assert_eq!(b.call(sys::VIDIOC_DQBUF, &mut buf), 0);
    assert_eq!(wide(&buf, PLACE), program::BASE + 0x8001);
    let mut picture = [0; 4098];
    b.program.peek(program::BASE + 0x8000, &mut picture);
    assert_eq!(
        (picture[0], picture[1], picture[4096], picture[4097]),
        (0, 1, 1, 0)
    );
    b.close();
}

#[test]
fn pictures_that_no_dqbuf_fetches_are_discarded() {
    let mut b = Bench::capture();
    let place = |index: u64| program::BASE + 0x8000 * (1 + index);
    let queue = |b: &mut Bench, index: u32| {
        let mut buf = b.buf(index, USERPTR);
        Image(&mut buf).set_u64(PLACE, place(index.into()));
        set(&mut buf, LENGTH, 4096);
        b.call(sys::VIDIOC_QBUF, &mut buf)
    };
    assert_eq!((b.reqbufs(2, USERPTR), b.stream(true)), (2, 0));
    assert_eq!((queue(&mut b, 0), queue(&mut b, 1)), (0, 0));
    b.tick();
    let mut buf = b.buf(0, USERPTR);
    assert_eq!(b.call(sys::VIDIOC_DQBUF, &mut buf), 0);
    b.tick();
    assert_eq!(b.stream(false), 0);
    let held = vec![(place(1), 4096)];
    assert_eq!(b.program.discarded.take(), held, "the other came back");
    assert_eq!(b.stream(false), 0);
    assert_eq!(b.program.discarded.take(), []);
    b.close();
}

#[test]
fn imported_buffers() {
    let mut b = Bench::capture();
    assert_eq!(b.reqbufs(2, DMABUF), 2);
    let small = b.program.open_dmabuf(&mut b.mem, 1024);
    let large = b.program.open_dmabuf(&mut b.mem, 8192);
    let rows = [
        ("F1 no descriptor", -1, 0, EINVAL),
        ("F2 not open", 77, 0, EINVAL),
        ("F3 small, its length", small, 0, EINVAL),
        ("F4 small, a lie", small, 4096, EFAULT),
        ("F5 length too short", large, 100, EINVAL),
        ("F6 length beyond the end", large, 8193, EFAULT),
        ("fine", large, 0, 0),
    ];
    let (_, before) = b.mem.held();
    for (id, fd, length, errno) in rows {
        let mut buf = b.buf(0, DMABUF);
        Image(&mut buf).set_i32(PLACE, fd);
        set(&mut buf, LENGTH, length);
        assert_eq!(b.call(sys::VIDIOC_QBUF, &mut buf), errno, "{id}");
        let expected = if errno == 0 {
            (1, before + 1)
        } else {
            (0, before)
        };
        assert_eq!(b.mem.held(), expected, "{id}: what is held");
    }
    assert_eq!(b.remove(0, 1), EBUSY, "F11");
    let mut buf = b.buf(0, DMABUF);
    assert_eq!(b.call(sys::VIDIOC_QUERYBUF, &mut buf), 0);
    assert_eq!(
        (Image(&mut buf).i32(PLACE), get(&buf, LENGTH)),
        (large, 8192)
    );
    b.close();
}

#[test]
fn output_payloads_are_checked_against_buffer() {
    let mut b = Bench::output();
    assert_eq!((b.reqbufs(2, DMABUF), b.stream(true)), (2, 0));
    let small = b.program.open_dmabuf(&mut b.mem, 4096);
    let large = b.program.open_dmabuf(&mut b.mem, 16384);
    for (id, fd, used, errno) in [
        ("large first", large, 16384, 0),
        (
            "OD6 small with the large one's payload",
            small,
            16384,
            EINVAL,
        ),
        ("OD3 small with its own", small, 4096, 0),
        ("OD2 bad descriptor", -1, 4096, EINVAL),
        ("OD7 large again", large, 16384, 0),
    ] {
        let mut buf = b.buf(0, DMABUF);
        Image(&mut buf).set_i32(PLACE, fd);
        set(&mut buf, USED, used);
        assert_eq!(b.call(sys::VIDIOC_QBUF, &mut buf), errno, "{id}");
        if errno == 0 {
            b.tick();
            assert_eq!(b.dqbuf(), 0, "{id}");
        }
    }
    b.close();
}

#[test]
fn refusals_are_kept_with_their_reason() {
    let mut b = Bench::capture();
    b.mem.limit = 3000;
    assert_eq!(b.reqbufs(2, MMAP), -ENOMEM);
    assert_eq!(b.qbuf(0), EINVAL, "no reason: not kept");
    let refusals = b.device.take_refusals();
    assert_eq!(refusals.len(), 1);
    let refusal = refusals[0];
    assert_eq!(
        (
            refusal.call,
            refusal.errno,
            refusal.reason.constraint.name()
        ),
        ("VIDIOC_REQBUFS", 12, "cma-size")
    );
    assert_eq!((refusal.reason.wanted, refusal.reason.found), (4096, 3000));
    assert!(b.device.take_refusals().is_empty());
    for _ in 0..300 {
        b.reqbufs(2, MMAP);
    }
    assert_eq!(b.device.take_refusals().len(), 256, "and not without bound");
    b.close();
}

#[test]
fn calls_on_own_buffers_are_recognised() {
    let mut b = Bench::capture();
    let other = b.open();
    let passes = |b: &Bench, file| {
        let calls = [
            Some(sys::VIDIOC_QBUF),
            Some(sys::VIDIOC_DQBUF),
            None,
            Some(sys::VIDIOC_QUERYBUF),
        ];
        let mut argument = [0; 8];
        argument[4..].copy_from_slice(&sys::V4L2_BUF_TYPE_VIDEO_CAPTURE.to_ne_bytes());
        let passes = |argument| calls.map(|call| b.device.passes_own_buffers(file, call, argument));
        let unknown = passes(&[0; 8]);
        assert_eq!(
            (unknown, passes(&[])),
            ([false, false, unknown[2], false], unknown)
        );
        passes(&argument)
    };
    assert_eq!((b.reqbufs(2, MMAP), b.qbuf(1)), (2, 0));
    assert_eq!(passes(&b, b.file), [false; 4], "it does not stream");
    assert_eq!(b.stream(true), 0);
    assert_eq!(passes(&b, b.file), [true, true, true, false]);
    assert_eq!(passes(&b, other), [false; 4], "the queue is another's");
    assert_eq!((b.stream(false), b.reqbufs(0, MMAP)), (0, 0));
    assert_eq!((b.reqbufs(2, DMABUF), b.stream(true)), (2, 0));
    let wanted = [false, true, true, false];
    assert_eq!(passes(&b, b.file), wanted, "QBUF may map memory of others");
    b.close();
}

#[test]
fn streamoff_waits_while_a_worker_writes() {
    let mut b = Bench::capture();
    b.nonblocking = false;
    assert_eq!((b.reqbufs(2, MMAP), b.qbuf(0), b.stream(true)), (2, 0, 0));
    b.tick();
    b.device.driver_mut().is_writing = true;
    woken(&mut b.device);
    assert_eq!(b.stream(false), WAIT);
    assert!(woken(&mut b.device).0.is_empty());
    b.tick();
    assert_eq!(woken(&mut b.device).0, [b.file].into());
    assert_eq!(b.stream(false), WAIT, "it is asked again");
    b.nonblocking = true;
    assert_eq!(b.stream(false), 0, "a caller that cannot wait");
    assert_eq!(b.stream(false), 0, "nothing is streaming");
}
