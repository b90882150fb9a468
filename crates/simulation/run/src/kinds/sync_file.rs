//! Sync files, which are fences that programs hold as descriptors, and ioctls on dma-bufs' fences.
//!
//! Source: Linux 6.12 drivers/dma-buf/dma-buf.c `dma_buf_export_sync_file`, `dma_buf_import_sync_file`,
//! `dma_buf_poll`; differs: `DMA_BUF_IOCTL_SYNC` waits only for imported fences, since V4L2 drivers of
//! Linux have no fences.

use super::sw_sync::OpenTimeline;
use super::{Answer, FileCall, Kind};
use crate::Run;
use crate::memory::RunMemory;
use crate::refusals::Refused;
use std::collections::BTreeMap;
use vb3_dmabuf::BufId;
use vb3_dmabuf::fence::{FenceInfo, Owner, Status, SyncFile, Usage};
use vb3_dmabuf_files::{FenceFact, Merge, NAME_BYTES, SyncFileRequest, usage_of_access};
use vb3_frontend::{Detail, Errno, FileId, Install, Ioctl, Made, NumberAt, Step};
use vb3_v4l2::{POLL_IN, POLL_OUT};

type Info = FenceInfo<Owner<vb3_machine::Device>>;

/// A sync file that programs have open.
#[derive(Debug)]
struct Open {
    file: SyncFile,
    /// The name that a merge set; empty otherwise.
    name: [u8; NAME_BYTES],
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
        let place = (caller, NumberAt::Address(at));
        self.insert(memory, (id, file), [0; NAME_BYTES], place);
    }

    fn insert(
        &mut self,
        memory: &RunMemory,
        (id, file): (FileId, SyncFile),
        name: [u8; NAME_BYTES],
        (caller, number): (&Step<'_>, NumberAt),
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
            number,
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
    memory
        .buffers()
        .with_fences(|fences, _| fences.sync_file_status(file))
}

/// The kind of sync files. Their state is in [`OpenFiles::sync_files`](super::OpenFiles).
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
        let request = SyncFileRequest::read(ioctl);
        let done = request.and_then(|request| run.answer_sync_file(call.file, request, ioctl));
        (done.map(Answer::from)).map_err(|errno| {
            let acts = !vb3_dmabuf_files::asks(ioctl.request);
            let name = vb3_dmabuf_files::name(ioctl.request).filter(|_| acts);
            Refused::from(errno).by(|| Self::NAME.to_owned(), name)
        })
    }

    fn poll(&mut self, run: &mut Run, file: FileId, events: i16, _: bool) -> i16 {
        let open = run.files.sync_files.open.get(&file);
        let ended = open.is_none_or(|open| status(&run.memory, &open.file) != Status::Pending);
        let found = if ended { POLL_IN & events } else { 0 };
        if found == 0 {
            run.want_buffers_back();
        }
        found
    }

    fn release(&mut self, run: &mut Run, file: FileId) {
        if let Some(open) = run.files.sync_files.open.remove(&file) {
            run.memory
                .buffers()
                .with_fences(|fences, _| fences.put_sync_file(open.file));
        }
    }
}

