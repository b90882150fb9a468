//! Arrays of planes.

use super::*;
use crate::bytes::field;
use crate::sys;

const PLANE: usize = size_of::<sys::v4l2_plane>();
const LENGTH: usize = field!(v4l2_buffer.length);
const PLANES: usize = field!(v4l2_buffer.m);

fn bench(flow: Flow) -> Bench {
    Bench::new(flow, Planarity::Multi)
}

/// Returns a buffer whose array of `count` planes is at `addr`.
fn buf(b: &Bench, index: u32, memory: u32, count: u32, addr: u64) -> Buf {
    let mut buf = b.buf(index, memory);
    let mut image = Image(&mut buf);
    image.set_u32(LENGTH, count);
    image.set_u64(PLANES, addr);
    buf
}

fn call(b: &mut Bench, request: u32, index: u32, count: u32, addr: u64) -> i32 {
    let mut buf = buf(b, index, MMAP, count, addr);
    b.call(request, &mut buf)
}

/// Returns a field of plane `index` in the program's array.
fn plane(b: &Bench, index: u64, at: usize) -> u32 {
    let mut bytes = [0; 4];
    b.program
        .peek(ARRAY + index * PLANE as u64 + at as u64, &mut bytes);
    u32::from_ne_bytes(bytes)
}

fn set_planes(b: &Bench, fields: &[(u64, usize, u32)]) {
    b.program.poke(ARRAY, &[0; PLANE * 8]);
    for &(index, at, value) in fields {
        b.program.poke(
            ARRAY + index * PLANE as u64 + at as u64,
            &value.to_ne_bytes(),
        );
    }
}

#[test]
fn missing_short_and_long_arrays() {
    let mut b = bench(Flow::Capture);
    assert_eq!(b.reqbufs(2, MMAP), 2);
    let (query, prepare, dq) = (
        sys::VIDIOC_QUERYBUF,
        sys::VIDIOC_PREPARE_BUF,
        sys::VIDIOC_DQBUF,
    );
    let rows = [
        ("MP6", query, 1, ARRAY, EINVAL),
        ("MP7", query, 9, ARRAY, EINVAL),
        ("MP8", query, 2, 0, EFAULT),
        ("MP9", query, 2, 0xdead_0000, EFAULT),
        ("no array", query, 0, 0, EINVAL),
        ("MP10", query, 8, ARRAY, 0),
        ("exact", query, 2, ARRAY, 0),
        ("MP12", prepare, 1, ARRAY, EINVAL),
        ("prepare with none", prepare, 0, ARRAY, EINVAL),
        ("not streaming", dq, 2, ARRAY, EINVAL),
    ];
    for (id, request, count, addr, errno) in rows {
        assert_eq!(call(&mut b, request, 0, count, addr), errno, "{id}");
    }
    assert_eq!(b.stream(true), 0);
    assert_eq!(call(&mut b, dq, 0, 1, ARRAY), EAGAIN, "MP21");
    assert_eq!(call(&mut b, dq, 0, 9, ARRAY), EINVAL, "MP22");
    assert_eq!(call(&mut b, sys::VIDIOC_QBUF, 0, 2, ARRAY), 0);
    b.tick();
    assert_eq!(call(&mut b, dq, 0, 1, ARRAY), EINVAL, "MP17");
    assert_eq!(call(&mut b, dq, 0, 2, 0), EFAULT, "MP18");
    assert_eq!(call(&mut b, dq, 0, 2, ARRAY), 0, "MP19");
    b.close();
}

#[test]
fn planes_are_reported_separately() {
    let mut b = bench(Flow::Capture);
    assert_eq!((b.reqbufs(2, MMAP), b.stream(true)), (2, 0));
    b.program.poke(ARRAY, &[0xff; PLANE * 8]);
    let mut query = buf(&b, 1, MMAP, 3, ARRAY);
    assert_eq!(b.call(sys::VIDIOC_QUERYBUF, &mut query), 0);
    assert_eq!(get(&query, LENGTH), 2);
    assert_eq!(
        Image(&mut query).u64(PLANES),
        ARRAY,
        "the program's pointer stays"
    );
    for (index, length, offset) in [(0, 2048, 1 << 15), (1, 1024, (1 << 15) + 4096)] {
        assert_eq!(plane(&b, index, field!(v4l2_plane.length)), length);
        assert_eq!(plane(&b, index, field!(v4l2_plane.m)), offset);
        assert_eq!(plane(&b, index, field!(v4l2_plane.reserved)), 0);
        assert_eq!(plane(&b, index, field!(v4l2_plane.reserved) + 40), 0);
    }
    assert_eq!(
        plane(&b, 2, 0),
        u32::MAX,
        "a plane that is not there stays as it was"
    );
    assert_eq!(call(&mut b, sys::VIDIOC_QBUF, 1, 2, ARRAY), 0);
    b.tick();
    assert_eq!(call(&mut b, sys::VIDIOC_DQBUF, 0, 2, ARRAY), 0);
    assert_eq!(
        (plane(&b, 0, 0), plane(&b, 1, 0)),
        (2048, 1024),
        "bytesused"
    );
    assert_eq!(
        (b.export(0, 1, 0), b.export(0, 2, 0)),
        (3, -EINVAL),
        "MP15, MP16"
    );
    b.close();
}

