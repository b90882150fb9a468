//! A program in a process, as `intercept` would serve it.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::sync::Arc;

use crate::client::{BASE, Client, MEMORY, Mapped, PAGE};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vb3_frontend::{
    CallId, CallOutcome, Descriptor, Detail, Devices as _, Errno, FileId, Made, Mmap, NodeId,
    NodeKind, Origin, Perform as _, Program, Tag, UserRange,
};
use vb3_run::Run;

pub(crate) struct Process {
    pub(crate) run: Run,
    nodes: Vec<NodeId>,
    files: Vec<FileId>,
    memory: Memory,
}

struct Memory {
    bytes: RefCell<Vec<u8>>,
    calls: Cell<u64>,
}

fn at(addr: u64, len: usize) -> Option<std::ops::Range<usize>> {
    let at = usize::try_from(addr.checked_sub(BASE)?).ok()?;
    let end = at.checked_add(len)?;
    (end <= MEMORY).then_some(at..end)
}

impl Program for Memory {
    fn origin(&self) -> Origin {
        let pid = std::process::id();
        Origin::process(pid, pid)
    }

    fn call(&self) -> CallId {
        self.calls.set(self.calls.get() + 1);
        CallId(self.calls.get())
    }

    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        let part = at(addr, out.len()).ok_or(Errno::EFAULT)?;
        out.copy_from_slice(&self.bytes.borrow()[part]);
        Ok(())
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        let part = at(addr, data.len()).ok_or(Errno::EFAULT)?;
        self.bytes.borrow_mut()[part].copy_from_slice(data);
        Ok(())
    }

    fn descriptor(&self, _: i32, _: Detail) -> Result<Descriptor, Errno> {
        Err(Errno(9))
    }

    fn range(&self, addr: u64, len: u64) -> UserRange {
        let part = usize::try_from(len).ok().and_then(|len| at(addr, len));
        let bytes = part.map(|part| self.bytes.borrow()[part].to_vec());
        bytes.map_or_else(UserRange::default, |bytes| UserRange {
            readable: len,
            writable: len,
            file: None,
            bytes: Arc::new(bytes),
        })
    }

    fn install(&self, _: &Made, _: bool) -> Result<i32, Errno> {
        Err(Errno::EINVAL)
    }
}

impl Process {
    pub(crate) fn new(run: Run) -> Self {
        let nodes = run.nodes().into_iter();
        let videos = nodes.filter(|node| node.kind == NodeKind::Video);
        Self {
            nodes: videos.map(|node| node.id).collect(),
            run,
            files: Vec::new(),
            memory: Memory {
                bytes: RefCell::new(vec![0; MEMORY]),
                calls: Cell::new(0),
            },
        }
    }

    /// Lets time pass until something changes, as the supervisor does.
    fn pass(&mut self) {
        let woken: Vec<u64> = {
            let wakes = self.run.wake_fds();
            let fds = wakes.iter();
            let fds = fds.map(|wake| PollFd::from_borrowed_fd(wake.fd, PollFlags::IN));
            let mut fds: Vec<_> = fds.collect();
            let due = self
                .run
                .next_tick()
                .unwrap_or(std::time::Duration::from_secs(1));
            let due = Timespec::try_from(due).unwrap();
            poll(&mut fds, Some(&due)).unwrap();
            let ready = wakes
                .iter()
                .zip(&fds)
                .filter(|(_, fd)| !fd.revents().is_empty());
            ready.map(|(wake, _)| wake.id).collect()
        };
        for id in &woken {
            self.run.woken(*id);
        }
        match woken.is_empty() && !self.run.is_due() {
            true => self.run.continue_work(&|| false),
            false => self.run.tick(),
        }
        self.run.take_changed(&mut Vec::new());
    }
}

impl Client for Process {
    fn peek(&self, addr: u64, len: usize) -> Vec<u8> {
        self.memory.bytes.borrow()[at(addr, len).unwrap()].to_vec()
    }

    fn poke(&mut self, addr: u64, bytes: &[u8]) {
        self.memory.write(addr, bytes).unwrap();
    }

    fn open(&mut self, device: usize) -> Result<usize, i32> {
        let origin = self.memory.origin();
        let opened = self.run.open(self.nodes[device], 2, origin);
        self.files.push(opened.map_err(|e| e.0)?);
        Ok(self.files.len() - 1)
    }

    fn close(&mut self, file: usize) {
        self.run.release(self.files[file]);
    }

    fn ioctl(&mut self, file: usize, request: u32, addr: u64) -> Result<(), i32> {
        if self.run.is_due() {
            self.run.tick();
        }
        let done = (self.run).ioctl(self.files[file], request, addr, true, &self.memory);
        match done {
            CallOutcome::Done(_) => Ok(()),
            CallOutcome::Fail(e) => Err(e.0),
            CallOutcome::Wait | CallOutcome::Part(_) => Err(11),
        }
    }

    fn dequeue(&mut self, file: usize, request: u32, addr: u64) {
        for _ in 0..100_000 {
            match self.ioctl(file, request, addr) {
                Ok(()) => return,
                Err(11 | 2) => {
                    self.run.poll_waits(self.files[file], 7);
                    self.pass();
                }
                Err(e) => panic!("{request:#x}: errno {e}"),
            }
        }
        panic!("{request:#x}: nothing comes");
    }

    fn map(&mut self, file: usize, offset: u32, len: u64) -> Result<Mapped, i32> {
        let args = Mmap {
            offset: offset.into(),
            len: len.next_multiple_of(PAGE as u64),
            prot: 3,
            flags: 1,
        };
        let mapped = self.run.mmap(self.files[file], &args, self.memory.origin());
        let mapped = mapped.map_err(|e| e.0)?;
        Ok(Mapped {
            file: File::from(mapped.fd),
            offset: mapped.offset,
            id: mapped.tag.0,
        })
    }

    fn unmap(&mut self, mapped: Mapped) {
        self.run.tag_ended(Tag(mapped.id));
    }
}
