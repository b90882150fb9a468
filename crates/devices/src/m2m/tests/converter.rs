//! The converter, on memory that it sees and on memory that it must copy from and to.

use super::bench::{Bench, device};
use crate::bench::FILLER;
use crate::m2m::FrameConverter;
use vb3_codec::Launch;
use vb3_v4l2::{Flow, Format, FourCc, Rect, SelectionFlags, SelectionTarget, pixfmt};

/// Plane, offset, length.
type Access = (u32, u64, usize);

/// A format's pixels, width and height.
type Size = (FourCc, u32, u32);

/// One conversion: formats, sizes, and what of the source.
struct Case {
    from: Size,
    to: Size,
    crop: Option<Rect>,
    spec: &'static str,
    /// Accesses that it takes.
    accesses: usize,
}

/// All of the source, without gaps between lines.
fn whole(from: Size, to: Size, accesses: usize) -> Case {
    Case {
        from,
        to,
        crop: None,
        spec: "convert",
        accesses,
    }
}

fn format((fourcc, width, height): Size) -> Format {
    let pixel = pixfmt::lookup(fourcc).expect("a format");
    Format::new(pixel, width, height).expect("a size")
}

/// What is made of a picture, with all the planes there are, and how memory was reached; in place
/// where it `shows`.
fn convert(case: &Case, shows: bool) -> (Vec<Vec<u8>>, Vec<Access>) {
    let mut bench = Bench::new(device(case.spec, Launch::in_thread(), FrameConverter::new));
    bench.memory.shows = shows;
    let from = bench.set_format(Flow::Output, &format(case.from));
    let to = bench.set_format(Flow::Capture, &format(case.to));
    if let Some(crop) = case.crop {
        use vb3_v4l2::VideoDriver as _;
        let device = &mut bench.device;
        let (target, exactly) = (SelectionTarget::Crop, SelectionFlags::empty());
        let set = device.set_selection(Flow::Output, target, crop, exactly);
        assert_eq!(set.expect("a crop"), crop);
    }
    bench.begin(1, 1);
    let planes: Vec<Vec<u8>> = from
        .layouts()
        .iter()
        .map(|plane| (0..plane.sizeimage).map(|i| (i * 7 % 253) as u8).collect())
        .collect();
    let planes: Vec<&[u8]> = planes.iter().map(Vec::as_slice).collect();
    bench.send(0, &planes, 1);
    let info = bench.take(Flow::Capture);
    assert!(!info.error);
    assert_eq!(bench.memory.in_place, u32::from(shows));
    let planes = 0..u32::try_from(to.num_planes).expect("a few");
    let made = planes.map(|plane| bench.plane(Flow::Capture, 0, plane).clone());
    (made.collect(), bench.memory.accesses)
}

#[test]
fn in_place_is_as_by_copies() {
    let half = Rect {
        left: 0,
        top: 16,
        width: 32,
        height: 16,
    };
    let cases = [
        whole((FourCc::NV12, 64, 48), (FourCc::NV12, 32, 16), 4),
        whole((FourCc::YUYV, 64, 48), (FourCc::RGB24, 64, 48), 2),
        whole((FourCc::NV12M, 64, 48), (FourCc::YUV420, 128, 96), 5),
        // Lines have gaps: one access for each.
        Case {
            crop: Some(half),
            ..whole((FourCc::NV12, 64, 48), (FourCc::NV12, 32, 16), 16 + 8 + 2)
        },
        Case {
            spec: "convert,stride=64",
            ..whole((FourCc::NV12, 64, 48), (FourCc::NV12, 48, 16), 2 + 16 + 8)
        },
    ];
    for case in cases {
        let (there, copied) = (convert(&case, true), convert(&case, false));
        assert_eq!(there.1.len(), case.accesses);
        assert_eq!(there.1, copied.1, "the same accesses");
        assert!(there.0 == copied.0, "the same bytes");
        assert!(copied.0.iter().flatten().any(|byte| *byte != FILLER));
    }
}

#[test]
fn a_plane_that_is_not_mapped_gives_an_error() {
    for shows in [true, false] {
        let mut bench = Bench::new(device("convert", Launch::in_thread(), FrameConverter::new));
        bench.memory.shows = shows;
        let format = bench.set_format(Flow::Output, &format((FourCc::NV12, 64, 48)));
        bench.begin(1, 1);
        let gone = bench.cookie(Flow::Capture, 0);
        bench.memory.unmapped.push(gone);
        let bytes = vec![1; format.planes[0].sizeimage as usize];
        bench.send(0, &[&bytes], 1);
        let info = bench.take(Flow::Capture);
        assert!(info.error);
    }
}
