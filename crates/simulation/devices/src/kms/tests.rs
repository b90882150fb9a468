//! Layers in memory, and the pictures that screens make of them.

use super::*;
use crate::spec::parse::parse_sink;
use crate::tests::bench::BenchMemory;

fn memory(planes: &[(u32, Vec<u8>)]) -> BenchMemory {
    let memory = BenchMemory::default();
    memory.planes.borrow_mut().extend(planes.iter().cloned());
    memory
}

fn layer(code: &[u8; 4], size: (u32, u32), planes: &[(u32, u64, u32)]) -> Layer<u32> {
    Layer {
        code: u32::from_le_bytes(*code),
        planes: planes.to_vec(),
        from: (0, 0),
        part: size,
        at: (0, 0),
        shown: size,
        rotation: 1,
    }
}

fn screen(kind: &str) -> Screen {
    let mut screen = Screen::new(&parse_sink(kind).expect("a recording"), 0).expect("a screen");
    screen.sink.reads_all = true;
    screen
}

/// Returns the picture of 8x4 pixels that a screen shows.
fn shown(screen: &mut Screen, layers: &[Layer<u32>], memory: &mut BenchMemory) -> Vec<u8> {
    assert!(show(screen, layers.to_vec(), None, memory));
    screen.last_shown().expect("a picture").bytes().to_vec()
}

/// Shows a picture of 8x4 pixels. Returns false if a bus access failed.
fn show(
    screen: &mut Screen,
    layers: Vec<Layer<u32>>,
    gamma: Option<Vec<[u8; 3]>>,
    memory: &mut BenchMemory,
) -> bool {
    let picture = Picture {
        size: (8, 4),
        frame_ns: 16_666_643,
        layers,
        gamma,
        writeback: None,
        wants_crc: false,
        is_mutable: false,
        is_repeat: false,
    };
    let mut scan = screen.begin(picture);
    while let Some(rest) = scan {
        match screen.resume(rest, memory) {
            Ok(rest) => scan = rest,
            Err(BusFailed) => return false,
        }
    }
    true
}

#[test]
fn one_layer_that_fills_the_screen_keeps_its_bytes() {
    let (pitch, uv_at) = (16, 100);
    let bytes: Vec<u8> = (0..=255).collect();
    let mut memory = memory(&[(1, bytes.clone())]);
    let nv12 = layer(b"NV12", (8, 4), &[(1, 0, pitch), (1, uv_at, pitch)]);
    let lines = |first: usize, count: usize| {
        let starts = (0..count).map(move |line| first + 16 * line);
        starts
            .flat_map(|at| bytes[at..at + 8].to_vec())
            .collect::<Vec<u8>>()
    };
    let wanted = [lines(0, 4), lines(100, 2)].concat();
    assert_eq!(shown(&mut screen(""), &[nv12], &mut memory), wanted);
}

#[test]
fn cursor_is_blended_by_its_premultiplied_alpha() {
    let white = vec![255; 8 * 4 * 4];
    // Half transparent red, 2x2 pixels, of which the left column is outside the screen.
    let red = [0, 0, 128, 128].repeat(4);
    let mut memory = memory(&[(1, white), (2, red)]);
    let mut cursor = layer(b"AR24", (2, 2), &[(2, 0, 8)]);
    cursor.at = (-1, 1);
    let layers = [layer(b"XR24", (8, 4), &[(1, 0, 32)]), cursor];
    let rgb = shown(&mut screen(""), &layers, &mut memory);
    let pixel = |x: usize, y: usize| rgb[(y * 8 + x) * 3..][..3].to_vec();
    assert_eq!(pixel(0, 0), [255, 255, 255]);
    assert_eq!(pixel(0, 1), [255, 127, 127]);
    assert_eq!(pixel(1, 1), [255, 255, 255]);
    assert_eq!(pixel(0, 3), [255, 255, 255]);
}

#[test]
fn part_and_formats_of_rgb_are_read_where_they_are() {
    let mut memory = memory(&[(1, [0x1f, 0xf8].repeat(64)), (2, [1, 2, 3].repeat(64))]);
    let mut low = layer(b"RG16", (8, 8), &[(1, 0, 16)]);
    (low.from, low.part, low.shown) = ((0, 4), (8, 4), (8, 4));
    let mut high = layer(b"BG24", (4, 4), &[(2, 0, 12)]);
    high.at = (4, 0);
    let rgb = shown(&mut screen(""), &[low, high], &mut memory);
    assert_eq!(rgb[..3], [255, 0, 255]);
    assert_eq!(rgb[12..15], [1, 2, 3]);
}

