//! `/sys/kernel/debug/sync/sw_sync`: timelines that programs make to test waits for fences.
//!
//! Source: Linux 6.12 drivers/dma-buf/sw_sync.c; differs: `SW_SYNC_GET_DEADLINE` returns no deadline.

use super::{Answer, FileCall, Kind};
use crate::Run;
use crate::refusals::Refused;
use vb3_dmabuf::fence::{Owner, Timeline};
use vb3_dmabuf_files::{NAME_BYTES, TimelineRequest};
use vb3_frontend::{Errno, FileId, Node, NodeId, NodeKind, NumberAt, Origin, Step};
use vb3_machine::Device;

const PATH: &str = "/sys/kernel/debug/sync/sw_sync";

/// A timeline, and the program that made it.
#[derive(Debug)]
pub(super) struct OpenTimeline {
    timeline: Timeline<Owner<Device>>,
    pub(super) name: String,
}

/// The kind of `sw_sync`. Its open timelines are in [`OpenFiles::sync_files`](super::OpenFiles), since sync files
/// name them.
pub(super) struct Timelines;

impl Kind for Timelines {
    fn name(&self) -> &'static str {
        "sw_sync"
    }

    fn nodes(&self, _: &Run) -> Vec<Node> {
        vec![Node {
            kind: NodeKind::File,
            ..Node::video(NodeId(0), PATH, 0)
        }]
    }

    fn open(
        &mut self,
        run: &mut Run,
        _: usize,
        file: FileId,
        origin: Origin,
    ) -> Result<(), Refused> {
        let owner = Owner::Program(file.0);
        let open = OpenTimeline {
            timeline: (run.memory)
                .buffers()
                .with_fences(|fences, _| fences.timeline(owner)),
            name: match origin.client.label {
                label if label.is_empty() => origin.client.owner.to_string(),
                label => label.to_string(),
            },
        };
        run.files.sync_files.timelines.insert(file, open);
        Ok(())
    }

    fn call(&mut self, run: &mut Run, call: FileCall<'_>) -> Result<Answer, Refused> {
        let ioctl = call.ioctl()?;
        run.set_now();
        match TimelineRequest::read(ioctl)? {
            TimelineRequest::CreateFence { value, number } => {
                run.create_fence(call.file, value, (ioctl.caller, number))?;
            }
            TimelineRequest::Increment(by) => run.increment(call.file, by)?,
            TimelineRequest::Deadline => return Err(Errno::ENOENT.into()),
        }
        Ok(Answer::Done(0))
    }

    /// Fails the timeline's pending fences.
    fn release(&mut self, run: &mut Run, file: FileId) {
        run.set_now();
        if let Some(open) = run.files.sync_files.timelines.remove(&file) {
            let ending = Err(Errno::ENOENT.0);
            run.memory
                .buffers()
                .with_fences(|fences, now_ns| fences.close(open.timeline, ending, now_ns));
        }
    }
}

impl Run {
    /// Answers `SW_SYNC_IOC_CREATE_FENCE`.
    fn create_fence(
        &mut self,
        file: FileId,
        value: u32,
        place: (&Step<'_>, NumberAt),
    ) -> Result<(), Errno> {
        let open = self.files.sync_files.timelines.get_mut(&file);
        let open = open.ok_or(Errno::ENOTTY)?;
        let made = self.memory.buffers().with_fences(|fences, now_ns| {
            fences.sync_file_at(&mut open.timeline, value.into(), now_ns)
        });
        let made = made.map_err(|e| Errno(e.errno()))?;
        self.install_sync_file(made, [0; NAME_BYTES], place);
        Ok(())
    }

    /// Answers `SW_SYNC_IOC_INC`.
    fn increment(&mut self, file: FileId, by: u32) -> Result<(), Errno> {
        let mut left = by;
        let open = self.files.sync_files.timelines.get_mut(&file);
        let open = open.ok_or(Errno::ENOTTY)?;
        let timeline = &mut open.timeline;
        // Increments in steps: a step of over half the value range would be taken for a step backwards.
        while left > 0 {
            let step = left.min(i32::MAX.unsigned_abs());
            left -= step;
            // CAST: values have 32 bits and wrap around.
            let to = (timeline.value() as u32).wrapping_add(step);
            self.memory.buffers().with_fences(|fences, now_ns| {
                fences.advance(timeline, to.into(), Ok(()), now_ns);
            });
        }
        Ok(())
    }
}
