use super::*;

const LAYOUTS: [&PixelFormat; 3] = [&pixfmt::YUYV, &pixfmt::NV12, &pixfmt::RGB24];
const SIZES: [(u32, u32); 13] = [
    (2, 2),
    (4, 2),
    (2, 4),
    (2, 2304),
    (4096, 2),
    (14, 10),
    (64, 2),
    (16, 16),
    (66, 50),
    (320, 240),
    (640, 480),
    (1280, 720),
    (1918, 1078),
];

fn sizes() -> impl Iterator<Item = Size> {
    SIZES
        .into_iter()
        .map(|(width, height)| Size::new(width, height).expect("an even size"))
}

/// Returns the most extreme values of all controls.
fn harsh() -> Picture {
    Picture {
        brightness: 255,
        contrast: 0,
        saturation: 255,
        hue: -128,
        gain: 255,
        hflip: true,
        vflip: true,
    }
}

#[test]
fn every_picture_tells_its_number() {
    for size in sizes() {
        for layout in LAYOUTS {
            for picture in [Picture::default(), harsh()] {
                let mut frame = render(layout, size, 0, Background::Bars, &picture);
                for sequence in [0, 1, 2, 0x5555_5555, 0xaaaa_aaaa, 0xdead_beef, u32::MAX] {
                    draw_number(&mut frame, sequence, u32::MAX);
                    let (number, bits) = read_number(&frame);
                    let mask = u32::MAX.checked_shr(32 - bits).unwrap_or(0);
                    assert_eq!(number, sequence & mask, "{layout:?} {size}");
                }
            }
        }
    }
}

#[test]
fn lines_that_are_copied_are_as_if_they_were_painted() {
    let upside_down = Picture {
        vflip: true,
        ..Picture::default()
    };
    let backgrounds = (0..).map(Background::from_index);
    let backgrounds: Vec<_> = backgrounds.take(Background::MENU.len()).collect();
    for layout in [
        &pixfmt::YUYV,
        &pixfmt::NV12,
        &pixfmt::RGB24,
        &pixfmt::SRGGB8,
    ] {
        for (size, background) in sizes().take(10).flat_map(|size| {
            let backgrounds = backgrounds.iter();
            backgrounds.map(move |background| (size, *background))
        }) {
            for picture in [Picture::default(), upside_down, harsh()] {
                let mut expected = painted(layout, size, background);
                picture.apply(&mut expected);
                let mut frame = Frame::new(layout, size);
                base(&mut frame, background, &picture);
                assert!(
                    frame == expected,
                    "{layout:?} {size} {background:?} {picture:?}"
                );
            }
        }
    }
}

#[test]
fn as_many_bits_as_there_is_room_for() {
    let bits = |width, height| {
        let size = Size::new(width, height).expect("an even size");
        read_number(&Frame::new(&pixfmt::NV12, size)).1
    };
    assert_eq!(bits(2, 2), 1);
    assert_eq!(bits(4, 2), 2);
    assert_eq!(bits(14, 6), 21);
    assert_eq!(bits(64, 2), 32);
    assert_eq!(bits(16, 8), 32);
    assert_eq!(bits(640, 480), 32);
}

#[test]
fn large_pictures_have_large_blocks_at_the_top() {
    let size = Size::nearest(640, 480);
    let frame = render(
        &pixfmt::YUYV,
        size,
        0b101,
        Background::Grey,
        &Picture::default(),
    );
    let row: Vec<u8> = (0..5).map(|bit| frame.luma_at(bit * 16 + 8, 8)).collect();
    assert_eq!(row, [235, 16, 235, 16, 16]);
    assert_eq!(frame.luma_at(8, 16), 126, "the strip is 16 lines high");
    assert_eq!(frame.luma_at(32 * 16, 8), 126, "and 32 blocks long");
}

