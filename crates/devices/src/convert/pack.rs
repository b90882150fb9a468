//! Y'CbCr from one layout to another of the same measures: bytes move, and at most two lines of
//! chroma become one.

use super::form::{Form, Picture, PictureMut, Plane, PlaneMut};

/// Copies a plane. Planes of other measures are copied as far as both go.
pub(super) fn copy(from: Plane<'_>, to: &mut PlaneMut<'_>) {
    for (to, from) in to.lines().zip(from.lines()) {
        let bytes = to.len().min(from.len());
        if let (Some(to), Some(from)) = (to.get_mut(..bytes), from.get(..bytes)) {
            to.copy_from_slice(from);
        }
    }
}

/// Brings Y'CbCr from one form into another. Forms between which there is no way leave the
/// target as it was; nobody asks for those.
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

/// Interleaves chroma, or takes it apart.
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

/// The bytes of two lines in turn.
fn join(a: &[u8], b: &[u8], out: &mut [u8]) {
    for ((out, a), b) in out.as_chunks_mut().0.iter_mut().zip(a).zip(b) {
        *out = [*a, *b];
    }
}

/// Undoes [`join`].
fn part(from: &[u8], a: &mut [u8], b: &mut [u8]) {
    for ((&[x, y], a), b) in from.as_chunks().0.iter().zip(a).zip(b) {
        (*a, *b) = (x, y);
    }
}

/// Y and UV lie in turn in a line of YUYV. Each line of chroma serves `times` lines.
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
        let cells = out.as_chunks_mut().0.iter_mut();
        for (((out, &[y0, y1]), u), v) in cells.zip(y.as_chunks().0).zip(u).zip(v) {
            *out = [y0, *u, y1, *v];
        }
    }
}

fn unpack(from: &Picture<'_>, to: &mut PictureMut<'_>) {
    let [y, uv, _] = &mut to.planes;
    for ((from, y), uv) in from.planes[0].lines().zip(y.lines()).zip(uv.lines()) {
        part(from, y, uv);
    }
}

/// Two lines of YUYV at a time.
fn pairs<'a>(plane: Plane<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    plane
        .lines()
        .step_by(2)
        .zip(plane.lines().skip(1).step_by(2))
}

/// The mean of two samples, halves upwards.
const fn mean(a: u8, b: u8) -> u8 {
    // CAST: a mean of bytes is a byte.
    ((a as u16 + b as u16 + 1) >> 1) as u8
}

fn luma(from: Plane<'_>, to: &mut PlaneMut<'_>) {
    for (from, to) in from.lines().zip(to.lines()) {
        for (&[y, _], to) in from.as_chunks().0.iter().zip(to) {
            *to = y;
        }
    }
}

fn unpack_semi420(from: &Picture<'_>, to: &mut PictureMut<'_>) {
    let [y, uv, _] = &mut to.planes;
    luma(from.planes[0], y);
    for ((a, b), uv) in pairs(from.planes[0]).zip(uv.lines()) {
        let cells = a.as_chunks().0.iter().zip(b.as_chunks().0);
        for ((&[_, a], &[_, b]), out) in cells.zip(uv) {
            *out = mean(a, b);
        }
    }
}

fn unpack_planar420(from: &Picture<'_>, to: &mut PictureMut<'_>) {
    let [y, u, v] = &mut to.planes;
    luma(from.planes[0], y);
    let chroma = u.lines().zip(v.lines());
    for ((a, b), (u, v)) in pairs(from.planes[0]).zip(chroma) {
        let cells = a.as_chunks().0.iter().zip(b.as_chunks().0);
        for (((&[_, u0, _, v0], &[_, u1, _, v1]), u), v) in cells.zip(u).zip(v) {
            (*u, *v) = (mean(u0, u1), mean(v0, v1));
        }
    }
}
