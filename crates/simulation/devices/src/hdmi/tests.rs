use super::*;
use crate::camera::Camera;
use crate::hosted::{HostedDevice as _, RESIZED};
use crate::registry;
use crate::spec::DeviceSpec;
use crate::tests::bench::{Bench, BenchMemory, host};
use crate::{Device, FaultSchedule};
use vb3_picture::{Background, Picture, Size, render};
use vb3_v4l2::{EventKinds, Flow, Format, Progress, VideoDriver as _, pixfmt};

const START: u64 = 1_000_000_000;

/// Makes a bench with an HDMI input of 800x600.
fn bench(buffers: u32) -> Bench<Camera<u32>> {
    let spec = "hdmi,size=800x600".parse().expect("a SPEC");
    let mut camera = registry::camera(&spec, &host()).expect("a device");
    assert!(camera.events().contains(EventKinds::SOURCE_CHANGE));
    camera.work_at_once();
    Bench::new(camera, buffers)
}

/// Makes a device that a host can disturb.
fn disturbed(spec: &str) -> Device<u32> {
    let spec = spec.parse().expect("a SPEC");
    let mut device = Device::new(&spec, &host()).expect("a device");
    device.disturb(&FaultSchedule::default());
    device
}

fn set_signal(camera: &mut Camera<u32>, name: &str) -> bool {
    let hdmi = camera.stream.hdmi.as_mut();
    hdmi.expect("an HDMI input").set_signal(signal(name))
}

/// Changes the signal. Returns the events that result.
fn change(device: &mut Device<u32>, name: &str) -> Vec<DriverEvent> {
    device.set_signal(signal(name));
    let mut progress = Progress::default();
    device.tick(START, &mut BenchMemory::default(), &mut progress);
    progress.events
}

fn signal(name: &str) -> Signal {
    name.parse().expect(name)
}

#[test]
fn modes_have_unique_names() {
    let names: Vec<String> = MODES.iter().map(name_of).collect();
    let all = "640x480p59.94 720x480p59.94 720x576p50 1280x720p24 1280x720p25 1280x720p30 \
               1280x720p50 1280x720p60 1920x1080p24 1920x1080p25 1920x1080p30 1920x1080p50 \
               1920x1080p60 800x600p60.32 848x480p60 1024x768p60 1280x768p59.87 1280x800p59.81 \
               1280x960p60 1280x1024p60.02 1360x768p60.02 1366x768p59.79 1440x900p59.89 1600x900p60 \
               1600x1200p60 1680x1050p59.95 1920x1200p59.95 2560x1600p59.97 3840x2160p24 \
               3840x2160p25 3840x2160p30 3840x2160p50 3840x2160p60 4096x2160p24 4096x2160p25 \
               4096x2160p30";
    assert_eq!(names.join(" "), all);
    for (name, mode) in names.iter().zip(&MODES) {
        assert_eq!(signal(name), Signal::Mode(*mode));
        assert_eq!(Signal::Mode(*mode).to_string(), *name);
    }
    assert_eq!(signal("1366x768p60"), signal("1366x768p59.79"));
    for wrong in ["1280x720p59.94", "1280x720", "1280x720p61", "p", "", "weak"] {
        assert!(wrong.parse::<Signal>().is_err(), "{wrong}");
    }
    let allowed = "1280x720p61".parse::<Signal>().unwrap_err();
    assert!(allowed.ends_with("1280x720p24, 1280x720p25, 1280x720p30, 1280x720p50, 1280x720p60"));
}

