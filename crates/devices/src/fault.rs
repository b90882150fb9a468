//! What happens to frames on their way from a device to the program, by a plan of the host.

use std::collections::VecDeque;
use vb3_queue::{Active, DoneState, MAX_PLANES};
use vb3_v4l2::{Bus, Finished, Flow};

/// Most bytes that [`FrameFault::Corrupt`] changes in a frame.
pub const MAX_CORRUPT: u64 = 4096;
/// Most faults kept until the host asks for them.
const MAX_HITS: usize = 4096;

/// What happens to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFault {
    /// It can be dequeued later by this time; frames behind it wait for it.
    Late {
        /// Nanoseconds.
        by_ns: u64,
    },
    /// It comes again in the next buffer, with its number and time, in place of the next frame.
    Twice,
    /// The second half of each plane is that of the frame before it; zeros without one.
    Torn,
    /// It comes with `V4L2_BUF_FLAG_ERROR`.
    Flagged,
    /// No plane says that it has more bytes than these (`bytesused`).
    Short {
        /// Bytes.
        len: u64,
    },
    /// It does not come: its number is missing in the sequence.
    Lost,
    /// Bytes all over its first plane are inverted.
    Corrupt {
        /// How many, at most [`MAX_CORRUPT`].
        len: u64,
    },
}

/// A fault, and the frames that have it. Frames are counted from 0 as long as the device exists,
/// whether they reached the program or not; those without a buffer are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameFaults {
    /// The host's name for it.
    pub step: u32,
    /// What happens.
    pub fault: FrameFault,
    /// The first frame that has it.
    pub first: u64,
    /// From one such frame to the next; not 0.
    pub every: u64,
    /// How many frames have it.
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

/// A fault that a frame had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultHit {
    /// [`FrameFaults::step`].
    pub step: u32,
    /// The frame.
    pub frame: u64,
}

/// The bytes of a frame, by plane.
type Bytes = [Vec<u8>; MAX_PLANES];

/// A plan of faults at work.
#[derive(Debug)]
pub(crate) struct FaultPlan<C> {
    faults: Vec<FrameFaults>,
    /// Frames so far.
    frames: u64,
    hits: Vec<FaultHit>,
    /// Frames that are late, and those behind them, with the time that each is due at.
    held: VecDeque<(u64, Finished<C>)>,
    /// What the frame before looked like, where the next one is to be torn.
    before: Option<Bytes>,
    /// What is to come again.
    again: Option<(Bytes, vb3_queue::Completion)>,
    has_signal: bool,
}

impl<C> Default for FaultPlan<C> {
    fn default() -> Self {
        Self {
            faults: Vec::new(),
            frames: 0,
            hits: Vec::new(),
            held: VecDeque::new(),
            before: None,
            again: None,
            has_signal: true,
        }
    }
}

impl<C> FaultPlan<C> {
    /// Adds a fault for frames by their numbers.
    pub(crate) fn add(&mut self, faults: FrameFaults) {
        self.faults.push(faults);
    }

    /// Frames so far.
    pub(crate) const fn frames(&self) -> u64 {
        self.frames
    }

    /// The faults that frames had since the last call.
    pub(crate) fn take_hits(&mut self) -> Vec<FaultHit> {
        std::mem::take(&mut self.hits)
    }

    /// Whether the source shows anything. Frames are lost while it does not.
    pub(crate) const fn has_signal(&self) -> bool {
        self.has_signal
    }

    pub(crate) fn set_signal(&mut self, has_signal: bool) {
        self.has_signal = has_signal;
    }

    /// When a frame that is late can be dequeued.
    pub(crate) fn next_tick(&self) -> Option<u64> {
        self.held.front().map(|(due_ns, _)| *due_ns)
    }

    /// The stream has ended: frames that are late will not come.
    pub(crate) fn stop(&mut self) {
        self.held.clear();
        self.before = None;
        self.again = None;
    }

    /// Lets the plan have its way with frames that the device has finished. Buffers of frames that
    /// are lost are in `back`.
    pub(crate) fn apply(
        &mut self,
        now_ns: u64,
        bus: &mut dyn Bus<C>,
        finished: &mut Vec<Finished<C>>,
        back: &mut Vec<Active<C>>,
    ) {
        for frame in std::mem::take(finished) {
            if frame.flow != Flow::Capture {
                finished.push(frame);
                continue;
            }
            self.frame(now_ns, bus, frame, back);
        }
        while let Some((_, frame)) = self.held.pop_front_if(|(due_ns, _)| *due_ns <= now_ns) {
            finished.push(frame);
        }
    }

