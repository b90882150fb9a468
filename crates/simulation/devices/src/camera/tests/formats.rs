//! Formats, sizes and rates that cameras offer.

use super::*;

#[test]
fn webcam_sets_its_compressed_buffer_size() {
    let default = 320 * 240 * 3 / 2;
    for (profile, asked, want) in [
        ("webcam", 0, default),
        ("webcam", 640 * 480 * 2, default),
        ("sensor", 640 * 480 * 2, 640 * 480 * 2),
    ] {
        let camera = camera(&format!("camera,profile={profile}"));
        let mut wanted = camera.format(Flow::Capture);
        (wanted.fourcc, wanted.width, wanted.height) = (FourCc::MJPEG, 320, 240);
        wanted.planes[0].sizeimage = asked;
        let format = camera.try_format(Flow::Capture, &wanted);
        assert_eq!(format.fourcc, FourCc::MJPEG);
        assert_eq!(format.planes[0].sizeimage, want, "{profile}, {asked}");
    }
}

#[test]
fn lines_are_multiples_of_the_stride_of_the_spec() {
    for (options, lines, longer_lines) in [
        ("", [32, 48], 132),
        (",stride=64", [64, 64], 192),
        (",stride=256", [256, 256], 256),
    ] {
        let camera = camera(&format!("camera,profile=sensor,size=16x8{options}"));
        let first = camera.format(Flow::Capture);
        let mut rgb = first;
        rgb.fourcc = FourCc::RGB24;
        rgb.planes[0].bytesperline = 0;
        let rgb = camera.try_format(Flow::Capture, &rgb);
        assert_eq!(rgb.fourcc, FourCc::RGB24);
        let found = [first, rgb].map(|format| format.planes[0].bytesperline);
        assert_eq!(found, lines, "{options}");
        let sizes = [first, rgb].map(|format| format.planes[0].sizeimage);
        assert_eq!(sizes, lines.map(|line| line * 8), "{options}");
        let mut longer = first;
        longer.planes[0].bytesperline = 129;
        let longer = camera.try_format(Flow::Capture, &longer).planes[0].bytesperline;
        assert_eq!(longer, longer_lines, "{options}");
    }
}

#[test]
fn formats_depend_on_the_planes_a_device_speaks() {
    let codes = |spec| -> Vec<FourCc> {
        camera(spec)
            .formats(Flow::Capture)
            .iter()
            .map(|pixel| pixel.fourcc)
            .collect()
    };
    // The usual formats of a webcam, and one that the SPEC names.
    let usual = vec![FourCc::YUYV, FourCc::MJPEG];
    assert_eq!(codes("camera"), usual);
    assert_eq!(codes("camera,mplane=on"), usual);
    assert_eq!(codes("camera,format=NV12"), [FourCc::NV12]);
    assert_eq!(codes("camera,mplane=on,format=NV12M"), [FourCc::NV12M]);
    let asked = [FourCc::GREY, FourCc::NV12];
    assert_eq!(codes("camera,formats=GREY:NV12,format=NV12"), asked);
    let raw = |format: &&&PixelFormat| !format.is_compressed() || **format == &pixfmt::MJPEG;
    let raw: Vec<_> = pixfmt::TABLE.iter().filter(raw).collect();
    let single = raw.iter().filter(|format| format.memory_planes == 1);
    assert_eq!(
        codes("camera,profile=sensor"),
        single.map(|format| format.fourcc).collect::<Vec<_>>()
    );
    assert_eq!(
        codes("camera,profile=sensor,mplane=on"),
        raw.iter().map(|format| format.fourcc).collect::<Vec<_>>()
    );
    // A scaler supports fewer formats.
    let scaled = ["YUYV", "NV12", "RGB24", "YUV420", "XBGR32"];
    let scaled = scaled.map(|name| pixfmt::by_name(name).unwrap().fourcc);
    assert_eq!(codes("capture-convert"), scaled);
    let camera = camera("camera,profile=sensor");
    let format = camera.format(Flow::Capture);
    assert_eq!(
        (format.width, format.height, format.fourcc),
        (640, 480, FourCc::YUYV)
    );
    assert_eq!(
        camera.interval(Flow::Capture).unwrap(),
        Fraction::new(1, 30)
    );
    assert_eq!(
        format.color,
        camera.try_format(Flow::Capture, &format).color
    );
    let odd = Format {
        width: 9999,
        height: 3,
        ..format
    };
    let fitted = camera.try_format(Flow::Capture, &odd);
    assert_eq!((fitted.width, fitted.height), (4096, 2));
}

