//! The way of a picture from a buffer to the worker.

use crate::surface::{Surface, Trouble};
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
    let (before_u, chroma) = (luma.len(), u.len() + v.len());
    let before_v = before_u + u.len();
    if paired {
        scratch.resize(chroma, 0);
    }
    Surface(format).each_run_in(token, Flow::Output, crop, |run| {
        let (plane, before) = match run.component {
            0 => (&mut *luma, 0),
            1 if paired => (scratch.as_mut_slice(), before_u),
            1 => (&mut *u, before_u),
            _ => (&mut *v, before_v),
        };
        let (start, end) = (run.packed.start, run.packed.end);
        let range = start.checked_sub(before).zip(end.checked_sub(before));
        let bytes = range.and_then(|(start, end)| plane.get_mut(start..end));
        bus.read(run.cookie, run.offset, bytes.ok_or(Trouble::TooSmall)?)
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
