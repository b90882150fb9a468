//! Faults of frames, which the host plans. They occur between the device and the program.

use crate::lock::lock;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use vb3_queue::{Active, Completion, DriverError, MAX_PLANES};
use vb3_v4l2::{Bus, Finished, Flow, FrameFlags};

/// Maximum number of bytes that [`FrameFault::Corrupt`] changes in a frame.
pub const MAX_CORRUPT: u64 = 4096;
/// Maximum number of [`FaultHit`]s that are kept until the host takes them.
const MAX_HITS: usize = 4096;

/// A fault of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFault {
    /// The frame is delivered late. Later frames wait for it, and so does the OUTPUT buffer of this frame.
    Late {
        /// Delay in nanoseconds.
        by_ns: u64,
    },
    /// The next buffer repeats the frame, with the same number and time, in place of the next frame.
    ///
    /// On a memory-to-memory device, only the content repeats. Number, timestamp and other data from the
    /// OUTPUT buffer are those of the frame that is replaced.
    Twice,
    /// The second half of each plane is from the previous frame, or zero if there is none.
    Torn,
    /// The frame is returned with `V4L2_BUF_FLAG_ERROR`.
    Flagged,
    /// Every plane of the frame reports at most this many bytes (`bytesused`).
    Short {
        /// Maximum number of bytes.
        len: u64,
    },
    /// The frame is lost, and its number is missing in the sequence.
    Lost,
    /// Bytes spread over the frame's first plane are inverted.
    Corrupt {
        /// Number of inverted bytes, at most [`MAX_CORRUPT`].
        len: u64,
    },
}

/// A fault, and the frames that have it.
/// Frames are numbered from 0 over the device's lifetime. Frames without a buffer have no number; frames that
/// the program did not get have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameFaults {
    /// The host's number for the planned fault.
    pub step: u32,
    /// The fault.
    pub fault: FrameFault,
    /// Number of the first frame that has the fault.
    pub first: u64,
    /// Distance from one frame with the fault to the next; not 0.
    pub every: u64,
    /// Number of frames that have the fault.
    pub count: u64,
}

impl FrameFaults {
    fn strikes(&self, frame: u64) -> bool {
        let since = frame.checked_sub(self.first);
        since.is_some_and(|since| {
            since.is_multiple_of(self.every.max(1)) && since / self.every.max(1) < self.count
        })
    }

    fn is_over(&self, frame: u64) -> bool {
        let frames = self.count.saturating_mul(self.every.max(1));
        frame >= self.first.saturating_add(frames)
    }
}

/// A fault that a frame has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultHit {
    /// [`FrameFaults::step`].
    pub step: u32,
    /// Number of the frame.
    pub frame: u64,
}

/// The planned faults of a device's CAPTURE frames. All open files of the device share them.
#[derive(Clone, Debug, Default)]
pub struct FaultSchedule(Arc<Mutex<Scheduled>>);

#[derive(Debug, Default)]
struct Scheduled {
    faults: Vec<FrameFaults>,
    frames: u64,
    hits: Vec<FaultHit>,
}

impl FaultSchedule {
    /// Adds a planned fault.
    pub fn add(&self, faults: FrameFaults) {
        lock(&self.0).faults.push(faults);
    }

    /// Returns the number of finished CAPTURE frames, including those that the program did not get.
    #[must_use]
    pub fn frames(&self) -> u64 {
        lock(&self.0).frames
    }

    /// Returns the faults that have occurred since the last call, at most 4096.
    #[must_use]
    pub fn take_hits(&self) -> Vec<FaultHit> {
        std::mem::take(&mut lock(&self.0).hits)
    }

    /// Counts a frame. Returns its number, its faults, and whether the next frame is torn.
    fn count(&self) -> (u64, Vec<FrameFaults>, bool) {
        let mut scheduled = lock(&self.0);
        let number = scheduled.frames;
        scheduled.frames = number.saturating_add(1);
        scheduled.faults.retain(|fault| !fault.is_over(number));
        let faults = scheduled.faults.iter();
        let due = faults.clone().filter(|fault| fault.strikes(number));
        let mut next = faults.filter(|fault| fault.strikes(number.saturating_add(1)));
        let tears_next = next.any(|fault| fault.fault == FrameFault::Torn);
        (number, due.copied().collect(), tears_next)
    }

    fn hit(&self, step: u32, frame: u64) {
        let hits = &mut lock(&self.0).hits;
        if hits.len() < MAX_HITS {
            hits.push(FaultHit { step, frame });
        }
    }
}