#[test]
fn first_mode_comes_from_size_and_rate() {
    for (spec, name) in [
        ("hdmi", "1920x1080p60"),
        ("hdmi=clip.mp4,fps=24", "1920x1080p24"),
        ("hdmi,size=1366x768", "1366x768p59.79"),
        ("hdmi,size=1366x768,fps=60", "1366x768p59.79"),
        ("hdmi,size=640x480,fps=60000/1001", "640x480p59.94"),
    ] {
        let mode = registry::hdmi_mode(&spec.parse().unwrap());
        assert_eq!(name_of(mode.unwrap()).to_string(), name, "{spec}");
    }
    for (spec, part) in [
        (
            "hdmi,size=800x480",
            "hdmi has the modes one of 640x480, 720x480",
        ),
        (
            "hdmi,size=720x576,fps=60",
            "size=720x576,fps=60/1 is not understood: hdmi has the modes 720x576p50",
        ),
        ("hdmi,fps=60000/1001", "1920x1080p60"),
        (
            "hdmi,sizes=800x600",
            "only a camera or display card has sizes=",
        ),
        (
            "hdmi,identity=uvc",
            "only a camera or loopback has identity=",
        ),
        ("hdmi,format=MJPEG", "hdmi offers YUYV, NV12"),
    ] {
        let error = spec.parse::<DeviceSpec>().unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn first_edid_has_checksums_and_an_address() {
    let edid = first_edid();
    let (blocks, rest) = edid.as_chunks::<EDID_BLOCK>();
    assert_eq!((blocks.len(), rest.len()), (2, 0));
    for block in blocks {
        let sum = block.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!(sum, 0);
    }
    // HDMI's data block, and the modes' numbers.
    assert!(
        edid.windows(6)
            .any(|found| found == [0x67, 3, 0x0c, 0, 0x10, 0])
    );
    for mode in &MODES {
        let (vic, native) = (mode.cea861_vic, mode.cea861_vic | 0x80);
        let known = blocks[1][5..22].contains(&vic) || blocks[1][5..22].contains(&native);
        let is_tv = vic != 0 && (vic < 96 || vic == 98);
        assert_eq!(known, is_tv, "{}", name_of(mode));
    }
}

#[test]
fn frames_need_the_mode_that_is_set() {
    let mut bench = bench(2);
    bench.queue(0);
    bench.queue(1);
    bench.start();
    assert_eq!(bench.tick(START), 1);
    assert!(set_signal(&mut bench.device, "640x480p60"));
    assert_eq!(bench.device.next_tick(), None);
    assert_eq!(bench.tick(2 * START), 0, "the format is another");
    assert!(set_signal(&mut bench.device, "no-lock"));
    let found = bench.device.receiver().unwrap().found;
    assert_eq!(found, Err(NoTimings::NoLock));
    assert!(set_signal(&mut bench.device, "800x600p60"));
    assert!(!set_signal(&mut bench.device, "back"));
    // As with tc358743, the old mode alone does not bring the frames back, and no call fails.
    assert_eq!((bench.tick(3 * START), bench.device.next_tick()), (0, None));
    assert_eq!(bench.take().unwrap().timestamp_ns, START);
    let waits = bench.take().map(|info| info.index);
    assert_eq!(waits, Err(vb3_queue::Error::WouldBlock));
    bench.stop();
    set_signal(&mut bench.device, "lost");
    bench.queue(0);
    bench.start();
    assert_eq!(bench.tick(4 * START), 0, "there is no signal yet");
    set_signal(&mut bench.device, "back");
    assert_eq!(bench.tick(5 * START), 1);
    let info = bench.take().unwrap();
    assert_eq!((info.sequence, info.timestamp_ns), (0, 5 * START));
    assert_eq!(bench.device.statistics().dropped, 0);
}

#[test]
fn an_ffmpeg_clip_goes_on_after_a_lost_signal() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let path = directory.path().join("clip.nut");
    let words = "-nostdin -v error -f lavfi -i testsrc2=size=800x600 -frames:v 3 -c:v ffv1";
    let made = std::process::Command::new("ffmpeg")
        .args(words.split(' '))
        .arg(&path)
        .status();
    if made.is_err() {
        vb3_skip::skip("ffmpeg does not start");
        return;
    }
    let spec = format!("hdmi={},size=800x600", path.display());
    let camera = registry::camera(&spec.parse().expect("a SPEC"), &host()).expect("a device");
    let mut bench = Bench::new(camera, 1);
    bench.queue(0);
    bench.start();
    assert_eq!(bench.tick(START), 0, "ffmpeg has just begun");
    assert!(bench.device.is_preparing());
    set_signal(&mut bench.device, "lost");
    wait(&bench.device);
    assert_eq!(bench.tick(2 * START), 0, "there is no signal");
    assert!(!bench.device.is_preparing(), "the picture is there");
    set_signal(&mut bench.device, "back");
    bench.stop();
    bench.queue(0);
    bench.start();
    while bench.tick(3 * START) == 0 {
        if bench.device.is_preparing() && !bench.device.has_begun() {
            wait(&bench.device);
        }
    }
    assert_eq!(bench.take().expect("a frame").timestamp_ns, 3 * START);
}

/// Waits on the camera's descriptor, as a host does.
fn wait(camera: &Camera<u32>) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let fd = camera.wake_fd().expect("it awaits a picture");
    let limit = Timespec {
        tv_sec: 60,
        tv_nsec: 0,
    };
    let woken = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit));
    assert_eq!(woken, Ok(1), "no wake-up within a minute");
}

