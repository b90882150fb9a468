//! `/sys/kernel/debug/sync/sw_sync`: timelines that programs make to test waits for fences.
//!
//! Source: Linux 6.12 drivers/dma-buf/sw_sync.c; differs: a timeline is named by its process's
//! number instead of the process's name; `SW_SYNC_GET_DEADLINE` returns no deadline.

use crate::Run;
use crate::plain::{OpenTimeline, PlainFile};
use crate::program::{Ioctl, word};
use vb3_dmabuf::fence::{FenceOutcome, Owner};
use vb3_frontend::{CallOutcome, Caller, Errno, FileId, Node, NodeId, NodeKind};

/// Id of this node, one above the id of `/dev/udmabuf`.
const ID: NodeId = NodeId((1 << 18) + 1);
const PATH: &str = "/sys/kernel/debug/sync/sw_sync";

const CREATE_FENCE: u32 = 0xc028_5700;
const INC: u32 = 0x4004_5701;
const GET_DEADLINE: u32 = 0xc010_5702;
/// Size in bytes of `struct sw_sync_create_fence_data`, and the descriptor's offset in it.
const CREATE_BYTES: usize = 40;
const FENCE_AT: u64 = 36;

/// Returns the node `sw_sync`.
pub(super) fn node() -> Node {
    Node {
        kind: NodeKind::File,
        ..Node::video(ID, PATH, 0)
    }
}

impl Run {
    /// Makes a timeline if `node` is `sw_sync`.
    pub(super) fn open_timeline(
        &self,
        node: NodeId,
        file: FileId,
        caller: &dyn Caller,
    ) -> Option<PlainFile> {
        let owner = Owner::Program(file.0);
        (node == ID).then(|| {
            PlainFile::Timeline(OpenTimeline {
                timeline: (self.memory).with_fences(|fences, _| fences.timeline(owner)),
                name: format!("process {}", caller.pid()),
            })
        })
    }

    /// Closes a timeline, which fails its pending fences.
    pub(super) fn close_timeline(&mut self, open: OpenTimeline) {
        let ending = FenceOutcome::Failed(Errno::ENOENT.0);
        self.memory
            .with_fences(|fences, now_ns| fences.close(open.timeline, ending, now_ns));
        self.after_call();
    }

    /// Returns a timeline's name, or an empty string if it is closed.
    pub(super) fn timeline_name(&self, number: u64) -> String {
        match self.plain_files.get(&FileId(number)) {
            Some(PlainFile::Timeline(open)) => open.name.clone(),
            _ => String::new(),
        }
    }

    /// Answers a call on a timeline.
    pub(super) fn timeline_ioctl(&mut self, file: FileId, call: Ioctl<'_>) -> CallOutcome {
        self.set_now();
        let done = match call.request {
            CREATE_FENCE => self.create_fence(file, call),
            INC => self.increment(file, call),
            GET_DEADLINE => Err(Errno::ENOENT),
            _ => Err(Errno::ENOTTY),
        };
        self.after_call();
        done.into()
    }

    /// Answers `SW_SYNC_IOC_CREATE_FENCE`.
    fn create_fence(&mut self, file: FileId, call: Ioctl<'_>) -> Result<(), Errno> {
        let data: [u8; CREATE_BYTES] = call.read()?;
        let value = word(&data, 0);
        let Some(PlainFile::Timeline(open)) = self.plain_files.get_mut(&file) else {
            return Err(Errno::ENOTTY);
        };
        let made = self.memory.with_fences(|fences, now_ns| {
            fences.sync_file_at(&mut open.timeline, value.into(), now_ns)
        });
        let made = made.map_err(|e| Errno(e.errno()))?;
        self.install_sync_file(made, [0; 32], FENCE_AT, call)
    }

    /// Answers `SW_SYNC_IOC_INC`.
    fn increment(&mut self, file: FileId, call: Ioctl<'_>) -> Result<(), Errno> {
        let mut left = u32::from_ne_bytes(call.read()?);
        let Some(PlainFile::Timeline(open)) = self.plain_files.get_mut(&file) else {
            return Err(Errno::ENOTTY);
        };
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
