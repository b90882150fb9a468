use super::*;
use crate::registry;
use crate::tests::bench::{BenchMemory, host};
use std::cell::{Cell, RefCell};
use std::mem::offset_of;
use std::ops::Range;
use vb3_v4l2::{CallContext, Export, Program, V4l2Outcome, VideoDevice};

#[test]
fn a_name_cut_inside_a_character_still_fits() {
    let mut name = "\u{e9}".repeat(15).into_bytes();
    name.push(0xc3);
    let name = printable(&String::from_utf8_lossy(&name));
    assert_eq!(name, format!("{}?", "\u{e9}".repeat(15)));
    assert_eq!(printable("a\tb"), "a?b");
}

/// Returns a list's entry of this index as `ioctl` needs it: bytes to write at an offset.
fn entry(list: &[u32], arg: &mut [u8], offset: usize) -> Result<(), Errno> {
    let index = u32::from_ne_bytes(arg[..4].try_into().unwrap()) as usize;
    let value = list.get(index).ok_or(Errno(22))?;
    arg[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    Ok(())
}

#[test]
fn repeated_formats_and_sizes_are_cloned_once() {
    let (yuyv, mjpeg) = (FourCc::YUYV.0, FourCc::MJPEG.0);
    let mut ioctl = |request: u32, arg: &mut [u8]| match request {
        sys::VIDIOC_ENUM_FMT => {
            let offset = offset_of!(sys::v4l2_fmtdesc, pixelformat);
            entry(&[yuyv, mjpeg, yuyv], arg, offset)
        }
        sys::VIDIOC_ENUM_FRAMESIZES => {
            arg[8..12].copy_from_slice(&sys::V4L2_FRMSIZE_TYPE_DISCRETE.to_ne_bytes());
            entry(&[480; 3], arg, 16)?;
            entry(&[640, 320, 640], arg, 12)
        }
        _ => Err(Errno(25)),
    };
    let mut client = Client(&mut ioctl);
    let now = Format::new(&pixfmt::YUYV, 640, 480).unwrap();
    let formats = formats(&mut client, &now, None).unwrap();
    let found = formats.iter().map(|format| {
        let sizes = format.get_ref().sizes.iter();
        let sizes = sizes.map(|size| size.get_ref().size.unwrap().0.0);
        (format.get_ref().code.0.0, sizes.collect::<Vec<_>>())
    });
    let wanted = [yuyv, mjpeg].map(|code| (code, vec![640, 320]));
    assert_eq!(found.collect::<Vec<_>>(), wanted);
}

#[test]
fn booleans_are_zero_or_one() {
    for (default, want) in [(0, 0), (1, 1), (5, 1), (-1, 0)] {
        let range = ControlRange {
            id: cid::HUE_AUTO,
            kind: sys::V4L2_CTRL_TYPE_BOOLEAN,
            name: "Hue, Automatic".to_owned(),
            min: 0,
            max: 1,
            step: 1,
            default,
            flags: ControlFlags::empty(),
        };
        let mut ioctl = |_: u32, _: &mut [u8]| Err(Errno(22));
        let table = control(&mut Client(&mut ioctl), &range, ControlType::Boolean);
        assert_eq!((table.default, table.value), (want, None));
    }
}

/// A program that has nothing in memory but one structure, at [`ADDRESS`].
struct Argument(RefCell<Vec<u8>>);

const ADDRESS: u64 = 0x1000;

impl Argument {
    fn range(addr: u64, len: usize) -> Range<usize> {
        let start = usize::try_from(addr - ADDRESS).unwrap();
        start..start + len
    }
}

impl Program<BenchMemory> for Argument {
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        out.copy_from_slice(&self.0.borrow()[Self::range(addr, out.len())]);
        Ok(())
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        self.0.borrow_mut()[Self::range(addr, data.len())].copy_from_slice(data);
        Ok(())
    }

    fn user(&self, _: u64, _: u64) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn resolve_dmabuf(&self, _: &mut BenchMemory, _: i32) -> Result<(), Errno> {
        Err(Errno::EINVAL)
    }

    fn install_dmabuf(&self, _: &mut BenchMemory, buf: (), _: Export) -> Result<(), (Errno, ())> {
        Err((Errno::EINVAL, buf))
    }
}

