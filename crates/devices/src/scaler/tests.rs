use super::*;
use crate::Place;
use crate::bench::{Bench, FILLER};
use crate::camera::Camera;
use crate::source::{Background, Picture, render};
use vb3_v4l2::{Flow, VideoDriver as _, pixfmt};

fn camera() -> Camera<u32> {
    let place = Place {
        bus_info: "platform:vb3-000".into(),
        userptr: false,
        codecs: vb3_codec::Launch::in_thread().into(),
    };
    let spec = "capture-convert=pattern,size=64x48,format=YUYV";
    Camera::new(&spec.parse().expect("a SPEC"), &place).expect("a camera")
}

const fn rect(left: i32, top: i32, width: u32, height: u32) -> Rect {
    Rect {
        left,
        top,
        width,
        height,
    }
}

#[test]
fn a_part_of_what_the_sensor_sees_is_put_into_a_part_of_the_buffer() {
    let mut camera = camera();
    let none = SelectionFlags::empty();
    let mut set = |target, wanted| {
        let set = camera.set_selection(Flow::Capture, target, wanted, none);
        assert_eq!(set, Ok(wanted));
    };
    // Of the same size, so that it arrives byte for byte.
    set(SelectionTarget::Crop, rect(600, 300, 32, 16));
    set(SelectionTarget::Compose, rect(8, 4, 32, 16));
    let mut bench = Bench::new(camera, 2);
    bench.queue(0);
    bench.start();
    assert_eq!(bench.tick(1_000), 1);
    assert!(!bench.take().expect("a frame").error);
    let sensor = Size::nearest(1280, 720);
    let seen = render(
        &pixfmt::YUYV,
        sensor,
        0,
        Background::Bars,
        &Picture::default(),
    );
    for (row, line) in bench.plane(0, 0).chunks(128).enumerate() {
        let inside = (4..20).contains(&row);
        for (column, bytes) in line.chunks(2).enumerate() {
            if inside && (8..40).contains(&column) {
                let at = ((row - 4 + 300) * 1280 + column - 8 + 600) * 2;
                assert_eq!(*bytes, seen.bytes()[at..at + 2], "{column}, {row}");
            } else {
                assert_eq!(*bytes, [FILLER; 2], "{column}, {row} was written");
            }
        }
    }
}

#[test]
fn a_new_format_is_filled_and_the_sensor_stays() {
    let mut camera = camera();
    let select = |camera: &Camera<u32>, target| camera.selection(Flow::Capture, target);
    assert_eq!(
        select(&camera, SelectionTarget::CropBounds),
        Some(Rect::whole(1280, 720))
    );
    let none = SelectionFlags::empty();
    let asked = rect(2, 2, 16, 16);
    for target in [SelectionTarget::Crop, SelectionTarget::Compose] {
        camera
            .set_selection(Flow::Capture, target, asked, none)
            .expect("a rectangle inside");
    }
    let bounds = camera.set_selection(Flow::Capture, SelectionTarget::CropBounds, asked, none);
    assert_eq!(bounds, Err(EINVAL), "bounds are not set");
    let mut format = camera.format(Flow::Capture);
    (format.width, format.height) = (320, 240);
    let format = camera.try_format(Flow::Capture, &format);
    camera
        .set_format(Flow::Capture, &format, false)
        .expect("a format it offered");
    assert_eq!(
        select(&camera, SelectionTarget::Compose),
        Some(Rect::whole(320, 240))
    );
    assert_eq!(select(&camera, SelectionTarget::Crop), Some(asked));
}
