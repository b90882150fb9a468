//! Tests descriptions without real devices.

use super::{Description, SHIPPED, check};
use crate::likeness::Likeness;
use crate::limits::nearest_interval;
use crate::rhythm::{Rhythm, pad};
use crate::spec::DeviceSpec;
use std::sync::Arc;
use vb3_picture::Size;
use vb3_v4l2::pixfmt::{MJPEG, YUYV};
use vb3_v4l2::{Format, FourCc, Fraction, FrameIntervals, FrameSizes};

/// A small description. Its formats begin in line 24, its controls in line 37.
const TEXT: &str = r#"version = 1

[device]
driver = "uvcvideo"
card = "A camera"

[usb]
id = "046d:0825"
revision = "0012"

[mode]
format = "MJPG"
size = "320x240"
interval = "1/15"

[stream]
size = "320x240"
interval = "1/30"
first_frame_us = 250000
intervals_us = [33000, 67000, 34000]
lost = [[1, 1]]
image_bytes = [4000, 5000]

[[format]]
code = "YUYV"
description = "YUYV 4:2:2"
size = [
    { range = ["32x32", "640x480", "16x8"], interval_range = ["1/30", "1/1"] },
]
[[format]]
code = "MJPG"
description = "Motion-JPEG"
size = [
    { size = "640x480", image_bytes = 400000, intervals = ["1/30", "1/15"] },
    { size = "320x240", intervals = ["1/30", "1/15", "1/5"] },
]
[[control]]
id = "0x00980900"
name = "Brightness"
type = "integer"
min = -64
max = 64
default = 0
value = 10
[[control]]
id = "0x00980918"
name = "Power Line Frequency"
type = "menu"
min = 1
default = 2
items = ["50 Hz", "60 Hz"]
"#;

fn parsed(text: &str) -> Arc<Likeness> {
    let checked = check::parse(text).unwrap_or_else(|e| panic!("{e}"));
    Arc::new(checked.likeness)
}

#[test]
fn errors_name_the_line_and_what_is_allowed() {
    let rows = [
        ("version = 1", "version = 2", 1, "reads version 1"),
        ("card =", "crad =", 5, "unknown field `crad`"),
        ("uvcvideo", "a driver with a long name", 3, "1 to 15"),
        (
            "card = \"A camera\"",
            "card = \"A\"\nbus_info = \"usb-a-controller-with-a-long-name-1\"",
            3,
            "allowed are 1 to 31",
        ),
        (
            "card = \"A camera\"",
            "card = \"A\"\nother_capabilities = \"1\"",
            6,
            "must look like \"0x00980900\"",
        ),
        (
            "type = \"integer\"",
            "type = \"class\"",
            37,
            "no control's id",
        ),
        ("046d:0825", "46d:825", 8, "must look like \"046d:0825\""),
        ("\"0012\"", "\"12\"", 7, "4 hexadecimal digits"),
        (
            "320x240\"\ninterval = \"1/15\"",
            "320x24\"\ninterval = \"1/15\"",
            11,
            "no such size",
        ),
        (
            "format = \"MJPG\"",
            "format = \"NV12\"",
            11,
            "no [[format]]",
        ),
        ("67000", "0", 16, "from 1 to 60000000"),
        ("[[1, 1]]", "[[3, 1]]", 16, "below 3"),
        ("[4000, 5000]", "[40000000]", 16, "up to 33554432"),
        ("\"32x32\"", "\"3200x32\"", 28, "above the largest"),
        (
            "\"1/30\", \"1/1\"",
            "\"1/1\", \"1/30\"",
            28,
            "from 1/1000 to 60/1",
        ),
        (
            "[\"1/30\", \"1/15\"]",
            "[\"0/30\"]",
            34,
            "must look like \"1/30\"",
        ),
        (
            "[\"1/30\", \"1/15\"]",
            "[\"1/2000\"]",
            34,
            "from 1/1000 to 60/1",
        ),
        ("\"640x480\", image", "\"320x240\", image", 35, "two sizes"),
        ("400000", "4000000000", 34, "33554432"),
        ("\"32x32\"", "\"4294967295x32\"", 28, "the smallest must be"),
        ("min = -64", "min = 65", 37, "min must not be above max"),
        ("value = 10", "value = 65", 37, "must lie between"),
        (
            "type = \"integer\"",
            "type = \"number\"",
            40,
            "expected one of `integer`",
        ),
        ("default = 2", "default = 3", 45, "indexes of items"),
        ("0x00980918", "0x00980900", 45, "two [[control]]"),
        ("0x00980918", "0x00980001", 45, "no control's id"),
        (
            "code = \"YUYV\"",
            "code = \"MJPG\"",
            30,
            "two [[format]] MJPG",
        ),
        ("\"16x8\"]", "\"65537x8\"]", 28, "range from 32 to 640"),
        (
            "\"640x480\", \"16",
            "\"65538x480\", \"16",
            28,
            "at most 4096",
        ),
        ("\"640x480\", \"16", "\"640x0\", \"16", 28, "at most 2304"),
        ("image_bytes = 400000", "line_bytes = 65537", 34, "65536"),
        (
            "\"1/30\", \"1/1\"",
            "\"1/30\"",
            28,
            "[SHORTEST, LONGEST, STEP]",
        ),
        (
            "\"1/1\"] }",
            "\"1/1\"], intervals = [\"1/5\"] }",
            28,
            "[SHORTEST, LONGEST, STEP]",
        ),
        (
            "\"1/30\", \"1/1\"",
            "\"1/30\", \"1/1\", \"1/60\", \"1/60\"",
            28,
            "[SHORTEST, LONGEST, STEP]",
        ),
        (
            "size = \"640x480\", image",
            "image",
            34,
            "either size = \"640x480\" or range",
        ),
        (
            "Brightness",
            "A brightness with a long long name",
            37,
            "1 to 31 bytes",
        ),
        ("\"50 Hz\", \"60 Hz\"", "", 45, "1 to 256 items"),
        ("max = 64", "max = 4294967296", 37, "use integer64"),
        (
            "default = 0",
            "default = 0\nactive_if = { id = \"0x00980901\", value = 0 }",
            37,
            "no such [[control]]",
        ),
    ];
    for (from, to, line, said) in rows {
        assert!(TEXT.contains(from), "{from}");
        let e = check::parse(&TEXT.replacen(from, to, 1)).expect_err(to);
        let e = e.to_string();
        assert!(
            e.starts_with(&format!("{line}: ")) && e.contains(said),
            "{to}: {e}"
        );
    }
}