/// Returns the description of the camera that a SPEC makes.
fn clone_of(spec: &str, usb: Option<Usb>) -> File {
    let camera = registry::camera(&spec.parse().unwrap(), &host()).unwrap();
    let mut memory = BenchMemory::default();
    let mut device = VideoDevice::new(&memory, camera, ()).unwrap();
    let file = device.open(&memory).unwrap();
    let cx = CallContext {
        file,
        nonblocking: true,
        call: 1,
        now_ns: 1_000_000_000,
        piece_bytes: u64::MAX,
    };
    let mut ioctl = |request: u32, arg: &mut [u8]| {
        let program = Argument(RefCell::new(arg.to_vec()));
        let done = device.ioctl(&mut memory, cx, request, ADDRESS, &program);
        arg.copy_from_slice(&program.0.borrow());
        match done {
            V4l2Outcome::Done(_) => Ok(()),
            V4l2Outcome::Fail(error) => Err(Errno(error.errno())),
            other => panic!("{other:?}"),
        }
    };
    describe(&mut Client(&mut ioctl), usb).unwrap()
}

/// A camera with all that a description can have, as a clone of it is printed.
const CAMERA: &str = r#"# Description of a camera, from `vb3 clone /dev/video0`. To play it: vb3 run --device FILE.toml -- PROGRAM
version = 1

# The answers of QUERYCAP.
[device]
driver = "uvcvideo"
card = "A camera"
bus_info = "usb-0000:00:14.0-1"
other_capabilities = "0x00800000"
read = true

# The device's files in sysfs.
[usb]
id = "046d:0825"
revision = "0012"
product = "A?camera"

# Format, size and seconds for each frame at first.
[mode]
format = "MJPG"
size = "320x240"
interval = "1/15"
image_bytes = 600000

# Inputs; kind is V4L2_INPUT_TYPE_*.
[[input]]
name = "Camera 1"
kind = 2

# Pixel formats with sizes. line_bytes and image_bytes stand where lines or buffers are longer
# than the pixels need, or the format is compressed.
[[format]]
code = "YUYV"
description = "YUYV 4:2:2"

[format.colors]
space = 8
transfer = 2
encoding = 1
quantization = 2

[[format.size]]
range = ["32x32", "640x480", "16x8"]
interval_range = ["1/30", "1/1"]

[[format]]
code = "MJPG"
description = "Motion-JPEG"

[format.colors]
space = 8
transfer = 0
encoding = 1
quantization = 1

[[format.size]]
size = "640x480"
image_bytes = 400000
intervals = ["1/30", "1/15"]

[[format.size]]
size = "320x240"
image_bytes = 500000
intervals = ["1/30", "1/15", "1/5"]

[[format]]
code = "NV12"
description = "Y/UV 4:2:0"

[format.colors]
space = 8
transfer = 0
encoding = 0
quantization = 0

[[format.size]]
size = "640x480"
line_bytes = 704
image_bytes = 506880
intervals = ["1/30"]

[[format.size]]
size = "64x48"
intervals = ["1/25"]

# Controls; value is the present one if it is not the default. A menu's empty items cannot be
# chosen.
[[control]]
id = "0x00980001"
name = "Own Controls"
type = "class"
default = 0

[[control]]
id = "0x00980900"
name = "Brightness"
type = "integer"
min = -64
max = 64
step = 2
default = 0
value = 10
flags = ["slider"]

[[control]]
id = "0x00980903"
name = "Hue"
type = "integer"
min = 0
max = 10
step = 1
default = 5

[control.active_if]
id = "0x00980919"
value = 0

[[control]]
id = "0x00980912"
name = "Gain, Automatic"
type = "boolean"
default = 1
value = 0

