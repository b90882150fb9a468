//! Time line of each buffer, built from the traced calls.

use crate::event::{Answer, Event};
use std::collections::HashMap;
use std::time::Duration;
use vb3_v4l2::decode::{Fields, Value};

/// Maximum number of recorded calls; later ones are only counted.
const MAX_CALLS: usize = 200_000;
/// Maximum number of recorded plug and unplug events.
const MAX_PLUGS: usize = 1000;
/// Maximum number of queues.
const MAX_STREAMS: usize = 64;

/// A period in which the device owns a buffer, from QBUF to DQBUF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// Index of the buffer.
    pub index: u64,
    /// Time of QBUF, from the start of the run.
    pub from: Duration,
    /// Time of DQBUF, or of the end of streaming.
    pub to: Duration,
    /// Whether DQBUF returned the buffer.
    pub is_done: bool,
}

/// One queue of a device. On a memory-to-memory device, each open file has its own queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// `/dev/videoN`.
    pub device: String,
    /// `VIDEO_CAPTURE`, …; `read` or `write` for calls without buffers.
    pub queue: String,
    file: u64,
    /// Stays of buffers, in the order of their ends.
    pub stays: Vec<Stay>,
    /// Times at which frames reached or left the program, by DQBUF, read() or write().
    pub frames: Vec<Duration>,
    /// Number of buffers that the device owns after each change, with the time of the change.
    pub depth: Vec<(Duration, usize)>,
    queued: HashMap<u64, Duration>,
}

impl Stream {
    fn begin(&mut self, index: u64, at: Duration) {
        self.queued.insert(index, at);
        self.depth.push((at, self.queued.len()));
    }

    fn end(&mut self, index: u64, at: Duration, is_done: bool) {
        if let Some(from) = self.queued.remove(&index) {
            self.depth.push((at, self.queued.len()));
            self.stays.push(Stay {
                index,
                from,
                to: at,
                is_done,
            });
        }
    }

    fn end_all(&mut self, at: Duration) {
        let mut queued: Vec<u64> = self.queued.keys().copied().collect();
        queued.sort_unstable();
        for index in queued {
            self.end(index, at, false);
        }
    }
}

/// A device that was plugged in or unplugged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plug {
    /// `/dev/videoN`.
    pub device: String,
    /// Time from the run's start until programs could see the change.
    pub at: Duration,
    /// True if the device was plugged in, false if it was unplugged.
    pub comes: bool,
}

/// Buffers, frames and plug events of a run.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// Queues, in the order of their first use.
    pub streams: Vec<Stream>,
    /// Plug and unplug events, in order of time.
    pub plugs: Vec<Plug>,
    /// Number of calls beyond the limits.
    pub left_out: u64,
    kept: usize,
}

impl Timeline {
    /// Records a call.
    pub(crate) fn take(&mut self, event: &Event) {
        let Answer::Value(value) = event.outcome else {
            return;
        };
        let answered = event.at + event.took;
        let index = |fields: &Fields| match find(fields, "index") {
            Some(Value::Unsigned(index)) => Some(*index),
            Some(Value::Number(index)) => u64::try_from(*index).ok(),
            _ => None,
        };
        let queue = match find(&event.arguments, "type") {
            Some(Value::Word(word)) => word.as_str(),
            _ => "",
        };
        match event.call.as_str() {
            "VIDIOC_QBUF" => {
                if let Some(index) = index(&event.arguments)
                    && let Some(stream) = self.stream(event, queue)
                {
                    stream.begin(index, answered);
                }
            }
            "VIDIOC_DQBUF" => {
                if let Some(index) = index(&event.results)
                    && let Some(stream) = self.stream(event, queue)
                {
                    stream.end(index, answered, true);
                    stream.frames.push(answered);
                }
            }
            "read" | "write" if value > 0 => {
                if let Some(stream) = self.stream(event, &event.call) {
                    stream.frames.push(answered);
                }
            }
            "VIDIOC_STREAMOFF" | "VIDIOC_REQBUFS" => {
                self.end_where(answered, |s| s.queue == queue && is_of(s, event));
            }
            "close" => self.end_where(answered, |s| is_of(s, event)),
            _ => {}
        }
    }

