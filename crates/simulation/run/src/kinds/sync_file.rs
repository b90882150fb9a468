//! Sync files, which are fences that programs hold as descriptors, and ioctls on dma-bufs' fences.
//!
//! Source: Linux 6.12 drivers/dma-buf/sync_file.c and dma-buf.c `dma_buf_export_sync_file`,
//! `dma_buf_import_sync_file`, `dma_buf_poll`; differs: `DMA_BUF_IOCTL_SYNC` waits only for
//! imported fences, since V4L2 drivers of Linux have no fences; a deadline is accepted and has no
//! effect.

use super::sw_sync::OpenTimeline;
use super::{Answer, FileCall, Kind};
use crate::Run;
use crate::memory::RunMemory;
use crate::program::{Ioctl, long, word};
use crate::refusals::Refused;
use std::collections::BTreeMap;
use vb3_dmabuf::fence::{EarlyAccess, FenceInfo, FenceOutcome, Owner, Status, SyncFile, Usage};
use vb3_dmabuf::{BufId, SyncFlags};
use vb3_frontend::{Detail, Errno, FileId, Install, Made, NumberAt, Step};
use vb3_v4l2::{POLL_IN, POLL_OUT};

pub(super) const EXPORT_SYNC_FILE: u32 = 0xc008_6202;
pub(super) const IMPORT_SYNC_FILE: u32 = 0x4008_6203;
const SYNC_IOC_MERGE: u32 = 0xc030_3e03;
const SYNC_IOC_FILE_INFO: u32 = 0xc038_3e04;
const SYNC_IOC_SET_DEADLINE: u32 = 0x4010_3e05;

/// `DMA_BUF_SYNC_READ`, `_WRITE` and `_END`.
const SYNC_READ: u32 = 1;
const SYNC_WRITE: u32 = 2;

/// Sizes in bytes of `struct sync_merge_data`, `sync_file_info` and `sync_fence_info`.
const MERGE_BYTES: usize = 48;
const INFO_BYTES: usize = 56;
const FENCE_BYTES: usize = 80;
/// Length of a name's field in bytes, including the NUL.
const NAME: usize = 32;

type Info = FenceInfo<Owner<vb3_machine::Device>>;

/// A sync file that programs have open.
#[derive(Debug)]
struct Open {
    file: SyncFile,
    /// The name that a merge set; empty otherwise.
    name: [u8; NAME],
    /// Whether programs that poll the file must be woken when it ends.
    pending: bool,
}

/// The sync files of a run.
#[derive(Debug, Default)]
pub(crate) struct SyncFiles {
    /// Timelines of `sw_sync`.
    pub(super) timelines: BTreeMap<FileId, OpenTimeline>,
    open: BTreeMap<FileId, Open>,
}

impl SyncFiles {
    /// The name of the kind of sync files.
    pub(super) const KIND: &str = SyncFileFiles::NAME;

    /// Makes a descriptor of a sync file that no merge has named, after the step. The program reads its number at
    /// `at`.
    pub(super) fn install(
        &mut self,
        memory: &RunMemory,
        (id, file): (FileId, SyncFile),
        caller: &Step<'_>,
        at: u64,
    ) {
        self.insert(memory, (id, file), [0; NAME], (caller, at));
    }

