//! Formats, sizes, intervals and parameters, byte by byte.

use super::*;
use crate::bytes::field;
use crate::{FourCc, Rect, sys};

const PIX: usize = field!(v4l2_format.fmt);

fn four() -> [(Flow, Planarity); 4] {
    [
        (Flow::Capture, Planarity::Single),
        (Flow::Output, Planarity::Single),
        (Flow::Capture, Planarity::Multi),
        (Flow::Output, Planarity::Multi),
    ]
}

fn fmt(b: &mut Bench, request: u32, ty: u32, fill: u8) -> (i32, Vec<u8>) {
    let mut arg = vec![fill; size_of::<sys::v4l2_format>()];
    Image(&mut arg).set_u32(0, ty);
    (b.call(request, &mut arg), arg)
}

#[test]
fn other_buffer_types_are_refused() {
    for (flow, planarity) in four() {
        let mut b = Bench::new(flow, planarity);
        for ty in (0..16).chain([sys::V4L2_BUF_TYPE_PRIVATE, u32::MAX]) {
            let wanted = if ty == b.ty() { 0 } else { EINVAL };
            for request in [sys::VIDIOC_G_FMT, sys::VIDIOC_TRY_FMT, sys::VIDIOC_S_FMT] {
                assert_eq!(fmt(&mut b, request, ty, 0).0, wanted, "type {ty}");
            }
            let mut desc: [u8; 64] = record(&[(4, ty)]);
            assert_eq!(b.call(sys::VIDIOC_ENUM_FMT, &mut desc), wanted);
            let mut parm: [u8; 204] = record(&[(0, ty)]);
            assert_eq!(b.call(sys::VIDIOC_G_PARM, &mut parm), wanted);
            assert_eq!(b.call(sys::VIDIOC_S_PARM, &mut parm), wanted);
        }
        b.close();
    }
}

#[test]
fn a_driver_can_refuse_a_pixel_format() {
    let mut driver = TestDriver::new(Flow::Output, Planarity::Single);
    driver.refused = Some(FourCc(0x0101_0101));
    let mut b = Bench::with(driver);
    let ty = b.ty();
    for request in [sys::VIDIOC_TRY_FMT, sys::VIDIOC_S_FMT] {
        assert_eq!(fmt(&mut b, request, ty, 1).0, EINVAL);
        assert_eq!(fmt(&mut b, request, ty, 2).0, 0);
    }
    b.close();
}

#[test]
fn invalid_formats_become_valid_and_stable() {
    for (flow, planarity) in four() {
        let mut b = Bench::new(flow, planarity);
        let ty = b.ty();
        for fill in [0xff, 0] {
            let (errno, tried) = fmt(&mut b, sys::VIDIOC_TRY_FMT, ty, fill);
            assert_eq!(errno, 0);
            let (errno, set) = fmt(&mut b, sys::VIDIOC_S_FMT, ty, fill);
            assert_eq!((errno, &set), (0, &tried));
            let (_, got) = fmt(&mut b, sys::VIDIOC_G_FMT, ty, 0xff);
            assert_eq!(got, set);
            let mut again = got.clone();
            assert_eq!(b.call(sys::VIDIOC_S_FMT, &mut again), 0);
            assert_eq!(again, got, "what a device says it takes");
            let size = if fill == 0 { 2 } else { 4096 };
            assert_eq!(get(&got, PIX), size, "width");
            assert_eq!(get(&got, PIX + field!(v4l2_pix_format.field)), 1);
            // The offset of the colour space depends on the planarity.
            let space = match planarity {
                Planarity::Single | Planarity::Meta => field!(v4l2_pix_format.colorspace),
                Planarity::Multi => field!(v4l2_pix_format_mplane.colorspace),
            };
            assert_eq!(get(&got, PIX + space), 3);
        }
        b.close();
    }
}

#[test]
fn single_planar_bytes() {
    let mut b = Bench::output();
    let mut arg = vec![0; size_of::<sys::v4l2_format>()];
    let mut image = Image(&mut arg);
    image.set_u32(0, 2);
    for (at, value) in [
        (field!(v4l2_pix_format.width), 101),
        (field!(v4l2_pix_format.height), 61),
        (field!(v4l2_pix_format.pixelformat), FourCc::NV12.0),
        (field!(v4l2_pix_format.bytesperline), 130),
        (field!(v4l2_pix_format.colorspace), 8),
        (field!(v4l2_pix_format.quantization), 2),
    ] {
        image.set_u32(PIX + at, value);
    }
    let unextended = arg.clone();
    Image(&mut arg).set_u32(
        PIX + field!(v4l2_pix_format.priv_),
        sys::V4L2_PIX_FMT_PRIV_MAGIC,
    );
    for (mut arg, quantization) in [(unextended, 0), (arg, 2)] {
        assert_eq!(b.call(sys::VIDIOC_S_FMT, &mut arg), 0);
        let of = |at: usize| get(&arg, PIX + at);
        assert_eq!((of(0), of(4)), (100, 60));
        assert_eq!(of(field!(v4l2_pix_format.bytesperline)), 130);
        assert_eq!(of(field!(v4l2_pix_format.sizeimage)), 130 * 90);
        assert_eq!(
            of(field!(v4l2_pix_format.colorspace)),
            8,
            "an output is told its colours"
        );
        assert_eq!(of(field!(v4l2_pix_format.quantization)), quantization);
        assert_eq!(
            of(field!(v4l2_pix_format.priv_)),
            sys::V4L2_PIX_FMT_PRIV_MAGIC
        );
    }
    b.close();
}

