//! What an encoder does when it is its turn.

use super::{Coded, Drain, Encoder, read};
use crate::m2m::Meta;
use crate::m2m::process::MAX_EVENTS;
use crate::surface::Trouble;
use vb3_codec::{Event, Job, Kind, Refused};
use vb3_queue::{Active, DoneState, MAX_PLANES};
use vb3_v4l2::{Bus, DriverEvent, Flow, FrameFlags, Progress};

/// Pictures and packets that may be under way: enough that the library never waits.
const MAX_AHEAD: usize = 4;

impl<C> Encoder<C> {
    /// Whether [`work`](Self::work) would get anything done now, apart from what the worker says.
    pub(super) fn has_work(&self) -> bool {
        let gives = !self.coded.is_empty() || self.is_drained();
        self.output_has_changed()
            || self.capture.stops != self.seen_capture_stops
            || self.may_feed()
            || gives && self.capture.is_ready()
    }

    pub(super) fn work(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        self.notice();
        self.listen(progress);
        self.deliver(bus, progress);
        self.feed(bus, progress);
        if self.is_drained() && self.capture.streaming && self.capture.give_last(progress) {
            self.stop(progress);
        }
    }

    const fn output_has_changed(&self) -> bool {
        self.output.starts != self.seen_output.0 || self.output.stops != self.seen_output.1
    }

    /// STREAMON and STREAMOFF since the last look.
    pub(super) fn notice(&mut self) {
        if self.capture.stops != self.seen_capture_stops {
            self.seen_capture_stops = self.capture.stops;
            self.reset();
        }
        if self.output_has_changed() {
            let has_stopped = self.output.stops != self.seen_output.1;
            self.seen_output = (self.output.starts, self.output.stops);
            self.drain = match self.drain {
                // What the worker has still comes.
                Drain::Feeding(_) if has_stopped => Drain::Feeding(0),
                Drain::Stopped if self.output.starts != self.drained_start => Drain::Idle,
                other => other,
            };
            if has_stopped && self.codec.is_down() {
                self.stop_codec();
            }
        }
    }

    /// CAPTURE was stopped: what comes next is a new stream.
    fn reset(&mut self) {
        self.drain = Drain::Idle;
        self.coded.clear();
        self.frames.clear();
        self.output.take_back();
        self.is_full = false;
        let forgot = self.codec.worker().map(|worker| worker.submit(Job::Flush));
        if self.codec.is_down() || matches!(forgot, Some(Err(_))) {
            // A new one begins afresh.
            self.stop_codec();
        }
    }

    fn stop_codec(&mut self) {
        self.codec.stop();
        self.configured = None;
    }

    /// Takes the worker's events.
    fn listen(&mut self, progress: &mut Progress<C>) {
        for _ in 0..MAX_EVENTS {
            let Some(event) = self.codec.poll() else {
                return;
            };
            self.is_full = false;
            match event {
                Event::Packet { tag, data, key } => self.coded.push_back(Coded {
                    tag,
                    packet: Some(data),
                    key,
                }),
                Event::Corrupt { tag, .. } => {
                    self.statistics.dropped = self.statistics.dropped.saturating_add(1);
                    self.controls.force_key = true;
                    // Once for each picture: a worker may say it again and again.
                    let is_told = self.coded.iter().any(|coded| coded.tag == tag);
                    if self.frames.has(tag) && !is_told {
                        self.coded.push_back(Coded {
                            tag,
                            packet: None,
                            key: false,
                        });
                    }
                }
                Event::Died { .. } => {
                    self.configured = None;
                    self.frames.clear();
                    self.output.take_back();
                    progress.broken = true;
                }
                _ => {}
            }
        }
    }

    /// Whether a picture is there that can go to the worker.
    fn may_feed(&self) -> bool {
        let wanted = match self.drain {
            Drain::Idle => true,
            Drain::Feeding(left) => left > 0,
            Drain::Stopped => false,
        };
        // A picture is not taken before there is a buffer for what comes of it.
        let ahead = MAX_AHEAD.min(self.capture.tokens.len());
        wanted
            && self.output.is_ready()
            && self.capture.streaming
            && self.frames.len() < ahead
            && self.codec.has_room()
            && !self.is_full
    }

    /// Gives the worker what is queued at OUTPUT, as much as it takes.
    fn feed(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        while self.may_feed() {
            let Some(token) = self.output.take() else {
                break;
            };
            if !self.feed_one(token, bus, progress) {
                break;
            }
            if let Drain::Feeding(left) = &mut self.drain {
                *left = left.saturating_sub(1);
            }
        }
        if let Drain::Feeding(left) = &mut self.drain {
            // Some of them may have been taken back.
            *left = (*left).min(self.output.tokens.len());
        }
    }