[[control]]
id = "0x00980913"
name = "Gain"
type = "integer"
min = 0
max = 10
step = 1
default = 5

[control.active_if]
id = "0x00980912"
value = 0

[[control]]
id = "0x00980918"
name = "Power Line Frequency"
type = "menu"
min = 1
default = 2
items = ["50 Hz", "60 Hz"]

[[control]]
id = "0x00980919"
name = "Hue, Automatic"
type = "boolean"
default = 1

[[control]]
id = "0x00980a00"
name = "Bits"
type = "bitmask"
max = 255
default = 3
value = 129

[[control]]
id = "0x00980a01"
name = "Numbers"
type = "integer-menu"
default = 1
numbers = [10, 20, 0, 40]
gaps = [2]

[[control]]
id = "0x00980a02"
name = "Push"
type = "button"
default = 0

[[control]]
id = "0x00980a03"
name = "Large"
type = "integer64"
min = -8589934592
max = 8589934592
step = 1
default = 7
flags = ["read-only", "volatile"]

[[control]]
id = "0x009a0901"
name = "Exposure, Automatic"
type = "menu"
default = 1
items = ["", "Manual", "", "Aperture"]

[[control]]
id = "0x009a0902"
name = "Exposure"
type = "integer"
min = 1
max = 10
step = 1
default = 5
flags = ["inactive"]
"#;

#[test]
fn a_clone_of_a_described_camera_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("camera.toml");
    std::fs::write(&path, CAMERA).unwrap();
    let usb = Usb {
        id: "046d:0825".to_owned().try_into().unwrap(),
        revision: Some("0012".to_owned()),
        manufacturer: None,
        product: Some("A\tcamera".to_owned()),
        serial: None,
    };
    let file = clone_of(path.to_str().unwrap(), Some(usb));
    assert_eq!(print(&file, "/dev/video0"), CAMERA);
}

#[test]
fn a_clone_without_description_has_the_default_card() {
    for (spec, card) in [
        ("camera", "Test Pattern Camera"),
        ("capture-convert", "Camera with Scaler"),
        ("hdmi", "HDMI Capture"),
    ] {
        let file = clone_of(spec, None);
        assert_eq!(file.device.get_ref().card, card, "{spec}");
        assert_eq!((file.usb, file.stream), (None, None));
    }
}

/// A frame of a scripted camera: number, microseconds, bytes.
type Shot = (u32, u64, u32);

/// Measures a camera that sends these frames. Returns the calls that it got, and the stream.
fn measured(code: &str, seconds: u32, shots: &[Shot]) -> (Vec<u32>, Result<StreamTable, String>) {
    let mut file = clone_of("camera,size=320x240,fps=30", None);
    let mode = file.mode.as_mut().unwrap().get_mut();
    mode.format = Code::try_from(code.to_owned()).unwrap();
    let mut calls = Vec::new();
    let shown = Cell::new(0);
    let mut ioctl = |request: u32, arg: &mut [u8]| {
        calls.push(request);
        match request {
            sys::VIDIOC_REQBUFS => arg[0] = arg[0].min(2),
            sys::VIDIOC_DQBUF => {
                let (sequence, us, bytes) = shots[shown.replace(shown.get() + 1)];
                let mut set = |at: usize, bytes: &[u8]| {
                    arg[at..at + bytes.len()].copy_from_slice(bytes);
                };
                set(
                    offset_of!(sys::v4l2_buffer, sequence),
                    &sequence.to_ne_bytes(),
                );
                set(
                    offset_of!(sys::v4l2_buffer, bytesused),
                    &bytes.to_ne_bytes(),
                );
                let time = offset_of!(sys::v4l2_buffer, timestamp);
                set(time, &(us / 1_000_000).to_ne_bytes());
                set(time + 8, &(us % 1_000_000).to_ne_bytes());
            }
            _ => {}
        }
        Ok(())
    };
    let mut now_ns = 0;
    let mut clock = || {
        now_ns += 7_000_000;
        now_ns
    };
    let mut wait = || shown.get() < shots.len();
    let client = &mut Client(&mut ioctl);
    let done = measure(&mut file, seconds, client, &mut wait, &mut clock);
    let stream = done.map(|()| file.stream.unwrap().into_inner());
    (calls, stream)
}

