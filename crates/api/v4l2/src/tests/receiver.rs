//! DV timings and EDIDs, as bytes.

use super::*;
use crate::bytes::field;
use crate::{NoTimings, Receiver, Timings, sys};

const fn mode(size: (u32, u32), pixelclock: u64, front: u32) -> Timings {
    Timings {
        width: size.0,
        height: size.1,
        polarities: 3,
        pixelclock,
        horizontal: [front, 40, 220],
        vertical: [5, 5, 20],
        standards: 1,
        flags: 0x82,
        aspect: [0; 2],
        cea861_vic: 4,
        hdmi_vic: 0,
    }
}

static MODES: [Timings; 2] = [
    mode((1280, 720), 74_250_000, 110),
    mode((1280, 720), 74_250_000, 440),
];

pub(super) fn bench() -> Bench {
    let mut driver = TestDriver::new(Flow::Capture, Planarity::Single);
    driver.receiver = Some(Receiver {
        modes: &MODES,
        timings: MODES[0],
        found: Ok(MODES[0]),
        edid: vec![7; 256],
    });
    Bench::with(driver)
}

/// Returns the timings of a mode, at the offsets of Linux's header.
fn timings(mode: &Timings) -> [u8; 132] {
    let clock = u32::try_from(mode.pixelclock).unwrap();
    record(&[
        (4, mode.width),
        (8, mode.height),
        (16, mode.polarities),
        (20, clock),
        (28, mode.horizontal[0]),
        (32, mode.horizontal[1]),
        (36, mode.horizontal[2]),
        (40, mode.vertical[0]),
        (44, mode.vertical[1]),
        (48, mode.vertical[2]),
        (64, mode.standards),
        (68, mode.flags),
        (80, mode.cea861_vic.into()),
    ])
}

#[test]
fn timings_have_the_bytes_of_linux() {
    let mut b = bench();
    let mut arg = [0xff; 132];
    assert_eq!(b.call(sys::VIDIOC_G_DV_TIMINGS, &mut arg), 0);
    assert_eq!(arg, timings(&MODES[0]));
    for (index, mode) in (0..).zip(&MODES) {
        let mut arg: [u8; 148] = [0xff; 148];
        arg[..8].copy_from_slice(&record::<8>(&[(0, index)]));
        assert_eq!(b.call(sys::VIDIOC_ENUM_DV_TIMINGS, &mut arg), 0);
        assert_eq!(arg[16..], timings(mode));
        assert_eq!(arg[8..16], [0; 8], "reserved");
    }
    let mut arg: [u8; 148] = record(&[(0, 2)]);
    assert_eq!(b.call(sys::VIDIOC_ENUM_DV_TIMINGS, &mut arg), EINVAL);
    let mut cap: [u8; 144] = record(&[(0, 9), (8, 9), (20, 9)]);
    assert_eq!(b.call(sys::VIDIOC_DV_TIMINGS_CAP, &mut cap), 0);
    let clock = 74_250_000;
    let limits = [
        (16, 1280),
        (20, 1280),
        (24, 720),
        (28, 720),
        (32, clock),
        (40, clock),
    ];
    let rest = [(48, 1), (52, 6)];
    assert_eq!(cap, record::<144>(&[&limits[..], &rest].concat()));
    b.close();
}

