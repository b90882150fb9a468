//! `/dev/udmabuf` for hosts without one: dma-bufs of memfds that programs made.
//!
//! Only the kernel can show the same memory under a second file. Here the dma-buf is therefore the memfd
//! itself, opened again. This works only for one part that begins at the memfd's start, which is what
//! libraries ask for.
//!
//! Source: Linux 6.12 drivers/dma-buf/udmabuf.c.

use super::{Answer, FileCall, Kind};
use crate::Run;
use crate::program::{Ioctl, long, word};
use crate::refusals::Refused;
use crate::shares::{Shown, ShownKind, identity};
use rustix::fs::{Mode, OFlags, SealFlags, fcntl_get_seals, fstat, open};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use vb3_dmabuf::Name;
use vb3_frontend::{Detail, Errno, FileId, Node, NodeId, NodeKind, NumberAt, Origin, Step};
use vb3_machine::profile::PAGE_SIZE;
use vb3_machine::{Foreign, Udmabuf};
use vb3_plane::MemOps as _;

const PATH: &str = "/dev/udmabuf";
/// Major number of miscellaneous devices.
const MAJOR: u32 = 10;
/// One of the minor numbers that Linux assigns at boot.
const MINOR: u32 = 125;

const UDMABUF_CREATE: u32 = 0x4018_7542;
const UDMABUF_CREATE_LIST: u32 = 0x4008_7543;
const FLAGS_CLOEXEC: u32 = 1;
/// The module's `list_limit`.
const MAX_ITEMS: u32 = 1024;
/// The module's `size_limit_mb`.
const MAX_BYTES: u64 = 64 << 20;
/// Size in bytes of `struct udmabuf_create` and `struct udmabuf_create_item`, which differ only in the flags.
const ITEM: usize = 24;

/// A part of a program's memfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    memfd: i32,
    offset: u64,
    size: u64,
}

impl Item {
    fn parse(bytes: &[u8; ITEM]) -> (Self, u32) {
        let item = Self {
            // CAST: the kernel also takes descriptors as `i32`.
            memfd: word(bytes, 0) as i32,
            offset: long(bytes, 8),
            size: long(bytes, 16),
        };
        (item, word(bytes, 4))
    }
}

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
        let (name, made) = match ioctl.request {
            UDMABUF_CREATE => ("UDMABUF_CREATE", run.create_udmabuf(ioctl)),
            UDMABUF_CREATE_LIST => ("UDMABUF_CREATE_LIST", run.create_udmabuf_of_list(ioctl)),
            _ => return Err(Errno::ENOTTY.into()),
        };
        let done = made.map(Answer::from);
        done.map_err(|refused| refused.by(|| PATH.to_owned(), Some(name)))
    }
}

/// Returns the sum of all sizes. Returns EINVAL if there are no parts, a part is not whole pages, or the
/// parts exceed the module's limits.
fn checked_len(items: &[Item]) -> Result<u64, Errno> {
    let mut len = 0u64;
    for item in items {
        if item.offset % PAGE_SIZE != 0 || item.size % PAGE_SIZE != 0 {
            return Err(Errno::EINVAL);
        }
        len = len.checked_add(item.size).ok_or(Errno::EINVAL)?;
        if len > MAX_BYTES {
            return Err(Errno::EINVAL);
        }
    }
    if len == 0 {
        Err(Errno::EINVAL)
    } else {
        Ok(len)
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
    fn create_udmabuf(&mut self, call: Ioctl<'_>) -> Result<(), Refused> {
        let (item, flags) = Item::parse(&call.read()?);
        self.make_udmabuf(&[item], flags, call.caller)
    }

    fn create_udmabuf_of_list(&mut self, call: Ioctl<'_>) -> Result<(), Refused> {
        let head: [u8; 8] = call.read()?;
        let (flags, count) = (word(&head, 0), word(&head, 4));
        if count > MAX_ITEMS {
            return Err(Errno::EINVAL.into());
        }
        let mut bytes = vec![0; ITEM * count as usize];
        let list = call.arg.checked_add(8).ok_or(Errno::EINVAL)?;
        call.caller.read(list, &mut bytes)?;
        let (items, _) = bytes.as_chunks::<ITEM>();
        let items: Vec<Item> = items.iter().map(|bytes| Item::parse(bytes).0).collect();
        self.make_udmabuf(&items, flags, call.caller)
    }

    fn make_udmabuf(
        &mut self,
        items: &[Item],
        flags: u32,
        caller: &Step<'_>,
    ) -> Result<(), Refused> {
        let len = checked_len(items)?;
        let mut memfds = Vec::new();
        // All memfds are gathered at once.
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
            .adopt(alloc, len, Name::default())
            .map_err(|_| Errno::ENOMEM)?;
        let cloexec = flags & FLAGS_CLOEXEC != 0;
        let shares = self.shares.get_mut();
        let installed = shares.install_as(
            (buf, len),
            Shown {
                fd: shown,
                file,
                kind: ShownKind::OfProgram,
            },
            caller,
            (cloexec, NumberAt::Result),
        );
        installed.map_err(|(e, buf)| {
            self.memory.put_dmabuf(buf);
            e.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_whole_pages_within_the_limit() {
        let len = |parts: &[(u64, u64)]| {
            let items: Vec<Item> = parts
                .iter()
                .map(|&(offset, size)| Item {
                    memfd: 3,
                    offset,
                    size,
                })
                .collect();
            checked_len(&items)
        };
        assert_eq!(len(&[(0, 4096), (8192, 4096)]), Ok(8192));
        assert_eq!(len(&[(0, MAX_BYTES)]), Ok(MAX_BYTES));
        for bad in [
            &[][..],
            &[(0, 0)],
            &[(1, 4096)],
            &[(0, 4097)],
            &[(0, MAX_BYTES + 4096)],
            &[(0, u64::MAX - 4095), (0, 8192)],
        ] {
            assert_eq!(len(bad), Err(Errno::EINVAL), "{bad:?}");
        }
    }
}
