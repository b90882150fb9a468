//! Lends CAPTURE buffers, which the codec process writes directly.

use super::picture::chroma_of;
use crate::surface::{Surface, spans};
use vb3_codec::{Lent, LentPlane, Refused, Worker};
use vb3_queue::Active;
use vb3_v4l2::{Bus, Flow, Format};

/// Lends a buffer for one picture of this size. If the process cannot map the memory, or if pictures of this
/// size do not fill the buffer, lends only the buffer's number.
pub(super) fn lend<C>(
    worker: &mut Worker,
    (format, size): (&Format, (u32, u32)),
    target: &Active<C>,
    bus: &mut dyn Bus<C>,
) -> Result<u64, Refused> {
    let is_whole = size == (format.width, format.height);
    let all = Surface(format).lines(target, Flow::Capture);
    let Some(all) = all.ok().filter(|_| is_whole) else {
        return worker.lend(None);
    };
    if let Some(found) = spans(&all).and_then(|spans| bus.host_spans(&spans)) {
        let planes = found.iter().zip(&all).map(|(span, lines)| LentPlane {
            memory: span.file,
            number: span.number,
            len: span.file_len,
            offset: span.offset,
            stride: lines.pitch,
        });
        let planes: Vec<LentPlane<'_>> = planes.collect();
        let lent = Lent {
            chroma: chroma_of(format),
            planes: &planes,
        };
        match worker.lend(Some(&lent)) {
            Err(Refused::Wrong(_)) => {}
            done => return done,
        }
    }
    worker.lend(None)
}