    fn frame(
        &mut self,
        now_ns: u64,
        bus: &mut dyn Bus<C>,
        mut frame: Finished<C>,
        back: &mut Vec<Active<C>>,
    ) {
        let number = self.frames;
        self.frames = number.saturating_add(1);
        let before = self.before.take();
        let ends = frame.completion.last;
        if !self.has_signal && !ends {
            back.push(frame.token);
            return;
        }
        if let Some((bytes, completion)) = self.again.take() {
            write(bus, &frame.token, &bytes);
            frame.completion = vb3_queue::Completion {
                last: ends,
                ..completion
            };
        }
        let (faults, over): (Vec<_>, Vec<_>) = std::mem::take(&mut self.faults)
            .into_iter()
            .partition(|fault| !fault.is_over(number));
        drop(over);
        let due = |number| {
            let faults = faults.iter();
            faults.filter(move |fault: &&FrameFaults| fault.strikes(number))
        };
        if due(number.saturating_add(1)).any(|fault| fault.fault == FrameFault::Torn) {
            self.before = Some(read(bus, &frame));
        }
        let mut late_ns = now_ns;
        let mut is_lost = false;
        for fault in due(number) {
            let payloads = frame.completion.payloads.get_or_insert([0; MAX_PLANES]);
            match fault.fault {
                FrameFault::Late { by_ns } => late_ns = late_ns.saturating_add(by_ns),
                FrameFault::Twice => self.again = Some((read(bus, &frame), frame.completion)),
                FrameFault::Torn => tear(bus, &frame, before.as_ref()),
                FrameFault::Flagged => frame.completion.outcome = DoneState::Error,
                FrameFault::Short { len } => {
                    payloads.iter_mut().for_each(|used| *used = len.min(*used));
                }
                // The end of a clip must be told.
                FrameFault::Lost if ends => continue,
                FrameFault::Lost => is_lost = true,
                FrameFault::Corrupt { len } => corrupt(bus, &frame, number, len),
            }
            if self.hits.len() < MAX_HITS {
                let step = fault.step;
                self.hits.push(FaultHit {
                    step,
                    frame: number,
                });
            }
        }
        self.faults = faults;
        if is_lost {
            back.push(frame.token);
            return;
        }
        // In order: nothing overtakes a frame that is late.
        let due_ns = self
            .held
            .back()
            .map_or(late_ns, |(due, _)| late_ns.max(*due));
        self.held.push_back((due_ns, frame));
    }
}

/// The planes of a frame with the bytes used in each.
fn planes<C>(frame: &Finished<C>) -> impl Iterator<Item = (&C, u64)> {
    let used = frame.completion.payloads.unwrap_or([0; MAX_PLANES]);
    let planes = frame.token.planes().into_iter().flatten();
    planes
        .zip(used)
        .map(|(plane, used)| (&plane.cookie, used.min(plane.length_bytes)))
}

/// What the device wrote, as far as it can be seen; zeros elsewhere.
fn read<C>(bus: &mut dyn Bus<C>, frame: &Finished<C>) -> Bytes {
    let mut bytes = Bytes::default();
    for (bytes, (cookie, used)) in bytes.iter_mut().zip(planes(frame)) {
        bytes.resize(usize::try_from(used).unwrap_or(0), 0);
        let _ = bus.inspect(cookie, 0, bytes);
    }
    bytes
}

/// Writes a frame as far as it fits. An access that faults has been counted by the bus.
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
    // One byte of each part, so that none is inverted back.
    let count = len.clamp(1, MAX_CORRUPT).min(used);
    let part = used / count;
    for at in 0..count {
        let offset = at * part + scatter(number ^ at << 32) % part;
        let mut byte = [0];
        let seen = bus.inspect(cookie, offset, &mut byte);
        let _ = seen.and_then(|()| bus.write(cookie, offset, &byte.map(|byte| !byte)));
    }
}

/// A number that looks random and is the same for the same seed.
const fn scatter(seed: u64) -> u64 {
    // Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
    let mixed = (seed ^ seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_the_frames_that_are_named() {
        let faults = FrameFaults {
            step: 0,
            fault: FrameFault::Lost,
            first: 5,
            every: 3,
            count: 2,
        };
        let struck: Vec<u64> = (0..20).filter(|&frame| faults.strikes(frame)).collect();
        assert_eq!(struck, [5, 8]);
        assert!(!faults.is_over(8) && faults.is_over(11));
    }
}
