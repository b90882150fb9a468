use super::*;
use crate::Size;
use vb3_v4l2::pixfmt;

/// The documented arithmetic in floating point, independent of the integer code.
fn reference(picture: &Picture, color: Yuv) -> [f64; 3] {
    let gain = f64::from(picture.gain) / 64.0;
    let luma = 16.0 + (f64::from(color.y) - 16.0) * gain;
    let luma = 126.0 + (luma - 126.0) * f64::from(picture.contrast) / 128.0;
    let luma = luma + f64::from(picture.brightness) - 128.0;
    let (u, v) = (f64::from(color.u) - 128.0, f64::from(color.v) - 128.0);
    let angle = f64::from(picture.hue) * std::f64::consts::PI / 128.0;
    let scale = f64::from(picture.saturation) / 128.0 * gain;
    let turned = (
        u * angle.cos() - v * angle.sin(),
        u * angle.sin() + v * angle.cos(),
    );
    [luma, turned.0 * scale + 128.0, turned.1 * scale + 128.0].map(|x| x.clamp(0.0, 255.0))
}

fn settings() -> Vec<Picture> {
    let base = Picture::default();
    let mut all = vec![base];
    for value in [0, 1, 64, 100, 127, 129, 200, 255] {
        all.push(Picture {
            brightness: value,
            ..base
        });
        all.push(Picture {
            contrast: value,
            ..base
        });
        all.push(Picture {
            saturation: value,
            ..base
        });
        all.push(Picture {
            gain: value,
            ..base
        });
    }
    for hue in [-128, -100, -64, -1, 1, 32, 64, 127] {
        all.push(Picture { hue, ..base });
        all.push(Picture {
            hue,
            saturation: 200,
            brightness: 90,
            contrast: 170,
            gain: 80,
            ..base
        });
    }
    all
}

#[test]
fn samples_change_as_documented() {
    for picture in settings() {
        let adjust = picture.adjust();
        for y in [0, 16, 81, 126, 200, 235, 255] {
            for (u, v) in [(128, 128), (90, 240), (240, 110), (0, 255), (54, 34)] {
                let color = Yuv::new(y, u, v);
                let got = adjust.color(color);
                let wanted = reference(&picture, color);
                // Each division rounds down. The sine is within 0.0017. Chroma has a length up to 181
                // and is scaled up to 8 times.
                let scale = f64::from(picture.saturation) * f64::from(picture.gain) / 8192.0;
                let bounds = [
                    2.0 + f64::from(picture.contrast) / 128.0,
                    1.1 + 0.7 * scale,
                    1.1 + 0.7 * scale,
                ];
                let got = [got.y, got.u, got.v].map(f64::from);
                for ((got, wanted), bound) in got.iter().zip(wanted).zip(bounds) {
                    assert!(
                        (got - wanted).abs() <= bound,
                        "{picture:?} {color:?}: {got} instead of {wanted}"
                    );
                }
            }
        }
    }
}

#[test]
fn defaults_change_nothing() {
    let adjust = Picture::default().adjust();
    for value in 0..=255 {
        assert_eq!(adjust.luma(value), value);
        assert_eq!(adjust.chroma(value, 255 - value), (value, 255 - value));
    }
}

#[test]
fn exact_values_of_simple_settings() {
    let with = |change: fn(&mut Picture)| {
        let mut picture = Picture::default();
        change(&mut picture);
        picture.adjust().color(Yuv::new(100, 100, 200))
    };
    assert_eq!(with(|p| p.brightness = 138), Yuv::new(110, 100, 200));
    assert_eq!(with(|p| p.brightness = 0), Yuv::new(0, 100, 200));
    assert_eq!(with(|p| p.contrast = 0), Yuv::new(126, 100, 200));
    assert_eq!(with(|p| p.contrast = 64), Yuv::new(113, 100, 200));
    assert_eq!(with(|p| p.saturation = 0), Yuv::new(100, 128, 128));
    assert_eq!(with(|p| p.saturation = 64), Yuv::new(100, 114, 164));
    assert_eq!(with(|p| p.gain = 128), Yuv::new(184, 72, 255));
    assert_eq!(
        with(|p| p.hue = 64),
        Yuv::new(100, 56, 100),
        "a quarter turn"
    );
    assert_eq!(
        with(|p| p.hue = -128),
        Yuv::new(100, 156, 56),
        "half a turn"
    );
}

#[test]
fn whole_pictures_change_like_their_colors() {
    let size = Size::nearest(4, 4);
    let picture = Picture {
        brightness: 150,
        saturation: 90,
        hue: 20,
        ..Picture::default()
    };
    let color = Yuv::new(100, 110, 140);
    let everywhere = crate::Rect {
        x: 0,
        y: 0,
        width: 4,
        height: 4,
    };
    for layout in [&pixfmt::YUYV, &pixfmt::NV12, &pixfmt::RGB24] {
        let mut frame = Frame::new(layout, size);
        frame.fill(everywhere, color);
        picture.apply(&mut frame);
        let start = if layout == &pixfmt::RGB24 {
            color.to_rgb().to_yuv()
        } else {
            color
        };
        let wanted = picture.adjust().color(start).to_rgb();
        for (x, y) in [(0, 0), (1, 0), (3, 3), (2, 1)] {
            assert_eq!(frame.rgb_at(x, y), wanted, "{layout:?} at {x},{y}");
        }
    }
}