impl Run {
    /// Makes a descriptor of a sync file after the step. `place` is where the program reads its number.
    pub(super) fn install_sync_file(
        &mut self,
        file: SyncFile,
        name: [u8; NAME_BYTES],
        place: (&Step<'_>, NumberAt),
    ) {
        let id = self.kinds.new_file();
        self.files
            .sync_files
            .insert(&self.memory, (id, file), name, place);
        self.kinds.add(id, SyncFileFiles::NAME);
    }

    #[cfg(test)]
    pub(crate) fn sync_file_status(&self, file: FileId) -> Option<Status> {
        let open = self.files.sync_files.open.get(&file)?;
        Some(status(&self.memory, &open.file))
    }

    fn answer_sync_file(
        &mut self,
        file: FileId,
        request: SyncFileRequest,
        call: Ioctl<'_>,
    ) -> Result<(), Errno> {
        match request {
            SyncFileRequest::Merge(merge) => self.merge_sync_files(file, merge, call.caller),
            SyncFileRequest::Info(info) => {
                let open = self.files.sync_files.open.get(&file).ok_or(Errno::ENOENT)?;
                let about = (&open.name, status(&self.memory, &open.file));
                info.answer(call, about, &self.facts(&open.file))
            }
            // The simulated devices ignore deadlines.
            SyncFileRequest::SetDeadline => Ok(()),
        }
    }

    /// Answers `SYNC_IOC_MERGE`.
    fn merge_sync_files(
        &mut self,
        file: FileId,
        Merge { name, fd, number }: Merge,
        caller: &Step<'_>,
    ) -> Result<(), Errno> {
        let other = named(caller, fd, Errno::ENOENT)?;
        let own = self.files.sync_files.open.get(&file).ok_or(Errno::ENOENT)?;
        let other = self.files.sync_files.named(other).ok_or(Errno::ENOENT)?;
        let merged = self
            .memory
            .buffers()
            .with_fences(|fences, now_ns| fences.merge(&own.file, other, now_ns));
        let merged = merged.map_err(|e| Errno(e.errno()))?;
        self.install_sync_file(merged, name, (caller, number));
        Ok(())
    }

    /// Returns a sync file's fences. For a file without fences, returns one fence that has ended.
    fn facts(&self, file: &SyncFile) -> Vec<FenceFact> {
        if file.fences().is_empty() {
            return vec![FenceFact::stub(status(&self.memory, file))];
        }
        self.memory.buffers().with_fences(|fences, _| {
            let fences = fences.sync_file_info(file);
            fences.map(|info| self.fact(&info)).collect()
        })
    }

    fn fact(&self, info: &Info) -> FenceFact {
        let (driver, timeline) = match info.owner {
            Owner::Device(dma) => ("vb3", self.device_name(dma)),
            Owner::Program(number) => {
                let open = self.files.sync_files.timelines.get(&FileId(number));
                (
                    "sw_sync",
                    open.map_or_else(String::new, |open| open.name.clone()),
                )
            }
            Owner::Driver => ("other", String::new()),
        };
        FenceFact {
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
    pub(super) fn export_sync_file(
        &mut self,
        buf: BufId,
        usage: Usage,
        place: (&Step<'_>, NumberAt),
    ) -> Result<(), Errno> {
        let memory = self.memory.buffers().memory_of(buf);
        let memory = memory.map_err(|e| Errno(e.errno()))?;
        let file = self.memory.buffers().export_fences(memory, usage);
        let file = file.map_err(|e| Errno(e.errno()))?;
        self.install_sync_file(file, [0; NAME_BYTES], place);
        Ok(())
    }

    /// Answers `DMA_BUF_IOCTL_IMPORT_SYNC_FILE`.
    pub(super) fn import_sync_file(
        &mut self,
        buf: BufId,
        usage: Usage,
        (caller, fd): (&Step<'_>, i32),
    ) -> Result<(), Errno> {
        let file = named(caller, fd, Errno::EINVAL)?;
        let file = self.files.sync_files.named(file).ok_or(Errno::EINVAL)?;
        let memory = self.memory.buffers().memory_of(buf);
        let memory = memory.map_err(|e| Errno(e.errno()))?;
        self.fences.deadlocks.watch();
        self.memory
            .buffers()
            .import_fences(memory, file.fences(), usage)
            .map_err(|e| Errno(e.errno()))
    }

    /// Returns whether `DMA_BUF_IOCTL_SYNC` with these flags must wait for imported fences. If it need not
    /// wait and a device has the memory, records the start of the access.
    pub(super) fn sync_waits(&mut self, buf: BufId, flags: u64, caller: &Step<'_>) -> bool {
        // The end of an access does not wait. Invalid flags are refused later.
        let Some(usage) = usage_of_access(flags) else {
            return false;
        };
        let Ok(memory) = self.memory.buffers().memory_of(buf) else {
            return false;
        };
        let buffers = self.memory.buffers();
        let is_held_back = buffers.is_held_back(memory, usage);
        if !is_held_back {
            buffers.note_access(memory, Owner::Program(caller.pid().into()), usage);
        }
        is_held_back
    }

    /// Returns a dma-buf's poll events: POLLIN once writers are done, POLLOUT once all users are.
    pub(super) fn dmabuf_poll(&self, buf: BufId, events: i16) -> i16 {
        let Ok(memory) = self.memory.buffers().memory_of(buf) else {
            return (POLL_IN | POLL_OUT) & events;
        };
        let is_busy = |usage| self.memory.buffers().is_busy(memory, usage);
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

/// Returns the devices' file behind a descriptor, or the error `none` if there is none.
pub(super) fn named(caller: &Step<'_>, fd: i32, none: Errno) -> Result<FileId, Errno> {
    let known = caller.descriptor(fd, Detail::Name);
    let file = known.map(|known| known.file).map_err(|e| match e {
        Errno::NOT_GATHERED => e,
        _ => none,
    })?;
    file.ok_or(none)
}
