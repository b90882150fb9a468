//! Tests that pieces of a picture, cut anywhere, equal the whole picture.

use super::*;

/// Assembles a component from pieces of `by` bytes.
fn cut(samples: &Samples<'_>, component: usize, len: usize, by: usize) -> Vec<u8> {
    let mut scratch = Vec::new();
    let pieces = (0..len).step_by(by);
    let pieces = pieces.flat_map(|at| {
        let piece = samples.part(component, at..len.min(at + by), &mut scratch);
        piece.expect("a piece").to_vec()
    });
    pieces.collect()
}

fn samples<'a>(
    data: [&'a [u8]; 3],
    (width, height): (u32, u32),
    [found, wanted]: [Chroma; 2],
) -> Samples<'a> {
    let planes = Planes {
        width,
        height,
        data,
        strides: [0; 3],
    };
    Samples {
        planes,
        sample_bytes: 1,
        found,
        wanted,
    }
}

#[test]
fn the_last_column_and_line_are_there_twice() {
    let luma = [1, 2, 3, 4, 5, 6, 7, 8, 9];
    let both = [Chroma::Planar; 2];
    let expected = [1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 9, 7, 8, 9, 9];
    for by in 1..=16 {
        let odd = samples([&luma, &[], &[]], (3, 3), both);
        assert_eq!(cut(&odd, 0, 16, by), expected, "by {by}");
        let narrow = samples([&luma[..6], &[], &[]], (3, 2), both);
        assert_eq!(cut(&narrow, 0, 8, by), expected[..8], "by {by}");
    }
    let of_two = Samples {
        sample_bytes: 2,
        ..samples([&luma[..6], &[], &[]], (3, 1), both)
    };
    let expected = [1, 2, 3, 4, 5, 6, 5, 6].repeat(2);
    for by in 1..=16 {
        assert_eq!(cut(&of_two, 0, 16, by), expected, "by {by}");
    }
}

#[test]
fn chroma_comes_in_the_order_of_the_buffers() {
    let (u, v, pairs) = ([1, 2, 3, 4], [5, 6, 7, 8], [1, 5, 2, 6, 3, 7, 4, 8]);
    for by in 1..=8 {
        let planar = samples([&[], &u, &v], (4, 4), [Chroma::Planar, Chroma::Pairs]);
        assert_eq!(cut(&planar, 1, 8, by), pairs, "by {by}");
        let paired = samples([&[], &pairs, &[]], (4, 4), [Chroma::Pairs, Chroma::Planar]);
        assert_eq!(cut(&paired, 1, 4, by), u, "by {by}");
        assert_eq!(cut(&paired, 2, 4, by), v, "by {by}");
    }
}

#[test]
fn a_picture_that_is_too_short_has_no_piece() {
    let mut scratch = Vec::new();
    let both = [Chroma::Planar; 2];
    let short = samples([&[1, 2, 3], &[], &[]], (3, 3), both);
    assert_eq!(short.part(0, 4..8, &mut scratch), None);
    let short = samples([&[], &[1], &[]], (4, 4), [Chroma::Planar, Chroma::Pairs]);
    assert_eq!(short.part(1, 0..2, &mut scratch), None);
}

#[test]
fn even_luma_is_not_copied() {
    let mut scratch = Vec::new();
    let even = samples([&[1, 2, 3, 4], &[], &[]], (2, 2), [Chroma::Planar; 2]);
    assert_eq!(even.part(0, 1..3, &mut scratch), Some(&[2, 3][..]));
    assert!(scratch.is_empty());
}
