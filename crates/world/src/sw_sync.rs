//! `/sys/kernel/debug/sync/sw_sync`: timelines that programs make to test waits for fences.
//!
//! Source: Linux 6.12 drivers/dma-buf/sw_sync.c; differs: a timeline is named by its process's
//! number instead of the process's name; `SW_SYNC_GET_DEADLINE` returns no deadline.

use crate::World;
use crate::memory::WorldMemory;
use std::collections::BTreeMap;
use std::path::PathBuf;
use vb3_dmabuf::fence::{FenceOutcome, Owner, Timeline};
use vb3_host::{CallOutcome, Caller, Errno, FileId, Node, NodeId, NodeKind};

/// Id of this node, one above the id of `/dev/udmabuf`.
const ID: NodeId = NodeId((1 << 18) + 1);
const PATH: &str = "/sys/kernel/debug/sync/sw_sync";

const CREATE_FENCE: u32 = 0xc028_5700;
const INC: u32 = 0x4004_5701;
const GET_DEADLINE: u32 = 0xc010_5702;
/// Size in bytes of `struct sw_sync_create_fence_data`, and the descriptor's offset in it.
const CREATE_BYTES: usize = 40;
const FENCE_AT: u64 = 36;

/// A timeline, and the program that made it.
#[derive(Debug)]
struct Open {
    timeline: Timeline<Owner<vb3_machine::Device>>,
    name: String,
}

/// The timelines of programs.
#[derive(Debug, Default)]
pub(super) struct Timelines {
    open: BTreeMap<FileId, Open>,
}

impl Timelines {
    /// Returns the node `sw_sync`.
    pub(super) fn node() -> Node {
        Node {
            kind: NodeKind::File,
            ..Node::video(ID, PathBuf::from(PATH), 0)
        }
    }

    /// Opens a timeline if `node` is `sw_sync`.
    pub(super) fn open(
        &mut self,
        node: NodeId,
        file: FileId,
        memory: &mut WorldMemory,
        caller: &dyn Caller,
    ) -> bool {
        if node != ID {
            return false;
        }
        let timeline = memory.with_fences(|fences, _| fences.timeline(Owner::Program(file.0)));
        let name = format!("process {}", caller.pid());
        self.open.insert(file, Open { timeline, name });
        true
    }

    /// Closes a timeline, which fails its pending fences. Returns whether the file was a timeline.
    pub(super) fn release(&mut self, file: FileId, memory: &mut WorldMemory) -> bool {
        let Some(open) = self.open.remove(&file) else {
            return false;
        };
        let ending = FenceOutcome::Failed(Errno::ENOENT.0);
        memory.with_fences(|fences, now_ns| fences.close(open.timeline, ending, now_ns));
        true
    }

    /// Returns whether a file is a timeline.
    pub(super) fn has(&self, file: FileId) -> bool {
        self.open.contains_key(&file)
    }

    /// Returns the number of open timelines.
    pub(super) fn open_files(&self) -> usize {
        self.open.len()
    }

    /// Returns a timeline's name, or an empty string if it is closed.
    pub(super) fn name(&self, number: u64) -> String {
        let open = self.open.get(&FileId(number));
        open.map_or_else(String::new, |open| open.name.clone())
    }
}

impl World {
    /// Answers a call on a timeline.
    pub(super) fn timeline_ioctl(
        &mut self,
        file: FileId,
        request: u32,
        arg: u64,
        caller: &dyn Caller,
    ) -> CallOutcome {
        self.set_now();
        let done = match request {
            CREATE_FENCE => self.create_fence(file, arg, caller),
            INC => self.increment(file, arg, caller),
            GET_DEADLINE => Err(Errno::ENOENT),
            _ => Err(Errno::ENOTTY),
        };
        self.after_call();
        done.into()
    }

    /// Answers `SW_SYNC_IOC_CREATE_FENCE`.
    fn create_fence(&mut self, file: FileId, arg: u64, caller: &dyn Caller) -> Result<(), Errno> {
        let mut data = [0; CREATE_BYTES];
        caller.read(arg, &mut data)?;
        let value = data.first_chunk().map_or(0, |b| u32::from_ne_bytes(*b));
        let open = self.timelines.open.get_mut(&file).ok_or(Errno::ENOTTY)?;
        let made = self.memory.with_fences(|fences, now_ns| {
            fences.sync_file_at(&mut open.timeline, value.into(), now_ns)
        });
        let made = made.map_err(|e| Errno(e.errno()))?;
        let number_at = arg.checked_add(FENCE_AT).ok_or(Errno::EFAULT);
        self.install_sync_file(made, [0; 32], number_at, caller)
    }

    /// Answers `SW_SYNC_IOC_INC`.
    fn increment(&mut self, file: FileId, arg: u64, caller: &dyn Caller) -> Result<(), Errno> {
        let mut value = [0; 4];
        caller.read(arg, &mut value)?;
        let mut left = u32::from_ne_bytes(value);
        let open = self.timelines.open.get_mut(&file).ok_or(Errno::ENOTTY)?;
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
