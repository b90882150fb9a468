//! Subscriptions, and events as bytes.

use super::driver::{AUTO, GOVERNED};
use super::*;
use crate::bytes::field;
use crate::{ControlSpec, ControlValue, DriverEvent, POLL_PRI, sys};

const BRIGHTNESS: u32 = sys::V4L2_CID_BRIGHTNESS;
const ENOENT: i32 = 2;
const INITIAL: u32 = sys::V4L2_EVENT_SUB_FL_SEND_INITIAL;
const FEEDBACK: u32 = sys::V4L2_EVENT_SUB_FL_ALLOW_FEEDBACK;
const CTRL: u32 = sys::V4L2_EVENT_CTRL;
const SYNC: u32 = sys::V4L2_EVENT_FRAME_SYNC;

fn subscribe(
    b: &mut Bench,
    file: impl Into<Option<FileHandle>>,
    kind: u32,
    id: u32,
    flags: u32,
) -> i32 {
    let file = file.into().unwrap_or(b.file);
    let mut arg: [u8; 32] = record(&[(0, kind), (4, id), (8, flags)]);
    b.call_by(file, sys::VIDIOC_SUBSCRIBE_EVENT, &mut arg)
}

fn unsubscribe(b: &mut Bench, kind: u32, id: u32) -> i32 {
    let mut arg: [u8; 32] = record(&[(0, kind), (4, id)]);
    b.call(sys::VIDIOC_UNSUBSCRIBE_EVENT, &mut arg)
}

fn dequeue(b: &mut Bench, file: impl Into<Option<FileHandle>>) -> Result<Vec<u8>, i32> {
    let file = file.into().unwrap_or(b.file);
    let mut arg = vec![0xff; size_of::<sys::v4l2_event>()];
    match b.call_by(file, sys::VIDIOC_DQEVENT, &mut arg) {
        0 => Ok(arg),
        errno => Err(errno),
    }
}

fn set(b: &mut Bench, file: FileHandle, value: u32) {
    let mut arg: [u8; 8] = record(&[(0, BRIGHTNESS), (4, value)]);
    assert_eq!(b.call_by(file, sys::VIDIOC_S_CTRL, &mut arg), 0);
}

#[test]
fn only_known_events_can_be_subscribed() {
    let mut b = Bench::capture();
    let rows = [
        (CTRL, BRIGHTNESS, 0),
        (CTRL, sys::V4L2_CTRL_CLASS_USER | 1, 0),
        (CTRL, 1, EINVAL),
        (SYNC, 0, 0),
        (sys::V4L2_EVENT_EOS, 0, 0),
        (sys::V4L2_EVENT_SOURCE_CHANGE, 0, 0),
        (sys::V4L2_EVENT_VSYNC, 0, EINVAL),
        (sys::V4L2_EVENT_MOTION_DET, 0, EINVAL),
        (sys::V4L2_EVENT_ALL, 0, EINVAL),
        (sys::V4L2_EVENT_PRIVATE_START, 0, EINVAL),
    ];
    for (kind, id, errno) in rows {
        assert_eq!(
            subscribe(&mut b, None, kind, id, 0),
            errno,
            "{kind} {id:#x}"
        );
    }
    assert_eq!(dequeue(&mut b, None), Err(ENOENT));
    assert_eq!(
        unsubscribe(&mut b, sys::V4L2_EVENT_MOTION_DET, 5),
        0,
        "of nothing"
    );
    b.close();
}

#[test]
fn mode_change_raises_governed_flag_events() {
    let mut b = Bench::capture();
    assert_eq!(subscribe(&mut b, None, CTRL, GOVERNED, 0), 0);
    for (mode, flags) in [(0, 0), (1, 0x10)] {
        let mut arg: [u8; 8] = record(&[(0, AUTO), (4, mode)]);
        assert_eq!(b.call(sys::VIDIOC_S_CTRL, &mut arg), 0);
        let event = dequeue(&mut b, None).unwrap();
        let payload = field!(v4l2_event.u);
        let at = |offset| get(&event, payload + offset);
        assert_eq!(at(0), sys::V4L2_EVENT_CTRL_CH_FLAGS, "changes");
        assert_eq!(at(field!(v4l2_event_ctrl.flags)), flags);
        assert_eq!(dequeue(&mut b, None), Err(ENOENT), "one event");
    }
    b.close();
}