#[test]
fn only_modes_can_be_set_and_none_while_busy() {
    let mut b = bench();
    let mut other = timings(&MODES[1]);
    // The fields after the vertical timings, flags and standards among them, are not compared.
    other[64..].fill(0xff);
    assert_eq!(b.call(sys::VIDIOC_S_DV_TIMINGS, &mut other), 0);
    assert_eq!(other, timings(&MODES[1]));
    for (at, value) in [
        (0, 1),
        (4, 1281),
        (12, 1),
        (16, 2),
        (20, 0),
        (28, 441),
        (48, 0),
    ] {
        let mut wrong = timings(&MODES[1]);
        Image(&mut wrong).set_u32(at, value);
        assert_eq!(b.call(sys::VIDIOC_S_DV_TIMINGS, &mut wrong), EINVAL, "{at}");
    }
    assert_eq!(b.reqbufs(2, MMAP), 2);
    let mut same = timings(&MODES[1]);
    assert_eq!(b.call(sys::VIDIOC_S_DV_TIMINGS, &mut same), 0);
    let mut first = timings(&MODES[0]);
    assert_eq!(b.call(sys::VIDIOC_S_DV_TIMINGS, &mut first), EBUSY);
    assert_eq!(set_edid(&mut b, 1, ARRAY).0, EBUSY);
    assert_eq!(b.reqbufs(0, MMAP), 0);
    b.close();
}

#[test]
fn query_says_why_there_are_no_timings() {
    let rows = [
        (NoTimings::NoSignal, 67, 2, 0),
        (NoTimings::NoLock, 37, 0x100, 0),
        (NoTimings::OutOfRange, 34, 0x100, 148_500_000),
    ];
    for (why, errno, status, clock) in rows {
        let mut b = bench();
        let driver = b.device.contexts_mut().next().unwrap().driver_mut();
        driver.receiver.as_mut().unwrap().found = Err(why);
        let mut arg = [0; 132];
        assert_eq!(b.call(sys::VIDIOC_QUERY_DV_TIMINGS, &mut arg), errno);
        assert_eq!(arg, record(&[(20, clock)]), "{why:?}");
        let mut input = [0; size_of::<sys::v4l2_input>()];
        assert_eq!(b.call(sys::VIDIOC_ENUMINPUT, &mut input), 0);
        assert_eq!(get(&input, field!(v4l2_input.status)), status);
        assert_eq!(get(&input, field!(v4l2_input.capabilities)), 2);
        b.close();
    }
}

/// Calls G_EDID or S_EDID for blocks from `start` at `addr`. Returns the errno and the blocks.
fn edid(b: &mut Bench, call: u32, (start, blocks): (u32, u32), addr: u64) -> (i32, u32) {
    let mut arg: [u8; 40] = record(&[(4, start), (8, blocks), (12, 5)]);
    Image(&mut arg).set_u64(32, addr);
    let errno = b.call(call, &mut arg);
    (errno, get(&arg, 8))
}

fn peek(b: &Bench, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    b.program.peek(ARRAY, &mut bytes);
    bytes
}

fn get_edid(b: &mut Bench, range: (u32, u32), addr: u64) -> (i32, u32) {
    edid(b, sys::VIDIOC_G_EDID, range, addr)
}

fn set_edid(b: &mut Bench, blocks: u32, addr: u64) -> (i32, u32) {
    edid(b, sys::VIDIOC_S_EDID, (0, blocks), addr)
}

#[test]
fn edid_is_read_in_blocks() {
    let mut b = bench();
    assert_eq!(get_edid(&mut b, (0, 0), 3), (0, 2));
    assert_eq!(get_edid(&mut b, (0, 256), ARRAY), (0, 2));
    assert_eq!(peek(&b, 257)[250..], [7, 7, 7, 7, 7, 7, 0]);
    assert_eq!(get_edid(&mut b, (1, 2), ARRAY), (0, 1));
    assert_eq!(get_edid(&mut b, (2, 1), ARRAY), (EINVAL, 1));
    assert_eq!(get_edid(&mut b, (u32::MAX, 1), ARRAY).0, EINVAL);
    assert_eq!(get_edid(&mut b, (0, 257), ARRAY).0, EINVAL);
    assert_eq!(get_edid(&mut b, (0, 1), 0).0, EFAULT);
    let mut other_pad: [u8; 40] = record(&[(0, 2)]);
    assert_eq!(b.call(sys::VIDIOC_G_EDID, &mut other_pad), EINVAL);
    assert_eq!(set_edid(&mut b, 0, 0), (0, 0));
    assert_eq!(get_edid(&mut b, (0, 1), ARRAY).0, 61, "ENODATA");
    b.close();
}

