//! Serves epoll_ctl of device files and buffers.

use crate::descriptors::{SetId, Watched};
use crate::kernel::{EpollOp as Op, MayBlock};
use crate::process::{Notif, Reply};
use crate::service::{Call, Served, Server, Supervisor, Verdict};
use crate::tree::{field, word};
use crate::waiting::Control;
use vb3_frontend::Errno;

impl Supervisor<'_> {
    /// Finds and stores the set that an `epoll_ctl` names, if the kernel cannot compare files (kcmp).
    pub(crate) fn look_for_set(&self, may: &mut MayBlock, n: &Notif) {
        if self.host.powers.kcmp.is_ok() {
            return;
        }
        let objects = self.server(may).epolls.objects_in_sets();
        if let Some(SetId(set)) = objects.set_of(may, n.tid, n.int(0)) {
            n.gathered.data().set = Some(set);
        }
    }

    /// Makes a program's `epoll_ctl`, and returns its answer.
    pub(crate) fn end_change(&self, may: &mut MayBlock, control: &Control) -> Reply {
        let made = control.make(may);
        let server = &mut *self.server(may);
        server.epolls.end_change(&mut server.table, control, made);
        made.map_or_else(Reply::from, |()| Reply::Value(0))
    }
}

impl Server<'_> {
    pub(crate) fn epoll_ctl(&mut self, n: &Call<'_>) -> Served {
        let file = self.named(n, 2).and_then(Watched::of);
        let file = file.ok_or(Reply::Native)?;
        let op = match n.int(1) {
            libc::EPOLL_CTL_ADD => Op::Add,
            libc::EPOLL_CTL_DEL => Op::Delete,
            libc::EPOLL_CTL_MOD => Op::Modify,
            _ => return Err(Reply::Fail(libc::EINVAL)),
        };
        let asked = if op == Op::Delete {
            (0, 0)
        } else {
            let bytes: [u8; size_of::<libc::epoll_event>()] = n.read_bytes(n.arg(3))?;
            // The offset depends on the architecture: only x86-64 packs the structure.
            let data = word(&bytes, core::mem::offset_of!(libc::epoll_event, u64));
            (u32::from_ne_bytes(field(&bytes, 0)), data)
        };
        // A file whose close may wait is no epoll set.
        let set = n.borrow(n.int(0))?.into_owned();
        let set = set.ok_or(Errno(libc::EINVAL))?;
        let set = (set, n.pid(), n.gathered.data().set.map(SetId));
        let key = (file, n.int(2));
        let table = &mut self.table;
        let control = (self.epolls).change(table, key, set, op, asked, self.backend)?;
        Ok(Verdict::InSet(Box::new(control)))
    }
}
