//! Converts between layouts of Y'CbCr at the same size. The code only moves bytes, or averages two lines of
//! chroma.

use super::form::{Form, Picture, PictureMut, Plane, PlaneMut};

/// Copies a plane. If the sizes differ, copies the part that both planes have.
pub(super) fn copy(from: Plane<'_>, to: &mut PlaneMut<'_>) {
    for (to, from) in to.lines().zip(from.lines()) {
        let bytes = to.len().min(from.len());
        if let (Some(to), Some(from)) = (to.get_mut(..bytes), from.get(..bytes)) {
            to.copy_from_slice(from);
        }
    }
}

/// Converts between forms of Y'CbCr. Callers use supported pairs of forms only; others leave `to` unchanged.
pub(super) fn relay(from: &Picture<'_>, to: &mut PictureMut<'_>) {
    use Form::{Planar420, Semi420, Semi422, Yuyv};
    match (from.form, to.form) {
        (Semi420, Planar420) | (Planar420, Semi420) => {
            copy(from.planes[0], &mut to.planes[0]);
            chroma(from, to);
        }
        (Semi420, Yuyv) => pack_semi(from, to, 2),
        (Semi422, Yuyv) => pack_semi(from, to, 1),
        (Planar420, Yuyv) => pack_planar(from, to),
        (Yuyv, Semi422) => unpack(from, to),
        (Yuyv, Semi420) => unpack_semi420(from, to),
        (Yuyv, Planar420) => unpack_planar420(from, to),
        _ => {}
    }
}

/// Converts between chroma pairs and separate chroma planes.
pub(super) fn chroma(from: &Picture<'_>, to: &mut PictureMut<'_>) {
    let [_, from_u, from_v] = &from.planes;
    let [_, to_u, to_v] = &mut to.planes;
    match (from.form, to.form) {
        (Form::Semi420, Form::Planar420) => {
            let lines = to_u.lines().zip(to_v.lines());
            for ((u, v), uv) in lines.zip(from_u.lines()) {
                part(uv, u, v);
            }
        }
        (Form::Planar420, Form::Semi420) => {
            let lines = from_u.lines().zip(from_v.lines());
            for (uv, (u, v)) in to_u.lines().zip(lines) {
                join(u, v, uv);
            }
        }
        _ => {}
    }
}

/// Number of samples in a block. The compiler vectorises loops over blocks of constant length.
const BLOCK: usize = 16;
/// Number of bytes in a block of two interleaved lines.
const TWO: usize = 2 * BLOCK;
/// Number of samples in a block of chroma at half the width.
const HALF: usize = BLOCK / 2;

/// Interleaves the bytes of `a` and `b`.
fn join(a: &[u8], b: &[u8], out: &mut [u8]) {
    let (blocks, rest) = out.as_chunks_mut::<TWO>();
    let (a_blocks, a) = a.as_chunks::<BLOCK>();
    let (b_blocks, b) = b.as_chunks::<BLOCK>();
    for ((out, a), b) in blocks.iter_mut().zip(a_blocks).zip(b_blocks) {
        for i in 0..BLOCK {
            (out[2 * i], out[2 * i + 1]) = (a[i], b[i]);
        }
    }
    for ((out, a), b) in rest.as_chunks_mut().0.iter_mut().zip(a).zip(b) {
        *out = [*a, *b];
    }
}

/// Returns a block's bytes as pairs, with the first byte of each pair in the low half. With [`narrow`], the
/// compiler turns this into packing instructions.
fn pairs_of(block: &[u8; TWO]) -> [u16; BLOCK] {
    let mut pairs = [0; BLOCK];
    for (pair, bytes) in pairs.iter_mut().zip(block.as_chunks().0) {
        *pair = u16::from_le_bytes(*bytes);
    }
    pairs
}

fn narrow(sample: u16) -> u8 {
    // CAST: the value is at most 255.
    sample.min(255) as u8
}

/// Separates bytes that [`join`] has interleaved.
fn part(from: &[u8], a: &mut [u8], b: &mut [u8]) {
    let (blocks, rest) = from.as_chunks::<TWO>();
    let (a_blocks, a) = a.as_chunks_mut::<BLOCK>();
    let (b_blocks, b) = b.as_chunks_mut::<BLOCK>();
    for ((from, a), b) in blocks.iter().zip(a_blocks).zip(b_blocks) {
        let pairs = pairs_of(from);
        *a = pairs.map(|pair| narrow(pair & 255));
        *b = pairs.map(|pair| narrow(pair >> 8));
    }
    for ((&[x, y], a), b) in rest.as_chunks().0.iter().zip(a).zip(b) {
        (*a, *b) = (x, y);
    }
}

/// Interleaves Y and UV to lines of YUYV. Uses each line of chroma for `times` lines.
fn pack_semi(from: &Picture<'_>, to: &mut PictureMut<'_>, times: usize) {
    let [y, uv, _] = &from.planes;
    let chroma = uv.lines().flat_map(|line| std::iter::repeat_n(line, times));
    for ((out, y), uv) in to.planes[0].lines().zip(y.lines()).zip(chroma) {
        join(y, uv, out);
    }
}

