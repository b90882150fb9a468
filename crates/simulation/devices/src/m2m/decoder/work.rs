//! The decoder's work in a tick (a call by the host). The worker is the codec process.

use super::{Decoded, Decoder, Drain, Input, Offered, Pending, Reading};
use crate::hosted::RESIZED;
use crate::m2m::picture::{Content, chroma_of, has_bits, holds};
use crate::m2m::{color, raw};
use crate::streaming::Stamp;
use crate::surface::{FIELD_NONE, Trouble, extent};
use vb3_codec::{Config, Event, Field, Framing, Job, Refused, StreamFormat};
use vb3_queue::{Active, Completion, DriverError};
use vb3_v4l2::{Bus, Colorimetry, Flow, Format, FrameFlags, Progress, Rect};

/// Maximum number of undecodable pictures that wait for a buffer. Further ones are dropped.
const MAX_REFUSED: usize = 64;

impl<C> Decoder<C> {
    /// Returns whether a CAPTURE buffer is available, or the next picture already has one.
    pub(super) fn has_buffer(&self) -> bool {
        let is_held = |decoded: &Decoded<C>| decoded.token.is_some();
        let has_own = !self.own.lent.is_empty() || self.own.decoded.front().is_some_and(is_held);
        self.capture.is_ready() || self.capture.streaming && has_own
    }

    /// Drops the stream after STREAMOFF at OUTPUT, by which the program seeks or ends.
    pub(super) fn flush(&mut self) {
        (self.own.kept, self.own.reading) = (None, None);
        self.take_back();
        self.forget_decoded();
        self.frames.clear();
        self.own.pending = Pending::None;
        self.drain = Drain::Idle;
        match self.worker.submit(Job::Flush) {
            Ok(()) => self.own.flushing += 1,
            // The worker does not run, so the next one starts with the new stream.
            Err(_) => self.restart(),
        }
    }

    pub(super) fn restart(&mut self) {
        self.worker.stop();
        self.forget_worker();
    }

    fn forget_worker(&mut self) {
        self.own.is_lending = false;
        self.take_back();
        (self.own.flushing, self.own.draining) = (0, 0);
    }

    /// Takes all OUTPUT buffers back, because the worker has ended. The queues break.
    fn give_up(&mut self) {
        self.forget_worker();
        self.own.kept = None;
        if let Some(reading) = self.own.reading.take() {
            self.output.tokens.push_front(reading.token);
        }
        self.output.take_back();
        self.own.is_broken = true;
    }

    /// Handles STREAMON at CAPTURE: the program has made buffers for the announced format.
    pub(super) fn start_pictures(&mut self) {
        self.own.streamed = self.capture.format;
        if self.drain == Drain::Stopped {
            self.drain = Drain::Idle;
        }
        if let Pending::Told(format) = self.own.pending {
            self.own.pending = Pending::None;
            if !self.suits(&format) {
                self.own.pending = Pending::Found(format);
                return;
            }
            self.proceed();
        }
    }

    fn proceed(&mut self) {
        let is_file = self.own.input.is_file();
        let chroma = chroma_of(&self.own.streamed);
        let job = match is_file {
            // Files are decoded without loans, because even a file without a picture takes a CAPTURE buffer.
            true => Job::Proceed(chroma),
            false => Job::ProceedByLoan(chroma),
        };
        match self.worker.running().map(|worker| worker.submit(job)) {
            Some(Ok(())) => self.own.is_lending = !is_file,
            Some(Err(refused)) => {
                self.worker.fail(refused.to_string());
                self.give_up();
            }
            None => {}
        }
    }

