//! Moves a picture from a buffer to the worker (the codec process) in pieces, one in each tick.

use crate::surface::{PictureCursor, Surface, Trouble, resume};
use vb3_codec::PlanesMut;
use vb3_queue::Active;
use vb3_v4l2::{Bus, Flow, Format, Rect, pixfmt};

/// Continues to read the part `crop` of a picture, at most `left` bytes. Returns whether everything is read.
/// `scratch` is memory for splitting chroma pairs.
pub(super) fn resume_read<C>(
    (format, crop): (&Format, Rect),
    token: &Active<C>,
    (cursor, left): (&mut PictureCursor, &mut usize),
    bus: &mut dyn Bus<C>,
    scratch: &mut Vec<u8>,
    to: PlanesMut<'_>,
) -> Result<bool, Trouble> {
    let pixel = pixfmt::lookup(format.fourcc).ok_or(Trouble::TooSmall)?;
    let paired = pixel.components.len() == 2;
    let [luma, u, v] = to.data;
    let all = Surface(format).rect_lines(token, Flow::Output, crop)?;
    resume(&all, cursor, left, |run| {
        let mut read = |bytes: &mut [u8]| bus.read(run.cookie, run.offset, bytes);
        if paired && run.component == 1 {
            scratch.resize(run.packed.len(), 0);
            read(scratch)?;
            return take_apart(scratch, run.packed.start, (u, v)).ok_or(Trouble::TooSmall);
        }
        let plane = match run.component {
            0 => &mut *luma,
            1 => &mut *u,
            _ => &mut *v,
        };
        Ok(read(plane.get_mut(run.packed).ok_or(Trouble::TooSmall)?)?)
    })
}

/// Splits UV pairs into planes, from byte `at` of the pairs on. `None` if they exceed the planes.
fn take_apart(bytes: &[u8], at: usize, (u, v): (&mut [u8], &mut [u8])) -> Option<()> {
    let (head, pairs) = bytes.split_at_checked(at % 2)?;
    if let [second] = head {
        *v.get_mut(at / 2)? = *second;
    }
    let first = at.div_ceil(2);
    let (whole, tail) = pairs.as_chunks();
    let (u, v) = (u.get_mut(first..)?, v.get_mut(first..)?);
    let planes = u
        .get_mut(..whole.len())?
        .iter_mut()
        .zip(v.get_mut(..whole.len())?);
    for ([from_u, from_v], (u, v)) in whole.iter().zip(planes) {
        (*u, *v) = (*from_u, *from_v);
    }
    if let [last] = tail {
        *u.get_mut(whole.len())? = *last;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::take_apart;

    #[test]
    fn pairs_are_taken_apart_wherever_they_are_cut() {
        let pairs = [1, 5, 2, 6, 3, 7, 4, 8];
        for by in 1..=pairs.len() {
            let (mut u, mut v) = ([0; 4], [0; 4]);
            for (number, bytes) in pairs.chunks(by).enumerate() {
                take_apart(bytes, number * by, (&mut u, &mut v)).expect("within the planes");
            }
            assert_eq!((u, v), ([1, 2, 3, 4], [5, 6, 7, 8]), "by {by}");
        }
        let (mut u, mut v) = ([0; 2], [0; 2]);
        assert_eq!(take_apart(&pairs, 0, (&mut u, &mut v)), None);
    }
}