fn pack_planar(from: &Picture<'_>, to: &mut PictureMut<'_>) {
    let [y, u, v] = &from.planes;
    let chroma = u.lines().zip(v.lines());
    let chroma = chroma.flat_map(|lines| std::iter::repeat_n(lines, 2));
    for ((out, y), (u, v)) in to.planes[0].lines().zip(y.lines()).zip(chroma) {
        pack_line(y, u, v, out);
    }
}

fn pack_line(y: &[u8], u: &[u8], v: &[u8], out: &mut [u8]) {
    let (blocks, rest) = out.as_chunks_mut::<TWO>();
    let (y_blocks, y) = y.as_chunks::<BLOCK>();
    let (u_blocks, u) = u.as_chunks::<HALF>();
    let (v_blocks, v) = v.as_chunks::<HALF>();
    let chroma = u_blocks.iter().zip(v_blocks);
    for ((out, y), (u, v)) in blocks.iter_mut().zip(y_blocks).zip(chroma) {
        let mut uv = [0; BLOCK];
        for i in 0..HALF {
            (uv[2 * i], uv[2 * i + 1]) = (u[i], v[i]);
        }
        for i in 0..BLOCK {
            (out[2 * i], out[2 * i + 1]) = (y[i], uv[i]);
        }
    }
    let cells = rest.as_chunks_mut().0.iter_mut();
    for (((out, &[y0, y1]), u), v) in cells.zip(y.as_chunks().0).zip(u).zip(v) {
        *out = [y0, *u, y1, *v];
    }
}

fn unpack(from: &Picture<'_>, to: &mut PictureMut<'_>) {
    let [y, uv, _] = &mut to.planes;
    for ((from, y), uv) in from.planes[0].lines().zip(y.lines()).zip(uv.lines()) {
        part(from, y, uv);
    }
}

/// Iterates over pairs of YUYV lines.
fn pairs<'a>(plane: Plane<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    plane
        .lines()
        .step_by(2)
        .zip(plane.lines().skip(1).step_by(2))
}

/// Returns the mean of two samples, rounded up.
const fn mean(a: u8, b: u8) -> u8 {
    // CAST: a mean of bytes is a byte.
    ((a as u16 + b as u16 + 1) >> 1) as u8
}

fn luma(from: Plane<'_>, to: &mut PlaneMut<'_>) {
    for (from, to) in from.lines().zip(to.lines()) {
        let (blocks, rest) = from.as_chunks::<TWO>();
        let (to_blocks, to) = to.as_chunks_mut::<BLOCK>();
        for (from, to) in blocks.iter().zip(to_blocks) {
            *to = pairs_of(from).map(|pair| narrow(pair & 255));
        }
        for (&[y, _], to) in rest.as_chunks().0.iter().zip(to) {
            *to = y;
        }
    }
}

/// Computes the mean chroma of two lines of YUYV.
fn chroma_of_two(a: &[u8], b: &[u8], uv: &mut [u8]) {
    let (a_blocks, a) = a.as_chunks::<TWO>();
    let (b_blocks, b) = b.as_chunks::<TWO>();
    let (blocks, rest) = uv.as_chunks_mut::<BLOCK>();
    for ((a, b), out) in a_blocks.iter().zip(b_blocks).zip(blocks) {
        let (a, b) = (pairs_of(a), pairs_of(b));
        for i in 0..BLOCK {
            out[i] = narrow(((a[i] >> 8) + (b[i] >> 8) + 1) >> 1);
        }
    }
    let cells = a.as_chunks().0.iter().zip(b.as_chunks().0);
    for ((&[_, a], &[_, b]), out) in cells.zip(rest) {
        *out = mean(a, b);
    }
}

fn unpack_semi420(from: &Picture<'_>, to: &mut PictureMut<'_>) {
    let [y, uv, _] = &mut to.planes;
    luma(from.planes[0], y);
    for ((a, b), uv) in pairs(from.planes[0]).zip(uv.lines()) {
        chroma_of_two(a, b, uv);
    }
}

fn unpack_planar420(from: &Picture<'_>, to: &mut PictureMut<'_>) {
    let [y, u, v] = &mut to.planes;
    luma(from.planes[0], y);
    let chroma = u.lines().zip(v.lines());
    for ((a, b), (u, v)) in pairs(from.planes[0]).zip(chroma) {
        let parts = u.chunks_mut(BLOCK).zip(v.chunks_mut(BLOCK));
        for ((a, b), (u, v)) in a.chunks(2 * TWO).zip(b.chunks(2 * TWO)).zip(parts) {
            let mut uv = [0; TWO];
            let uv = uv.get_mut(..a.len() / 2).unwrap_or(&mut []);
            chroma_of_two(a, b, uv);
            part(uv, u, v);
        }
    }
}
