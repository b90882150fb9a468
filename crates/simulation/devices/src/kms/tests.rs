//! Layers in memory, and the pictures that screens make of them.

use super::*;
use crate::tests::bench::BenchMemory;

fn memory(planes: &[(u32, Vec<u8>)]) -> BenchMemory {
    let memory = BenchMemory::default();
    memory.planes.borrow_mut().extend(planes.iter().cloned());
    memory
}

fn layer(code: &[u8; 4], size: (u32, u32), planes: &[(u32, u64, u32)]) -> Layer<u32> {
    Layer {
        code: u32::from_le_bytes(*code),
        size,
        planes: planes.to_vec(),
        from: (0, 0),
        at: (0, 0),
        shown: size,
    }
}

fn screen(kind: &str) -> Screen {
    let mut screen = Screen::new(&kind.parse().expect("a card")).expect("a screen");
    screen.sink.reads_all = true;
    screen
}

/// Returns the picture of 8x4 pixels that a screen shows.
fn shown(screen: &mut Screen, layers: &[Layer<u32>], memory: &mut BenchMemory) -> Vec<u8> {
    assert!(screen.show(((8, 4), 16_666_643), layers, memory));
    screen.last_shown().expect("a picture").bytes().to_vec()
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
    assert_eq!(shown(&mut screen("kms"), &[nv12], &mut memory), wanted);
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
    let rgb = shown(&mut screen("kms"), &layers, &mut memory);
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
    (low.from, low.shown) = ((0, 4), (8, 4));
    let mut high = layer(b"BG24", (4, 4), &[(2, 0, 12)]);
    high.at = (4, 0);
    let rgb = shown(&mut screen("kms"), &[low, high], &mut memory);
    assert_eq!(rgb[..3], [255, 0, 255]);
    assert_eq!(rgb[12..15], [1, 2, 3]);
}

#[test]
fn lost_memory_is_a_fault_and_no_picture() {
    let mut memory = memory(&[]);
    let mut screen = screen("kms");
    let layers = [layer(b"XR24", (8, 4), &[(1, 0, 32)])];
    assert!(!screen.show(((8, 4), 16_666_643), &layers, &mut memory));
    assert_eq!(screen.shown(), 0);
}