#[test]
fn multi_planar_bytes() {
    let mut b = Bench::new(Flow::Capture, Planarity::Multi);
    let ty = b.ty();
    let (_, got) = fmt(&mut b, sys::VIDIOC_G_FMT, ty, 0xff);
    let of = |at: usize| get(&got, PIX + at);
    assert_eq!((of(0), of(4)), (64, 32));
    assert_eq!(
        of(field!(v4l2_pix_format_mplane.pixelformat)),
        FourCc::NV12M.0
    );
    assert_eq!(got[PIX + field!(v4l2_pix_format_mplane.num_planes)], 2);
    let plane = field!(v4l2_pix_format_mplane.plane_fmt);
    assert_eq!((of(plane), of(plane + 4)), (2048, 64));
    assert_eq!((of(plane + 20), of(plane + 24)), (1024, 64));
    assert!(
        got[PIX + plane + 40..PIX + plane + 160]
            .iter()
            .all(|&byte| byte == 0)
    );
    b.close();
}

#[test]
fn formats_are_counted() {
    let mut b = Bench::capture();
    let ask = |b: &mut Bench, index: u32| {
        let mut arg = vec![0xff; 64];
        Image(&mut arg).set_u32(0, index);
        Image(&mut arg).set_u32(4, 1);
        (b.call(sys::VIDIOC_ENUM_FMT, &mut arg), arg)
    };
    let (errno, arg) = ask(&mut b, 1);
    assert_eq!(
        (errno, get(&arg, 0), get(&arg, 4), get(&arg, 8)),
        (0, 1, 1, 0)
    );
    assert_eq!(&arg[12..25], b"Y/CbCr 4:2:0\0");
    assert_eq!(get(&arg, 44), FourCc::NV12.0);
    assert_eq!(&arg[48..64], &[0; 16], "mbus_code and reserved");
    for index in [3, 0x8000_0000, u32::MAX] {
        assert_eq!(ask(&mut b, index).0, EINVAL);
    }
    b.close();
}

#[test]
fn sizes_and_intervals() {
    let mut b = Bench::capture();
    let mut sizes = |index, fourcc: u32| {
        let mut arg = vec![0xff; size_of::<sys::v4l2_frmsizeenum>()];
        Image(&mut arg).set_u32(0, index);
        Image(&mut arg).set_u32(4, fourcc);
        (b.call(sys::VIDIOC_ENUM_FRAMESIZES, &mut arg), arg)
    };
    let (errno, arg) = sizes(0, FourCc::YUYV.0);
    let words: Vec<u32> = (2..9).map(|i| get(&arg, i * 4)).collect();
    assert_eq!((errno, words), (0, vec![3, 2, 4096, 2, 2, 2304, 2]));
    let (_, arg) = sizes(0, FourCc::NV12.0);
    let words: Vec<u32> = (2..9).map(|i| get(&arg, i * 4)).collect();
    assert_eq!(words, [2, 2, 4096, 1, 2, 2304, 1], "continuous");
    assert_eq!(&arg[36..], &[0; 8]);
    assert_eq!(sizes(1, FourCc::YUYV.0).0, EINVAL);
    for (index, words) in [(0, [1, 640, 480]), (1, [1, 320, 240])] {
        let (errno, arg) = sizes(index, FourCc::GREY.0);
        assert_eq!((errno, [2, 3, 4].map(|i| get(&arg, i * 4))), (0, words));
        assert_eq!(&arg[20..], &[0; 24]);
    }
    assert_eq!(sizes(2, FourCc::GREY.0).0, EINVAL);
    assert_eq!(sizes(0, 0x2020_2020).0, EINVAL);

    let mut intervals = |index, fourcc: FourCc, width, height| {
        let mut arg = vec![0xff; size_of::<sys::v4l2_frmivalenum>()];
        for (at, value) in [(0, index), (4, fourcc.0), (8, width), (12, height)] {
            Image(&mut arg).set_u32(at, value);
        }
        let errno = b.call(sys::VIDIOC_ENUM_FRAMEINTERVALS, &mut arg);
        (errno, (4..11).map(|i| get(&arg, i * 4)).collect::<Vec<_>>())
    };
    assert_eq!(
        intervals(0, FourCc::YUYV, 2, 2),
        (0, vec![1, 1, 30, 0, 0, 0, 0])
    );
    assert_eq!(
        intervals(0, FourCc::NV12, 4096, 2304),
        (0, vec![2, 1, 120, 1, 1, 1, 1])
    );
    for (index, fourcc, width, height) in [
        (1, FourCc::YUYV, 2, 2),
        (1, FourCc::NV12, 2, 2),
        (0, FourCc::YUYV, 1, 2),
        (0, FourCc::GREY, 640, 482),
        (0, FourCc::YUYV, 4096, 2305),
        (0, FourCc(0x2020_2020), 640, 480),
    ] {
        assert_eq!(
            intervals(index, fourcc, width, height).0,
            EINVAL,
            "{width}x{height}"
        );
    }
    b.close();
}

