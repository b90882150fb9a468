//! Adapts the calling program for the V4L2 layer.

use crate::memory::RunMemory;
use crate::shares::Shares;
use std::cell::RefCell;
use std::collections::HashMap;
use vb3_dmabuf::BufRef;
use vb3_frontend::{Detail, Errno, FileId, NumberAt, Step};
use vb3_machine::User;
use vb3_queue::RequestId;
use vb3_v4l2::{Export, Program};

/// The result of a call that does not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The call returns this value.
    Done(i64),
    /// The call must wait.
    Wait,
    /// A read or write has moved this many bytes, and more remain.
    Part(i64),
}

impl From<()> for Answer {
    fn from((): ()) -> Self {
        Self::Done(0)
    }
}

/// Converts the V4L2 layer's result.
pub(super) fn answer(outcome: vb3_v4l2::V4l2Outcome) -> Result<Answer, Errno> {
    match outcome {
        vb3_v4l2::V4l2Outcome::Done(value) => Ok(Answer::Done(value)),
        vb3_v4l2::V4l2Outcome::Fail(error) => Err(Errno(error.errno())),
        vb3_v4l2::V4l2Outcome::Wait => Ok(Answer::Wait),
        vb3_v4l2::V4l2Outcome::Part(bytes) => Ok(Answer::Part(bytes)),
    }
}

/// One device's media requests, by their files.
#[derive(Clone, Copy)]
pub(super) struct Names<'a> {
    /// The requests of all devices: each device's index among the nodes, and the request's id.
    pub(super) requests: &'a HashMap<FileId, (usize, RequestId)>,
    /// The index of this device.
    pub(super) at: usize,
}

impl Names<'_> {
    /// Returns the request behind a program's file, if it is a request of this device.
    pub(super) fn find(&self, file: FileId) -> Option<RequestId> {
        let &(at, id) = self.requests.get(&file)?;
        (at == self.at).then_some(id)
    }
}

/// One call of a program.
pub(super) struct Call<'a> {
    pub(super) caller: &'a Step<'a>,
    /// The file that the program calls.
    pub(super) file: FileId,
    pub(super) shares: &'a RefCell<Shares>,
    /// The requests of the called device.
    pub(super) requests: Names<'a>,
}

impl<'a> Call<'a> {
    pub(super) const fn new(
        caller: &'a Step<'a>,
        file: FileId,
        shares: &'a RefCell<Shares>,
        requests: Names<'a>,
    ) -> Self {
        Self {
            caller,
            file,
            shares,
            requests,
        }
    }
}

impl Program<RunMemory> for Call<'_> {
    fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Errno> {
        self.caller.read(addr, out)
    }

    fn prepare_read(&self, addr: u64, len_bytes: u64) -> Result<(), Errno> {
        self.caller.prepare_read(addr, len_bytes)
    }

    fn lacks(&self) -> bool {
        self.caller.lacks()
    }

    fn write(&self, addr: u64, data: &[u8]) -> Result<(), Errno> {
        self.caller.write(addr, data);
        Ok(())
    }

    fn user(&self, addr: u64, len_bytes: u64) -> Result<User, Errno> {
        let range = self.caller.range(addr, len_bytes)?;
        if self.caller.lacks() {
            return Err(Errno::NOT_GATHERED);
        }
        let staging = &mut self.shares.borrow_mut().staging;
        let by = (self.caller.client(), self.file);
        Ok(staging.take_in(by, (addr, len_bytes), range))
    }

    fn give_back(&self, addr: u64, len_bytes: u64) {
        let place = (self.caller.client().owner, addr, len_bytes);
        if let Some((at, bytes)) = self.shares.borrow_mut().staging.take_out(place) {
            self.caller.offer(at, bytes);
        }
    }

    fn discard(&self, addr: u64, len_bytes: u64) {
        let place = (self.caller.client().owner, addr, len_bytes);
        self.shares.borrow().staging.discard(place);
    }

    fn resolve_dmabuf(&self, mem: &mut RunMemory, fd: i32) -> Result<BufRef, Errno> {
        let known = self.caller.descriptor(fd, Detail::Name)?;
        let mut shares = self.shares.borrow_mut();
        let tag = || Ok((self.caller.descriptor(fd, Detail::Description)?).tag);
        let buf = match shares.named(known.id, tag)? {
            Some(own) => Some(own),
            None => shares.imports.resolve(mem, self.caller, (fd, known.id)),
        };
        mem.buffers()
            .get_buf(buf.ok_or(Errno::EINVAL)?)
            .map_err(|e| Errno(e.errno()))
    }

    fn resolve_request(&self, fd: i32) -> Option<RequestId> {
        let known = self.caller.descriptor(fd, Detail::Name).ok()?;
        self.requests.find(known.file?)
    }

    fn install_dmabuf(
        &self,
        mem: &mut RunMemory,
        buf: BufRef,
        export: Export,
    ) -> Result<(), (Errno, BufRef)> {
        let number = NumberAt::Address(export.number_at);
        let how = (export.cloexec, export.access, number);
        let mut shares = self.shares.borrow_mut();
        shares.install(mem, buf, self.caller, how)
    }
}
