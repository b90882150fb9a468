//! Calls on dma-bufs that programs hold, both the machine's and those of other drivers.

use super::sync_file::{EXPORT_SYNC_FILE, IMPORT_SYNC_FILE};
use super::{Answer, outcome};
use crate::Run;
use crate::program::{Ioctl, read};
use crate::refusals::{Refused, short_name};
use vb3_dmabuf::{BufId, IOCTL_SYNC, Name};
use vb3_frontend::{CallOutcome, Errno, FdIdentity};
use vb3_v4l2::{POLL_IN, POLL_OUT};

/// The two numbers of `DMA_BUF_SET_NAME`, with an argument of 4 and of 8 bytes.
const SET_NAME: [u32; 2] = [0x4004_6201, 0x4008_6201];

impl Run {
    /// Answers an ioctl on a dma-buf of the machine.
    pub(crate) fn call_buffer(&mut self, id: FdIdentity, call: Ioctl<'_>) -> CallOutcome {
        let Some(buf) = self.shares.borrow().buf(id) else {
            return CallOutcome::Fail(Errno::ENOTTY);
        };
        self.set_now();
        let done = self.dmabuf_ioctl(buf, call).map_err(|errno| {
            Refused::from(errno).by(|| self.owner_of(buf), short_name(call.request))
        });
        let is_explained = self.after_call();
        outcome(self.judge(Some((done, is_explained)), !call.caller.lacks()))
    }

    fn dmabuf_ioctl(&mut self, buf: BufId, call: Ioctl<'_>) -> Result<Answer, Errno> {
        match call.request {
            IOCTL_SYNC => {
                let flags = u64::from_ne_bytes(call.read()?);
                if self.sync_waits(buf, flags, call.caller) {
                    self.waits_for_buffers = true;
                    self.want_buffers_back();
                    return Ok(Answer::Wait);
                }
                let synced = self.memory.buffers().sync(buf, flags);
                synced.map_err(|e| Errno(e.errno()))?;
            }
            EXPORT_SYNC_FILE => self.export_sync_file(buf, call)?,
            IMPORT_SYNC_FILE => {
                self.buffers_changed = true;
                self.import_sync_file(buf, call)?;
            }
            request if SET_NAME.contains(&request) => {
                let named = self.memory.buffers().set_name(buf, read_name(call)?);
                named.map_err(|e| Errno(e.errno()))?;
            }
            _ => return Err(Errno::ENOTTY),
        }
        Ok(Answer::Done(0))
    }

    /// Returns the poll events of a dma-buf.
    pub(crate) fn poll_buffer(&mut self, id: FdIdentity, events: i16) -> i16 {
        let asked = (POLL_IN | POLL_OUT) & events;
        let buf = self.shares.borrow().buf(id);
        let found = buf.map_or(asked, |buf| self.dmabuf_poll(buf, events));
        if found == 0 && asked != 0 {
            self.waits_for_buffers = true;
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
        if call.request == IOCTL_SYNC
            && let Ok(flags) = call.read()
        {
            // The buffer's own driver checks the flags.
            let flags = u64::from_ne_bytes(flags);
            let _ = self.sync_waits(buf, flags, call.caller);
            let _ = self.memory.buffers().sync(buf, flags);
        }
        self.after_call();
    }
}

/// Reads a dma-buf's name from the program: at most 31 bytes before its NUL.
fn read_name(call: Ioctl<'_>) -> Result<Name, Errno> {
    let mut bytes = [0u8; Name::MAX + 1];
    for (at, byte) in bytes.iter_mut().enumerate() {
        [*byte] = read(call.caller, call.arg.wrapping_add(at as u64))?;
        if *byte == 0 {
            return Name::new(bytes.get(..at).unwrap_or(&[])).map_err(|e| Errno(e.errno()));
        }
    }
    Err(Errno::EINVAL)
}