#[test]
fn parameters() {
    for flow in [Flow::Capture, Flow::Output] {
        let mut b = Bench::new(flow, Planarity::Single);
        let ty = b.ty();
        let mut ask = |request, numerator: u32, denominator: u32| {
            let mut arg = vec![0xff; size_of::<sys::v4l2_streamparm>()];
            for (at, value) in [(0, ty), (12, numerator), (16, denominator)] {
                Image(&mut arg).set_u32(at, value);
            }
            assert_eq!(b.call(request, &mut arg), 0);
            assert!(arg[28..].iter().all(|&byte| byte == 0), "reserved");
            (1..7).map(|i| get(&arg, i * 4)).collect::<Vec<_>>()
        };
        let at = |n, d| vec![sys::V4L2_CAP_TIMEPERFRAME, 0, n, d, 0, 2];
        assert_eq!(ask(sys::VIDIOC_G_PARM, 9, 9), at(1, 30));
        assert_eq!(ask(sys::VIDIOC_S_PARM, 1, 60), at(1, 60));
        assert_eq!(ask(sys::VIDIOC_G_PARM, 0, 0), at(1, 60));
        assert_eq!(ask(sys::VIDIOC_S_PARM, 0, 1), at(1, 30));
        assert_eq!(ask(sys::VIDIOC_S_PARM, 1, 0), at(1, 30));
        b.close();
    }
}

#[test]
fn streaming_webcam_keeps_its_interval() {
    for (fixes_interval, want) in [(false, 0), (true, EBUSY)] {
        let mut driver = TestDriver::new(Flow::Capture, Planarity::Single);
        driver.policy.fixes_interval = fixes_interval;
        let mut b = Bench::with(driver);
        let mut parm: [u8; 204] = record(&[(0, b.ty())]);
        assert_eq!(b.call(sys::VIDIOC_S_PARM, &mut parm), 0);
        assert_eq!((b.reqbufs(2, MMAP), b.stream(true)), (2, 0));
        let mut parm: [u8; 204] = record(&[(0, b.ty())]);
        assert_eq!(b.call(sys::VIDIOC_S_PARM, &mut parm), want);
        assert_eq!(b.call(sys::VIDIOC_G_PARM, &mut parm), 0);
        b.close();
    }
}

#[test]
fn rectangles_are_selected_by_either_buffer_type() {
    for (flow, planarity) in four() {
        let mut driver = TestDriver::new(flow, planarity);
        driver.selected = Some(Rect::whole(64, 32));
        let mut b = Bench::with(driver);
        let (types, other, active) = match flow {
            Flow::Capture => ([1, 9], 2, 0),
            Flow::Output => ([2, 10], 1, 0x100),
        };
        for (ty, left) in types.into_iter().zip([6, 8]) {
            let rect = [left, 4, 16, 8];
            let set = [ty, active, 0].into_iter().chain(rect);
            let set: Vec<_> = (0..).step_by(4).zip(set).collect();
            let mut arg: [u8; size_of::<sys::v4l2_selection>()] = record(&set);
            assert_eq!(b.call(sys::VIDIOC_S_SELECTION, &mut arg), 0);
            let mut arg: [u8; size_of::<sys::v4l2_selection>()] = record(&set[..2]);
            assert_eq!(b.call(sys::VIDIOC_G_SELECTION, &mut arg), 0);
            assert_eq!([12, 16, 20, 24].map(|at| get(&arg, at)), rect);
            let mut arg: [u8; size_of::<sys::v4l2_crop>()] = record(&[(0, ty)]);
            assert_eq!(b.call(sys::VIDIOC_G_CROP, &mut arg), 0);
            assert_eq!([4, 8, 12, 16].map(|at| get(&arg, at)), rect);
            arg[4] += 1;
            assert_eq!(b.call(sys::VIDIOC_S_CROP, &mut arg), 0);
            let moved = b.device.driver().selected;
            assert_eq!(moved, Some(Rect::new(left as i32 + 1, 4, 16, 8)));
            let mut arg: [u8; size_of::<sys::v4l2_cropcap>()] = record(&[(0, ty)]);
            assert_eq!(b.call(sys::VIDIOC_CROPCAP, &mut arg), 0);
            let words: Vec<_> = (4..44).step_by(4).map(|at| get(&arg, at)).collect();
            assert_eq!(words, [0, 0, 64, 32, 0, 0, 64, 32, 1, 1]);
        }
        for ty in [other, 4] {
            let mut arg: [u8; size_of::<sys::v4l2_crop>()] = record(&[(0, ty)]);
            assert_eq!(b.call(sys::VIDIOC_G_CROP, &mut arg), EINVAL, "{ty}");
        }
        b.close();
    }
}