#[test]
fn a_webcam_offers_sizes_and_rates_one_by_one() {
    let sizes = |spec: &str| match camera(spec).frame_sizes(&pixfmt::YUYV) {
        FrameSizes::Discrete(sizes) => sizes.to_vec(),
        _ => Vec::new(),
    };
    let rates = |spec: &str| match camera(spec).frame_intervals(&pixfmt::YUYV, 640, 480) {
        Some(FrameIntervals::Discrete(intervals)) => intervals
            .iter()
            .map(|one| (one.denominator, one.numerator))
            .collect(),
        _ => Vec::new(),
    };
    let usual = sizes("camera");
    assert_eq!(usual[..3], [(640, 480), (1920, 1080), (1280, 720)]);
    assert_eq!(usual.len(), 9);
    assert_eq!(
        rates("camera"),
        [(30, 1), (25, 1), (24, 1), (20, 1), (15, 1), (10, 1), (5, 1)]
    );
    // If the SPEC has a single size or rate, the camera offers no other.
    assert_eq!(sizes("camera,size=16x8"), [(16, 8)]);
    assert_eq!(rates("camera,fps=30000/1001"), [(30_000, 1001)]);
    assert_eq!(
        sizes("camera,sizes=320x240:64x48,size=64x48"),
        [(320, 240), (64, 48)]
    );
    assert_eq!(rates("camera,rates=15:25/2"), [(15, 1), (25, 2)]);
    assert!(sizes("camera,profile=sensor").is_empty());
    assert!(sizes("capture-convert").is_empty() && rates("capture-convert").is_empty());

    let mut camera = camera("camera,sizes=320x240:64x48,rates=15:25/2,formats=GREY:MJPG");
    let codes: Vec<_> = camera.formats(Flow::Capture).iter().collect();
    assert_eq!(codes, [&&pixfmt::GREY, &&pixfmt::MJPEG]);
    let format = camera.format(Flow::Capture);
    assert_eq!((format.width, format.height), (320, 240));
    let wanted = Format {
        width: 100,
        height: 100,
        fourcc: FourCc::YUYV,
        ..format
    };
    let got = camera.try_format(Flow::Capture, &wanted);
    assert_eq!((got.width, got.height, got.fourcc), (64, 48, FourCc::GREY));
    // Source: Linux 7.2 `v4l2_fraction_to_interval`, for zeros.
    for (asked, granted) in [
        ((1, 30), (1, 15)),
        ((1, 1), (2, 25)),
        ((0, 0), (2, 25)),
        ((0, 30), (1, 15)),
    ] {
        camera.set_interval(Flow::Capture, Fraction::new(asked.0, asked.1));
        let granted = Fraction::new(granted.0, granted.1);
        assert_eq!(camera.interval(Flow::Capture), Some(granted), "{asked:?}");
    }
}

#[test]
fn webcam_resets_its_rate_with_its_format() {
    for (spec, want) in [
        ("camera,identity=uvc", 30),
        ("camera,identity=plain", 15),
        ("camera,like=logitech-c920", 30),
    ] {
        let mut camera = camera(spec);
        let format = camera.format(Flow::Capture);
        camera.set_interval(Flow::Capture, Fraction::new(1, 15));
        assert_eq!(camera.interval(Flow::Capture), Some(Fraction::new(1, 15)));
        camera.set_format(Flow::Capture, &format, false).unwrap();
        let interval = camera.interval(Flow::Capture);
        assert_eq!(interval, Some(Fraction::new(1, want)), "{spec}");
    }
}

/// The expected sizes have the smallest area that wanted and offered picture do not share.
#[test]
fn webcam_chooses_the_size_that_overlaps_most() {
    for (spec, wanted, want) in [
        ("camera", (1920, 480), (1024, 576)),
        ("camera", (100, 100), (160, 120)),
        ("camera", (u32::MAX, u32::MAX), (1920, 1080)),
        ("camera,identity=plain", (1920, 480), (1920, 1080)),
        ("camera,like=logitech-c920", (1920, 480), (864, 480)),
    ] {
        let camera = camera(spec);
        let mut format = camera.format(Flow::Capture);
        (format.width, format.height) = wanted;
        let found = camera.try_format(Flow::Capture, &format);
        assert_eq!((found.width, found.height), want, "{spec} {wanted:?}");
    }
}

/// Source: Linux 7.2 `__uvc_query_v4l2_ctrl`, `uvc_ioctl_ops`.
#[test]
fn a_webcam_has_bounds_and_keeps_its_buffers() {
    for (identity, is_webcam) in [("uvc", true), ("plain", false)] {
        let device = camera(&format!("camera,identity={identity}"));
        let policy = device.queue_policy(Flow::Capture);
        assert_eq!(policy.removes_buffers, !is_webcam);
        let controls = device.controls();
        let has = |id| {
            let mut all = controls.iter();
            let found = all.find(|control| control.id == id).expect("a control");
            found.flags.contains(ControlFlags::HAS_WHICH_MIN_MAX)
        };
        assert_eq!([cid::BRIGHTNESS, cid::HFLIP].map(has), [is_webcam, false]);
    }
}

#[test]
fn camera_refuses_formats_that_it_does_not_list() {
    let mut camera = camera("camera,format=NV12");
    let listed = camera.format(Flow::Capture);
    for (fourcc, width, wanted) in [
        (FourCc::NV12, listed.width, Ok(())),
        (FourCc::YUYV, listed.width, Err(DriverError::EINVAL)),
        (FourCc::NV12, 0, Err(DriverError::EINVAL)),
    ] {
        let format = Format {
            fourcc,
            width,
            ..listed
        };
        assert_eq!(camera.set_format(Flow::Capture, &format, false), wanted);
        assert_eq!(camera.format(Flow::Capture), listed);
    }
}

#[test]
fn webcam_shows_its_selection_and_keeps_it() {
    for (spec, shows, sets) in [
        ("camera", true, false),
        ("camera,profile=sensor", false, false),
    ] {
        let camera = camera(spec);
        let found = (camera.has_selection(), camera.sets_selection());
        assert_eq!(found, (shows, sets), "{spec}");
    }
    // A clone in a container knows the driver, but no file of sysfs.
    let shipped = crate::description::SHIPPED;
    let (_, text) = shipped
        .iter()
        .find(|(name, _)| *name == "logitech-c920")
        .unwrap();
    let (before, rest) = text.split_once("[usb]").unwrap();
    let (_, after) = rest.split_once("\n[").unwrap();
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("plain.toml");
    std::fs::write(&path, format!("{before}[{after}")).unwrap();
    let camera = camera(&format!("camera,like={}", path.display()));
    assert!(camera.has_selection() && !camera.sets_selection());
}