type Bytes = [Vec<u8>; MAX_PLANES];

/// Applies a schedule's faults to the frames of one open file.
pub(crate) struct FaultPlan<C> {
    schedule: FaultSchedule,
    /// Whether frames are made from OUTPUT buffers, and have their timestamps.
    is_m2m: bool,
    /// Late frames and the frames that wait behind them, each with its delivery time.
    delayed: VecDeque<(u64, Finished<C>)>,
    /// The bytes of the previous frame, if the next frame is torn.
    before: Option<Bytes>,
    /// The frame that the next buffer repeats.
    again: Option<(Bytes, Completion)>,
    /// Whether the source has a signal. Without a signal, frames are lost.
    pub(crate) has_signal: bool,
}

impl<C> FaultPlan<C> {
    pub(crate) const fn new(schedule: FaultSchedule, is_m2m: bool) -> Self {
        Self {
            schedule,
            is_m2m,
            delayed: VecDeque::new(),
            before: None,
            again: None,
            has_signal: true,
        }
    }

    /// Returns the delivery time of the first late frame.
    pub(crate) fn next_tick(&self) -> Option<u64> {
        self.delayed.front().map(|(due_ns, _)| *due_ns)
    }

    /// Drops late frames of a queue that was stopped.
    pub(crate) fn stop(&mut self, flow: Flow) {
        self.delayed.retain(|(_, frame)| frame.flow != flow);
        if flow == Flow::Capture {
            self.before = None;
            self.again = None;
        }
    }

    /// Applies the faults to frames that the device has finished. Puts the buffers of lost frames into
    /// `back`.
    ///
    /// Faults do not change OUTPUT buffers. The OUTPUT buffer of a late frame is equally late, because a
    /// driver finishes both when the job ends.
    pub(crate) fn apply(
        &mut self,
        now_ns: u64,
        bus: &mut dyn Bus<C>,
        finished: &mut Vec<Finished<C>>,
        back: &mut Vec<Active<C>>,
    ) {
        let mut sources = Vec::new();
        for frame in std::mem::take(finished) {
            if frame.flow == Flow::Output {
                sources.push(frame);
                continue;
            }
            let (due_ns, frame) = self.frame(now_ns, bus, frame, back);
            for frame in sources.drain(..).chain(frame) {
                self.hold(due_ns, frame);
            }
        }
        for frame in sources {
            self.hold(now_ns, frame);
        }
        while let Some((_, frame)) = self.delayed.pop_front_if(|(due_ns, _)| *due_ns <= now_ns) {
            finished.push(frame);
        }
    }

    /// Holds a frame until its time. Frames stay in order: none overtakes a late one.
    fn hold(&mut self, due_ns: u64, frame: Finished<C>) {
        let last = self.delayed.back();
        let due_ns = last.map_or(due_ns, |(last, _)| due_ns.max(*last));
        self.delayed.push_back((due_ns, frame));
    }

    /// Applies the planned faults to a frame. Returns the delivery time, and the frame unless it is lost.
    fn frame(
        &mut self,
        now_ns: u64,
        bus: &mut dyn Bus<C>,
        mut frame: Finished<C>,
        back: &mut Vec<Active<C>>,
    ) -> (u64, Option<Finished<C>>) {
        let ends = frame.completion.last;
        if self.is_m2m && ends && is_empty(&frame.completion) {
            // This buffer ends a drain or a resolution and has no picture.
            return (now_ns, Some(frame));
        }
        let (number, faults, tears_next) = self.schedule.count();
        let before = self.before.take();
        if !self.has_signal && !ends {
            back.push(frame.token);
            return (now_ns, None);
        }
        if let Some((bytes, earlier)) = self.again.take() {
            write(bus, &frame.token, &bytes);
            frame.completion = match self.is_m2m {
                true => same_content(&frame, &earlier),
                false => Completion {
                    last: ends,
                    ..earlier
                },
            };
        }
        if tears_next {
            self.before = Some(read(bus, &frame));
        }
        let mut late_ns = now_ns;
        let mut is_lost = false;
        for fault in faults {
            let payloads = frame.completion.payloads.get_or_insert([0; MAX_PLANES]);
            match fault.fault {
                FrameFault::Late { by_ns } => late_ns = late_ns.saturating_add(by_ns),
                FrameFault::Twice => self.again = Some((read(bus, &frame), frame.completion)),
                FrameFault::Torn => tear(bus, &frame, before.as_ref()),
                FrameFault::Flagged => frame.completion.outcome = Err(DriverError::EIO),
                FrameFault::Short { len } => {
                    payloads.iter_mut().for_each(|used| *used = len.min(*used));
                }
                // A lost frame must not hide the end of a clip.
                FrameFault::Lost if ends => continue,
                FrameFault::Lost => is_lost = true,
                FrameFault::Corrupt { len } => corrupt(bus, &frame, number, len),
            }
            self.schedule.hit(fault.step, number);
        }
        if is_lost {
            back.push(frame.token);
            return (now_ns, None);
        }
        (late_ns, Some(frame))
    }
}

