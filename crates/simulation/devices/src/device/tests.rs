//! Tests devices of several kinds as their host sees them.

use super::*;
use crate::FaultSchedule;
use crate::spec::SourceSpec;
use crate::tests::bench::{Bench, host};
use vb3_picture::{Background, Picture, Size, render};
use vb3_queue::Error;
use vb3_v4l2::{EventKinds, cid, pixfmt};

const START: u64 = 1_000_000_000;

fn device(spec: &str) -> Device<u32> {
    let spec: crate::spec::DeviceSpec = spec.parse().expect("a SPEC");
    let nodes = spec.nodes().expect("nodes");
    Device::new(&nodes[0], &host()).expect("a device")
}

fn set(device: &mut Device<u32>, id: u32, value: i64) -> Result<(), DriverError> {
    device.set_control(id, &ControlValue::Number(value))
}

#[test]
fn controls_reach_the_device_or_its_faults() {
    let mut bench = Bench::new(device("camera,size=160x120,inject=on"), 2);
    let controls = bench.device.controls();
    let of = |name: &str| controls.iter().find(|control| control.name == name);
    let press = |device: &mut Device<u32>, name| set(device, of(name).expect(name).id, 0);
    for (id, value) in [
        (cid::CONTRAST, 60),
        (cid::SATURATION, 30),
        (cid::HUE, -100),
        (cid::VFLIP, 1),
    ] {
        assert_eq!(set(&mut bench.device, id, value), Ok(()));
    }
    assert_eq!(set(&mut bench.device, 0x1234, 0), Err(DriverError::EINVAL));
    assert_eq!(press(&mut bench.device, "Inject Prepare Error"), Ok(()));
    assert_eq!(
        bench.try_queue(0, &[0]),
        Err(Error::Driver(DriverError::EINVAL))
    );
    bench.queue(0);
    for (name, errno) in [
        ("Inject Start Error", DriverError::EINVAL),
        ("Inject Absent Hardware", DriverError::ENXIO),
    ] {
        assert_eq!(press(&mut bench.device, name), Ok(()));
        let refused = Err(Error::Driver(errno));
        assert_eq!(bench.try_start(), refused, "{name}");
    }
    bench.start();
    assert_eq!(bench.tick(START), 1);
    let changed = Picture {
        contrast: 60,
        saturation: 30,
        hue: -100,
        vflip: true,
        ..Picture::default()
    };
    let size = Size::nearest(160, 120);
    let wanted = render(&pixfmt::YUYV, size, 0, Background::Bars, &changed);
    assert!(bench.plane(0, 0).starts_with(wanted.bytes()));
    bench.take().expect("a frame");
    assert_eq!(press(&mut bench.device, "Inject Fatal Queue Error"), Ok(()));
    assert_eq!(bench.device.next_tick(), Some(0));
    bench.tick(START + 1);
    assert_eq!(bench.try_queue(0, &[0]), Err(Error::QueueError));
    assert!(
        device("camera")
            .controls()
            .iter()
            .all(|spec| !spec.name.starts_with("Inject"))
    );
}

#[test]
fn disturbed_captures_report_changes_of_their_source() {
    for spec in ["camera", "hdmi", "display", "convert"] {
        let mut device = device(spec);
        let own = device.events();
        device.disturb(&FaultSchedule::default());
        let is_capture = ["camera", "hdmi"].contains(&spec);
        let more = if is_capture {
            EventKinds::SOURCE_CHANGE
        } else {
            EventKinds::empty()
        };
        assert_eq!(device.events(), own | more, "{spec}");
        assert_eq!(own.contains(EventKinds::SOURCE_CHANGE), spec == "hdmi");
    }
}

#[test]
fn only_cameras_play_and_pause() {
    let pattern = || NextSource::open(&SourceSpec::Pattern, None).expect("the pattern");
    let mut display = device("display");
    assert_eq!(display.play(pattern()), Err(PlayError::NoCamera));
    assert!(!display.pause(true) && !display.take_unplug());
    assert_eq!(display.is_next_ready(), Ok(true));
    assert_eq!(display.finish(), None);
    let mut bench = Bench::new(device("camera,size=16x8,fps=100,pace=free"), 1);
    assert_eq!(bench.device.play(pattern()), Ok(()));
    assert_eq!(bench.device.is_next_ready(), Ok(true));
    bench.queue(0);
    bench.start();
    let size = Size::nearest(16, 8);
    let picture = |sequence| {
        let plain = Picture::default();
        render(&pixfmt::YUYV, size, sequence, Background::Bars, &plain)
    };
    // The pause begins with the second frame, whose picture stays.
    for (sequence, is_paused, shown) in [
        (0, false, 0),
        (1, true, 1),
        (2, true, 1),
        (3, false, 3),
        (4, true, 4),
    ] {
        assert!(bench.device.pause(is_paused));
        assert_eq!(bench.tick(START), 1);
        assert_eq!(bench.take().expect("a frame").sequence, sequence);
        assert!(bench.plane(0, 0).starts_with(picture(shown).bytes()));
        bench.queue(0);
    }
    let late = NextSource::open(&SourceSpec::Pattern, Some(2)).expect("the pattern");
    assert_eq!(bench.device.play(late), Err(PlayError::Passed { next: 5 }));
}

#[test]
fn a_failure_is_told_once() {
    let mut bench = Bench::new(device("sensor"), 1);
    assert_eq!(bench.device.take_failure(), None);
    bench.queue(0);
    for _ in 0..2 {
        let refused = Err(Error::Driver(DriverError::EPIPE));
        assert_eq!(bench.try_start(), refused);
    }
    let failure = bench.device.take_failure().expect("no link is enabled");
    assert!(failure.is_asked_for(), "{failure}");
    assert_eq!(bench.device.take_failure(), None);
}

#[test]
fn a_failure_has_an_errno() {
    let failure = Failure::new("it failed");
    assert_eq!((failure.errno(), failure.is_asked_for()), (5, false));
    assert_eq!(failure.clone().with_errno(16).errno(), 16);
    assert_eq!(failure.to_string(), failure.sentence());
}
