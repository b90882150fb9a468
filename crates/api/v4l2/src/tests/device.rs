//! Capabilities, ports, priorities, files, and copying of structures.

use super::*;
use crate::bytes::field;
use crate::request::REQUESTS;
use crate::{Bus as _, BusFault, CopyFault, Error, Peer, Span, sys};

#[test]
fn capabilities() {
    let rows = [
        (
            Flow::Capture,
            Planarity::Single,
            sys::V4L2_CAP_VIDEO_CAPTURE,
        ),
        (Flow::Output, Planarity::Single, sys::V4L2_CAP_VIDEO_OUTPUT),
        (
            Flow::Capture,
            Planarity::Multi,
            sys::V4L2_CAP_VIDEO_CAPTURE_MPLANE,
        ),
        (
            Flow::Output,
            Planarity::Multi,
            sys::V4L2_CAP_VIDEO_OUTPUT_MPLANE,
        ),
    ];
    for (flow, planarity, cap) in rows {
        let mut b = Bench::new(flow, planarity);
        let mut arg = vec![0xff; size_of::<sys::v4l2_capability>()];
        assert_eq!(b.call(sys::VIDIOC_QUERYCAP, &mut arg), 0);
        let caps =
            cap | sys::V4L2_CAP_READWRITE | sys::V4L2_CAP_STREAMING | sys::V4L2_CAP_EXT_PIX_FORMAT;
        assert_eq!(get(&arg, field!(v4l2_capability.device_caps)), caps);
        let all = get(&arg, field!(v4l2_capability.capabilities));
        assert_eq!(all, caps | sys::V4L2_CAP_DEVICE_CAPS);
        assert_eq!(get(&arg, field!(v4l2_capability.version)), 0x06_0c_00);
        assert_eq!(&arg[..5], b"test\0");
        assert_eq!(
            &arg[16..48],
            b"A card with a name that is far \0",
            "cut, and ended"
        );
        assert_eq!(&arg[48..62], b"platform:test\0");
        assert_eq!(&arg[92..], &[0; 12]);
        b.close();
    }
}

#[test]
fn ports_of_the_right_direction() {
    for flow in [Flow::Capture, Flow::Output] {
        let mut b = Bench::new(flow, Planarity::Single);
        let input = [
            sys::VIDIOC_ENUMINPUT,
            sys::VIDIOC_G_INPUT,
            sys::VIDIOC_S_INPUT,
        ];
        let output = [
            sys::VIDIOC_ENUMOUTPUT,
            sys::VIDIOC_G_OUTPUT,
            sys::VIDIOC_S_OUTPUT,
        ];
        let (ours, theirs) = if flow == Flow::Capture {
            (input, output)
        } else {
            (output, input)
        };
        for request in theirs {
            assert_eq!(b.call(request, &mut [0; 80]), ENOTTY);
        }
        let mut arg = [0xff; 80];
        Image(&mut arg).set_u32(0, 1);
        let len = if flow == Flow::Capture { 80 } else { 72 };
        assert_eq!(b.call(ours[0], &mut arg[..len]), 0);
        assert_eq!(
            (get(&arg, 0), &arg[4..10], get(&arg, 36)),
            (1, &b"Right\0"[..], 2)
        );
        assert!(arg[40..len].iter().all(|&byte| byte == 0));
        Image(&mut arg).set_u32(0, 2);
        assert_eq!(b.call(ours[0], &mut arg[..len]), EINVAL);
        assert_eq!((b.number(ours[2], 1), b.number(ours[2], 2)), (0, EINVAL));
        let mut now = [0; 4];
        assert_eq!((b.call(ours[1], &mut now), u32::from_ne_bytes(now)), (0, 1));
        assert_eq!(b.reqbufs(2, MMAP), 2);
        assert_eq!(
            (b.number(ours[2], 1), b.number(ours[2], 0)),
            (0, EBUSY),
            "buffers exist"
        );
        b.close();
    }
}

