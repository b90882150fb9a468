//! The way of a picture from a buffer to the worker.

use crate::surface::{Surface, Trouble, Way, go_on};
use vb3_codec::PlanesMut;
use vb3_queue::Active;
use vb3_v4l2::{Bus, Flow, Format, Rect, pixfmt};

/// Reads the part of a picture that `crop` says. Pairs of chroma are taken apart by way of
/// `scratch`.
pub(super) fn read<C>(
    format: &Format,
    crop: Rect,
    token: &Active<C>,
    bus: &mut dyn Bus<C>,
    scratch: &mut Vec<u8>,
    to: PlanesMut<'_>,
) -> Result<(), Trouble> {
    let pixel = pixfmt::lookup(format.fourcc).ok_or(Trouble::TooSmall)?;
    let paired = pixel.components.len() == 2;
    let [luma, u, v] = to.data;
    if paired {
        scratch.resize(u.len() + v.len(), 0);
    }
    let all = Surface(format).rect_lines(token, Flow::Output, crop)?;
    let (mut way, mut left) = (Way::default(), usize::MAX);
    go_on(&all, &mut way, &mut left, |run| {
        let plane = match run.component {
            0 => &mut *luma,
            1 if paired => scratch.as_mut_slice(),
            1 => &mut *u,
            _ => &mut *v,
        };
        let bytes = plane.get_mut(run.packed).ok_or(Trouble::TooSmall)?;
        bus.read(run.cookie, run.offset, bytes)
            .map_err(|_| Trouble::Fault)
    })?;
    if paired {
        for (pair, (u, v)) in scratch.chunks_exact(2).zip(u.iter_mut().zip(v)) {
            if let [first, second] = pair {
                *u = *first;
                *v = *second;
            }
        }
    }
    Ok(())
}
