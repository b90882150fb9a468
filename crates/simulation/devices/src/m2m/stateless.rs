//! Stateless decoders: OUTPUT buffers have a picture's slices or frame, the controls of a media request have
//! its parameters, and CAPTURE buffers get the picture.
//!
//! The program parses the stream and assigns buffers to pictures. The codec library in the
//! [`Worker`](vb3_codec::Worker) parses streams, too. The device therefore makes parameter sets from the
//! controls and passes them with each picture. The library keeps its own reference pictures, chosen by the
//! headers of slices and frames. Except for H.264, the CAPTURE buffers that the controls name as references
//! must exist. For AV1, the controls must name the same frame in each slot as the library has there.
//!
//! The worker copies each complete picture to the CAPTURE buffer of its request. It does not decode in place,
//! since the program may use the buffer again while the library still reads the picture.
//!
//! Source: Linux Documentation/userspace-api/media/v4l/dev-stateless-decoder.rst, differs: only whole frames,
//! with start codes in H.264 and HEVC; STREAMOFF at either queue drops all reference pictures; a picture
//! whose slices use several picture parameter sets is returned with an error. A missing reference is an
//! error, too; in its place, hantro and rkvdec read the buffer that they are writing. `VIDIOC_DECODER_CMD` with
//! FLUSH is missing: v4l2-compliance before 1.24 wants STOP of any decoder that has commands.

pub(super) mod av1;
mod control;
pub(super) mod h264;
pub(super) mod hevc;
mod reader;
mod syntax;
pub(super) mod vp8;
pub(super) mod vp9;
mod work;

use super::codecs::{Engine, Row};
use super::device::{Coder, M2mEngine};
use super::raw::{self, RawFormats};
use crate::Failure;
use crate::settings::Settings;
use crate::surface::{EBUSY, EINVAL};
pub use reader::RequestReader;
use std::collections::BTreeMap;
use syntax::Parameters;
pub(super) use syntax::{MACROBLOCK, Syntax};
use vb3_codec::Kind;
use vb3_queue::{DriverError, Requests};
use vb3_v4l2::{Bus, ControlValue, Flow, Format, Progress};
use work::{FirstField, Job};

pub(crate) type StatelessDecoder<C> = Coder<Stateless<C>, C>;

pub(crate) struct Stateless<C> {
    syntax: &'static Syntax,
    parameters: Parameters,
    /// The timestamp of the picture in each CAPTURE buffer, in nanoseconds, by the buffer's index.
    pictures: BTreeMap<u32, u64>,
    /// The request that the worker has.
    job: Option<Job<C>>,
    first_field: Option<FirstField<C>>,
    /// Whether a queue has stopped since the last tick (a call by the host). The next tick then ends the
    /// request.
    is_ended: bool,
    /// The size of pictures, once the worker has announced it. The worker then accepts loans of buffers.
    lends: Option<(u32, u32)>,
    /// Memory for reordering samples.
    scratch: Vec<u8>,
}

impl<C> StatelessDecoder<C> {
    /// Makes the decoder for one open file. The worker starts with the stream.
    /// Fails with a message for the user: no available library can decode for this device, or the user chose
    /// an unsupported format.
    pub(crate) fn new(settings: &Settings, kind: Kind) -> Result<Self, Failure> {
        let row = Row::find(kind)?;
        let Engine::Stateless(syntax) = &row.engine else {
            return Err(Failure::new("the device is no stateless decoder"));
        };
        let raw = RawFormats::new(settings, Flow::Capture, syntax.sizes());
        let size = settings.first_size();
        let size = syntax.round_up((size.width(), size.height()));
        let first = raw.first_formats(settings, row.fourcc(), size)?;
        let own = Stateless {
            syntax,
            parameters: Parameters::default(),
            pictures: BTreeMap::new(),
            job: None,
            first_field: None,
            is_ended: false,
            lends: None,
            scratch: Vec::new(),
        };
        let mut device = Self::of_row(row, settings, raw, first, own)?;
        device.output.policy.requests = Requests::Required;
        device.output.policy.holds_capture = true;
        Ok(device)
    }

    fn try_coded(&self, wanted: &Format) -> Format {
        let syntax = self.own.syntax;
        let (width, height) = syntax.round_up((wanted.width, wanted.height));
        let wanted = Format {
            width,
            height,
            ..*wanted
        };
        let made = Format::negotiate(&wanted, &self.coded, syntax.sizes(), true);
        let mut format = made.unwrap_or(self.output.format);
        if wanted.color.colorspace == 0 {
            format.color = raw::REC709;
        }
        format
    }
}

impl<C> M2mEngine<C> for StatelessDecoder<C> {
    fn has_selection(&self) -> bool {
        false
    }

    fn negotiate(&self, flow: Flow, wanted: &Format) -> Option<Format> {
        let now = &self.capture.format;
        match flow {
            Flow::Output => Some(self.try_coded(wanted)),
            Flow::Capture => self.raw.negotiate_like(wanted, now),
        }
    }

    fn set_format(
        &mut self,
        flow: Flow,
        format: &Format,
        peer_busy: bool,
    ) -> Result<(), DriverError> {
        if flow == Flow::Output {
            let now = self.output.format;
            if peer_busy && (now.width, now.height) != (format.width, format.height) {
                return Err(EBUSY);
            }
            if !peer_busy {
                let shown = self.raw.like(self.capture.format.fourcc, format);
                self.capture.format = shown.ok_or(EINVAL)?;
            }
        }
        self.queue_mut(flow).format = *format;
        Ok(())
    }

    fn try_control(&self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        match value {
            ControlValue::Compound(bytes) => (self.own.syntax.check)(id, bytes).map_err(|_| EINVAL),
            _ => Ok(()),
        }
    }

    fn set_control(&mut self, id: u32, value: &ControlValue) -> Result<(), DriverError> {
        if let ControlValue::Compound(bytes) = value {
            self.own.parameters.set(id, bytes);
        }
        Ok(())
    }

    fn try_take_back(&mut self) -> bool {
        let job = &mut self.own.job;
        self.worker.try_take_back(|is_out| {
            if let Some(job) = job {
                job.loan.take_if(|loan| !is_out(*loan));
            }
        })
    }

    fn stopped(&mut self, flow: Flow) {
        self.own.is_ended = true;
        if flow == Flow::Output {
            return;
        }
        self.worker.take_all_back();
        self.own.first_field = None;
        if let Some(job) = &mut self.own.job {
            (job.target, job.loan) = (None, None);
        }
    }

    /// Ends the request, as STREAMOFF at CAPTURE does.
    fn recall(&mut self) {
        self.stopped(Flow::Capture);
    }

    fn work(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        if std::mem::take(&mut self.own.is_ended) {
            self.end_stream(progress);
        }
        if self.wants_worker() && self.worker.start(|_| Ok(())).is_none() {
            progress.broken = true;
        }
        self.listen(|decoder, event| decoder.handle(event, bus, progress));
        self.resume_write(bus, progress);
        while self.can_begin() {
            let Some(source) = self.output.take() else {
                return;
            };
            if !self.begin(source, bus, progress) {
                return;
            }
        }
    }

    fn has_begun(&self) -> bool {
        self.is_writing()
    }
}
