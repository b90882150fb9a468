use super::*;
use crate::Size;
use vb3_v4l2::pixfmt;

/// Returns a picture whose colours all differ: red counts pixels, green and blue are 100 and 200 more.
fn frame(width: u32, height: u32) -> Frame {
    let size = Size::new(width, height).unwrap();
    let bytes = (0..).flat_map(|at: u8| [at, at + 100, at + 200]);
    let bytes = bytes.take(crate::bytes(&pixfmt::RGB24, size)).collect();
    Frame::from_bytes(&pixfmt::RGB24, size, bytes).unwrap()
}

#[test]
fn pixels_outside_a_picture_are_black() {
    let frame = frame(4, 2);
    assert_eq!(line_of(&frame, 1)[0], [4, 104, 204]);
    assert_eq!(line_of(&frame, 2), [[0; 3]; 0]);
    let mut out = Vec::new();
    append_mosaic(&frame, &pixfmt::SRGGB8, (6, 1), &mut out);
    append_mosaic(&frame, &pixfmt::SRGGB8, (2, 2), &mut out);
    assert_eq!(out, [104, 205, 106, 207, 0, 0, 0, 0]);
    out.clear();
    append_rgb(line_of(&frame, 0), &[3, 4], &pixfmt::XBGR32, &mut out);
    assert_eq!(out, [203, 103, 3, 255, 0, 0, 0, 255]);
}

#[test]
fn deep_samples_fill_their_bits() {
    let mut out = Vec::new();
    append_mosaic(&frame(2, 2), &pixfmt::SRGGB10, (2, 1), &mut out);
    let (green, blue) = (102_u16 << 2 | 102 >> 6, 203_u16 << 2 | 203 >> 6);
    assert_eq!(out, [green.to_le_bytes(), blue.to_le_bytes()].concat());
}

#[test]
fn a_window_ends_at_the_pictures_edges() {
    let debayered = debayered(&frame(4, 4), &pixfmt::SRGGB8, 1, 0);
    // In the corner: red 0, green (101 + 104) / 2, blue 205.
    assert_eq!(debayered[0], [0, 102, 205]);
    // Beside it: red (0 + 2) / 2, green (101 + 104 + 106) / 3, blue 205.
    assert_eq!(debayered[1], [1, 103, 205]);
    assert_eq!(debayered.len(), 4);
}
