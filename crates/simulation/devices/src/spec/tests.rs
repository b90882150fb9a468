use super::*;
use crate::{Device, HostSettings};
use vb3_codec::Kind;
use vb3_v4l2::pixfmt::{self, Sample};
use vb3_v4l2::{Flow, PixelFormat, Role, VideoDriver};

fn host() -> HostSettings {
    HostSettings {
        bus_info: "platform:vb3-000".to_owned(),
        usb: None,
        userptr: false,
        // The tests run no codec, so every kind counts as available.
        codecs: vb3_codec::Launch::handed(drop).into(),
    }
}

fn parse(text: &str) -> DeviceSpec {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn refusal(text: &str) -> String {
    text.parse::<DeviceSpec>()
        .map(|spec| panic!("{text}: {spec:?}"))
        .unwrap_err()
        .to_string()
}

#[test]
fn kinds_and_their_targets() {
    let clip = |file: &str| DeviceKind::Camera {
        source: SourceSpec::Clip(file.into()),
        end: ClipEnd::Loop,
        input: CameraInput::Sensor,
    };
    let display = |sink| DeviceKind::Display { sink };
    let pattern = || DeviceKind::Camera {
        source: SourceSpec::Pattern,
        end: ClipEnd::Loop,
        input: CameraInput::Sensor,
    };
    let table = [
        ("camera", pattern(), false),
        ("camera=pattern", pattern(), false),
        ("camera=pattern,mplane=on", pattern(), true),
        ("camera=a b.mp4", clip("a b.mp4"), false),
        (r"camera=a\,b\\c.mp4", clip(r"a,b\c.mp4"), false),
        (r"camera=a\b.mp4", clip(r"a\b.mp4"), false),
        ("camera=x=y.mkv", clip("x=y.mkv"), false),
        ("display", display(SinkSpec::Null), false),
        ("display=null", display(SinkSpec::Null), false),
        (
            "display=out.y4m",
            display(SinkSpec::Y4m("out.y4m".into())),
            false,
        ),
        (
            "display=out.Y4M",
            display(SinkSpec::Y4m("out.Y4M".into())),
            false,
        ),
        (
            "display=o.raw",
            display(SinkSpec::Raw("o.raw".into())),
            false,
        ),
        (
            "display=o.yuv",
            display(SinkSpec::Raw("o.yuv".into())),
            false,
        ),
        (
            "display=o.rgb,mplane=on",
            display(SinkSpec::Raw("o.rgb".into())),
            true,
        ),
        (
            "display=frames/%04d.png",
            display(SinkSpec::Png("frames/%04d.png".into())),
            false,
        ),
    ];
    for (text, kind, mplane) in table {
        assert_eq!(parse(text), DeviceSpec::new(kind, mplane), "{text}");
    }
}

#[test]
fn options_land_where_they_belong() {
    let spec = parse(
        "camera=clip.mp4,mplane=on,size=1280x720,fps=30000/1001,format=nv12m,end=hold,pace=free,\
         alloc=vmalloc,userptr=off,hints=off,inject=on,admission=on,min-queued=3,max-buffers=128,name=My Camera,stride=64,node=video7",
    );
    assert_eq!(
        spec,
        DeviceSpec {
            kind: DeviceKind::Camera {
                source: SourceSpec::Clip("clip.mp4".into()),
                end: ClipEnd::Hold,
                input: CameraInput::Sensor,
            },
            mplane: true,
            size: Size::new(1280, 720),
            fps: Some(Fraction::new(30_000, 1001)),
            format: Some(FourCc::NV12M),
            pace: Some(Pace::Free),
            allocator: Some(Allocator::Vmalloc),
            userptr: Some(false),
            ignores_hints: true,
            inject: true,
            admission: true,
            min_queued: 3,
            max_buffers: Some(128),
            name: Some("My Camera".into()),
            stride: Some(64),
            node: Some(7),
            ..DeviceSpec::new(DeviceKind::Codec(Kind::H264Decoder), true)
        }
    );
}

#[test]
fn limits_of_addresses_are_for_devices_that_do_dma() {
    let limits = [
        ("mask", "32"),
        ("contiguous", "on"),
        ("align", "64KiB"),
        ("max-segment", "1MiB"),
        ("boundary", "4MiB"),
    ];
    let all = limits.map(|(option, value)| format!("{option}={value}"));
    let plain = DeviceSpec::new(DeviceKind::Plain("convert"), true);
    assert_eq!(
        parse(&format!("convert,alloc=contig,{}", all.join(","))),
        DeviceSpec {
            allocator: Some(Allocator::Contig),
            mask: Some(0xffff_ffff),
            contiguous: true,
            align: Some(64 << 10),
            max_segment: Some(1 << 20),
            boundary: Some(4 << 20),
            ..plain.clone()
        }
    );
    for (said, (option, _)) in all.iter().zip(limits) {
        let sentence = format!(
            "{said} is not understood: convert does no DMA with alloc=vmalloc, so \
             {option} limits nothing; leave out {option} or alloc"
        );
        for order in [
            format!("convert,alloc=vmalloc,{said}"),
            format!("convert,{said},alloc=vmalloc"),
        ] {
            assert_eq!(refusal(&order), sentence);
        }
    }
    // A mask is the highest address, whether or not all its bits are set.
    for (said, last) in [
        ("20", 0xf_ffff),
        ("64", u64::MAX),
        ("0xddbfffff", 0xddbf_ffff),
        ("0xfffff", 0xf_ffff),
    ] {
        assert_eq!(parse(&format!("convert,mask={said}")).mask, Some(last));
    }
    // Addresses in scatter lists are addresses, too.
    assert_eq!(
        parse("convert,alloc=sg,mask=32"),
        DeviceSpec {
            allocator: Some(Allocator::Sg),
            mask: Some(0xffff_ffff),
            ..plain.clone()
        }
    );
    // This value is the default.
    assert_eq!(
        parse("convert,alloc=vmalloc,contiguous=off"),
        DeviceSpec {
            allocator: Some(Allocator::Vmalloc),
            ..plain
        }
    );
}

#[test]
fn codecs_are_multiplanar_and_take_picture_options() {
    for (word, kind) in [
        ("h264dec", Kind::H264Decoder),
        ("hevcdec", Kind::HevcDecoder),
        ("vp8dec", Kind::Vp8Decoder),
        ("vp9dec", Kind::Vp9Decoder),
        ("av1dec", Kind::Av1Decoder),
        ("mpeg2dec", Kind::Mpeg2Decoder),
        ("mpeg4dec", Kind::Mpeg4Decoder),
        ("jpegdec", Kind::JpegDecoder),
        ("h264enc", Kind::H264Encoder),
        ("hevcenc", Kind::HevcEncoder),
        ("vp8enc", Kind::Vp8Encoder),
        ("jpegenc", Kind::JpegEncoder),
    ] {
        let spec = parse(&format!(
            "{word},size=1280x720,fps=25,format=YUV420,stride=128"
        ));
        let expected = DeviceSpec {
            size: Size::new(1280, 720),
            fps: Some(Fraction::new(25, 1)),
            format: Some(FourCc::YUV420),
            stride: Some(128),
            ..DeviceSpec::new(DeviceKind::Codec(kind), true)
        };
        assert_eq!(spec, expected);
        assert_eq!(spec.kind.name(), word);
        assert!(
            crate::KINDS.iter().any(|known| known.name == word),
            "{word} in the help"
        );
    }
}

/// Whether a format has only luma, or luma and chroma, in cells of one row.
fn is_yuv(pixel: &PixelFormat) -> bool {
    has_samples(pixel) && !pixel.has(Sample::R)
}

/// Whether a format has samples, and no mosaic.
fn has_samples(pixel: &PixelFormat) -> bool {
    let mut components = pixel.components.iter();
    !pixel.components.is_empty() && components.all(|component| component.cell.len() == 1)
}

/// What a camera plays: all but the streams of codecs.
fn is_seen(pixel: &PixelFormat) -> bool {
    !pixel.components.is_empty() || pixel.name == "MJPEG"
}

fn is_converted(pixel: &PixelFormat) -> bool {
    let names = ["YUYV", "NV12", "NV12M", "RGB24", "YUV420", "XBGR32"];
    names.contains(&pixel.name)
}

fn is_decoded(pixel: &PixelFormat) -> bool {
    ["NV12", "NV12M", "YUV420"].contains(&pixel.name)
}

/// Returns whether a device offers a format.
type Offers = fn(&PixelFormat) -> bool;

/// The formats that devices offer, of those of the table, and whether a format may have several memory planes.
const OFFERED: [(&str, Offers, bool); 11] = [
    ("camera", is_seen, false),
    ("camera,mplane=on", is_seen, true),
    ("capture-convert", is_converted, false),
    ("display", has_samples, false),
    ("display,mplane=on", has_samples, true),
    ("display=a.y4m,mplane=on", is_yuv, true),
    ("h264dec", is_decoded, true),
    ("h264enc", is_decoded, true),
    ("jpegdec", is_decoded, true),
    ("jpegenc", is_decoded, true),
    ("convert", is_converted, true),
];

#[test]
fn unknown_format_is_refused_with_offered_ones() {
    let directory = tempfile::tempdir().expect("a directory");
    let recording = directory.path().join("a.y4m").display().to_string();
    for (device, is_offered, mplane) in OFFERED {
        let device = device.replace("a.y4m", &recording);
        let all = pixfmt::TABLE.iter();
        let all = all.filter(|pixel| is_offered(pixel) && (mplane || pixel.memory_planes == 1));
        let offered: Vec<&str> = all.map(|pixel| pixel.name).collect();
        for format in ["YUYV", "NV12", "RGB24", "NV12M", "YUV420", "P010", "SRGGB8"] {
            let text = format!("{device},format={format}");
            if offered.contains(&format) {
                let spec = parse(&text);
                let device: Device<u64> = Device::new(&spec.clone().into(), &host()).unwrap();
                let flow = match device.role() {
                    Role::Capture => Flow::Capture,
                    Role::Output => Flow::Output,
                    Role::MemToMem if text.contains("dec") => Flow::Capture,
                    Role::MemToMem | Role::Duplex | Role::Subdevice => Flow::Output,
                };
                assert_eq!(Some(device.format(flow).fourcc), spec.format, "{text}");
                continue;
            }
            let said = refusal(&text);
            let kind = device.split(['=', ',']).next().unwrap();
            let all = format!(
                "format={format} is not understood: {kind} offers {}",
                offered.join(", ")
            );
            assert!(said.starts_with(&all), "{said}");
            // A SPEC that was not made by parsing is checked, too.
            let mut spec = parse(&device);
            spec.format = Some(parse_format(format).unwrap());
            let made: Result<Device<u64>, _> = Device::new(&spec.clone().into(), &host());
            let said = made.err().unwrap().sentence().to_owned();
            assert!(said.contains(&offered.join(", ")), "{said}");
        }
    }
}

#[test]
fn constraints_are_bytes_plain_or_in_units() {
    let spec = parse("h264dec,align=8192,max-segment=64KiB,boundary=1GiB");
    assert_eq!(
        (spec.align, spec.max_segment, spec.boundary),
        (Some(8192), Some(65_536), Some(1 << 30))
    );
    assert_eq!(parse("display,max-segment=4GiB").max_segment, Some(1 << 32));
    assert_eq!(
        parse("display,max-segment=4294967296").max_segment,
        Some(1 << 32)
    );
    assert_eq!(parse("display,max-segment=5000").max_segment, Some(5000));
}

#[test]
fn refusals_name_option_value_and_what_is_allowed() {
    let table = [
        ("", "the device has no name; try camera or display"),
        ("webcam=x", "there is no device \"webcam\""),
        (
            "camra",
            "there is no device \"camra\"; did you mean camera? `vb3 devices` lists",
        ),
        (
            "clip.mp4",
            "\"clip.mp4\" is a file, not a device; to play it: camera=clip.mp4",
        ),
        ("a.y4m", "to record to it: display=a.y4m"),
        ("h264dec=a.mp4", "h264dec takes no file; write h264dec"),
        (
            "camera,siz=4x4",
            "camera has no option \"siz\"; did you mean size? `vb3 devices camera`",
        ),
        ("camera,free", "did you mean pace=free?"),
        (
            "camera,",
            "an option is missing after a comma; remove the comma",
        ),
        (
            "h264dec,format=H265",
            "there is no such pixel format; h264dec offers NV12, NV12M, YUV420",
        ),
        (
            "display=out.mp4",
            "display=out.mp4 is not understood: a display records to null",
        ),
        ("display=out.png", "write the place of its number once"),
        ("display=%d%d.png", "write the place of its number once"),
        ("display=a%d/b.png", "write the place of its number once"),
        (
            "vimc,size=320x240",
            "only a device without a media graph (not vimc, not sensor) has size=; set the graph's",
        ),
        (
            "sensor,pace=free",
            "only a device without a media graph (not vimc, not sensor) has pace=",
        ),
        (
            "camera,size=3x4",
            "size=3x4 is not understood: use WIDTHxHEIGHT, even",
        ),
        ("camera,size=4098x2", "size=4098x2"),
        ("camera,size=+4x4", "size=+4x4"),
        ("camera,size=99999999999x2", "size=99999999999x2"),
        ("camera,fps=0", "fps=0 is not understood: use N or N/D"),
        ("camera,fps=121", "from 1 to 120"),
        ("camera,fps=1/2", "from 1 to 120"),
        ("camera,fps=1/0", "fps=1/0"),
        (
            "camera,format=BGR9",
            "format=BGR9 is not understood: there is no such pixel format; camera offers YUYV, MJPEG",
        ),
        ("camera,format=NV12M", "add mplane=on"),
        (
            "display=a.y4m,format=RGB24",
            "format=RGB24 is not understood: display offers YUYV, NV12, YUV420, UYVY",
        ),
        (
            "display=a.y4m,format=RGB24",
            "; y4m holds no RGB: record to NAME%04d.png or FILE.rgb",
        ),
        (
            "camera,end=off",
            "end=off is not understood: use loop, hold, stop or unplug",
        ),
        ("display,end=loop", "only a camera has end="),
        ("camera,pace=fast", "use real or free"),
        ("camera,alloc=cma", "use contig, sg or vmalloc"),
        (
            "camera,userptr",
            "userptr needs a value; use userptr= with on or off",
        ),
        ("camera,max-buffers=31", "from 32 to 32768"),
        ("camera,name=", "1 to 31 printable"),
        (
            "camera,name=0123456789012345678901234567890x",
            "1 to 31 printable",
        ),
        ("camera,mask=65", "from 20 to 64"),
        ("camera,mask=0xffff", "from 20 to 64"),
        ("camera,mask=0x+fffff", "from 20 to 64"),
        ("camera,mask=0x10000000000000000", "from 20 to 64"),
        ("convert,contiguous=yes", "on or off"),
        (
            "display,align=3",
            "align=3 is not understood: use bytes, a power of two from 1 to 16MiB",
        ),
        ("display,align=32MiB", "from 1 to 16MiB"),
        ("display,align=0", "from 1 to 16MiB"),
        ("display,align=1K", "from 1 to 16MiB"),
        (
            "display,max-segment=4095",
            "max-segment=4095 is not understood: use bytes from 4KiB to 4GiB",
        ),
        ("display,max-segment=5GiB", "from 4KiB to 4GiB"),
        ("display,max-segment=KiB", "from 4KiB to 4GiB"),
        (
            "display,boundary=96KiB",
            "boundary=96KiB is not understood: use bytes, a power of two from 4KiB to 4GiB",
        ),
        ("camera,node=video64", "videoN, N from 0 to 63"),
        ("camera,node=7", "videoN"),
        ("camera,zoom=2", "camera has no option \"zoom\"."),
        ("camera,fps=30,fps=30", "fps= is given twice"),
        ("h264dec,mplane=on", "only a camera or display has mplane="),
        (
            "display,sizes=640x480",
            "only a camera or display card has sizes=",
        ),
        ("camera,readers=2", "only a loopback has readers="),
        ("loopback,readers=9", "use a number from 1 to 8"),
        ("loopback,format=NV12M", "loopback offers YUYV, MJPEG, NV12"),
        (
            "camera,sizes=640x480:641x480",
            "use WIDTHxHEIGHT:WIDTHxHEIGHT",
        ),
        (
            "camera,sizes=640x480:640x480",
            "use WIDTHxHEIGHT:WIDTHxHEIGHT",
        ),
        ("camera,rates=0", "use N:N/D"),
        ("camera,profile=phone", "use webcam or sensor"),
        (
            "camera,profile=sensor,sizes=64x48",
            "sizes=64x48 is not understood: profile=sensor offers every one",
        ),
        (
            "camera,sizes=64x48:32x24,size=640x480",
            "size=640x480 is not understood: sizes= has 64x48:32x24",
        ),
        ("camera,place=later", "use fixed or lazy"),
        (
            "camera,place=lazy,alloc=vmalloc",
            "only alloc=contig places buffers lazily; leave out place or alloc",
        ),
        (
            "h264dec-stateless,min-queued=1",
            "a device with media requests starts without buffers; leave out min-queued",
        ),
        ("camera,iommu=", "a name in [iommus]"),
        ("camera,sram=5000", "a multiple of 4KiB"),
        ("camera,window=0x0-0xfff", "whole pages"),
        ("camera,window=0x1000-0xfff@0x0", "whole pages"),
        ("camera,window=0x0-0x+fff@0x0", "whole pages"),
        (
            "camera,rates=15,fps=30",
            "fps=30 is not understood: rates= has 15",
        ),
        (
            "camera,formats=YUYV:WEBP",
            "there is no pixel format \"WEBP\"; use camera offers YUYV, MJPEG",
        ),
        (
            "camera,formats=RGB565",
            "formats=RGB565 is not understood: camera offers",
        ),
        (
            "camera,formats=YUYV:NV12M",
            "formats=NV12M is not understood: camera offers YUYV, MJPEG",
        ),
    ];
    for (text, part) in table {
        let said = refusal(text);
        assert!(said.contains(part), "{text}: {said}");
    }
}

#[test]
fn every_listed_option_is_understood() {
    let tried = [
        ("size", "2x2"),
        ("fps", "1"),
        ("format", "NV12"),
        ("profile", "webcam"),
        ("sizes", "640x480:320x240"),
        ("driver", "imx-drm"),
        ("rates", "30:15/2"),
        ("formats", "GREY:MJPG"),
        ("identity", "uvc"),
        ("usb", "046d:0825"),
        ("like", "logitech-c920"),
        ("readers", "3"),
        ("exclusive-caps", "on"),
        ("placeholder", "hold"),
        ("end", "unplug"),
        ("pace", "real"),
        ("mplane", "on"),
        ("alloc", "contig"),
        ("place", "lazy"),
        ("admission", "on"),
        ("userptr", "on"),
        ("hints", "on"),
        ("inject", "off"),
        ("min-queued", "1"),
        ("max-buffers", "32"),
        ("name", "x"),
        ("mask", "20"),
        ("contiguous", "on"),
        ("iommu", "left"),
        ("sram", "2MiB"),
        ("window", "0x0-0x3fffffff@0xc0000000"),
        ("align", "64KiB"),
        ("max-segment", "64KiB"),
        ("boundary", "1MiB"),
        ("stride", "64"),
        ("coherent", "on"),
        ("sync", "on"),
        ("pages", "on"),
        ("protected", "on"),
        ("connectors", "2"),
        ("planes", "1"),
        ("scaler", "on"),
        ("edid", "monitor.bin"),
        ("node", "video0"),
        ("plug", "1s"),
        ("unplug", "1s"),
    ];
    for (option, value) in tried {
        assert!(
            OPTIONS.iter().any(|known| known.name == option),
            "{option} is not listed"
        );
        let kind = match option {
            "readers" | "exclusive-caps" | "placeholder" => "loopback",
            "driver" | "connectors" | "planes" | "scaler" | "edid" => "kms",
            _ => "camera",
        };
        parse(&format!("{kind},{option}={value}"));
    }
    assert_eq!(
        OPTIONS.len(),
        tried.len(),
        "an option is listed that this test does not try"
    );
}

#[test]
fn webcams_are_usb_devices_unless_told_otherwise() {
    let usb = |text: &str| parse(text).usb_id().map(|id| id.to_string());
    for (text, want) in [
        ("camera", Some("1d6b:0102")),
        ("camera,usb=046D:0825", Some("046d:0825")),
        ("camera,identity=uvc,profile=sensor", Some("1d6b:0102")),
        ("camera,identity=plain", None),
        ("camera,mplane=on", None),
        ("camera,profile=sensor", None),
        ("capture-convert", None),
        ("display=null", None),
        ("h264dec", None),
    ] {
        assert_eq!(usb(text).as_deref(), want, "{text}");
    }
    for (text, said) in [
        ("camera,identity=usb", "use uvc or plain"),
        ("camera,usb=46d:825", "use VVVV:PPPP"),
        ("camera,usb=+46d:0825", "use VVVV:PPPP"),
        (
            "camera,identity=plain,usb=046d:0825",
            "no USB webcam; add identity=uvc",
        ),
        ("camera,identity=uvc,mplane=on", "no multi-planar API"),
        ("loopback,identity=uvc", "use plain or v4l2loopback"),
        ("camera,identity=v4l2loopback", "use uvc or plain"),
        (
            "loopback,identity=v4l2loopback,readers=2",
            "leave out readers",
        ),
        ("display=null,identity=uvc", "only a camera or loopback has"),
    ] {
        assert!(refusal(text).contains(said), "{}", refusal(text));
    }
}

#[test]
fn codecs_and_converters_have_two_queues_each() {
    for (text, has_two) in [
        ("camera", false),
        ("display", false),
        ("loopback", false),
        ("capture-convert", false),
        ("convert", true),
        ("h264dec", true),
        ("jpegenc", true),
    ] {
        assert_eq!(parse(text).is_mem2mem(), has_two, "{text}");
    }
}

#[test]
fn groups_of_options_have_headings() {
    let titles: std::collections::BTreeSet<_> = Group::ALL.map(Group::title).into();
    assert_eq!(titles.len(), Group::ALL.len());
    assert!(
        titles
            .iter()
            .all(|title| title.starts_with(char::is_uppercase))
    );
}

#[test]
fn cards_refuse_options_of_video_nodes() {
    let card = parse("kms=shown.y4m,sizes=640x480:800x600,formats=XR24:NV12,planes=2,connectors=3");
    assert_eq!(card.formats, [FourCc::new(*b"XR24"), FourCc::new(*b"NV12")]);
    let DeviceKind::Kms { sink, card } = card.kind else {
        panic!("no card");
    };
    assert_eq!((card.connectors, card.overlays, card.scales), (3, 2, false));
    assert_eq!(sink.of_connector(0), SinkSpec::Y4m("shown.y4m".into()));
    assert_eq!(sink.of_connector(2), SinkSpec::Y4m("shown-3.y4m".into()));
    for (text, said) in [
        ("kms,format=NV12", "only a video device"),
        ("kms,max-buffers=32", "only a video device (not kms) has"),
        ("kms,node=video3", "only a video device"),
        ("kms,formats=YU16", "kms offers AR24, XR24"),
        ("kms,connectors=9", "use a number from 1 to 8"),
        ("camera,scaler=on", "only a display card has scaler="),
    ] {
        assert!(refusal(text).contains(said), "{}", refusal(text));
    }
}