    /// Whether the buffer was used up.
    fn feed_one(
        &mut self,
        token: Active<C>,
        bus: &mut dyn Bus<C>,
        progress: &mut Progress<C>,
    ) -> bool {
        let config = self.config();
        let (tag, force_key) = (self.frames.next_tag(), self.controls.force_key);
        let (format, crop) = (&self.output.format, self.crop);
        let (configured, scratch) = (&mut self.configured, &mut self.scratch);
        let Some(worker) = self.codec.start(|_| Ok(())) else {
            self.output.tokens.push_front(token);
            progress.broken = true;
            return false;
        };
        let set_up = match *configured == Some(config) {
            true => Ok(()),
            false => worker.submit(Job::Configure(config)),
        };
        let taken = set_up.and_then(|()| {
            *configured = Some(config);
            worker.encode_with(tag, force_key, |to| {
                read::read(format, crop, &token, bus, scratch, to)
            })
        });
        let outcome = match taken {
            Ok(Ok(())) => {
                self.frames.insert(Meta::of(&token));
                self.controls.force_key = false;
                self.output.hold(tag, token);
                return true;
            }
            Ok(Err(Trouble::Stale)) => return true,
            Ok(Err(Trouble::Fault | Trouble::TooSmall)) => {
                self.statistics.bus_faults = self.statistics.bus_faults.saturating_add(1);
                DoneState::Error
            }
            Err(Refused::Full(_) | Refused::Dead) => {
                // An event follows: of what is under way, or the end.
                self.is_full = true;
                self.output.tokens.push_front(token);
                return false;
            }
            Err(Refused::TooLong { .. } | Refused::Wrong(_)) => {
                self.statistics.dropped = self.statistics.dropped.saturating_add(1);
                DoneState::Error
            }
        };
        self.output.hold(tag, token);
        self.output.release(tag, outcome, progress);
        true
    }

    /// Puts packets into CAPTURE buffers.
    fn deliver(&mut self, bus: &mut dyn Bus<C>, progress: &mut Progress<C>) {
        while self.capture.streaming && !self.coded.is_empty() {
            let Some(token) = self.capture.take() else {
                return;
            };
            let Some(coded) = self.coded.pop_front() else {
                return;
            };
            let written = coded.packet.as_ref().map_or(Ok(None), |packet| {
                self.write(&token, packet.bytes(), bus).map(Some)
            });
            let (outcome, payloads) = match written {
                Ok(Some(payloads)) => (DoneState::Done, payloads),
                Ok(None) => (DoneState::Error, [0; MAX_PLANES]),
                Err(Trouble::Stale) => {
                    self.coded.push_front(coded);
                    continue;
                }
                Err(trouble) => {
                    self.lose(trouble);
                    (DoneState::Error, [0; MAX_PLANES])
                }
            };
            let Some(meta) = self.frames.take(coded.tag) else {
                // Not one of this stream.
                self.capture.tokens.push_front(token);
                continue;
            };
            let kind = match (outcome, coded.key || self.codec.kind() == Kind::JpegEncoder) {
                (DoneState::Done, true) => FrameFlags::KEYFRAME,
                (DoneState::Done, false) => FrameFlags::PFRAME,
                _ => FrameFlags::empty(),
            };
            let last = self.is_drained();
            let sequence = self.capture.next_sequence();
            let completion = meta
                .with_kind(kind)
                .completion(outcome, payloads, sequence, last);
            self.output.release(coded.tag, outcome, progress);
            progress.finish(Flow::Capture, token, completion);
            if last {
                self.stop(progress);
            }
        }
    }

    /// A packet did not reach its buffer: pictures that need it are of no use, so that the next
    /// one needs none.
    fn lose(&mut self, trouble: Trouble) {
        self.controls.force_key = true;
        let counter = match trouble {
            Trouble::Fault => &mut self.statistics.bus_faults,
            _ => &mut self.statistics.dropped,
        };
        *counter = counter.saturating_add(1);
    }

    fn write(
        &self,
        token: &Active<C>,
        packet: &[u8],
        bus: &mut dyn Bus<C>,
    ) -> Result<[u64; MAX_PLANES], Trouble> {
        let plane = token.plane(0).map_err(|_| Trouble::Stale)?;
        let plane = plane.ok_or(Trouble::TooSmall)?;
        let bytes = packet.len() as u64;
        if bytes > plane.length_bytes {
            return Err(Trouble::TooSmall);
        }
        bus.write(&plane.cookie, 0, packet)
            .map_err(|_| Trouble::Fault)?;
        let mut payloads = [0; MAX_PLANES];
        if let Some(payload) = payloads.first_mut() {
            *payload = bytes;
        }
        Ok(payloads)
    }

    /// Whether everything of a drain has come back.
    fn is_drained(&self) -> bool {
        self.drain == Drain::Feeding(0) && self.frames.len() == 0 && self.coded.is_empty()
    }

    /// The last buffer is given back.
    fn stop(&mut self, progress: &mut Progress<C>) {
        let began_again = self.output.starts != self.drained_start;
        self.drain = if began_again {
            Drain::Idle
        } else {
            Drain::Stopped
        };
        progress.events.push(DriverEvent::Eos);
    }
}