    pub(super) fn handle(&mut self, event: Event, progress: &mut Progress<C>) {
        match event {
            Event::Format(format) => self.own.pending = Pending::Found(format),
            Event::Picture {
                tag,
                picture,
                loan,
                damaged,
            } => {
                self.own.answered = tag;
                self.decoded(tag, Content::slot(picture), loan, damaged);
            }
            Event::Filled {
                tag,
                loan,
                field,
                damaged,
                ..
            } => self.decoded(tag, Content::Buffer(field), Some(loan), damaged),
            // Every file uses a CAPTURE buffer, even a file without a picture.
            Event::Consumed { tag } if self.is_unanswered(tag) => {
                self.decoded(tag, Content::None, None, true);
            }
            Event::Drained => {
                // STREAMOFF at CAPTURE may have ended earlier drains.
                self.own.draining = self.own.draining.saturating_sub(1);
                let is_last = self.own.draining == 0 && self.own.flushing == 0;
                if is_last && self.drain == Drain::Asked {
                    self.drain = Drain::Ready;
                }
            }
            Event::Consumed { tag } if self.own.kept == Some(tag) => self.release_kept(progress),
            Event::Flushed => self.own.flushing = self.own.flushing.saturating_sub(1),
            Event::Corrupt { sentence, .. } => {
                self.statistics.dropped += 1;
                self.worker.report(sentence);
            }
            Event::Unsupported {
                tag,
                loan,
                sentence,
            } => self.refuse(tag, loan, sentence),
            Event::Died { .. } => self.give_up(),
            Event::Consumed { .. } | Event::Packet { .. } => {}
        }
    }

    /// Adds a decoded picture, or an entry without content for a picture that could not be decoded.
    fn decoded(&mut self, tag: u64, content: Content, loan: Option<u64>, damaged: bool) {
        let token = loan.and_then(|loan| self.end_loan(loan));
        if token.is_none() && matches!(content, Content::Buffer(_)) {
            return;
        }
        self.own.decoded.push_back(Decoded {
            tag,
            content,
            damaged,
            was_lent: token.is_some(),
            token,
        });
    }

    /// Handles an undecodable picture. Its buffer is returned with the error flag, as on a board that cannot
    /// decode it. Before the stream's format is announced, there is no buffer.
    fn refuse(&mut self, tag: u64, loan: Option<u64>, sentence: String) {
        self.statistics.dropped += 1;
        self.worker.report(sentence);
        let has_room = self.own.visible.width != 0 && self.own.decoded.len() < MAX_REFUSED;
        if loan.is_some() || has_room {
            self.decoded(tag, Content::None, loan, true);
        }
    }

    /// Passes queued OUTPUT buffers to the worker, as many as it accepts and this tick may read.
    pub(super) fn feed(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        let mut left = self.piece;
        loop {
            if let Some(reading) = self.own.reading.take()
                && !self.resume_read(reading, &mut left, bus, progress)
            {
                return;
            }
            match &mut self.drain {
                Drain::Idle => {}
                Drain::Feeding(0) => return self.ask_to_drain(),
                Drain::Feeding(left) => *left -= 1,
                Drain::Asked | Drain::Ready | Drain::Stopped => return,
            }
            let fed = match self.output.take() {
                Some(token) => self.begin(token, progress),
                None => match &mut self.drain {
                    // The program took back some of the buffers that were still to be passed on.
                    Drain::Feeding(left) => {
                        *left = 0;
                        continue;
                    }
                    _ => return,
                },
            };
            if !fed {
                return;
            }
        }
    }

    fn ask_to_drain(&mut self) {
        self.drain = match self.worker.submit(Job::Drain) {
            Ok(()) => {
                self.own.draining += 1;
                Drain::Asked
            }
            Err(Refused::Dead) => Drain::Ready,
            // The worker accepts no more jobs now. The drain is requested again after its next event.
            Err(_) => {
                self.worker.is_full = true;
                Drain::Feeding(0)
            }
        };
    }

    /// Begins to pass a buffer to the worker. Returns false if the buffer stays the next one to pass.
    fn begin(&mut self, token: Active<C>, progress: &mut Progress<C>) -> bool {
        let Ok((_, bytes)) = extent(&token) else {
            return true;
        };
        let is_stream = !self.own.input.is_file();
        if bytes == 0 && is_stream {
            // An empty buffer is an older way to request a drain.
            self.output.consume(token, Ok(()), progress);
            if self.drain == Drain::Idle {
                self.drain = Drain::Feeding(0);
            }
            return true;
        }
        let codec = self.worker.start(|worker| match is_stream {
            true => worker.submit(Job::Configure(Config::Decoder(Framing::Auto))),
            false => Ok(()),
        });
        let Some(worker) = codec else {
            progress.broken = true;
            return self.handle_answer(token, Err(Refused::Dead), progress);
        };
        let begun = match usize::try_from(bytes) {
            Ok(len) => worker.begin_data(len),
            Err(_) => Err(Refused::Wrong("longer than memory")),
        };
        if let Err(refused) = begun {
            return self.handle_answer(token, Err(refused), progress);
        }
        self.own.reading = Some(Reading { token, done: 0 });
        true
    }

