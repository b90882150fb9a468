//! Records when devices complete frames, for the report.

use crate::memory::RunMemory;
use vb3_devices::Device;
use vb3_plane::Cookie;
use vb3_queue::Memory as MemoryModel;
use vb3_v4l2::{Flow, FlowProgress, Format, VideoDevice, VideoDriver as _};

/// The type of all devices of a run.
pub(super) type Video = VideoDevice<RunMemory, Device<Cookie>>;

/// Records when a device completes frames, per direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch([StreamWatch; 2]);

impl Watch {
    /// Updates the records after a tick or call.
    pub(super) fn look(&mut self, video: &mut Video, now_ns: u64) {
        for &flow in video.role().flows() {
            self.0[flow.index()].look(video, flow, now_ns);
        }
    }

    /// Returns how many frames the device has completed, of both directions.
    pub(super) const fn done(&self) -> u64 {
        self.0[0].done + self.0[1].done
    }

    pub(super) const fn of(&self, flow: Flow) -> &StreamWatch {
        &self.0[flow.index()]
    }
}

/// Records the times and the memory of one direction's frames.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StreamWatch {
    pub(super) memory: Option<MemoryModel>,
    /// The format of the latest stream's frames.
    pub(super) format: Option<Format>,
    done: u64,
    /// When the stream's first frame was completed, and the number of frames completed until then.
    first: Option<(u64, u64)>,
    /// Nanoseconds from the first to the last frame of the longest stream.
    pub(super) longest_ns: u64,
    /// Number of frames that were completed in this time.
    pub(super) longest_frames: u64,
    /// The driver's count of dropped frames when the latest frame completed, or when its stream ended.
    dropped: u64,
    /// Number of frames dropped before a completed frame. Frames dropped after a stream's last completed
    /// frame do not count.
    pub(super) lost: u64,
}

impl StreamWatch {
    /// Updates the record of one direction after a tick or call.
    fn look(&mut self, video: &mut Video, flow: Flow, now_ns: u64) {
        let FlowProgress {
            done,
            streaming,
            memory,
        } = video.progress(flow);
        self.memory = memory;
        let dropped = |video: &Video| video.statistics(flow).driver.dropped;
        if streaming == 0 && self.first.take().is_some() {
            self.dropped = dropped(video);
        }
        if done != self.done {
            self.done = done;
            let before = std::mem::replace(&mut self.dropped, dropped(video));
            self.lost = (self.lost).saturating_add(self.dropped.saturating_sub(before));
            let (first_ns, first) = *self.first.get_or_insert_with(|| {
                let contexts = video.contexts_mut();
                let formats = contexts.map(|context| context.driver().format(flow));
                self.format = formats.last();
                (now_ns, done)
            });
            let span_ns = now_ns.saturating_sub(first_ns);
            if span_ns >= self.longest_ns {
                (self.longest_ns, self.longest_frames) = (span_ns, done.saturating_sub(first));
            }
        }
    }
}