#[test]
fn first_event_has_the_current_state() {
    let mut b = Bench::capture();
    assert_eq!(subscribe(&mut b, None, CTRL, BRIGHTNESS, INITIAL), 0);
    assert_ne!(woken(&mut b.device), Default::default());
    assert_eq!(
        b.device.poll(&mut b.mem, b.file, POLL_PRI, b.now_ns),
        POLL_PRI
    );
    let event = dequeue(&mut b, None).unwrap();
    let u = field!(v4l2_event.u);
    let of = |at: usize| get(&event, u + at);
    assert_eq!(
        (get(&event, 0), get(&event, field!(v4l2_event.id))),
        (CTRL, BRIGHTNESS)
    );
    assert_eq!(of(field!(v4l2_event_ctrl.changes)), 3, "value and flags");
    assert_eq!(of(field!(v4l2_event_ctrl.type_)), 1);
    assert_eq!(of(field!(v4l2_event_ctrl.__bindgen_anon_1)), 128);
    assert_eq!(of(field!(v4l2_event_ctrl.maximum)), 255);
    assert_eq!(of(field!(v4l2_event_ctrl.step)), 1);
    assert_eq!(of(field!(v4l2_event_ctrl.default_value)), 128);
    assert_eq!(get(&event, field!(v4l2_event.timestamp)), 1);
    assert_eq!(get(&event, field!(v4l2_event.pending)), 0);
    assert_eq!(
        &event[field!(v4l2_event.reserved)..],
        &[0; 36][..event.len() - field!(v4l2_event.reserved)]
    );
    assert_eq!(b.device.poll(&mut b.mem, b.file, POLL_PRI, b.now_ns), 0);
    let class = sys::V4L2_CTRL_CLASS_USER | 1;
    assert_eq!(subscribe(&mut b, None, CTRL, class, INITIAL), 0);
    assert_eq!(dequeue(&mut b, None), Err(ENOENT), "a class has no state");
    let button = driver::BUTTON;
    assert_eq!(subscribe(&mut b, None, CTRL, button, INITIAL), 0);
    assert_eq!(
        get(&dequeue(&mut b, None).unwrap(), u),
        2,
        "no value to tell"
    );
    b.close();
}

/// Source: Linux `fill_event`.
#[test]
fn events_have_the_low_half_of_a_64_bit_range() {
    let mut b = Bench::capture();
    assert_eq!(subscribe(&mut b, None, CTRL, driver::WIDE, INITIAL), 0);
    let event = dequeue(&mut b, None).unwrap();
    let range = [
        field!(v4l2_event_ctrl.minimum),
        field!(v4l2_event_ctrl.maximum),
        field!(v4l2_event_ctrl.step),
        field!(v4l2_event_ctrl.default_value),
    ];
    let range = range.map(|at| get(&event, field!(v4l2_event.u) + at));
    assert_eq!(range, [0, u32::MAX, 1, u32::MAX]);
    b.close();
}

#[test]
fn own_changes_are_reported_only_on_request() {
    let mut b = Bench::capture();
    let (one, two, three) = (b.file, b.open(), b.open());
    for (file, flags) in [(one, 0), (two, 0), (three, FEEDBACK)] {
        assert_eq!(subscribe(&mut b, file, CTRL, BRIGHTNESS, flags), 0);
    }
    set(&mut b, one, 9);
    assert_eq!(dequeue(&mut b, one), Err(ENOENT));
    assert!(dequeue(&mut b, two).is_ok() && dequeue(&mut b, three).is_ok());
    set(&mut b, three, 10);
    assert!(dequeue(&mut b, one).is_ok() && dequeue(&mut b, three).is_ok());
    set(&mut b, two, 10);
    assert_eq!(dequeue(&mut b, one), Err(ENOENT), "nothing changed");
    b.close();
}

#[test]
fn each_press_of_a_button_is_reported() {
    let mut b = Bench::capture();
    let (one, two) = (b.file, b.open());
    assert_eq!(subscribe(&mut b, two, CTRL, driver::BUTTON, 0), 0);
    for _ in 0..2 {
        let mut arg: [u8; 8] = record(&[(0, driver::BUTTON), (4, 1)]);
        assert_eq!(b.call_by(one, sys::VIDIOC_S_CTRL, &mut arg), 0);
        let event = dequeue(&mut b, two).unwrap();
        let changes = get(&event, field!(v4l2_event.u));
        assert_eq!(changes, sys::V4L2_EVENT_CTRL_CH_VALUE);
    }
    b.close();
}

#[test]
fn frames_are_announced_and_old_ones_dropped() {
    let mut b = Bench::capture();
    assert_eq!(subscribe(&mut b, None, SYNC, 0, 0), 0);
    assert_eq!((b.reqbufs(8, MMAP), b.stream(true)), (8, 0));
    for index in 0..6 {
        assert_eq!(b.qbuf(index), 0);
        b.tick();
    }
    let frame = |event: &[u8]| get(event, field!(v4l2_event.u));
    let first = dequeue(&mut b, None).unwrap();
    assert_eq!(
        (frame(&first), get(&first, field!(v4l2_event.pending))),
        (2, 3)
    );
    assert_eq!(get(&first, field!(v4l2_event.sequence)), 2, "the gap shows");
    for wanted in 3..6 {
        assert_eq!(frame(&dequeue(&mut b, None).unwrap()), wanted);
    }
    assert_eq!(dequeue(&mut b, None), Err(ENOENT));
    b.close();
}