#[test]
fn edid_is_checked_as_linux_checks_it() {
    let mut b = bench();
    let data = |address: [u8; 2]| {
        let mut edid = vec![0; 256];
        edid[0x7e] = 1;
        edid[128..134].copy_from_slice(&[2, 3, 12, 0, 0x41, 0x10]);
        edid[134..140].copy_from_slice(&[0x65, 3, 12, 0, address[0], address[1]]);
        edid
    };
    // S_EDID checks only the physical address, not the checksums.
    for (address, errno) in [
        ([0x10, 0x00], 0),
        ([0x12, 0x34], 0),
        ([0, 0], 0),
        ([0xff, 0xff], 0),
        ([0x10, 0x20], EINVAL),
        ([0x01, 0x00], EINVAL),
    ] {
        b.program.poke(ARRAY, &data(address));
        assert_eq!(set_edid(&mut b, 2, ARRAY), (errno, 2), "{address:?}");
    }
    assert_eq!(get_edid(&mut b, (0, 2), ARRAY), (0, 2));
    assert_eq!(peek(&b, 256), data([0xff, 0xff]));
    // A data block that ends behind its extension, and an extension that the base does not count.
    for (at, byte) in [
        (130, 0x7f),
        (133, 0x1f),
        (134, 0x7f),
        (0x7e, 0),
        (0x7e, 255),
    ] {
        let mut odd = data([0x12, 0x34]);
        odd[at] = byte;
        b.program.poke(ARRAY, &odd);
        assert_eq!(set_edid(&mut b, 2, ARRAY), (0, 2), "{at}");
    }
    assert_eq!(set_edid(&mut b, 5, ARRAY), (7, 4), "E2BIG");
    assert_eq!(edid(&mut b, sys::VIDIOC_S_EDID, (1, 1), ARRAY).0, EINVAL);
    assert_eq!(set_edid(&mut b, 1, 0).0, EFAULT);
    b.close();
}

#[test]
fn without_edid_the_source_goes_away() {
    let mut b = bench();
    let mut topic: [u8; 32] = record(&[(0, sys::V4L2_EVENT_SOURCE_CHANGE)]);
    assert_eq!(b.call(sys::VIDIOC_SUBSCRIBE_EVENT, &mut topic), 0);
    assert_eq!(set_edid(&mut b, 1, ARRAY).0, 0);
    let mut event = [0; size_of::<sys::v4l2_event>()];
    assert_eq!(b.call(sys::VIDIOC_DQEVENT, &mut event), 2, "no change");
    assert_eq!(set_edid(&mut b, 0, 0).0, 0);
    assert_eq!(b.call(sys::VIDIOC_DQEVENT, &mut event), 0);
    assert_eq!(get(&event, field!(v4l2_event.u)), 1);
    let mut arg = [0; 132];
    assert_eq!(b.call(sys::VIDIOC_QUERY_DV_TIMINGS, &mut arg), 67);
    b.close();
}

#[test]
fn frame_rate_follows_the_timings() {
    let interval = MODES[0].interval();
    assert_eq!((interval.numerator, interval.denominator), (1, 60));
    assert_eq!((MODES[0].centihertz(), MODES[1].centihertz()), (6000, 5000));
    let vga = Timings {
        horizontal: [16, 96, 48],
        vertical: [10, 2, 33],
        ..mode((640, 480), 25_175_000, 16)
    };
    assert_eq!(
        (vga.interval().numerator, vga.interval().denominator),
        (84, 5035)
    );
    assert_eq!(vga.centihertz(), 5994);
    let odd = Timings {
        pixelclock: 0,
        ..vga
    };
    assert_eq!(odd.centihertz(), 0);
    assert_eq!(odd.interval().denominator, 0);
}