fn is_empty(completion: &Completion) -> bool {
    let payloads = completion.payloads.unwrap_or_default();
    payloads.iter().all(|used| *used == 0)
}

/// Returns the completion of a frame that gets an earlier frame's content.
/// It has the earlier frame's sizes and kind, and the later frame's data from the OUTPUT buffer.
fn same_content<C>(frame: &Finished<C>, earlier: &Completion) -> Completion {
    let own = frame.completion;
    let kinds = FrameFlags::all().bits();
    let kind = earlier.frame_flags.unwrap_or_default() & kinds;
    let mut payloads = earlier.payloads.unwrap_or_default();
    let planes = frame.token.planes().into_iter().flatten();
    for (used, plane) in payloads.iter_mut().zip(planes) {
        *used = plane.length_bytes.min(*used);
    }
    Completion {
        outcome: earlier.outcome,
        payloads: Some(payloads),
        frame_flags: own.frame_flags.map(|flags| flags & !kinds | kind),
        ..own
    }
}

/// Returns a frame's planes with the bytes used in each.
fn planes<C>(frame: &Finished<C>) -> impl Iterator<Item = (&C, u64)> {
    let used = frame.completion.payloads.unwrap_or([0; MAX_PLANES]);
    let planes = frame.token.planes().into_iter().flatten();
    planes
        .zip(used)
        .map(|(plane, used)| (&plane.cookie, used.min(plane.length_bytes)))
}

/// Returns the bytes that the device wrote to a frame. Bytes that are not readable are zero.
fn read<C>(bus: &mut dyn Bus<C>, frame: &Finished<C>) -> Bytes {
    let mut bytes = Bytes::default();
    for (bytes, (cookie, used)) in bytes.iter_mut().zip(planes(frame)) {
        bytes.resize(usize::try_from(used).unwrap_or(0), 0);
        let _ = bus.inspect(cookie, 0, bytes);
    }
    bytes
}

/// Writes bytes to a frame as far as they fit. The bus counts an access that faults.
fn write<C>(bus: &mut dyn Bus<C>, token: &Active<C>, bytes: &Bytes) {
    for (plane, bytes) in token.planes().into_iter().flatten().zip(bytes) {
        let room = usize::try_from(plane.length_bytes).unwrap_or(0);
        let fits = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        let _ = bus.write(&plane.cookie, 0, fits);
    }
}

fn tear<C>(bus: &mut dyn Bus<C>, frame: &Finished<C>, before: Option<&Bytes>) {
    for (plane, (cookie, used)) in planes(frame).enumerate() {
        let used = usize::try_from(used).unwrap_or(0);
        let mut old = before.map_or_else(Vec::new, |bytes| bytes[plane].clone());
        old.resize(used, 0);
        let second = old.get(used / 2..).unwrap_or_default();
        let _ = bus.write(cookie, (used / 2) as u64, second);
    }
}

fn corrupt<C>(bus: &mut dyn Bus<C>, frame: &Finished<C>, number: u64, len: u64) {
    let Some((cookie, used)) = planes(frame).next().filter(|(_, used)| *used > 0) else {
        return;
    };
    // Each inverted byte is in a separate part of the plane, so that no byte is inverted twice.
    let count = len.clamp(1, MAX_CORRUPT).min(used);
    let part = used / count;
    for at in 0..count {
        let offset = at * part + scatter(number ^ at << 32) % part;
        let mut byte = [0];
        let seen = bus.inspect(cookie, offset, &mut byte);
        let _ = seen.and_then(|()| bus.write(cookie, offset, &byte.map(|byte| !byte)));
    }
}

/// Returns a pseudo-random number, which depends only on the seed.
const fn scatter(seed: u64) -> u64 {
    // Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
    let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests;