#[test]
fn format_and_rate_follow_the_timings() {
    let mut device = bench(1).device;
    assert!(set_signal(&mut device, "640x480p60"));
    let found = device.receiver().unwrap().found.unwrap();
    device.set_timings(&found);
    let format = device.format(Flow::Capture);
    assert_eq!((format.width, format.height), (640, 480));
    assert_eq!(format.layouts()[0].sizeimage, 640 * 480 * 2);
    assert_eq!(device.interval(Flow::Capture), Some(found.interval()));
    let wanted = Format {
        width: 64,
        height: 48,
        ..format
    };
    assert_eq!(device.try_format(Flow::Capture, &wanted), format);
    let mut bench = Bench::new(device, 1);
    bench.queue(0);
    bench.start();
    assert_eq!(bench.tick(2 * START), 1);
    let size = Size::nearest(640, 480);
    let picture = render(
        &pixfmt::YUYV,
        size,
        0,
        Background::Bars,
        &Picture::default(),
    );
    assert!(bench.plane(0, 0).starts_with(picture.bytes()));
}

#[test]
fn a_change_of_the_signal_has_events() {
    let power = |value| DriverEvent::Control {
        id: cid::DV_RX_POWER_PRESENT,
        value: ControlValue::Number(value),
    };
    let mut hdmi = disturbed("hdmi,size=800x600");
    assert_eq!(change(&mut hdmi, "640x480p60"), [power(1), RESIZED]);
    assert_eq!(change(&mut hdmi, "640x480p60"), [power(1)]);
    assert_eq!(change(&mut hdmi, "lost"), [power(0), RESIZED]);
    assert_eq!(change(&mut hdmi, "out-of-range"), [power(1), RESIZED]);
    assert!(hdmi.is_hdmi());
    let mut camera = disturbed("camera,size=16x8");
    assert!(!camera.is_hdmi());
    assert_eq!(change(&mut camera, "lost"), [RESIZED]);
    assert_eq!(camera.input_status(), 2);
    assert_eq!(change(&mut camera, "lost"), []);
    assert_eq!(change(&mut camera, "back"), [RESIZED]);
    assert_eq!(camera.input_status(), 0);
}

#[test]
fn signals_have_names() {
    for name in [
        "lost",
        "back",
        "no-lock",
        "out-of-range",
        "1920x1080p60",
        "640x480p59.94",
    ] {
        let parsed = signal(name);
        assert_eq!(parsed.to_string(), name);
        assert_eq!(parsed.is_of_hdmi(), !["lost", "back"].contains(&name));
    }
    let refusal = |name: &str| name.parse::<Signal>().expect_err("no such mode");
    let (rate, size) = (refusal("640x480p7"), refusal("7x7p60"));
    assert!(rate.contains("a mode: 640x480p59.94"), "{rate}");
    assert!(!rate.contains("1920x1080"), "{rate}");
    assert!(
        size.contains("one of 640x480, ") && size.contains("1920x1080"),
        "{size}"
    );
}

