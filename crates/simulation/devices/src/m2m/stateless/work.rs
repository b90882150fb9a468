//! The stateless decoder's work in a tick (a call by the host): one request at a time. The worker is the codec
//! process.

use super::{StatelessDecoder, av1};
use crate::m2m::device::Outcome;
use crate::m2m::loan;
use crate::m2m::picture::{Content, holds};
use crate::streaming::Stamp;
use crate::surface::{FIELD_ANY, FIELD_NONE, extent};
use crate::worker::FrameWorker as _;
use std::collections::BTreeMap;
use vb3_codec::{Chroma, Event, Job as CodecJob, MAX_INPUT, Refused, StreamFormat};
use vb3_queue::{Active, Completion, DriverError, MAX_PLANES};
use vb3_v4l2::{Bus, Flow, Progress, sys};

const FAILED: Outcome = (Err(DriverError::EIO), [0; MAX_PLANES]);

/// A request that the worker works on.
pub(super) struct Job<C> {
    tag: u64,
    source: Active<C>,
    /// The CAPTURE buffer; `None` once CAPTURE has stopped.
    pub(super) target: Option<Active<C>>,
    /// The number under which the target is lent to the worker.
    pub(super) loan: Option<u64>,
    /// The decoded picture while it is written to the target, and whether the picture is damaged.
    writing: Option<(Content, bool)>,
    /// Whether the worker has consumed the request's input.
    is_consumed: bool,
    /// Whether the first field of the target's picture failed.
    lacks_field: bool,
    written: Outcome,
}

/// A CAPTURE buffer that waits for the second field of its picture.
pub(super) struct FirstField<C> {
    target: Active<C>,
    completion: Completion,
}

/// Why a picture is not passed to the worker.
enum Unfit {
    /// The bus access failed.
    Fault,
    /// The decoder refuses the picture for this reason.
    Refused(String),
}

impl<C> StatelessDecoder<C> {
    pub(super) fn is_writing(&self) -> bool {
        let job = self.own.job.as_ref();
        job.is_some_and(|job| job.writing.is_some())
    }

    /// Returns whether a worker must be started now.
    /// It starts with the stream and not with a request, because GStreamer gives up a request that takes a
    /// second.
    pub(super) fn wants_worker(&self) -> bool {
        self.output.streaming && self.worker.wake_fd().is_none() && !self.worker.is_down
    }

    pub(super) fn can_begin(&self) -> bool {
        let has_target = self.capture.is_ready() || self.own.first_field.is_some();
        self.own.job.is_none() && self.output.is_ready() && has_target && self.worker.has_room()
    }

    /// Ends the current request and drops all reference pictures, after STREAMOFF at either queue.
    pub(super) fn end_stream(&mut self, progress: &mut Progress<C>) {
        if let Some(job) = self.own.job.take() {
            if job.loan.is_some() {
                self.worker.take_back();
            }
            if let Some(target) = job.target {
                self.capture.put_back(target);
            }
            if !job.source.is_stale() {
                self.output
                    .consume(job.source, Err(DriverError::EIO), progress);
            }
        }
        if let Some(field) = self.own.first_field.take() {
            self.capture.tokens.push_front(field.target);
        }
        self.own.pictures.clear();
        self.own.parameters.slots = av1::Slots::default();
        if self.worker.submit(CodecJob::Flush).is_err() {
            self.restart();
        }
    }

    fn restart(&mut self) {
        self.worker.stop();
        self.own.lends = None;
    }

    pub(super) fn handle(
        &mut self,
        event: Event,
        bus: &mut dyn Bus<C>,
        progress: &mut Progress<C>,
    ) {
        match event {
            Event::Format(format) => self.proceed(&format, bus, progress),
            Event::Picture {
                tag,
                picture,
                damaged,
                ..
            } => self.receive(tag, Content::slot(picture), damaged),
            Event::Filled {
                tag,
                field,
                damaged,
                ..
            } => {
                self.receive(tag, Content::Buffer(field), damaged);
                self.resume_write(bus, progress);
            }
            Event::Corrupt { sentence, .. } | Event::Unsupported { sentence, .. } => {
                self.worker.report(sentence);
            }
            Event::Consumed { tag } => self.end(tag, progress),
            Event::Died { .. } => {
                self.own.lends = None;
                self.fail_job(progress);
                progress.broken = true;
            }
            Event::Flushed | Event::Drained | Event::Packet { .. } => {}
        }
    }