#[test]
fn lost_memory_is_a_fault_and_no_picture() {
    let mut memory = memory(&[]);
    let mut screen = screen("");
    let layers = [layer(b"XR24", (8, 4), &[(1, 0, 32)])];
    assert!(!show(&mut screen, layers.to_vec(), None, &mut memory));
    assert_eq!(screen.shown(), 0);
}

#[test]
fn large_pictures_are_read_in_pieces() {
    let bytes: Vec<u8> = (0..1024 * 512 * 4u32).map(|n| n as u8).collect();
    let mut memory = memory(&[(1, bytes)]);
    let mut screen = screen("");
    let picture = Picture {
        size: (1024, 512),
        frame_ns: 16_666_643,
        layers: vec![layer(b"XR24", (1024, 512), &[(1, 0, 4096)])],
        gamma: None,
        writeback: None,
        wants_crc: false,
        is_mutable: false,
        is_repeat: false,
    };
    let (mut scan, mut steps) = (screen.begin(picture), 0);
    while let Some(rest) = scan {
        scan = screen.resume(rest, &mut memory).expect("memory");
        steps += 1;
    }
    // Two MiB, 512 KiB at a time.
    assert_eq!(steps, 4);
    assert_eq!(screen.shown(), 1);
}

#[test]
fn planes_are_turned_mirrored_and_scaled() {
    // Two pixels: red, blue.
    let mut memory = memory(&[(1, vec![0, 0, 255, 0, 255, 0, 0, 0])]);
    let (red, blue, none) = ([255, 0, 0], [0, 0, 255], [0; 3]);
    for (rotation, shown, wanted) in [
        // Pixels (0, 0), (1, 0) and (0, 1) of the screen.
        (1, (2, 1), [red, blue, none]),
        (4, (2, 1), [blue, red, none]),
        (1 | 16, (2, 1), [blue, red, none]),
        (4 | 16, (2, 1), [red, blue, none]),
        // By a quarter against the clock: the right pixel goes up.
        (2, (1, 2), [blue, none, red]),
        (8, (1, 2), [red, none, blue]),
        (2 | 16, (1, 2), [red, none, blue]),
        (1, (4, 2), [red, red, red]),
    ] {
        let mut part = layer(b"XR24", (2, 1), &[(1, 0, 8)]);
        (part.rotation, part.shown) = (rotation, shown);
        let rgb = super::tests::shown(&mut screen(""), &[part], &mut memory);
        let pixel = |x: usize, y: usize| rgb[(y * 8 + x) * 3..][..3].to_vec();
        let found = [pixel(0, 0), pixel(1, 0), pixel(0, 1)];
        assert_eq!(found, wanted.map(|pixel| pixel.to_vec()), "{rotation:#x}");
    }
}

#[test]
fn gamma_and_deep_colours_reach_the_screen() {
    let deep = [0, 10, 0, 20, 0, 30, 0, 0].repeat(8 * 4);
    let mut memory = memory(&[(1, deep)]);
    let layers = vec![layer(b"XR48", (8, 4), &[(1, 0, 64)])];
    let mut screen = screen("");
    screen.last_shown();
    let inverse = (0..=255).map(|n| [255 - n; 3]).collect();
    assert!(show(&mut screen, layers, Some(inverse), &mut memory));
    let frame = screen.last_shown().expect("a picture");
    assert_eq!(frame.bytes()[..3], [225, 235, 245]);
}