#[test]
fn a_sink_without_edid_gets_no_signal() {
    let Signal::Mode(mode) = signal("1280x720p60") else {
        panic!("it is a mode");
    };
    let mut hdmi = Hdmi::new(&mode);
    assert!(!hdmi.sends(), "it is not on");
    hdmi.start();
    assert!(hdmi.sends());
    hdmi.set_edid(Vec::new());
    assert_eq!(hdmi.receiver.found, Err(NoTimings::NoSignal));
    assert!(!hdmi.sends());
    hdmi.set_edid(first_edid());
    assert_eq!(hdmi.receiver.found, Ok(mode));
    assert!(!hdmi.sends(), "until a new stream");
    hdmi.start();
    assert!(hdmi.sends());
    let changes = ["out-of-range", "out-of-range", "back", "back"];
    let changes = changes.map(|name| (hdmi.set_signal(signal(name)), hdmi.receiver.found));
    let faulty = Err(NoTimings::OutOfRange);
    let wanted = [
        (true, faulty),
        (false, faulty),
        (true, Ok(mode)),
        (false, Ok(mode)),
    ];
    assert_eq!(changes, wanted);
    for (name, power) in [("lost", 0), ("no-lock", 1), ("back", 1)] {
        let value = ControlValue::Number(power);
        let id = cid::DV_RX_POWER_PRESENT;
        let event = DriverEvent::Control { id, value };
        assert_eq!(Hdmi::power_event(signal(name)), event, "{name}");
    }
}

/// Returns the value of flags as the kernel's header names them, such as `V4L2_DV_BT_STD_DMT | …`.
fn flags(names: &str) -> u32 {
    let value = |name| match name {
        "0" => 0,
        "V4L2_DV_VSYNC_POS_POL" => 1,
        "V4L2_DV_HSYNC_POS_POL" => 2,
        "V4L2_DV_BT_STD_CEA861" => CEA861,
        "V4L2_DV_BT_STD_DMT" => DMT,
        "V4L2_DV_BT_STD_CVT" => CVT,
        "V4L2_DV_FL_REDUCED_BLANKING" => REDUCED,
        "V4L2_DV_FL_CAN_REDUCE_FPS" => CAN_REDUCE_FPS,
        "V4L2_DV_FL_IS_CE_VIDEO" => CE_VIDEO,
        "V4L2_DV_FL_HAS_PICTURE_ASPECT" => HAS_ASPECT,
        "V4L2_DV_FL_HAS_CEA861_VIC" => HAS_VIC,
        "V4L2_DV_FL_HAS_HDMI_VIC" => HAS_HDMI_VIC,
        // No mode has this flag.
        _ => 1 << 31,
    };
    names.split('|').map(|name| value(name.trim())).sum()
}

/// Parses the arguments of `V4L2_INIT_BT_TIMINGS`.
fn declared(arguments: &str) -> Timings {
    let parts: Vec<&str> = arguments.split(',').map(str::trim).collect();
    let number = |at: usize| {
        parts
            .get(at)
            .map_or(0, |text| text.parse().expect("a number"))
    };
    let narrow = |at| u32::try_from(number(at)).expect("32 bits");
    let byte = |at| u8::try_from(number(at)).expect("a byte");
    let three = |at| [at, at + 1, at + 2].map(narrow);
    Timings {
        width: narrow(0),
        height: narrow(1),
        polarities: flags(parts[3]),
        pixelclock: number(4),
        horizontal: three(5),
        vertical: three(8),
        standards: flags(parts[14]),
        flags: flags(parts[15]),
        aspect: [narrow(16), narrow(17)],
        cea861_vic: byte(18),
        hdmi_vic: byte(19),
    }
}

#[test]
fn modes_are_those_of_the_kernels_header() {
    const HEADER: &str = "/usr/include/linux/v4l2-dv-timings.h";
    let Ok(header) = std::fs::read_to_string(HEADER) else {
        vb3_skip::skip(format_args!(
            "no {HEADER}; run \"apt install linux-libc-dev\""
        ));
        return;
    };
    let header = header.replace(['\\', '{', '}'], "");
    let all: Vec<Timings> = header
        .split("#define V4L2_DV_BT_")
        .skip(1)
        .filter_map(|text| text.split_once("V4L2_INIT_BT_TIMINGS("))
        .map(|(_, rest)| declared(rest.split(')').next().unwrap_or_default()))
        .collect();
    assert!(all.len() > MODES.len());
    for mode in &MODES {
        assert!(all.contains(mode), "{}: {mode:?}", name_of(mode));
    }
}
