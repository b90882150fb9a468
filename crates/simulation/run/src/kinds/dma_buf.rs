//! Calls on dma-bufs that programs hold, both the machine's and those of other drivers.

use super::{Answer, outcome};
use crate::Run;
use crate::refusals::Refused;
use vb3_dmabuf::BufId;
use vb3_dmabuf_files::{DmaBufRequest, name};
use vb3_frontend::{CallOutcome, Errno, FdIdentity, Ioctl};
use vb3_v4l2::{POLL_IN, POLL_OUT};

impl Run {
    /// Answers an ioctl on a dma-buf of the machine.
    pub(crate) fn call_buffer(&mut self, id: FdIdentity, call: Ioctl<'_>) -> CallOutcome {
        let Some(buf) = self.shares.borrow().buf(id) else {
            return CallOutcome::Fail(Errno::ENOTTY);
        };
        self.set_now();
        let done = self
            .dmabuf_ioctl(buf, call)
            .map_err(|errno| Refused::from(errno).by(|| self.owner_of(buf), name(call.request)));
        let is_explained = self.after_call();
        outcome(self.judge(Some((done, is_explained)), !call.caller.lacks()))
    }

    fn dmabuf_ioctl(&mut self, buf: BufId, call: Ioctl<'_>) -> Result<Answer, Errno> {
        match DmaBufRequest::read(call)? {
            DmaBufRequest::Sync(flags) => {
                if self.sync_waits(buf, flags, call.caller) {
                    self.waits.for_buffers = true;
                    self.want_buffers_back();
                    return Ok(Answer::Wait);
                }
                let synced = self.memory.buffers().sync(buf, flags);
                synced.map_err(|e| Errno(e.errno()))?;
            }
            DmaBufRequest::ExportSyncFile { usage, number } => {
                self.export_sync_file(buf, usage, (call.caller, number))?;
            }
            DmaBufRequest::ImportSyncFile { usage, fd } => {
                self.waits.buffers_changed = true;
                self.import_sync_file(buf, usage, (call.caller, fd))?;
            }
            // Linux shows the name in /proc and debugfs. A run shows it nowhere.
            DmaBufRequest::SetName => {}
        }
        Ok(Answer::Done(0))
    }

    /// Returns the poll events of a dma-buf.
    pub(crate) fn poll_buffer(&mut self, id: FdIdentity, events: i16) -> i16 {
        let asked = (POLL_IN | POLL_OUT) & events;
        let buf = self.shares.borrow().buf(id);
        let found = buf.map_or(asked, |buf| self.dmabuf_poll(buf, events));
        if found == 0 && asked != 0 {
            self.waits.for_buffers = true;
            self.want_buffers_back();
        }
        found
    }

    /// Records a cache sync of another driver's buffer. That driver answers the call itself.
    pub(crate) fn sync_foreign(&mut self, id: FdIdentity, call: Ioctl<'_>) {
        let Some(buf) = self.shares.borrow().imports.buf(id) else {
            return;
        };
        self.set_now();
        if let Ok(DmaBufRequest::Sync(flags)) = DmaBufRequest::read(call) {
            // The buffer's own driver checks the flags.
            let _ = self.sync_waits(buf, flags, call.caller);
            let _ = self.memory.buffers().sync(buf, flags);
        }
        self.after_call();
    }
}