/// Returns the text with a stream of this many intervals, and this many sizes of pictures.
fn with_stream(intervals: usize, sizes: usize) -> String {
    let list = |number: &str, len| vec![number; len].join(", ");
    let text = TEXT.replace("33000, 67000, 34000", &list("1000", intervals));
    let text = text.replace("4000, 5000", &list("4000", sizes));
    text.replace("[[1, 1]]", "[]")
}

#[test]
fn limits_of_a_stream_can_be_reached_but_not_passed() {
    for (intervals, sizes) in [(1, 0), (1200, 1201)] {
        parsed(&with_stream(intervals, sizes));
    }
    for (intervals, sizes) in [(0, 0), (1201, 0), (1200, 1202), (1200, 1203)] {
        let e = check::parse(&with_stream(intervals, sizes)).expect_err("a limit");
        assert!(e.to_string().contains("1 to 1200 frames"), "{e}");
    }
    for (from, to, most) in [
        ("250000", "60000001", "60000000"),
        ("[[1, 1]]", "[[2, 1001]]", "[[2, 1000]]"),
        ("[4000, 5000]", "[33554433]", "[33554432]"),
        (
            "interval = \"1/30\"",
            "interval = \"601/10\"",
            "interval = \"60/1\"",
        ),
    ] {
        assert!(check::parse(&TEXT.replacen(from, to, 1)).is_err(), "{to}");
        parsed(&TEXT.replacen(from, most, 1));
    }
}

#[test]
fn formats_and_sizes_follow_the_description() {
    let notes = check::parse(TEXT).expect("a description").notes;
    assert!(notes.is_empty(), "{notes:?}");
    let camera = parsed(TEXT);
    let (yuyv, mjpeg) = (FourCc::YUYV, FourCc::MJPEG);
    let range = FrameSizes::Stepwise {
        width: (32, 640, 16),
        height: (32, 480, 8),
    };
    assert_eq!(camera.sizes(yuyv), range);
    let range = parsed(&TEXT.replace("\"1/30\", \"1/1\"", "\"1/30\", \"1/1\", \"1/60\""));
    let [min, max, step] = [30, 1, 60].map(|rate| Fraction::new(1, rate));
    let range = range.intervals(yuyv, (64, 64));
    assert_eq!(range, FrameIntervals::Stepwise { min, max, step });
    let all = [(640, 480), (320, 240)];
    assert_eq!(camera.sizes(mjpeg), FrameSizes::Discrete(&all));
    let (min, max) = (Fraction::new(1, 30), Fraction::new(1, 1));
    let range = FrameIntervals::Continuous { min, max };
    assert_eq!(camera.intervals(yuyv, (64, 64)), range);
    let (first, _) = camera.first().expect("a format");
    assert_eq!((first.fourcc, first.width), (mjpeg, 320));
    let ask = |pixel, width, height| {
        let wanted = Format::new(pixel, width, height).expect("a format");
        let found = camera.negotiate(&wanted).expect("a format");
        (found.width, found.height, found.planes[0].sizeimage)
    };
    assert_eq!(ask(&MJPEG, 600, 400), (640, 480, 400_000));
    assert_eq!(ask(&YUYV, 100, 100), (96, 96, 96 * 96 * 2));
    let offered = camera.intervals(mjpeg, (first.width, first.height));
    let nearest = nearest_interval(offered, Fraction::new(1, 8));
    assert_eq!(nearest, Some(Fraction::new(1, 15)));
}