    /// Accepts the worker's format. Fails the request if pictures of this format do not fit the CAPTURE
    /// buffers.
    fn proceed(&mut self, format: &StreamFormat, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        let buffers = self.capture.format;
        let found = (format.visible.width, format.visible.height);
        self.own.lends = None;
        let job = CodecJob::ProceedByLoan(Chroma::Pairs);
        let fits = holds(&buffers, found, format.bits);
        if !fits || self.worker.submit(job).is_err() {
            self.restart();
            return self.fail_job(progress);
        }
        self.own.lends = Some(found);
        self.lend(bus);
    }

    /// Lends the request's CAPTURE buffer to the worker, unless it is lent already.
    fn lend(&mut self, bus: &mut dyn Bus<C>) {
        let (Some(job), Some(size)) = (self.own.job.as_mut(), self.own.lends) else {
            return;
        };
        if let Some(worker) = self.worker.running()
            && let Some(target) = job.target.as_ref().filter(|_| job.loan.is_none())
        {
            // If the worker has ended, an event reports it.
            job.loan = loan::lend(worker, (&self.capture.format, size), target, bus).ok();
        }
    }

    /// Receives a decoded picture, which is still to be written to the request's buffer.
    fn receive(&mut self, tag: u64, content: Content, damaged: bool) {
        if let Some(job) = self.own.job.as_mut().filter(|job| job.tag == tag) {
            job.loan = None;
            job.writing = Some((content, damaged));
        }
    }

    /// Continues to write a picture to its request's buffer, one piece in each tick. If the worker has not
    /// consumed the request yet, keeps the result.
    pub(super) fn resume_write(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        let mut left = self.piece;
        let Some(mut job) = self.own.job.take_if(|job| job.writing.is_some()) else {
            return;
        };
        if let (Some(target), Some((content, damaged))) = (&job.target, &mut job.writing) {
            let going = (&mut left, &mut self.own.scratch);
            let written = content.resume_write(&self.capture.format, target, going, bus);
            let Some(written) = written.transpose() else {
                self.own.job = Some(job);
                return;
            };
            job.written = self.outcome(written).unwrap_or(FAILED);
            if *damaged {
                job.written.0 = Err(DriverError::EIO);
            }
        }
        job.writing = None;
        match job.is_consumed {
            true => self.finish(job, progress),
            false => self.own.job = Some(job),
        }
    }

    /// Handles the worker's message that it has consumed a request. The picture may still be incomplete.
    fn end(&mut self, tag: u64, progress: &mut Progress<C>) {
        let Some(job) = self.own.job.as_mut().filter(|job| job.tag == tag) else {
            return;
        };
        job.is_consumed = true;
        if job.loan.take().is_some() {
            self.worker.take_back();
        }
        if let Some(job) = self.own.job.take_if(|job| job.writing.is_none()) {
            self.finish(job, progress);
        }
    }

    /// Completes both buffers of a request with an error.
    fn fail_job(&mut self, progress: &mut Progress<C>) {
        if let Some(mut job) = self.own.job.take() {
            job.written = FAILED;
            self.finish(job, progress);
        }
    }

    fn finish(&mut self, job: Job<C>, progress: &mut Progress<C>) {
        let Job {
            source,
            target,
            lacks_field,
            written: (outcome, payloads),
            ..
        } = job;
        if outcome.is_err() {
            self.statistics.dropped += 1;
            self.own.parameters.slots.forget(source.timestamp_ns());
        }
        let mut stamp = Stamp::of(&source);
        if stamp.field == FIELD_ANY {
            stamp.field = FIELD_NONE;
        }
        let waits = source.frame_flags() & sys::V4L2_BUF_FLAG_M2M_HOLD_CAPTURE_BUF != 0;
        self.output.consume(source, outcome, progress);
        let Some(target) = target else { return };
        // `give` sets the sequence number once the picture has both fields.
        let outcome = match lacks_field {
            true => Err(DriverError::EIO),
            false => outcome,
        };
        let completion = stamp.completion(outcome, Some(payloads));
        let field = FirstField { target, completion };
        // Also after an error: the second field uses the same buffer.
        if waits {
            self.own.first_field = Some(field);
        } else {
            self.give(field, progress);
        }
    }

    fn give(&mut self, field: FirstField<C>, progress: &mut Progress<C>) {
        let completion = Completion {
            sequence: self.capture.next_sequence(),
            ..field.completion
        };
        progress.finish(Flow::Capture, field.target, completion);
    }

