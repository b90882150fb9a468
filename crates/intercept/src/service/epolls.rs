//! epoll_ctl of device files and buffers.

use crate::descriptors::Watched;
use crate::process::Notif;
use crate::service::host::Call;
use crate::service::serve::{Server, Verdict};
use crate::waiting::Op;
use vb3_host::{Caller, Errno};

impl Server<'_> {
    pub(crate) fn epoll_ctl(&mut self, n: &Notif) -> Result<Verdict, Errno> {
        let Some(file) = self.named(n, 2).and_then(Watched::of) else {
            return Ok(Verdict::native());
        };
        let op = match n.int(1) {
            libc::EPOLL_CTL_ADD => Op::Add,
            libc::EPOLL_CTL_DEL => Op::Delete,
            libc::EPOLL_CTL_MOD => Op::Modify,
            _ => return Err(Errno(libc::EINVAL)),
        };
        let call = Call::new(&self.host, n);
        let asked = if op == Op::Delete {
            (0, 0)
        } else {
            let mut bytes = [0; size_of::<libc::epoll_event>()];
            call.read(n.arg(3), &mut bytes)?;
            let (events, _) = bytes.split_at(4);
            // Where it lies depends on the architecture: packed on x86-64 alone.
            let (_, data) = bytes.split_at(core::mem::offset_of!(libc::epoll_event, u64));
            let events = events.try_into().map_or(0, u32::from_ne_bytes);
            (events, data.try_into().map_or(0, u64::from_ne_bytes))
        };
        let set = call.borrow_fd(n.int(0))?;
        let name = (call.pid(), n.int(0));
        self.epolls
            .change((file, n.int(2)), (set, name), op, asked, self.backend)?;
        Ok(Verdict::value(0))
    }
}
