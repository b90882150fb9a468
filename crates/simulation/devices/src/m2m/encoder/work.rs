//! The encoder's work in a tick (a call by the host). The worker is the codec process.

use super::{Coded, Drain, Encoder, Offered, Reading, read};
use crate::streaming::Stamp;
use crate::surface::{PictureCursor, Trouble, write_bytes};
use crate::worker::FrameWorker as _;
use vb3_codec::{Config, Event, Job, Refused};
use vb3_queue::{Active, DriverError, MAX_PLANES};
use vb3_v4l2::{Bus, Flow, FrameFlags, Progress};

/// Maximum number of pictures whose packets are not delivered yet. With several, the library stays busy.
const MAX_AHEAD: usize = 4;

impl<C> Encoder<C> {
    /// Starts a new stream, because CAPTURE was stopped.
    pub(super) fn reset(&mut self) {
        self.drain = Drain::Idle;
        self.own.packets.clear();
        self.frames.clear();
        self.take_back();
        self.worker.is_full = false;
        let is_flushed = self.worker.submit(Job::Flush).is_ok();
        // A codec that is set up only once would continue the previous stream.
        let is_new = self.worker.kind.is_set_up_once();
        if is_new || !is_flushed {
            // The next worker begins with a new stream.
            self.stop_codec();
        }
    }

    /// Requeues the OUTPUT buffers of the picture that is being read and of all pictures in the worker.
    fn take_back(&mut self) {
        if let Some(reading) = self.own.reading.take() {
            self.output.tokens.push_front(reading.token);
        }
        self.output.take_back();
    }

    pub(super) fn stop_codec(&mut self) {
        self.worker.stop();
        self.own.configured = None;
    }

    pub(super) fn handle(&mut self, event: Event, progress: &mut Progress<C>) {
        match event {
            Event::Packet { tag, data, key } => self.own.packets.push_back(Coded {
                tag,
                packet: Some(data),
                key,
            }),
            Event::Corrupt { tag, sentence } => {
                self.statistics.dropped += 1;
                self.worker.report(sentence);
                self.own.controls.force_key = true;
                // Each picture counts once, even if a worker repeats the event.
                let is_told = self.own.packets.iter().any(|coded| coded.tag == tag);
                if self.frames.contains_key(&tag) && !is_told {
                    self.own.packets.push_back(Coded {
                        tag,
                        packet: None,
                        key: false,
                    });
                }
            }
            Event::Died { .. } => {
                self.own.configured = None;
                self.frames.clear();
                self.take_back();
                progress.broken = true;
            }
            _ => {}
        }
    }

    pub(super) fn may_feed(&self) -> bool {
        let wanted = match self.drain {
            Drain::Idle => true,
            Drain::Feeding(left) => left > 0,
            Drain::Asked | Drain::Ready | Drain::Stopped => false,
        };
        // The device takes a picture only if there is a buffer for its packet.
        let ahead = MAX_AHEAD.min(self.capture.tokens.len());
        wanted
            && self.output.is_ready()
            && self.capture.streaming
            && self.frames.len() < ahead
            && self.worker.has_room()
            && !self.worker.is_full
            && self.own.reading.is_none()
    }

    /// Passes queued OUTPUT buffers to the worker, as many as it accepts and this tick may read.
    pub(super) fn feed(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        let mut left = self.piece;
        loop {
            if let Some(reading) = self.own.reading.take()
                && !self.resume_read(reading, &mut left, bus, progress)
            {
                break;
            }
            if left == 0 || !self.may_feed() {
                break;
            }
            let Some(token) = self.output.take() else {
                break;
            };
            if !self.begin(token, progress) {
                break;
            }
        }
        if let Drain::Feeding(left) = &mut self.drain {
            // The program may have taken some of the buffers back.
            *left = (*left).min(self.output.tokens.len());
        }
    }

    /// Stops the codec if `config` needs a new worker. If the codec still has pictures, only returns false.
    fn make_way(&mut self, config: Config) -> bool {
        let is_other = self.own.configured.is_some_and(|before| before != config);
        if !is_other || !self.worker.kind.is_set_up_once() {
            return true;
        }
        let is_idle = !self.worker.is_busy();
        if is_idle {
            self.stop_codec();
        }
        is_idle
    }

    /// Begins to read a picture into the worker's memory. Returns whether further pictures may begin. If the
    /// worker accepts no picture now, the picture waits.
    fn begin(&mut self, token: Active<C>, progress: &mut Progress<C>) -> bool {
        let config = self.config();
        if !self.make_way(config) {
            self.output.tokens.push_front(token);
            self.worker.is_full = true;
            return false;
        }
        let configured = &mut self.own.configured;
        let Some(worker) = self.worker.start(|_| Ok(())) else {
            self.output.tokens.push_front(token);
            progress.broken = true;
            return false;
        };
        let set_up = match *configured == Some(config) {
            true => Ok(()),
            false => worker.submit(Job::Configure(config)),
        };
        let begun = set_up.and_then(|()| {
            *configured = Some(config);
            worker.begin_picture()
        });
        if let Drain::Feeding(left) = &mut self.drain {
            *left = left.saturating_sub(1);
        }
        match begun {
            Ok(()) => {
                let cursor = PictureCursor::default();
                self.own.reading = Some(Reading { token, cursor });
                true
            }
            Err(refused) => self.handle_answer(token, Err(refused), progress),
        }
    }

