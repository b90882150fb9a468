//! CAPTURE buffers that the codec process writes directly.

use super::{CodecProcess, M2mQueueDriver};
use crate::surface::{Surface, Trouble};
use vb3_codec::{Chroma, Lent, LentPlane, Refused, Worker};
use vb3_queue::{Active, Driver, DriverError, MAX_PLANES, PlaneSizes, Prepare};
use vb3_v4l2::{Bus, Flow, Format, Span};

/// Lends memory for one picture, or only a number if the process cannot map it.
pub(super) fn lend<C>(
    worker: &mut Worker,
    (format, chroma): (&Format, Chroma),
    target: &Active<C>,
    bus: &mut dyn Bus<C>,
) -> Result<u64, Refused> {
    let Ok(components) = Surface(format).component_spans(target) else {
        return worker.lend(None);
    };
    let (spans, strides): (Vec<Span<'_, C>>, Vec<u64>) = components.into_iter().unzip();
    if let Some(found) = bus.host_spans(&spans) {
        let planes = found.iter().zip(strides).map(|(span, stride)| LentPlane {
            memory: span.file,
            number: span.number,
            len: span.file_len,
            offset: span.offset,
            stride,
        });
        let planes: Vec<LentPlane<'_>> = planes.collect();
        let lent = Lent {
            chroma,
            planes: &planes,
        };
        match worker.lend(Some(&lent)) {
            Err(Refused::Wrong(_)) => {}
            done => return done,
        }
    }
    worker.lend(None)
}

/// Counts a picture that the process wrote to the buffer. Returns the bytes used in each plane.
pub(super) fn note_written<C>(
    format: &Format,
    target: &Active<C>,
    bus: &mut dyn Bus<C>,
) -> Result<[u64; MAX_PLANES], Trouble> {
    let surface = Surface(format);
    surface.each_run(target, Flow::Capture, |run| {
        // CAST: widening, on every target there is.
        let len = run.packed.len() as u64;
        bus.note_written(run.cookie, run.offset, len)
            .map_err(|_| Trouble::Fault)
    })?;
    surface.payloads()
}

/// The driver of CAPTURE. Before streaming ends, it takes all buffers back from the process, and calls
/// `forget` for those that the device keeps.
pub(super) struct CaptureDriver<'a, C, F> {
    pub(super) queue: M2mQueueDriver<'a, C>,
    pub(super) codec: &'a mut CodecProcess,
    pub(super) forget: F,
}

impl<C, F: FnMut()> Driver for CaptureDriver<'_, C, F> {
    type Cookie = C;

    fn queue_setup(&mut self, create: Option<&PlaneSizes>) -> Result<PlaneSizes, DriverError> {
        self.queue.queue_setup(create)
    }

    fn buf_prepare(&mut self, buffer: Prepare<'_>) -> Result<(), DriverError> {
        self.queue.buf_prepare(buffer)
    }

    fn buf_queue(&mut self, buffer: Active<C>) {
        self.queue.buf_queue(buffer);
    }

    fn start_streaming(&mut self, queued: u32) -> Result<(), DriverError> {
        self.queue.start_streaming(queued)
    }

    fn stop_streaming(&mut self) {
        if let Some(worker) = self.codec.worker() {
            worker.take_all_back();
        }
        (self.forget)();
        self.queue.stop_streaming();
    }
}
