use super::*;

fn layout(fourcc: FourCc, plane: usize, bytesperline: u32) -> Option<(u32, u32)> {
    let format = lookup(fourcc)?;
    format
        .plane_layout(plane, 640, 480, bytesperline, 16384)
        .map(|l| (l.bytesperline, l.sizeimage))
}

#[test]
fn sizes_of_640x480() {
    assert_eq!(layout(FourCc::YUYV, 0, 0), Some((1280, 614_400)));
    assert_eq!(layout(FourCc::NV12, 0, 0), Some((640, 460_800)));
    assert_eq!(layout(FourCc::RGB24, 0, 0), Some((1920, 921_600)));
    assert_eq!(layout(FourCc::NV12M, 0, 0), Some((640, 307_200)));
    assert_eq!(layout(FourCc::NV12M, 1, 0), Some((640, 153_600)));
    assert_eq!(layout(FourCc::NV12M, 2, 0), None);
}

#[test]
fn longer_lines_are_kept_and_rounded() {
    assert_eq!(layout(FourCc::NV12, 0, 1024), Some((1024, 1024 * 720)));
    assert_eq!(layout(FourCc::YUYV, 0, 1281), Some((1284, 1284 * 480)));
    assert_eq!(layout(FourCc::RGB24, 0, 2048), Some((2048, 2048 * 480)));
    assert_eq!(
        layout(FourCc::RGB24, 0, u32::MAX),
        Some((16384, 16384 * 480))
    );
    assert_eq!(layout(FourCc::RGB24, 0, 1), Some((1920, 1920 * 480)));
}

#[test]
fn overflow_gives_no_layout() {
    let format = lookup(FourCc::RGB24).unwrap();
    assert_eq!(format.plane_layout(0, u32::MAX, 1, 0, u32::MAX), None);
    assert_eq!(format.plane_layout(0, 1 << 20, 1 << 20, 0, u32::MAX), None);
}

#[test]
fn chroma_layout_depends_on_memory_planes() {
    let nv12 = lookup(FourCc::NV12).unwrap();
    let one = [nv12.plane_layout(0, 64, 32, 80, 16384).unwrap()];
    let chroma = nv12.component_layout(1, 64, 32, &one).unwrap();
    assert_eq!((chroma.memory_plane, chroma.offset), (0, 80 * 32));
    assert_eq!(
        (chroma.bytesperline, chroma.lines, chroma.line_bytes),
        (80, 16, 64)
    );

    let nv12m = lookup(FourCc::NV12M).unwrap();
    let two = [
        nv12m.plane_layout(0, 64, 32, 0, 16384).unwrap(),
        nv12m.plane_layout(1, 64, 32, 96, 16384).unwrap(),
    ];
    let chroma = nv12m.component_layout(1, 64, 32, &two).unwrap();
    assert_eq!(
        (chroma.memory_plane, chroma.offset, chroma.bytesperline),
        (1, 0, 96)
    );
    assert_eq!(nv12m.component_layout(2, 64, 32, &two), None);
}

#[test]
fn codes_print_as_characters() {
    assert_eq!(FourCc::RGB24.to_string(), "RGB3");
    assert_eq!(FourCc(0).to_string(), "????");
}

#[test]
fn every_format_has_its_own_name_and_code() {
    for (at, format) in all().enumerate() {
        let (fourcc, name) = (format.fourcc, format.name);
        assert_eq!(lookup(fourcc), Some(format), "{name}");
        assert_eq!(by_name(name).map(|found| found.fourcc), Some(fourcc));
        assert_eq!(by_name(&fourcc.to_string()), Some(format), "{name}");
        let mut alike = all().skip(at + 1);
        assert!(alike.all(|other| other.fourcc != fourcc), "{name}");
        assert!(format.description.len() < 32, "{name}");
    }
}

/// Source: v4l2loopback 0.15 v4l2loopback_formats.h, in the same order.
#[test]
fn v4l2loopback_formats_are_known() {
    let codes = b"BGR4RGB4BGR3RGB3AR24XR24AB24RGB1R444RGBORGBPRGBQRGBRBGRHYUYVUYVYYVYUVYUYYYUVYUV4\
        GREYY04 Y06 Y10 Y12 Y16 Y444YUVOYUVPRGGBGRBGGBRGBA81YVU9YV12YUV9YU12422P411PY41PNV12\
        MJPGJPEGdvsdMPEGH264AVC1M264H263MPG1MPG2MPG4XVIDVC1GVC1LVP80VP90HEVCAV01";
    for code in codes.as_chunks().0 {
        let found = lookup(FourCc::new(*code));
        assert_eq!(found.map(|one| one.memory_planes), Some(1), "{code:?}");
    }
}