    /// Continues to read a picture, and submits it once all is read. Returns whether another picture may
    /// begin.
    fn resume_read(
        &mut self,
        mut reading: Reading<C>,
        left: &mut usize,
        bus: &mut dyn Bus<C>,
        progress: &mut Progress<C>,
    ) -> bool {
        let (tag, force_key) = (self.next_tag, self.own.controls.force_key);
        let shape = (&self.output.format, self.own.crop);
        let scratch = &mut self.own.scratch;
        let taken = match self.worker.running() {
            None => Err(Refused::Dead),
            Some(worker) => {
                let (token, going) = (&reading.token, (&mut reading.cursor, left));
                let to = worker.picture().ok_or(Trouble::TooSmall);
                match to.and_then(|to| read::resume_read(shape, token, going, bus, scratch, to)) {
                    Ok(false) => {
                        self.own.reading = Some(reading);
                        return false;
                    }
                    Ok(true) => worker.encode_picture(tag, force_key).map(Ok),
                    Err(trouble) => Ok(Err(trouble)),
                }
            }
        };
        self.handle_answer(reading.token, taken, progress)
    }

    /// Handles the worker's answer to a picture: keeps, completes or requeues its buffer.
    /// Returns whether another picture may begin.
    fn handle_answer(
        &mut self,
        token: Active<C>,
        taken: Result<Result<(), Trouble>, Refused>,
        progress: &mut Progress<C>,
    ) -> bool {
        match self.handle_offer(token, taken, progress) {
            Offered::Taken => self.own.controls.force_key = false,
            Offered::Failed => {}
            Offered::Later => {
                // The worker's next event, from a picture or from the worker's end, clears `is_full`.
                self.worker.is_full = true;
                return false;
            }
        }
        true
    }

    pub(super) fn deliver(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        while self.capture.streaming && !self.own.packets.is_empty() {
            let Some(token) = self.capture.take() else {
                return;
            };
            let Some(coded) = self.own.packets.pop_front() else {
                return;
            };
            let written = coded.packet.as_ref().map_or(Ok(None), |packet| {
                write_bytes(&token, packet.bytes(), bus).map(Some)
            });
            let (outcome, payloads) = match written {
                Ok(Some(payloads)) => (Ok(()), payloads),
                Ok(None) => (Err(DriverError::EIO), [0; MAX_PLANES]),
                Err(Trouble::Stale) => {
                    self.own.packets.push_front(coded);
                    continue;
                }
                Err(trouble) => {
                    self.lose(trouble);
                    (Err(DriverError::EIO), [0; MAX_PLANES])
                }
            };
            let Some(stamp) = self.frames.remove(&coded.tag) else {
                // The packet's picture belongs to an earlier stream.
                self.capture.tokens.push_front(token);
                continue;
            };
            let kind = match (outcome, coded.key || !self.own.is_stream) {
                (Ok(()), true) => FrameFlags::KEYFRAME,
                (Ok(()), false) => FrameFlags::PFRAME,
                _ => FrameFlags::empty(),
            };
            let stamp = Stamp {
                sequence: self.capture.next_sequence(),
                ..stamp.with_kind(kind)
            };
            self.output.release(coded.tag, outcome, progress);
            stamp.finish(Flow::Capture, token, outcome, Some(payloads), progress);
        }
    }

    /// Handles a packet that did not reach its buffer. The next picture must be independent, since
    /// pictures that refer to the lost one are useless.
    fn lose(&mut self, trouble: Trouble) {
        self.own.controls.force_key = true;
        match trouble {
            Trouble::Fault => self.statistics.bus_faults += 1,
            Trouble::Stale | Trouble::TooSmall => self.statistics.dropped += 1,
        }
    }

    /// Returns whether all packets of a drain have been delivered.
    pub(super) fn is_drained(&self) -> bool {
        let is_idle = self.own.reading.is_none() && self.own.packets.is_empty();
        self.drain == Drain::Feeding(0) && self.frames.is_empty() && is_idle
    }

    /// Ends a drain after its last buffer. If OUTPUT was restarted since the drain began, encoding continues.
    pub(super) fn stop(&mut self, progress: &mut Progress<C>) {
        let then = match self.has_restarted {
            true => Drain::Idle,
            false => Drain::Stopped,
        };
        self.end_drain(then, progress);
    }
}