#[test]
fn payloads_and_offsets() {
    let mut b = bench(Flow::Output);
    assert_eq!((b.reqbufs(2, MMAP), b.stream(true)), (2, 0));
    let (used, offset) = (field!(v4l2_plane.bytesused), field!(v4l2_plane.data_offset));
    let rows: [(&str, &[(u64, usize, u32)], i32); 4] = [
        ("MP13", &[(0, used, 2048), (1, used, 1025)], EINVAL),
        (
            "MP14",
            &[(0, used, 100), (0, offset, 100), (1, used, 1)],
            EINVAL,
        ),
        ("offset beyond", &[(0, used, 100), (0, offset, 101)], EINVAL),
        (
            "fine",
            &[(0, used, 2000), (0, offset, 64), (1, used, 900)],
            0,
        ),
    ];
    for (id, planes, errno) in rows {
        set_planes(&b, planes);
        assert_eq!(call(&mut b, sys::VIDIOC_QBUF, 0, 2, ARRAY), errno, "{id}");
    }
    b.tick();
    set_planes(&b, &[]);
    assert_eq!(call(&mut b, sys::VIDIOC_DQBUF, 0, 2, ARRAY), 0);
    assert_eq!(
        (plane(&b, 0, used), plane(&b, 0, offset), plane(&b, 1, used)),
        (2000, 64, 900)
    );
    b.close();
}

#[test]
fn failed_plane_import_leaks_nothing() {
    for flow in [Flow::Capture, Flow::Output] {
        let mut b = bench(flow);
        assert_eq!(b.reqbufs(2, DMABUF), 2);
        let small = b.program.open_dmabuf(&mut b.mem, 64).cast_unsigned();
        let large = b.program.open_dmabuf(&mut b.mem, 4096).cast_unsigned();
        let (m, length) = (field!(v4l2_plane.m), field!(v4l2_plane.length));
        let before = b.mem.held();
        let rows: [(&[(u64, usize, u32)], i32); 4] = [
            (&[(0, m, small), (0, length, 2048), (1, m, large)], EFAULT),
            (&[(0, m, large), (1, m, small), (1, length, 1024)], EFAULT),
            (&[(0, m, large), (1, m, 99)], EINVAL),
            (
                &[
                    (0, m, large),
                    (0, length, 4096),
                    (1, m, large),
                    (1, length, 4097),
                ],
                EFAULT,
            ),
        ];
        for (planes, errno) in rows {
            set_planes(&b, planes);
            let mut buf = buf(&b, 0, DMABUF, 2, ARRAY);
            assert_eq!(b.call(sys::VIDIOC_QBUF, &mut buf), errno, "{planes:?}");
            assert_eq!(b.mem.held(), before, "{planes:?}");
        }
        set_planes(&b, &[(0, m, large), (1, m, large)]);
        let mut buf = buf(&b, 0, DMABUF, 2, ARRAY);
        assert_eq!(b.call(sys::VIDIOC_QBUF, &mut buf), 0, "one buffer for both");
        assert_eq!(plane(&b, 1, length), 4096);
        b.close();
    }
}

#[test]
fn creating_checks_every_plane() {
    let mut b = bench(Flow::Capture);
    let (_, good) = b.create_by(b.file, 0, MMAP);
    let pix = field!(v4l2_create_buffers.format) + field!(v4l2_format.fmt);
    let num = pix + field!(v4l2_pix_format_mplane.num_planes);
    let size = |i: usize| {
        let planes = pix + field!(v4l2_pix_format_mplane.plane_fmt);
        planes + i * size_of::<sys::v4l2_plane_pix_format>()
    };
    let rows: [(&str, u8, usize, u32, i32); 7] = [
        ("MP1", 0, 0, 2048, EINVAL),
        ("MP2", 9, 0, 2048, EINVAL),
        ("MP3", 1, 0, 2048, EINVAL),
        ("one more, of size 0", 3, 2, 0, EINVAL),
        ("one more", 3, 2, 65536, EINVAL),
        ("too small", 2, 1, 512, EINVAL),
        ("MP5", 2, 1, 1024, 0),
    ];
    for (id, planes, index, bytes, errno) in rows {
        let mut arg = good.clone();
        Image(&mut arg).set_u32(field!(v4l2_create_buffers.count), 1);
        Image(&mut arg).set_u8(num, planes);
        Image(&mut arg).set_u32(size(index), bytes);
        assert_eq!(b.call(sys::VIDIOC_CREATE_BUFS, &mut arg), errno, "{id}");
    }
    b.close();
}

#[test]
fn read_and_write_need_one_plane() {
    for flow in [Flow::Capture, Flow::Output] {
        let mut b = bench(flow);
        let cx = b.cx(b.file, false);
        let got = if flow == Flow::Output {
            b.device
                .transfer(&mut b.mem, cx, Flow::Output, (ARRAY, 8), &b.program)
        } else {
            b.device
                .transfer(&mut b.mem, cx, Flow::Capture, (ARRAY, 8), &b.program)
        };
        assert_eq!(code(got), EBUSY, "MP0");
        assert_eq!(b.reqbufs(2, MMAP), 2, "and nothing is left of it");
        b.close();
    }
}
