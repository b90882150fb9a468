//! `/dev/udmabuf` for hosts without one: dma-bufs of memfds that programs made.
//!
//! Only the kernel can show the same memory under a second file. Here the dma-buf is therefore the memfd
//! itself, opened again. This works only for one part that begins at the memfd's start, which is what
//! libraries ask for.
//!
//! Source: Linux 6.12 drivers/dma-buf/udmabuf.c.

use super::{Answer, FileCall, Kind};
use crate::Run;
use crate::refusals::Refused;
use crate::shares::{Shown, ShownKind, identity};
use rustix::fs::{Mode, OFlags, SealFlags, fcntl_get_seals, fstat, open};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use vb3_dmabuf_files::{Create, Item};
use vb3_frontend::{Detail, Errno, FileId, Node, NodeId, NodeKind, NumberAt, Origin, Step};
use vb3_machine::profile::PAGE_SIZE;
use vb3_machine::{Foreign, Udmabuf};
use vb3_plane::MemOps as _;

const PATH: &str = "/dev/udmabuf";
/// Major number of miscellaneous devices.
const MAJOR: u32 = 10;
/// One of the minor numbers that Linux assigns at boot.
const MINOR: u32 = 125;

/// Whether the node is offered.
#[derive(Debug)]
pub(super) struct Udmabufs(bool);

impl Udmabufs {
    /// Offers the node if the host's own cannot be opened.
    pub(super) fn new() -> Self {
        Self(Udmabuf::open().is_none())
    }
}

impl Kind for Udmabufs {
    fn name(&self) -> &'static str {
        "udmabuf"
    }

    fn nodes(&self, _: &Run) -> Vec<Node> {
        let kind = NodeKind::Class {
            name: "misc",
            major: MAJOR,
        };
        let node = Node {
            kind,
            ..Node::video(NodeId(0), PATH, MINOR)
        };
        self.0.then_some(node).into_iter().collect()
    }

    fn open(&mut self, _: &mut Run, _: usize, _: FileId, _: Origin) -> Result<(), Refused> {
        Ok(())
    }

    fn call(&mut self, run: &mut Run, call: FileCall<'_>) -> Result<Answer, Refused> {
        let ioctl = call.ioctl()?;
        run.set_now();
        let done = Create::read(ioctl, PAGE_SIZE).map_err(Refused::from);
        let done = done.and_then(|create| run.make_udmabuf(&create, ioctl.caller));
        let name = vb3_dmabuf_files::name(ioctl.request);
        (done.map(Answer::from)).map_err(|refused| refused.by(|| PATH.to_owned(), name))
    }
}

/// Opens a memfd again, if it is writable and cannot shrink. Returns its descriptor and length.
fn memfd_of(caller: &Step<'_>, number: i32) -> Result<(OwnedFd, u64), Errno> {
    let no_memfd = |e| match e {
        Errno::NOT_GATHERED | Errno::EPERM => e,
        _ => Errno::EBADFD,
    };
    let known = caller.descriptor(number, Detail::Description);
    let fd = known.map_err(no_memfd)?.fd.as_ref().ok_or(Errno::EBADFD)?;
    let seals = fcntl_get_seals(fd).map_err(|_| Errno::EBADFD)?;
    let denied = SealFlags::WRITE | SealFlags::FUTURE_WRITE;
    if !seals.contains(SealFlags::SHRINK) || seals.intersects(denied) {
        return Err(Errno::EINVAL);
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let own = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Errno(e.raw_os_error()))?;
    let stat = fstat(&own).map_err(|e| Errno(e.raw_os_error()))?;
    Ok((own, u64::try_from(stat.st_size).unwrap_or(0)))
}

impl Run {
    fn make_udmabuf(&mut self, create: &Create, caller: &Step<'_>) -> Result<(), Refused> {
        let (items, len) = (&*create.items, create.len_bytes);
        let mut memfds = Vec::new();
        // Asks for all memfds first, so that the front end gathers all of them at once.
        for item in items {
            let _ = caller.descriptor(item.memfd, Detail::Description);
        }
        for item in items {
            let (fd, bytes) = memfd_of(caller, item.memfd)?;
            if item
                .offset
                .checked_add(item.size)
                .is_none_or(|end| end > bytes)
            {
                return Err(Errno::EINVAL.into());
            }
            memfds.push(fd);
        }
        let (&[Item { offset: 0, .. }], Some(fd)) = (items, memfds.pop()) else {
            let sentence = "a dma-buf of several parts, or of a part that does not begin at its memfd's \
                            start, needs the kernel's /dev/udmabuf; load the module udmabuf, or use one \
                            memfd per buffer";
            return Err(Refused::explained(Errno::ENOMEM, sentence));
        };
        let file = identity(&fd)?;
        let shown = fd.try_clone().map_err(|_| Errno::ENOMEM)?;
        let foreign = Foreign::map_first(Arc::new(fd), len).map_err(|_| Errno::ENOMEM)?;
        let ops = self.memory.ops_mut();
        let pages = ops
            .platform_mut()
            .import(foreign)
            .map_err(|_| Errno::ENOMEM)?;
        let alloc = ops.adopt(pages).map_err(|_| Errno::ENOMEM)?;
        let buf = self
            .memory
            .buffers()
            .adopt(alloc, len)
            .map_err(|_| Errno::ENOMEM)?;
        let shares = self.shares.get_mut();
        let installed = shares.install_as(
            (buf, len),
            Shown {
                fd: shown,
                file,
                kind: ShownKind::OfProgram,
            },
            caller,
            (create.cloexec, NumberAt::Result),
        );
        installed.map_err(|(e, buf)| {
            self.memory.put_dmabuf(buf);
            e.into()
        })
    }
}
