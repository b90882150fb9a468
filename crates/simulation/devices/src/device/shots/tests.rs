//! Tests thumbnails of large frames.

use super::*;
use crate::m2m::tests::bench::{Bench, any_device};
use vb3_codec::Launch;
use vb3_picture::{Background, Picture, render};
use vb3_v4l2::VideoDriver as _;

#[test]
fn thumbnail_reads_only_the_lines_it_shows() {
    for options in ["NV12", "NV12,stride=4096", "YUYV", "RGGB", "RGB3"] {
        let spec = format!("camera,size=1920x1080,format={options}");
        let mut camera = any_device::<u32>(&spec, Launch::in_thread());
        camera.work_at_once();
        let shots = Shots::default();
        camera.keep_thumbnails(&shots);
        let mut bench = Bench::new(camera);
        bench.make(Flow::Capture, 1);
        bench.queue_empty(0);
        bench.start(Flow::Capture);
        bench.tick();
        assert!(!bench.take(Flow::Capture).error);
        let format = bench.device.format(Flow::Capture);
        let pixel = pixfmt::lookup(format.fourcc).expect("a format");
        let size = Size::nearest(1920, 1080);
        let plain = Picture::default();
        let mut frame = render(pixel, size, 0, Background::Bars, &plain);
        frame.set_color(color_of(&format.color));
        assert_eq!(shots.spread(1), [Thumbnail::of(&frame, 0)]);
        let moved: usize = bench.memory.accesses.iter().map(|access| access.2).sum();
        let read = moved - frame.bytes().len();
        // A thumbnail needs every sixth line. That is two lines of a mosaic, and one of chroma for two lines.
        assert!(read * 3 <= frame.bytes().len(), "{read} bytes of {options}");
    }
}