#[test]
fn priorities() {
    let mut b = Bench::capture();
    let two = b.open();
    let top = |b: &mut Bench| {
        let mut arg = [0; 4];
        assert_eq!(b.call(sys::VIDIOC_G_PRIORITY, &mut arg), 0);
        u32::from_ne_bytes(arg)
    };
    assert_eq!(top(&mut b), sys::V4L2_PRIORITY_DEFAULT);
    for (wanted, errno) in [(0, EINVAL), (4, EINVAL), (u32::MAX, EINVAL), (3, 0)] {
        assert_eq!(b.number(sys::VIDIOC_S_PRIORITY, wanted), errno, "{wanted}");
    }
    assert_eq!(top(&mut b), sys::V4L2_PRIORITY_RECORD);
    let mut control: [u8; 8] = record(&[(0, sys::V4L2_CID_BRIGHTNESS)]);
    assert_eq!(b.number_by(two, sys::VIDIOC_S_PRIORITY, 2), EBUSY);
    assert_eq!(b.call_by(two, sys::VIDIOC_S_CTRL, &mut control), EBUSY);
    assert_eq!(b.number_by(two, sys::VIDIOC_S_INPUT, 1), EBUSY);
    assert_eq!(b.reqbufs_by(two, 2, MMAP), -EBUSY);
    assert_eq!(
        b.call_by(two, sys::VIDIOC_G_CTRL, &mut control),
        0,
        "looking is free"
    );
    b.device.release(&mut b.mem, b.file);
    b.file = two;
    assert_eq!(
        b.call(sys::VIDIOC_S_CTRL, &mut control),
        0,
        "priority ends with its file"
    );
    b.close();
}

/// Source: Linux `__video_register_device`: nodes of one `v4l2_device` have one priority state.
#[test]
fn nodes_of_a_device_share_priorities() {
    let (mut first, mut second) = (Bench::capture(), Bench::capture());
    second.device.share_priorities(&first.device);
    // Files that were open before do not take part.
    let own = second.open();
    let top = |b: &mut Bench, file| {
        let mut arg = [0; 4];
        assert_eq!(b.call_by(file, sys::VIDIOC_G_PRIORITY, &mut arg), 0);
        u32::from_ne_bytes(arg)
    };
    let record = sys::V4L2_PRIORITY_RECORD;
    assert_eq!(first.number(sys::VIDIOC_S_PRIORITY, record), 0);
    assert_eq!(top(&mut second, own), record);
    assert_eq!(second.number_by(own, sys::VIDIOC_S_INPUT, 0), EBUSY);
    first.close();
    assert_eq!(top(&mut second, own), sys::V4L2_PRIORITY_DEFAULT);
    second.close();
}

#[test]
fn structures_out_of_reach() {
    let mut b = Bench::capture();
    for request in REQUESTS {
        for addr in [0, 0xdead_beef_0000, u64::MAX, u64::MAX - 7] {
            let errno = b.call_at(b.file, request.number, addr, false);
            let own = [ENOTTY, EINVAL, 2];
            assert!(
                errno == EFAULT || (!request.reads() && own.contains(&errno)),
                "{} at {addr:#x}: {errno}",
                request.name
            );
        }
    }
    b.close();
}

#[test]
fn unknown_calls_change_nothing() {
    let mut b = Bench::capture();
    let before = b.program.image();
    let sized = |dir: u32, nr: u32| dir << 30 | 0x3fff << 16 | 0x5600 | nr;
    let absent = [
        sys::VIDIOC_LOG_STATUS,
        sys::VIDIOC_G_STD,
        sys::VIDIOC_G_FBUF,
        sys::VIDIOC_G_TUNER,
        sys::VIDIOC_DBG_G_REGISTER,
    ];
    for request in [
        0,
        0x56ff,
        sized(0, 0),
        sized(1, 0),
        sized(2, 0),
        sized(3, 0),
    ]
    .into_iter()
    .chain(absent)
    {
        assert_eq!(
            b.call_at(b.file, request, ARG, false),
            ENOTTY,
            "{request:#x}"
        );
    }
    assert_eq!((b.program.reads.get(), b.program.writes.get()), (0, 0));
    // As in Linux, the structure is read even if only other devices support the call.
    for request in [
        sys::VIDIOC_CROPCAP,
        sys::VIDIOC_G_SELECTION,
        sys::VIDIOC_S_CROP,
        sys::VIDIOC_DECODER_CMD,
        sys::VIDIOC_ENCODER_CMD,
        sys::VIDIOC_G_EDID,
        sys::VIDIOC_QUERY_DV_TIMINGS,
    ] {
        assert_eq!(
            b.call_at(b.file, request, ARG, false),
            ENOTTY,
            "{request:#x}"
        );
    }
    assert!(before == b.program.image());
    b.close();
}

