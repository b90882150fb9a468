//! `/sys/kernel/debug/sync/sw_sync`: timelines that programs make to test waits for fences.
//!
//! Source: Linux 6.12 drivers/dma-buf/sw_sync.c; differs: a timeline is named by its process's
//! number instead of the process's name; `SW_SYNC_GET_DEADLINE` returns no deadline.

use super::{Answer, FileCall, Kind};
use crate::Run;
use crate::program::{Ioctl, word};
use crate::refusals::Refused;
use vb3_dmabuf::fence::{FenceOutcome, Owner, Timeline};
use vb3_frontend::{Errno, FileId, Node, NodeId, NodeKind, Origin};
use vb3_machine::Device;

const PATH: &str = "/sys/kernel/debug/sync/sw_sync";

const CREATE_FENCE: u32 = 0xc028_5700;
const INC: u32 = 0x4004_5701;
const GET_DEADLINE: u32 = 0xc010_5702;
/// Size in bytes of `struct sw_sync_create_fence_data`, and the descriptor's offset in it.
const CREATE_BYTES: usize = 40;
const FENCE_AT: u64 = 36;

/// A timeline, and the program that made it.
#[derive(Debug)]
pub(super) struct OpenTimeline {
    timeline: Timeline<Owner<Device>>,
    pub(super) name: String,
}

/// The kind of `sw_sync`. Its open timelines are in [`Run::sync_files`], since sync files name them.
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
            timeline: (run.memory).with_fences(|fences, _| fences.timeline(owner)),
            name: format!("process {}", origin.pid),
        };
        run.sync_files.timelines.insert(file, open);
        Ok(())
    }

    fn call(&mut self, run: &mut Run, call: FileCall<'_>) -> Result<Answer, Refused> {
        let ioctl = call.ioctl()?;
        run.set_now();
        match ioctl.request {
            CREATE_FENCE => run.create_fence(call.file, ioctl)?,
            INC => run.increment(call.file, ioctl)?,
            GET_DEADLINE => return Err(Errno::ENOENT.into()),
            _ => return Err(Errno::ENOTTY.into()),
        }
        Ok(Answer::Done(0))
    }

    /// Fails the timeline's pending fences.
    fn release(&mut self, run: &mut Run, file: FileId) {
        run.set_now();
        if let Some(open) = run.sync_files.timelines.remove(&file) {
            let ending = FenceOutcome::Failed(Errno::ENOENT.0);
            run.memory
                .with_fences(|fences, now_ns| fences.close(open.timeline, ending, now_ns));
        }
    }
}

impl Run {
    /// Answers `SW_SYNC_IOC_CREATE_FENCE`.
    fn create_fence(&mut self, file: FileId, call: Ioctl<'_>) -> Result<(), Errno> {
        let data: [u8; CREATE_BYTES] = call.read()?;
        let value = word(&data, 0);
        let open = self.sync_files.timelines.get_mut(&file);
        let open = open.ok_or(Errno::ENOTTY)?;
        let made = self.memory.with_fences(|fences, now_ns| {
            fences.sync_file_at(&mut open.timeline, value.into(), now_ns)
        });
        let made = made.map_err(|e| Errno(e.errno()))?;
        self.install_sync_file(made, [0; 32], FENCE_AT, call)
    }

    /// Answers `SW_SYNC_IOC_INC`.
    fn increment(&mut self, file: FileId, call: Ioctl<'_>) -> Result<(), Errno> {
        let mut left = u32::from_ne_bytes(call.read()?);
        let open = self.sync_files.timelines.get_mut(&file);
        let open = open.ok_or(Errno::ENOTTY)?;
        let timeline = &mut open.timeline;
        // Increments in steps: a step of over half the value range would be taken for a step backwards.
        while left > 0 {
            let step = left.min(i32::MAX.unsigned_abs());
            left -= step;
            // CAST: values have 32 bits and wrap around.
            let to = (timeline.value() as u32).wrapping_add(step);
            self.memory.with_fences(|fences, now_ns| {
                fences.advance(timeline, to.into(), FenceOutcome::Done, now_ns);
            });
        }
        Ok(())
    }
}