    /// Continues to read a buffer, and submits its bytes once all are read. Returns whether another buffer may begin.
    fn resume_read(
        &mut self,
        mut reading: Reading<C>,
        left: &mut usize,
        bus: &mut dyn Bus<C>,
        progress: &mut Progress<C>,
    ) -> bool {
        let tag = self.next_tag;
        let taken = match self.worker.running() {
            None => Err(Refused::Dead),
            Some(worker) => match reading.resume(worker.data(), left, bus) {
                Ok(false) => {
                    self.own.reading = Some(reading);
                    return false;
                }
                Ok(true) => worker.decode_data(tag).map(Ok),
                Err(trouble) => Ok(Err(trouble)),
            },
        };
        self.handle_answer(reading.token, taken, progress)
    }

    /// Handles the worker's answer to a buffer. Returns false if the buffer stays the next one to pass.
    fn handle_answer(
        &mut self,
        token: Active<C>,
        taken: Result<Result<(), Trouble>, Refused>,
        progress: &mut Progress<C>,
    ) -> bool {
        let tag = self.next_tag;
        match self.handle_offer(token, taken, progress) {
            Offered::Later => return false,
            Offered::Taken if !self.own.input.is_file() => self.release_or_keep(tag, progress),
            Offered::Taken | Offered::Failed => {}
        }
        true
    }

    /// Gives back the stream buffer that the worker has read, or keeps it while CAPTURE does not stream.
    fn release_or_keep(&mut self, tag: u64, progress: &mut Progress<C>) {
        if self.capture.streaming {
            return self.output.release(tag, Ok(()), progress);
        }
        self.release_kept(progress);
        self.own.kept = Some(tag);
    }

    pub(super) fn release_kept(&mut self, progress: &mut Progress<C>) {
        if let Some(tag) = self.own.kept.take() {
            self.output.release(tag, Ok(()), progress);
        }
    }

    /// Returns the buffer for a picture without a loan. If all buffers are lent, takes them back first: only
    /// a process that ignores loans delivers such a picture at that time.
    fn next_buffer(&mut self) -> Option<Active<C>> {
        if self.capture.tokens.is_empty() {
            self.take_back_unwritten();
        }
        self.capture.take()
    }

    /// Puts decoded pictures into CAPTURE buffers, within this tick's limit.
    pub(super) fn deliver(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        let mut left = self.piece;
        while self.capture.streaming
            && left > 0
            && let Some(mut decoded) = self.own.decoded.pop_front()
        {
            let Some(token) = decoded.token.take().or_else(|| self.next_buffer()) else {
                return self.own.decoded.push_front(decoded);
            };
            let (format, going) = (&self.own.streamed, (&mut left, &mut self.own.scratch));
            let written = decoded.content.resume_write(format, &token, going, bus);
            let Some(written) = written.transpose() else {
                decoded.token = Some(token);
                return self.own.decoded.push_front(decoded);
            };
            let Some((mut outcome, payloads)) = self.outcome(written) else {
                if decoded.content.begin_again() {
                    self.own.decoded.push_front(decoded);
                }
                continue;
            };
            if decoded.damaged {
                outcome = Err(DriverError::EIO);
            }
            let last = self.drain == Drain::Ready && self.own.decoded.is_empty();
            let stamp = self.frames.get(&decoded.tag).copied();
            let stamp = Stamp {
                sequence: self.capture.next_sequence(),
                field: field_of(decoded.content.field()),
                ..stamp.unwrap_or(Stamp::new(0, 0))
            };
            let stamp = stamp.with_kind(FrameFlags::empty());
            let completion = Completion {
                last,
                ..stamp.completion(outcome, Some(payloads))
            };
            self.output.release(decoded.tag, outcome, progress);
            progress.finish(Flow::Capture, token, completion);
            if last {
                self.end_drain(Drain::Stopped, progress);
            }
        }
    }

    /// Returns whether the current buffers hold pictures of a format.
    fn suits(&self, format: &StreamFormat) -> bool {
        let size = (format.visible.width, format.visible.height);
        holds(&self.own.streamed, size, format.bits)
    }

    /// Returns whether a consumed JPEG file gave no picture.
    fn is_unanswered(&self, tag: u64) -> bool {
        self.own.input.is_file() && self.own.answered != tag && self.own.flushing == 0
    }