#[test]
fn each_structure_is_read_once_and_written_once() {
    let mut b = Bench::capture();
    assert_eq!(b.reqbufs(2, MMAP), 2);
    let buf = b.buf(0, MMAP);
    for request in [
        sys::VIDIOC_QUERYBUF,
        sys::VIDIOC_PREPARE_BUF,
        sys::VIDIOC_QBUF,
    ] {
        b.program.poke(ARG, &buf);
        let (reads, writes) = (b.program.reads.get(), b.program.writes.get());
        assert_eq!(b.call_at(b.file, request, ARG, false), 0);
        assert_eq!(b.program.reads.get() - reads, 1, "{request:#x}");
        assert_eq!(b.program.writes.get() - writes, 1, "{request:#x}");
    }
    b.close();
}

#[test]
fn closed_files_refuse_calls() {
    let mut b = Bench::capture();
    let files: Vec<_> = (0..100).map(|_| b.open()).collect();
    for &file in &files {
        assert_eq!(b.number_by(file, sys::VIDIOC_G_PRIORITY, 0), 0);
        b.device.release(&mut b.mem, file);
        assert_eq!(
            b.number_by(file, sys::VIDIOC_G_PRIORITY, 0),
            Error::NoFile.errno()
        );
    }
    assert_eq!(b.number(sys::VIDIOC_G_PRIORITY, 0), 0);
    b.close();
}

#[test]
fn statistics_count_frames() {
    let mut b = Bench::capture();
    assert_eq!(
        (b.reqbufs(2, MMAP), b.qbuf(0), b.qbuf(1), b.stream(true)),
        (2, 0, 0, 0)
    );
    b.tick();
    b.device.driver_mut().held.clear();
    b.tick();
    let queue = b.device.statistics(b.flow).queue;
    assert_eq!((queue.queued, queue.done, queue.errors), (2, 1, 1));
    let mut buf = b.buf(0, MMAP);
    assert_eq!((b.dqbuf(), b.call(sys::VIDIOC_DQBUF, &mut buf)), (0, 0));
    let flags = get(&buf, field!(v4l2_buffer.flags));
    assert_eq!(flags & sys::V4L2_BUF_FLAG_ERROR, sys::V4L2_BUF_FLAG_ERROR);
    b.close();
}

#[test]
fn plain_bus_copies_nothing_from_other_devices() {
    let mut memory = TestMemory::default();
    let (cookie, offset, len) = (&1, 2, 3);
    let from = Span {
        cookie,
        offset,
        len,
    };
    let fault = CopyFault::From(BusFault::OutOfRange { offset, len });
    assert_eq!(memory.copy_from(Peer(1), &from, &4, 0), Err(fault));
    assert!(!memory.is_same_memory(Peer(1), &from, &4));
    assert_eq!(memory.peer(), None);
}

#[test]
fn devices_without_controls_and_events_lack_the_calls() {
    let calls = [
        sys::VIDIOC_QUERYCTRL,
        sys::VIDIOC_G_CTRL,
        sys::VIDIOC_S_EXT_CTRLS,
        sys::VIDIOC_SUBSCRIBE_EVENT,
        sys::VIDIOC_DQEVENT,
    ];
    for is_plain in [true, false] {
        let mut driver = TestDriver::new(Flow::Capture, Planarity::Single);
        driver.is_plain = is_plain;
        let mut b = Bench::with(driver);
        for request in calls {
            let errno = b.call_at(b.file, request, ARG, false);
            assert_eq!(errno == ENOTTY, is_plain, "{request:#x}: {errno}");
        }
        b.close();
    }
}