#[test]
fn pictures_are_written_back_in_each_format() {
    // Red, green and blue of 0x40, 0x80 and 0xff; the lines of the framebuffer have padding, which stays.
    let pixel = [0xff, 0x80, 0x40, 0];
    for (code, bytes) in [
        (b"XR24", &[0xff, 0x80, 0x40, 0xff][..]),
        (b"AR24", &[0xff, 0x80, 0x40, 0xff]),
        (b"RG24", &[0xff, 0x80, 0x40]),
        (b"BG24", &[0x40, 0x80, 0xff]),
        (b"RG16", &[0x1f, 0x44]),
        (b"XR48", &[0xff, 0xff, 0x80, 0x80, 0x40, 0x40, 0xff, 0xff]),
    ] {
        // A plane that is the whole screen, and one that is not.
        for rotation in [1, 4] {
            for sink in ["", "shown"] {
                let mut memory = memory(&[(1, pixel.repeat(32)), (2, vec![7; 4 * 80 + 5])]);
                let mut screen =
                    Screen::new(&parse_sink("").expect("a sink"), 0).expect("a screen");
                screen.sink.reads_all = sink == "shown";
                let whole = layer(b"XR24", (8, 4), &[(1, 0, 32)]);
                let picture = Picture {
                    size: (8, 4),
                    frame_ns: 16_666_643,
                    layers: vec![Layer { rotation, ..whole }],
                    gamma: None,
                    writeback: Some(Target {
                        code: u32::from_le_bytes(*code),
                        place: (2, 5, 80),
                    }),
                    wants_crc: false,
                    is_mutable: false,
                    is_repeat: false,
                };
                let mut scan = screen.begin(picture);
                while let Some(rest) = scan {
                    scan = screen.resume(rest, &mut memory).expect("memory");
                }
                assert_eq!(screen.shown(), 1);
                let mut wanted = vec![7; 5];
                for _ in 0..4 {
                    let mut line = bytes.repeat(8);
                    line.resize(80, 7);
                    wanted.extend(line);
                }
                let name = String::from_utf8_lossy(code);
                assert_eq!(
                    memory.planes.borrow()[&2],
                    wanted,
                    "{name} {rotation} {sink}"
                );
            }
        }
    }
}

#[test]
fn a_repeat_is_shown_only_after_a_change() {
    let pixels = vec![40; 8 * 4 * 4];
    let mut memory = memory(&[(1, pixels), (2, vec![90; 2 * 2 * 4])]);
    let whole = layer(b"XR24", (8, 4), &[(1, 0, 32)]);
    let small = layer(b"XR24", (2, 2), &[(2, 0, 8)]);
    // One plane that is the screen, and two planes.
    for layers in [vec![whole.clone()], vec![whole, small]] {
        let mut screen = screen("");
        let mut show = |is_repeat: bool, wants_crc: bool, memory: &mut BenchMemory| {
            let mut scan = screen.begin(Picture {
                size: (8, 4),
                frame_ns: 16_666_643,
                layers: layers.clone(),
                gamma: None,
                writeback: None,
                wants_crc,
                is_mutable: true,
                is_repeat,
            });
            while let Some(rest) = scan {
                scan = screen.resume(rest, memory).expect("memory");
            }
            (screen.shown(), screen.crc())
        };
        assert_eq!(show(false, false, &mut memory), (1, None));
        assert_eq!(show(true, false, &mut memory), (1, None));
        // The layers are drawn again for the first checksum.
        let (shown, crc) = show(true, true, &mut memory);
        assert!(shown == 2 && crc.is_some());
        assert_eq!(show(true, true, &mut memory), (2, crc));
        // The last pixel's red.
        memory.planes.borrow_mut().get_mut(&1).expect("a plane")[126] += 1;
        let (shown, changed) = show(true, true, &mut memory);
        assert!(shown == 3 && changed.is_some() && changed != crc);
        // A commit is shown even if nothing has changed.
        assert_eq!(show(false, true, &mut memory), (4, changed));
        memory.planes.borrow_mut().get_mut(&1).expect("a plane")[126] -= 1;
    }
}

#[test]
fn planes_with_equal_pictures_have_equal_checksums() {
    let mut memory = memory(&[(1, [1, 2, 3, 0].repeat(32)), (2, [1, 2, 3].repeat(32))]);
    let halves = [0, 4].map(|left| {
        let mut half = layer(b"RG24", (4, 4), &[(2, 0, 24)]);
        half.at = (left, 0);
        half
    });
    let mut crcs = Vec::new();
    for layers in [vec![layer(b"XR24", (8, 4), &[(1, 0, 32)])], halves.to_vec()] {
        let mut screen = screen("");
        let mut scan = screen.begin(Picture {
            size: (8, 4),
            frame_ns: 16_666_643,
            layers,
            gamma: None,
            writeback: None,
            wants_crc: true,
            is_mutable: false,
            is_repeat: false,
        });
        while let Some(rest) = scan {
            scan = screen.resume(rest, &mut memory).expect("memory");
        }
        crcs.push(screen.crc().expect("a checksum"));
    }
    assert_eq!(crcs[0], crcs[1]);
}