#[test]
fn every_row_is_complete() {
    for format in TABLE {
        let name = format.name;
        for component in format.components {
            let widths = component.cell.iter().map(|line| line.len());
            assert!(
                widths
                    .clone()
                    .all(|width| Some(width) == widths.clone().next())
            );
            assert!([1, 2].contains(&component.across) && [1, 2].contains(&component.down));
        }
        // If ffmpeg does not write a format, its bytes are assembled from samples, line by line.
        let by_line = |component: &Component| component.cell.len() == component.down as usize;
        assert!(
            format.ffmpeg.is_some() || format.components.iter().all(by_line),
            "{name}"
        );
        let single = format.in_one_plane();
        assert_eq!(
            (single.memory_planes, single.components),
            (1, format.components)
        );
    }
}

/// Line size, picture size and alignment equal those of Linux's `v4l2_fill_pixfmt`.
#[test]
fn sizes_are_those_of_linux() {
    let table: &[(FourCc, u32, u32, (u32, u32))] = &[
        (FourCc::UYVY, 1280, 614_400, (2, 1)),
        (FourCc::NV21, 640, 460_800, (2, 2)),
        (FourCc::NV16, 640, 614_400, (2, 1)),
        (FourCc::P010, 1280, 921_600, (2, 2)),
        (FourCc::GREY, 640, 307_200, (1, 1)),
        (FourCc::XBGR32, 2560, 1_228_800, (1, 1)),
        (FourCc::XRGB32, 2560, 1_228_800, (1, 1)),
        (FourCc::SBGGR8, 640, 307_200, (2, 2)),
        (FourCc::SRGGB8, 640, 307_200, (2, 2)),
        (FourCc::YUV420, 640, 460_800, (2, 2)),
        (FourCc::BGR24, 1920, 921_600, (1, 1)),
        (FourCc::ABGR32, 2560, 1_228_800, (1, 1)),
        (FourCc::RGB332, 640, 307_200, (1, 1)),
        (FourCc::RGB565, 1280, 614_400, (1, 1)),
        (FourCc::BGR666, 2560, 1_228_800, (1, 1)),
        (FourCc::YVYU, 1280, 614_400, (2, 1)),
        (FourCc::Y10, 1280, 614_400, (1, 1)),
        (FourCc::YVU410, 640, 345_600, (4, 4)),
        (FourCc::YVU420, 640, 460_800, (2, 2)),
        (FourCc::YUV422P, 640, 614_400, (2, 1)),
        (FourCc::YUV411P, 640, 460_800, (4, 1)),
        (FourCc::Y41P, 960, 460_800, (8, 1)),
    ];
    for &(fourcc, line, bytes, align) in table {
        assert_eq!(layout(fourcc, 0, 0), Some((line, bytes)), "{fourcc}");
        assert_eq!(
            lookup(fourcc).map(PixelFormat::align),
            Some(align),
            "{fourcc}"
        );
    }
    // NV16 has as many lines of chroma as of luma, with as many bytes each.
    let chroma = NV16.component_layout(
        1,
        64,
        32,
        &[PlaneLayout {
            bytesperline: 80,
            sizeimage: 5120,
        }],
    );
    let chroma = chroma.map(|c| (c.offset, c.bytesperline, c.lines, c.line_bytes));
    assert_eq!(chroma, Some((80 * 32, 80, 32, 64)));
}

#[test]
fn samples_tell_colors_from_opaque_and_compressed() {
    let facts = |format: &PixelFormat| {
        let has = [Sample::Y, Sample::R].map(|sample| format.has(sample));
        (has, format.is_opaque())
    };
    let of = |fourcc| facts(lookup(fourcc).unwrap());
    assert_eq!(of(FourCc::YUYV), ([true, false], false));
    assert_eq!(of(FourCc::RGB24), ([false, true], false));
    assert_eq!(of(FourCc::new(*b"RGBP")), ([false, false], true));
    assert_eq!(of(FourCc::new(*b"JPEG")), ([false, false], false));
}