#[test]
fn callers_can_wait_for_an_event() {
    let mut b = Bench::capture();
    b.nonblocking = false;
    assert_eq!(subscribe(&mut b, None, sys::V4L2_EVENT_EOS, 0, 0), 0);
    assert_eq!(dequeue(&mut b, None), Err(WAIT));
    b.device.driver_mut().pending.push(DriverEvent::Eos);
    woken(&mut b.device);
    b.tick();
    assert_ne!(woken(&mut b.device), Default::default());
    assert_eq!(b.call_at(b.file, sys::VIDIOC_DQEVENT, ARG, true), 0);
    b.close();
}

/// A program that waits for a frame after its source has changed would wait for ever.
#[test]
fn ignoring_a_changed_source_ends_the_stream() {
    for follows in [false, true] {
        let mut b = Bench::capture();
        if follows {
            let kind = sys::V4L2_EVENT_SOURCE_CHANGE;
            assert_eq!(subscribe(&mut b, None, kind, 0, 0), 0);
        }
        assert_eq!(b.reqbufs(2, 1), 2);
        assert_eq!((b.qbuf(0), b.stream(true)), (0, 0));
        b.device.driver_mut().outdated = true;
        b.tick();
        let wanted = if follows { 0 } else { EIO };
        assert_eq!(b.dqbuf(), wanted, "subscribed: {follows}");
        assert_eq!(b.stream(false), 0);
        assert_eq!(
            (b.qbuf(0), b.stream(true)),
            (0, 0),
            "an error ends with the stream"
        );
        b.close();
    }
}

#[test]
fn devices_can_change_controls_and_source() {
    let mut b = Bench::capture();
    let exposure = sys::V4L2_CID_EXPOSURE_ABSOLUTE;
    assert_eq!(subscribe(&mut b, None, CTRL, exposure, 0), 0);
    assert_eq!(
        subscribe(&mut b, None, sys::V4L2_EVENT_SOURCE_CHANGE, 1, 0),
        0
    );
    let value = ControlValue::Number(42);
    b.device.driver_mut().pending = vec![
        DriverEvent::Control {
            id: exposure,
            value: value.clone(),
        },
        DriverEvent::Control {
            id: exposure,
            value,
        },
        DriverEvent::Control {
            id: 12,
            value: ControlValue::Number(1),
        },
        DriverEvent::SourceChange {
            port: 0,
            changes: 1,
        },
        DriverEvent::SourceChange {
            port: 1,
            changes: 1,
        },
    ];
    b.tick();
    let u = field!(v4l2_event.u);
    let first = dequeue(&mut b, None).unwrap();
    assert_eq!((get(&first, 0), get(&first, u + 8)), (CTRL, 42));
    let second = dequeue(&mut b, None).unwrap();
    assert_eq!(
        (get(&second, 0), get(&second, u)),
        (sys::V4L2_EVENT_SOURCE_CHANGE, 1)
    );
    assert_eq!(dequeue(&mut b, None), Err(ENOENT));
    b.close();
}

#[test]
fn ranges_follow_format_rate_and_device() {
    let mut b = Bench::capture();
    assert_eq!(subscribe(&mut b, None, CTRL, BRIGHTNESS, 0), 0);
    let changes = |b: &mut Bench| dequeue(b, None).map(|e| get(&e, field!(v4l2_event.u)));
    let all = sys::V4L2_EVENT_CTRL_CH_RANGE | sys::V4L2_EVENT_CTRL_CH_VALUE;
    for (number, request) in (1..).zip([sys::VIDIOC_S_FMT, sys::VIDIOC_S_PARM]) {
        let range = ControlSpec::integer(BRIGHTNESS, "Brightness", (0, 9 + number, 1), 0);
        b.device.driver_mut().ranges = vec![(range, number.into())];
        let mut arg: [u8; 208] = record(&[(0, b.ty())]);
        assert_eq!(b.call(request, &mut arg), 0);
        assert_eq!(changes(&mut b), Ok(all), "{request:#x}");
    }
    let range = ControlSpec::integer(BRIGHTNESS, "Brightness", (0, 5, 1), 0);
    b.device.driver_mut().ranges = vec![(range, 5)];
    let (id, value) = (AUTO, ControlValue::Number(0));
    let event = DriverEvent::Control { id, value };
    b.device.driver_mut().pending.push(event);
    assert_eq!(subscribe(&mut b, None, CTRL, GOVERNED, 0), 0);
    b.tick();
    let flags = sys::V4L2_EVENT_CTRL_CH_FLAGS;
    assert_eq!(changes(&mut b), Ok(flags), "the governed control is active");
    assert_eq!(changes(&mut b), Ok(all));
    b.close();
}

#[test]
fn unsubscribing_from_all() {
    let mut b = Bench::capture();
    subscribe(&mut b, None, CTRL, BRIGHTNESS, INITIAL);
    assert_eq!(unsubscribe(&mut b, sys::V4L2_EVENT_ALL, 0), 0);
    assert_eq!(dequeue(&mut b, None), Err(ENOENT));
    let other = b.open();
    set(&mut b, other, 1);
    assert_eq!(dequeue(&mut b, None), Err(ENOENT));
    b.close();
}