#[test]
fn bars_are_where_and_what_they_should_be() {
    let size = Size::nearest(640, 480);
    for layout in LAYOUTS {
        let frame = render(layout, size, 0, Background::Bars, &Picture::default());
        for (index, bar) in (0u32..).zip(BARS) {
            for x in [index * 80, index * 80 + 79] {
                let seen = frame.rgb_at(x, 400);
                for (is, should) in seen.bytes().into_iter().zip(bar.bytes()) {
                    assert!(
                        is.abs_diff(should) <= 2,
                        "{layout:?}: bar {index} is {seen:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn ramp_and_checkerboard_span_black_to_white() {
    let size = Size::nearest(640, 480);
    let ramp = render(
        &pixfmt::NV12,
        size,
        0,
        Background::Ramp,
        &Picture::default(),
    );
    let line: Vec<u8> = (0..640).map(|x| ramp.luma_at(x, 400)).collect();
    assert_eq!((line[0], line[639]), (16, 235));
    assert!(line.is_sorted());
    let board = render(
        &pixfmt::NV12,
        size,
        0,
        Background::Checkerboard,
        &Picture::default(),
    );
    assert_eq!([0, 16, 32].map(|x| board.luma_at(x, 400)), [235, 16, 235]);
    assert_eq!([0, 16, 32].map(|x| board.luma_at(x, 416)), [16, 235, 16]);
}

#[test]
fn the_box_moves_by_four_pixels_and_comes_back() {
    let size = Size::nearest(64, 64);
    let left_edge = |sequence| {
        let frame = render(
            &pixfmt::YUYV,
            size,
            sequence,
            Background::Grey,
            &Picture::default(),
        );
        (0..64).find(|x| frame.luma_at(*x, 32) != 126)
    };
    assert_eq!(left_edge(0), Some(0));
    assert_eq!(left_edge(1), Some(4));
    assert_eq!(left_edge(13), Some(52));
    assert_eq!(left_edge(29), Some(0), "29 steps of 2 pixels, 2 a frame");
}

#[test]
fn a_pattern_kept_is_the_pattern_rendered() {
    let mut pattern = Pattern::default();
    let mut pictures = vec![Picture::default(), harsh()];
    pictures.push(Picture {
        hflip: true,
        ..Picture::default()
    });
    for size in sizes().filter(|size| size.width() * size.height() <= 320 * 240) {
        for layout in LAYOUTS {
            for picture in &pictures {
                for (sequence, background) in [
                    (0, Background::Bars),
                    (1, Background::Bars),
                    (7, Background::Bars),
                    (8, Background::Ramp),
                    (u32::MAX, Background::Ramp),
                ] {
                    pattern.set_background(background);
                    let kept = pattern.frame(layout, size, sequence, picture);
                    let rendered = render(layout, size, sequence, background, picture);
                    assert!(*kept == rendered, "{layout:?} {size} frame {sequence}");
                }
            }
        }
    }
}

#[test]
fn successive_pictures_differ() {
    for layout in LAYOUTS {
        for size in sizes().filter(|size| size.width() * size.height() <= 640 * 480) {
            let at = |n| render(layout, size, n, Background::Bars, &Picture::default());
            assert!(at(6) != at(7), "{layout:?} {size}");
        }
    }
}

#[test]
fn ring_and_changed_lines_make_the_picture() {
    let upside_down = Picture {
        vflip: true,
        ..Picture::default()
    };
    let mut pattern = Pattern::default();
    for layout in [&pixfmt::YUYV, &pixfmt::NV12, &pixfmt::SRGGB8] {
        for size in sizes().filter(|size| size.width() <= 640) {
            for (sequence, picture) in [Picture::default(), upside_down, harsh()]
                .into_iter()
                .enumerate()
            {
                let sequence = sequence as u32 * 77;
                let whole = pattern.frame(layout, size, sequence, &picture).clone();
                for index in 0..layout.components.len() {
                    let wanted = whole.component(index);
                    for step in [7, 5000, usize::MAX] {
                        let mut made = Vec::new();
                        while made.len() < wanted.len() {
                            let end = made.len().saturating_add(step).min(wanted.len());
                            let part = pattern.last_bytes(index, made.len()..end);
                            let part = part.filter(|part| !part.is_empty());
                            made.extend_from_slice(part.expect("bytes inside"));
                        }
                        assert!(made == wanted, "{layout:?} {size} {index} {step}");
                    }
                }
            }
        }
    }
}