    fn insert(
        &mut self,
        memory: &RunMemory,
        (id, file): (FileId, SyncFile),
        name: [u8; NAME],
        (caller, at): (&Step<'_>, u64),
    ) {
        let pending = status(memory, &file) == Status::Pending;
        let open = Open {
            file,
            name,
            pending,
        };
        self.open.insert(id, open);
        caller.install(Install {
            made: Made::File {
                file: id,
                name: c"sync_file",
            },
            cloexec: true,
            number: NumberAt::Address(at),
        });
    }

    pub(super) fn named(&self, file: FileId) -> Option<&SyncFile> {
        Some(&self.open.get(&file)?.file)
    }

    /// Returns the files that have ended since the last call.
    pub(crate) fn take_ended(&mut self, memory: &RunMemory) -> Vec<FileId> {
        let mut ended = Vec::new();
        for (id, open) in &mut self.open {
            if open.pending && status(memory, &open.file) != Status::Pending {
                open.pending = false;
                ended.push(*id);
            }
        }
        ended
    }
}

fn status(memory: &RunMemory, file: &SyncFile) -> Status {
    memory.with_fences(|fences, _| fences.sync_file_status(file))
}

/// The kind of sync files. Their state is in [`Run::sync_files`].
pub(super) struct SyncFileFiles;

impl SyncFileFiles {
    const NAME: &str = "sync file";
}

impl Kind for SyncFileFiles {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn call(&mut self, run: &mut Run, call: FileCall<'_>) -> Result<Answer, Refused> {
        let ioctl = call.ioctl()?;
        run.set_now();
        let done = match ioctl.request {
            SYNC_IOC_MERGE => {
                let merged = run.merge_sync_files(call.file, ioctl);
                let merged = merged.map_err(Refused::from);
                merged.map_err(|e| e.by(|| Self::NAME.to_owned(), Some("SYNC_IOC_MERGE")))
            }
            // These only ask, so their failures are no refusals.
            SYNC_IOC_FILE_INFO => Ok(run.sync_file_info(call.file, ioctl)?),
            SYNC_IOC_SET_DEADLINE => Ok(set_deadline(ioctl)?),
            _ => Err(Errno::ENOTTY.into()),
        };
        done.map(Answer::from)
    }

    fn poll(&mut self, run: &mut Run, file: FileId, events: i16, _: bool) -> i16 {
        let open = run.sync_files.open.get(&file);
        let ended = open.is_none_or(|open| status(&run.memory, &open.file) != Status::Pending);
        let found = if ended { POLL_IN & events } else { 0 };
        if found == 0 {
            run.want_buffers_back();
        }
        found
    }

