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
fn overflow_is_no_layout() {
    let format = lookup(FourCc::RGB24).unwrap();
    assert_eq!(format.plane_layout(0, u32::MAX, 1, 0, u32::MAX), None);
    assert_eq!(format.plane_layout(0, 1 << 20, 1 << 20, 0, u32::MAX), None);
}

#[test]
fn chroma_follows_luma_in_one_plane_and_starts_its_own_in_two() {
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