    /// Returns a request's CAPTURE buffer: the one with the picture's first field, or the next one. Also returns
    /// whether the first field failed.
    fn target_for(
        &mut self,
        source: &Active<C>,
        progress: &mut Progress<C>,
    ) -> Option<(Active<C>, bool)> {
        if let Some(field) = self.own.first_field.take() {
            if field.completion.timestamp_ns == Some(source.timestamp_ns())
                && !field.target.is_stale()
            {
                return Some((field.target, field.completion.outcome.is_err()));
            }
            self.give(field, progress);
        }
        self.capture.take().map(|target| (target, false))
    }

    /// Passes a request to the worker. Returns whether another request may begin.
    pub(super) fn begin(
        &mut self,
        source: Active<C>,
        bus: &mut dyn Bus<C>,
        progress: &mut Progress<C>,
    ) -> bool {
        let Some((target, lacks_field)) = self.target_for(&source, progress) else {
            self.output.tokens.push_front(source);
            return false;
        };
        let Some(worker) = self.worker.start(|_| Ok(())) else {
            self.output.tokens.push_front(source);
            self.capture.tokens.push_front(target);
            progress.broken = true;
            return false;
        };
        let size = (self.capture.format.width, self.capture.format.height);
        let tag = self.next_tag;
        let own = &mut self.own;
        let mut update = None;
        let given = content(&source, bus).and_then(|content| {
            let input = (own.syntax.describe)(&own.parameters, size, content);
            let input = input.map_err(Unfit::Refused)?;
            own.pictures.remove(&target.index());
            expect_references(&own.pictures, &input.references).map_err(Unfit::Refused)?;
            update = input.update;
            let data = input.bytes.as_slice();
            Ok(worker.submit(CodecJob::Decode { tag, data }))
        });
        let unfit = match given {
            Ok(Ok(())) => None,
            Err(unfit) => Some(unfit),
            // The worker accepts no more jobs now, or it has ended. In the second case, an event reports the end.
            Ok(Err(Refused::Full(_) | Refused::Dead)) => {
                self.output.tokens.push_front(source);
                self.capture.tokens.push_front(target);
                return false;
            }
            Ok(Err(refused)) => Some(Unfit::Refused(refused.to_string())),
        };
        if unfit.is_none() {
            own.pictures.insert(target.index(), source.timestamp_ns());
            if let Some(update) = update {
                own.parameters.slots.advance(update, source.timestamp_ns());
            }
        }
        let job = Job {
            tag,
            source,
            target: Some(target),
            loan: None,
            writing: None,
            is_consumed: false,
            lacks_field,
            written: FAILED,
        };
        match unfit {
            None => {
                self.next_tag = tag.wrapping_add(1);
                self.own.job = Some(job);
                self.lend(bus);
            }
            Some(unfit) => {
                match unfit {
                    Unfit::Refused(sentence) => self.worker.report(sentence),
                    Unfit::Fault => self.statistics.bus_faults += 1,
                }
                self.finish(job, progress);
            }
        }
        true
    }
}

fn content<C>(source: &Active<C>, bus: &mut dyn Bus<C>) -> Result<Vec<u8>, Unfit> {
    let gone = |_| Unfit::Refused("the buffer was taken back".to_owned());
    let (plane, bytes) = extent(source).map_err(gone)?;
    let found = usize::try_from(bytes).unwrap_or(usize::MAX);
    if found > MAX_INPUT {
        let limit = MAX_INPUT;
        return Err(Unfit::Refused(
            Refused::TooLong { found, limit }.to_string(),
        ));
    }
    let mut content = vec![0; found];
    bus.read(&plane.cookie, plane.data_offset, &mut content)
        .map_err(|_| Unfit::Fault)?;
    Ok(content)
}

/// Checks that CAPTURE buffers have the pictures with these timestamps.
fn expect_references(pictures: &BTreeMap<u32, u64>, references: &[u64]) -> Result<(), String> {
    let is_missing = |wanted: &&u64| !pictures.values().any(|found| found == *wanted);
    match references.iter().find(is_missing) {
        None => Ok(()),
        Some(missing) => Err(format!(
            "no CAPTURE buffer has the reference picture with timestamp {missing} ns; a buffer has \
             its picture until another one is decoded into it, or a queue stops"
        )),
    }
}