    fn release(&mut self, run: &mut Run, file: FileId) {
        if let Some(open) = run.sync_files.open.remove(&file) {
            run.memory
                .with_fences(|fences, _| fences.put_sync_file(open.file));
        }
    }
}

impl Run {
    /// Makes a descriptor of a sync file after the step. Its number goes to byte `offset` of the call's structure.
    pub(super) fn install_sync_file(
        &mut self,
        file: SyncFile,
        name: [u8; NAME],
        offset: u64,
        Ioctl { arg, caller, .. }: Ioctl<'_>,
    ) -> Result<(), Errno> {
        let Some(at) = arg.checked_add(offset) else {
            self.memory
                .with_fences(|fences, _| fences.put_sync_file(file));
            return Err(Errno::EFAULT);
        };
        let id = self.kinds.new_file();
        self.sync_files
            .insert(&self.memory, (id, file), name, (caller, at));
        self.kinds.add(id, SyncFileFiles::NAME);
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn sync_file_status(&self, file: FileId) -> Option<Status> {
        let open = self.sync_files.open.get(&file)?;
        Some(status(&self.memory, &open.file))
    }

    /// Answers `SYNC_IOC_MERGE`.
    fn merge_sync_files(&mut self, file: FileId, call: Ioctl<'_>) -> Result<(), Errno> {
        let data: [u8; MERGE_BYTES] = call.read()?;
        let [fd2, _, flags, pad] = [32, 36, 40, 44].map(|at| word(&data, at));
        if flags != 0 || pad != 0 {
            return Err(Errno::EINVAL);
        }
        let other = named(call.caller, fd2, Errno::ENOENT)?;
        let own = self.sync_files.open.get(&file).ok_or(Errno::ENOENT)?;
        let other = self.sync_files.named(other).ok_or(Errno::ENOENT)?;
        let merged = self
            .memory
            .with_fences(|fences, now_ns| fences.merge(&own.file, other, now_ns));
        let merged = merged.map_err(|e| Errno(e.errno()))?;
        let mut name = [0; NAME];
        name[..NAME - 1].copy_from_slice(&data[..NAME - 1]);
        self.install_sync_file(merged, name, 36, call)
    }

    /// Answers `SYNC_IOC_FILE_INFO`.
    fn sync_file_info(&self, file: FileId, call: Ioctl<'_>) -> Result<(), Errno> {
        let mut data: [u8; INFO_BYTES] = call.read()?;
        let [flags, room, pad] = [36, 40, 44].map(|at| word(&data, at));
        if flags != 0 || pad != 0 {
            return Err(Errno::EINVAL);
        }
        let open = self.sync_files.open.get(&file).ok_or(Errno::ENOENT)?;
        let facts = self.facts(&open.file);
        let mut status = status_of(status(&self.memory, &open.file));
        if room != 0 {
            if (room as usize) < facts.len() {
                return Err(Errno::EINVAL);
            }
            let statuses = facts.iter().map(|fact| status_of(fact.status));
            // As in Linux: the first status that is pending or failed, else 1.
            status = statuses.fold(1, |all, one| if all <= 0 { all } else { one });
            let bytes: Vec<u8> = facts.iter().flat_map(Fact::to_bytes).collect();
            call.caller.write(long(&data, INFO_BYTES - 8), &bytes);
        }
        let name = match open.name {
            [0, ..] => default_name(&facts),
            given => given,
        };
        data[..NAME].copy_from_slice(&name);
        data[32..36].copy_from_slice(&status.to_ne_bytes());
        // CAST: a sync file has a limited number of fences.
        data[40..44].copy_from_slice(&(facts.len() as u32).to_ne_bytes());
        call.caller.write(call.arg, &data);
        Ok(())
    }

    /// Returns a sync file's fences. For a file without fences, returns one fence that has ended.
    fn facts(&self, file: &SyncFile) -> Vec<Fact> {
        if file.fences().is_empty() {
            return vec![Fact {
                driver: "stub",
                timeline: "stub".to_owned(),
                context: 1,
                seqno: 0,
                status: status(&self.memory, file),
            }];
        }
        self.memory.with_fences(|fences, _| {
            let fences = fences.sync_file_info(file);
            fences.map(|info| self.fact(&info)).collect()
        })
    }

    fn fact(&self, info: &Info) -> Fact {
        let (driver, timeline) = match info.owner {
            Owner::Device(dma) => ("vb3", self.device_name(dma)),
            Owner::Program(number) => {
                let open = self.sync_files.timelines.get(&FileId(number));
                (
                    "sw_sync",
                    open.map_or_else(String::new, |open| open.name.clone()),
                )
            }
            Owner::Driver => ("other", String::new()),
        };
        Fact {
            driver,
            timeline,
            context: info.context,
            seqno: info.seqno,
            status: info.status,
        }
    }

    /// Returns a device's node name, such as `video0`.
    pub(crate) fn device_name(&self, dma: vb3_machine::Device) -> String {
        let node = self.nodes.iter().find(|node| node.dma == dma);
        let node = node.map(|node| format!("video{}", node.number()));
        node.or_else(|| self.cards.name_of(dma)).unwrap_or_default()
    }

    /// Answers `DMA_BUF_IOCTL_EXPORT_SYNC_FILE`.
    pub(super) fn export_sync_file(&mut self, buf: BufId, call: Ioctl<'_>) -> Result<(), Errno> {
        let data: [u8; 8] = call.read()?;
        // A reader waits for writers, and a writer waits for all users.
        let usage = usage_of(word(&data, 0))?;
        let memory = self.memory.buffers().buf(buf).ok_or(Errno::EINVAL)?.memory;
        let file = self
            .memory
            .with_fences(|fences, now_ns| fences.export(memory, usage, now_ns));
        let file = file.map_err(|e| Errno(e.errno()))?;
        self.install_sync_file(file, [0; NAME], 4, call)
    }

    /// Answers `DMA_BUF_IOCTL_IMPORT_SYNC_FILE`.
    pub(super) fn import_sync_file(&mut self, buf: BufId, call: Ioctl<'_>) -> Result<(), Errno> {
        let data: [u8; 8] = call.read()?;
        let usage = usage_of(word(&data, 0))?;
        let file = named(call.caller, word(&data, 4), Errno::EINVAL)?;
        let file = self.sync_files.named(file).ok_or(Errno::EINVAL)?;
        let memory = self.memory.buffers().buf(buf).ok_or(Errno::EINVAL)?.memory;
        self.deadlocks.watch();
        self.memory
            .with_fences(|fences, _| fences.import(memory, file.fences(), usage))
            .map_err(|e| Errno(e.errno()))
    }

    /// Returns whether `DMA_BUF_IOCTL_SYNC` with these flags must wait for imported fences. If it need not
    /// wait and a device has the memory, records the start of the access.
    pub(super) fn sync_waits(&mut self, buf: BufId, flags: u64, caller: &Step<'_>) -> bool {
        // The end of an access does not wait. Invalid flags are refused later.
        let Ok((_, false)) = SyncFlags::decode(flags) else {
            return false;
        };
        // CAST: valid flags have no upper half.
        let Ok(usage) = usage_of(flags as u32 & (SYNC_READ | SYNC_WRITE)) else {
            return false;
        };
        let Some(memory) = self.memory.buffers().buf(buf).map(|buf| buf.memory) else {
            return false;
        };
        self.memory.with_fences(|fences, _| {
            let is_held_back = fences.is_held_back(memory, usage);
            if !is_held_back {
                fences.note_access(memory, EarlyAccess::Program(caller.pid()), usage);
            }
            is_held_back
        })
    }

    /// Returns a dma-buf's poll events: POLLIN once writers are done, POLLOUT once all users are.
    pub(super) fn dmabuf_poll(&self, buf: BufId, events: i16) -> i16 {
        let Some(memory) = self.memory.buffers().buf(buf).map(|buf| buf.memory) else {
            return (POLL_IN | POLL_OUT) & events;
        };
        let is_busy = |usage| {
            self.memory
                .with_fences(|fences, _| fences.is_busy(memory, usage))
        };
        let mut ready = 0;
        if events & POLL_IN != 0 && !is_busy(Usage::Read) {
            ready |= POLL_IN;
        }
        if events & POLL_OUT != 0 && !is_busy(Usage::Write) {
            ready |= POLL_OUT;
        }
        ready
    }
}

/// The properties of a fence that programs can query.
struct Fact {
    driver: &'static str,
    timeline: String,
    context: u64,
    seqno: u64,
    status: Status,
}

impl Fact {
    /// Converts to `struct sync_fence_info`.
    fn to_bytes(&self) -> [u8; FENCE_BYTES] {
        let mut bytes = [0; FENCE_BYTES];
        bytes[..NAME].copy_from_slice(&name_of(&self.timeline));
        bytes[NAME..2 * NAME].copy_from_slice(&name_of(self.driver));
        bytes[64..68].copy_from_slice(&status_of(self.status).to_ne_bytes());
        let ended_ns = match self.status {
            Status::Pending => 0,
            Status::Ended { at_ns, .. } => at_ns,
        };
        bytes[72..].copy_from_slice(&ended_ns.to_ne_bytes());
        bytes
    }
}

/// Returns a name as the kernel's structures hold it, truncated to fit with its NUL.
pub(super) fn name_of(text: &str) -> [u8; NAME] {
    let mut name = [0; NAME];
    for (to, from) in name.iter_mut().take(NAME - 1).zip(text.bytes()) {
        *to = from;
    }
    name
}

/// Returns the name of a sync file that no merge has named.
fn default_name(facts: &[Fact]) -> [u8; NAME] {
    match facts {
        [fact] => name_of(&format!(
            "{}-{}{}-{}",
            fact.driver, fact.timeline, fact.context, fact.seqno
        )),
        _ => name_of("dma_fence_array-unbound"),
    }
}

/// Returns 0 for a pending fence, 1 for an ended one, and a negative errno for a failed one.
const fn status_of(status: Status) -> i32 {
    match status {
        Status::Pending => 0,
        Status::Ended {
            outcome: FenceOutcome::Done,
            ..
        } => 1,
        Status::Ended {
            outcome: FenceOutcome::Failed(errno),
            ..
        } => -errno,
    }
}

/// Parses `DMA_BUF_SYNC_READ` and `_WRITE`, one or both.
fn usage_of(flags: u32) -> Result<Usage, Errno> {
    match flags {
        SYNC_READ => Ok(Usage::Read),
        flags if flags != 0 && flags & !(SYNC_READ | SYNC_WRITE) == 0 => Ok(Usage::Write),
        _ => Err(Errno::EINVAL),
    }
}

/// Answers `SYNC_IOC_SET_DEADLINE`, a hint for drivers. The simulated devices ignore it.
fn set_deadline(call: Ioctl<'_>) -> Result<(), Errno> {
    let data: [u8; 16] = call.read()?;
    match long(&data, 8) {
        0 => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

/// Returns the devices' file behind a descriptor, or the error `none` if there is none.
fn named(caller: &Step<'_>, number: u32, none: Errno) -> Result<FileId, Errno> {
    // CAST: the kernel also takes descriptors as `i32`.
    let known = caller.descriptor(number as i32, Detail::Name);
    let file = known.map(|known| known.file).map_err(|e| match e {
        Errno::NOT_GATHERED => e,
        _ => none,
    })?;
    file.ok_or(none)
}