    /// Notifies the program of the stream's format, once all pictures of the previous format are returned.
    pub(super) fn announce_format(&mut self, progress: &mut Progress<C>) {
        let Pending::Found(format) = self.own.pending else {
            return;
        };
        if !self.own.decoded.is_empty() && self.capture.streaming {
            return;
        }
        if self.capture.streaming && self.suits(&format) {
            self.note(&format);
            self.capture.format.color = self.color_of(&format);
            self.own.streamed.color = self.capture.format.color;
            self.own.pending = Pending::None;
            return self.proceed();
        }
        if self.capture.streaming {
            // If the process is still writing a picture to a lent buffer, this is tried again after the process's
            // next event.
            if !self.take_back_unwritten() || !self.capture.give_last(progress) {
                return;
            }
        }
        // Pictures of the previous format do not fit the next buffers.
        for decoded in std::mem::take(&mut self.own.decoded) {
            self.output
                .release(decoded.tag, Err(DriverError::EIO), progress);
        }
        self.note(&format);
        let now = self.capture.format;
        let mut like = self.output.format;
        (like.width, like.height) = (format.visible.width, format.visible.height);
        like.color = self.color_of(&format);
        if let Some(made) = self.raw.like(now.fourcc, &like) {
            let is_same =
                (made.fourcc, made.width, made.height) == (now.fourcc, now.width, now.height);
            // The program may have chosen the stride before it knew the size. The stride stays if the size is
            // the same.
            self.capture.format = match is_same {
                true => Format {
                    color: made.color,
                    ..now
                },
                false => made,
            };
        }
        progress.events.push(RESIZED);
        self.own.pending = Pending::Told(format);
    }

    /// Returns the stream's colorimetry, with the program's values where the stream has none.
    fn color_of(&self, format: &StreamFormat) -> Colorimetry {
        match self.own.input {
            Input::File => raw::JPEG_PICTURE,
            _ => color::colorimetry_of(format.color, self.output.format.color),
        }
    }

    /// Stores the stream's description of its pictures.
    fn note(&mut self, format: &StreamFormat) {
        let signed = |value: u32| i32::try_from(value).unwrap_or(0);
        let all = self.own.all.iter().copied();
        self.raw.pixels = all.filter(|pixel| has_bits(pixel, format.bits)).collect();
        self.own.coded_size = (format.coded_width, format.coded_height);
        self.own.visible = Rect {
            left: signed(format.visible.left),
            top: signed(format.visible.top),
            width: format.visible.width,
            height: format.visible.height,
        };
    }

    /// Completes the last buffer and raises the end event, once all pictures are completed.
    pub(super) fn finish_drain(&mut self, progress: &mut Progress<C>) {
        if self.drain != Drain::Ready || !self.capture.streaming || !self.own.decoded.is_empty() {
            return;
        }
        if self.take_back_unwritten() && self.capture.give_last(progress) {
            self.end_drain(Drain::Stopped, progress);
        }
    }
}

impl<C> Reading<C> {
    /// Reads on, at most `left` bytes. Returns whether all is read.
    fn resume(
        &mut self,
        to: Option<&mut [u8]>,
        left: &mut usize,
        bus: &mut dyn Bus<C>,
    ) -> Result<bool, Trouble> {
        let (plane, _) = extent(&self.token)?;
        let rest = to.and_then(|to| to.get_mut(self.done..));
        let rest = rest.ok_or(Trouble::TooSmall)?;
        let here = rest.len().min(*left);
        let (piece, after) = rest.split_at_mut(here);
        bus.read(&plane.cookie, plane.data_offset + self.done as u64, piece)?;
        self.done += here;
        *left -= here;
        Ok(after.is_empty())
    }
}

impl<C> Decoded<C> {
    /// Handles the loss of the buffers. Returns whether the picture is kept for new buffers. A picture that
    /// was decoded into a lent buffer is lost.
    pub(super) fn leave_buffer(&mut self) -> bool {
        let outlives = self.token.is_none() || !self.was_lent;
        self.token = None;
        outlives && self.content.begin_again()
    }
}

/// Returns the `V4L2_FIELD_*` value of a picture that has both fields, line by line.
const fn field_of(field: Field) -> u32 {
    match field {
        Field::Progressive => FIELD_NONE,
        // `V4L2_FIELD_INTERLACED_TB` and `_BT`.
        Field::TopFirst => 8,
        Field::BottomFirst => 9,
    }
}
