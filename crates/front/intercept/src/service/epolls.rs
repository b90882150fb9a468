//! Serves epoll_ctl of device files and buffers.

use crate::descriptors::{KnownSets, Watched};
use crate::kernel::{Borrowed, EpollOp as Op, MayBlock};
use crate::process::Reply;
use crate::service::{Call, Served, Server, Supervisor, Verdict};
use crate::tree::{field, word};
use crate::waiting::Control;
use vb3_frontend::Errno;

impl Call<'_> {
    /// Seeks the set that an `epoll_ctl` names, unless the thread must first send the descriptor.
    pub(crate) fn seek_set(&self, may: &MayBlock, sets: KnownSets) {
        // A file whose close may wait is no epoll set.
        let set = self.borrow(self.int(0)).map(Borrowed::into_owned);
        let set = set.and_then(|set| set.ok_or(Errno(libc::EINVAL)));
        if set.as_ref().err() != Some(&Errno::NOT_GATHERED) {
            self.gathered.data().set = Some(set.map(|set| sets.seek(may, set)));
        }
    }
}

impl Supervisor<'_> {
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
        let set = n.gathered.data().set.take();
        let control = set.unwrap_or(Err(Errno::NOT_GATHERED)).and_then(|set| {
            let (table, key) = (&mut self.table, (file, n.int(2)));
            let set = (set, n.pid());
            (self.epolls).change(table, key, set, op, asked, self.backend)
        });
        if control.as_ref().err() == Some(&Errno::NOT_GATHERED) {
            n.gathered.data().to_seek = Some(self.epolls.known());
        }
        let control = control?;
        Ok(Verdict::InSet(Box::new(control)))
    }
}