    /// Records that a device was plugged in or unplugged.
    pub(crate) fn plug(&mut self, plug: Plug) {
        if self.plugs.len() < MAX_PLUGS {
            self.plugs.push(plug);
        }
    }

    /// Ends all remaining stays, at the end of the run.
    pub fn finish(&mut self, at: Duration) {
        self.end_where(at, |_| true);
    }

    fn end_where(&mut self, at: Duration, which: impl Fn(&Stream) -> bool) {
        for stream in self.streams.iter_mut().filter(|stream| which(stream)) {
            stream.end_all(at);
        }
    }

    /// Returns the queue of a call. If a limit is reached, counts the call and returns `None`.
    fn stream(&mut self, event: &Event, queue: &str) -> Option<&mut Stream> {
        let known = self
            .streams
            .iter()
            .position(|s| s.queue == queue && is_of(s, event));
        let at = match known {
            Some(at) if self.kept < MAX_CALLS => at,
            None if self.kept < MAX_CALLS && self.streams.len() < MAX_STREAMS => {
                self.streams.push(Stream {
                    device: event.device.clone(),
                    queue: queue.to_owned(),
                    file: event.file.unwrap_or(0),
                    ..Stream::default()
                });
                self.streams.len() - 1
            }
            _ => {
                self.left_out += 1;
                return None;
            }
        };
        self.kept += 1;
        self.streams.get_mut(at)
    }
}

fn is_of(stream: &Stream, event: &Event) -> bool {
    stream.device == event.device && Some(stream.file) == event.file
}

fn find<'a>(fields: &'a Fields, name: &str) -> Option<&'a Value> {
    let found = fields.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, at: u64, index: u64) -> Event {
        let kind = ("type", Value::Word("VIDEO_CAPTURE".into()));
        let index = ("index", Value::Unsigned(index));
        Event {
            at: Duration::from_millis(at),
            took: Duration::from_millis(1),
            thread: None,
            device: "/dev/video0".into(),
            file: Some(1),
            call: name.into(),
            arguments: vec![kind, index.clone()],
            outcome: Answer::Value(0),
            results: vec![index],
        }
    }

    #[test]
    fn stays_end_by_dqbuf_or_with_the_stream() {
        let mut line = Timeline::default();
        for (name, at, index) in [
            ("VIDIOC_QBUF", 0, 0),
            ("VIDIOC_QBUF", 1, 1),
            ("VIDIOC_DQBUF", 9, 0),
            ("VIDIOC_QBUF", 11, 0),
            ("VIDIOC_STREAMOFF", 19, 0),
        ] {
            line.take(&call(name, at, index));
        }
        let mut refused = call("VIDIOC_QBUF", 30, 0);
        refused.outcome = Answer::Errno(22);
        line.take(&refused);
        line.finish(Duration::from_millis(50));
        let ms = Duration::from_millis;
        let stay = |index, from, to, is_done| Stay {
            index,
            from: ms(from),
            to: ms(to),
            is_done,
        };
        let [stream] = line.streams.as_slice() else {
            panic!("{line:?}")
        };
        let stays = [
            stay(0, 1, 10, true),
            stay(0, 12, 20, false),
            stay(1, 2, 20, false),
        ];
        assert_eq!(stream.stays, stays);
        assert_eq!(stream.frames, [ms(10)]);
        assert_eq!(depth(stream), [1, 2, 1, 2, 1, 0]);
    }

    fn depth(stream: &Stream) -> Vec<usize> {
        stream.depth.iter().map(|(_, depth)| *depth).collect()
    }

    /// On the virtual clock, a device may return a buffer at the time it got it.
    #[test]
    fn buffers_returned_at_once_are_counted_in_order() {
        let mut line = Timeline::default();
        for round in 0..60 {
            line.take(&call("VIDIOC_QBUF", 5, round % 4));
            line.take(&call("VIDIOC_DQBUF", 5, round % 4));
        }
        assert_eq!(depth(&line.streams[0]), [1, 0].repeat(60));
    }

    #[test]
    fn frames_without_buffers_count_too() {
        let mut line = Timeline::default();
        let mut read = call("read", 5, 0);
        read.outcome = Answer::Value(614_400);
        line.take(&read);
        read.outcome = Answer::Value(0);
        line.take(&read);
        assert_eq!(line.streams[0].frames, [Duration::from_millis(6)]);
    }
}