#[test]
fn a_stream_is_measured_frame_by_frame() {
    let shots = [
        (7, 5_000_000, 100),
        (8, 5_033_000, 200),
        (11, 5_100_000, 300),
        // The camera starts its numbers again.
        (0, 5_100_000, 400),
        (1001, 5_200_000, 500),
        (2003, 5_300_000, 600),
    ];
    let (calls, stream) = measured("MJPG", 10, &shots);
    let stream = stream.unwrap();
    assert_eq!(stream.first_frame_us, 7000);
    assert_eq!(stream.intervals_us, [33_000, 67_000, 1, 100_000, 100_000]);
    assert_eq!(stream.lost, [[1, 2], [3, 1000]]);
    assert_eq!(stream.image_bytes, [100, 200, 300, 400, 500, 600]);
    assert_eq!(
        (stream.size, stream.interval),
        (Pixels((320, 240)), Seconds(Fraction::new(1, 30)))
    );
    let count = |request| calls.iter().filter(|call| **call == request).count();
    assert_eq!(
        [sys::VIDIOC_QBUF, sys::VIDIOC_DQBUF, sys::VIDIOC_REQBUFS].map(count),
        [8, 6, 2]
    );
    assert_eq!(
        [sys::VIDIOC_STREAMON, sys::VIDIOC_STREAMOFF].map(count),
        [1, 1]
    );
}

#[test]
fn a_measurement_ends_after_its_seconds() {
    let shots = [
        (0, 5, 1),
        (1, 1_000_004, 1),
        (2, 1_000_005, 1),
        (3, 1_500_000, 1),
    ];
    let (_, stream) = measured("YUYV", 1, &shots);
    let stream = stream.unwrap();
    assert_eq!(stream.intervals_us, [999_999, 1]);
    assert_eq!((stream.lost, stream.image_bytes), (vec![], vec![]));
}

#[test]
fn a_stream_of_one_frame_cannot_be_measured() {
    let (_, stream) = measured("YUYV", 1, &[(0, 5, 1)]);
    assert!(stream.unwrap_err().contains("fewer than two frames"));
}

#[test]
fn other_devices_are_refused_with_a_reason() {
    let caps = [
        (sys::V4L2_CAP_VIDEO_M2M, "codec or a converter"),
        (sys::V4L2_CAP_VIDEO_M2M_MPLANE, "codec or a converter"),
        (sys::V4L2_CAP_VIDEO_CAPTURE_MPLANE, "multi-planar"),
        (sys::V4L2_CAP_VIDEO_OUTPUT, "no pictures"),
    ];
    for (caps, said) in caps {
        let mut ioctl = |request: u32, arg: &mut [u8]| {
            assert_eq!(request, sys::VIDIOC_QUERYCAP);
            let at = offset_of!(sys::v4l2_capability, device_caps);
            arg[at..at + 4].copy_from_slice(&caps.to_ne_bytes());
            Ok(())
        };
        let why = describe(&mut Client(&mut ioctl), None).unwrap_err();
        assert!(why.contains(said), "{why}");
    }
    let mut ioctl = |_: u32, _: &mut [u8]| Err(Errno(25));
    let why = describe(&mut Client(&mut ioctl), None).unwrap_err();
    assert!(why.contains("no video device"), "{why}");
}

#[test]
fn intervals_beyond_the_limits_are_replaced() {
    for ((numerator, denominator), wanted) in [
        ((1, 4000), (1, 1000)),
        ((1, 1000), (1, 1000)),
        ((60, 1), (60, 1)),
        ((u32::MAX, 1), (60, 1)),
        ((1, 0), (60, 1)),
    ] {
        let found = allowed(Fraction::new(numerator, denominator)).0;
        assert_eq!(found, Fraction::new(wanted.0, wanted.1));
    }
}