#[test]
fn what_cannot_be_made_is_left_out_with_a_note() {
    let rows = [
        ("code = \"YUYV\"", "code = \"H264\"", "24: H264 is left out"),
        (
            "\"640x480\", image",
            "\"641x480\", image",
            "34: size 641x480 is left out",
        ),
        (
            "\"640x480\", \"16x8\"",
            "\"9999x480\", \"1x1\"",
            "28: the range of sizes",
        ),
    ];
    for (from, to, note) in rows {
        let checked = check::parse(&TEXT.replacen(from, to, 1)).expect(note);
        assert!(checked.notes[0].starts_with(note), "{:?}", checked.notes);
    }
    let range = parsed(&TEXT.replacen(rows[2].0, rows[2].1, 1));
    let reduced = FrameSizes::Stepwise {
        width: (32, 4096, 2),
        height: (32, 480, 2),
    };
    assert_eq!(range.sizes(FourCc::YUYV), reduced);
}

#[test]
fn rhythm_repeats_and_follows_the_rate() {
    let like = parsed(TEXT);
    let mut rhythm = Rhythm::new(&like).expect("a stream");
    assert_eq!(rhythm.first_ns(), 250_000_000);
    let measured = Fraction::new(1, 30);
    let next: Vec<_> = (0..4)
        .filter_map(|_| rhythm.next_interval(measured))
        .collect();
    let want = [33_000_000, 67_000_000, 34_000_000, 33_000_000].map(|ns| (ns, 0));
    assert_eq!(
        next.iter().map(|(ns, _)| (*ns, 0)).collect::<Vec<_>>(),
        want
    );
    assert_eq!(
        next.iter().map(|(_, lost)| *lost).collect::<Vec<_>>(),
        [0, 1, 0, 0]
    );
    // 2/30 s per frame doubles the intervals. A quarter of the area has a quarter of the bytes.
    assert_eq!(
        rhythm.next_interval(Fraction::new(1, 15)),
        Some((134_000_000, 1))
    );
    let mut sizes = Rhythm::new(&like).expect("a stream");
    assert_eq!(sizes.next_bytes(Size::nearest(320, 240)), Some(4000));
    assert_eq!(sizes.next_bytes(Size::nearest(160, 120)), Some(1250));
    rhythm.reset();
    assert_eq!(rhythm.next_interval(measured), Some((33_000_000, 0)));
}

#[test]
fn jpeg_is_padded_by_comments() {
    let file = [0xff, 0xd8, 1, 2, 0xff, 0xd9];
    for (len, got) in [
        (0, 6),
        (6, 6),
        (9, 6),
        (10, 10),
        (100, 100),
        (70_000, 70_000),
    ] {
        let padded = pad(&file, len);
        assert_eq!(padded.len(), got);
        assert_eq!((&padded[..2], &padded[got - 4..]), (&file[..2], &file[2..]));
    }
    let mut rest = &pad(&file, 140_000)[2..];
    while rest[..2] == [0xff, 0xfe] {
        rest = &rest[2 + usize::from(u16::from_be_bytes([rest[2], rest[3]]))..];
    }
    assert_eq!(rest, &file[2..]);
}

#[test]
fn shipped_descriptions_name_their_source() {
    for (name, _) in SHIPPED {
        let camera = Description::load(name).expect(name);
        assert!(camera.file.source.is_some(), "{name}");
        let spec: DeviceSpec = format!("camera,like={name}").parse().expect(name);
        let usb = camera.file.usb.as_ref().map(toml::Spanned::get_ref);
        assert_eq!(spec.usb_id(), usb.map(|usb| usb.id));
        assert_eq!(spec.name.as_deref(), Some(camera.card()));
        assert_eq!(spec.usb_device().as_ref(), usb);
    }
}

#[test]
fn described_options_are_refused() {
    for (spec, said) in [
        (
            "camera,like=logitech-c920,size=640x480",
            "the description has it",
        ),
        (
            "camera,mplane=on,like=logitech-c920",
            "the description has it",
        ),
        (
            "capture-convert,like=logitech-c920",
            "only a camera without scaler",
        ),
        (
            "hdmi,like=logitech-c920",
            "only a camera without scaler or HDMI input has like=",
        ),
        ("display,like=logitech-c920", "has like="),
        ("camera,like=logitech-c902", "did you mean logitech-c920?"),
        ("missing.toml", "cannot read missing.toml"),
        ("camera,like=/dev/zero.toml", "cannot read"),
    ] {
        let e = spec.parse::<DeviceSpec>().expect_err(spec).to_string();
        assert!(e.contains(said), "{spec}: {e}");
    }
}
